// One operand: its address (segment base + areg + imm), the bytes from its first to its last, and the banks they touch.
module address (
    input  athena_pkg::operand_t                                              operand_i,
    input  logic [athena_pkg::AREGS-1:0][athena_pkg::ADDR_BITS-1:0]           areg_i,
    input  logic [athena_pkg::HBM_SEGMENTS-1:0][athena_pkg::ADDR_BITS-1:0]    seg_i,
    input  logic [athena_pkg::ADDR_BITS-1:0]                                  memory_bytes_i,
    input  logic                                                              used_i,
    input  logic [athena_pkg::COUNT_BITS-1:0]                                 blocks_i,
    input  logic signed [31:0]                                                block_stride_i,
    input  logic [athena_pkg::COUNT_BITS-1:0]                                 rows_i,
    input  logic [athena_pkg::COUNT_BITS+1:0]                                 row_bytes_i,
    input  logic [1:0]                                                        align_i,  // low bits that must be 0
    output logic [athena_pkg::ADDR_BITS-1:0]                                  addr_o,
    output logic                                                              l1_o,
    output logic                                                              acc_o,
    output logic                                                              memory_o,
    output logic                                                              bad_o,
    output logic [athena_pkg::L1_BANKS-1:0]                                   l1_banks_o,
    output logic [athena_pkg::ACC_REGIONS-1:0]                                acc_banks_o
);
  localparam int L1Shift = $clog2(athena_pkg::L1_BANK_BYTES);
  localparam int AccShift = $clog2(athena_pkg::ACC_REGION_BYTES);
  localparam int L1Banks = athena_pkg::L1_BANKS;
  localparam int AccBanks = athena_pkg::ACC_REGIONS;
  localparam int AddrBits = athena_pkg::ADDR_BITS;

  logic signed [63:0] reach, low, high, limit;
  logic [63:0] span;

  assign l1_o = operand_i.seg == athena_pkg::SEG_L1;
  assign acc_o = operand_i.seg == athena_pkg::SEG_ACC;
  assign memory_o = int'(operand_i.seg) < athena_pkg::HBM_SEGMENTS;

  assign addr_o = areg_i[operand_i.areg] + AddrBits'(operand_i.imm) + (memory_o ?
      seg_i[operand_i.seg[$clog2(athena_pkg::HBM_SEGMENTS)-1:0]] : '0);

  always_comb begin
    reach = 64'(signed'({1'b0, blocks_i}) - 1) * 64'(block_stride_i);
    span = (64'(rows_i) - 64'd1) * 64'(operand_i.stride) + 64'(row_bytes_i);
    low = 64'(signed'(addr_o)) + (reach < 0 ? reach : 64'sd0);
    high = 64'(signed'(addr_o)) + (reach < 0 ? 64'sd0 : reach) + signed'(span);
    limit = l1_o ? 64'(athena_pkg::L1_BYTES) : acc_o ? 64'(athena_pkg::ACC_BYTES) :
        memory_o ? signed'(64'(memory_bytes_i)) : 64'sd0;
    bad_o = used_i && (low < 0 || high > limit || (addr_o[1:0] & align_i) != '0 ||
        (operand_i.stride[1:0] & align_i) != '0);
    l1_banks_o = '0;
    acc_banks_o = '0;
    if (used_i && l1_o) begin
      for (int i = 0; i < L1Banks; i++) begin
        l1_banks_o[i] = 64'(i) >= low >>> L1Shift && 64'(i) <= (high - 1) >>> L1Shift;
      end
    end
    if (used_i && acc_o) begin
      for (int i = 0; i < AccBanks; i++) begin
        acc_banks_o[i] = 64'(i) >= low >>> AccShift && 64'(i) <= (high - 1) >>> AccShift;
      end
    end
  end
endmodule
