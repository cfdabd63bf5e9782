// Rules that hold in every cycle of every run, bound into the core's modules: builds with --assert stop at the first that is broken
// and name it. They say again, from the outside, what the modules take for granted of each other.

// The prefetch FIFO: what is asked for has a free slot, what arrives was asked for, what is read has arrived.
module fetch_rules (
    input logic                                                 clk_i,
    input logic                                                 rst_i,
    input logic                                                 restart_i,
    input logic                                                 running,
    input logic [athena_pkg::PC_BITS-1:0]                       released_i,
    input logic [athena_pkg::PC_BITS-1:0]                       pc_i,
    input logic                                                 available_o,
    input logic                                                 req_valid_o,
    input logic                                                 take,
    input logic [athena_pkg::PC_BITS-1:0]                       asked,
    input logic [athena_pkg::PC_BITS-1:0]                       arrived,
    input logic [31:0]                                          ask_beat,
    input logic [31:0]                                          beat
);
  localparam int Words = athena_pkg::FIFO_WORDS;
  localparam int Beats = athena_pkg::FETCH_BEATS;
  logic live;
  int released, pc, asked_beats, arrived_beats;
  assign live = running && !restart_i;
  assign {released, pc} = {int'(released_i), int'(pc_i)};
  assign asked_beats = int'(asked) * Beats + int'(ask_beat);
  assign arrived_beats = int'(arrived) * Beats + int'(beat);

  no_overflow :
  assert property (@(posedge clk_i) disable iff (rst_i) live && req_valid_o |-> int'(asked) < released + Words);
  no_beat_unasked :
  assert property (@(posedge clk_i) disable iff (rst_i) live && take |-> arrived_beats < asked_beats);
  no_underflow :
  assert property (@(posedge clk_i) disable iff (rst_i) live && available_o |-> pc < int'(arrived));
  pc_in_window :
  assert property (@(posedge clk_i) disable iff (rst_i) live |-> pc >= released && pc <= released + Words);
endmodule

// The queue: words issue only when there is one; loops are as deep as the stack, and the program counter stays in its loop and program.
module queue_rules (
    input logic                                                    clk_i,
    input logic                                                    rst_i,
    input logic                                                    launch_i,
    input logic                                                    active,
    input logic                                                    restart,
    input logic                                                    head_o,
    input logic                                                    issue_i,
    input logic                                                    seta_busy,
    input logic                                                    looping,
    input logic [athena_pkg::PC_BITS-1:0]                          pc,
    input logic [$clog2(athena_pkg::LOOP_DEPTH+1)-1:0]             depth,
    input logic [athena_pkg::LOOP_DEPTH-1:0][athena_pkg::PC_BITS-1:0] first,
    input logic [athena_pkg::LOOP_DEPTH-1:0][athena_pkg::PC_BITS-1:0] stop,
    input logic [athena_pkg::LOOP_DEPTH-1:0][31:0]                 left,
    input logic [athena_pkg::ADDR_BITS-1:0]                        areg_0
);
  localparam int Depth = athena_pkg::LOOP_DEPTH;
  logic live;
  assign live = active && !restart && !launch_i;

  issue_has_a_word :
  assert property (@(posedge clk_i) disable iff (rst_i) issue_i |-> head_o && !seta_busy);
  depth_in_stack :
  assert property (@(posedge clk_i) disable iff (rst_i) issue_i && looping |-> int'(depth) < Depth);
  pc_in_program :
  assert property (@(posedge clk_i) disable iff (rst_i) live |-> int'(pc) < athena_pkg::PROGRAM_WORDS);
  areg_0_is_0 :
  assert property (@(posedge clk_i) disable iff (rst_i) live |-> areg_0 == '0);
  for (genvar level = 0; level < Depth; level++) begin : g_level
    pc_in_loop :
    assert property (@(posedge clk_i) disable iff (rst_i)
        live && level < int'(depth) |-> pc >= first[level] && pc < stop[level] && left[level] != '0);
  end
endmodule

// Counters: nothing is taken that is not there, and sums are kept whole unless the core faults.
module semaphore_rules (
    input logic                                       clk_i,
    input logic                                       rst_i,
    input logic                                       load_i,
    input logic [athena_pkg::SEMS-1:0][7:0]           init_i,
    input logic                                       fault_o,
    input logic [athena_pkg::QUEUES-1:0]              take_i,
    input logic [athena_pkg::QUEUES-1:0]              hold_o,
    input logic [athena_pkg::SEMS-1:0][7:0]           value,
    input logic [athena_pkg::SEMS-1:0][11:0]          plus,
    input logic [athena_pkg::SEMS-1:0][11:0]          minus
);
  logic [athena_pkg::SEMS-1:0][7:0] expected;
  logic bounded, known;
  always_comb begin
    bounded = 1'b1;
    for (int s = 0; s < athena_pkg::SEMS; s++) begin
      if (12'(value[s]) < minus[s] || 12'(value[s]) - minus[s] + plus[s] > 12'(athena_pkg::SEM_MAX)) bounded = 1'b0;
    end
  end
  always_ff @(posedge clk_i) begin
    known <= !rst_i && (load_i || (known && !fault_o));
    for (int s = 0; s < athena_pkg::SEMS; s++) expected[s] <= load_i ? init_i[s] : 8'(12'(value[s]) - minus[s] + plus[s]);
  end

  take_is_held :
  assert property (@(posedge clk_i) disable iff (rst_i) (take_i & ~hold_o) == '0);
  in_bounds :
  assert property (@(posedge clk_i) disable iff (rst_i) known && !load_i && !fault_o |-> bounded);
  sum_is_kept :
  assert property (@(posedge clk_i) disable iff (rst_i) known |-> value == expected);
endmodule

// Slots of words in flight: a free one is taken, only a taken one is done, the oldest retire first.
module inflight_rules #(
    parameter int Slots = 1
) (
    input logic                               clk_i,
    input logic                               rst_i,
    input logic                               issue_i,
    input logic                               free_o,
    input logic [athena_pkg::SLOT_BITS-1:0]   slot_o,
    input logic [Slots-1:0]                   valid,
    input logic [Slots-1:0]                   done_i,
    input logic [Slots-1:0]                   retire_o,
    input logic [31:0]                        head
);
  logic [Slots-1:0] next, oldest;
  assign next = Slots'(1) << slot_o;
  assign oldest = Slots'(1) << head;

  no_overrun :
  assert property (@(posedge clk_i) disable iff (rst_i) issue_i |-> free_o && (valid & ~retire_o & next) == '0);
  done_is_in_flight :
  assert property (@(posedge clk_i) disable iff (rst_i) (done_i & ~valid) == '0);
  retires_in_order :
  assert property (@(posedge clk_i) disable iff (rst_i) retire_o != '0 |-> (retire_o & oldest) != '0);
  retire_is_in_flight :
  assert property (@(posedge clk_i) disable iff (rst_i) (retire_o & ~valid) == '0);
endmodule

// Between queues: one owner a bank port, no unit is started while it works, nothing issues after a fault.
module core_rules (
    input logic                                                        clk_i,
    input logic                                                        rst_i,
    input logic [athena_pkg::QUEUES-1:0][athena_pkg::PORTS_BITS-1:0]   held,
    input logic [athena_pkg::QUEUES-1:0][athena_pkg::PORTS_BITS-1:0]   ports,
    input logic [athena_pkg::QUEUES-1:0]                               unit_issue,
    input logic [athena_pkg::QUEUES-1:0]                               issue,
    input logic [athena_pkg::QUEUES-1:0]                               start,
    input logic [athena_pkg::QUEUES-1:0]                               unit_ready,
    input logic [1:0]                                                  unit_done,
    input logic [1:0]                                                  unit_held,
    input logic                                                        halted
);
  for (genvar q = 0; q < athena_pkg::QUEUES; q++) begin : g_queue
    for (genvar other = 0; other < q; other++) begin : g_other
      one_owner :
      assert property (@(posedge clk_i) disable iff (rst_i)
          (((held[q] | (unit_issue[q] ? ports[q] : '0)) & (held[other] | (unit_issue[other] ? ports[other] : '0))) == '0));
    end
    start_is_ready :
    assert property (@(posedge clk_i) disable iff (rst_i) start[q] |-> unit_ready[q]);
  end
  done_was_started :
  assert property (@(posedge clk_i) disable iff (rst_i) (unit_done & ~unit_held) == '0);
  nothing_after_a_fault :
  assert property (@(posedge clk_i) disable iff (rst_i) halted |-> issue == '0);
endmodule

// The walker: beats are of 1 to BusBytes bytes and lie inside L1 on its side.
module walker_rules #(
    parameter int BusBytes = 16,
    parameter logic TableIsSource = 1'b1
) (
    input logic                                  clk_i,
    input logic                                  rst_i,
    input logic                                  start_i,
    input logic                                  ready_o,
    input logic                                  index_read_o,
    input logic [$clog2(athena_pkg::L1_BYTES)-1:0] index_addr_o,
    input logic                                  valid_o,
    input logic [$clog2(BusBytes+1)-1:0]         bytes_o,
    input logic [athena_pkg::ADDR_BITS-1:0]      src_o,
    input logic [athena_pkg::ADDR_BITS-1:0]      dst_o
);
  logic [athena_pkg::ADDR_BITS-1:0] local_at;
  int count;
  assign local_at = TableIsSource ? dst_o : src_o;
  assign count = int'(bytes_o);

  start_is_ready :
  assert property (@(posedge clk_i) disable iff (rst_i) start_i |-> ready_o);
  beat_has_bytes :
  assert property (@(posedge clk_i) disable iff (rst_i) valid_o |-> count >= 1 && count <= BusBytes);
  beat_in_l1 :
  assert property (@(posedge clk_i) disable iff (rst_i) valid_o |->
      64'(local_at) + 64'(count) <= 64'(athena_pkg::L1_BYTES));
  index_in_l1 :
  assert property (@(posedge clk_i) disable iff (rst_i)
      index_read_o |-> index_addr_o[1:0] == '0 && int'(index_addr_o) + 4 <= athena_pkg::L1_BYTES);
endmodule

// A port of main memory: a beat stays as it is until it is taken, and none leaves the memory that is mapped.
module memory_rules #(
    parameter int TagBits = 1,
    parameter int DataBits = 1
) (
    input logic                             clk_i,
    input logic                             rst_i,
    input logic                             req_valid_o,
    input logic                             req_ready_i,
    input logic [athena_pkg::ADDR_BITS-1:0] req_addr_o,
    input logic [31:0]                      bytes,
    input logic [TagBits-1:0]               req_tag_o,
    input logic [DataBits-1:0]              data,
    input logic [athena_pkg::ADDR_BITS-1:0] memory_bytes_i
);
  beat_in_memory :
  assert property (@(posedge clk_i) disable iff (rst_i)
      req_valid_o |-> longint'(req_addr_o) + longint'(bytes) <= longint'(memory_bytes_i));
  beat_stays :
  assert property (@(posedge clk_i) disable iff (rst_i) req_valid_o && !req_ready_i |=> req_valid_o);
  beat_is_stable :
  assert property (@(posedge clk_i) disable iff (rst_i)
      req_valid_o && !req_ready_i |=> $stable({req_addr_o, bytes, req_tag_o, data}));
endmodule

// L1 and ACC: in a cycle at most one read begins in a bank, and one access writes to it; none lies outside.
module scratchpad_rules #(
    parameter int Bytes = 1024,
    parameter int Banks = 2,
    parameter int Readers = 1,
    parameter int Writers = 1,
    parameter int PortBytes = 16
) (
    input logic                                  clk_i,
    input logic [Readers-1:0]                    read_i,
    input logic [Readers-1:0][$clog2(Banks)-1:0] read_bank,
    input logic [Writers-1:0][PortBytes-1:0]     write_i,
    input logic [Writers-1:0][$clog2(Bytes)-1:0] write_addr_i,
    input logic [Writers-1:0][$clog2(Banks)-1:0] write_bank,
    input logic [Writers-1:0]                    write_crosses
);
  logic [Banks-1:0] read, written;
  logic two_reads, two_writes;
  logic settled;  // a first edge has reset what was anything at power-on
  initial settled = 1'b0;
  always @(posedge clk_i) settled <= 1'b1;
  always_comb begin
    read = '0;
    two_reads = 1'b0;
    for (int port = 0; port < Readers; port++) begin
      if (read_i[port]) begin
        two_reads = two_reads || read[read_bank[port]];
        read[read_bank[port]] = 1'b1;
      end
    end
    written = '0;
    two_writes = 1'b0;
    for (int port = 0; port < Writers; port++) begin
      if (write_i[port] != '0) begin
        two_writes = two_writes || written[write_bank[port]] || (write_crosses[port] && written[write_bank[port]+1'b1]);
        written[write_bank[port]] = 1'b1;
        if (write_crosses[port]) written[write_bank[port]+1'b1] = 1'b1;
      end
    end
  end
  one_read_of_a_bank :
  assert property (@(posedge clk_i) settled |-> !two_reads);
  one_write_of_a_bank :
  assert property (@(posedge clk_i) settled |-> !two_writes);
  for (genvar w = 0; w < Writers; w++) begin : g_writer
    write_from_its_address :
    assert property (@(posedge clk_i) settled |-> (write_i[w] & (write_i[w] + 1'b1)) == '0);
    write_inside :
    assert property (@(posedge clk_i) settled && write_i[w] != '0 |-> 32'(write_addr_i[w]) + $countones(write_i[w]) <= 32'(Bytes));
  end
endmodule

bind fetch fetch_rules u_rules (
    .ask_beat(32'(ask_beat)),
    .beat(32'(beat)),
    .*
);
bind queue_ctl queue_rules u_rules (
    .areg_0(areg[0]),
    .*
);
bind semaphores semaphore_rules u_rules (.*);
bind inflight inflight_rules #(
    .Slots(Slots)
) u_rules (
    .head(32'(head)),
    .*
);
bind core core_rules u_rules (
    .unit_held(unit_busy[3:2]),
    .*
);
bind walker walker_rules #(
    .BusBytes(BusBytes),
    .TableIsSource(TableIsSource)
) u_rules (
    .*
);
bind load_unit memory_rules #(
    .TagBits(TagBits)
) u_rules (
    .bytes(32'(bytes)),
    .data(1'b0),
    .*
);
bind store_unit memory_rules #(
    .TagBits(TagBits),
    .DataBits(Bus * 8)
) u_rules (
    .bytes(32'(req_bytes_o)),
    .data(req_data_o),
    .*
);
bind scratchpad scratchpad_rules #(
    .Bytes(Bytes),
    .Banks(Banks),
    .Readers(Readers),
    .Writers(Writers),
    .PortBytes(PortBytes)
) u_rules (
    .*
);
