// LOAD: COPY and COPYX ask memory for a beat a cycle, as it takes them, and write what comes back into L1; FILL writes a pattern
// without asking. What a beat is for travels with the request, so the unit keeps no list of them.
module load_unit #(
    localparam int Bus = athena_pkg::LOAD_BYTES,
    localparam int LenBits = $clog2(Bus + 1),
    localparam int L1Bits = $clog2(athena_pkg::L1_BYTES),
    localparam int SlotBits = athena_pkg::SLOT_BITS,
    localparam int TagBits = 1 + SlotBits + LenBits + L1Bits
) (
    input  logic                              clk_i,
    input  logic                              rst_i,
    input  logic                              start_i,
    input  logic [athena_pkg::ADDR_BITS-1:0]  memory_bytes_i,
    output logic                              index_read_o,  // COPYX
    output logic [L1Bits-1:0]                 index_addr_o,
    input  logic [31:0]                       index_data_i,
    output logic                              bad_index_o,
    output logic                              bad_row_o,
    input  athena_pkg::uop_t                  uop_i,
    input  logic [SlotBits-1:0]               slot_i,
    output logic                              ready_o,
    output logic                              moves_o,
    output logic [athena_pkg::DMA_SLOTS-1:0]  done_o,
    output logic                              error_o,       // memory answered with an error, to the word of `error_slot_o`
    output logic [SlotBits-1:0]               error_slot_o,
    output logic                              req_valid_o,
    input  logic                              req_ready_i,
    output logic [athena_pkg::ADDR_BITS-1:0]  req_addr_o,
    output logic                              req_first_o,
    output logic [athena_pkg::COUNT_BITS-1:0] req_left_o,
    output logic [LenBits-1:0]                req_bytes_o,
    output logic [TagBits-1:0]                req_tag_o,
    input  logic                              rsp_valid_i,
    input  logic [Bus*8-1:0]                  rsp_data_i,
    input  logic [TagBits-1:0]                rsp_tag_i,
    input  logic                              rsp_error_i,
    output logic [1:0][Bus-1:0]               write_o,       // 0: from memory, 1: FILL
    output logic [1:0][L1Bits-1:0]            write_addr_o,
    output logic [1:0][Bus*8-1:0]             write_data_o
);
  localparam int CountBits = athena_pkg::COUNT_BITS;

  logic indexed, fill, is_fill, valid, last, rsp_last, rsp_good;
  logic [31:0] pattern;
  logic [SlotBits-1:0] slot, rsp_slot;
  logic [LenBits-1:0] bytes, rsp_bytes;
  logic [athena_pkg::ADDR_BITS-1:0] src, dst;
  logic [L1Bits-1:0] rsp_addr;

  assign indexed = uop_i.word.op == athena_pkg::OP_COPYX;
  assign is_fill = uop_i.word.op == athena_pkg::OP_FILL;

  walker #(
      .BusBytes(Bus),
      .TableIsSource(1'b1)
  ) u_walker (
      .clk_i,
      .rst_i,
      .start_i,
      .blocks_i(is_fill || indexed ? CountBits'(1) : uop_i.n[0]),
      .rows_i(uop_i.n[1]),
      .row_bytes_i(uop_i.n[2]),
      .src_i(uop_i.addr[0]),
      .src_stride_i(uop_i.word.a.stride),
      .src_block_i(uop_i.word.p[0]),
      .dst_i(uop_i.addr[3]),
      .dst_stride_i(uop_i.word.d.stride),
      .dst_block_i(uop_i.word.p[1]),
      .indexed_i(indexed),
      .index_i(uop_i.addr[1][L1Bits-1:0]),
      .limit_i(uop_i.n[0]),
      .pitch_i(uop_i.word.p[0]),
      .memory_bytes_i,
      .index_read_o,
      .index_addr_o,
      .index_data_i,
      .bad_index_o,
      .bad_row_o,
      .valid_o(valid),
      .take_i(fill || req_ready_i),
      .first_o(req_first_o),
      .last_o(last),
      .ready_o,
      .left_o(req_left_o),
      .moves_o,
      .bytes_o(bytes),
      .src_o(src),
      .dst_o(dst)
  );

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      fill <= is_fill;
      pattern <= uop_i.word.p[0];
      slot <= slot_i;
    end
  end

  function automatic logic [Bus-1:0] enables(input logic on, input logic [LenBits-1:0] count);
    for (int i = 0; i < Bus; i++) enables[i] = on && LenBits'(i) < count;
  endfunction

  assign req_valid_o = valid && !fill;
  assign req_addr_o = src;
  assign req_bytes_o = bytes;
  assign req_tag_o = {last, slot, bytes, dst[L1Bits-1:0]};
  assign {rsp_last, rsp_slot, rsp_bytes, rsp_addr} = rsp_tag_i;
  assign rsp_good = rsp_valid_i && !rsp_error_i;
  assign error_o = rsp_valid_i && rsp_error_i;
  assign error_slot_o = rsp_slot;

  assign write_o = {enables(valid && fill, bytes), enables(rsp_good, rsp_bytes)};
  assign write_addr_o = {dst[L1Bits-1:0], rsp_addr};
  assign write_data_o = {{(Bus / 4) {pattern}}, rsp_data_i};

  always_comb begin
    done_o = '0;
    if (rsp_good && rsp_last) done_o[rsp_slot] = 1'b1;
    if (last && fill) done_o[slot] = 1'b1;
  end

  logic unused;
  assign unused = ^{dst[athena_pkg::ADDR_BITS-1:L1Bits], uop_i};
endmodule
