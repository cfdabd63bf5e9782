// Local memory in banks of contiguous bytes, each with one read and one write port `PortBytes` wide. An access may start at any
// byte and run on into the next bank, whose port it then takes too; the queues' reservations and the words' passes see to it that
// no port serves two accesses in a cycle. A bank is two macros, of even and odd lines of `PortBytes`, so that an access across a
// line takes one cycle. Addresses come from registers, so a read is a read of synchronous memory.
module scratchpad #(
    parameter int Bytes = 1024,
    parameter int Banks = 2,
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
  localparam int BankBytes = Bytes / Banks;
  localparam int OffsetBits = $clog2(BankBytes);

  typedef logic [AddrBits-OffsetBits-1:0] bank_t;
  typedef logic signed [AddrBits:0] offset_t;  // of an access in a bank; negative: it began in the bank before

  logic [7:0] mem[Bytes];
  logic [Readers-1:0] read_crosses;
  logic [Writers-1:0] write_crosses;
  logic [Readers-1:0][OffsetBits:0] read_room;  // bytes of the bank from the access on
  logic [Writers-1:0][OffsetBits:0] write_room;
  logic [Banks-1:0] reads, writes;
  logic [Banks-1:0][AddrBits:0] read_at, write_at;
  logic [Banks-1:0][$clog2(Writers+1)-1:0] writer;
  logic [Banks-1:0][PortBytes*8-1:0] line;

  bank_t [Readers-1:0] read_bank;
  bank_t [Writers-1:0] write_bank;
  for (genvar port = 0; port < Readers; port++) begin : g_reader
    assign read_bank[port] = read_addr_i[port][AddrBits-1:OffsetBits];
    assign read_room[port] = (OffsetBits + 1)'(BankBytes) - {1'b0, read_addr_i[port][OffsetBits-1:0]};
    assign read_crosses[port] = read_i[port] && int'(read_room[port]) < PortBytes && read_bank[port] != '1;
  end
  for (genvar port = 0; port < Writers; port++) begin : g_writer
    assign write_bank[port] = write_addr_i[port][AddrBits-1:OffsetBits];
    assign write_room[port] = (OffsetBits + 1)'(BankBytes) - {1'b0, write_addr_i[port][OffsetBits-1:0]};
    assign write_crosses[port] = (write_i[port] >> write_room[port]) != '0;
  end

  // Which access each bank's read port serves. A reader asks for a whole line and may have no use for its end, so the tail of an
  // access gives way to one that begins in the bank.
  always_comb begin
    reads = '0;
    read_at = '0;
    for (int port = 0; port < Readers; port++) begin
      if (read_i[port]) begin
        reads[read_bank[port]] = 1'b1;
        read_at[read_bank[port]] = (AddrBits + 1)'(read_addr_i[port][OffsetBits-1:0]);
      end
    end
    for (int port = 0; port < Readers; port++) begin
      if (read_crosses[port] && !reads[read_bank[port]+1'b1]) begin
        reads[read_bank[port]+1'b1] = 1'b1;
        read_at[read_bank[port]+1'b1] = -((AddrBits + 1)'(read_room[port]));
      end
    end
  end

  always_comb begin
    for (int b = 0; b < Banks; b++) begin
      line[b] = '0;
      if (reads[b]) begin
        for (int i = 0; i < PortBytes; i++) begin
          line[b][8*i+:8] = mem[AddrBits'(b*BankBytes)+AddrBits'(read_at[b])+AddrBits'(i)];
        end
      end
    end
    for (int port = 0; port < Readers; port++) begin
      read_data_o[port] = read_i[port] ? line[read_bank[port]] : '0;
      if (read_crosses[port]) begin
        for (int i = 0; i < PortBytes; i++) begin
          if (i >= int'(read_room[port])) read_data_o[port][8*i+:8] = line[read_bank[port]+1'b1][8*i+:8];
        end
      end
    end
  end

  // Which access each bank's write port serves.
  always_comb begin
    writes = '0;
    write_at = '0;
    writer = '0;
    for (int port = 0; port < Writers; port++) begin
      if (write_i[port] != '0) begin
        writes[write_bank[port]] = 1'b1;
        writer[write_bank[port]] = $clog2(Writers + 1)'(port);
        write_at[write_bank[port]] = (AddrBits + 1)'(write_addr_i[port][OffsetBits-1:0]);
      end
      if (write_crosses[port]) begin
        writes[write_bank[port]+1'b1] = 1'b1;
        writer[write_bank[port]+1'b1] = $clog2(Writers + 1)'(port);
        write_at[write_bank[port]+1'b1] = -((AddrBits + 1)'(write_room[port]));
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int b = 0; b < Banks; b++) begin
      if (writes[b]) begin
        for (int i = 0; i < PortBytes; i++) begin
          if (write_i[writer[b]][i] && offset_t'(write_at[b]) + offset_t'(i) >= 0 &&
              offset_t'(write_at[b]) + offset_t'(i) < offset_t'(BankBytes)) begin
            mem[AddrBits'(b*BankBytes)+AddrBits'(write_at[b])+AddrBits'(i)] <= write_data_i[writer[b]][8*i+:8];
          end
        end
      end
    end
  end
endmodule
