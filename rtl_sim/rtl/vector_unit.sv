// VEC: LANES columns a step, row by row; a step takes `passes` cycles, the number of operands that share a bank.
// Results are written VEC_STARTUP cycles after their operands were read, a row's side output VEC_STARTUP + levels of the tree
// after its last. (All arithmetic stands before those stages here; synthesis may move the stages into it.)
module vector_unit #(
    localparam int Lanes = athena_pkg::LANES,
    localparam int Sides = 3,
    localparam int AddrBits = $clog2(athena_pkg::L1_BYTES),
    localparam int Width = Lanes * 32
) (
    input  logic                            clk_i,
    input  logic                            rst_i,
    input  logic                            start_i,
    input  athena_pkg::uop_t                uop_i,
    output logic                            done_o,
    output logic [Sides-1:0]                read_o,        // operands a b c
    output logic [Sides-1:0]                read_acc_o,    // from ACC, not L1
    output logic [Sides-1:0][AddrBits-1:0]  read_addr_o,
    input  logic [Sides-1:0][Width-1:0]     read_data_i,
    output logic [Lanes*4-1:0]              write_o,       // by byte
    output logic                            write_acc_o,
    output logic [AddrBits-1:0]             write_addr_o,
    output logic [Width-1:0]                write_data_o,
    output logic                            side_read_o,   // side output, in L1
    output logic [AddrBits-1:0]             side_read_addr_o,
    input  logic [31:0]                     side_data_i,
    output logic                            side_write_o,
    output logic [AddrBits-1:0]             side_write_addr_o,
    output logic [31:0]                     side_write_data_o
);
  localparam int CountBits = athena_pkg::COUNT_BITS;
  localparam int BoundBits = athena_pkg::BOUND_BITS;
  localparam int LenBits = $clog2(Lanes + 1);
  localparam int Levels = $clog2(Lanes);

  typedef logic [CountBits-1:0] count_t;
  typedef logic [AddrBits-1:0] addr_t;

  // The word.
  logic [7:0] alu1, lut, alu2, red;
  logic [3:0] result_type;
  logic [Sides-1:0][3:0] types;
  logic [Sides-1:0][7:0] kinds;
  logic [Sides-1:0] in_acc;
  logic [1:0][31:0] imm;
  logic [31:0] zero, fill;
  logic [BoundBits-1:0] low, high, low_slope, high_slope;
  logic result_acc, busy, floats, masked, keeps_side;
  athena_pkg::passes_t passes;
  logic [1:0] pass;  // cycle of the step
  count_t cols, cols_left, rows_left, col;
  addr_t [Sides:0] row_addr, addr, stride;  // a b c, and d last
  addr_t side_addr, side_stride;

  function automatic logic along_row(input logic [7:0] kind);
    along_row = kind == athena_pkg::KIND_FULL || kind == athena_pkg::KIND_ROW;
  endfunction

  function automatic logic along_column(input logic [7:0] kind);
    along_column = kind == athena_pkg::KIND_FULL || kind == athena_pkg::KIND_COL;
  endfunction

  function automatic addr_t step(input logic [3:0] dt);
    step = addr_t'(Lanes) << athena_pkg::size_shift(dt);
  endfunction

  // Element `at` of what was read.
  function automatic logic [31:0] element(input logic [Width-1:0] data, input int at, input logic [3:0] dt);
    case (athena_pkg::size_shift(dt))
      2'd0:    element = {24'b0, data[8*at+:8]};
      2'd1:    element = {16'b0, data[16*at+:16]};
      default: element = data[32*at+:32];
    endcase
  endfunction

  logic [Sides-1:0][7:0] kinds_now;
  logic [Sides-1:0] acc_now;
  logic [1:0][31:0] imm_now;
  assign kinds_now = {uop_i.word.p[1][15:8], uop_i.word.p[1][7:0], athena_pkg::KIND_FULL};
  assign acc_now = {uop_i.word.c.seg == athena_pkg::SEG_ACC, uop_i.word.b.seg == athena_pkg::SEG_ACC,
                    uop_i.word.a.seg == athena_pkg::SEG_ACC};

  // Immediates are float32; integer steps take the nearest integer.
  for (genvar i = 0; i < 2; i++) begin : g_imm
    logic [31:0] value, whole;
    assign value = uop_i.word.f[i];
    f32_to_i32 u_convert (
        .x_i(value),
        .z_o(whole)
    );
    assign imm_now[i] = |(uop_i.word.mode & 8'(athena_pkg::MODE_VEC_INT)) ? whole : value;
  end

  logic fires, row_end, last;
  logic [LenBits-1:0] live;
  assign fires = busy && pass == passes.last;
  assign row_end = fires && cols_left <= count_t'(Lanes);
  assign last = row_end && rows_left == count_t'(1);
  assign live = cols_left <= count_t'(Lanes) ? cols_left[LenBits-1:0] : LenBits'(Lanes);

  always_ff @(posedge clk_i) begin
    if (rst_i) busy <= 1'b0;
    else if (start_i) begin
      busy <= 1'b1;
      {red, alu2, lut, alu1} <= uop_i.word.p[0];
      result_type <= uop_i.word.dt[3];
      types <= uop_i.word.dt[2:0];
      kinds <= kinds_now;
      in_acc <= acc_now;
      imm <= imm_now;
      zero <= uop_i.word.p[6];
      fill <= uop_i.word.p[5];
      floats <= !(|(uop_i.word.mode & 8'(athena_pkg::MODE_VEC_INT)));
      masked <= |(uop_i.word.mode & 8'(athena_pkg::MODE_VEC_MASK));
      keeps_side <= |(uop_i.word.mode & 8'(athena_pkg::MODE_VEC_RED_KEEP));
      {high, low} <= uop_i.mask;
      low_slope <= {{(BoundBits - 8) {uop_i.word.p[4][7]}}, uop_i.word.p[4][7:0]};
      high_slope <= {{(BoundBits - 8) {uop_i.word.p[4][15]}}, uop_i.word.p[4][15:8]};
      result_acc <= uop_i.word.d.seg == athena_pkg::SEG_ACC;
      passes <= uop_i.passes;
      pass <= '0;
      {cols, cols_left} <= {2{uop_i.n[1]}};
      col <= '0;
      rows_left <= uop_i.n[0];
      for (int i = 0; i <= Sides; i++) begin
        row_addr[i] <= uop_i.addr[i][AddrBits-1:0];
        addr[i] <= uop_i.addr[i][AddrBits-1:0];
      end
      stride <= {uop_i.word.d.stride[AddrBits-1:0], uop_i.word.c.stride[AddrBits-1:0],
                 uop_i.word.b.stride[AddrBits-1:0], uop_i.word.a.stride[AddrBits-1:0]};
      side_addr <= uop_i.addr[4][AddrBits-1:0];
      side_stride <= uop_i.word.e.stride[AddrBits-1:0];
    end else if (busy) begin
      pass <= fires ? '0 : pass + 1'b1;
      if (fires && !row_end) begin
        cols_left <= cols_left - count_t'(Lanes);
        col <= col + count_t'(Lanes);
        for (int i = 0; i < Sides; i++) if (along_row(kinds[i])) addr[i] <= addr[i] + step(types[i]);
        addr[Sides] <= addr[Sides] + step(result_type);
      end else if (fires) begin
        cols_left <= cols;
        col <= '0;
        rows_left <= rows_left - 1'b1;
        busy <= !last;
        for (int i = 0; i < Sides; i++) begin
          row_addr[i] <= along_column(kinds[i]) ? row_addr[i] + stride[i] : row_addr[i];
          addr[i] <= along_column(kinds[i]) ? row_addr[i] + stride[i] : row_addr[i];
        end
        {row_addr[Sides], addr[Sides]} <= {2{row_addr[Sides] + stride[Sides]}};
        side_addr <= side_addr + side_stride;
        low <= low + low_slope;
        high <= high + high_slope;
      end
    end
  end

  // Each operand is read in its cycle of the step and kept until the last; a row's kept side output is read in the row's first
  // step and kept until its last.
  logic [Sides-1:0][Width-1:0] data, read_before;
  logic [31:0] side_old, side_before;
  assign side_read_o = busy && keeps_side && red != athena_pkg::RED_NONE && col == '0 && pass == passes.at[Sides];
  assign side_read_addr_o = side_addr;
  assign side_old = side_read_o ? side_data_i : side_before;
  always_ff @(posedge clk_i) if (side_read_o) side_before <= side_data_i;
  for (genvar i = 0; i < Sides; i++) begin : g_read
    assign read_o[i] = busy && athena_pkg::in_place(kinds[i]) && pass == passes.at[i];
    assign read_acc_o[i] = in_acc[i];
    assign read_addr_o[i] = addr[i];
    assign data[i] = pass == passes.at[i] ? read_data_i[i] : read_before[i];
    always_ff @(posedge clk_i) if (read_o[i] && !fires) read_before[i] <= read_data_i[i];
  end

  // Lanes, and their part of the reduction.
  logic [Lanes-1:0][31:0] results, sides, parts, parts_next, combined;
  for (genvar lane = 0; lane < Lanes; lane++) begin : g_lane
    logic [31:0] a, b, c;
    logic [BoundBits-1:0] at;
    logic keep;
    assign a = element(data[0], lane, types[0]);
    assign b = athena_pkg::in_place(kinds[1]) ? element(data[1], along_row(kinds[1]) ? lane : 0, types[1]) : imm[0];
    assign c = athena_pkg::in_place(kinds[2]) ? element(data[2], along_row(kinds[2]) ? lane : 0, types[2]) : imm[1];
    assign at = BoundBits'(col) + BoundBits'(lane);
    assign keep = !masked || (signed'(at) >= signed'(low) && signed'(at) < signed'(high));
    vec_lane u_lane (
        .en_i(fires),
        .float_i(floats),
        .alu1_i(alu1),
        .lut_i(lut),
        .alu2_i(alu2),
        .red_i(red),
        .keep_i(keep),
        .fill_i(fill),
        .a_type_i(types[0]),
        .b_type_i(types[1]),
        .c_type_i(types[2]),
        .d_type_i(result_type),
        .zero_i(zero),
        .a_i(a),
        .b_i(b),
        .c_i(c),
        .b_imm_i(!athena_pkg::in_place(kinds[1])),
        .c_imm_i(!athena_pkg::in_place(kinds[2])),
        .d_o(results[lane]),
        .side_o(sides[lane])
    );
    vec_combine u_part (
        .en_i(fires && red != athena_pkg::RED_NONE && col != '0),
        .float_i(floats),
        .red_i(red),
        .x_i(parts[lane]),
        .y_i(sides[lane]),
        .z_o(combined[lane])
    );
    assign parts_next[lane] = col == '0 ? sides[lane] : LenBits'(lane) < live ? combined[lane] : parts[lane];
    always_ff @(posedge clk_i) if (fires) parts[lane] <= parts_next[lane];
  end

  // The pairwise tree over the lanes that the row used; node i of a level takes nodes i and i + half of the one before.
  logic [LenBits-1:0] used;
  logic [Levels:0][Lanes-1:0][31:0] tree;
  assign used = cols < count_t'(Lanes) ? cols[LenBits-1:0] : LenBits'(Lanes);
  assign tree[0] = parts_next;
  for (genvar level = 0; level < Levels; level++) begin : g_level
    localparam int Half = Lanes >> (level + 1);
    for (genvar i = 0; i < Lanes; i++) begin : g_node
      if (i < Half) begin : g_pair
        logic [31:0] both;
        vec_combine u_node (
            .en_i(row_end && red != athena_pkg::RED_NONE),
            .float_i(floats),
            .red_i(red),
            .x_i(tree[level][i]),
            .y_i(tree[level][i+Half]),
            .z_o(both)
        );
        assign tree[level+1][i] = LenBits'(i + Half) < used ? both : tree[level][i];
      end else begin : g_rest
        assign tree[level+1][i] = '0;
      end
    end
  end

  // Packed as they will lie in memory.
  logic [Width-1:0] packed_results;
  always_comb begin
    packed_results = '0;
    for (int lane = 0; lane < Lanes; lane++) begin
      case (athena_pkg::size_shift(result_type))
        2'd0:    packed_results[8*lane+:8] = results[lane][7:0];
        2'd1:    packed_results[16*lane+:16] = results[lane][15:0];
        default: packed_results[32*lane+:32] = results[lane];
      endcase
    end
  end

  logic out_valid, out_last, side_valid, side_last, waits, late;
  logic [LenBits-1:0] out_live;
  logic [LenBits+AddrBits+Width-1:0] out_now, out_late;  // lanes, address, data
  logic [LenBits+1:0] out_bytes;
  logic [31:0] row_value, row_old, row_kept, row_result;
  latency_pipe #(
      .Width(1 + LenBits + AddrBits + Width),
      .Stages(athena_pkg::VEC_STARTUP)
  ) u_pipe (
      .clk_i,
      .rst_i,
      .valid_i(fires),
      .d_i({last, live, addr[Sides], packed_results}),
      .valid_o(out_valid),
      .q_o({out_last, out_now})
  );
  latency_pipe #(
      .Width(1 + AddrBits + 64),
      .Stages(athena_pkg::VEC_STARTUP + Levels)
  ) u_side_pipe (
      .clk_i,
      .rst_i,
      .valid_i(row_end && red != athena_pkg::RED_NONE),
      .d_i({last, side_addr, side_old, tree[Levels][0]}),
      .valid_o(side_valid),
      .q_o({side_last, side_write_addr_o, row_old, row_value})
  );
  vec_combine u_keep (
      .en_i(side_valid && keeps_side),
      .float_i(floats),
      .red_i(red),
      .x_i(row_old),
      .y_i(row_value),
      .z_o(row_kept)
  );

  assign row_result = keeps_side ? row_kept : row_value;
  assign side_write_o = side_valid;
  assign side_write_data_o = floats && row_result[30:23] == '1 && row_result[22:0] != '0 ? 32'h7FC0_0000 : row_result;
  assign done_o = red == athena_pkg::RED_NONE ? out_valid && out_last : side_valid && side_last;
  // A result meets a row's side output at their bank's port: it is written in the next cycle, which is free, since a step takes
  // two.
  assign waits = passes.clash && out_valid && side_valid;
  always_ff @(posedge clk_i) begin
    late <= waits && !rst_i;
    if (waits) out_late <= out_now;
  end
  assign {out_live, write_addr_o, write_data_o} = late ? out_late : out_now;
  assign write_acc_o = result_acc;
  assign out_bytes = (LenBits + 2)'(out_live) << athena_pkg::size_shift(result_type);
  always_comb begin
    for (int i = 0; i < Lanes * 4; i++) begin
      write_o[i] = (out_valid && !waits || late) && result_type != athena_pkg::DT_NONE && (LenBits + 2)'(i) < out_bytes;
    end
  end

  logic unused;
  assign unused = ^{uop_i, tree};
endmodule
