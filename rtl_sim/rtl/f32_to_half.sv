// float32 as the nearest float16, half to even, with gradual underflow; NaN is canonical.
module f32_to_half (
    input  logic [31:0] x_i,
    output logic [15:0] z_o
);
  logic [23:0] significand, lost;
  logic [4:0] shift;

  always_comb begin
    significand = {1'b1, x_i[22:0]};
    shift = 5'd13;  // bits below the result's last one; more for subnormal results
    if (x_i[30:23] < 8'd113) shift = x_i[30:23] < 8'd101 ? 5'd25 : 5'(8'd126 - x_i[30:23]);
    lost = shift >= 5'd24 ? significand : significand & ~({24{1'b1}} << shift);
    z_o = {x_i[15+16], 15'b0};
    if (x_i[30:23] == '1 && x_i[22:0] != '0) z_o = 16'h7E00;
    else if (x_i[30:23] >= 8'd143) z_o[14:0] = 15'h7C00;
    else begin
      if (x_i[30:23] >= 8'd113) z_o[14:10] = 5'(x_i[30:23] - 8'd113);
      z_o[14:0] = z_o[14:0] + 15'(significand >> shift) + 15'(lost > half(shift) ||
          (lost == half(shift) && odd(significand, shift)));
    end
  end

  function automatic logic [23:0] half(input logic [4:0] at);
    half = at > 5'd24 ? '1 : 24'd1 << (at - 5'd1);
  endfunction

  function automatic logic odd(input logic [23:0] value, input logic [4:0] at);
    odd = at < 5'd24 && value[at];
  endfunction
endmodule
