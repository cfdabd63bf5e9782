// The table functions of VEC on float32 (EXP to COS), to the bit as `athena.isa.tables` has them. One chain serves them all:
// special values and the mantissa apart, whole turns off (vec_turn), nearest node and polynomial (vec_node), and the function
// put together again. Nought while `en_i` is low.
module vec_table (
    input  logic        en_i,
    input  logic [7:0]  lut_i,  // LUT_EXP to LUT_COS
    input  logic [31:0] x_i,
    output logic [31:0] y_o
);
  /* verilator no_inline_module */  // one copy of the code for all instances
  localparam logic [31:0] One = 32'h3F80_0000;
  localparam logic [30:0] Infinity = 31'h7F80_0000;
  localparam logic [31:0] Nan = 32'h7FC0_0000;
  localparam int AtBits = athena_pkg::TABLE_AT_BITS;
  localparam int ExpBits = $clog2(athena_pkg::TABLE_EXP_SIZE);

  // What kind of function.
  logic is_exp, is_log, is_recip, is_rsqrt, is_root, odd, gate, gated, wave;
  assign is_exp = lut_i == athena_pkg::LUT_EXP;
  assign is_log = lut_i == athena_pkg::LUT_LOG;
  assign is_recip = lut_i == athena_pkg::LUT_RECIP;
  assign is_rsqrt = lut_i == athena_pkg::LUT_RSQRT;
  assign is_root = is_rsqrt || lut_i == athena_pkg::LUT_SQRT;
  assign odd = lut_i == athena_pkg::LUT_TANH || lut_i == athena_pkg::LUT_ERF;
  assign gated = lut_i == athena_pkg::LUT_GELU || lut_i == athena_pkg::LUT_GELU_TANH || lut_i == athena_pkg::LUT_SILU;
  assign gate = gated || lut_i == athena_pkg::LUT_SIGMOID;
  assign wave = lut_i == athena_pkg::LUT_SIN || lut_i == athena_pkg::LUT_COS;

  // Its grid: nodes in a unit, one step in two parts, entries; from `limit` on odd and gate functions are constant.
  logic [31:0] scale, high, low;
  logic [30:0] limit;
  logic [AtBits-1:0] at, offset, mask;
  always_comb begin
    scale = athena_pkg::TABLE_FINE;
    high = athena_pkg::TABLE_FINE_STEP;
    low = '0;
    limit = athena_pkg::TABLE_GELU_LIMIT[30:0];
    offset = '0;
    mask = '1;
    at = '0;
    case (lut_i)
      athena_pkg::LUT_EXP: begin
        scale = athena_pkg::TABLE_EXP_SCALE;
        high = athena_pkg::TABLE_EXP_HI;
        low = athena_pkg::TABLE_EXP_LO;
        at = athena_pkg::TABLE_EXP_AT;
        mask = AtBits'(athena_pkg::TABLE_EXP_SIZE - 1);
      end
      athena_pkg::LUT_LOG, athena_pkg::LUT_RECIP: begin
        scale = athena_pkg::TABLE_MANTISSA_NODES;
        high = athena_pkg::TABLE_MANTISSA_NODES_STEP;
        at = is_log ? athena_pkg::TABLE_LOG_BASE : athena_pkg::TABLE_RECIP_BASE;
      end
      athena_pkg::LUT_RSQRT, athena_pkg::LUT_SQRT: begin
        scale = athena_pkg::TABLE_ROOT_NODES;
        high = athena_pkg::TABLE_ROOT_NODES_STEP;
        at = is_rsqrt ? athena_pkg::TABLE_RSQRT_BASE : athena_pkg::TABLE_SQRT_BASE;
      end
      athena_pkg::LUT_TANH: begin
        limit = athena_pkg::TABLE_TANH_LIMIT[30:0];
        at = athena_pkg::TABLE_TANH_AT;
      end
      athena_pkg::LUT_ERF: begin
        limit = athena_pkg::TABLE_ERF_LIMIT[30:0];
        at = athena_pkg::TABLE_ERF_AT;
      end
      athena_pkg::LUT_GELU:      at = athena_pkg::TABLE_GELU_AT;
      athena_pkg::LUT_GELU_TANH: at = athena_pkg::TABLE_GELU_TANH_AT;
      athena_pkg::LUT_SIGMOID, athena_pkg::LUT_SILU: begin
        scale = athena_pkg::TABLE_COARSE;
        high = athena_pkg::TABLE_COARSE_STEP;
        limit = athena_pkg::TABLE_SIGMOID_LIMIT[30:0];
        at = athena_pkg::TABLE_SIGMOID_AT;
      end
      default: begin
        scale = athena_pkg::TABLE_STEP_SCALE;
        high = athena_pkg::TABLE_STEP_HI;
        low = athena_pkg::TABLE_STEP_LO;
        at = athena_pkg::TABLE_SIN_AT;
        offset = lut_i == athena_pkg::LUT_COS ? AtBits'(athena_pkg::TABLE_SIN_SIZE / 4) : '0;
        mask = AtBits'(athena_pkg::TABLE_SIN_SIZE - 1);
      end
    endcase
  end

  // Special values. `in_grid`: the argument of an odd or gate function is on its grid.
  logic [30:0] size;
  logic is_nan, is_zero, is_inf, plus, in_grid, special;
  logic [31:0] special_value;
  assign size = x_i[30:0];
  assign is_nan = size > Infinity;
  assign is_inf = size == Infinity;
  assign is_zero = size == '0;
  assign plus = !x_i[31] && !is_zero && !is_nan;
  assign in_grid = size < limit;
  always_comb begin
    special = is_nan;
    special_value = Nan;
    if (!is_nan) begin
      if (is_log || is_root || is_recip) begin
        special = is_zero || is_inf || (x_i[31] && !is_recip);
        if (is_zero && is_log) special_value = {1'b1, Infinity};
        else if (is_zero && is_root && !is_rsqrt) special_value = x_i;
        else if (is_zero) special_value = {x_i[31], Infinity};
        else if (is_recip) special_value = {x_i[31], 31'b0};
        else if (!x_i[31]) special_value = is_rsqrt ? '0 : x_i;
      end else if (odd) begin
        special = !in_grid;
        special_value = {x_i[31], One[30:0]};
      end else if (gated) begin
        special = x_i[31] && !in_grid;
        special_value = 32'h8000_0000;
      end else if (wave) special = size >= athena_pkg::TABLE_SIN_LIMIT[30:0];
    end
  end

  // |x| = m * 2^exponent, m in 1 … 2. LOG halves the larger m, the roots double m where the exponent is odd.
  logic signed [8:0] exponent, log_exponent;
  logic [22:0] fraction;
  logic [31:0] m;
  logic [4:0] zeros;
  logic halves;
  always_comb begin
    fraction = x_i[22:0];
    zeros = '0;
    if (x_i[30:23] == '0) begin
      for (int s = 4; s >= 0; s--) begin
        if (fraction >> (23 - (1 << s)) == '0) begin
          fraction = fraction << (1 << s);
          zeros[s] = 1'b1;
        end
      end
      fraction = fraction << 1;
      exponent = -9'sd127 - 9'(zeros);
    end else exponent = signed'({1'b0, x_i[30:23]}) - 9'sd127;
  end
  assign halves = is_log && fraction >= athena_pkg::TABLE_LOG_HALVE[22:0];
  assign log_exponent = exponent + 9'(halves);
  assign m = {1'b0, halves ? 8'd126 : is_root && exponent[0] ? 8'd128 : 8'd127, fraction};

  logic runs;
  logic [31:0] rest, log_high, log_low, argument, bound, p_node, p;
  logic signed [31:0] node;
  assign runs = en_i && !special;
  assign bound = x_i[31] ? athena_pkg::TABLE_EXP_LOW : athena_pkg::TABLE_EXP_HIGH;

  vec_turn u_turn (
      .en_i(runs && (wave || is_log)),
      .wave_i(wave),
      .x_i,
      .e_i(32'(log_exponent)),
      .y_o(rest),
      .high_o(log_high),
      .low_o(log_low)
  );
  always_comb begin
    if (is_exp) argument = size > bound[30:0] ? bound : x_i;
    else if (is_log || is_recip || is_root) argument = m;
    else if (wave) argument = rest;
    else argument = in_grid ? {1'b0, size} : '0;
  end
  vec_node u_node (
      .en_i(runs),
      .even_i(is_exp || wave),
      .y_i(argument),
      .t_i(wave ? log_low : '0),
      .scale_i(scale),
      .high_i(high),
      .low_i(low),
      .at_i(at),
      .offset_i(offset),
      .mask_i(mask),
      .n_o(node),
      .p_o(p_node)
  );
  assign p = gate && !in_grid ? '0 : p_node;

  // EXP, RECIP, RSQRT, SQRT: p * 2^power.
  logic signed [8:0] power;
  logic [31:0] scaled;
  always_comb begin
    if (is_exp) power = 9'(node >>> ExpBits);
    else if (is_recip) power = -exponent;
    else power = is_rsqrt ? -(exponent >>> 1) : exponent >>> 1;
  end
  f32_scale u_scale (
      .en_i(runs),
      .x_i(p),
      .k_i(power),
      .z_o(scaled)
  );

  // Gates: p or 1 - p, times x. Odd functions: p times |x|. LOG: p times m - 1, and the multiple of log 2.
  logic [31:0] gap, gate_value, product, log_tail, log_value;
  f32_add u_gap (
      .en_i(runs && (is_log || gate)),
      .x_i(is_log ? m : One),
      .y_i(is_log ? {1'b1, One[30:0]} : {~p[31], p[30:0]}),
      .z_o(gap)
  );
  assign gate_value = plus ? gap : p;
  f32_mul u_product (
      .en_i(runs && (is_log || gated || odd)),
      .x_i(is_log ? gap : odd ? {1'b0, size} : x_i),
      .y_i(gated ? gate_value : p),
      .z_o(product)
  );
  f32_add u_log_tail (
      .en_i(runs && is_log),
      .x_i(product),
      .y_i(log_low),
      .z_o(log_tail)
  );
  f32_add u_log (
      .en_i(runs && is_log),
      .x_i(log_high),
      .y_i(log_tail),
      .z_o(log_value)
  );

  always_comb begin
    y_o = '0;
    if (en_i) begin
      if (special) y_o = special_value;
      else if (is_log) y_o = log_value;
      else if (is_recip) y_o = {x_i[31], scaled[30:0]};
      else if (is_exp || is_root) y_o = scaled;
      else if (odd) y_o = {x_i[31], product[30:0] > One[30:0] ? One[30:0] : product[30:0]};
      else if (gated) y_o = product;
      else y_o = gate ? gate_value : p;
    end
  end

  logic unused;
  assign unused = ^scaled[31];
endmodule
