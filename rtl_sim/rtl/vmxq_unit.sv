// VMXQ: rows to int8, each with a scale of its own, in two passes of LANES columns a step. The first finds the largest absolute
// value of each row and writes its scale VEC_STARTUP + levels of the tree after the row's last step. When the last scale can be
// read the second begins: it reads a row's scale in one cycle, then the row again, and writes the integers VEC_STARTUP cycles
// after their operands were read. (All arithmetic stands before those stages here, as in `vector_unit`.)
module vmxq_unit #(
    localparam int Lanes = athena_pkg::LANES,
    localparam int AddrBits = $clog2(athena_pkg::L1_BYTES),
    localparam int Width = Lanes * 32
) (
    input  logic                 clk_i,
    input  logic                 rst_i,
    input  logic                 start_i,
    input  athena_pkg::uop_t     uop_i,
    output logic                 done_o,
    output logic                 read_o,        // operand a
    output logic                 read_acc_o,    // from ACC, not L1
    output logic [AddrBits-1:0]  read_addr_o,
    input  logic [Width-1:0]     read_data_i,
    output logic [Lanes-1:0]     write_o,       // by byte, to L1
    output logic [AddrBits-1:0]  write_addr_o,
    output logic [Lanes*8-1:0]   write_data_o,
    output logic                 scale_read_o,  // scales, in L1
    output logic [AddrBits-1:0]  scale_addr_o,
    input  logic [31:0]          scale_data_i,
    output logic                 scale_write_o,
    output logic [31:0]          scale_write_data_o
);
  localparam int CountBits = athena_pkg::COUNT_BITS;
  localparam int LenBits = $clog2(Lanes + 1);
  localparam int Levels = $clog2(Lanes);
  localparam logic [1:0] Idle = 2'd0, Measure = 2'd1, Drain = 2'd2, Quantise = 2'd3;

  typedef logic [CountBits-1:0] count_t;
  typedef logic [AddrBits-1:0] addr_t;

  logic [1:0] state;
  logic loads;  // of Quantise: this cycle reads the row's scale
  logic [3:0] a_type;
  logic in_acc;
  count_t rows, rows_left, cols, cols_left;
  addr_t a_first, a_row, a, a_stride, d_row, d, d_stride, e_first, e, e_stride;
  logic [31:0] inverse;

  logic steps, quantises, row_end, last;
  logic [LenBits-1:0] live;
  assign quantises = state == Quantise && !loads;
  assign steps = state == Measure || quantises;
  assign row_end = steps && cols_left <= count_t'(Lanes);
  assign last = row_end && rows_left == count_t'(1);
  assign live = cols_left <= count_t'(Lanes) ? cols_left[LenBits-1:0] : LenBits'(Lanes);

  logic scale_last, out_valid, out_last;
  logic [31:0] recip, inverse_next;
  assign inverse_next = scale_data_i[30:0] == '0 ? '0 : recip;

  always_ff @(posedge clk_i) begin
    if (rst_i) state <= Idle;
    else if (start_i) begin
      state <= Measure;
      loads <= 1'b0;
      a_type <= uop_i.word.dt[0];
      in_acc <= uop_i.word.a.seg == athena_pkg::SEG_ACC;
      {rows, rows_left} <= {2{uop_i.n[0]}};
      {cols, cols_left} <= {2{uop_i.n[1]}};
      {a_first, a_row, a} <= {3{uop_i.addr[0][AddrBits-1:0]}};
      {d_row, d} <= {2{uop_i.addr[3][AddrBits-1:0]}};
      {e_first, e} <= {2{uop_i.addr[4][AddrBits-1:0]}};
      a_stride <= uop_i.word.a.stride[AddrBits-1:0];
      d_stride <= uop_i.word.d.stride[AddrBits-1:0];
      e_stride <= uop_i.word.e.stride[AddrBits-1:0];
    end else begin
      if (steps && !row_end) begin
        cols_left <= cols_left - count_t'(Lanes);
        a <= a + (addr_t'(Lanes) << athena_pkg::size_shift(a_type));
        if (quantises) d <= d + addr_t'(Lanes);
      end else if (row_end) begin
        cols_left <= cols;
        rows_left <= rows_left - 1'b1;
        {a_row, a} <= {2{a_row + a_stride}};
        if (quantises) {d_row, d} <= {2{d_row + d_stride}};
        if (quantises) loads <= !last;
        if (last) state <= quantises ? Idle : Drain;
      end
      if (state == Quantise && loads) begin
        loads <= 1'b0;
        inverse <= inverse_next;
      end
      if (scale_read_o || scale_write_o) e <= e + e_stride;
      if (scale_write_o && scale_last) begin
        state <= Quantise;
        loads <= 1'b1;
        rows_left <= rows;
        {a_row, a} <= {2{a_first}};
        e <= e_first;
      end
    end
  end

  assign read_o = steps;
  assign read_acc_o = in_acc;
  assign read_addr_o = a;
  assign scale_read_o = state == Quantise && loads;
  assign scale_addr_o = e;

  vec_table u_recip (
      .en_i(scale_read_o),
      .lut_i(athena_pkg::LUT_RECIP),
      .x_i(scale_data_i),
      .y_o(recip)
  );

  // Lanes: the largest bit pattern without its sign so far, in which NaN wins; the element times the inverse, as an integer.
  logic [Lanes-1:0][30:0] largest, largest_next;
  logic [Lanes*8-1:0] integers;
  for (genvar lane = 0; lane < Lanes; lane++) begin : g_lane
    logic [31:0] raw, value, product, whole;
    logic [30:0] so_far, now;
    assign raw = athena_pkg::size_shift(a_type) == 2'd1 ? {16'b0, read_data_i[16*lane+:16]} : read_data_i[32*lane+:32];
    vec_load u_load (
        .float_i(1'b1),
        .type_i(a_type),
        .raw_i(raw),
        .value_o(value)
    );
    assign so_far = cols_left == cols ? '0 : largest[lane];
    assign now = LenBits'(lane) < live ? value[30:0] : '0;
    assign largest_next[lane] = now > so_far ? now : so_far;
    always_ff @(posedge clk_i) if (state == Measure) largest[lane] <= largest_next[lane];
    f32_mul u_mul (
        .en_i(quantises),
        .x_i(value),
        .y_i(inverse),
        .z_o(product)
    );
    f32_to_i32 u_whole (
        .x_i(product),
        .z_o(whole)
    );
    assign integers[8*lane+:8] = whole[7:0];  // no product passes 127
    logic unused;
    assign unused = ^{value[31], whole[31:8]};
  end

  logic [Levels:0][Lanes-1:0][30:0] tree;
  assign tree[0] = largest_next;
  for (genvar level = 0; level < Levels; level++) begin : g_level
    localparam int Half = Lanes >> (level + 1);
    for (genvar i = 0; i < Lanes; i++) begin : g_node
      if (i < Half) begin : g_pair
        assign tree[level+1][i] = tree[level][i] > tree[level][i+Half] ? tree[level][i] : tree[level][i+Half];
      end else begin : g_rest
        assign tree[level+1][i] = '0;
      end
    end
  end

  // The row's scale; the least one keeps its reciprocal finite.
  logic measured;
  logic [31:0] share, scale;
  assign measured = row_end && state == Measure;
  f32_mul u_scale (
      .en_i(measured),
      .x_i({1'b0, tree[Levels][0]}),
      .y_i(athena_pkg::TABLE_QUANT_STEP),
      .z_o(share)
  );
  assign scale = tree[Levels][0] != '0 && share < athena_pkg::TABLE_QUANT_LEAST ? athena_pkg::TABLE_QUANT_LEAST : share;
  latency_pipe #(
      .Width(33),
      .Stages(athena_pkg::VEC_STARTUP + Levels)
  ) u_scale_pipe (
      .clk_i,
      .rst_i,
      .valid_i(measured),
      .d_i({last, scale}),
      .valid_o(scale_write_o),
      .q_o({scale_last, scale_write_data_o})
  );

  logic [LenBits-1:0] out_live;
  latency_pipe #(
      .Width(1 + LenBits + AddrBits + Lanes * 8),
      .Stages(athena_pkg::VEC_STARTUP)
  ) u_pipe (
      .clk_i,
      .rst_i,
      .valid_i(quantises),
      .d_i({last, live, d, integers}),
      .valid_o(out_valid),
      .q_o({out_last, out_live, write_addr_o, write_data_o})
  );
  always_comb for (int i = 0; i < Lanes; i++) write_o[i] = out_valid && LenBits'(i) < out_live;
  assign done_o = out_valid && out_last;

  logic unused;
  assign unused = ^{uop_i, tree};
endmodule
