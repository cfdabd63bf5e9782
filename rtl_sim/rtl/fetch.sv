// Prefetch FIFO and fetch port of one queue. Word p sits in slot p mod FIFO_WORDS until it is released; the port asks for
// a word's beats one after another, and starts on word p only once word p - FIFO_WORDS is released.
// A beat asked for in cycle t comes back in cycle t + FETCH_LATENCY - 1.
module fetch (
    input  logic                                clk_i,
    input  logic                                rst_i,
    input  logic                                restart_i,   // a run starts in this cycle
    input  logic [31:0]                         base_i,      // its first word in instruction memory
    input  logic [athena_pkg::PC_BITS-1:0]      released_i,  // words before this one may be overwritten
    input  logic [athena_pkg::PC_BITS-1:0]      pc_i,
    output athena_pkg::word_t                   word_o,
    output logic                                available_o,
    output logic                                bad_o,       // memory answered a beat of it with an error
    output logic                                req_valid_o,
    output logic                                req_epoch_o,
    output logic [31:0]                         req_beat_o,
    input  logic                                rsp_valid_i,
    input  logic                                rsp_epoch_i,
    input  logic [athena_pkg::FETCH_BYTES*8-1:0] rsp_data_i,
    input  logic                                rsp_error_i
);
  localparam int Beats = athena_pkg::FETCH_BEATS;
  localparam int BeatBits = Beats > 1 ? $clog2(Beats) : 1;
  localparam int Words = athena_pkg::FIFO_WORDS;
  localparam int SlotBits = $clog2(Words);
  localparam int PcBits = athena_pkg::PC_BITS;
  localparam int BusBits = athena_pkg::FETCH_BYTES * 8;

  logic [BusBits-1:0] fifo[Words*Beats];
  logic [Words-1:0] bad;
  logic [PcBits-1:0] asked, arrived;
  logic [BeatBits-1:0] ask_beat, beat;
  logic epoch, running, room, last_ask, last_beat, take;

  assign room = asked < released_i + PcBits'(Words);
  assign last_ask = ask_beat == BeatBits'(Beats - 1);
  assign last_beat = beat == BeatBits'(Beats - 1);
  assign take = rsp_valid_i && rsp_epoch_i == epoch && !restart_i;

  assign req_valid_o = running && !restart_i && (room || ask_beat != '0);
  assign req_epoch_o = epoch;
  assign req_beat_o = (base_i + 32'(asked)) * Beats + 32'(ask_beat);

  assign available_o = arrived > pc_i;
  assign bad_o = bad[pc_i[SlotBits-1:0]];
  always_comb begin
    for (int i = 0; i < Beats; i++) begin
      word_o[i*BusBits+:BusBits] = fifo[int'(pc_i[SlotBits-1:0])*Beats+i];
    end
  end

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      running  <= 1'b0;
      epoch    <= 1'b0;
      asked    <= '0;
      arrived  <= '0;
      ask_beat <= '0;
      beat     <= '0;
    end else if (restart_i) begin
      running  <= 1'b1;
      epoch    <= !epoch;  // what is still on its way belongs to the last run
      asked    <= '0;
      arrived  <= '0;
      ask_beat <= '0;
      beat     <= '0;
    end else begin
      if (req_valid_o) begin
        ask_beat <= last_ask ? '0 : ask_beat + 1'b1;
        if (last_ask) asked <= asked + 1'b1;
      end
      if (take) begin
        fifo[int'(arrived[SlotBits-1:0])*Beats+int'(beat)] <= rsp_data_i;
        bad[arrived[SlotBits-1:0]] <= rsp_error_i || (beat != '0 && bad[arrived[SlotBits-1:0]]);
        beat <= last_beat ? '0 : beat + 1'b1;
        if (last_beat) arrived <= arrived + 1'b1;
      end
    end
  end
endmodule
