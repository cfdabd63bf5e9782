// Rows of bytes as AXI4 address beats: INCR bursts of whole bus words, at most 256 and never across 4 KiB, at most `Bursts` of
// them open at a time. A burst starts at `base_i` + the address in its row.
module axi_bursts #(
    parameter int Bus = 16,
    parameter int Bursts = 8,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int CountBits = athena_pkg::COUNT_BITS,
    localparam int PageBits = athena_pkg::AXI_PAGE_BITS
) (
    input  logic                       clk_i,
    input  logic                       rst_i,
    input  logic [AddrBits-1:PageBits] base_i,
    input  logic                       start_i,    // a row, if ready
    input  logic [AddrBits-1:0]        addr_i,
    input  logic [CountBits-1:0]       bytes_i,    // at least 1
    output logic                       ready_o,
    output logic                       started_o,  // a burst is put out in this cycle
    input  logic                       ended_i,    // an open burst has all its answers
    output logic                       idle_o,
    output logic                       ax_valid_o,
    input  logic                       ax_ready_i,
    output logic [AddrBits-1:0]        ax_addr_o,
    output logic [7:0]                 ax_len_o
);
  localparam int OffsetBits = $clog2(Bus);
  localparam int Limit = athena_pkg::AXI_PAGE_BYTES / Bus < athena_pkg::AXI_BEATS_MAX ?
      athena_pkg::AXI_PAGE_BYTES / Bus : athena_pkg::AXI_BEATS_MAX;
  localparam int LimitBits = $clog2(Limit);
  localparam int WordBits = AddrBits - OffsetBits;
  localparam int LeftBits = CountBits + 2 - OffsetBits;
  localparam int SpanBits = CountBits + 2;
  localparam int OpenBits = $clog2(Bursts + 1);

  logic [WordBits-1:0] word;
  logic [LeftBits-1:0] left, room, length, beats;
  logic [OpenBits-1:0] open;
  logic busy, put_ready, last;
  logic [AddrBits-1:0] addr;
  logic [SpanBits-1:0] span;

  assign room = LeftBits'(Limit) - LeftBits'(word[LimitBits-1:0]);
  assign last = left <= room;
  assign length = last ? left : room;
  assign beats = length - 1'b1;  // as AXI counts
  assign started_o = busy && put_ready && open != OpenBits'(Bursts);
  assign ready_o = !busy || (started_o && last);
  assign idle_o = !busy && open == '0;
  assign addr = {base_i, {PageBits{1'b0}}} + {word, {OffsetBits{1'b0}}};
  assign span = SpanBits'(bytes_i) + SpanBits'(addr_i[OffsetBits-1:0]) + SpanBits'(Bus - 1);

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      busy <= 1'b0;
      open <= '0;
    end else begin
      if (start_i && ready_o) busy <= 1'b1;
      else if (started_o && last) busy <= 1'b0;
      open <= open + OpenBits'(started_o) - OpenBits'(ended_i);
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i && ready_o) begin
      word <= addr_i[AddrBits-1:OffsetBits];
      left <= span[SpanBits-1:OffsetBits];
    end else if (started_o) begin
      word <= word + WordBits'(length);
      left <= left - length;
    end
  end

  fifo #(
      .Width(AddrBits + 8)
  ) u_out (
      .clk_i,
      .rst_i,
      .valid_i(started_o),
      .ready_o(put_ready),
      .data_i({addr, beats[7:0]}),
      .valid_o(ax_valid_o),
      .ready_i(ax_ready_i),
      .data_o({ax_addr_o, ax_len_o})
  );

  logic unused;
  assign unused = ^{span[OffsetBits-1:0], beats[LeftBits-1:8]};
endmodule
