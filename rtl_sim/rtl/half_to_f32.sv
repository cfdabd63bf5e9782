// float16 as float32, exact.
module half_to_f32 (
    input  logic [15:0] x_i,
    output logic [31:0] z_o
);
  logic [3:0] zeros;
  logic [9:0] fraction;

  always_comb begin
    zeros = 4'd10;
    for (int i = 0; i < 10; i++) if (x_i[i]) zeros = 4'(9 - i);
    fraction = x_i[9:0] << zeros << 1;
    if (x_i[14:10] == '1) z_o = {x_i[15], 8'hFF, x_i[9:0], 13'b0};
    else if (x_i[14:10] != '0) z_o = {x_i[15], 8'd112 + 8'(x_i[14:10]), x_i[9:0], 13'b0};
    else if (x_i[9:0] == '0) z_o = {x_i[15], 31'b0};
    else z_o = {x_i[15], 8'd112 - 8'(zeros), fraction, 13'b0};
  end
endmodule
