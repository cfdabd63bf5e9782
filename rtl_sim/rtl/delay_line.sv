// DEPTH cycles of delay for one lane while `en_i` is high; DEPTH 0 is a wire.
module delay_line #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 1
) (
    input  logic             clk_i,
    input  logic             en_i,
    input  logic [WIDTH-1:0] d_i,
    output logic [WIDTH-1:0] q_o
);
  if (DEPTH == 0) begin : g_wire
    logic unused;
    assign unused = clk_i ^ en_i;
    assign q_o = d_i;
  end else if (DEPTH == 1) begin : g_one
    always_ff @(posedge clk_i) if (en_i) q_o <= d_i;
  end else begin : g_many
    logic [DEPTH*WIDTH-1:0] taps;
    always_ff @(posedge clk_i) if (en_i) taps <= {taps[(DEPTH-1)*WIDTH-1:0], d_i};
    assign q_o = taps[DEPTH*WIDTH-1-:WIDTH];
  end
endmodule
