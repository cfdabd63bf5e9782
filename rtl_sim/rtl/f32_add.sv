// float32 sum, rounded to nearest even, with gradual underflow; NaN is canonical. Nought while `en_i` is low.
module f32_add (
    input  logic        en_i,
    input  logic [31:0] x_i,
    input  logic [31:0] y_i,
    output logic [31:0] z_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  localparam int Guard = 3;
  localparam int Width = 24 + Guard + 1;

  logic [31:0] big, little;
  logic [7:0] exponent, shift;
  logic [Width-1:0] high, low, sum;

  always_comb begin
    z_o = '0;
    big = x_i[30:0] >= y_i[30:0] ? x_i : y_i;
    little = x_i[30:0] >= y_i[30:0] ? y_i : x_i;
    exponent = '0;
    shift = '0;
    high = '0;
    low = '0;
    sum = '0;
    if (en_i && big[30:23] == '1) begin
      z_o = big;
      if (big[22:0] != '0 || (little[30:0] == big[30:0] && little[31] != big[31])) z_o = 32'h7FC0_0000;
    end else if (en_i) begin
      exponent = big[30:23] == '0 ? 8'd1 : big[30:23];
      shift = exponent - (little[30:23] == '0 ? 8'd1 : little[30:23]);
      high = {1'b0, big[30:23] != '0, big[22:0], 3'b0};
      low = {1'b0, little[30:23] != '0, little[22:0], 3'b0};
      if (shift >= 8'(Width)) low = Width'(low != '0);
      else low = (low >> shift) | Width'((low & ~({Width{1'b1}} << shift)) != '0);
      sum = big[31] == little[31] ? high + low : high - low;
      if (sum[Width-1]) begin
        sum = (sum >> 1) | Width'(sum[0]);
        exponent = exponent + 1'b1;
      end else begin
        for (int s = 4; s >= 0; s--) begin
          if (sum >> (Width - 1 - (1 << s)) == '0 && exponent > 8'(1 << s)) begin
            sum = sum << (1 << s);
            exponent = exponent - 8'(1 << s);
          end
        end
      end
      if (sum == '0) z_o = {big[31] && little[31], 31'b0};
      else begin
        // The leading bit of a normal number adds one to the exponent, as rounding up may.
        z_o = {big[31], {exponent - 1'b1, 23'b0} + 31'(sum[Width-2:Guard]) +
               31'(sum[2] && (sum[1:0] != '0 || sum[3]))};
        if (z_o[30:23] == '1) z_o[22:0] = '0;
      end
    end
  end
endmodule
