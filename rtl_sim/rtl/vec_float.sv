// One two-operand step of VEC on float32; SELECT needs the value of its first operand (b) as well.
module vec_float (
    input  logic        en_i,
    input  logic [7:0]  alu_i,
    input  logic [31:0] x_i,
    input  logic [31:0] y_i,
    input  logic [31:0] chosen_i,  // SELECT: the result where x is not 0
    output logic [31:0] z_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  localparam logic [31:0] One = 32'h3F80_0000;

  logic [31:0] sum, product;
  logic adds, x_nan, y_nan, equal, less;

  assign adds = alu_i == athena_pkg::ALU_ADD || alu_i == athena_pkg::ALU_SUB || alu_i == athena_pkg::ALU_RSUB ||
      alu_i == athena_pkg::ALU_ABSDIFF;

  f32_add u_add (
      .en_i(en_i && adds),
      .x_i({x_i[31] ^ (alu_i == athena_pkg::ALU_RSUB), x_i[30:0]}),
      .y_i({y_i[31] ^ (alu_i == athena_pkg::ALU_SUB || alu_i == athena_pkg::ALU_ABSDIFF), y_i[30:0]}),
      .z_o(sum)
  );
  f32_mul u_mul (
      .en_i(en_i && alu_i == athena_pkg::ALU_MUL),
      .x_i,
      .y_i,
      .z_o(product)
  );
  f32_less u_less (
      .x_i,
      .y_i,
      .x_nan_o(x_nan),
      .y_nan_o(y_nan),
      .less_o(less),
      .equal_o(equal)
  );

  function automatic logic [31:0] flag(input logic on);
    flag = on ? One : '0;
  endfunction

  always_comb begin
    case (alu_i)
      athena_pkg::ALU_ADD, athena_pkg::ALU_SUB, athena_pkg::ALU_RSUB: z_o = sum;
      athena_pkg::ALU_ABSDIFF: z_o = {1'b0, sum[30:0]};
      athena_pkg::ALU_MUL:     z_o = product;
      athena_pkg::ALU_MAX:     z_o = x_nan ? x_i : equal ? x_i & y_i : less || y_nan ? y_i : x_i;
      athena_pkg::ALU_MIN:     z_o = x_nan ? x_i : equal ? x_i | y_i : less && !y_nan ? x_i : y_i;
      athena_pkg::ALU_EQ:      z_o = flag(equal);
      athena_pkg::ALU_NE:      z_o = flag(!equal);
      athena_pkg::ALU_LT:      z_o = flag(less);
      athena_pkg::ALU_LE:      z_o = flag(less || equal);
      athena_pkg::ALU_GT:      z_o = flag(!less && !equal && !x_nan && !y_nan);
      athena_pkg::ALU_GE:      z_o = flag(!less && !x_nan && !y_nan);
      athena_pkg::ALU_SELECT:  z_o = x_i[30:0] != '0 ? chosen_i : y_i;
      default:                 z_o = x_i;
    endcase
  end
endmodule
