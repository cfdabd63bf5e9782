// int32 as the nearest float32, half to even.
module i32_to_f32 (
    input  logic signed [31:0] x_i,
    output logic        [31:0] z_o
);
  logic [31:0] magnitude;
  logic [4:0] zeros;

  always_comb begin
    magnitude = x_i < 0 ? -x_i : x_i;
    zeros = '0;
    z_o = '0;
    if (magnitude != '0) begin
      for (int s = 4; s >= 0; s--) begin
        if (magnitude >> (32 - (1 << s)) == '0) begin
          magnitude = magnitude << (1 << s);
          zeros[s] = 1'b1;
        end
      end
      z_o = {x_i[31], {8'd157 - 8'(zeros), 23'b0} + 31'(magnitude[31:8]) +
             31'(magnitude[7] && (magnitude[6:0] != '0 || magnitude[8]))};
    end
  end
endmodule
