// Local memory of bytes. A port reads or writes `PortBytes` bytes from any address on; the queues' bank reservations see to it
// that no bank serves two words at once. Addresses come from registers, so a read is a read of synchronous memory.
module scratchpad #(
    parameter int Bytes = 1024,
    parameter int Readers = 1,
    parameter int Writers = 1,
    parameter int PortBytes = 16,
    localparam int AddrBits = $clog2(Bytes)
) (
    input  logic                                clk_i,
    input  logic [Readers-1:0]                  read_i,
    input  logic [Readers-1:0][AddrBits-1:0]    read_addr_i,
    output logic [Readers-1:0][PortBytes*8-1:0] read_data_o,
    input  logic [Writers-1:0][PortBytes-1:0]   write_i,      // by byte
    input  logic [Writers-1:0][AddrBits-1:0]    write_addr_i,
    input  logic [Writers-1:0][PortBytes*8-1:0] write_data_i
);
  logic [7:0] mem[Bytes];

  always_comb begin
    for (int port = 0; port < Readers; port++) begin
      read_data_o[port] = '0;
      if (read_i[port]) begin
        for (int i = 0; i < PortBytes; i++) begin
          read_data_o[port][8*i+:8] = mem[read_addr_i[port]+AddrBits'(i)];
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int port = 0; port < Writers; port++) begin
      for (int i = 0; i < PortBytes; i++) begin
        if (write_i[port][i]) mem[write_addr_i[port]+AddrBits'(i)] <= write_data_i[port][8*i+:8];
      end
    end
  end
endmodule
