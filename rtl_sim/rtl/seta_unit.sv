// SETA: q = floor(S / div), then q mod `mod`, then imm + q * mult + base. Both divisions give 4 bits a cycle, so the word takes
// one cycle to start, 16 to divide and one to multiply. Floor and modulus of negative S use floor(s / d) = ~(~s / d).
module seta_unit (
    input  logic                                    clk_i,
    input  logic                                    rst_i,
    input  logic                                    start_i,
    input  athena_pkg::word_t                       word_i,
    input  logic signed [31:0]                      scalar_i,
    input  logic signed [athena_pkg::ADDR_BITS-1:0] base_i,   // value of the areg to add
    output logic                                    busy_o,
    output logic                                    done_o,   // last cycle: the result is valid
    output logic        [athena_pkg::ADDR_BITS-1:0] result_o
);
  localparam int AddrBits = athena_pkg::ADDR_BITS;
  localparam int Steps = athena_pkg::SETA_CYCLES - 2;
  localparam int Half = Steps / 2;
  localparam int StepBits = 2 * 32 / Steps;
  localparam int CountBits = $clog2(Steps + 2);

  logic [CountBits-1:0] left;
  logic negative, shift, has_mod;
  logic [31:0] den, quotient, mod;
  logic [31:0] quotient_next;
  logic [32:0] rest, rest_next, magnitude;
  logic signed [31:0] mult;
  logic signed [AddrBits-1:0] imm, base;
  logic signed [33:0] count;
  logic signed [65:0] scaled;
  logic last_of_first;

  assign busy_o = left != '0;
  assign done_o = left == CountBits'(1);
  assign last_of_first = left == CountBits'(Half + 2);

  // StepBits steps of restoring division.
  always_comb begin
    rest_next = rest;
    quotient_next = quotient;
    for (int i = 0; i < StepBits; i++) begin
      rest_next = {rest_next[31:0], quotient_next[31]};
      quotient_next = {quotient_next[30:0], 1'b0};
      if (rest_next >= {1'b0, den}) begin
        rest_next = rest_next - {1'b0, den};
        quotient_next[0] = 1'b1;
      end
    end
  end

  // After both divisions: `rest` is q mod `mod` of the magnitude, `quotient` is q where there is no modulus.
  always_comb begin
    if (!has_mod) magnitude = {1'b0, quotient};
    else magnitude = negative ? {1'b0, mod} - 33'd1 - rest : rest;
    count = {1'b0, magnitude};
    if (negative && !has_mod) count = ~count;
    scaled = 66'(count) * 66'(mult);
    if (!shift) result_o = imm + scaled[AddrBits-1:0] + base;
    else if (scaled >= 66'(AddrBits) || scaled <= -(66'(AddrBits))) result_o = base;  // everything shifted out
    else if (scaled < 0) result_o = (imm >>> (6'd0 - scaled[5:0])) + base;
    else result_o = (imm << scaled[5:0]) + base;
  end

  logic unused;
  assign unused = ^word_i;

  always_ff @(posedge clk_i) begin
    if (rst_i) left <= '0;
    else if (start_i) begin
      left     <= CountBits'(Steps + 1);
      negative <= scalar_i[31];
      quotient <= scalar_i[31] ? ~scalar_i : scalar_i;
      rest     <= '0;
      den      <= word_i.n[0];
      mod      <= word_i.n[1];
      has_mod  <= word_i.n[1] != '0;
      imm      <= {word_i.p[2][15:0], word_i.p[1]};
      mult     <= word_i.p[3];
      shift    <= |(word_i.mode & 8'(athena_pkg::MODE_SETA_SHIFT));
      base     <= base_i;
    end else if (busy_o) begin
      left <= left - 1'b1;
      if (!done_o && (left > CountBits'(Half + 1) || has_mod)) begin
        quotient <= quotient_next;
        rest     <= rest_next;
        if (last_of_first && has_mod) begin
          rest <= '0;
          den  <= mod;
        end
      end
    end
  end
endmodule
