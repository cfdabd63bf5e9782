// MATMUL of int8, uint8 or bf16 on the array: n-tiles of COLS columns, in each k-tiles of ROWS, in each the rows of A.
// A tile has max(M, ROWS) slots of one cycle. In its first ROWS slots the next tile's weights are read; the first tile's are read
// before. What is read enters the array one cycle later; sums come out ROWS + COLS cycles after the slot and are added into ACC.
module matrix_unit #(
    localparam int Rows = athena_pkg::ROWS,
    localparam int Cols = athena_pkg::COLS,
    localparam int Feed = athena_pkg::FEED_BITS,
    localparam int Sum = athena_pkg::SUM_BITS,
    localparam int L1Bits = $clog2(athena_pkg::L1_BYTES),
    localparam int AccBits = $clog2(athena_pkg::ACC_BYTES)
) (
    input  logic                       clk_i,
    input  logic                       rst_i,
    input  logic                       start_i,
    input  athena_pkg::uop_t           uop_i,
    output logic                       done_o,
    output logic                       a_read_o,
    output logic [L1Bits-1:0]          a_addr_o,
    input  logic [Rows*16-1:0]         a_data_i,
    output logic                       b_read_o,
    output logic [L1Bits-1:0]          b_addr_o,
    input  logic [Rows*16-1:0]         b_data_i,
    output logic                       bias_read_o,
    output logic [L1Bits-1:0]          bias_addr_o,
    input  logic [Cols*4*8-1:0]        bias_data_i,
    output logic                       acc_read_o,
    output logic [AccBits-1:0]         acc_addr_o,
    input  logic [Cols*4*8-1:0]        acc_data_i,
    output logic [Cols*4-1:0]          acc_write_o,
    output logic [Cols*4*8-1:0]        acc_write_data_o
);
  localparam int CountBits = athena_pkg::COUNT_BITS;
  localparam int Delay = Rows + Cols - 1;  // of the array, behind the register at its entry
  localparam int IndexBits = $clog2(Rows);

  typedef logic [CountBits-1:0] count_t;
  typedef logic [L1Bits-1:0] l1_t;

  // The word.
  logic [1:0] acc_mode;
  logic trans;
  logic a_signed, b_signed, floats;
  logic [Feed-1:0] a_zero, b_zero;
  count_t m, k;
  l1_t a_base, a_stride, b_stride, b_skip, rows_bytes, cols_bytes;
  logic [AccBits-1:0] d_stride;

  // Slots: `filling` reads the first tile's weights, `streaming` has a tile in work, `initial_only` is K = 0.
  logic filling, streaming, initial_only, busy;
  count_t slot, n_left, k_left;
  count_t wn_left, wk_left;  // of the tile whose weights are read
  l1_t a_tile, a_row, b_row, b_next, b_column;
  logic row_live, slots_end, k_end, tiles_end, weights, weights_end, next_tile;

  assign busy = filling || streaming || draining;
  assign row_live = streaming && slot < m;
  assign slots_end = streaming && slot + 1'b1 >= m && (initial_only || slot + 1'b1 >= count_t'(Rows));
  assign k_end = initial_only || k_left <= count_t'(Rows);
  assign tiles_end = k_end && n_left <= count_t'(Cols);
  assign next_tile = wn_left != '0;
  assign weights = (filling || streaming) && !initial_only && next_tile && slot < count_t'(Rows);
  assign weights_end = weights && slot == count_t'(Rows - 1);

  assign a_read_o = row_live && !initial_only;
  assign a_addr_o = a_row;
  assign b_read_o = weights && (!trans || slot < count_t'(Cols));
  assign b_addr_o = b_row;

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      filling   <= 1'b0;
      streaming <= 1'b0;
    end else if (start_i) begin
      acc_mode <= uop_i.word.mode[1:0] & 2'(athena_pkg::MODE_ACC_MASK);
      trans <= |(uop_i.word.mode & 8'(athena_pkg::MODE_B_TRANS));
      a_signed <= uop_i.word.dt[0] == athena_pkg::DT_I8;
      b_signed <= uop_i.word.dt[1] == athena_pkg::DT_I8;
      floats <= uop_i.word.dt[0] == athena_pkg::DT_BF16;
      a_zero <= uop_i.word.p[0][Feed-1:0];
      b_zero <= uop_i.word.p[1][Feed-1:0];
      {m, k} <= {uop_i.n[0], uop_i.n[2]};
      a_base <= uop_i.addr[0][L1Bits-1:0];
      a_stride <= uop_i.word.a.stride[L1Bits-1:0];
      b_stride <= uop_i.word.b.stride[L1Bits-1:0];
      b_skip <= l1_t'(Cols * uop_i.word.b.stride);
      {rows_bytes, cols_bytes} <= uop_i.word.dt[0] == athena_pkg::DT_BF16 ?
          {l1_t'(2 * Rows), l1_t'(2 * Cols)} : {l1_t'(Rows), l1_t'(Cols)};
      d_stride <= uop_i.word.d.stride[AccBits-1:0];
      filling <= uop_i.n[2] != '0;
      streaming <= uop_i.n[2] == '0;
      initial_only <= uop_i.n[2] == '0;
      slot <= '0;
      {n_left, k_left} <= {uop_i.n[1], uop_i.n[2]};
      {wn_left, wk_left} <= {uop_i.n[1], uop_i.n[2]};
      {a_tile, a_row} <= {2{uop_i.addr[0][L1Bits-1:0]}};
      {b_row, b_next, b_column} <= {3{uop_i.addr[1][L1Bits-1:0]}};
    end else begin
      if (filling || streaming) slot <= (filling ? weights_end : slots_end) ? '0 : slot + 1'b1;
      if (filling && weights_end) {filling, streaming} <= 2'b01;
      if (streaming) a_row <= a_row + a_stride;
      if (slots_end) begin
        streaming <= !tiles_end;
        k_left <= k_end ? k : k_left - count_t'(Rows);
        if (k_end) n_left <= n_left - count_t'(Cols);
        {a_tile, a_row} <= {2{k_end ? a_base : a_tile + rows_bytes}};
      end
      // b_next: first line of the tile whose weights are read; b_column: that of its n-tile's first k-tile.
      if (weights) b_row <= b_row + b_stride;
      if (weights_end) begin
        wk_left <= wk_left <= count_t'(Rows) ? k : wk_left - count_t'(Rows);
        if (wk_left > count_t'(Rows)) begin
          {b_row, b_next} <= {2{trans ? b_next + rows_bytes : b_row + b_stride}};
        end else begin
          wn_left <= wn_left <= count_t'(Cols) ? '0 : wn_left - count_t'(Cols);
          {b_row, b_next, b_column} <= {3{b_column + (trans ? b_skip : cols_bytes)}};
        end
      end
    end
  end

  // What was read, less its zero point; nought outside K (rows of A and weights) and N (weights).
  logic weight_valid, weight_trans, swap, live, last;
  logic [IndexBits-1:0] weight_index;
  logic [Rows-1:0][Feed-1:0] weight_line, a_line;
  logic [Cols-1:0][Sum-1:0] sums;

  // Operand i of a line: bf16 as it is, an integer less its zero point.
  function automatic logic [Feed-1:0] operand(input logic [Rows*16-1:0] line, input int i, input logic is_float,
                                              input logic is_signed, input logic [Feed-1:0] zero);
    if (is_float) operand = line[16*i+:16];
    else operand = {{(Feed - 8) {is_signed && line[8*i+7]}}, line[8*i+:8]} - zero;
  endfunction

  always_ff @(posedge clk_i) begin
    weight_valid <= b_read_o && !rst_i;
    weight_trans <= trans;
    weight_index <= slot[IndexBits-1:0];
    swap <= streaming && !initial_only && slot == '0 && !rst_i;
    live <= row_live && !rst_i;
    last <= slots_end && tiles_end && !rst_i;
    for (int i = 0; i < Rows; i++) begin
      a_line[i] <= row_live && count_t'(i) < k_left ? operand(a_data_i, i, floats, a_signed, a_zero) : '0;
      weight_line[i] <= (trans ? slot < wn_left && count_t'(i) < wk_left : slot < wk_left && count_t'(i) < wn_left) ?
          operand(b_data_i, i, floats, b_signed, b_zero) : '0;
    end
  end

  mac_array u_array (
      .clk_i,
      .en_i(busy),
      .float_i(floats),
      .weight_valid_i(weight_valid),
      .weight_trans_i(weight_trans),
      .weight_index_i(weight_index),
      .weight_line_i(weight_line),
      .swap_i(swap),
      .row_i(a_line),
      .sums_o(sums)
  );

  // Where the sums go: rows, k-tiles and n-tiles once more, as they come out.
  logic [Delay-1:0] live_pipe, last_pipe;
  logic out_live, out_last, draining;
  count_t out_row, out_k_left, out_n_left;
  logic [AccBits-1:0] d_tile, d_row;
  l1_t bias_tile;
  logic out_row_end, out_k_end, out_first;
  logic [Cols-1:0][Sum-1:0] initial_sums, float_sums;

  assign out_live = initial_only ? live : live_pipe[Delay-1];
  assign out_last = initial_only ? last : last_pipe[Delay-1];
  assign done_o = out_last && draining;
  assign out_row_end = out_row + 1'b1 == m;
  assign out_k_end = initial_only || out_k_left <= count_t'(Rows);
  assign out_first = initial_only || out_k_left == k;
  assign acc_read_o = out_live;
  assign acc_addr_o = d_row;
  assign bias_read_o = out_live && acc_mode == athena_pkg::ACC_BIAS;
  assign bias_addr_o = bias_tile;

  always_comb begin
    for (int c = 0; c < Cols; c++) begin
      acc_write_o[4*c+:4] = {4{out_live && count_t'(c) < out_n_left}};
      if (!out_first || acc_mode == athena_pkg::ACC_KEEP) initial_sums[c] = acc_data_i[Sum*c+:Sum];
      else initial_sums[c] = acc_mode == athena_pkg::ACC_BIAS ? bias_data_i[Sum*c+:Sum] : '0;
      if (initial_only) acc_write_data_o[Sum*c+:Sum] = initial_sums[c];
      else acc_write_data_o[Sum*c+:Sum] = floats ? float_sums[c] : initial_sums[c] + sums[c];
    end
  end
  for (genvar c = 0; c < Cols; c++) begin : g_add
    f32_add u_add (
        .en_i(out_live && floats && !initial_only),
        .x_i(initial_sums[c]),
        .y_i(sums[c]),
        .z_o(float_sums[c])
    );
  end

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      live_pipe <= '0;
      last_pipe <= '0;
      draining  <= 1'b0;
    end else begin
      live_pipe <= {live_pipe[Delay-2:0], live && !initial_only};
      last_pipe <= {last_pipe[Delay-2:0], last && !initial_only};
      if (done_o) draining <= 1'b0;
      if (out_live) begin
        out_row <= out_row_end ? '0 : out_row + 1'b1;
        d_row   <= d_row + d_stride;
        if (out_row_end) begin
          d_row <= d_tile;
          out_k_left <= out_k_end ? k : out_k_left - count_t'(Rows);
          if (out_k_end) begin
            out_n_left <= out_n_left - count_t'(Cols);
            bias_tile <= bias_tile + l1_t'(Cols * 4);
            {d_tile, d_row} <= {2{d_tile + AccBits'(Cols * 4)}};
          end
        end
      end
      if (start_i) begin
        draining <= 1'b1;
        out_row <= '0;
        out_k_left <= uop_i.n[2];
        out_n_left <= uop_i.n[1];
        {d_tile, d_row} <= {2{uop_i.addr[3][AccBits-1:0]}};
        bias_tile <= uop_i.addr[2][L1Bits-1:0];
      end
    end
  end

  logic unused;
  assign unused = ^uop_i;
endmodule
