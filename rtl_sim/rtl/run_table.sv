// Run descriptors of one queue, written a 32-bit word at a time. The run that the core is in stands in a register and the next
// one at the memory's output, so that memories with one clocked read port serve and the core never waits for a descriptor.
module run_table #(
    parameter int Runs = 16,
    localparam int Bits = athena_pkg::RUN_BITS,
    localparam int RunBits = $clog2(Runs),
    localparam int Words = Bits / 32,
    localparam int WordBits = $clog2(athena_pkg::RUN_STRIDE_BYTES / 4)
) (
    input  logic                clk_i,
    input  logic                write_i,
    input  logic [RunBits-1:0]  write_run_i,
    input  logic [WordBits-1:0] write_word_i,
    input  logic [31:0]         write_data_i,
    input  logic                first_i,       // read descriptor 0
    input  logic                load_i,        // one cycle later: it is the current one
    input  logic [31:0]         run_i,         // number of the run that the core is in
    output logic [Bits-1:0]     run_o          // of a run_t
);
  logic [Bits-1:0] current, next;
  logic [31:0] number;
  logic [RunBits-1:0] address;
  logic moved;

  assign moved = run_i != number;
  assign run_o = moved ? next : current;
  assign address = first_i ? '0 : run_i[RunBits-1:0] + 1'b1;

  for (genvar w = 0; w < Words; w++) begin : g_word
    logic [31:0] mem[Runs];
    logic [31:0] data;
    assign next[32*w+:32] = data;
    always_ff @(posedge clk_i) begin
      if (write_i && write_word_i == WordBits'(w)) mem[write_run_i] <= write_data_i;
      data <= mem[address];
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i || moved) current <= next;
    number <= load_i ? '0 : run_i;
  end
endmodule
