// One lane of VEC: t = alu1(a, b); t = lut(t); t = alu2(t, c); the mask; d = cvt(t), and t as the reduction takes it.
module vec_lane (
    input  logic               en_i,
    input  logic               float_i,
    input  logic        [7:0]  alu1_i,
    input  logic        [7:0]  lut_i,
    input  logic        [7:0]  alu2_i,
    input  logic        [7:0]  red_i,
    input  logic               keep_i,    // inside the mask
    input  logic        [31:0] fill_i,
    input  logic        [3:0]  a_type_i,
    input  logic        [3:0]  b_type_i,
    input  logic        [3:0]  c_type_i,
    input  logic        [3:0]  d_type_i,
    input  logic signed [31:0] zero_i,
    input  logic        [31:0] a_i,
    input  logic        [31:0] b_i,
    input  logic        [31:0] c_i,
    input  logic               b_imm_i,   // b is a value already
    input  logic               c_imm_i,
    output logic        [31:0] d_o,
    output logic        [31:0] side_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  logic [31:0] a, b, c, b_value, c_value, square, int_first, float_first, int_last, float_last;
  logic [31:0] first, exact, function_value, second, third, kept;
  logic tabled;

  vec_load u_a (
      .float_i,
      .type_i(a_type_i),
      .raw_i(a_i),
      .value_o(a)
  );
  vec_load u_b (
      .float_i,
      .type_i(b_type_i),
      .raw_i(b_i),
      .value_o(b_value)
  );
  vec_load u_c (
      .float_i,
      .type_i(c_type_i),
      .raw_i(c_i),
      .value_o(c_value)
  );
  assign b = b_imm_i ? b_i : b_value;
  assign c = c_imm_i ? c_i : c_value;

  vec_int u_int1 (
      .alu_i(alu1_i),
      .x_i(a),
      .y_i(b),
      .chosen_i(a),
      .z_o(int_first)
  );
  vec_float u_float1 (
      .en_i(en_i && float_i),
      .alu_i(alu1_i),
      .x_i(a),
      .y_i(b),
      .chosen_i(a),
      .z_o(float_first)
  );
  assign first = float_i ? float_first : int_first;

  vec_exact u_exact (
      .float_i,
      .lut_i,
      .x_i(first),
      .z_o(exact)
  );
  assign tabled = float_i && lut_i >= athena_pkg::LUT_EXP && lut_i <= athena_pkg::LUT_COS;
  vec_table u_table (
      .en_i(en_i && tabled),
      .lut_i,
      .x_i(first),
      .y_o(function_value)
  );
  assign second = tabled ? function_value : exact;

  vec_int u_int2 (
      .alu_i(alu2_i),
      .x_i(second),
      .y_i(c),
      .chosen_i(b),
      .z_o(int_last)
  );
  vec_float u_float2 (
      .en_i(en_i && float_i),
      .alu_i(alu2_i),
      .x_i(second),
      .y_i(c),
      .chosen_i(b),
      .z_o(float_last)
  );
  assign third = float_i ? float_last : int_last;
  assign kept = keep_i ? third : fill_i;

  vec_store u_d (
      .float_i,
      .type_i(d_type_i),
      .zero_i,
      .value_i(kept),
      .raw_o(d_o)
  );

  f32_mul u_square (
      .en_i(en_i && float_i && red_i == athena_pkg::RED_SUMSQ),
      .x_i(kept),
      .y_i(kept),
      .z_o(square)
  );
  always_comb begin
    side_o = kept;
    if (red_i == athena_pkg::RED_SUMSQ) side_o = float_i ? square : kept * kept;
    if (red_i == athena_pkg::RED_ABSMAX) side_o = float_i ? {1'b0, kept[30:0]} : kept[31] ? -kept : kept;
  end
endmodule
