// Main memory of the test bench: a beat that is asked for or sent in cycle t is answered or written in cycle t + MEMORY_LATENCY.
module main_memory #(
    parameter int LoadTag = 1,
    parameter int StoreTag = 1,
    localparam int LoadBus = athena_pkg::LOAD_BYTES,
    localparam int StoreBus = athena_pkg::STORE_BYTES,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int LenBits = $clog2(StoreBus + 1),
    localparam int Latency = athena_pkg::MEMORY_LATENCY
) (
    input  logic                  clk_i,
    input  logic                  rst_i,
    input  logic                  load_valid_i,
    input  logic [AddrBits-1:0]   load_addr_i,
    input  logic [LoadTag-1:0]    load_tag_i,
    output logic                  load_valid_o,
    output logic [LoadBus*8-1:0]  load_data_o,
    output logic [LoadTag-1:0]    load_tag_o,
    input  logic                  store_valid_i,
    input  logic [AddrBits-1:0]   store_addr_i,
    input  logic [StoreBus*8-1:0] store_data_i,
    input  logic [LenBits-1:0]    store_bytes_i,
    input  logic [StoreTag-1:0]   store_tag_i,
    output logic                  store_valid_o,
    output logic [StoreTag-1:0]   store_tag_o
);
  localparam int Bytes = athena_pkg::MEMORY_BYTES;
  localparam int IndexBits = $clog2(Bytes);

  logic [7:0] mem[Bytes];
  logic [AddrBits-1:0] load_addr, store_addr;
  logic [StoreBus*8-1:0] store_data;
  logic [LenBits-1:0] store_bytes;

  latency_pipe #(
      .Width(AddrBits + LoadTag),
      .Stages(Latency)
  ) u_load (
      .clk_i,
      .rst_i,
      .valid_i(load_valid_i),
      .d_i({load_addr_i, load_tag_i}),
      .valid_o(load_valid_o),
      .q_o({load_addr, load_tag_o})
  );

  latency_pipe #(
      .Width(AddrBits + StoreBus * 8 + LenBits + StoreTag),
      .Stages(Latency)
  ) u_store (
      .clk_i,
      .rst_i,
      .valid_i(store_valid_i),
      .d_i({store_addr_i, store_data_i, store_bytes_i, store_tag_i}),
      .valid_o(store_valid_o),
      .q_o({store_addr, store_data, store_bytes, store_tag_o})
  );

  always_comb begin
    load_data_o = '0;
    if (load_valid_o) begin
      for (int i = 0; i < LoadBus; i++) load_data_o[8*i+:8] = mem[load_addr[IndexBits-1:0]+IndexBits'(i)];
    end
  end

  always_ff @(posedge clk_i) begin
    for (int i = 0; i < StoreBus; i++) begin
      if (store_valid_o && LenBits'(i) < store_bytes) begin
        mem[store_addr[IndexBits-1:0]+IndexBits'(i)] <= store_data[8*i+:8];
      end
    end
  end

  logic unused;
  assign unused = ^{load_addr, store_addr};
endmodule
