// float32 product, rounded to nearest even, with gradual underflow; NaN is canonical. Nought while `en_i` is low.
module f32_mul (
    input  logic        en_i,
    input  logic [31:0] x_i,
    input  logic [31:0] y_i,
    output logic [31:0] z_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  logic sign, special;
  logic [47:0] product;
  logic [5:0] zeros;
  logic signed [10:0] exponent;
  logic [24:0] kept;  // the 24 bits of the result and one below
  logic sticky;

  // Exponent of a number, 1 where it is subnormal, and its 24-bit significand.
  function automatic logic signed [10:0] scale(input logic [7:0] field);
    scale = field == '0 ? 11'sd1 : signed'({3'b0, field});
  endfunction

  always_comb begin
    z_o = '0;
    sign = x_i[31] ^ y_i[31];
    special = x_i[30:23] == '1 || y_i[30:23] == '1;
    product = '0;
    zeros = '0;
    exponent = '0;
    kept = '0;
    sticky = 1'b0;
    if (en_i && special) begin
      z_o = {sign, 8'hFF, 23'b0};
      if ((x_i[30:23] == '1 && x_i[22:0] != '0) || (y_i[30:23] == '1 && y_i[22:0] != '0) ||
          x_i[30:0] == '0 || y_i[30:0] == '0) z_o = 32'h7FC0_0000;
    end else if (en_i) begin
      product = 48'({x_i[30:23] != '0, x_i[22:0]}) * 48'({y_i[30:23] != '0, y_i[22:0]});
      for (int s = 5; s >= 0; s--) begin
        if (product >> (48 - (1 << s)) == '0) begin
          product = product << (1 << s);
          zeros[s] = 1'b1;
        end
      end
      exponent = scale(x_i[30:23]) + scale(y_i[30:23]) - 11'sd126 - signed'({5'b0, zeros});
      if (exponent < 1) begin  // subnormal: less precision
        sticky = exponent < -11'sd46 ? product != '0 : (product << (11'sd47 + exponent)) != '0;
        product = exponent < -11'sd46 ? '0 : product >> (11'sd1 - exponent);
        exponent = '0;
      end
      kept = product[47:23];
      sticky = sticky || product[22:0] != '0;
      if (x_i[30:0] == '0 || y_i[30:0] == '0) z_o = {sign, 31'b0};
      else if (exponent >= 255) z_o = {sign, 8'hFF, 23'b0};
      else begin
        // The leading bit of a normal number adds one to the exponent, as rounding up may.
        z_o = {sign, 31'({exponent[7:0], 23'b0}) - (exponent == '0 ? 31'd0 : 31'h80_0000) + 31'(kept[24:1]) +
               31'(kept[0] && (sticky || kept[1]))};
      end
    end
  end
endmodule
