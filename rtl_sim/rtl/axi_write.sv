// Stores of the core as AXI4 writes. A row's beats are shifted to the bus words that they lie in; what does not fit is carried to
// the next word. A word leaves once the address of its burst has been put out. One answer a row, with the tag of its last beat.
module axi_write #(
    parameter int Tag = 1,
    parameter int Bus = 16,
    parameter int Bursts = 8,  // open at a time
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int CountBits = athena_pkg::COUNT_BITS,
    localparam int PageBits = athena_pkg::AXI_PAGE_BITS,
    localparam int LenBits = $clog2(Bus + 1)
) (
    input  logic                       clk_i,
    input  logic                       rst_i,
    input  logic                       accept_i,  // take new rows
    output logic                       idle_o,    // no row begun, nothing sent without an answer
    input  logic [AddrBits-1:PageBits] base_i,
    input  logic                       req_valid_i,
    output logic                       req_ready_o,
    input  logic [AddrBits-1:0]        req_addr_i,
    input  logic [Bus*8-1:0]           req_data_i,
    input  logic [LenBits-1:0]         req_bytes_i,
    input  logic                       req_first_i,
    input  logic [CountBits-1:0]       req_left_i,
    input  logic [Tag-1:0]             req_tag_i,
    output logic                       rsp_valid_o,
    output logic [Tag-1:0]             rsp_tag_o,
    output logic                       rsp_error_o,
    output logic                       aw_valid_o,
    input  logic                       aw_ready_i,
    output logic [AddrBits-1:0]        aw_addr_o,
    output logic [7:0]                 aw_len_o,
    output logic                       w_valid_o,
    input  logic                       w_ready_i,
    output logic [Bus*8-1:0]           w_data_o,
    output logic [Bus-1:0]             w_strb_o,
    output logic                       w_last_o,
    input  logic                       b_valid_i,
    output logic                       b_ready_o,
    input  logic                       b_error_i
);
  localparam int OffsetBits = $clog2(Bus);
  localparam int Limit = athena_pkg::AXI_PAGE_BYTES / Bus < athena_pkg::AXI_BEATS_MAX ?
      athena_pkg::AXI_PAGE_BYTES / Bus : athena_pkg::AXI_BEATS_MAX;
  localparam int IndexBits = $clog2(Limit);
  localparam int OpenBits = $clog2(Bursts + 1);

  // In.
  logic take, row_end, row_open, plan_ready, plan_idle, list_ready, started, b_take;
  assign row_end = req_left_i <= CountBits'(Bus);
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
      .ended_i(b_take),
      .idle_o(plan_idle),
      .ax_valid_o(aw_valid_o),
      .ax_ready_i(aw_ready_i),
      .ax_addr_o(aw_addr_o),
      .ax_len_o(aw_len_o)
  );

  logic beat_valid, beat_row_end, beat_done;
  logic [Bus*8-1:0] beat_data;
  logic [LenBits-1:0] beat_bytes;
  logic [OffsetBits-1:0] beat_offset;
  logic [IndexBits-1:0] beat_index;  // place of the beat's first word in the largest burst
  logic [Tag-1:0] beat_tag;
  fifo #(
      .Width(Bus * 8 + LenBits + OffsetBits + IndexBits + Tag + 1),
      .Depth(4)
  ) u_beats (
      .clk_i,
      .rst_i,
      .valid_i(take),
      .ready_o(list_ready),
      .data_i({req_data_i, req_bytes_i, req_addr_i[OffsetBits+IndexBits-1:0], req_tag_i, row_end}),
      .valid_o(beat_valid),
      .ready_i(beat_done),
      .data_o({beat_data, beat_bytes, beat_index, beat_offset, beat_tag, beat_row_end})
  );

  // Words: `spill` is the cycle of the word that only holds what a row's last beat carried over.
  logic put, put_ready, spill, spills, burst_end, last_word;
  logic [OpenBits-1:0] credit;  // bursts put out and not yet filled
  logic [Bus*8-1:0] carry_data, word_data;
  logic [Bus-1:0] carry_strb, word_strb, enables;
  logic [2*Bus*8-1:0] wide_data;
  logic [2*Bus-1:0] wide_strb;

  always_comb for (int i = 0; i < Bus; i++) enables[i] = LenBits'(i) < beat_bytes;
  assign wide_data = {{(Bus * 8) {1'b0}}, beat_data} << {beat_offset, 3'b000};
  assign wide_strb = {{Bus{1'b0}}, enables} << beat_offset;
  assign spills = beat_row_end && wide_strb[2*Bus-1:Bus] != '0;
  assign last_word = spill || (beat_row_end && !spills);
  assign burst_end = last_word || beat_index == IndexBits'(Limit - 1);
  assign word_data = spill ? carry_data : wide_data[Bus*8-1:0] | carry_data;
  assign word_strb = spill ? carry_strb : wide_strb[Bus-1:0] | carry_strb;
  assign put = beat_valid && credit != '0 && put_ready;
  assign beat_done = put && (spill || !spills);

  always_ff @(posedge clk_i) begin
    if (put) begin
      carry_data <= wide_data[2*Bus*8-1:Bus*8];
      carry_strb <= wide_strb[2*Bus-1:Bus];
    end
    if (rst_i || (put && last_word)) begin
      carry_data <= '0;
      carry_strb <= '0;
    end
    if (rst_i) begin
      spill    <= 1'b0;
      credit   <= '0;
      row_open <= 1'b0;
    end else begin
      if (put) spill <= spills && !spill;
      credit <= credit + OpenBits'(started) - OpenBits'(put && burst_end);
      if (take) row_open <= !row_end;
    end
  end

  fifo #(
      .Width(Bus * 8 + Bus + 1)
  ) u_words (
      .clk_i,
      .rst_i,
      .valid_i(put),
      .ready_o(put_ready),
      .data_i({word_data, word_strb, burst_end}),
      .valid_o(w_valid_o),
      .ready_i(w_ready_i),
      .data_o({w_data_o, w_strb_o, w_last_o})
  );

  // Answers: a row's bursts end in order, an error of one is an error of the row.
  logic ends_row, ends_ready, error;
  logic [Tag-1:0] ends_tag;
  fifo #(
      .Width(Tag + 1),
      .Depth(Bursts)
  ) u_ends (
      .clk_i,
      .rst_i,
      .valid_i(put && burst_end),
      .ready_o(ends_ready),  // as many places as bursts
      .data_i({beat_tag, last_word}),
      .valid_o(b_ready_o),
      .ready_i(b_valid_i),
      .data_o({ends_tag, ends_row})
  );
  assign b_take = b_valid_i && b_ready_o;

  always_ff @(posedge clk_i) begin
    rsp_tag_o   <= ends_tag;
    rsp_error_o <= error || b_error_i;
    if (rst_i) begin
      rsp_valid_o <= 1'b0;
      error       <= 1'b0;
    end else begin
      rsp_valid_o <= b_take && ends_row;
      if (b_take) error <= !ends_row && (error || b_error_i);
    end
  end

  assign idle_o = plan_idle && !beat_valid && !row_open && !rsp_valid_o;

  logic unused;
  assign unused = ends_ready;
endmodule
