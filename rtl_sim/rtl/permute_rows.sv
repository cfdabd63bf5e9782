// Steps of the words that go row by row: VPERM but TRANSPOSE, and VGATHER. A step reads an index (`index_o`) or up to LANES
// elements of the source; `emit_o`: with this step up to LANES elements of the result are complete. ROTATE_HALF reads and writes the
// halves of a row one after the other. VGATHER reads an index before each row, or LANES indices before their elements, which
// then come one a step.
module permute_rows #(
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
    input  logic [Lanes*32-1:0]   read_data_i,
    output logic                  index_o,
    output logic                  bad_index_o,  // outside the table
    output logic [AddrBits-1:0]   read_addr_o,
    output logic                  single_o,     // one element a step, for place `lane_o`
    output logic [LenBits-1:0]    lane_o,
    output logic                  second_o,     // half of a row
    output logic                  emit_o,
    output logic                  last_o,
    output logic [LenBits-1:0]    live_o,
    output logic [AddrBits-1:0]   write_addr_o
);
  typedef logic [CountBits-1:0] count_t;
  typedef logic [AddrBits-1:0] addr_t;

  logic is_gather, is_single, is_halved, gathers, single, halved, finding, second, part_end, row_end;
  count_t width, left, rows_left, limit;
  addr_t source, source_row, source_stride, target, target_row, target_stride, index, index_row, index_stride, step, half;
  logic [Lanes-1:0][31:0] indices;
  logic [31:0] chosen;
  logic [LenBits-1:0] lane;

  assign is_gather = uop_i.word.op == athena_pkg::OP_VGATHER;
  assign is_single = is_gather && uop_i.word.mode == athena_pkg::GATHERMODE_ELEMENTS;
  assign is_halved = !is_gather && uop_i.word.mode == athena_pkg::PERM_ROTATE_HALF;

  assign step = addr_t'(Lanes) << shift_i;
  assign half = halved ? addr_t'(width) << shift_i : '0;
  assign live_o = left < count_t'(Lanes) ? left[LenBits-1:0] : LenBits'(Lanes);
  assign index_o = run_i && finding;
  assign single_o = single;
  assign lane_o = lane;
  assign second_o = second;
  assign emit_o = run_i && !finding && (!single || lane + 1'b1 == live_o);
  assign part_end = emit_o && left <= count_t'(Lanes);
  assign row_end = part_end && (second || !halved);
  assign last_o = row_end && rows_left == count_t'(1);
  assign chosen = finding ? read_data_i[31:0] : indices[0];
  assign bad_index_o = run_i && (single ? !finding : finding) && chosen >= 32'(limit);
  assign read_addr_o = finding ? index : single ? source_row + (addr_t'(indices[0]) << shift_i) : source;
  assign write_addr_o = target;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      {gathers, single, halved} <= {is_gather, is_single, is_halved};
      finding <= is_gather;
      second <= 1'b0;
      {width, left} <= {2{is_halved ? uop_i.n[1] >> 1 : uop_i.n[1]}};
      rows_left <= uop_i.n[0];
      limit <= uop_i.n[2];
      source_row <= uop_i.addr[0][AddrBits-1:0];
      source <= uop_i.addr[0][AddrBits-1:0] + (is_halved ? addr_t'(uop_i.n[1] >> 1) << shift_i : '0);
      {index, index_row} <= {2{uop_i.addr[1][AddrBits-1:0]}};
      {target, target_row} <= {2{uop_i.addr[3][AddrBits-1:0]}};
      source_stride <= uop_i.word.a.stride[AddrBits-1:0];
      index_stride <= uop_i.word.b.stride[AddrBits-1:0];
      target_stride <= uop_i.word.d.stride[AddrBits-1:0];
    end else if (run_i && finding) begin
      finding <= 1'b0;
      indices <= read_data_i;
      lane <= '0;
      index <= index + (single ? addr_t'(Lanes * 4) : addr_t'(4));
      if (!single) source <= source_row + addr_t'(chosen) * source_stride;
    end else if (run_i) begin
      indices <= indices >> 32;
      lane <= lane + 1'b1;
      if (emit_o) begin
        finding <= single || (gathers && row_end);
        left <= part_end ? width : left - count_t'(Lanes);
        if (!part_end) begin
          source <= source + step;
          target <= target + step;
        end else if (!row_end) begin
          second <= 1'b1;
          source <= source_row;
          target <= target_row + half;
        end else begin
          second <= 1'b0;
          rows_left <= rows_left - 1'b1;
          if (!gathers || single) source_row <= source_row + source_stride;
          source <= source_row + source_stride + half;
          {target, target_row} <= {2{target_row + target_stride}};
          index_row <= index_row + index_stride;
          if (single) index <= index_row + index_stride;
        end
      end
    end
  end

  logic unused;
  assign unused = ^uop_i;
endmodule
