// Multiples of 2 pi or of log 2 for the table functions. SIN, COS: k whole turns taken from x, in three parts that leave `y_o`
// and a fourth, small one still to be taken from it, `low_o`. LOG: e * log 2 in two parts, `high_o` and `low_o`.
module vec_turn (
    input  logic               en_i,
    input  logic               wave_i,  // SIN, COS; else LOG
    input  logic        [31:0] x_i,
    input  logic signed [31:0] e_i,
    output logic        [31:0] y_o,
    output logic        [31:0] high_o,
    output logic        [31:0] low_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  logic [31:0] turns, biased, k, part_2, part_3, rest_1, rest_2;
  logic wave;
  assign wave = en_i && wave_i;

  f32_mul u_turns (
      .en_i(wave),
      .x_i,
      .y_i(athena_pkg::TABLE_TURN_SCALE),
      .z_o(turns)
  );
  f32_add u_round (
      .en_i(wave),
      .x_i(turns),
      .y_i(athena_pkg::TABLE_ROUND_MAGIC),
      .z_o(biased)
  );
  i32_to_f32 u_k (
      .x_i(wave_i ? biased - athena_pkg::TABLE_ROUND_MAGIC : e_i),
      .z_o(k)
  );
  f32_mul u_part_1 (
      .en_i,
      .x_i(k),
      .y_i(wave_i ? athena_pkg::TABLE_TURN_1 : athena_pkg::TABLE_LOG_HI),
      .z_o(high_o)
  );
  f32_mul u_part_2 (
      .en_i(wave),
      .x_i(k),
      .y_i(athena_pkg::TABLE_TURN_2),
      .z_o(part_2)
  );
  f32_mul u_part_3 (
      .en_i(wave),
      .x_i(k),
      .y_i(athena_pkg::TABLE_TURN_3),
      .z_o(part_3)
  );
  f32_mul u_part_4 (
      .en_i,
      .x_i(k),
      .y_i(wave_i ? athena_pkg::TABLE_TURN_4 : athena_pkg::TABLE_LOG_LO),
      .z_o(low_o)
  );
  f32_add u_rest_1 (
      .en_i(wave),
      .x_i,
      .y_i({~high_o[31], high_o[30:0]}),
      .z_o(rest_1)
  );
  f32_add u_rest_2 (
      .en_i(wave),
      .x_i(rest_1),
      .y_i({~part_2[31], part_2[30:0]}),
      .z_o(rest_2)
  );
  f32_add u_rest_3 (
      .en_i(wave),
      .x_i(rest_2),
      .y_i({~part_3[31], part_3[30:0]}),
      .z_o(y_o)
  );
endmodule
