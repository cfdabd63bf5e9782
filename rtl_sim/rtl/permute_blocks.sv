// Steps of VPERM TRANSPOSE: blocks of LANES x LANES, from the top of the first columns down, then the next columns. In one
// step a row of a block is read into line `step_o` of the square and line `step_o` of the block before, a column of it, goes out.
module permute_blocks #(
    localparam int Lanes = athena_pkg::LANES,
    localparam int LenBits = $clog2(Lanes + 1),
    localparam int AddrBits = $clog2(athena_pkg::L1_BYTES),
    localparam int CountBits = athena_pkg::COUNT_BITS
) (
    input  logic                  clk_i,
    input  logic                  start_i,
    input  logic                  run_i,
    input  athena_pkg::uop_t      uop_i,
    input  logic [1:0]            shift_i,      // log2 of the element's bytes, at the start and after
    output logic                  read_o,
    output logic [AddrBits-1:0]   read_addr_o,
    output logic                  upright_o,    // lines are columns of the square
    output logic [LenBits-1:0]    step_o,
    output logic                  emit_o,
    output logic                  last_o,
    output logic [LenBits-1:0]    live_o,
    output logic [AddrBits-1:0]   write_addr_o
);
  localparam int LaneShift = $clog2(Lanes);

  typedef logic [CountBits-1:0] count_t;
  typedef logic [AddrBits-1:0] addr_t;

  // The block that comes in, and where the result has its first row; the block that goes out.
  logic in_valid, out_valid, upright, block_end;
  count_t rows, rows_left, cols_left;
  logic [LenBits-1:0] step, side, height, width, out_height, out_width;
  addr_t source, source_column, source_stride, corner, corner_column, target, target_stride, across;

  function automatic logic [LenBits-1:0] at_most(input count_t count);
    at_most = count < count_t'(Lanes) ? count[LenBits-1:0] : LenBits'(Lanes);
  endfunction

  assign across = addr_t'(Lanes) << shift_i;
  assign height = at_most(rows_left);
  assign width = at_most(cols_left);
  assign read_o = run_i && in_valid && step < height;
  assign read_addr_o = source;
  assign upright_o = upright;
  assign step_o = step;
  assign emit_o = run_i && out_valid && step < out_width;
  assign last_o = emit_o && !in_valid && step + 1'b1 == out_width;
  assign live_o = out_height;
  assign write_addr_o = target;
  assign block_end = run_i && step + 1'b1 == (!out_valid ? height : in_valid ? side : out_width);

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      {in_valid, out_valid, upright} <= 3'b100;
      {rows, rows_left} <= {2{uop_i.n[0]}};
      cols_left <= uop_i.n[1];
      step <= '0;
      side <= at_most(uop_i.n[0] > uop_i.n[1] ? uop_i.n[0] : uop_i.n[1]);
      {source, source_column} <= {2{uop_i.addr[0][AddrBits-1:0]}};
      {corner, corner_column} <= {2{uop_i.addr[3][AddrBits-1:0]}};
      source_stride <= uop_i.word.a.stride[AddrBits-1:0];
      target_stride <= uop_i.word.d.stride[AddrBits-1:0];
    end else if (run_i) begin
      step <= block_end ? '0 : step + 1'b1;
      if (read_o) source <= source + source_stride;
      if (emit_o) target <= target + target_stride;
      if (block_end) begin
        out_valid <= in_valid;
        {out_height, out_width, target} <= {height, width, corner};
        upright <= !upright;
        if (rows_left > count_t'(Lanes)) begin
          rows_left <= rows_left - count_t'(Lanes);
          corner <= corner + across;
        end else begin
          in_valid <= in_valid && cols_left > count_t'(Lanes);
          rows_left <= rows;
          cols_left <= cols_left - count_t'(Lanes);
          {source, source_column} <= {2{source_column + across}};
          {corner, corner_column} <= {2{corner_column + (target_stride << LaneShift)}};
        end
      end
    end
  end

  logic unused;
  assign unused = ^uop_i;
endmodule
