// One step of a row reduction.
module vec_combine (
    input  logic        en_i,
    input  logic        float_i,
    input  logic [7:0]  red_i,
    input  logic [31:0] x_i,
    input  logic [31:0] y_i,
    output logic [31:0] z_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  logic [7:0] alu;
  logic [31:0] of_float, of_int;

  assign alu = red_i == athena_pkg::RED_SUM || red_i == athena_pkg::RED_SUMSQ ? athena_pkg::ALU_ADD :
      red_i == athena_pkg::RED_MIN ? athena_pkg::ALU_MIN : athena_pkg::ALU_MAX;

  vec_float u_float (
      .en_i(en_i && float_i),
      .alu_i(alu),
      .x_i,
      .y_i,
      .chosen_i('0),
      .z_o(of_float)
  );
  vec_int u_int (
      .alu_i(alu),
      .x_i,
      .y_i,
      .chosen_i('0),
      .z_o(of_int)
  );
  assign z_o = float_i ? of_float : of_int;
endmodule
