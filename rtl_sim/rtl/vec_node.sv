// From the argument y - t of a table function to its polynomial: the nearest node n of the grid, the distance r from it,
// p = c0 + r * (c1 + r * c2) of the entry for n.
module vec_node (
    input  logic                                        en_i,
    input  logic                                        even_i,    // n: half to even; else half upwards, for y >= 0
    input  logic        [31:0]                          y_i,
    input  logic        [31:0]                          t_i,       // less than the last place of y
    input  logic        [31:0]                          scale_i,   // nodes in a unit of y
    input  logic        [31:0]                          high_i,    // one step of the grid, in two parts
    input  logic        [31:0]                          low_i,
    input  logic        [athena_pkg::TABLE_AT_BITS-1:0] at_i,      // entry of node 0
    input  logic        [athena_pkg::TABLE_AT_BITS-1:0] offset_i,  // added to n,
    input  logic        [athena_pkg::TABLE_AT_BITS-1:0] mask_i,    // of which the table has these bits
    output logic signed [31:0]                          n_o,
    output logic        [31:0]                          p_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  localparam logic [31:0] Half = 32'h3F00_0000;
  localparam int AtBits = athena_pkg::TABLE_AT_BITS;

  logic [31:0] argument, scaled, biased, n, at_node, past_node, at_hand, tail, r, c0, c1, c2, curve, slope, rise;
  logic [AtBits-1:0] entry;

  f32_add u_argument (
      .en_i,
      .x_i(y_i),
      .y_i({~t_i[31], t_i[30:0]}),
      .z_o(argument)
  );
  f32_mul u_scale (
      .en_i,
      .x_i(argument),
      .y_i(scale_i),
      .z_o(scaled)
  );
  f32_add u_round (
      .en_i,
      .x_i(scaled),
      .y_i(even_i ? athena_pkg::TABLE_ROUND_MAGIC : Half),
      .z_o(biased)
  );

  // The large number leaves n in the last places of the sum; the half leaves it before the point.
  always_comb begin
    if (even_i) n_o = biased - athena_pkg::TABLE_ROUND_MAGIC;
    else if (biased[30:23] < 8'd127) n_o = '0;
    else n_o = {8'b0, 1'b1, biased[22:0]} >> (8'd150 - biased[30:23]);
  end
  i32_to_f32 u_n (
      .x_i(n_o),
      .z_o(n)
  );

  f32_mul u_at_node (
      .en_i,
      .x_i(n),
      .y_i(high_i),
      .z_o(at_node)
  );
  f32_mul u_past_node (
      .en_i,
      .x_i(n),
      .y_i(low_i),
      .z_o(past_node)
  );
  f32_add u_tail (
      .en_i,
      .x_i(t_i),
      .y_i(past_node),
      .z_o(tail)
  );
  f32_add u_near (
      .en_i,
      .x_i(y_i),
      .y_i({~at_node[31], at_node[30:0]}),
      .z_o(at_hand)
  );
  f32_add u_r (
      .en_i,
      .x_i(at_hand),
      .y_i({~tail[31], tail[30:0]}),
      .z_o(r)
  );

  assign entry = at_i + ((n_o[AtBits-1:0] + offset_i) & mask_i);
  vec_rom u_rom (
      .at_i(entry),
      .c0_o(c0),
      .c1_o(c1),
      .c2_o(c2)
  );
  f32_mul u_curve (
      .en_i,
      .x_i(r),
      .y_i(c2),
      .z_o(curve)
  );
  f32_add u_slope (
      .en_i,
      .x_i(c1),
      .y_i(curve),
      .z_o(slope)
  );
  f32_mul u_rise (
      .en_i,
      .x_i(r),
      .y_i(slope),
      .z_o(rise)
  );
  f32_add u_p (
      .en_i,
      .x_i(c0),
      .y_i(rise),
      .z_o(p_o)
  );
endmodule
