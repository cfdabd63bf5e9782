// Order of two float32: zeros of both signs are equal, NaN is neither less nor equal.
module f32_less (
    input  logic [31:0] x_i,
    input  logic [31:0] y_i,
    output logic        x_nan_o,
    output logic        y_nan_o,
    output logic        less_o,
    output logic        equal_o
);
  logic nan, zeros;
  assign x_nan_o = x_i[30:23] == '1 && x_i[22:0] != '0;
  assign y_nan_o = y_i[30:23] == '1 && y_i[22:0] != '0;
  assign nan = x_nan_o || y_nan_o;
  assign zeros = x_i[30:0] == '0 && y_i[30:0] == '0;
  assign equal_o = !nan && (x_i == y_i || zeros);

  always_comb begin
    if (nan || zeros) less_o = 1'b0;
    else if (x_i[31] != y_i[31]) less_o = x_i[31];
    else if (x_i[31]) less_o = x_i[30:0] > y_i[30:0];
    else less_o = x_i[30:0] < y_i[30:0];
  end
endmodule
