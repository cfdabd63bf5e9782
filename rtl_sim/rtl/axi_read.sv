// Loads of the core as AXI4 reads. A row is asked for in whole bus words at its first beat; a beat that lies across two words is
// put together from the word before, which is held, and the one that arrives.
module axi_read #(
    parameter int Tag = 1,
    parameter int Bus = 16,
    parameter int Bursts = 8,  // open at a time
    parameter int Beats = 64,  // of the core, asked for and not yet answered
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int CountBits = athena_pkg::COUNT_BITS,
    localparam int PageBits = athena_pkg::AXI_PAGE_BITS
) (
    input  logic                       clk_i,
    input  logic                       rst_i,
    input  logic                       accept_i,  // take new rows
    output logic                       idle_o,    // no row begun, nothing asked for
    input  logic [AddrBits-1:PageBits] base_i,
    input  logic                       req_valid_i,
    output logic                       req_ready_o,
    input  logic [AddrBits-1:0]        req_addr_i,
    input  logic                       req_first_i,
    input  logic [CountBits-1:0]       req_left_i,
    input  logic [Tag-1:0]             req_tag_i,
    output logic                       rsp_valid_o,
    output logic [Bus*8-1:0]           rsp_data_o,
    output logic [Tag-1:0]             rsp_tag_o,
    output logic                       rsp_error_o,
    output logic                       ar_valid_o,
    input  logic                       ar_ready_i,
    output logic [AddrBits-1:0]        ar_addr_o,
    output logic [7:0]                 ar_len_o,
    input  logic                       r_valid_i,
    output logic                       r_ready_o,
    input  logic [Bus*8-1:0]           r_data_i,
    input  logic                       r_error_i,
    input  logic                       r_last_i
);
  localparam int OffsetBits = $clog2(Bus);
  localparam int LenBits = OffsetBits + 1;
  localparam int SumBits = LenBits + 1;

  // In: the burst planner sees first beats, the list of beats sees all.
  logic take, row_end, two, row_open, plan_ready, plan_idle, list_ready, started, word_in;
  logic [LenBits-1:0] bytes;
  logic [OffsetBits-1:0] offset;

  assign row_end = req_left_i <= CountBits'(Bus);
  assign bytes = row_end ? req_left_i[LenBits-1:0] : LenBits'(Bus);
  assign offset = req_addr_i[OffsetBits-1:0];
  assign two = SumBits'(offset) + SumBits'(bytes) > SumBits'(Bus);
  assign req_ready_o = list_ready && (!req_first_i || (accept_i && plan_ready));
  assign take = req_valid_i && req_ready_o;

  axi_bursts #(
      .Bus(Bus),
      .Bursts(Bursts)
  ) u_bursts (
      .clk_i,
      .rst_i,
      .base_i,
      .start_i(take && req_first_i),
      .addr_i(req_addr_i),
      .bytes_i(req_left_i),
      .ready_o(plan_ready),
      .started_o(started),
      .ended_i(word_in && r_last_i),
      .idle_o(plan_idle),
      .ax_valid_o(ar_valid_o),
      .ax_ready_i(ar_ready_i),
      .ax_addr_o(ar_addr_o),
      .ax_len_o(ar_len_o)
  );

  logic beat_valid, beat_two, beat_row_end, beat_done;
  logic [OffsetBits-1:0] beat_offset;
  logic [Tag-1:0] beat_tag;
  fifo #(
      .Width(Tag + OffsetBits + 2),
      .Depth(Beats)
  ) u_beats (
      .clk_i,
      .rst_i,
      .valid_i(take),
      .ready_o(list_ready),
      .data_i({req_tag_i, offset, two, row_end}),
      .valid_o(beat_valid),
      .ready_i(beat_done),
      .data_o({beat_tag, beat_offset, beat_two, beat_row_end})
  );

  // Out: `held` is the word that the oldest beat starts in, if it has already come.
  logic held, held_error, wants_word;
  logic [Bus*8-1:0] held_data;
  logic [2*Bus*8-1:0] pair;

  assign wants_word = !held || beat_two;
  assign r_ready_o = beat_valid && wants_word;
  assign word_in = r_valid_i && r_ready_o;
  assign beat_done = beat_valid && (!wants_word || (word_in && (held || !beat_two)));
  assign pair = {r_data_i, held ? held_data : r_data_i} >> {beat_offset, 3'b000};

  always_ff @(posedge clk_i) begin
    rsp_data_o  <= pair[Bus*8-1:0];
    rsp_tag_o   <= beat_tag;
    rsp_error_o <= (word_in && r_error_i) || (held && held_error);
    if (word_in) begin
      held_data  <= r_data_i;
      held_error <= r_error_i;
    end
    if (rst_i) begin
      rsp_valid_o <= 1'b0;
      held        <= 1'b0;
      row_open    <= 1'b0;
    end else begin
      rsp_valid_o <= beat_done;
      if (beat_done) held <= beat_two && !beat_row_end;
      else if (word_in) held <= 1'b1;
      if (take) row_open <= !row_end;
    end
  end

  assign idle_o = plan_idle && !beat_valid && !row_open && !rsp_valid_o;

  logic unused;
  assign unused = ^{pair[2*Bus*8-1:Bus*8], started};
endmodule
