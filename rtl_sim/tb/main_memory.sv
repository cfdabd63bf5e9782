// Main memory of the test bench: its bytes, and what each port has asked for and not been answered. When beats are taken and
// answered says `memory_fixed` or `bank_memory`; a beat's bytes are read or written in the cycle of its answer. `settings_i`: rtl_sim/memory.py.
module main_memory #(
    parameter int LoadTag = 1,
    parameter int StoreTag = 1,
    localparam int LoadBus = athena_pkg::LOAD_BYTES,
    localparam int StoreBus = athena_pkg::STORE_BYTES,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int LenBits = $clog2(StoreBus + 1)
) (
    input  logic                                          clk_i,
    input  logic                                          rst_i,
    input  logic [athena_pkg::MEMORY_SETTINGS-1:0][31:0]  settings_i,
    input  logic                                          load_valid_i,
    output logic                                          load_ready_o,
    input  logic [AddrBits-1:0]                           load_addr_i,
    input  logic [athena_pkg::COUNT_BITS-1:0]             load_left_i,
    input  logic [LoadTag-1:0]                            load_tag_i,
    output logic                                          load_valid_o,
    output logic [LoadBus*8-1:0]                          load_data_o,
    output logic [LoadTag-1:0]                            load_tag_o,
    output logic                                          load_error_o,
    input  logic                                          store_valid_i,
    output logic                                          store_ready_o,
    input  logic [AddrBits-1:0]                           store_addr_i,
    input  logic [athena_pkg::COUNT_BITS-1:0]             store_left_i,
    input  logic [StoreBus*8-1:0]                         store_data_i,
    input  logic [LenBits-1:0]                            store_bytes_i,
    input  logic [StoreTag-1:0]                           store_tag_i,
    output logic                                          store_valid_o,
    output logic [StoreTag-1:0]                           store_tag_o,
    output logic                                          store_error_o
);
  localparam int Bytes = athena_pkg::MEMORY_BYTES;
  localparam int IndexBits = $clog2(Bytes);
  localparam int Depth = athena_pkg::MEMORY_QUEUE;
  localparam int PtrBits = $clog2(Depth);

  logic [7:0] mem[Bytes];

  // Beats taken and not answered.
  logic [AddrBits+LoadTag-1:0] loads[Depth];
  logic [AddrBits+StoreBus*8+LenBits+StoreTag-1:0] stores[Depth];
  logic [PtrBits-1:0] load_head, load_tail, store_head, store_tail;

  logic [AddrBits-1:0] load_addr, store_addr;
  logic [StoreBus*8-1:0] store_data;
  logic [LenBits-1:0] store_bytes;

  logic banked;
  logic [1:0] fixed_ready, fixed_answer, bank_ready, bank_answer;  // STORE, LOAD
  assign banked = settings_i[athena_pkg::SETTING_BANKED][0];
  assign {load_ready_o, store_ready_o} = banked ? bank_ready : fixed_ready;
  assign {load_valid_o, store_valid_o} = banked ? bank_answer : fixed_answer;

  memory_fixed u_load (
      .clk_i,
      .rst_i,
      .latency_i(int'(settings_i[athena_pkg::SETTING_LATENCY])),
      .interval_i(int'(settings_i[athena_pkg::SETTING_LOAD_INTERVAL])),
      .seed_i(settings_i[athena_pkg::SETTING_STRESS_SEED]),
      .valid_i(load_valid_i && !banked),
      .ready_o(fixed_ready[1]),
      .answer_o(fixed_answer[1])
  );

  memory_fixed u_store (
      .clk_i,
      .rst_i,
      .latency_i(int'(settings_i[athena_pkg::SETTING_LATENCY])),
      .interval_i(int'(settings_i[athena_pkg::SETTING_STORE_INTERVAL])),
      .seed_i({settings_i[athena_pkg::SETTING_STRESS_SEED][15:0], settings_i[athena_pkg::SETTING_STRESS_SEED][31:16]}),
      .valid_i(store_valid_i && !banked),
      .ready_o(fixed_ready[0]),
      .answer_o(fixed_answer[0])
  );

  bank_memory u_banks (
      .clk_i,
      .rst_i,
      .settings_i,
      .valid_i({load_valid_i && banked, store_valid_i && banked}),
      .ready_o(bank_ready),
      .addr_i({load_addr_i, store_addr_i}),
      .left_i({load_left_i, store_left_i}),
      .answer_o(bank_answer)
  );

  function automatic logic in_error(input logic [AddrBits-1:0] at);
    in_error = at - AddrBits'(settings_i[athena_pkg::SETTING_ERROR_AT]) < AddrBits'(settings_i[athena_pkg::SETTING_ERROR_BYTES]);
  endfunction

  assign {load_addr, load_tag_o} = loads[load_head];
  assign {store_addr, store_data, store_bytes, store_tag_o} = stores[store_head];
  assign load_error_o = load_valid_o && in_error(load_addr);
  assign store_error_o = store_valid_o && in_error(store_addr);

  always_comb begin
    load_data_o = '0;
    if (load_valid_o) begin
      for (int i = 0; i < LoadBus; i++) load_data_o[8*i+:8] = mem[load_addr[IndexBits-1:0]+IndexBits'(i)];
    end
  end

  always_ff @(posedge clk_i) begin
    for (int i = 0; i < StoreBus; i++) begin
      if (store_valid_o && !store_error_o && LenBits'(i) < store_bytes) begin
        mem[store_addr[IndexBits-1:0]+IndexBits'(i)] <= store_data[8*i+:8];
      end
    end
    if (rst_i) {load_head, load_tail, store_head, store_tail} <= '0;
    else begin
      if (load_valid_i && load_ready_o) begin
        loads[load_tail] <= {load_addr_i, load_tag_i};
        load_tail <= load_tail + 1'b1;
      end
      if (store_valid_i && store_ready_o) begin
        stores[store_tail] <= {store_addr_i, store_data_i, store_bytes_i, store_tag_i};
        store_tail <= store_tail + 1'b1;
      end
      if (load_valid_o) load_head <= load_head + 1'b1;
      if (store_valid_o) store_head <= store_head + 1'b1;
    end
  end
endmodule
