// LANES x LANES elements in registers. Each cycle line `step_i` (row, or column if upright) is shown, and a new line may take its
// place: a block that comes in by rows goes out by columns, and the next one comes in where those columns were.
module transpose_square #(
    localparam int Lanes = athena_pkg::LANES,
    localparam int LenBits = $clog2(Lanes + 1),
    localparam int PlaceBits = $clog2(Lanes)
) (
    input  logic                     clk_i,
    input  logic                     upright_i,
    input  logic [LenBits-1:0]       step_i,
    input  logic                     write_i,
    input  logic [Lanes-1:0][31:0]   line_i,
    output logic [Lanes-1:0][31:0]   line_o
);
  logic [Lanes-1:0][Lanes-1:0][31:0] cells;
  logic [PlaceBits-1:0] at;

  assign at = step_i[PlaceBits-1:0];

  // Every cell compares its own place: indices that are constants keep synthesis small.
  always_comb begin
    line_o = '0;
    for (int i = 0; i < Lanes; i++) begin
      for (int k = 0; k < Lanes; k++) begin
        if (at == PlaceBits'(k)) line_o[i] = upright_i ? cells[i][k] : cells[k][i];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int row = 0; row < Lanes; row++) begin
      for (int col = 0; col < Lanes; col++) begin
        if (write_i && at == PlaceBits'(upright_i ? col : row)) cells[row][col] <= upright_i ? line_i[row] : line_i[col];
      end
    end
  end

  logic unused;
  assign unused = step_i[LenBits-1];
endmodule
