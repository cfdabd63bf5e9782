// One core for an SoC: AXI4 masters for data and for instructions, AXI4-Lite slave for control, an interrupt.
module athena_axi #(
    parameter int Runs = athena_pkg::RUNS_MAX,  // of a queue in one launch; a power of two
    parameter int ReadBursts = 8,               // open at a time
    parameter int WriteBursts = 8,
    parameter int FetchBursts = 16,
    parameter int ReadBeats = 64,               // loads of the core that wait for their data
    parameter int IdBits = 1,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int RegBits = athena_pkg::REGISTER_BITS,
    localparam int Bus = athena_pkg::LOAD_BYTES,
    localparam int FetchBus = athena_pkg::FETCH_BYTES
) (
    input  logic                    clk_i,
    input  logic                    rst_i,
    output logic                    irq_o,
    // Control: AXI4-Lite.
    input  logic                    s_axil_awvalid_i,
    output logic                    s_axil_awready_o,
    input  logic [RegBits-1:0]      s_axil_awaddr_i,
    input  logic [2:0]              s_axil_awprot_i,
    input  logic                    s_axil_wvalid_i,
    output logic                    s_axil_wready_o,
    input  logic [31:0]             s_axil_wdata_i,
    input  logic [3:0]              s_axil_wstrb_i,
    output logic                    s_axil_bvalid_o,
    input  logic                    s_axil_bready_i,
    output logic [1:0]              s_axil_bresp_o,
    input  logic                    s_axil_arvalid_i,
    output logic                    s_axil_arready_o,
    input  logic [RegBits-1:0]      s_axil_araddr_i,
    input  logic [2:0]              s_axil_arprot_i,
    output logic                    s_axil_rvalid_o,
    input  logic                    s_axil_rready_i,
    output logic [31:0]             s_axil_rdata_o,
    output logic [1:0]              s_axil_rresp_o,
    // Data: AXI4.
    output logic                    m_axi_awvalid_o,
    input  logic                    m_axi_awready_i,
    output logic [IdBits-1:0]       m_axi_awid_o,
    output logic [AddrBits-1:0]     m_axi_awaddr_o,
    output logic [7:0]              m_axi_awlen_o,
    output logic [2:0]              m_axi_awsize_o,
    output logic [1:0]              m_axi_awburst_o,
    output logic [3:0]              m_axi_awcache_o,
    output logic [2:0]              m_axi_awprot_o,
    output logic                    m_axi_wvalid_o,
    input  logic                    m_axi_wready_i,
    output logic [Bus*8-1:0]        m_axi_wdata_o,
    output logic [Bus-1:0]          m_axi_wstrb_o,
    output logic                    m_axi_wlast_o,
    input  logic                    m_axi_bvalid_i,
    output logic                    m_axi_bready_o,
    input  logic [IdBits-1:0]       m_axi_bid_i,
    input  logic [1:0]              m_axi_bresp_i,
    output logic                    m_axi_arvalid_o,
    input  logic                    m_axi_arready_i,
    output logic [IdBits-1:0]       m_axi_arid_o,
    output logic [AddrBits-1:0]     m_axi_araddr_o,
    output logic [7:0]              m_axi_arlen_o,
    output logic [2:0]              m_axi_arsize_o,
    output logic [1:0]              m_axi_arburst_o,
    output logic [3:0]              m_axi_arcache_o,
    output logic [2:0]              m_axi_arprot_o,
    input  logic                    m_axi_rvalid_i,
    output logic                    m_axi_rready_o,
    input  logic [IdBits-1:0]       m_axi_rid_i,
    input  logic [Bus*8-1:0]        m_axi_rdata_i,
    input  logic [1:0]              m_axi_rresp_i,
    input  logic                    m_axi_rlast_i,
    // Instructions: AXI4, reads only.
    output logic                    f_axi_arvalid_o,
    input  logic                    f_axi_arready_i,
    output logic [IdBits-1:0]       f_axi_arid_o,
    output logic [AddrBits-1:0]     f_axi_araddr_o,
    output logic [7:0]              f_axi_arlen_o,
    output logic [2:0]              f_axi_arsize_o,
    output logic [1:0]              f_axi_arburst_o,
    output logic [3:0]              f_axi_arcache_o,
    output logic [2:0]              f_axi_arprot_o,
    input  logic                    f_axi_rvalid_i,
    output logic                    f_axi_rready_o,
    input  logic [IdBits-1:0]       f_axi_rid_i,
    input  logic [FetchBus*8-1:0]   f_axi_rdata_i,
    input  logic [1:0]              f_axi_rresp_i,
    input  logic                    f_axi_rlast_i
);
  localparam int Queues = athena_pkg::QUEUES;
  localparam int SlotBits = athena_pkg::SLOT_BITS;
  localparam int LoadTag = 1 + SlotBits + $clog2(Bus + 1) + $clog2(athena_pkg::L1_BYTES);
  localparam int StoreTag = 1 + SlotBits;
  localparam int PageBits = athena_pkg::AXI_PAGE_BITS;
  localparam int WordShift = $clog2(athena_pkg::WORD_BYTES);
  localparam int Counters = athena_pkg::COUNTERS;
  localparam int CounterBits = athena_pkg::COUNTER_BITS;

  logic core_rst, launch, accept, data_idle, fetch_idle, done, quiet;
  logic [athena_pkg::SCALARS-1:0][31:0] scalars;
  logic [athena_pkg::SEMS-1:0][7:0] sems;
  logic [AddrBits-1:0] memory_bytes;
  logic [AddrBits-1:WordShift] code_base;
  logic [AddrBits-1:PageBits] data_base;
  logic [Queues-1:0][31:0] runs, run_number;
  logic [Queues-1:0][athena_pkg::RUN_BITS-1:0] run;
  logic [2:0] fault;
  logic [1:0] fault_queue;
  logic [athena_pkg::PC_BITS-1:0] fault_pc;
  logic [Counters-1:0][CounterBits-1:0] counters;

  axil_control #(
      .Runs(Runs),
      .Counters(Counters),
      .CounterBits(CounterBits)
  ) u_control (
      .clk_i,
      .rst_i,
      .irq_o,
      .s_axil_awvalid_i,
      .s_axil_awready_o,
      .s_axil_awaddr_i,
      .s_axil_wvalid_i,
      .s_axil_wready_o,
      .s_axil_wdata_i,
      .s_axil_wstrb_i,
      .s_axil_bvalid_o,
      .s_axil_bready_i,
      .s_axil_bresp_o,
      .s_axil_arvalid_i,
      .s_axil_arready_o,
      .s_axil_araddr_i,
      .s_axil_rvalid_o,
      .s_axil_rready_i,
      .s_axil_rdata_o,
      .s_axil_rresp_o,
      .core_rst_o(core_rst),
      .launch_o(launch),
      .scalars_o(scalars),
      .sems_o(sems),
      .memory_bytes_o(memory_bytes),
      .runs_o(runs),
      .run_i(run_number),
      .run_o(run),
      .done_i(done),
      .quiet_i(quiet),
      .fault_i(fault),
      .fault_queue_i(fault_queue),
      .fault_pc_i(fault_pc),
      .counters_i(counters),
      .accept_o(accept),
      .bus_idle_i(data_idle && fetch_idle),
      .code_base_o(code_base),
      .data_base_o(data_base)
  );

  logic [Queues-1:0] fetch_valid, fetch_epoch, fetched_valid, fetched_epoch, fetched_error;
  logic [Queues-1:0][31:0] fetch_beat;
  logic [Queues-1:0][FetchBus*8-1:0] fetched_data;
  logic load_valid, load_ready, load_first, loaded_valid, loaded_error;
  logic store_valid, store_ready, store_first, stored_valid, stored_error;
  logic [AddrBits-1:0] load_addr, store_addr;
  logic [athena_pkg::COUNT_BITS-1:0] load_left, store_left;
  logic [LoadTag-1:0] load_tag, loaded_tag;
  logic [StoreTag-1:0] store_tag, stored_tag;
  logic [Bus*8-1:0] loaded_data, store_data;
  logic [$clog2(Bus+1)-1:0] store_bytes;
  logic [Queues-1:0][athena_pkg::ISSUE_BITS-1:0] issues;
  logic [Queues-1:0] control_done;
  logic [Queues-1:0][athena_pkg::DMA_SLOTS-1:0] retired;

  core u_core (
      .clk_i,
      .rst_i(rst_i || core_rst),
      .launch_i(launch),
      .scalars_i(scalars),
      .sems_i(sems),
      .memory_bytes_i(memory_bytes),
      .runs_i(runs),
      .run_o(run_number),
      .run_i(run),
      .fetch_valid_o(fetch_valid),
      .fetch_epoch_o(fetch_epoch),
      .fetch_beat_o(fetch_beat),
      .fetch_valid_i(fetched_valid),
      .fetch_epoch_i(fetched_epoch),
      .fetch_data_i(fetched_data),
      .fetch_error_i(fetched_error),
      .load_valid_o(load_valid),
      .load_ready_i(load_ready),
      .load_addr_o(load_addr),
      .load_first_o(load_first),
      .load_left_o(load_left),
      .load_tag_o(load_tag),
      .load_valid_i(loaded_valid),
      .load_data_i(loaded_data),
      .load_tag_i(loaded_tag),
      .load_error_i(loaded_error),
      .store_valid_o(store_valid),
      .store_ready_i(store_ready),
      .store_addr_o(store_addr),
      .store_data_o(store_data),
      .store_bytes_o(store_bytes),
      .store_first_o(store_first),
      .store_left_o(store_left),
      .store_tag_o(store_tag),
      .store_valid_i(stored_valid),
      .store_tag_i(stored_tag),
      .store_error_i(stored_error),
      .done_o(done),
      .quiet_o(quiet),
      .fault_o(fault),
      .fault_queue_o(fault_queue),
      .fault_pc_o(fault_pc),
      .issue_o(issues),
      .control_done_o(control_done),
      .retire_o(retired),
      .counters_o(counters)
  );

  axi_adapter #(
      .LoadTag(LoadTag),
      .StoreTag(StoreTag),
      .ReadBursts(ReadBursts),
      .WriteBursts(WriteBursts),
      .ReadBeats(ReadBeats),
      .IdBits(IdBits)
  ) u_adapter (
      .clk_i,
      .rst_i,
      .accept_i(accept),
      .idle_o(data_idle),
      .base_i(data_base),
      .load_valid_i(load_valid),
      .load_ready_o(load_ready),
      .load_addr_i(load_addr),
      .load_first_i(load_first),
      .load_left_i(load_left),
      .load_tag_i(load_tag),
      .load_valid_o(loaded_valid),
      .load_data_o(loaded_data),
      .load_tag_o(loaded_tag),
      .load_error_o(loaded_error),
      .store_valid_i(store_valid),
      .store_ready_o(store_ready),
      .store_addr_i(store_addr),
      .store_data_i(store_data),
      .store_bytes_i(store_bytes),
      .store_first_i(store_first),
      .store_left_i(store_left),
      .store_tag_i(store_tag),
      .store_valid_o(stored_valid),
      .store_tag_o(stored_tag),
      .store_error_o(stored_error),
      .m_axi_awvalid_o,
      .m_axi_awready_i,
      .m_axi_awid_o,
      .m_axi_awaddr_o,
      .m_axi_awlen_o,
      .m_axi_awsize_o,
      .m_axi_awburst_o,
      .m_axi_awcache_o,
      .m_axi_awprot_o,
      .m_axi_wvalid_o,
      .m_axi_wready_i,
      .m_axi_wdata_o,
      .m_axi_wstrb_o,
      .m_axi_wlast_o,
      .m_axi_bvalid_i,
      .m_axi_bready_o,
      .m_axi_bid_i,
      .m_axi_bresp_i,
      .m_axi_arvalid_o,
      .m_axi_arready_i,
      .m_axi_arid_o,
      .m_axi_araddr_o,
      .m_axi_arlen_o,
      .m_axi_arsize_o,
      .m_axi_arburst_o,
      .m_axi_arcache_o,
      .m_axi_arprot_o,
      .m_axi_rvalid_i,
      .m_axi_rready_o,
      .m_axi_rid_i,
      .m_axi_rdata_i,
      .m_axi_rresp_i,
      .m_axi_rlast_i
  );

  axi_fetch #(
      .Bursts(FetchBursts)
  ) u_fetch (
      .clk_i,
      .rst_i,
      .accept_i(accept),
      .idle_o(fetch_idle),
      .base_i(code_base),
      .valid_i(fetch_valid),
      .epoch_i(fetch_epoch),
      .beat_i(fetch_beat),
      .valid_o(fetched_valid),
      .epoch_o(fetched_epoch),
      .data_o(fetched_data),
      .error_o(fetched_error),
      .ar_valid_o(f_axi_arvalid_o),
      .ar_ready_i(f_axi_arready_i),
      .ar_addr_o(f_axi_araddr_o),
      .ar_len_o(f_axi_arlen_o),
      .r_valid_i(f_axi_rvalid_i),
      .r_ready_o(f_axi_rready_o),
      .r_data_i(f_axi_rdata_i),
      .r_error_i(f_axi_rresp_i[1]),
      .r_last_i(f_axi_rlast_i)
  );
  assign f_axi_arid_o = '0;
  assign f_axi_arsize_o = 3'($clog2(FetchBus));
  assign f_axi_arburst_o = athena_pkg::AXIBURST_INCR;
  assign f_axi_arcache_o = athena_pkg::AXICACHE_MEMORY;
  assign f_axi_arprot_o = athena_pkg::AXIPROT_CODE;

  logic unused;
  assign unused = ^{s_axil_awprot_i, s_axil_arprot_i, f_axi_rid_i, f_axi_rresp_i[0], issues, control_done, retired};
endmodule
