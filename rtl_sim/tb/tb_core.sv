// Core, memories and trace for batch runs. Job j is read from `<dir>/j.in` (rtl_sim/job.py has the layout) while `load_i` is high
// at a clock edge; `dump_i` writes `<dir>/j.out`. Nothing but this file and the simulator's main loop runs in between.
module tb_core (
    input  logic clk_i,
    input  logic rst_i,
    input  logic load_i,
    input  logic launch_i,
    input  logic dump_i,
    input  int   job_i,
    output logic stop_o   // done, fault, deadlock or limit: the job can be dumped
);
  localparam int Queues = athena_pkg::QUEUES;
  localparam int LoadTag = 1 + athena_pkg::SLOT_BITS + $clog2(athena_pkg::LOAD_BYTES + 1) + $clog2(athena_pkg::L1_BYTES);
  localparam int StoreTag = 1 + athena_pkg::SLOT_BITS;
  localparam int Beats = athena_pkg::PROGRAM_WORDS * athena_pkg::FETCH_BEATS;
  localparam int BeatBits = $clog2(Beats);
  localparam int FetchBits = athena_pkg::FETCH_BYTES * 8;
  localparam int RunIndexBits = $clog2(Queues * athena_pkg::RUNS_MAX);
  // Longer than anything that goes on with all queues waiting: a SETA, a signal on the NoC.
  localparam int Patience = athena_pkg::SETA_CYCLES + athena_pkg::SIGNAL_CYCLES + 8;

  // What a job holds.
  logic [31:0] sizes[4];  // instruction words, bytes of memory image, bytes of L1 image, cycle limit
  logic [31:0] limits[2];  // end of mapped memory, flags (bit 0: dump L1 and ACC)
  logic [31:0] settings[athena_pkg::MEMORY_SETTINGS];
  logic [31:0] runs[Queues];
  logic [31:0] scalars[athena_pkg::SCALARS];
  logic [7:0] sems[athena_pkg::SEMS];
  logic [athena_pkg::RUN_BITS-1:0] run_table[Queues*athena_pkg::RUNS_MAX];
  logic [FetchBits-1:0] imem[Beats];

  logic [athena_pkg::SCALARS-1:0][31:0] scalars_packed;
  logic [athena_pkg::SEMS-1:0][7:0] sems_packed;
  logic [Queues-1:0][31:0] runs_packed, run_number;
  logic [Queues-1:0][athena_pkg::RUN_BITS-1:0] run;
  logic [Queues-1:0] fetch_valid, fetch_epoch, fetched_valid, fetched_epoch;
  logic [Queues-1:0][31:0] fetch_beat, fetched_beat;
  logic [Queues-1:0][FetchBits-1:0] fetched_data;
  logic [athena_pkg::MEMORY_SETTINGS-1:0][31:0] settings_packed;
  logic load_valid, load_ready, load_first, loaded_valid, loaded_error;
  logic store_valid, store_ready, store_first, stored_valid, stored_error;
  logic [athena_pkg::COUNT_BITS-1:0] load_left, store_left;
  logic [athena_pkg::ADDR_BITS-1:0] load_addr, store_addr;
  logic [LoadTag-1:0] load_tag, loaded_tag;
  logic [athena_pkg::LOAD_BYTES*8-1:0] loaded_data;
  logic [athena_pkg::STORE_BYTES*8-1:0] store_data;
  logic [$clog2(athena_pkg::STORE_BYTES+1)-1:0] store_bytes;
  logic [StoreTag-1:0] store_tag, stored_tag;
  logic done, quiet;
  logic [2:0] fault;
  logic [1:0] fault_queue;
  logic [athena_pkg::PC_BITS-1:0] fault_pc;
  logic [Queues-1:0][athena_pkg::ISSUE_BITS-1:0] issues;
  logic [Queues-1:0] control_done;
  logic [Queues-1:0][athena_pkg::DMA_SLOTS-1:0] retired;
  logic [athena_pkg::COUNTERS-1:0][athena_pkg::COUNTER_BITS-1:0] counters;
  int cycle, quiet_cycles, trace_file, file, got;
  logic deadlock, running;
  string dir;

  core u_core (
      .clk_i,
      .rst_i,
      .launch_i,
      .scalars_i(scalars_packed),
      .sems_i(sems_packed),
      .memory_bytes_i(athena_pkg::ADDR_BITS'(limits[0])),
      .runs_i(runs_packed),
      .run_o(run_number),
      .run_i(run),
      .fetch_valid_o(fetch_valid),
      .fetch_epoch_o(fetch_epoch),
      .fetch_beat_o(fetch_beat),
      .fetch_valid_i(fetched_valid),
      .fetch_epoch_i(fetched_epoch),
      .fetch_data_i(fetched_data),
      .fetch_error_i('0),
      .load_valid_o(load_valid),
      .load_ready_i(load_ready),
      .load_addr_o(load_addr),
      .load_first_o(load_first),
      .load_left_o(load_left),
      .load_tag_o(load_tag),
      .load_valid_i(loaded_valid),
      .load_data_i(loaded_data),
      .load_tag_i(loaded_tag),
      .load_error_i(loaded_error),
      .store_valid_o(store_valid),
      .store_ready_i(store_ready),
      .store_addr_o(store_addr),
      .store_data_o(store_data),
      .store_bytes_o(store_bytes),
      .store_first_o(store_first),
      .store_left_o(store_left),
      .store_tag_o(store_tag),
      .store_valid_i(stored_valid),
      .store_tag_i(stored_tag),
      .store_error_i(stored_error),
      .done_o(done),
      .quiet_o(quiet),
      .fault_o(fault),
      .fault_queue_o(fault_queue),
      .fault_pc_o(fault_pc),
      .issue_o(issues),
      .control_done_o(control_done),
      .retire_o(retired),
      .counters_o(counters)
  );

  main_memory #(
      .LoadTag(LoadTag),
      .StoreTag(StoreTag)
  ) u_memory (
      .clk_i,
      .rst_i(rst_i || launch_i),
      .settings_i(settings_packed),
      .load_valid_i(load_valid),
      .load_ready_o(load_ready),
      .load_addr_i(load_addr),
      .load_left_i(load_left),
      .load_tag_i(load_tag),
      .load_valid_o(loaded_valid),
      .load_data_o(loaded_data),
      .load_tag_o(loaded_tag),
      .load_error_o(loaded_error),
      .store_valid_i(store_valid),
      .store_ready_o(store_ready),
      .store_addr_i(store_addr),
      .store_left_i(store_left),
      .store_data_i(store_data),
      .store_bytes_i(store_bytes),
      .store_tag_i(store_tag),
      .store_valid_o(stored_valid),
      .store_tag_o(stored_tag),
      .store_error_o(stored_error)
  );

  for (genvar q = 0; q < Queues; q++) begin : g_fetch
    latency_pipe #(
        .Width(33),
        .Stages(athena_pkg::FETCH_LATENCY - 1)
    ) u_pipe (
        .clk_i,
        .rst_i,
        .valid_i(fetch_valid[q]),
        .d_i({fetch_epoch[q], fetch_beat[q]}),
        .valid_o(fetched_valid[q]),
        .q_o({fetched_epoch[q], fetched_beat[q]})
    );
    assign fetched_data[q] = imem[fetched_beat[q][BeatBits-1:0]];
    assign run[q] = run_table[RunIndexBits'(q*athena_pkg::RUNS_MAX)+RunIndexBits'(run_number[q])];
    assign runs_packed[q] = runs[q];
  end

  always_comb begin
    for (int i = 0; i < athena_pkg::MEMORY_SETTINGS; i++) settings_packed[i] = settings[i];
    for (int i = 0; i < athena_pkg::SCALARS; i++) scalars_packed[i] = scalars[i];
    for (int i = 0; i < athena_pkg::SEMS; i++) sems_packed[i] = sems[i];
  end

  trace u_trace (
      .clk_i,
      .rst_i,
      .launch_i,
      .file_i(trace_file),
      .cycle_i(cycle),
      .issue_i(issues),
      .run_i(run_number),
      .control_done_i(control_done),
      .retire_i(retired)
  );

  assign deadlock = quiet_cycles > Patience;
  assign stop_o = running && (done || fault != athena_pkg::FAULT_NONE || deadlock || cycle >= int'(sizes[3]));

  always_ff @(posedge clk_i) begin
    cycle <= launch_i ? 0 : cycle + 1;
    quiet_cycles <= launch_i || !quiet ? 0 : quiet_cycles + 1;
    running <= !rst_i && (launch_i || running);
  end

  initial if ($value$plusargs("dir=%s", dir) == 0) dir = ".";

  task automatic load_job();
    file = $fopen($sformatf("%s/%0d.in", dir, job_i), "rb");
    got = $fread(sizes, file);
    got += $fread(limits, file);
    got += $fread(settings, file);
    got += $fread(runs, file);
    got += $fread(scalars, file);
    got += $fread(sems, file);
    for (int q = 0; q < Queues; q++) begin
      if (runs[q] != 0) got += $fread(run_table, file, q * athena_pkg::RUNS_MAX, runs[q]);
    end
    if (sizes[0] != 0) got += $fread(imem, file, 0, sizes[0] * athena_pkg::FETCH_BEATS);
    for (int i = 0; i < int'(limits[0]); i++) u_memory.mem[i] = '0;
    if (sizes[1] != 0) got += $fread(u_memory.mem, file, 0, sizes[1]);
    for (int i = 0; i < athena_pkg::L1_BYTES; i++) u_core.u_datapath.u_l1.mem[i] = '0;
    if (sizes[2] != 0) got += $fread(u_core.u_datapath.u_l1.mem, file, 0, sizes[2]);
    for (int i = 0; i < athena_pkg::ACC_BYTES; i++) u_core.u_datapath.u_acc.mem[i] = '0;
    $fclose(file);
    trace_file = $fopen($sformatf("%s/%0d.trace", dir, job_i), "w");
  endtask

  task automatic dump_job();
    $fclose(trace_file);
    file = $fopen($sformatf("%s/%0d.status", dir, job_i), "w");
    $fwrite(file, "%0d %0d %0d %0d %0d %0d\n", done, deadlock, fault, fault_queue, fault_pc, cycle);
    for (int i = 0; i < athena_pkg::COUNTERS; i++) $fwrite(file, "%0d\n", counters[i]);
    $fclose(file);
    file = $fopen($sformatf("%s/%0d.out", dir, job_i), "wb");
    for (int i = 0; i < int'(limits[0]); i++) $fwrite(file, "%c", u_memory.mem[i]);
    if (limits[1][0]) begin
      for (int i = 0; i < athena_pkg::L1_BYTES; i++) $fwrite(file, "%c", u_core.u_datapath.u_l1.mem[i]);
      for (int i = 0; i < athena_pkg::ACC_BYTES; i++) $fwrite(file, "%c", u_core.u_datapath.u_acc.mem[i]);
    end
    $fclose(file);
  endtask

  always @(posedge clk_i) begin
    if (load_i) load_job();
    if (dump_i) dump_job();
  end

  logic unused;
  assign unused = ^{fetched_beat, run_number, got, load_first, store_first};
endmodule
