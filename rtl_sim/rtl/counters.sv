// Performance counters: for each queue what every cycle was used for (as athena.timing.result.UnitUse has it) and words completed;
// cycles until the last completion, bytes exchanged with main memory. A cycle is counted in the next one, when the words that it
// left in flight stand in registers. Cleared at launch; they keep their values after the end or a fault.
module counters #(
    localparam int Queues = athena_pkg::QUEUES,
    localparam int Counters = athena_pkg::COUNTERS,
    localparam int Bits = athena_pkg::COUNTER_BITS,
    localparam int Slots = athena_pkg::DMA_SLOTS,
    localparam int LoadBits = $clog2(athena_pkg::LOAD_BYTES + 1),
    localparam int StoreBits = $clog2(athena_pkg::STORE_BYTES + 1)
) (
    input  logic                              clk_i,
    input  logic                              rst_i,
    input  logic                              launch_i,
    input  logic                              halted_i,
    input  logic [Queues-1:0]                 active_i,       // words are left
    input  logic [Queues-1:0]                 head_i,         // one of them is at the head
    input  logic [Queues-1:0]                 hold_i,         // its waits hold
    input  logic [Queues-1:0]                 control_i,      // a control word issues or runs
    input  logic [Queues-1:0]                 in_flight_i,    // a unit word does, since an earlier cycle
    input  logic [1:0]                        moves_i,        // STORE, LOAD work on a beat
    input  logic [Queues-1:0]                 control_done_i,
    input  logic [Queues-1:0][Slots-1:0]      retire_i,
    input  logic [LoadBits-1:0]               load_bytes_i,   // with this cycle's beat, or none
    input  logic [StoreBits-1:0]              store_bytes_i,
    output logic [Counters-1:0][Bits-1:0]     counters_o      // index: queue * QUEUE_COUNTERS + USE_…, COUNTER_…
);
  localparam int Uses = athena_pkg::QUEUE_COUNTERS;
  localparam int UseBits = $bits(athena_pkg::USE_BUSY);

  logic [Queues-1:0][UseBits-1:0] left, used;  // last cycle, without and with the words in flight
  logic [Queues-1:0] idle;

  always_comb begin
    for (int q = 0; q < Queues; q++) begin
      used[q] = left[q];
      if (in_flight_i[q]) used[q] = q < 2 && !moves_i[q[0]] ? athena_pkg::USE_WAIT_MEMORY : athena_pkg::USE_BUSY;
      idle[q] = used[q] == athena_pkg::USE_IDLE;
    end
  end

  always_ff @(posedge clk_i) begin
    for (int q = 0; q < Queues; q++) begin
      if (control_i[q]) left[q] <= athena_pkg::USE_BUSY;
      else if (!active_i[q]) left[q] <= athena_pkg::USE_IDLE;
      else if (!head_i[q]) left[q] <= athena_pkg::USE_WAIT_FETCH;
      else left[q] <= hold_i[q] ? athena_pkg::USE_WAIT_PORT : athena_pkg::USE_WAIT_SEMAPHORE;
    end
    if (rst_i || launch_i) begin
      counters_o <= '0;
      left <= {Queues{athena_pkg::USE_IDLE}};
    end else if (!halted_i) begin
      if (idle != '1) begin
        for (int q = 0; q < Queues; q++) begin
          for (int use_of = 0; use_of < int'(athena_pkg::USE_WORDS); use_of++) begin
            if (used[q] == UseBits'(use_of)) counters_o[q*Uses+use_of] <= counters_o[q*Uses+use_of] + 1'b1;
          end
        end
        counters_o[athena_pkg::COUNTER_CYCLES] <= counters_o[athena_pkg::COUNTER_CYCLES] + 1'b1;
      end
      for (int q = 0; q < Queues; q++) begin
        counters_o[q*Uses+int'(athena_pkg::USE_WORDS)] <= counters_o[q*Uses+int'(athena_pkg::USE_WORDS)] +
            Bits'($countones({control_done_i[q], retire_i[q]}));
      end
      counters_o[athena_pkg::COUNTER_LOADED_BYTES] <= counters_o[athena_pkg::COUNTER_LOADED_BYTES] + Bits'(load_bytes_i);
      counters_o[athena_pkg::COUNTER_STORED_BYTES] <= counters_o[athena_pkg::COUNTER_STORED_BYTES] + Bits'(store_bytes_i);
    end
  end
endmodule
