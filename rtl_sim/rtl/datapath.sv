// What the words work on: L1, ACC, and the units of the four queues.
module datapath #(
    localparam int Queues = athena_pkg::QUEUES,
    localparam int AddrBits = athena_pkg::ADDR_BITS,
    localparam int L1Bits = $clog2(athena_pkg::L1_BYTES),
    localparam int AccBits = $clog2(athena_pkg::ACC_BYTES),
    localparam int LoadBus = athena_pkg::LOAD_BYTES,
    localparam int StoreBus = athena_pkg::STORE_BYTES,
    localparam int Slots = athena_pkg::DMA_SLOTS,
    localparam int SlotBits = athena_pkg::SLOT_BITS,
    localparam int LoadTag = 1 + SlotBits + $clog2(LoadBus + 1) + L1Bits,
    localparam int StoreTag = 1 + SlotBits
) (
    input  logic                                             clk_i,
    input  logic                                             rst_i,
    input  logic [AddrBits-1:0]                              memory_bytes_i,
    input  logic [Queues-1:0]                                start_i,
    input  logic [Queues-1:0][athena_pkg::UOP_BITS-1:0]      uop_i,          // of a uop_t
    input  logic [1:0][SlotBits-1:0]                         slot_i,         // of STORE, LOAD
    output logic [1:0]                                       dma_ready_o,
    output logic [1:0]                                       dma_moves_o,    // STORE, LOAD work on a beat
    output logic [1:0][Slots-1:0]                            dma_done_o,
    output logic [1:0]                                       unit_done_o,    // of MATRIX, VECTOR
    output logic [2:0]                                       bad_index_o,    // of STORE, LOAD, VECTOR
    output logic [1:0]                                       bad_row_o,
    output logic [1:0]                                       dma_error_o,
    output logic [1:0][SlotBits-1:0]                         dma_error_slot_o,
    // Main memory.
    output logic                                             load_valid_o,
    input  logic                                             load_ready_i,
    output logic [AddrBits-1:0]                              load_addr_o,
    output logic                                             load_first_o,
    output logic [athena_pkg::COUNT_BITS-1:0]                load_left_o,
    output logic [$clog2(LoadBus+1)-1:0]                     load_bytes_o,
    output logic [LoadTag-1:0]                               load_tag_o,
    input  logic                                             load_valid_i,
    input  logic [LoadBus*8-1:0]                             load_data_i,
    input  logic [LoadTag-1:0]                               load_tag_i,
    input  logic                                             load_error_i,
    output logic                                             store_valid_o,
    input  logic                                             store_ready_i,
    output logic [AddrBits-1:0]                              store_addr_o,
    output logic [StoreBus*8-1:0]                            store_data_o,
    output logic [$clog2(StoreBus+1)-1:0]                    store_bytes_o,
    output logic                                             store_first_o,
    output logic [athena_pkg::COUNT_BITS-1:0]                store_left_o,
    output logic [StoreTag-1:0]                              store_tag_o,
    input  logic                                             store_valid_i,
    input  logic [StoreTag-1:0]                              store_tag_i,
    input  logic                                             store_error_i
);
  localparam int StoreQ = int'(athena_pkg::QUEUE_STORE);
  localparam int LoadQ = int'(athena_pkg::QUEUE_LOAD);
  localparam int MatrixQ = int'(athena_pkg::QUEUE_MATRIX);
  localparam int VectorQ = int'(athena_pkg::QUEUE_VECTOR);
  localparam int VecBytes = athena_pkg::LANES * 4;
  localparam int BiasBytes = athena_pkg::COLS * 4;
  localparam int Wide1 = VecBytes > BiasBytes ? VecBytes : BiasBytes;
  localparam int Wide2 = LoadBus > StoreBus ? LoadBus : StoreBus;
  localparam int ArrayRows = athena_pkg::ROWS;
  localparam int Wide3 = 2 * ArrayRows > Wide1 ? 2 * ArrayRows : Wide1;
  localparam int PortBytes = Wide3 > Wide2 ? Wide3 : Wide2;
  localparam int Readers = 10;  // STORE, A, B, bias, VEC a b c, side output, indices of STORE and LOAD

  logic [Readers-1:0] l1_read;
  logic [Readers-1:0][L1Bits-1:0] l1_read_addr;
  logic [Readers-1:0][PortBytes*8-1:0] l1_read_data;
  logic [3:0][PortBytes-1:0] l1_write;  // LOAD, FILL, VEC, side output
  logic [3:0][L1Bits-1:0] l1_write_addr;
  logic [3:0][PortBytes*8-1:0] l1_write_data;
  logic [3:0] acc_read;  // MATMUL, VEC a b c
  logic [3:0][AccBits-1:0] acc_read_addr;
  logic [3:0][PortBytes*8-1:0] acc_read_data;
  logic [1:0][PortBytes-1:0] acc_write;  // MATMUL, VEC
  logic [1:0][AccBits-1:0] acc_write_addr;
  logic [1:0][PortBytes*8-1:0] acc_write_data;

  scratchpad #(
      .Bytes(athena_pkg::L1_BYTES),
      .Banks(athena_pkg::L1_BANKS),
      .Readers(Readers),
      .Writers(4),
      .PortBytes(PortBytes)
  ) u_l1 (
      .clk_i,
      .read_i(l1_read),
      .read_addr_i(l1_read_addr),
      .read_data_o(l1_read_data),
      .write_i(l1_write),
      .write_addr_i(l1_write_addr),
      .write_data_i(l1_write_data)
  );

  scratchpad #(
      .Bytes(athena_pkg::ACC_BYTES),
      .Banks(athena_pkg::ACC_REGIONS),
      .Readers(4),
      .Writers(2),
      .PortBytes(PortBytes)
  ) u_acc (
      .clk_i,
      .read_i(acc_read),
      .read_addr_i(acc_read_addr),
      .read_data_o(acc_read_data),
      .write_i(acc_write),
      .write_addr_i(acc_write_addr),
      .write_data_i(acc_write_data)
  );

  store_unit u_store (
      .clk_i,
      .rst_i,
      .start_i(start_i[StoreQ]),
      .memory_bytes_i,
      .index_read_o(l1_read[8]),
      .index_addr_o(l1_read_addr[8]),
      .index_data_i(l1_read_data[8][31:0]),
      .bad_index_o(bad_index_o[StoreQ]),
      .bad_row_o(bad_row_o[StoreQ]),
      .uop_i(uop_i[StoreQ]),
      .slot_i(slot_i[StoreQ]),
      .ready_o(dma_ready_o[StoreQ]),
      .moves_o(dma_moves_o[StoreQ]),
      .done_o(dma_done_o[StoreQ]),
      .read_o(l1_read[0]),
      .read_addr_o(l1_read_addr[0]),
      .read_data_i(l1_read_data[0][StoreBus*8-1:0]),
      .error_o(dma_error_o[StoreQ]),
      .error_slot_o(dma_error_slot_o[StoreQ]),
      .req_valid_o(store_valid_o),
      .req_ready_i(store_ready_i),
      .req_addr_o(store_addr_o),
      .req_data_o(store_data_o),
      .req_bytes_o(store_bytes_o),
      .req_first_o(store_first_o),
      .req_left_o(store_left_o),
      .req_tag_o(store_tag_o),
      .rsp_valid_i(store_valid_i),
      .rsp_tag_i(store_tag_i),
      .rsp_error_i(store_error_i)
  );

  logic [1:0][LoadBus-1:0] load_write;
  logic [1:0][L1Bits-1:0] load_write_addr;
  logic [1:0][LoadBus*8-1:0] load_write_data;
  load_unit u_load (
      .clk_i,
      .rst_i,
      .start_i(start_i[LoadQ]),
      .memory_bytes_i,
      .index_read_o(l1_read[9]),
      .index_addr_o(l1_read_addr[9]),
      .index_data_i(l1_read_data[9][31:0]),
      .bad_index_o(bad_index_o[LoadQ]),
      .bad_row_o(bad_row_o[LoadQ]),
      .uop_i(uop_i[LoadQ]),
      .slot_i(slot_i[LoadQ]),
      .ready_o(dma_ready_o[LoadQ]),
      .moves_o(dma_moves_o[LoadQ]),
      .done_o(dma_done_o[LoadQ]),
      .error_o(dma_error_o[LoadQ]),
      .error_slot_o(dma_error_slot_o[LoadQ]),
      .req_valid_o(load_valid_o),
      .req_ready_i(load_ready_i),
      .req_addr_o(load_addr_o),
      .req_first_o(load_first_o),
      .req_left_o(load_left_o),
      .req_bytes_o(load_bytes_o),
      .req_tag_o(load_tag_o),
      .rsp_valid_i(load_valid_i),
      .rsp_data_i(load_data_i),
      .rsp_tag_i(load_tag_i),
      .rsp_error_i(load_error_i),
      .write_o(load_write),
      .write_addr_o(load_write_addr),
      .write_data_o(load_write_data)
  );
  for (genvar i = 0; i < 2; i++) begin : g_load_write
    assign l1_write[i] = PortBytes'(load_write[i]);
    assign l1_write_addr[i] = load_write_addr[i];
    assign l1_write_data[i] = (PortBytes * 8)'(load_write_data[i]);
  end

  logic [BiasBytes-1:0] matmul_write;
  logic [BiasBytes*8-1:0] matmul_write_data;
  matrix_unit u_matrix (
      .clk_i,
      .rst_i,
      .start_i(start_i[MatrixQ]),
      .uop_i(uop_i[MatrixQ]),
      .done_o(unit_done_o[0]),
      .a_read_o(l1_read[1]),
      .a_addr_o(l1_read_addr[1]),
      .a_data_i(l1_read_data[1][ArrayRows*16-1:0]),
      .b_read_o(l1_read[2]),
      .b_addr_o(l1_read_addr[2]),
      .b_data_i(l1_read_data[2][ArrayRows*16-1:0]),
      .bias_read_o(l1_read[3]),
      .bias_addr_o(l1_read_addr[3]),
      .bias_data_i(l1_read_data[3][BiasBytes*8-1:0]),
      .acc_read_o(acc_read[0]),
      .acc_addr_o(acc_read_addr[0]),
      .acc_data_i(acc_read_data[0][BiasBytes*8-1:0]),
      .acc_write_o(matmul_write),
      .acc_write_data_o(matmul_write_data)
  );
  assign acc_write[0] = PortBytes'(matmul_write);
  assign acc_write_addr[0] = acc_read_addr[0];
  assign acc_write_data[0] = (PortBytes * 8)'(matmul_write_data);

  logic [2:0] vec_read, vec_read_acc;
  logic [2:0][L1Bits-1:0] vec_read_addr;
  logic [2:0][VecBytes*8-1:0] vec_read_data;
  logic [VecBytes-1:0] vec_write;
  logic vec_write_acc;
  logic [L1Bits-1:0] vec_write_addr;
  logic [VecBytes*8-1:0] vec_write_data;
  logic side_read, side_write;
  logic [L1Bits-1:0] side_read_addr, side_write_addr;
  logic [31:0] side_write_data;
  athena_pkg::uop_t vector_uop;
  logic permutes, quantises, vec_done, permute_done, vmxq_done;
  assign vector_uop = uop_i[VectorQ];
  assign permutes = vector_uop.word.op == athena_pkg::OP_VPERM || vector_uop.word.op == athena_pkg::OP_VGATHER;
  assign quantises = vector_uop.word.op == athena_pkg::OP_VMXQ;
  assign unit_done_o[1] = vec_done || permute_done || vmxq_done;
  vector_unit u_vector (
      .clk_i,
      .rst_i,
      .start_i(start_i[VectorQ] && !permutes && !quantises),
      .uop_i(vector_uop),
      .done_o(vec_done),
      .read_o(vec_read),
      .read_acc_o(vec_read_acc),
      .read_addr_o(vec_read_addr),
      .read_data_i(vec_read_data),
      .write_o(vec_write),
      .write_acc_o(vec_write_acc),
      .write_addr_o(vec_write_addr),
      .write_data_o(vec_write_data),
      .side_read_o(side_read),
      .side_read_addr_o(side_read_addr),
      .side_data_i(l1_read_data[7][31:0]),
      .side_write_o(side_write),
      .side_write_addr_o(side_write_addr),
      .side_write_data_o(side_write_data)
  );

  // VPERM and VGATHER, on the ports of VEC's operand a and result: the queue has one word in execution.
  logic permute_read, permute_acc;
  logic [L1Bits-1:0] permute_read_addr, permute_write_addr;
  logic [VecBytes-1:0] permute_write;
  logic [VecBytes*8-1:0] permute_write_data;
  permute_unit u_permute (
      .clk_i,
      .rst_i,
      .start_i(start_i[VectorQ] && permutes),
      .uop_i(vector_uop),
      .done_o(permute_done),
      .bad_index_o(bad_index_o[2]),
      .read_o(permute_read),
      .read_acc_o(permute_acc),
      .read_addr_o(permute_read_addr),
      .read_data_i(vec_read_data[0]),
      .write_o(permute_write),
      .write_addr_o(permute_write_addr),
      .write_data_o(permute_write_data)
  );

  // VMXQ, on those and the port of VEC's side output.
  logic vmxq_read, vmxq_acc, scale_read, scale_write;
  logic [L1Bits-1:0] vmxq_read_addr, vmxq_write_addr, scale_addr;
  logic [athena_pkg::LANES-1:0] vmxq_write;
  logic [athena_pkg::LANES*8-1:0] vmxq_write_data;
  logic [31:0] scale_write_data;
  vmxq_unit u_vmxq (
      .clk_i,
      .rst_i,
      .start_i(start_i[VectorQ] && quantises),
      .uop_i(vector_uop),
      .done_o(vmxq_done),
      .read_o(vmxq_read),
      .read_acc_o(vmxq_acc),
      .read_addr_o(vmxq_read_addr),
      .read_data_i(vec_read_data[0]),
      .write_o(vmxq_write),
      .write_addr_o(vmxq_write_addr),
      .write_data_o(vmxq_write_data),
      .scale_read_o(scale_read),
      .scale_addr_o(scale_addr),
      .scale_data_i(l1_read_data[7][31:0]),
      .scale_write_o(scale_write),
      .scale_write_data_o(scale_write_data)
  );

  logic [2:0] reads, reads_acc;
  logic [2:0][L1Bits-1:0] reads_addr;
  assign reads = {vec_read[2:1], vec_read[0] || permute_read || vmxq_read};
  assign reads_acc = {vec_read_acc[2:1], permute_read ? permute_acc : vmxq_read ? vmxq_acc : vec_read_acc[0]};
  assign reads_addr = {vec_read_addr[2:1], permute_read ? permute_read_addr : vmxq_read ? vmxq_read_addr : vec_read_addr[0]};
  for (genvar i = 0; i < 3; i++) begin : g_vec_read
    assign l1_read[4+i] = reads[i] && !reads_acc[i];
    assign l1_read_addr[4+i] = reads_addr[i];
    assign acc_read[1+i] = reads[i] && reads_acc[i];
    assign acc_read_addr[1+i] = reads_addr[i][AccBits-1:0];
    assign vec_read_data[i] = reads_acc[i] ? acc_read_data[1+i][VecBytes*8-1:0] : l1_read_data[4+i][VecBytes*8-1:0];
  end
  logic permuted, quantised;
  assign permuted = |permute_write;
  assign quantised = |vmxq_write;
  assign l1_write[2] = permuted ? PortBytes'(permute_write) : quantised ? PortBytes'(vmxq_write) :
      vec_write_acc ? '0 : PortBytes'(vec_write);
  assign l1_write_addr[2] = permuted ? permute_write_addr : quantised ? vmxq_write_addr : vec_write_addr;
  assign l1_write_data[2] = permuted ? (PortBytes * 8)'(permute_write_data) :
      quantised ? (PortBytes * 8)'(vmxq_write_data) : (PortBytes * 8)'(vec_write_data);
  assign l1_read[7] = side_read || scale_read;
  assign l1_read_addr[7] = scale_read ? scale_addr : side_read_addr;
  assign l1_write[3] = PortBytes'({4{side_write || scale_write}});
  assign l1_write_addr[3] = scale_write ? scale_addr : side_write_addr;
  assign l1_write_data[3] = (PortBytes * 8)'(scale_write ? scale_write_data : side_write_data);
  assign acc_write[1] = vec_write_acc ? PortBytes'(vec_write) : '0;
  assign acc_write_addr[1] = vec_write_addr[AccBits-1:0];
  assign acc_write_data[1] = (PortBytes * 8)'(vec_write_data);
endmodule
