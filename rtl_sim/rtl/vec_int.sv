// One two-operand step of VEC on int32, two's complement; SELECT needs the value of its first operand (b) as well.
module vec_int (
    input  logic        [7:0]  alu_i,
    input  logic signed [31:0] x_i,
    input  logic signed [31:0] y_i,
    input  logic signed [31:0] chosen_i,  // SELECT: the result where x is not 0
    output logic signed [31:0] z_o
);
  logic signed [31:0] difference;
  assign difference = x_i - y_i;

  always_comb begin
    case (alu_i)
      athena_pkg::ALU_ADD:     z_o = x_i + y_i;
      athena_pkg::ALU_SUB:     z_o = difference;
      athena_pkg::ALU_RSUB:    z_o = y_i - x_i;
      athena_pkg::ALU_MUL:     z_o = x_i * y_i;
      athena_pkg::ALU_MAX:     z_o = x_i > y_i ? x_i : y_i;
      athena_pkg::ALU_MIN:     z_o = x_i < y_i ? x_i : y_i;
      athena_pkg::ALU_EQ:      z_o = 32'(x_i == y_i);
      athena_pkg::ALU_NE:      z_o = 32'(x_i != y_i);
      athena_pkg::ALU_LT:      z_o = 32'(x_i < y_i);
      athena_pkg::ALU_LE:      z_o = 32'(x_i <= y_i);
      athena_pkg::ALU_GT:      z_o = 32'(x_i > y_i);
      athena_pkg::ALU_GE:      z_o = 32'(x_i >= y_i);
      athena_pkg::ALU_SELECT:  z_o = x_i != 0 ? chosen_i : y_i;
      athena_pkg::ALU_ABSDIFF: z_o = difference < 0 ? -difference : difference;
      default:                 z_o = x_i;
    endcase
  end
endmodule
