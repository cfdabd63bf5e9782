// One lane of VEC: t = alu1(a, b); t = lut(t); d = cvt(alu2(t, c)), on int32.
module vec_lane (
    input  logic        [7:0]  alu1_i,
    input  logic        [7:0]  lut_i,
    input  logic        [7:0]  alu2_i,
    input  logic        [3:0]  type_i,   // of the result
    input  logic signed [31:0] zero_i,
    input  logic signed [31:0] a_i,
    input  logic signed [31:0] b_i,
    input  logic signed [31:0] c_i,
    output logic        [31:0] d_o
);
  logic signed [31:0] first, second, third;
  logic signed [32:0] shifted, low, high;

  vec_int u_alu1 (
      .alu_i(alu1_i),
      .x_i(a_i),
      .y_i(b_i),
      .chosen_i(a_i),
      .z_o(first)
  );

  always_comb begin
    case (lut_i)
      athena_pkg::LUT_ABS:  second = first < 0 ? -first : first;
      athena_pkg::LUT_NEG:  second = -first;
      athena_pkg::LUT_SIGN: second = first > 0 ? 32'sd1 : first < 0 ? -32'sd1 : 32'sd0;
      athena_pkg::LUT_NOT:  second = 32'(first == 0);
      default:              second = first;
    endcase
  end

  vec_int u_alu2 (
      .alu_i(alu2_i),
      .x_i(second),
      .y_i(c_i),
      .chosen_i(b_i),
      .z_o(third)
  );

  always_comb begin
    shifted = 33'(third) + 33'(zero_i);
    low = type_i == athena_pkg::DT_U8 ? 33'sd0 : -33'sd128;
    high = type_i == athena_pkg::DT_U8 ? 33'sd255 : 33'sd127;
    if (type_i == athena_pkg::DT_I32) d_o = third;
    else d_o = 32'(shifted < low ? low : shifted > high ? high : shifted);
  end
endmodule
