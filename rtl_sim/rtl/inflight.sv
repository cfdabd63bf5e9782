// Words of one unit between issue and completion, in order. Slot `slot_o` takes the next one; a word completes in the cycle
// in which its slot is done and every older one completes too. It holds its bank ports until then.
module inflight #(
    parameter int Slots = 1,
    localparam int SlotBits = athena_pkg::SLOT_BITS
) (
    input  logic                            clk_i,
    input  logic                            rst_i,
    input  logic                            issue_i,
    input  logic                            empty_i,    // the word has no work: done at once
    input  athena_pkg::ports_t              ports_i,
    input  logic               [1:0][15:0]  signals_i,
    output logic                            free_o,     // a slot can be taken in this cycle
    output logic               [SlotBits-1:0] slot_o,
    input  logic               [Slots-1:0]  done_i,     // the word's last byte is written in this cycle
    output athena_pkg::ports_t              ports_o,    // held in this cycle
    output logic               [Slots-1:0]  retire_o,   // by slot
    output logic               [Slots-1:0][1:0][15:0] signals_o,
    output logic                            busy_o
);
  localparam int CountBits = $clog2(Slots + 1);
  localparam int IndexBits = Slots > 1 ? $clog2(Slots) : 1;

  typedef logic [IndexBits-1:0] index_t;

  logic [Slots-1:0] valid, done;
  index_t head, tail;
  logic [Slots-1:0][athena_pkg::PORTS_BITS-1:0] ports;
  logic [Slots-1:0][1:0][15:0] signals;
  logic [CountBits-1:0] retired;
  logic going;

  function automatic index_t plus(input index_t at, input int step);
    int sum;
    sum = int'(at) + step;
    plus = index_t'(sum >= Slots ? sum - Slots : sum);
  endfunction

  always_comb begin
    retire_o = '0;
    going = 1'b1;
    retired = '0;
    for (int i = 0; i < Slots; i++) begin
      if (going && valid[plus(head, i)] && (done[plus(head, i)] || done_i[plus(head, i)])) begin
        retire_o[plus(head, i)] = 1'b1;
        retired = retired + 1'b1;
      end else going = 1'b0;
    end
    ports_o = '0;
    signals_o = '0;
    for (int i = 0; i < Slots; i++) begin
      if (valid[i] && !retire_o[i]) ports_o = ports_o | ports[i];
      if (retire_o[i]) signals_o[i] = signals[i];
    end
  end

  assign free_o = !valid[tail] || retire_o[tail];
  assign slot_o = SlotBits'(tail);
  assign busy_o = |valid;

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      valid <= '0;
      done  <= '0;
      head  <= '0;
      tail  <= '0;
    end else begin
      valid <= valid & ~retire_o;
      done  <= done | done_i;
      head  <= plus(head, int'(retired));
      if (issue_i) begin
        valid[tail]   <= 1'b1;
        done[tail]    <= empty_i;
        ports[tail]   <= ports_i;
        signals[tail] <= signals_i;
        tail          <= plus(tail, 1);
      end
    end
  end
endmodule
