// Consuming counters of the core. A queue's waits hold when every one is met in this cycle (waits of one word on one counter
// add up); its issue takes them. Signals of this cycle are seen from the next, those that go by the NoC (kind ALL_CORES, also to
// the own core) SIGNAL_CYCLES later.
module semaphores #(
    parameter int Signals = 4
) (
    input  logic                                                     clk_i,
    input  logic                                                     rst_i,
    input  logic                                                     load_i,   // take the initial values
    input  logic                 [athena_pkg::SEMS-1:0][7:0]         init_i,
    input  logic                 [athena_pkg::QUEUES-1:0][3:0][15:0] waits_i,  // sem | n << 8
    input  logic                 [athena_pkg::QUEUES-1:0]            take_i,
    output logic                 [athena_pkg::QUEUES-1:0]            hold_o,
    input  logic                 [Signals-1:0][15:0]                 signals_i,
    output logic                                                     fault_o
);
  localparam int Sems = athena_pkg::SEMS;
  localparam int SemBits = $clog2(Sems);
  localparam int Wide = 12;  // QUEUES * 4 waits of 255 fit
  localparam int Few = $clog2(Signals + 1);

  localparam int Stages = athena_pkg::SIGNAL_CYCLES - 1;

  logic [Sems-1:0][7:0] value;
  logic [Sems-1:0][Wide-1:0] plus, minus;
  logic [Sems-1:0][Few-1:0] sent, arrived;
  logic [Sems-1:0][Signals-1:0] near, far;  // which signals are for a counter
  logic sends;
  logic [Wide-1:0] need;

  always_comb begin
    for (int q = 0; q < athena_pkg::QUEUES; q++) begin
      hold_o[q] = 1'b1;
      for (int i = 0; i < 4; i++) begin
        need = '0;
        for (int j = 0; j < 4; j++) begin
          if (waits_i[q][j][7:0] == waits_i[q][i][7:0]) need = need + Wide'(waits_i[q][j][15:8]);
        end
        if (Wide'(value[waits_i[q][i][SemBits-1:0]]) < need) hold_o[q] = 1'b0;
      end
    end
  end

  // Every counter compares its own number: indices that are constants keep synthesis small.
  always_comb begin
    {near, far, sent} = '0;
    sends = 1'b0;
    for (int s = 0; s < Sems; s++) plus[s] = Wide'(arrived[s]);
    if (signals_i != '0) begin
      for (int i = 0; i < Signals; i++) begin
        if (signals_i[i][15:13] == athena_pkg::SIG_ALL_CORES && Stages > 0) begin
          sends = 1'b1;
          for (int s = 0; s < Sems; s++) far[s][i] = signals_i[i][SemBits-1:0] == SemBits'(s);
        end else if (signals_i[i][15:13] != athena_pkg::SIG_NONE) begin
          for (int s = 0; s < Sems; s++) near[s][i] = signals_i[i][SemBits-1:0] == SemBits'(s);
        end
      end
      for (int s = 0; s < Sems; s++) begin
        sent[s] = Few'($countones(far[s]));
        plus[s] = Wide'(arrived[s]) + Wide'($countones(near[s]));
      end
    end
  end

  always_comb begin
    minus = '0;
    for (int q = 0; q < athena_pkg::QUEUES; q++) begin
      if (take_i[q]) begin
        for (int i = 0; i < 4; i++) begin
          for (int s = 0; s < Sems; s++) begin
            if (waits_i[q][i][SemBits-1:0] == SemBits'(s)) minus[s] = minus[s] + Wide'(waits_i[q][i][15:8]);
          end
        end
      end
    end
    fault_o = 1'b0;
    for (int s = 0; s < Sems; s++) begin
      if (minus[s] > Wide'(value[s])) fault_o = 1'b1;
      else if (Wide'(value[s]) - minus[s] + plus[s] > Wide'(athena_pkg::SEM_MAX)) fault_o = 1'b1;
    end
  end

  if (Stages > 0) begin : g_noc
    logic valid;
    logic [Sems*Few-1:0] counts;
    latency_pipe #(
        .Width(Sems * Few),
        .Stages(Stages)
    ) u_pipe (
        .clk_i,
        .rst_i,
        .valid_i(sends),
        .d_i(sent),
        .valid_o(valid),
        .q_o(counts)
    );
    assign arrived = valid ? counts : '0;
  end else begin : g_near
    logic unused;
    assign unused = ^{sends, sent, rst_i};
    assign arrived = '0;
  end

  always_ff @(posedge clk_i) begin
    if (load_i) value <= init_i;
    else begin
      for (int s = 0; s < Sems; s++) value[s] <= 8'(Wide'(value[s]) - minus[s] + plus[s]);
    end
  end
endmodule
