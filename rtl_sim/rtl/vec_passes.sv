// Cycles of a step of VEC: operands a, b, c and a kept e, in this order, are each read in the first cycle in which no operand
// before them reads a bank of theirs; two cycles at least where results d and e share a bank (`vec_passes` of athena.isa.cycles).
module vec_passes #(
    parameter int Banks = 1
) (
    input  logic                  keep_i,
    input  logic [4:0][Banks-1:0] banks_i,   // of a b c d e
    output athena_pkg::passes_t   passes_o
);
  logic [1:0] b, c, e, most;
  logic [2:0] taken;  // cycles that c, then e, cannot have
  logic clash;

  function automatic logic meet(input logic [Banks-1:0] x, input logic [Banks-1:0] y);
    meet = (x & y) != '0;
  endfunction

  function automatic logic [1:0] first_free(input logic [2:0] cycles);
    first_free = !cycles[0] ? 2'd0 : !cycles[1] ? 2'd1 : !cycles[2] ? 2'd2 : 2'd3;
  endfunction

  always_comb begin
    b = {1'b0, meet(banks_i[0], banks_i[1])};
    taken = '0;
    if (meet(banks_i[0], banks_i[2])) taken[0] = 1'b1;
    if (meet(banks_i[1], banks_i[2])) taken[b] = 1'b1;
    c = first_free(taken);
    taken = '0;
    if (meet(banks_i[0], banks_i[4])) taken[0] = 1'b1;
    if (meet(banks_i[1], banks_i[4])) taken[b] = 1'b1;
    if (meet(banks_i[2], banks_i[4])) taken[c] = 1'b1;
    e = keep_i ? first_free(taken) : 2'd0;
    clash = meet(banks_i[3], banks_i[4]);
    most = b > c ? b : c;
    if (e > most) most = e;
    if (clash && most == 2'd0) most = 2'd1;
  end
  assign passes_o.at = {e, c, b, 2'd0};
  assign passes_o.last = most;
  assign passes_o.clash = clash;
endmodule
