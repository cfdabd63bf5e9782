// First in, first out. Both handshakes depend on the count alone: no path from one side's inputs to the other side's outputs.
module fifo #(
    parameter int Width = 8,
    parameter int Depth = 2
) (
    input  logic             clk_i,
    input  logic             rst_i,
    input  logic             valid_i,
    output logic             ready_o,
    input  logic [Width-1:0] data_i,
    output logic             valid_o,
    input  logic             ready_i,
    output logic [Width-1:0] data_o
);
  localparam int PtrBits = Depth > 1 ? $clog2(Depth) : 1;
  localparam int CountBits = $clog2(Depth + 1);

  logic [Width-1:0] ring[Depth];
  logic [PtrBits-1:0] head, tail;
  logic [CountBits-1:0] count;
  logic put, take;

  assign ready_o = count != CountBits'(Depth);
  assign valid_o = count != '0;
  assign data_o = ring[head];
  assign put = valid_i && ready_o;
  assign take = valid_o && ready_i;

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      head  <= '0;
      tail  <= '0;
      count <= '0;
    end else begin
      if (put) tail <= tail == PtrBits'(Depth - 1) ? '0 : tail + 1'b1;
      if (take) head <= head == PtrBits'(Depth - 1) ? '0 : head + 1'b1;
      count <= count + CountBits'(put) - CountBits'(take);
    end
  end

  always_ff @(posedge clk_i) if (put) ring[tail] <= data_i;
endmodule
