// float32 product, rounded to nearest even, with gradual underflow; NaN is canonical. Nought while `en_i` is low.
module f32_mul (
    input  logic        en_i,
    input  logic [31:0] x_i,
    input  logic [31:0] y_i,
    output logic [31:0] z_o
);
  always_comb begin
    z_o = '0;
    if (en_i) z_o = f32_pkg::mul(x_i, y_i);
  end
endmodule
