// VPERM and VGATHER: one read and one write of up to LANES elements a cycle, both at any address. The first step comes
// VEC_STARTUP cycles after the start and is written in the cycle after it.
module permute_unit #(
    localparam int Lanes = athena_pkg::LANES,
    localparam int LenBits = $clog2(Lanes + 1),
    localparam int AddrBits = $clog2(athena_pkg::L1_BYTES),
    localparam int Width = Lanes * 32
) (
    input  logic                 clk_i,
    input  logic                 rst_i,
    input  logic                 start_i,
    input  athena_pkg::uop_t     uop_i,
    output logic                 done_o,
    output logic                 bad_index_o,
    output logic                 read_o,
    output logic                 read_acc_o,   // from ACC, not L1
    output logic [AddrBits-1:0]  read_addr_o,
    input  logic [Width-1:0]     read_data_i,
    output logic [Lanes*4-1:0]   write_o,      // by byte, in L1
    output logic [AddrBits-1:0]  write_addr_o,
    output logic [Width-1:0]     write_data_o
);
  localparam int WaitBits = $clog2(athena_pkg::VEC_STARTUP + 1);

  logic busy, run, from_acc, is_transpose, transposes, turns_pairs, turns_halves, emit, last;
  logic [WaitBits-1:0] wait_left;
  logic [1:0] shift, shift_now;
  logic [31:0] sign;

  logic is_perm;
  assign is_perm = uop_i.word.op == athena_pkg::OP_VPERM;
  assign is_transpose = is_perm && uop_i.word.mode == athena_pkg::PERM_TRANSPOSE;
  assign shift_now = start_i ? athena_pkg::size_shift(uop_i.word.dt[0]) : shift;
  assign run = busy && wait_left == '0;
  assign sign = shift == 2'd1 ? 32'h8000 : 32'h8000_0000;

  always_ff @(posedge clk_i) begin
    if (rst_i) busy <= 1'b0;
    else if (start_i) begin
      busy <= 1'b1;
      wait_left <= WaitBits'(athena_pkg::VEC_STARTUP - 1);
      from_acc <= uop_i.word.a.seg == athena_pkg::SEG_ACC;
      shift <= shift_now;
      transposes <= is_transpose;
      turns_pairs <= is_perm && uop_i.word.mode == athena_pkg::PERM_ROTATE_PAIRS;
      turns_halves <= is_perm && uop_i.word.mode == athena_pkg::PERM_ROTATE_HALF;
    end else if (busy) begin
      if (wait_left != '0) wait_left <= wait_left - 1'b1;
      if (last || bad_index_o) busy <= 1'b0;
    end
  end

  logic index_step, single, second, rows_emit, rows_last;
  logic [LenBits-1:0] lane, rows_live;
  logic [AddrBits-1:0] rows_read_addr, rows_write_addr;
  permute_rows u_rows (
      .clk_i,
      .start_i,
      .run_i(run && !transposes),
      .uop_i,
      .shift_i(shift_now),
      .read_data_i,
      .index_o(index_step),
      .bad_index_o,
      .read_addr_o(rows_read_addr),
      .single_o(single),
      .lane_o(lane),
      .second_o(second),
      .emit_o(rows_emit),
      .last_o(rows_last),
      .live_o(rows_live),
      .write_addr_o(rows_write_addr)
  );

  logic blocks_read, upright, blocks_emit, blocks_last;
  logic [LenBits-1:0] step, blocks_live;
  logic [AddrBits-1:0] blocks_read_addr, blocks_write_addr;
  permute_blocks u_blocks (
      .clk_i,
      .start_i,
      .run_i(run && transposes),
      .uop_i,
      .shift_i(shift_now),
      .read_o(blocks_read),
      .read_addr_o(blocks_read_addr),
      .upright_o(upright),
      .step_o(step),
      .emit_o(blocks_emit),
      .last_o(blocks_last),
      .live_o(blocks_live),
      .write_addr_o(blocks_write_addr)
  );

  assign read_o = run && (!transposes || blocks_read);
  assign read_acc_o = from_acc;
  assign read_addr_o = transposes ? blocks_read_addr : rows_read_addr;
  assign emit = transposes ? blocks_emit : rows_emit && !bad_index_o;
  assign last = transposes ? blocks_last : rows_last;

  // Elements as read, and in the order of the result.
  logic [Lanes-1:0][31:0] elements, turned, line, line_next;
  transpose_square u_square (
      .clk_i,
      .upright_i(upright),
      .step_i(step),
      .write_i(blocks_read),
      .line_i(elements),
      .line_o(turned)
  );

  always_comb begin
    for (int i = 0; i < Lanes; i++) begin
      case (shift)
        2'd0:    elements[i] = {24'b0, read_data_i[8*i+:8]};
        2'd1:    elements[i] = {16'b0, read_data_i[16*i+:16]};
        default: elements[i] = read_data_i[32*i+:32];
      endcase
    end
    for (int i = 0; i < Lanes; i++) begin
      line_next[i] = elements[i];
      if (transposes) line_next[i] = turned[i];
      else if (turns_pairs) line_next[i] = elements[i^1] ^ (i % 2 == 0 ? sign : '0);
      else if (turns_halves && !second) line_next[i] = elements[i] ^ sign;
      else if (single) line_next[i] = LenBits'(i) == lane ? elements[0] : line[i];
    end
  end

  logic out_valid, out_last;
  logic [LenBits-1:0] out_live;
  logic [LenBits+1:0] out_bytes;
  always_ff @(posedge clk_i) begin
    out_valid <= !rst_i && emit;
    out_last <= last;
    if (run && !index_step) line <= line_next;
    if (emit) begin
      out_live <= transposes ? blocks_live : rows_live;
      write_addr_o <= transposes ? blocks_write_addr : rows_write_addr;
    end
  end

  assign done_o = out_valid && out_last;
  assign out_bytes = (LenBits + 2)'(out_live) << shift;
  always_comb begin
    write_data_o = '0;
    for (int i = 0; i < Lanes; i++) begin
      case (shift)
        2'd0:    write_data_o[8*i+:8] = line[i][7:0];
        2'd1:    write_data_o[16*i+:16] = line[i][15:0];
        default: write_data_o[32*i+:32] = line[i];
      endcase
    end
    for (int i = 0; i < Lanes * 4; i++) write_o[i] = out_valid && (LenBits + 2)'(i) < out_bytes;
  end
endmodule
