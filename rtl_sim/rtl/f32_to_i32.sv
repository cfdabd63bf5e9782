// Nearest int32 of a float32, half to even, saturated; NaN gives 0.
module f32_to_i32 (
    input  logic        [31:0] x_i,
    output logic signed [31:0] z_o
);
  logic [7:0] exponent;
  logic [31:0] kept;
  logic [55:0] wide;  // 32 integer bits and 24 below the point
  logic round_up;

  assign exponent = x_i[30:23];

  always_comb begin
    wide = {32'b0, 1'b1, x_i[22:0]};  // 1.f has its point 23 places up: value * 2^24 = wide * 2 at exponent 127
    round_up = 1'b0;
    kept = '0;
    if (exponent == 8'hFF && x_i[22:0] != '0) kept = '0;
    else if (exponent >= 8'd158) kept = x_i[31] ? 32'h8000_0000 : 32'h7FFF_FFFF;
    else if (exponent >= 8'd126) begin
      wide = wide << (exponent - 8'd126);
      round_up = wide[23] && (wide[22:0] != '0 || wide[24]);
      kept = wide[55:24] + 32'(round_up);
      // Below 2^31 in magnitude; only rounding can reach 2^31, and float32 has no such fraction there.
      if (x_i[31]) kept = -kept;
    end
  end

  assign z_o = kept;
endmodule
