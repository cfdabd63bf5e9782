// float32 arithmetic as functions: each is one piece of code for all lanes of the simulator.
package f32_pkg;
  localparam int AddGuard = 3;
  localparam int AddWidth = 24 + AddGuard + 1;

  function automatic logic [31:0] add(input logic [31:0] x, input logic [31:0] y);
    /* verilator no_inline_task */
    logic [31:0] big, little, z;
    logic [7:0] exponent, shift;
    logic [AddWidth-1:0] high, low, sum;
    big = x[30:0] >= y[30:0] ? x : y;
    little = x[30:0] >= y[30:0] ? y : x;
    exponent = big[30:23] == '0 ? 8'd1 : big[30:23];
    shift = exponent - (little[30:23] == '0 ? 8'd1 : little[30:23]);
    high = {1'b0, big[30:23] != '0, big[22:0], 3'b0};
    low = {1'b0, little[30:23] != '0, little[22:0], 3'b0};
    if (shift >= 8'(AddWidth)) low = AddWidth'(low != '0);
    else low = (low >> shift) | AddWidth'((low & ~({AddWidth{1'b1}} << shift)) != '0);
    sum = big[31] == little[31] ? high + low : high - low;
    if (sum[AddWidth-1]) begin
      sum = (sum >> 1) | AddWidth'(sum[0]);
      exponent = exponent + 1'b1;
    end else begin
      for (int s = 4; s >= 0; s--) begin
        if (sum >> (AddWidth - 1 - (1 << s)) == '0 && exponent > 8'(1 << s)) begin
          sum = sum << (1 << s);
          exponent = exponent - 8'(1 << s);
        end
      end
    end
    if (big[30:23] == '1) begin
      z = big;
      if (big[22:0] != '0 || (little[30:0] == big[30:0] && little[31] != big[31])) z = 32'h7FC0_0000;
    end else if (sum == '0) z = {big[31] && little[31], 31'b0};
    else begin
      // The leading bit of a normal number adds one to the exponent, as rounding up may.
      z = {big[31], {exponent - 1'b1, 23'b0} + 31'(sum[AddWidth-2:AddGuard]) +
           31'(sum[2] && (sum[1:0] != '0 || sum[3]))};
      if (z[30:23] == '1) z[22:0] = '0;
    end
    add = z;
  endfunction

  // Exponent of a number, 1 where it is subnormal.
  function automatic logic signed [10:0] scale(input logic [7:0] field);
    scale = field == '0 ? 11'sd1 : signed'({3'b0, field});
  endfunction

  function automatic logic [31:0] mul(input logic [31:0] x, input logic [31:0] y);
    /* verilator no_inline_task */
    logic sign, sticky;
    logic [47:0] product;
    logic [5:0] zeros;
    logic signed [10:0] exponent;
    logic [24:0] kept;  // the 24 bits of the result and one below
    sign = x[31] ^ y[31];
    product = 48'({x[30:23] != '0, x[22:0]}) * 48'({y[30:23] != '0, y[22:0]});
    zeros = '0;
    for (int s = 5; s >= 0; s--) begin
      if (product >> (48 - (1 << s)) == '0) begin
        product = product << (1 << s);
        zeros[s] = 1'b1;
      end
    end
    exponent = scale(x[30:23]) + scale(y[30:23]) - 11'sd126 - signed'({5'b0, zeros});
    sticky = 1'b0;
    if (exponent < 1) begin  // subnormal: less precision
      sticky = exponent < -11'sd46 ? product != '0 : (product << (11'sd47 + exponent)) != '0;
      product = exponent < -11'sd46 ? '0 : product >> (11'sd1 - exponent);
      exponent = '0;
    end
    kept = product[47:23];
    sticky = sticky || product[22:0] != '0;
    if (x[30:23] == '1 || y[30:23] == '1) begin
      mul = {sign, 8'hFF, 23'b0};
      if ((x[30:23] == '1 && x[22:0] != '0) || (y[30:23] == '1 && y[22:0] != '0) ||
          x[30:0] == '0 || y[30:0] == '0) mul = 32'h7FC0_0000;
    end else if (x[30:0] == '0 || y[30:0] == '0) mul = {sign, 31'b0};
    else if (exponent >= 255) mul = {sign, 8'hFF, 23'b0};
    else begin
      // The leading bit of a normal number adds one to the exponent, as rounding up may.
      mul = {sign, 31'({exponent[7:0], 23'b0}) - (exponent == '0 ? 31'd0 : 31'h80_0000) + 31'(kept[24:1]) +
               31'(kept[0] && (sticky || kept[1]))};
    end
  endfunction
endpackage
