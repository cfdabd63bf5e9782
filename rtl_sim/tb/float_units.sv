// The float32 blocks side by side, for their bench.
module float_units (
    input  logic [31:0] x_i,
    input  logic [31:0] y_i,
    output logic [31:0] sum_o,
    output logic [31:0] product_o,
    output logic [31:0] from_int_o,
    output logic [31:0] to_int_o
);
  f32_add u_add (
      .en_i(1'b1),
      .x_i,
      .y_i,
      .z_o(sum_o)
  );
  f32_mul u_mul (
      .en_i(1'b1),
      .x_i,
      .y_i,
      .z_o(product_o)
  );
  i32_to_f32 u_from_int (
      .x_i,
      .z_o(from_int_o)
  );
  f32_to_i32 u_to_int (
      .x_i,
      .z_o(to_int_o)
  );
endmodule
