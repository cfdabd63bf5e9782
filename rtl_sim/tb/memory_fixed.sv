// When one direction of fixed-latency memory takes and answers beats: a beat is taken in the `interval_i`th cycle in which it is
// shown, and answered `latency_i` cycles later. Stress (a seed that is not 0): it is also taken at random, and answered up to
// `athena_pkg::STRESS_CYCLES` - 1 cycles later still. Answers keep the order of the beats.
module memory_fixed (
    input  logic        clk_i,
    input  logic        rst_i,
    input  int          latency_i,   // at least 1
    input  int          interval_i,  // at least 1
    input  logic [31:0] seed_i,
    input  logic        valid_i,
    output logic        ready_o,
    output logic        answer_o
);
  localparam int Depth = athena_pkg::MEMORY_QUEUE;
  localparam int PtrBits = $clog2(Depth);
  localparam int StressBits = $clog2(athena_pkg::STRESS_CYCLES);

  logic [31:0] random;
  int now, waited, extra;
  int due[Depth];
  logic [PtrBits-1:0] head, tail;

  function automatic logic [31:0] next_random(input logic [31:0] state);  // Marsaglia's xorshift32
    next_random = state ^ (state << 13);
    next_random = next_random ^ (next_random >> 17);
    next_random = next_random ^ (next_random << 5);
  endfunction

  assign ready_o = valid_i && waited + 1 >= interval_i && (seed_i == 0 || random[16]);
  assign extra = seed_i == 0 ? 0 : int'(random[StressBits-1:0]);
  assign answer_o = head != tail && now >= due[head];

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      random <= seed_i;
      now <= 0;
      waited <= 0;
      {head, tail} <= '0;
    end else begin
      random <= next_random(random);
      now <= now + 1;
      if (valid_i) waited <= ready_o ? 0 : waited + 1;
      if (ready_o) begin
        due[tail] <= now + latency_i + extra;
        tail <= tail + 1'b1;
      end
      if (answer_o) head <= head + 1'b1;
    end
  end
endmodule
