// ROWS x COLS cells, weight stationary. A row of A that enters in cycle t leaves as sums in cycle t + ROWS + COLS - 1.
// Weights of the next tile enter a line a cycle behind the tile in work: row k, or, transposed, column k in one go.
// Cell (r, c) works on a row r + c cycles after it entered, so both weights and rows are skewed by that much inside.
module mac_array #(
    parameter int Rows = athena_pkg::ROWS,
    parameter int Cols = athena_pkg::COLS,
    localparam int Feed = athena_pkg::FEED_BITS,
    localparam int Sum = athena_pkg::SUM_BITS,
    localparam int IndexBits = $clog2(Rows)
) (
    input  logic                      clk_i,
    input  logic                      en_i,
    input  logic                      float_i,         // bf16, else 9-bit integers
    input  logic                      weight_valid_i,
    input  logic                      weight_trans_i,
    input  logic [IndexBits-1:0]      weight_index_i,  // of the row, or of the column if transposed
    input  logic [Rows-1:0][Feed-1:0] weight_line_i,
    input  logic                      swap_i,          // with the first row of a tile
    input  logic [Rows-1:0][Feed-1:0] row_i,
    output logic [Cols-1:0][Sum-1:0]  sums_o
);
  logic [Cols-1:0][Rows-1:0] row_load;  // column c: which row takes its weight
  logic [Rows-1:0][Cols-1:0] col_load;  // row r: which column takes its weight
  logic [Cols-1:0][Feed-1:0] row_weight;
  logic [Rows-1:0][Feed-1:0] col_weight;
  logic [Rows-1:0] row_select;
  logic [Cols-1:0] col_select;

  logic [Rows-1:0][Cols:0][Feed-1:0] a;
  logic [Rows-1:0][Cols:0] swap;
  logic [Rows:0][Cols-1:0][Sum-1:0] sum;

  always_comb begin
    for (int r = 0; r < Rows; r++) begin
      row_select[r] = weight_valid_i && !weight_trans_i && weight_index_i == IndexBits'(r);
    end
    for (int c = 0; c < Cols; c++) begin
      col_select[c] = weight_valid_i && weight_trans_i && weight_index_i == IndexBits'(c);
    end
  end

  for (genvar c = 0; c < Cols; c++) begin : g_weight_row
    delay_line #(
        .WIDTH(Rows + Feed),
        .DEPTH(c)
    ) u_skew (
        .clk_i,
        .en_i,
        .d_i({row_select, weight_line_i[c]}),
        .q_o({row_load[c], row_weight[c]})
    );
    assign sum[0][c] = '0;
    delay_line #(
        .WIDTH(Sum),
        .DEPTH(Cols - 1 - c)
    ) u_deskew (
        .clk_i,
        .en_i,
        .d_i(sum[Rows][c]),
        .q_o(sums_o[c])
    );
  end

  for (genvar r = 0; r < Rows; r++) begin : g_row
    delay_line #(
        .WIDTH(Cols + Feed),
        .DEPTH(r)
    ) u_weight_skew (
        .clk_i,
        .en_i,
        .d_i({col_select, weight_line_i[r]}),
        .q_o({col_load[r], col_weight[r]})
    );
    delay_line #(
        .WIDTH(1 + Feed),
        .DEPTH(r)
    ) u_skew (
        .clk_i,
        .en_i,
        .d_i({swap_i, row_i[r]}),
        .q_o({swap[r][0], a[r][0]})
    );
    for (genvar c = 0; c < Cols; c++) begin : g_col
      mac_cell u_cell (
          .clk_i,
          .en_i,
          .float_i,
          .load_i(row_load[c][r] || col_load[r][c]),
          .weight_i(col_load[r][c] ? col_weight[r] : row_weight[c]),
          .swap_i(swap[r][c]),
          .a_i(a[r][c]),
          .sum_i(sum[r][c]),
          .swap_o(swap[r][c+1]),
          .a_o(a[r][c+1]),
          .sum_o(sum[r+1][c])
      );
    end
  end
endmodule
