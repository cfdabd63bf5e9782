// LANES x LANES elements in registers. Each cycle line `step_i` (row, or column if upright) is shown, and a new line may take its
// place: a block that comes in by rows goes out by columns, and the next one comes in where those columns were.
module transpose_square #(
    localparam int Lanes = athena_pkg::LANES,
    localparam int LenBits = $clog2(Lanes + 1)
) (
    input  logic                     clk_i,
    input  logic                     upright_i,
    input  logic [LenBits-1:0]       step_i,
    input  logic                     write_i,
    input  logic [Lanes-1:0][31:0]   line_i,
    output logic [Lanes-1:0][31:0]   line_o
);
  logic [Lanes-1:0][Lanes-1:0][31:0] cells;
  logic [$clog2(Lanes)-1:0] at;

  assign at = step_i[$clog2(Lanes)-1:0];

  always_comb begin
    for (int i = 0; i < Lanes; i++) line_o[i] = upright_i ? cells[i][at] : cells[at][i];
  end

  always_ff @(posedge clk_i) begin
    if (write_i) begin
      for (int i = 0; i < Lanes; i++) begin
        if (upright_i) cells[i][at] <= line_i[i];
        else cells[at][i] <= line_i[i];
      end
    end
  end

  logic unused;
  assign unused = step_i[LenBits-1];
endmodule
