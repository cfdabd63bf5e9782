// One cell of the array: a weight in use and the next one behind it. `a_i` passes to the right, the sum downwards.
// `swap_i` comes with the first row of a tile and puts the waiting weight into use in that very cycle.
module mac_cell (
    input  logic                                    clk_i,
    input  logic                                    en_i,
    input  logic                                    load_i,
    input  logic signed [athena_pkg::FEED_BITS-1:0] weight_i,
    input  logic                                    swap_i,
    input  logic signed [athena_pkg::FEED_BITS-1:0] a_i,
    input  logic signed [athena_pkg::SUM_BITS-1:0]  sum_i,
    output logic                                    swap_o,
    output logic signed [athena_pkg::FEED_BITS-1:0] a_o,
    output logic signed [athena_pkg::SUM_BITS-1:0]  sum_o
);
  localparam int SumBits = athena_pkg::SUM_BITS;

  logic signed [athena_pkg::FEED_BITS-1:0] used, waiting, weight;

  assign weight = swap_i ? waiting : used;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      if (load_i) waiting <= weight_i;
      used   <= weight;
      swap_o <= swap_i;
      a_o    <= a_i;
      sum_o  <= sum_i + SumBits'(a_i) * SumBits'(weight);
    end
  end
endmodule
