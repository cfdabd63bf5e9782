// A value put in comes out `Stages` cycles later (at least 1): a ring, so that long pipes cost one write a cycle.
module latency_pipe #(
    parameter int Width = 8,
    parameter int Stages = 2
) (
    input  logic             clk_i,
    input  logic             rst_i,
    input  logic             valid_i,
    input  logic [Width-1:0] d_i,
    output logic             valid_o,
    output logic [Width-1:0] q_o
);
  localparam int PtrBits = Stages > 1 ? $clog2(Stages) : 1;

  logic [Width-1:0] ring[Stages];
  logic [Stages-1:0] valid;
  logic [PtrBits-1:0] ptr;

  assign valid_o = valid[ptr];
  assign q_o = ring[ptr];

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      valid <= '0;
      ptr   <= '0;
    end else begin
      valid[ptr] <= valid_i;
      if (valid_i) ring[ptr] <= d_i;
      ptr <= ptr == PtrBits'(Stages - 1) ? '0 : ptr + 1'b1;
    end
  end
endmodule
