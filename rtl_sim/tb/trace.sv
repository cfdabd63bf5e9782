// Retire trace: one line a word, `queue run index pc issue complete crc`. The CRC-32 (zlib's) is over the bytes of the word's
// destination in order of blocks, rows, bytes, read in the cycle after completion, when the last of them can be seen.
module trace (
    input logic                                                               clk_i,
    input logic                                                               rst_i,
    input logic                                                               launch_i,
    input int                                                                 file_i,
    input int                                                                 cycle_i,
    input logic [athena_pkg::QUEUES-1:0][athena_pkg::ISSUE_BITS-1:0]          issue_i,
    input logic [athena_pkg::QUEUES-1:0][31:0]                                run_i,
    input logic [athena_pkg::QUEUES-1:0]                                      control_done_i,
    input logic [athena_pkg::QUEUES-1:0][athena_pkg::DMA_SLOTS-1:0]           retire_i
);
  localparam int Queues = athena_pkg::QUEUES;
  localparam int Slots = athena_pkg::DMA_SLOTS;

  typedef struct {
    int run;
    int index;
    int pc;
    int issued;
    int completed;
    athena_pkg::uop_t uop;
  } entry_t;

  entry_t control[Queues];
  entry_t words[Queues][Slots];
  entry_t ending[Queues][Slots];
  logic [Slots-1:0] ended[Queues];
  int count[Queues];
  athena_pkg::issue_t now[Queues];
  logic [31:0] crc_table[256];

  initial begin
    for (int i = 0; i < 256; i++) begin
      crc_table[i] = i;
      for (int bit_number = 0; bit_number < 8; bit_number++) begin
        crc_table[i] = crc_table[i][0] ? 32'hEDB88320 ^ (crc_table[i] >> 1) : crc_table[i] >> 1;
      end
    end
  end

  function automatic logic [7:0] byte_at(input logic [3:0] seg, input longint at);
    if (seg == athena_pkg::SEG_L1) return tb_core.u_core.u_datapath.u_l1.mem[$clog2(athena_pkg::L1_BYTES)'(at%athena_pkg::L1_BYTES)];
    if (seg == athena_pkg::SEG_ACC) return tb_core.u_core.u_datapath.u_acc.mem[$clog2(athena_pkg::ACC_BYTES)'(at%athena_pkg::ACC_BYTES)];
    return tb_core.u_memory.mem[$clog2(athena_pkg::MEMORY_BYTES)'(at%athena_pkg::MEMORY_BYTES)];
  endfunction

  // Bytes of a row of the destination.
  function automatic longint row_bytes(input logic [7:0] op, input logic [3:0] dt,
                                       input logic [athena_pkg::COUNT_BITS-1:0] n1, input logic [athena_pkg::COUNT_BITS-1:0] n2);
    if (op == athena_pkg::OP_MATMUL) return 4 * longint'(n1);
    if (op == athena_pkg::OP_VEC || op == athena_pkg::OP_VPERM || op == athena_pkg::OP_VGATHER || op == athena_pkg::OP_VMXQ) begin
      return dt == athena_pkg::DT_NONE ? 0 : longint'(n1) << athena_pkg::size_shift(dt);
    end
    return longint'(n2);
  endfunction

  function automatic logic [31:0] crc32(input athena_pkg::uop_t uop);
    logic [31:0] crc;
    longint at, blocks, rows, width, first, stride;
    logic [3:0] seg;
    logic dma, unused;
    unused = ^uop;
    dma = uop.word.op == athena_pkg::OP_COPY || uop.word.op == athena_pkg::OP_COPYX || uop.word.op == athena_pkg::OP_FILL;
    // A scatter's rows are read where they came from: L1 holds them still.
    if (uop.word.op == athena_pkg::OP_COPYX && uop.word.d.seg != athena_pkg::SEG_L1) begin
      {first, stride, seg} = {longint'(uop.addr[0]), longint'(uop.word.a.stride), uop.word.a.seg};
    end else {first, stride, seg} = {longint'(uop.addr[3]), longint'(uop.word.d.stride), uop.word.d.seg};
    blocks = uop.word.op == athena_pkg::OP_COPY ? longint'(uop.n[0]) : 1;
    rows = dma ? longint'(uop.n[1]) : longint'(uop.n[0]);
    width = row_bytes(uop.word.op, uop.word.dt[3], uop.n[1], uop.n[2]);
    if (uop.word.op == athena_pkg::OP_VPERM && uop.word.mode == athena_pkg::PERM_TRANSPOSE) begin
      rows = longint'(uop.n[1]);
      width = row_bytes(uop.word.op, uop.word.dt[3], uop.n[0], uop.n[2]);
    end
    crc = '1;
    for (longint b = 0; b < blocks; b++) begin
      for (longint r = 0; r < rows; r++) begin
        at = first + b * longint'(signed'(uop.word.p[1])) + r * stride;
        for (longint i = 0; i < width; i++) begin
          crc = crc_table[crc[7:0]^byte_at(seg, at+i)] ^ (crc >> 8);
        end
      end
    end
    if (uop.n[1] != '0 && (uop.word.op == athena_pkg::OP_VMXQ ||
                           (uop.word.op == athena_pkg::OP_VEC && uop.word.p[0][31:24] != athena_pkg::RED_NONE))) begin
      for (longint r = 0; r < rows; r++) begin
        for (longint i = 0; i < 4; i++) begin
          at = longint'(uop.addr[4]) + r * longint'(uop.word.e.stride);
          crc = crc_table[crc[7:0]^byte_at(uop.word.e.seg, at+i)] ^ (crc >> 8);
        end
      end
    end
    return ~crc;
  endfunction

  task automatic write_line(input int q, input entry_t e, input logic [31:0] crc);
    $fwrite(file_i, "%0d %0d %0d %0d %0d %0d %0d\n", q, e.run, e.index, e.pc, e.issued, e.completed, crc);
  endtask

  always_comb for (int q = 0; q < Queues; q++) now[q] = issue_i[q];

  /* verilator lint_off BLKSEQ */  // a monitor: lines are written in the order of these statements
  always @(posedge clk_i) begin
    if (rst_i) for (int q = 0; q < Queues; q++) ended[q] = '0;  // what registers hold at power-on has not happened
    else for (int q = 0; q < Queues; q++) begin
      for (int s = 0; s < Slots; s++) begin
        if (ended[q][s]) write_line(q, ending[q][s], crc32(ending[q][s].uop));
        ended[q][s] = retire_i[q][s];
        if (retire_i[q][s]) begin
          ending[q][s] = words[q][s];
          ending[q][s].completed = cycle_i;
        end
      end
      if (control_done_i[q]) begin
        control[q].completed = cycle_i;
        write_line(q, control[q], '0);
      end
      if (now[q].valid) begin
        if (now[q].control) begin
          control[q] = '{int'(run_i[q]), count[q], int'(now[q].pc), cycle_i, 0, now[q].uop};
        end else begin
          words[q][now[q].slot] = '{int'(run_i[q]), count[q], int'(now[q].pc), cycle_i, 0, now[q].uop};
        end
        count[q] = count[q] + 1;
      end
      if (launch_i) begin
        count[q] = 0;
        ended[q] = '0;
      end
    end
  end
  /* verilator lint_on BLKSEQ */
endmodule
