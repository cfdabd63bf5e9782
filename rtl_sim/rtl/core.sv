// One Athena core: four queues (STORE LOAD MATRIX VECTOR, also the order in which they go first in a cycle), their units,
// L1 and ACC (`datapath`). Instruction and main memory are outside.
module core #(
    localparam int Queues = athena_pkg::QUEUES,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int L1Bits = $clog2(athena_pkg::L1_BYTES),
    localparam int LoadBus = athena_pkg::LOAD_BYTES,
    localparam int StoreBus = athena_pkg::STORE_BYTES,
    localparam int Slots = athena_pkg::DMA_SLOTS,
    localparam int SlotBits = athena_pkg::SLOT_BITS,
    localparam int LoadTag = 1 + SlotBits + $clog2(LoadBus + 1) + L1Bits,
    localparam int StoreTag = 1 + SlotBits
) (
    input  logic                                                     clk_i,
    input  logic                                                     rst_i,
    input  logic                                                     launch_i,       // start; the next cycle is cycle 0
    // Launch state: what a host writes before it starts the core.
    input  logic               [athena_pkg::SCALARS-1:0][31:0]       scalars_i,
    input  logic               [athena_pkg::SEMS-1:0][7:0]           sems_i,
    input  logic               [AddrBits-1:0]                        memory_bytes_i, // end of mapped memory
    input  logic               [Queues-1:0][31:0]                    runs_i,
    output logic               [Queues-1:0][31:0]                    run_o,
    input  logic               [Queues-1:0][athena_pkg::RUN_BITS-1:0] run_i,      // of a run_t
    // Instruction memory, a port a queue.
    output logic               [Queues-1:0]                          fetch_valid_o,
    output logic               [Queues-1:0]                          fetch_epoch_o,
    output logic               [Queues-1:0][31:0]                    fetch_beat_o,
    input  logic               [Queues-1:0]                          fetch_valid_i,
    input  logic               [Queues-1:0]                          fetch_epoch_i,
    input  logic               [Queues-1:0][athena_pkg::FETCH_BYTES*8-1:0] fetch_data_i,
    input  logic               [Queues-1:0]                          fetch_error_i,  // a fault if the word comes to the head
    // Main memory. A beat is taken in a cycle with valid and ready and stays as it is until then; first: of a row, left: bytes of
    // the row from this beat on. Answers come in order and are always taken: one a load beat, at least the last beat's a store.
    output logic                                                     load_valid_o,
    input  logic                                                     load_ready_i,
    output logic               [AddrBits-1:0]                        load_addr_o,
    output logic                                                     load_first_o,
    output logic               [athena_pkg::COUNT_BITS-1:0]          load_left_o,
    output logic               [LoadTag-1:0]                         load_tag_o,
    input  logic                                                     load_valid_i,
    input  logic               [LoadBus*8-1:0]                       load_data_i,
    input  logic               [LoadTag-1:0]                         load_tag_i,
    input  logic                                                     load_error_i,
    output logic                                                     store_valid_o,
    input  logic                                                     store_ready_i,
    output logic               [AddrBits-1:0]                        store_addr_o,
    output logic               [StoreBus*8-1:0]                      store_data_o,
    output logic               [$clog2(StoreBus+1)-1:0]              store_bytes_o,
    output logic                                                     store_first_o,
    output logic               [athena_pkg::COUNT_BITS-1:0]          store_left_o,
    output logic               [StoreTag-1:0]                        store_tag_o,
    input  logic                                                     store_valid_i,
    input  logic               [StoreTag-1:0]                        store_tag_i,
    input  logic                                                     store_error_i,
    // State.
    output logic                                                     done_o,         // all queues ended, nothing in flight
    output logic                                                     quiet_o,        // nothing in flight, issued or being fetched
    output logic               [2:0]                                 fault_o,
    output logic               [1:0]                                 fault_queue_o,
    output logic               [athena_pkg::PC_BITS-1:0]             fault_pc_o,
    output logic               [Queues-1:0][athena_pkg::ISSUE_BITS-1:0] issue_o,    // of an issue_t
    output logic               [Queues-1:0]                          control_done_o,
    output logic               [Queues-1:0][Slots-1:0]               retire_o,
    output logic               [athena_pkg::COUNTERS-1:0][athena_pkg::COUNTER_BITS-1:0] counters_o
);
  localparam int VectorQ = int'(athena_pkg::QUEUE_VECTOR);
  localparam int Signals = Queues * 4 + (2 * Slots + 2) * 2;

  logic [Queues-1:0][athena_pkg::WORD_BITS-1:0] word;  // arrays of a word_t, a uop_t, a ports_t
  logic [Queues-1:0][athena_pkg::UOP_BITS-1:0] uop;
  logic [Queues-1:0][athena_pkg::PORTS_BITS-1:0] ports, held, held_others;
  logic [Queues-1:0][3:0][15:0] waits;
  logic [Queues-1:0][athena_pkg::AREGS-1:0][AddrBits-1:0] areg;
  logic [Queues-1:0][athena_pkg::PC_BITS-1:0] pc, released;
  logic [Queues-1:0][31:0] loop_count;
  logic [Queues-1:0][3:0][15:0] head_signals;
  logic [Queues-1:0][3:0][15:0] control_signals;
  logic [Queues-1:0] restart, available, bad_word, head, control, legal, bad_range, bad_loop, empty, alone, hold, issue;
  logic [Queues-1:0] queue_busy, queue_active, queue_control, unit_ready, unit_busy, wants, unit_issue, start, faults;
  logic [Queues-1:0][SlotBits-1:0] slot;
  logic [Signals-1:0][15:0] signals;
  logic sem_fault, halted;

  // Queues.
  for (genvar q = 0; q < Queues; q++) begin : g_queue
    athena_pkg::run_t run;
    assign run = run_i[q];
    fetch u_fetch (
        .clk_i,
        .rst_i,
        .restart_i(restart[q]),
        .base_i(run.base),
        .released_i(released[q]),
        .pc_i(pc[q]),
        .word_o(word[q]),
        .available_o(available[q]),
        .bad_o(bad_word[q]),
        .req_valid_o(fetch_valid_o[q]),
        .req_epoch_o(fetch_epoch_o[q]),
        .req_beat_o(fetch_beat_o[q]),
        .rsp_valid_i(fetch_valid_i[q]),
        .rsp_epoch_i(fetch_epoch_i[q]),
        .rsp_data_i(fetch_data_i[q]),
        .rsp_error_i(fetch_error_i[q])
    );
    queue_ctl u_ctl (
        .clk_i,
        .rst_i,
        .launch_i,
        .runs_i(runs_i[q]),
        .run_o(run_o[q]),
        .run_i(run),
        .scalars_i,
        .restart_o(restart[q]),
        .pc_o(pc[q]),
        .released_o(released[q]),
        .available_i(available[q]),
        .word_i(word[q]),
        .head_o(head[q]),
        .areg_o(areg[q]),
        .count_i(loop_count[q]),
        .bad_loop_o(bad_loop[q]),
        .issue_i(issue[q]),
        .control_i(control[q]),
        .signals_i(head_signals[q]),
        .done_o(control_done_o[q]),
        .signals_o(control_signals[q]),
        .busy_o(queue_busy[q]),
        .active_o(queue_active[q]),
        .control_o(queue_control[q])
    );
    decode #(
        .Queue(3'(q))
    ) u_decode (
        .word_i(word[q]),
        .areg_i(areg[q]),
        .seg_i(run.seg),
        .scalars_i,
        .memory_bytes_i,
        .control_o(control[q]),
        .legal_o(legal[q]),
        .bad_range_o(bad_range[q]),
        .empty_o(empty[q]),
        .alone_o(alone[q]),
        .loop_count_o(loop_count[q]),
        .waits_o(waits[q]),
        .signals_o(head_signals[q]),
        .ports_o(ports[q]),
        .uop_o(uop[q])
    );
    assign issue_o[q] = {issue[q], control[q], slot[q], pc[q], uop[q]};  // an issue_t
  end

  // Issue: waits hold, the unit is ready, and no other unit holds a port, queues before this one in the cycle included.
  always_comb begin
    for (int q = 0; q < Queues; q++) wants[q] = head[q] && hold[q] && !halted;
    faults = wants & (~legal | (control & bad_loop) | (~control & bad_range));
    if (!halted) faults = faults | (head & bad_word);
    unit_issue = '0;
    for (int q = 0; q < Queues; q++) begin
      held_others[q] = '0;
      for (int other = 0; other < Queues; other++) begin
        if (other != q) held_others[q] = held_others[q] | held[other];
        // A FILL writes at once, so it waits for what its own queue has still to write.
        if (other == q && alone[q]) held_others[q] = held_others[q] | held[other];
        if (other < q && unit_issue[other]) held_others[q] = held_others[q] | ports[other];
      end
      unit_issue[q] = wants[q] && !faults[q] && !control[q] && unit_ready[q] &&
          (ports[q] & held_others[q]) == '0;
      issue[q] = unit_issue[q] || (wants[q] && !faults[q] && control[q]);
      start[q] = unit_issue[q] && !empty[q];
    end
  end

  semaphores #(
      .Signals(Signals)
  ) u_semaphores (
      .clk_i,
      .rst_i,
      .load_i(launch_i),
      .init_i(sems_i),
      .waits_i(waits),
      .take_i(issue),
      .hold_o(hold),
      .signals_i(signals),
      .fault_o(sem_fault)
  );

  // Words in flight.
  logic [1:0] dma_free, dma_ready, dma_moves, bad_row;
  logic [$clog2(LoadBus+1)-1:0] load_bytes;
  logic [2:0] bad_index;  // of STORE, LOAD, VECTOR
  logic [1:0][athena_pkg::PC_BITS-1:0] dma_pc;  // of the word whose beats are under way
  logic [1:0][Slots-1:0][athena_pkg::PC_BITS-1:0] slot_pc;
  logic [1:0] dma_error;
  logic [1:0][SlotBits-1:0] dma_error_slot;
  logic [athena_pkg::PC_BITS-1:0] vector_pc;
  logic [1:0][Slots-1:0] dma_done;
  logic [1:0][Slots-1:0][1:0][15:0] dma_signals;
  logic [1:0] unit_done, unit_free;
  logic [1:0][1:0][15:0] unit_signals;
  for (genvar q = 0; q < 2; q++) begin : g_dma
    inflight #(
        .Slots(Slots)
    ) u_inflight (
        .clk_i,
        .rst_i,
        .issue_i(unit_issue[q]),
        .empty_i(empty[q]),
        .ports_i(ports[q]),
        .signals_i(head_signals[q][1:0]),
        .free_o(dma_free[q]),
        .slot_o(slot[q]),
        .done_i(dma_done[q]),
        .ports_o(held[q]),
        .retire_o(retire_o[q]),
        .signals_o(dma_signals[q]),
        .busy_o(unit_busy[q])
    );
    assign unit_ready[q] = dma_free[q] && dma_ready[q];
  end
  for (genvar u = 0; u < 2; u++) begin : g_unit
    inflight #(
        .Slots(1)
    ) u_inflight (
        .clk_i,
        .rst_i,
        .issue_i(unit_issue[2+u]),
        .empty_i(empty[2+u]),
        .ports_i(ports[2+u]),
        .signals_i(head_signals[2+u][1:0]),
        .free_o(unit_free[u]),
        .slot_o(slot[2+u]),
        .done_i(unit_done[u]),
        .ports_o(held[2+u]),
        .retire_o(retire_o[2+u][0]),
        .signals_o(unit_signals[u]),
        .busy_o(unit_busy[2+u])
    );
    assign unit_ready[2+u] = unit_free[u];
    if (Slots > 1) begin : g_unused_slots
      assign retire_o[2+u][Slots-1:1] = '0;
    end
  end
  assign signals = {control_signals, dma_signals, unit_signals};

  datapath u_datapath (
      .clk_i,
      .rst_i,
      .memory_bytes_i,
      .start_i(start),
      .uop_i(uop),
      .slot_i(slot[1:0]),
      .dma_ready_o(dma_ready),
      .dma_moves_o(dma_moves),
      .dma_done_o(dma_done),
      .unit_done_o(unit_done),
      .bad_index_o(bad_index),
      .bad_row_o(bad_row),
      .dma_error_o(dma_error),
      .dma_error_slot_o(dma_error_slot),
      .load_valid_o,
      .load_ready_i,
      .load_addr_o,
      .load_first_o,
      .load_left_o,
      .load_bytes_o(load_bytes),
      .load_tag_o,
      .load_valid_i,
      .load_data_i,
      .load_tag_i,
      .load_error_i,
      .store_valid_o,
      .store_ready_i,
      .store_addr_o,
      .store_data_o,
      .store_bytes_o,
      .store_first_o,
      .store_left_o,
      .store_tag_o,
      .store_valid_i,
      .store_tag_i,
      .store_error_i
  );

  // Faults stop all queues at once; the first queue in tie order is named.
  assign halted = fault_o != athena_pkg::FAULT_NONE;
  always_ff @(posedge clk_i) begin
    if (rst_i || launch_i) begin
      fault_o <= athena_pkg::FAULT_NONE;
      fault_queue_o <= '0;
      fault_pc_o <= '0;
    end else if (!halted) begin
      if (sem_fault) fault_o <= athena_pkg::FAULT_SEMAPHORE;
      if (bad_index[2]) begin
        fault_o <= athena_pkg::FAULT_INDEX;
        fault_queue_o <= 2'(VectorQ);
        fault_pc_o <= vector_pc;
      end
      for (int q = 1; q >= 0; q--) begin
        if (dma_error[q]) begin
          fault_o <= athena_pkg::FAULT_MEMORY;
          fault_queue_o <= 2'(q);
          fault_pc_o <= slot_pc[q][dma_error_slot[q]];
        end
        if (bad_index[q] || bad_row[q]) begin
          fault_o <= bad_index[q] ? athena_pkg::FAULT_INDEX : athena_pkg::FAULT_RANGE;
          fault_queue_o <= 2'(q);
          fault_pc_o <= dma_pc[q];
        end
      end
      for (int q = Queues - 1; q >= 0; q--) begin
        if (faults[q]) begin
          fault_queue_o <= 2'(q);
          fault_pc_o <= pc[q];
          if (bad_word[q]) fault_o <= athena_pkg::FAULT_MEMORY;
          else if (!legal[q]) fault_o <= athena_pkg::FAULT_ILLEGAL_WORD;
          else fault_o <= control[q] ? athena_pkg::FAULT_LOOP : athena_pkg::FAULT_RANGE;
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int q = 0; q < 2; q++) begin
      if (start[q]) begin
        dma_pc[q] <= pc[q];
        slot_pc[q][slot[q]] <= pc[q];
      end
    end
  end
  always_ff @(posedge clk_i) if (start[VectorQ]) vector_pc <= pc[VectorQ];

  counters u_counters (
      .clk_i,
      .rst_i,
      .launch_i,
      .halted_i(halted),
      .active_i(queue_active),
      .head_i(head),
      .hold_i(hold),
      .control_i(queue_control),
      .in_flight_i(unit_busy),
      .moves_i(dma_moves),
      .control_done_i(control_done_o),
      .retire_i(retire_o),
      .load_bytes_i(load_valid_o && load_ready_i ? load_bytes : '0),
      .store_bytes_i(store_valid_o && store_ready_i ? store_bytes_o : '0),
      .counters_o
  );

  assign quiet_o = unit_busy == '0 && issue == '0 && restart == '0 && control_done_o == '0 &&
      (~queue_busy | available) == '1;
  assign done_o = queue_busy == '0 && unit_busy == '0;
endmodule
