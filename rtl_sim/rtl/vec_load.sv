// An element as lanes compute with it: float32, or int32 in integer mode.
module vec_load (
    input  logic        float_i,
    input  logic [3:0]  type_i,
    input  logic [31:0] raw_i,    // the element in the low bits
    output logic [31:0] value_o
);
  logic [31:0] whole, from_whole, from_half;

  assign whole = type_i == athena_pkg::DT_I8 ? {{24{raw_i[7]}}, raw_i[7:0]} :
      type_i == athena_pkg::DT_U8 ? {24'b0, raw_i[7:0]} : raw_i;

  i32_to_f32 u_whole (
      .x_i(whole),
      .z_o(from_whole)
  );
  half_to_f32 u_half (
      .x_i(raw_i[15:0]),
      .z_o(from_half)
  );

  always_comb begin
    case (type_i)
      athena_pkg::DT_F32:  value_o = raw_i;
      athena_pkg::DT_BF16: value_o = {raw_i[15:0], 16'b0};
      athena_pkg::DT_F16:  value_o = from_half;
      default:             value_o = float_i ? from_whole : whole;
    endcase
  end
endmodule
