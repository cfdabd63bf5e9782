// The one-operand steps of VEC that are exact: FLOOR to NOT on float32, ABS to NOT on int32; NONE passes.
module vec_exact (
    input  logic               float_i,
    input  logic        [7:0]  lut_i,
    input  logic signed [31:0] x_i,
    output logic        [31:0] z_o
);
  localparam logic [31:0] One = 32'h3F80_0000;

  logic [31:0] mask, below, unit, whole;  // fraction bits of x and what they hold; 1 in the last integer place
  logic up, is_nan;

  assign is_nan = x_i[30:23] == '1 && x_i[22:0] != '0;

  // Towards zero, then one further away from it where the step asks for that.
  always_comb begin
    mask = '0;
    unit = '0;
    whole = x_i;
    up = 1'b0;
    below = '0;
    if (x_i[30:23] < 8'd127) begin
      whole = {x_i[31], 31'b0};
      case (lut_i)
        athena_pkg::LUT_FLOOR: up = x_i[31] && x_i[30:0] != '0;
        athena_pkg::LUT_CEIL:  up = !x_i[31] && x_i[30:0] != '0;
        athena_pkg::LUT_ROUND: up = x_i[30:23] == 8'd126 && x_i[22:0] != '0;
        default:               up = 1'b0;
      endcase
      if (up) whole = {x_i[31], One[30:0]};
    end else if (x_i[30:23] < 8'd150) begin
      unit = 32'd1 << (8'd150 - x_i[30:23]);
      mask = unit - 32'd1;
      below = x_i & mask;
      case (lut_i)
        athena_pkg::LUT_FLOOR: up = x_i[31] && below != '0;
        athena_pkg::LUT_CEIL:  up = !x_i[31] && below != '0;
        athena_pkg::LUT_ROUND: up = below > unit >> 1 || (below == unit >> 1 && odd(x_i, unit));
        default:               up = 1'b0;
      endcase
      whole = (x_i & ~mask) + (up ? unit : '0);
    end
  end

  // Whether the last integer place holds 1; at 1.0 … 1.99 that place is the leading bit, which the exponent's parity stands for.
  function automatic logic odd(input logic [31:0] x, input logic [31:0] place);
    odd = (x & place) != '0;
  endfunction

  always_comb begin
    case (lut_i)
      athena_pkg::LUT_FLOOR, athena_pkg::LUT_CEIL, athena_pkg::LUT_ROUND, athena_pkg::LUT_TRUNC: z_o = whole;
      athena_pkg::LUT_ABS: z_o = float_i ? {1'b0, x_i[30:0]} : x_i < 0 ? -x_i : x_i;
      athena_pkg::LUT_NEG: z_o = float_i ? {~x_i[31], x_i[30:0]} : -x_i;
      athena_pkg::LUT_SIGN:
      if (float_i) z_o = is_nan ? x_i : x_i[30:0] == '0 ? '0 : {x_i[31], One[30:0]};
      else z_o = x_i > 0 ? 32'd1 : x_i < 0 ? '1 : '0;
      athena_pkg::LUT_NOT: z_o = float_i ? (x_i[30:0] == '0 ? One : '0) : 32'(x_i == 0);
      default: z_o = x_i;
    endcase
  end
endmodule
