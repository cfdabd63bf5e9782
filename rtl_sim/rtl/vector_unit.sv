// VEC: LANES columns a step, row by row; a step takes `passes` cycles, the number of operands that share a bank.
// Results are written VEC_STARTUP cycles after their operands were read.
module vector_unit #(
    localparam int Lanes = athena_pkg::LANES,
    localparam int Sides = 3,
    localparam int AddrBits = $clog2(athena_pkg::L1_BYTES),
    localparam int Width = Lanes * 32
) (
    input  logic                            clk_i,
    input  logic                            rst_i,
    input  logic                            start_i,
    input  athena_pkg::uop_t                uop_i,
    output logic                            done_o,
    output logic [Sides-1:0]                read_o,        // operands a b c
    output logic [Sides-1:0]                read_acc_o,    // from ACC, not L1
    output logic [Sides-1:0][AddrBits-1:0]  read_addr_o,
    input  logic [Sides-1:0][Width-1:0]     read_data_i,
    output logic [Lanes*4-1:0]              write_o,       // by byte
    output logic                            write_acc_o,
    output logic [AddrBits-1:0]             write_addr_o,
    output logic [Width-1:0]                write_data_o
);
  localparam int CountBits = athena_pkg::COUNT_BITS;
  localparam int LenBits = $clog2(Lanes + 1);
  localparam int PipeBits = 1 + LenBits + AddrBits + Width;

  typedef logic [CountBits-1:0] count_t;
  typedef logic [AddrBits-1:0] addr_t;

  // The word.
  logic [7:0] alu1, lut, alu2;
  logic [3:0] result_type;
  logic [Sides-1:0][3:0] types;
  logic [Sides-1:0][7:0] kinds;
  logic [Sides-1:0] in_acc;
  logic [1:0][31:0] imm;
  logic signed [31:0] zero;
  logic result_acc, busy;
  logic [1:0] passes, pass;
  count_t cols, cols_left, rows_left;
  addr_t [Sides:0] row_addr, addr, stride;  // a b c, and d last

  function automatic logic in_place(input logic [7:0] kind);
    in_place = kind == athena_pkg::KIND_FULL || kind == athena_pkg::KIND_ROW ||
        kind == athena_pkg::KIND_COL || kind == athena_pkg::KIND_SCALAR;
  endfunction

  function automatic logic along_row(input logic [7:0] kind);
    along_row = kind == athena_pkg::KIND_FULL || kind == athena_pkg::KIND_ROW;
  endfunction

  function automatic logic along_column(input logic [7:0] kind);
    along_column = kind == athena_pkg::KIND_FULL || kind == athena_pkg::KIND_COL;
  endfunction

  function automatic addr_t step(input logic [3:0] dt);
    step = dt == athena_pkg::DT_I32 ? addr_t'(Lanes * 4) : addr_t'(Lanes);
  endfunction

  // The bank of an operand's first byte, with the memory it lies in.
  function automatic logic [AddrBits:0] bank(input logic acc, input logic [athena_pkg::ADDR_BITS-1:0] at);
    bank = acc ? {1'b1, addr_t'(at >> $clog2(athena_pkg::ACC_REGION_BYTES))} :
        {1'b0, addr_t'(at >> $clog2(athena_pkg::L1_BANK_BYTES))};
  endfunction

  // Integer value of an element.
  function automatic logic signed [31:0] element(input logic [Width-1:0] data, input int at, input logic [3:0] dt);
    case (dt)
      athena_pkg::DT_I8: element = {{24{data[8*at+7]}}, data[8*at+:8]};
      athena_pkg::DT_U8: element = {24'b0, data[8*at+:8]};
      default:           element = data[32*at+:32];
    endcase
  endfunction

  logic [Sides-1:0][7:0] kinds_now;
  logic [Sides-1:0] acc_now, same;
  logic [1:0] passes_now;
  logic [1:0][31:0] imm_now;
  for (genvar i = 0; i < 2; i++) begin : g_imm
    logic [31:0] value;
    assign value = uop_i.word.f[i];
    f32_to_i32 u_convert (
        .x_i(value),
        .z_o(imm_now[i])
    );
  end
  assign kinds_now = {uop_i.word.p[1][15:8], uop_i.word.p[1][7:0], athena_pkg::KIND_FULL};
  assign acc_now = {uop_i.word.c.seg == athena_pkg::SEG_ACC, uop_i.word.b.seg == athena_pkg::SEG_ACC,
                    uop_i.word.a.seg == athena_pkg::SEG_ACC};
  always_comb begin
    for (int i = 0; i < Sides; i++) begin  // operand i shares a bank with operand i + 1
      same[i] = in_place(kinds_now[i]) && in_place(kinds_now[(i+1)%Sides]) &&
          bank(acc_now[i], uop_i.addr[i]) == bank(acc_now[(i+1)%Sides], uop_i.addr[(i+1)%Sides]);
    end
    passes_now = &same ? 2'd3 : |same ? 2'd2 : 2'd1;
  end

  logic fires, last;
  logic [LenBits-1:0] live;
  assign fires = busy && pass == passes;
  assign last = fires && rows_left == count_t'(1) && cols_left <= count_t'(Lanes);
  assign live = cols_left <= count_t'(Lanes) ? cols_left[LenBits-1:0] : LenBits'(Lanes);

  always_ff @(posedge clk_i) begin
    if (rst_i) busy <= 1'b0;
    else if (start_i) begin
      busy <= 1'b1;
      alu1 <= uop_i.word.p[0][7:0];
      lut <= uop_i.word.p[0][15:8];
      alu2 <= uop_i.word.p[0][23:16];
      result_type <= uop_i.word.dt[3];
      types <= uop_i.word.dt[2:0];
      kinds <= kinds_now;
      in_acc <= acc_now;
      imm <= imm_now;
      zero <= uop_i.word.p[6];
      result_acc <= uop_i.word.d.seg == athena_pkg::SEG_ACC;
      passes <= passes_now;
      pass <= 2'd1;
      {cols, cols_left} <= {2{uop_i.n[1]}};
      rows_left <= uop_i.n[0];
      for (int i = 0; i <= Sides; i++) begin
        row_addr[i] <= uop_i.addr[i][AddrBits-1:0];
        addr[i] <= uop_i.addr[i][AddrBits-1:0];
      end
      stride <= {uop_i.word.d.stride[AddrBits-1:0], uop_i.word.c.stride[AddrBits-1:0],
                 uop_i.word.b.stride[AddrBits-1:0], uop_i.word.a.stride[AddrBits-1:0]};
    end else if (busy) begin
      pass <= fires ? 2'd1 : pass + 1'b1;
      if (fires && cols_left > count_t'(Lanes)) begin
        cols_left <= cols_left - count_t'(Lanes);
        for (int i = 0; i < Sides; i++) if (along_row(kinds[i])) addr[i] <= addr[i] + step(types[i]);
        addr[Sides] <= addr[Sides] + step(result_type);
      end else if (fires) begin
        cols_left <= cols;
        rows_left <= rows_left - 1'b1;
        busy <= !last;
        for (int i = 0; i < Sides; i++) begin
          row_addr[i] <= along_column(kinds[i]) ? row_addr[i] + stride[i] : row_addr[i];
          addr[i] <= along_column(kinds[i]) ? row_addr[i] + stride[i] : row_addr[i];
        end
        {row_addr[Sides], addr[Sides]} <= {2{row_addr[Sides] + stride[Sides]}};
      end
    end
  end

  always_comb begin
    for (int i = 0; i < Sides; i++) begin
      read_o[i] = fires && in_place(kinds[i]);
      read_acc_o[i] = in_acc[i];
      read_addr_o[i] = addr[i];
    end
  end

  logic [Lanes-1:0][31:0] results;
  for (genvar lane = 0; lane < Lanes; lane++) begin : g_lane
    logic [31:0] a, b, c;
    assign a = element(read_data_i[0], lane, types[0]);
    assign b = in_place(kinds[1]) ? element(read_data_i[1], along_row(kinds[1]) ? lane : 0, types[1]) : imm[0];
    assign c = in_place(kinds[2]) ? element(read_data_i[2], along_row(kinds[2]) ? lane : 0, types[2]) : imm[1];
    vec_lane u_lane (
        .alu1_i(alu1),
        .lut_i(lut),
        .alu2_i(alu2),
        .type_i(result_type),
        .zero_i(zero),
        .a_i(a),
        .b_i(b),
        .c_i(c),
        .d_o(results[lane])
    );
  end

  // Packed as they will lie in memory.
  logic [Width-1:0] packed_results;
  always_comb begin
    packed_results = '0;
    for (int lane = 0; lane < Lanes; lane++) begin
      if (result_type == athena_pkg::DT_I32) packed_results[32*lane+:32] = results[lane];
      else packed_results[8*lane+:8] = results[lane][7:0];
    end
  end

  logic out_valid, out_last;
  logic [LenBits-1:0] out_live;
  latency_pipe #(
      .Width(PipeBits),
      .Stages(athena_pkg::VEC_STARTUP)
  ) u_pipe (
      .clk_i,
      .rst_i,
      .valid_i(fires),
      .d_i({last, live, addr[Sides], packed_results}),
      .valid_o(out_valid),
      .q_o({out_last, out_live, write_addr_o, write_data_o})
  );

  assign done_o = out_valid && out_last;
  assign write_acc_o = result_acc;
  always_comb begin
    for (int i = 0; i < Lanes * 4; i++) begin
      write_o[i] = out_valid && LenBits'(result_type == athena_pkg::DT_I32 ? i / 4 : i < Lanes ? i : Lanes) < out_live;
    end
  end

  logic unused;
  assign unused = ^uop_i;
endmodule
