// A lane's value as an element of the result, in the low bits.
module vec_store (
    input  logic               float_i,
    input  logic        [3:0]  type_i,
    input  logic signed [31:0] zero_i,   // added to int8 and uint8
    input  logic        [31:0] value_i,
    output logic        [31:0] raw_o
);
  logic signed [31:0] whole, rounded;
  logic signed [32:0] moved, low, high;
  logic [31:0] real_value, as_float;
  logic [15:0] as_half;
  logic is_nan;

  f32_to_i32 u_to_int (
      .x_i(value_i),
      .z_o(rounded)
  );
  i32_to_f32 u_to_float (
      .x_i(value_i),
      .z_o(as_float)
  );
  f32_to_half u_half (
      .x_i(real_value),
      .z_o(as_half)
  );

  assign whole = float_i ? rounded : value_i;
  assign real_value = float_i ? value_i : as_float;
  assign is_nan = real_value[30:23] == '1 && real_value[22:0] != '0;

  always_comb begin
    moved = 33'(whole) + 33'(zero_i);
    low = type_i == athena_pkg::DT_U8 ? 33'sd0 : -33'sd128;
    high = type_i == athena_pkg::DT_U8 ? 33'sd255 : 33'sd127;
    case (type_i)
      athena_pkg::DT_F32:  raw_o = is_nan ? 32'h7FC0_0000 : real_value;
      athena_pkg::DT_BF16:
      raw_o = is_nan ? 32'h7FC0 : (real_value + 32'h7FFF + 32'(real_value[16])) >> 16;
      athena_pkg::DT_F16:  raw_o = {16'b0, as_half};
      athena_pkg::DT_I32:  raw_o = whole;
      default:             raw_o = 32'(moved < low ? low : moved > high ? high : moved);
    endcase
  end
endmodule
