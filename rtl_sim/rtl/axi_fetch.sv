// The core's fetch ports as one AXI4 read master: a burst a word, queues in turn, answers in order. A queue asks for words one after
// another, so first word and number of those not yet asked for stand for its list; what is left of an old run is forgotten.
module axi_fetch #(
    parameter int Bursts = 16,  // open at a time
    localparam int Queues = athena_pkg::QUEUES,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int Bus = athena_pkg::FETCH_BYTES,
    localparam int Beats = athena_pkg::FETCH_BEATS,
    localparam int ShiftBits = $clog2(athena_pkg::WORD_BYTES)
) (
    input  logic                             clk_i,
    input  logic                             rst_i,
    input  logic                             accept_i,   // else what is asked is forgotten
    output logic                             idle_o,     // no burst open
    input  logic [AddrBits-1:ShiftBits]      base_i,     // word 0
    input  logic [Queues-1:0]                valid_i,
    input  logic [Queues-1:0]                epoch_i,
    input  logic [Queues-1:0][31:0]          beat_i,
    output logic [Queues-1:0]                valid_o,
    output logic [Queues-1:0]                epoch_o,
    output logic [Queues-1:0][Bus*8-1:0]     data_o,
    output logic [Queues-1:0]                error_o,
    output logic                             ar_valid_o,
    input  logic                             ar_ready_i,
    output logic [AddrBits-1:0]              ar_addr_o,
    output logic [7:0]                       ar_len_o,
    input  logic                             r_valid_i,
    output logic                             r_ready_o,
    input  logic [Bus*8-1:0]                 r_data_i,
    input  logic                             r_error_i,
    input  logic                             r_last_i
);
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 0;
  localparam int QueueBits = $clog2(Queues);
  localparam int CountBits = $clog2(athena_pkg::FIFO_WORDS + 1);

  logic [Queues-1:0][31:0] word, first;
  logic [Queues-1:0][CountBits-1:0] count;
  logic [Queues-1:0] epoch, asks, starts;
  logic [QueueBits-1:0] turn, at, chosen;
  logic found, put, put_ready, open_ready;
  logic [AddrBits-ShiftBits-1:0] address;

  always_comb begin
    for (int q = 0; q < Queues; q++) begin
      first[q] = beat_i[q] >> BeatBits;
      asks[q] = valid_i[q] && first[q] << BeatBits == beat_i[q];  // the first beat stands for the word
      starts[q] = asks[q] && (epoch_i[q] != epoch[q] || count[q] == '0);
    end
  end

  // The first queue after the last one served that has a word to ask for.
  always_comb begin
    chosen = turn;
    found  = 1'b0;
    at     = '0;
    for (int i = Queues - 1; i >= 0; i--) begin
      at = turn + QueueBits'(i);
      if (count[at] != '0) begin
        chosen = at;
        found  = 1'b1;
      end
    end
  end
  assign put = found && put_ready && open_ready && accept_i;
  assign address = base_i + (AddrBits - ShiftBits)'(word[chosen]);

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      turn  <= '0;
      count <= '0;
      epoch <= '0;
    end else begin
      if (put) turn <= chosen + 1'b1;
      for (int q = 0; q < Queues; q++) begin
        if (!accept_i) count[q] <= '0;
        else if (starts[q]) count[q] <= CountBits'(1);
        else count[q] <= count[q] + CountBits'(asks[q]) - CountBits'(put && chosen == QueueBits'(q));
        if (asks[q]) epoch[q] <= epoch_i[q];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int q = 0; q < Queues; q++) begin
      if (starts[q]) word[q] <= first[q];
      else if (put && chosen == QueueBits'(q)) word[q] <= word[q] + 1'b1;
    end
  end

  fifo #(
      .Width(AddrBits)
  ) u_out (
      .clk_i,
      .rst_i,
      .valid_i(put),
      .ready_o(put_ready),
      .data_i({address, {ShiftBits{1'b0}}}),
      .valid_o(ar_valid_o),
      .ready_i(ar_ready_i),
      .data_o(ar_addr_o)
  );
  assign ar_len_o = 8'(Beats - 1);

  logic [QueueBits-1:0] queue;
  logic answer_epoch, r_take;
  fifo #(
      .Width(QueueBits + 1),
      .Depth(Bursts)
  ) u_open (
      .clk_i,
      .rst_i,
      .valid_i(put),
      .ready_o(open_ready),
      .data_i({chosen, epoch[chosen]}),
      .valid_o(r_ready_o),
      .ready_i(r_valid_i && r_last_i),
      .data_o({queue, answer_epoch})
  );
  assign idle_o = !r_ready_o;
  assign r_take = r_valid_i && r_ready_o;

  always_ff @(posedge clk_i) begin
    valid_o <= '0;
    if (!rst_i) valid_o[queue] <= r_take;
    epoch_o <= {Queues{answer_epoch}};
    data_o  <= {Queues{r_data_i}};
    error_o <= {Queues{r_error_i}};
  end
endmodule
