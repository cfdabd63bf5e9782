// STORE: COPY and COPYX read a beat of L1 a cycle and send it to memory, as it takes them; memory says when the last is written.
module store_unit #(
    localparam int Bus = athena_pkg::STORE_BYTES,
    localparam int LenBits = $clog2(Bus + 1),
    localparam int L1Bits = $clog2(athena_pkg::L1_BYTES),
    localparam int SlotBits = athena_pkg::SLOT_BITS,
    localparam int TagBits = 1 + SlotBits
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
    output logic                              read_o,
    output logic [L1Bits-1:0]                 read_addr_o,
    input  logic [Bus*8-1:0]                  read_data_i,
    output logic                              error_o,       // memory answered with an error, to the word of `error_slot_o`
    output logic [SlotBits-1:0]               error_slot_o,
    output logic                              req_valid_o,
    input  logic                              req_ready_i,
    output logic [athena_pkg::ADDR_BITS-1:0]  req_addr_o,
    output logic [Bus*8-1:0]                  req_data_o,
    output logic [LenBits-1:0]                req_bytes_o,
    output logic                              req_first_o,
    output logic [athena_pkg::COUNT_BITS-1:0] req_left_o,
    output logic [TagBits-1:0]                req_tag_o,
    input  logic                              rsp_valid_i,
    input  logic [TagBits-1:0]                rsp_tag_i,
    input  logic                              rsp_error_i
);
  logic last, indexed;
  assign indexed = uop_i.word.op == athena_pkg::OP_COPYX;
  logic [SlotBits-1:0] slot;
  logic [athena_pkg::ADDR_BITS-1:0] src;

  walker #(
      .BusBytes(Bus),
      .TableIsSource(1'b0)
  ) u_walker (
      .clk_i,
      .rst_i,
      .start_i,
      .blocks_i(indexed ? athena_pkg::COUNT_BITS'(1) : uop_i.n[0]),
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
      .valid_o(read_o),
      .take_i(req_ready_i),
      .first_o(req_first_o),
      .last_o(last),
      .ready_o,
      .left_o(req_left_o),
      .moves_o,
      .bytes_o(req_bytes_o),
      .src_o(src),
      .dst_o(req_addr_o)
  );

  always_ff @(posedge clk_i) if (start_i) slot <= slot_i;

  assign read_addr_o = src[L1Bits-1:0];
  assign req_valid_o = read_o;
  // Bytes behind the beat are those of other words: they may change while it waits.
  always_comb for (int i = 0; i < Bus; i++) req_data_o[8*i+:8] = LenBits'(i) < req_bytes_o ? read_data_i[8*i+:8] : '0;
  assign req_tag_o = {last, slot};

  assign error_o = rsp_valid_i && rsp_error_i;
  assign error_slot_o = rsp_tag_i[SlotBits-1:0];

  always_comb begin
    done_o = '0;
    if (rsp_valid_i && !rsp_error_i && rsp_tag_i[SlotBits]) done_o[rsp_tag_i[SlotBits-1:0]] = 1'b1;
  end

  logic unused;
  assign unused = ^{src[athena_pkg::ADDR_BITS-1:L1Bits], uop_i};
endmodule
