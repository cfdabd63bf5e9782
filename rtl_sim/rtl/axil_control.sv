// Control registers of the core behind an AXI4-Lite slave (rtl_sim/registers.py names them), launch state, run tables, interrupt.
// One access at a time and direction. SLVERR: no such register, not all bytes enabled, launch state written while a launch runs.
module axil_control #(
    parameter int Runs = 16,         // of a queue that the run table holds; a power of two
    parameter int Counters = 1,
    parameter int CounterBits = 48,
    localparam int Queues = athena_pkg::QUEUES,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int RegBits = athena_pkg::REGISTER_BITS,
    localparam int PageBits = athena_pkg::AXI_PAGE_BITS,
    localparam int ShiftBits = $clog2(athena_pkg::WORD_BYTES)
) (
    input  logic                                                  clk_i,
    input  logic                                                  rst_i,
    output logic                                                  irq_o,
    // AXI4-Lite.
    input  logic                                                  s_axil_awvalid_i,
    output logic                                                  s_axil_awready_o,
    input  logic [RegBits-1:0]                                    s_axil_awaddr_i,
    input  logic                                                  s_axil_wvalid_i,
    output logic                                                  s_axil_wready_o,
    input  logic [31:0]                                           s_axil_wdata_i,
    input  logic [3:0]                                            s_axil_wstrb_i,
    output logic                                                  s_axil_bvalid_o,
    input  logic                                                  s_axil_bready_i,
    output logic [1:0]                                            s_axil_bresp_o,
    input  logic                                                  s_axil_arvalid_i,
    output logic                                                  s_axil_arready_o,
    input  logic [RegBits-1:0]                                    s_axil_araddr_i,
    output logic                                                  s_axil_rvalid_o,
    input  logic                                                  s_axil_rready_i,
    output logic [31:0]                                           s_axil_rdata_o,
    output logic [1:0]                                            s_axil_rresp_o,
    // Core.
    output logic                                                  core_rst_o,
    output logic                                                  launch_o,
    output logic [athena_pkg::SCALARS-1:0][31:0]                  scalars_o,
    output logic [athena_pkg::SEMS-1:0][7:0]                      sems_o,
    output logic [AddrBits-1:0]                                   memory_bytes_o,
    output logic [Queues-1:0][31:0]                               runs_o,
    input  logic [Queues-1:0][31:0]                               run_i,       // numbers
    output logic [Queues-1:0][athena_pkg::RUN_BITS-1:0]           run_o,       // descriptors
    input  logic                                                  done_i,
    input  logic                                                  quiet_i,
    input  logic [2:0]                                            fault_i,
    input  logic [1:0]                                            fault_queue_i,
    input  logic [athena_pkg::PC_BITS-1:0]                        fault_pc_i,
    input  logic [Counters-1:0][CounterBits-1:0]                  counters_i,
    // Bus masters.
    output logic                                                  accept_o,
    input  logic                                                  bus_idle_i,
    output logic [AddrBits-1:ShiftBits]                           code_base_o,
    output logic [AddrBits-1:PageBits]                            data_base_o
);
  localparam int RunBits = $clog2(Runs);
  localparam int SlotBits = $clog2(athena_pkg::RUN_STRIDE_BYTES);
  localparam int QueueBits = $clog2(Queues);
  localparam int SemWords = athena_pkg::SEMS / 4;
  localparam int ScalarBits = $clog2(athena_pkg::SCALARS);
  localparam int SemBits = $clog2(SemWords);
  localparam int PlaceBits = $clog2(athena_pkg::COUNTERS_MAX);
  localparam int HighBits = AddrBits - 32;

  if (Runs != 1 << RunBits || Runs < 2 || Runs > athena_pkg::RUNS_MAX || Counters > athena_pkg::COUNTERS_MAX ||
      CounterBits < 33 || CounterBits > 64) begin : g_check
    $error("axil_control: Runs must be a power of two up to RUNS_MAX, Counters at most COUNTERS_MAX of 33 to 64 bits");
  end

  function automatic logic in_words(input logic [RegBits-1:0] at, input logic [RegBits-1:0] base, input int words);
    in_words = at >= base && at < base + RegBits'(4 * words);
  endfunction

  // Launch.
  logic start, stop, load, running, done, fault, ended, core_fault;
  assign core_fault = fault_i != athena_pkg::FAULT_NONE;
  launch_ctl u_launch (
      .clk_i,
      .rst_i,
      .start_i(start),
      .stop_i(stop),
      .bus_idle_i,
      .core_done_i(done_i),
      .core_fault_i(core_fault),
      .accept_o,
      .core_rst_o,
      .load_o(load),
      .launch_o,
      .running_o(running),
      .done_o(done),
      .fault_o(fault),
      .ended_o(ended)
  );

  // Writes: address and data wait for each other.
  logic aw_held, w_held, write, write_hit, write_good;
  logic [RegBits-1:0] at;
  logic [31:0] data;
  logic [3:0] strobe;
  logic [1:0] irq_enable, irq_pending;
  logic [SemWords-1:0][31:0] sems;
  logic [Queues-1:0][RunBits:0] runs;
  logic in_runs, in_scalars, in_sems, in_table, in_launch;

  assign s_axil_awready_o = !aw_held;
  assign s_axil_wready_o = !w_held;
  assign write = aw_held && w_held && !s_axil_bvalid_o;
  assign in_runs = in_words(at, athena_pkg::REG_RUNS, Queues) && data <= 32'(Runs);
  assign in_scalars = in_words(at, athena_pkg::REG_SCALARS, athena_pkg::SCALARS);
  assign in_sems = in_words(at, athena_pkg::REG_SEMS, SemWords);
  assign in_table = at >= athena_pkg::REG_RUN_TABLE &&
      (at - athena_pkg::REG_RUN_TABLE) >> (SlotBits + RunBits + QueueBits) == '0 &&
      int'(at[SlotBits-1:2]) < athena_pkg::RUN_BITS / 32;
  always_comb begin
    case (at)
      athena_pkg::REG_CODE_LOW, athena_pkg::REG_CODE_HIGH, athena_pkg::REG_DATA_LOW, athena_pkg::REG_DATA_HIGH,
      athena_pkg::REG_MEMORY_LOW, athena_pkg::REG_MEMORY_HIGH:
      in_launch = 1'b1;
      default: in_launch = in_runs || in_scalars || in_sems || in_table;
    endcase
    case (at)
      athena_pkg::REG_CONTROL, athena_pkg::REG_IRQ_ENABLE, athena_pkg::REG_IRQ_PENDING: write_hit = 1'b1;
      default: write_hit = in_launch && !running;
    endcase
  end
  assign write_good = write && write_hit && strobe == '1;
  assign start = write_good && at == athena_pkg::REG_CONTROL && data[athena_pkg::CONTROL_START];
  assign stop = write_good && at == athena_pkg::REG_CONTROL && data[athena_pkg::CONTROL_STOP];

  always_ff @(posedge clk_i) begin
    if (s_axil_awvalid_i && s_axil_awready_o) at <= {s_axil_awaddr_i[RegBits-1:2], 2'b00};
    if (s_axil_wvalid_i && s_axil_wready_o) {data, strobe} <= {s_axil_wdata_i, s_axil_wstrb_i};
    if (rst_i) begin
      aw_held <= 1'b0;
      w_held  <= 1'b0;
      s_axil_bvalid_o <= 1'b0;
    end else begin
      aw_held <= !write && (aw_held || s_axil_awvalid_i);
      w_held  <= !write && (w_held || s_axil_wvalid_i);
      if (write) s_axil_bvalid_o <= 1'b1;
      else if (s_axil_bready_i) s_axil_bvalid_o <= 1'b0;
    end
    if (write) s_axil_bresp_o <= write_good ? athena_pkg::AXIRESP_OKAY : athena_pkg::AXIRESP_SLVERR;
  end

  always_ff @(posedge clk_i) begin
    if (write_good) begin
      case (at)
        athena_pkg::REG_CODE_LOW:    code_base_o[31:ShiftBits] <= data[31:ShiftBits];
        athena_pkg::REG_CODE_HIGH:   code_base_o[AddrBits-1:32] <= data[HighBits-1:0];
        athena_pkg::REG_DATA_LOW:    data_base_o[31:PageBits] <= data[31:PageBits];
        athena_pkg::REG_DATA_HIGH:   data_base_o[AddrBits-1:32] <= data[HighBits-1:0];
        athena_pkg::REG_MEMORY_LOW:  memory_bytes_o[31:0] <= data;
        athena_pkg::REG_MEMORY_HIGH: memory_bytes_o[AddrBits-1:32] <= data[HighBits-1:0];
        default: begin
          if (in_runs) runs[at[QueueBits+1:2]] <= data[RunBits:0];
          if (in_scalars) scalars_o[at[ScalarBits+1:2]] <= data;
          if (in_sems) sems[at[SemBits+1:2]] <= data;
        end
      endcase
    end
    if (rst_i) begin
      code_base_o    <= '0;
      data_base_o    <= '0;
      memory_bytes_o <= '0;
      scalars_o      <= '0;
      sems           <= '0;
      runs           <= '0;
    end
  end
  assign sems_o = sems;

  for (genvar q = 0; q < Queues; q++) begin : g_queue
    assign runs_o[q] = 32'(runs[q]);
    run_table #(
        .Runs(Runs)
    ) u_table (
        .clk_i,
        .write_i(write_good && in_table && at[SlotBits+RunBits+:QueueBits] == QueueBits'(q)),
        .write_run_i(at[SlotBits+:RunBits]),
        .write_word_i(at[SlotBits-1:2]),
        .write_data_i(data),
        .first_i(core_rst_o),
        .load_i(load),
        .run_i(run_i[q]),
        .run_o(run_o[q])
    );
  end

  // Interrupt.
  assign irq_o = (irq_enable & irq_pending) != '0;
  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      irq_enable  <= '0;
      irq_pending <= '0;
    end else begin
      if (write_good && at == athena_pkg::REG_IRQ_ENABLE) irq_enable <= data[1:0];
      if (write_good && at == athena_pkg::REG_IRQ_PENDING) irq_pending <= irq_pending & ~data[1:0];
      if (ended && !core_fault) irq_pending[athena_pkg::IRQ_DONE] <= 1'b1;
      if (ended && core_fault) irq_pending[athena_pkg::IRQ_FAULT] <= 1'b1;
    end
  end

  // Reads. A counter's high half is kept when its low half is read.
  logic read, read_hit, in_counters;
  logic [RegBits-1:0] from;
  logic [31:0] status, value, high;
  logic [63:0] counter;

  assign s_axil_arready_o = !s_axil_rvalid_o;
  assign read = s_axil_arvalid_i && s_axil_arready_o;
  assign from = {s_axil_araddr_i[RegBits-1:2], 2'b00};
  assign in_counters = in_words(from, athena_pkg::REG_COUNTERS, 2 * Counters);
  always_comb begin
    status = '0;
    status[athena_pkg::STATUS_RUNNING] = running;
    status[athena_pkg::STATUS_DONE] = done;
    status[athena_pkg::STATUS_FAULT] = fault;
    status[athena_pkg::STATUS_WAITING] = running && quiet_i;
    status[athena_pkg::STATUS_BUS_BUSY] = !bus_idle_i;
    counter = '0;
    for (int i = 0; i < Counters; i++) begin
      if (from[PlaceBits+2:3] == PlaceBits'(i)) counter = 64'(counters_i[i]);
    end
    read_hit = 1'b1;
    value = '0;
    case (from)
      athena_pkg::REG_CONTROL:     value = '0;
      athena_pkg::REG_STATUS:      value = status;
      athena_pkg::REG_IRQ_ENABLE:  value = 32'(irq_enable);
      athena_pkg::REG_IRQ_PENDING: value = 32'(irq_pending);
      athena_pkg::REG_FAULT_CODE:  value = 32'(fault_i);
      athena_pkg::REG_FAULT_QUEUE: value = 32'(fault_queue_i);
      athena_pkg::REG_FAULT_PC:    value = 32'(fault_pc_i);
      athena_pkg::REG_SIZES:       value = {16'(Counters), 16'(Runs)};
      athena_pkg::REG_CODE_LOW:    value = {code_base_o[31:ShiftBits], {ShiftBits{1'b0}}};
      athena_pkg::REG_CODE_HIGH:   value = 32'(code_base_o[AddrBits-1:32]);
      athena_pkg::REG_DATA_LOW:    value = {data_base_o[31:PageBits], {PageBits{1'b0}}};
      athena_pkg::REG_DATA_HIGH:   value = 32'(data_base_o[AddrBits-1:32]);
      athena_pkg::REG_MEMORY_LOW:  value = memory_bytes_o[31:0];
      athena_pkg::REG_MEMORY_HIGH: value = 32'(memory_bytes_o[AddrBits-1:32]);
      default: begin
        if (in_words(from, athena_pkg::REG_RUNS, Queues)) value = 32'(runs[from[QueueBits+1:2]]);
        else if (in_words(from, athena_pkg::REG_SCALARS, athena_pkg::SCALARS)) value = scalars_o[from[ScalarBits+1:2]];
        else if (in_words(from, athena_pkg::REG_SEMS, SemWords)) value = sems[from[SemBits+1:2]];
        else if (in_counters) value = from[2] ? high : counter[31:0];
        else read_hit = 1'b0;
      end
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (read) begin
      s_axil_rdata_o <= value;
      s_axil_rresp_o <= read_hit ? athena_pkg::AXIRESP_OKAY : athena_pkg::AXIRESP_SLVERR;
      if (in_counters && !from[2]) high <= counter[63:32];
    end
    if (rst_i) s_axil_rvalid_o <= 1'b0;
    else if (read) s_axil_rvalid_o <= 1'b1;
    else if (s_axil_rready_i) s_axil_rvalid_o <= 1'b0;
  end

  logic unused;
  assign unused = ^{s_axil_awaddr_i[1:0], s_axil_araddr_i[1:0]};
endmodule
