// Addresses of a strided copy, one beat of at most `BusBytes` bytes a cycle, from the cycle after `start_i` on; a beat stays
// until `take_i`. Every row starts a new beat. Indexed (COPYX): the table's side of each row starts at base + index * pitch;
// one cycle before the row reads its index and finds that address, and the row is refused if the index or the address is
// outside. `ready_o`: a new copy may start in this cycle (idle, or the last beat is taken).
module walker #(
    parameter int BusBytes = 16,
    parameter logic TableIsSource = 1'b1,
    localparam int L1Bits = $clog2(athena_pkg::L1_BYTES),
    localparam int LenBits = $clog2(BusBytes + 1),
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int CountBits = athena_pkg::COUNT_BITS
) (
    input  logic                  clk_i,
    input  logic                  rst_i,
    input  logic                  start_i,
    input  logic [CountBits-1:0]  blocks_i,
    input  logic [CountBits-1:0]  rows_i,
    input  logic [CountBits-1:0]  row_bytes_i,
    input  logic [AddrBits-1:0]   src_i,
    input  logic [23:0]           src_stride_i,
    input  logic [31:0]           src_block_i,
    input  logic [AddrBits-1:0]   dst_i,
    input  logic [23:0]           dst_stride_i,
    input  logic [31:0]           dst_block_i,
    input  logic                  indexed_i,
    input  logic [L1Bits-1:0]     index_i,         // address of the first index
    input  logic [CountBits-1:0]  limit_i,         // rows of the table
    input  logic [31:0]           pitch_i,
    input  logic [AddrBits-1:0]   memory_bytes_i,
    output logic                  index_read_o,
    output logic [L1Bits-1:0]     index_addr_o,
    input  logic [31:0]           index_data_i,
    output logic                  bad_index_o,
    output logic                  bad_row_o,
    output logic                  valid_o,
    input  logic                  take_i,
    output logic                  first_o,         // of its row
    output logic                  last_o,          // of the copy
    output logic                  ready_o,
    output logic [CountBits-1:0]  left_o,          // bytes of the row from this beat on
    output logic                  moves_o,         // a beat is taken, or an index read
    output logic [LenBits-1:0]    bytes_o,
    output logic [AddrBits-1:0]   src_o,
    output logic [AddrBits-1:0]   dst_o
);
  logic busy, row_end, block_end, indexed, finding, row_outside;
  logic [CountBits-1:0] rows, row_bytes, blocks_left, rows_left, bytes_left;
  logic [23:0] src_stride, dst_stride;
  logic [31:0] src_block, dst_block;
  logic [AddrBits-1:0] src, dst, src_row, dst_row, src_start, dst_start;

  logic [L1Bits-1:0] index;
  logic [CountBits-1:0] limit;
  logic [31:0] pitch;
  logic signed [63:0] table_row, table_end;

  assign index_read_o = busy && finding;
  assign index_addr_o = index;
  assign bad_index_o = index_read_o && index_data_i >= 32'(limit);
  assign table_row = 64'(signed'(TableIsSource ? src_start : dst_start)) +
      64'(signed'(pitch)) * 64'(signed'(index_data_i));
  assign table_end = table_row + 64'(row_bytes);
  assign row_outside = table_row < 0 || table_end > signed'(64'(memory_bytes_i));
  assign bad_row_o = index_read_o && !bad_index_o && row_outside;

  assign valid_o = busy && !finding;
  assign row_end = bytes_left <= CountBits'(BusBytes);
  assign block_end = row_end && rows_left == CountBits'(1);
  assign last_o = valid_o && block_end && blocks_left == CountBits'(1);
  assign first_o = bytes_left == row_bytes;
  assign left_o = bytes_left;
  assign ready_o = !busy || (last_o && take_i);
  assign moves_o = index_read_o || (valid_o && take_i);
  assign bytes_o = row_end ? bytes_left[LenBits-1:0] : LenBits'(BusBytes);
  assign src_o = src;
  assign dst_o = dst;

  function automatic logic [AddrBits-1:0] extend(input logic [31:0] value);
    extend = {{(AddrBits - 32) {value[31]}}, value};
  endfunction

  always_ff @(posedge clk_i) begin
    if (rst_i) busy <= 1'b0;
    else if (start_i) begin
      busy <= 1'b1;
      {indexed, finding} <= {2{indexed_i}};
      index <= index_i;
      limit <= limit_i;
      pitch <= pitch_i;
      rows <= rows_i;
      row_bytes <= row_bytes_i;
      blocks_left <= blocks_i;
      rows_left <= rows_i;
      bytes_left <= row_bytes_i;
      {src_stride, dst_stride} <= {src_stride_i, dst_stride_i};
      {src_block, dst_block} <= {src_block_i, dst_block_i};
      {src, src_row, src_start} <= {3{src_i}};
      {dst, dst_row, dst_start} <= {3{dst_i}};
    end else if (index_read_o) begin
      finding <= 1'b0;
      index <= index + L1Bits'(4);
      if (TableIsSource) src <= table_row[AddrBits-1:0];
      else dst <= table_row[AddrBits-1:0];
      if (bad_index_o || row_outside) busy <= 1'b0;
    end else if (busy && take_i) begin
      if (!row_end) begin
        bytes_left <= bytes_left - CountBits'(BusBytes);
        src <= src + AddrBits'(BusBytes);
        dst <= dst + AddrBits'(BusBytes);
      end else if (!block_end) begin
        bytes_left <= row_bytes;
        rows_left <= rows_left - 1'b1;
        finding <= indexed;
        {src, src_row} <= {2{src_row + AddrBits'(src_stride)}};
        {dst, dst_row} <= {2{dst_row + AddrBits'(dst_stride)}};
      end else if (!last_o) begin
        bytes_left <= row_bytes;
        rows_left <= rows;
        blocks_left <= blocks_left - 1'b1;
        {src, src_row, src_start} <= {3{src_start + extend(src_block)}};
        {dst, dst_row, dst_start} <= {3{dst_start + extend(dst_block)}};
      end else busy <= 1'b0;
    end
  end
endmodule
