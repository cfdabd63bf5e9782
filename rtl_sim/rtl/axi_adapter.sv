// The core's LOAD and STORE ports as one AXI4 master. Reads and writes are each in order (one ID); AXI's valid outputs come
// from registers alone. `base_i` is the address that the core's address 0 has on the bus.
module axi_adapter #(
    parameter int LoadTag = 1,
    parameter int StoreTag = 1,
    parameter int ReadBursts = 8,   // open at a time
    parameter int WriteBursts = 8,
    parameter int ReadBeats = 64,   // loads of the core that wait for their data
    parameter int IdBits = 1,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int CountBits = athena_pkg::COUNT_BITS,
    localparam int LoadBus = athena_pkg::LOAD_BYTES,
    localparam int Bus = athena_pkg::STORE_BYTES,
    localparam int LenBits = $clog2(Bus + 1),
    localparam int PageBits = athena_pkg::AXI_PAGE_BITS
) (
    input  logic                       clk_i,
    input  logic                       rst_i,
    input  logic                       accept_i,      // take new rows; rows begun are always finished
    output logic                       idle_o,        // no row begun, no burst open
    input  logic [AddrBits-1:PageBits] base_i,
    // Core.
    input  logic                       load_valid_i,
    output logic                       load_ready_o,
    input  logic [AddrBits-1:0]        load_addr_i,
    input  logic                       load_first_i,
    input  logic [CountBits-1:0]       load_left_i,
    input  logic [LoadTag-1:0]         load_tag_i,
    output logic                       load_valid_o,
    output logic [LoadBus*8-1:0]       load_data_o,
    output logic [LoadTag-1:0]         load_tag_o,
    output logic                       load_error_o,
    input  logic                       store_valid_i,
    output logic                       store_ready_o,
    input  logic [AddrBits-1:0]        store_addr_i,
    input  logic [Bus*8-1:0]           store_data_i,
    input  logic [LenBits-1:0]         store_bytes_i,
    input  logic                       store_first_i,
    input  logic [CountBits-1:0]       store_left_i,
    input  logic [StoreTag-1:0]        store_tag_i,
    output logic                       store_valid_o,
    output logic [StoreTag-1:0]        store_tag_o,
    output logic                       store_error_o,
    // AXI4.
    output logic                       m_axi_awvalid_o,
    input  logic                       m_axi_awready_i,
    output logic [IdBits-1:0]          m_axi_awid_o,
    output logic [AddrBits-1:0]        m_axi_awaddr_o,
    output logic [7:0]                 m_axi_awlen_o,
    output logic [2:0]                 m_axi_awsize_o,
    output logic [1:0]                 m_axi_awburst_o,
    output logic [3:0]                 m_axi_awcache_o,
    output logic [2:0]                 m_axi_awprot_o,
    output logic                       m_axi_wvalid_o,
    input  logic                       m_axi_wready_i,
    output logic [Bus*8-1:0]           m_axi_wdata_o,
    output logic [Bus-1:0]             m_axi_wstrb_o,
    output logic                       m_axi_wlast_o,
    input  logic                       m_axi_bvalid_i,
    output logic                       m_axi_bready_o,
    input  logic [IdBits-1:0]          m_axi_bid_i,
    input  logic [1:0]                 m_axi_bresp_i,
    output logic                       m_axi_arvalid_o,
    input  logic                       m_axi_arready_i,
    output logic [IdBits-1:0]          m_axi_arid_o,
    output logic [AddrBits-1:0]        m_axi_araddr_o,
    output logic [7:0]                 m_axi_arlen_o,
    output logic [2:0]                 m_axi_arsize_o,
    output logic [1:0]                 m_axi_arburst_o,
    output logic [3:0]                 m_axi_arcache_o,
    output logic [2:0]                 m_axi_arprot_o,
    input  logic                       m_axi_rvalid_i,
    output logic                       m_axi_rready_o,
    input  logic [IdBits-1:0]          m_axi_rid_i,
    input  logic [LoadBus*8-1:0]       m_axi_rdata_i,
    input  logic [1:0]                 m_axi_rresp_i,
    input  logic                       m_axi_rlast_i
);
  if (LoadBus != Bus || Bus != 1 << $clog2(Bus) || Bus < 4 || Bus > 128) begin : g_check
    $error("axi_adapter: LOAD_BYTES and STORE_BYTES must be one power of two from 4 to 128");
  end

  logic read_idle, write_idle;
  assign idle_o = read_idle && write_idle;

  axi_read #(
      .Tag(LoadTag),
      .Bus(LoadBus),
      .Bursts(ReadBursts),
      .Beats(ReadBeats)
  ) u_read (
      .clk_i,
      .rst_i,
      .accept_i,
      .idle_o(read_idle),
      .base_i,
      .req_valid_i(load_valid_i),
      .req_ready_o(load_ready_o),
      .req_addr_i(load_addr_i),
      .req_first_i(load_first_i),
      .req_left_i(load_left_i),
      .req_tag_i(load_tag_i),
      .rsp_valid_o(load_valid_o),
      .rsp_data_o(load_data_o),
      .rsp_tag_o(load_tag_o),
      .rsp_error_o(load_error_o),
      .ar_valid_o(m_axi_arvalid_o),
      .ar_ready_i(m_axi_arready_i),
      .ar_addr_o(m_axi_araddr_o),
      .ar_len_o(m_axi_arlen_o),
      .r_valid_i(m_axi_rvalid_i),
      .r_ready_o(m_axi_rready_o),
      .r_data_i(m_axi_rdata_i),
      .r_error_i(m_axi_rresp_i[1]),
      .r_last_i(m_axi_rlast_i)
  );

  axi_write #(
      .Tag(StoreTag),
      .Bus(Bus),
      .Bursts(WriteBursts)
  ) u_write (
      .clk_i,
      .rst_i,
      .accept_i,
      .idle_o(write_idle),
      .base_i,
      .req_valid_i(store_valid_i),
      .req_ready_o(store_ready_o),
      .req_addr_i(store_addr_i),
      .req_data_i(store_data_i),
      .req_bytes_i(store_bytes_i),
      .req_first_i(store_first_i),
      .req_left_i(store_left_i),
      .req_tag_i(store_tag_i),
      .rsp_valid_o(store_valid_o),
      .rsp_tag_o(store_tag_o),
      .rsp_error_o(store_error_o),
      .aw_valid_o(m_axi_awvalid_o),
      .aw_ready_i(m_axi_awready_i),
      .aw_addr_o(m_axi_awaddr_o),
      .aw_len_o(m_axi_awlen_o),
      .w_valid_o(m_axi_wvalid_o),
      .w_ready_i(m_axi_wready_i),
      .w_data_o(m_axi_wdata_o),
      .w_strb_o(m_axi_wstrb_o),
      .w_last_o(m_axi_wlast_o),
      .b_valid_i(m_axi_bvalid_i),
      .b_ready_o(m_axi_bready_o),
      .b_error_i(m_axi_bresp_i[1])
  );

  assign {m_axi_awid_o, m_axi_arid_o} = '0;
  assign {m_axi_awsize_o, m_axi_arsize_o} = {2{3'($clog2(Bus))}};
  assign {m_axi_awburst_o, m_axi_arburst_o} = {2{athena_pkg::AXIBURST_INCR}};
  assign {m_axi_awcache_o, m_axi_arcache_o} = {2{athena_pkg::AXICACHE_MEMORY}};
  assign {m_axi_awprot_o, m_axi_arprot_o} = {2{athena_pkg::AXIPROT_DATA}};

  logic unused;
  assign unused = ^{m_axi_bid_i, m_axi_rid_i, m_axi_bresp_i[0], m_axi_rresp_i[0]};
endmodule
