// One cell of the array: a weight in use and the next one behind it. `a_i` passes to the right, the sum downwards.
// `swap_i` comes with the first row of a tile and puts the waiting weight into use in that very cycle.
// Integers: 9-bit operands, int32 sums. bf16: float32 product and float32 sum, each rounded.
module mac_cell (
    input  logic                                    clk_i,
    input  logic                                    en_i,
    input  logic                                    float_i,
    input  logic                                    load_i,
    input  logic signed [athena_pkg::FEED_BITS-1:0] weight_i,
    input  logic                                    swap_i,
    input  logic signed [athena_pkg::FEED_BITS-1:0] a_i,
    input  logic signed [athena_pkg::SUM_BITS-1:0]  sum_i,
    output logic                                    swap_o,
    output logic signed [athena_pkg::FEED_BITS-1:0] a_o,
    output logic signed [athena_pkg::SUM_BITS-1:0]  sum_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  localparam int IntBits = 9;
  localparam int SumBits = athena_pkg::SUM_BITS;

  logic signed [athena_pkg::FEED_BITS-1:0] used, waiting;

  // All under one condition: a simulator skips it while the array stands still.
  always_ff @(posedge clk_i) begin
    if (en_i) begin : g_work
      logic signed [athena_pkg::FEED_BITS-1:0] weight;
      logic signed [IntBits-1:0] a_int, weight_int;
      logic [31:0] a_float, weight_float, sum_float, product;
      weight = swap_i ? waiting : used;
      // Operands reach only the half that computes, so that the other one does not switch.
      a_int = float_i ? '0 : a_i[IntBits-1:0];
      weight_int = float_i ? '0 : weight[IntBits-1:0];
      a_float = {a_i, 16'b0} & {32{float_i}};
      weight_float = {weight, 16'b0} & {32{float_i}};
      sum_float = sum_i & {32{float_i}};
      if (load_i) waiting <= weight_i;
      used   <= weight;
      swap_o <= swap_i;
      a_o    <= a_i;
      if (float_i) begin
        product = f32_pkg::mul(a_float, weight_float);
        sum_o <= f32_pkg::add(sum_float, product);
      end else sum_o <= sum_i + SumBits'(a_int) * SumBits'(weight_int);
    end
  end
endmodule
