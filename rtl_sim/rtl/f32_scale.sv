// x * 2^k of a normal float32, rounded to nearest even, with gradual underflow. Nought while `en_i` is low.
module f32_scale (
    input  logic               en_i,
    input  logic        [31:0] x_i,
    input  logic signed [8:0]  k_i,
    output logic        [31:0] z_o
);
  localparam int Below = 25;  // more places to the right than that leave less than half of the last one

  logic signed [10:0] exponent;
  logic [4:0] shift;
  logic [23+Below:0] wide;

  always_comb begin
    exponent = signed'({3'b0, x_i[30:23]}) + 11'(k_i);
    shift = exponent < 11'sd1 - 11'(Below) ? 5'(Below) : 5'(11'sd1 - exponent);
    wide = {1'b1, x_i[22:0], {Below{1'b0}}} >> shift;
    z_o = '0;
    if (en_i) begin
      if (exponent >= 255) z_o = {x_i[31], 8'hFF, 23'b0};
      else if (exponent >= 1) z_o = {x_i[31], exponent[7:0], x_i[22:0]};
      else
        z_o = {x_i[31], 31'(wide[23+Below:Below]) +
               31'(wide[Below-1] && (wide[Below-2:0] != '0 || wide[Below]))};
    end
  end
endmodule
