// The head of one queue: waits, counts after their clips, addresses, bank ports, and whether the queue has such a word at all.
module decode #(
    parameter logic [2:0] Queue = athena_pkg::QUEUE_LOAD
) (
    input  athena_pkg::word_t                                              word_i,
    input  logic [athena_pkg::AREGS-1:0][athena_pkg::ADDR_BITS-1:0]        areg_i,
    input  logic [athena_pkg::HBM_SEGMENTS-1:0][athena_pkg::ADDR_BITS-1:0] seg_i,
    input  logic [athena_pkg::SCALARS-1:0][31:0]                           scalars_i,
    input  logic [athena_pkg::ADDR_BITS-1:0]                               memory_bytes_i,
    output logic                                                           control_o,
    output logic                                                           legal_o,
    output logic                                                           bad_range_o,
    output logic                                                           empty_o,      // nothing to do
    output logic                                                           alone_o,      // shares no port with words of its queue
    output logic [31:0]                                                    loop_count_o,
    output logic [3:0][15:0]                                               waits_o,
    output logic [3:0][15:0]                                               signals_o,  // kind SELF, or ALL_CORES: by the NoC
    output athena_pkg::ports_t                                             ports_o,
    output athena_pkg::uop_t                                               uop_o
);
  localparam logic Dma = Queue == athena_pkg::QUEUE_LOAD || Queue == athena_pkg::QUEUE_STORE;
  localparam int CountBits = athena_pkg::COUNT_BITS;
  localparam int AddrBits = athena_pkg::ADDR_BITS;
  localparam int Operands = 5;
  localparam int BoundBits = athena_pkg::BOUND_BITS;

  logic [2:0][31:0] count;
  logic [2:0][CountBits-1:0] n;
  logic signed [AddrBits+1:0] room;
  logic too_big, is_copyx, is_copy, is_fill, is_matmul, is_vec, is_perm, is_gather, is_vmxq, on_vector, unit, work, bias;
  logic by_element, turns;
  logic fields_legal, places_legal, bad_banks;
  logic [7:0] kind_b, kind_c;

  // By operand: a b c d e.
  logic [Operands-1:0][athena_pkg::OPERAND_BITS-1:0] operand;
  logic [Operands-1:0] used, in_l1, in_acc, in_memory, bad;
  logic [Operands-1:0][CountBits-1:0] rows;
  logic [Operands-1:0][CountBits+1:0] row_bytes;
  logic [Operands-1:0][31:0] block_stride;
  logic [Operands-1:0][1:0] align;
  logic [Operands-1:0][AddrBits-1:0] addr;
  logic [Operands-1:0][athena_pkg::L1_BANKS-1:0] l1_banks;
  logic [Operands-1:0][athena_pkg::ACC_REGIONS-1:0] acc_banks;

  function automatic logic [CountBits+1:0] bytes(input logic [CountBits-1:0] elements, input logic [3:0] dt);
    bytes = (CountBits + 2)'(elements) << athena_pkg::size_shift(dt);
  endfunction

  function automatic logic byte_type(input logic [3:0] dt);
    byte_type = dt == athena_pkg::DT_I8 || dt == athena_pkg::DT_U8;
  endfunction

  function automatic logic vec_type(input logic [3:0] dt, input logic integer_mode);
    vec_type = byte_type(dt) || dt == athena_pkg::DT_I32 ||
        (!integer_mode && dt != athena_pkg::DT_NONE && dt <= athena_pkg::DT_I32);
  endfunction

  // A zero point must be a value of its type, else the difference does not fit the array's feed.
  function automatic logic zero_fits(input logic signed [31:0] zero, input logic [3:0] dt);
    if (dt == athena_pkg::DT_U8) zero_fits = zero >= 0 && zero <= 255;
    else zero_fits = zero >= -128 && zero <= 127;
  endfunction

  always_comb begin
    too_big = 1'b0;
    for (int i = 0; i < 3; i++) begin
      room = (AddrBits + 2)'(signed'(word_i.lim[i])) +
          (AddrBits + 2)'(signed'(scalars_i[word_i.clip[i+1][7:4]])) -
          (AddrBits + 2)'(signed'(areg_i[word_i.clip[i+1][3:0]]));
      count[i] = word_i.n[i];
      if (word_i.clip[0][i]) begin
        if (room < 0) count[i] = '0;
        else if (room < signed'((AddrBits + 2)'(word_i.n[i]))) count[i] = room[31:0];
      end
      n[i] = count[i][CountBits-1:0];
      if (count[i][31:CountBits] != '0) too_big = 1'b1;
    end
  end
  assign loop_count_o = count[0];

  assign control_o = word_i.op == athena_pkg::OP_END || word_i.op == athena_pkg::OP_SYNC ||
      word_i.op == athena_pkg::OP_LOOP || word_i.op == athena_pkg::OP_SETA;
  assign is_copy = Dma && word_i.op == athena_pkg::OP_COPY;
  assign is_copyx = Dma && word_i.op == athena_pkg::OP_COPYX;
  assign is_fill = Queue == athena_pkg::QUEUE_LOAD && word_i.op == athena_pkg::OP_FILL;
  assign is_matmul = Queue == athena_pkg::QUEUE_MATRIX && word_i.op == athena_pkg::OP_MATMUL;
  assign is_vec = Queue == athena_pkg::QUEUE_VECTOR && word_i.op == athena_pkg::OP_VEC;
  assign is_perm = Queue == athena_pkg::QUEUE_VECTOR && word_i.op == athena_pkg::OP_VPERM;
  assign is_gather = Queue == athena_pkg::QUEUE_VECTOR && word_i.op == athena_pkg::OP_VGATHER;
  assign is_vmxq = Queue == athena_pkg::QUEUE_VECTOR && word_i.op == athena_pkg::OP_VMXQ;
  assign by_element = word_i.mode == athena_pkg::GATHERMODE_ELEMENTS;
  assign turns = word_i.mode == athena_pkg::PERM_ROTATE_HALF || word_i.mode == athena_pkg::PERM_ROTATE_PAIRS;
  assign on_vector = is_vec || is_perm || is_gather || is_vmxq;
  assign unit = is_copy || is_copyx || is_fill || is_matmul || on_vector;

  assign empty_o = is_matmul || on_vector ? n[0] == '0 || n[1] == '0 :
      n[1] == '0 || n[2] == '0 || (is_copy && n[0] == '0);
  assign work = unit && !empty_o;
  assign alone_o = is_fill;
  assign bias = (word_i.mode & 8'(athena_pkg::MODE_ACC_MASK)) == 8'(athena_pkg::ACC_BIAS);
  assign kind_b = word_i.p[1][7:0];
  assign kind_c = word_i.p[1][15:8];
  assign operand = {word_i.e, word_i.d, word_i.c, word_i.b, word_i.a};

  function automatic logic [CountBits-1:0] side_rows(input logic [7:0] kind, input logic [CountBits-1:0] all);
    side_rows = kind == athena_pkg::KIND_FULL || kind == athena_pkg::KIND_COL ? all : CountBits'(1);
  endfunction

  function automatic logic [CountBits-1:0] side_cols(input logic [7:0] kind, input logic [CountBits-1:0] all);
    side_cols = kind == athena_pkg::KIND_FULL || kind == athena_pkg::KIND_ROW ? all : CountBits'(1);
  endfunction

  // Which bytes each operand covers.
  always_comb begin
    used = '0;
    rows = '0;
    row_bytes = '0;
    block_stride = '0;
    align = '0;
    if (is_copyx) align[1] = '1;
    if (is_matmul || on_vector) begin
      for (int i = 0; i < 4; i++) align[i] = 2'((3'd1 << athena_pkg::size_shift(word_i.dt[i])) - 3'd1);
      align[4] = '1;
    end
    if (is_copyx) begin  // the rows of the table are checked one by one
      used[0] = work && Queue == athena_pkg::QUEUE_STORE;
      used[1] = work;
      used[3] = work && Queue == athena_pkg::QUEUE_LOAD;
      rows[0] = n[1];
      rows[1] = CountBits'(1);
      rows[3] = n[1];
      row_bytes[0] = {2'b0, n[2]};
      row_bytes[1] = {n[1], 2'b0};
      row_bytes[3] = {2'b0, n[2]};
    end else if (is_copy || is_fill) begin
      used[0] = work && is_copy;
      used[3] = work;
      rows[0] = n[1];
      rows[3] = n[1];
      row_bytes[0] = {2'b0, n[2]};
      row_bytes[3] = {2'b0, n[2]};
      block_stride[0] = is_copy ? word_i.p[0] : '0;
      block_stride[3] = is_copy ? word_i.p[1] : '0;
    end else if (is_matmul) begin
      used[0] = work && n[2] != '0;
      used[1] = work && n[2] != '0;
      used[2] = work && bias;
      used[3] = work;
      rows[0] = n[0];
      row_bytes[0] = bytes(n[2], word_i.dt[0]);
      rows[1] = |(word_i.mode & 8'(athena_pkg::MODE_B_TRANS)) ? n[1] : n[2];
      row_bytes[1] = bytes(|(word_i.mode & 8'(athena_pkg::MODE_B_TRANS)) ? n[2] : n[1], word_i.dt[1]);
      rows[2] = CountBits'(1);
      row_bytes[2] = bytes(n[1], athena_pkg::DT_I32);
      rows[3] = n[0];
      row_bytes[3] = bytes(n[1], athena_pkg::DT_I32);
    end else if (is_vec) begin
      used[0] = work;
      used[1] = work && athena_pkg::in_place(kind_b);
      used[2] = work && athena_pkg::in_place(kind_c);
      used[3] = work && word_i.dt[3] != athena_pkg::DT_NONE;
      rows[0] = n[0];
      row_bytes[0] = bytes(n[1], word_i.dt[0]);
      rows[1] = side_rows(kind_b, n[0]);
      row_bytes[1] = bytes(side_cols(kind_b, n[1]), word_i.dt[1]);
      rows[2] = side_rows(kind_c, n[0]);
      row_bytes[2] = bytes(side_cols(kind_c, n[1]), word_i.dt[2]);
      rows[3] = n[0];
      row_bytes[3] = bytes(n[1], word_i.dt[3]);
      used[4] = work && word_i.p[0][31:24] != athena_pkg::RED_NONE;
      rows[4] = n[0];
      row_bytes[4] = (CountBits + 2)'(4);
    end else if (is_perm) begin
      used[0] = work;
      used[3] = work;
      rows[0] = n[0];
      row_bytes[0] = bytes(n[1], word_i.dt[0]);
      rows[3] = word_i.mode == athena_pkg::PERM_TRANSPOSE ? n[1] : n[0];
      row_bytes[3] = bytes(word_i.mode == athena_pkg::PERM_TRANSPOSE ? n[0] : n[1], word_i.dt[3]);
    end else if (is_gather) begin  // the table is taken whole
      used[0] = work && n[2] != '0;
      used[1] = work;
      used[3] = work;
      rows[0] = by_element ? n[0] : n[2];
      row_bytes[0] = bytes(by_element ? n[2] : n[1], word_i.dt[0]);
      rows[1] = by_element ? n[0] : CountBits'(1);
      row_bytes[1] = bytes(by_element ? n[1] : n[0], word_i.dt[1]);
      rows[3] = n[0];
      row_bytes[3] = bytes(n[1], word_i.dt[3]);
    end else if (is_vmxq) begin
      used[0] = work;
      used[4:3] = {2{work}};
      rows[0] = n[0];
      row_bytes[0] = bytes(n[1], word_i.dt[0]);
      rows[3] = n[0];
      row_bytes[3] = bytes(n[1], athena_pkg::DT_I8);
      rows[4] = n[0];
      row_bytes[4] = (CountBits + 2)'(4);
    end
  end

  for (genvar i = 0; i < Operands; i++) begin : g_operand
    address u_address (
        .operand_i(operand[i]),
        .areg_i,
        .seg_i,
        .memory_bytes_i,
        .used_i(used[i]),
        .blocks_i(is_copy ? n[0] : CountBits'(1)),
        .block_stride_i(block_stride[i]),
        .rows_i(rows[i]),
        .row_bytes_i(row_bytes[i]),
        .align_i(align[i]),
        .addr_o(addr[i]),
        .l1_o(in_l1[i]),
        .acc_o(in_acc[i]),
        .memory_o(in_memory[i]),
        .bad_o(bad[i]),
        .l1_banks_o(l1_banks[i]),
        .acc_banks_o(acc_banks[i])
    );
  end
  assign bad_range_o = unit && ((work && (|bad || bad_banks)) || too_big);
  // The array reads A, B and bias in one cycle.
  assign bad_banks = is_matmul && ((l1_banks[0] & l1_banks[1]) | (l1_banks[0] & l1_banks[2]) | (l1_banks[1] & l1_banks[2])) != '0;
  assign uop_o.word = word_i;
  assign uop_o.n = n;
  assign uop_o.addr = addr;

  // VEC's mask: lo and hi of row 0, each with an areg and a launch scalar.
  logic [1:0][BoundBits-1:0] mask;
  for (genvar i = 0; i < 2; i++) begin : g_mask
    logic [7:0] selector;
    assign selector = word_i.p[4][16+8*i+:8];
    assign mask[i] = BoundBits'(signed'(word_i.p[2+i])) + BoundBits'(signed'(areg_i[selector[3:0]])) +
        BoundBits'(signed'(scalars_i[selector[7:4]]));
  end
  assign uop_o.mask = mask;

  // VEC's operands that share a bank take turns.
  logic [Operands-1:0][athena_pkg::L1_BANKS+athena_pkg::ACC_REGIONS-1:0] all_banks;
  for (genvar i = 0; i < Operands; i++) begin : g_banks
    assign all_banks[i] = {acc_banks[i], l1_banks[i]};
  end
  vec_passes #(
      .Banks(athena_pkg::L1_BANKS + athena_pkg::ACC_REGIONS)
  ) u_passes (
      .keep_i(|(word_i.mode & 8'(athena_pkg::MODE_VEC_RED_KEEP))),
      .banks_i(all_banks),
      .passes_o(uop_o.passes)
  );

  always_comb begin
    ports_o = '0;
    if (is_copy || is_copyx || is_fill || on_vector) begin
      ports_o.l1_rd = l1_banks[0] | l1_banks[1] | l1_banks[2];
      ports_o.acc_rd = acc_banks[0] | acc_banks[1] | acc_banks[2];
    end else if (is_matmul) begin
      ports_o.l1_rd = l1_banks[0] | l1_banks[1] | l1_banks[2];
      ports_o.acc_rd = acc_banks[3];
    end
    if (is_vmxq || (is_vec && |(word_i.mode & 8'(athena_pkg::MODE_VEC_RED_KEEP)))) ports_o.l1_rd = ports_o.l1_rd | l1_banks[4];
    ports_o.l1_wr = l1_banks[3] | l1_banks[4];
    ports_o.acc_wr = acc_banks[3];
  end

  // Waits and signals: the two of the header, and of SYNC two more in p.
  logic [3:0][15:0] signal;
  logic waits_legal, signals_legal;
  always_comb begin
    waits_o = '0;
    waits_o[1:0] = word_i.waits;
    signal = '0;
    signal[1:0] = word_i.sig;
    if (word_i.op == athena_pkg::OP_SYNC) begin
      waits_o[3:2] = {word_i.p[1][15:0], word_i.p[0][15:0]};
      signal[3:2] = {word_i.p[3][15:0], word_i.p[2][15:0]};
    end
    waits_legal = 1'b1;
    signals_legal = 1'b1;
    for (int i = 0; i < 4; i++) begin
      if (int'(waits_o[i][7:0]) >= athena_pkg::SEMS) begin
        if (waits_o[i][15:8] != '0) waits_legal = 1'b0;
        waits_o[i] = '0;  // a wait on nothing holds, so that the word gets as far as its fault
      end
      if (!signal_legal[i]) signals_legal = 1'b0;
    end
  end

  // On a chip of one core every target that is a core is this one; sets that lack it get nothing.
  logic [3:0] signal_legal;
  for (genvar i = 0; i < 4; i++) begin : g_signal
    logic [15:0] code;
    logic reaches, in_mask;
    logic [AddrBits-1:0] mask_areg;
    assign code = signal[i];
    assign mask_areg = areg_i[code[8:5]];
    assign in_mask = code[15:13] == athena_pkg::SIG_CORES_OF_CLUSTER ? code[5] : mask_areg[0];
    always_comb begin
      reaches = 1'b0;
      signal_legal[i] = 1'b1;
      case (code[15:13])
        athena_pkg::SIG_NONE, athena_pkg::SIG_SELF: ;
        athena_pkg::SIG_ALL_CORES: reaches = 1'b1;
        athena_pkg::SIG_CORES_OF_CLUSTER: reaches = in_mask;
        athena_pkg::SIG_CORES_MASK: begin
          reaches = in_mask;
          signal_legal[i] = code[12:9] == '0;
        end
        default: signal_legal[i] = 1'b0;
      endcase
    end
    assign signals_o[i] = {code[15:13] == athena_pkg::SIG_SELF ? athena_pkg::SIG_SELF :
                           reaches ? athena_pkg::SIG_ALL_CORES : athena_pkg::SIG_NONE, code[12:0]};
    logic unused;
    assign unused = ^mask_areg;
  end

  // Steps of VEC: no SELECT first, few on integers; a step with two operands has its second one.
  logic steps_legal;
  always_comb begin
    steps_legal = word_i.p[0][7:0] <= athena_pkg::ALU_ABSDIFF && word_i.p[0][7:0] != athena_pkg::ALU_SELECT &&
        word_i.p[0][23:16] <= athena_pkg::ALU_ABSDIFF && word_i.p[0][31:24] <= athena_pkg::RED_ABSMAX &&
        (word_i.p[0][15:8] == athena_pkg::LUT_NONE ||
         (word_i.p[0][15:8] >= (word_i.mode[0] ? athena_pkg::LUT_ABS : athena_pkg::LUT_EXP) && word_i.p[0][15:8] <= athena_pkg::LUT_NOT));
    if (kind_b == athena_pkg::KIND_NONE && (word_i.p[0][7:0] != athena_pkg::ALU_PASS ||
        word_i.p[0][23:16] == athena_pkg::ALU_SELECT)) steps_legal = 1'b0;
    if (kind_c == athena_pkg::KIND_NONE && word_i.p[0][23:16] != athena_pkg::ALU_PASS) steps_legal = 1'b0;
  end

  // What the RTL has of each word; the rest is illegal.
  always_comb begin
    fields_legal = 1'b1;
    places_legal = 1'b1;
    if (is_copy || is_copyx) begin
      places_legal = (!is_copyx || in_l1[1]) &&
          (Queue == athena_pkg::QUEUE_LOAD ? in_memory[0] && in_l1[3] : in_l1[0] && in_memory[3]);
    end else if (is_fill) begin
      places_legal = in_l1[3];
      fields_legal = n[2][1:0] == '0 || word_i.p[0] == {4{word_i.p[0][7:0]}};
    end else if (is_matmul) begin
      places_legal = in_l1[0] && in_l1[1] && in_acc[3] && (!bias || in_l1[2]);
      fields_legal = word_i.dt[0] == athena_pkg::DT_BF16 && word_i.dt[1] == athena_pkg::DT_BF16 ?
          word_i.dt[3] == athena_pkg::DT_F32 && (!bias || word_i.dt[2] == athena_pkg::DT_F32) :
          byte_type(word_i.dt[0]) && byte_type(word_i.dt[1]) &&
          word_i.dt[3] == athena_pkg::DT_I32 && (!bias || word_i.dt[2] == athena_pkg::DT_I32) &&
          zero_fits(word_i.p[0], word_i.dt[0]) && zero_fits(word_i.p[1], word_i.dt[1]);
      if ((word_i.mode & 8'(athena_pkg::MODE_ACC_MASK)) == 8'(athena_pkg::MODE_ACC_MASK)) fields_legal = 1'b0;
    end else if (is_vec) begin
      places_legal = &(~used[3:0] | in_l1[3:0] | in_acc[3:0]) && (!used[4] || in_l1[4]);
      fields_legal = vec_type(word_i.dt[0], word_i.mode[0]) && word_i.dt[3] <= athena_pkg::DT_I32 &&
          (!athena_pkg::in_place(kind_b) || vec_type(word_i.dt[1], word_i.mode[0])) &&
          (!athena_pkg::in_place(kind_c) || vec_type(word_i.dt[2], word_i.mode[0])) &&
          kind_b <= athena_pkg::KIND_IMM && kind_c <= athena_pkg::KIND_IMM && steps_legal;
    end else if (is_perm) begin
      places_legal = (in_l1[0] || in_acc[0]) && in_l1[3] && !(turns && n[1][0]);
      fields_legal = vec_type(word_i.dt[0], 1'b0) && word_i.dt[3] == word_i.dt[0] && word_i.mode <= athena_pkg::PERM_COPY &&
          !(turns && (byte_type(word_i.dt[0]) || word_i.dt[0] == athena_pkg::DT_I32));
    end else if (is_gather) begin
      places_legal = in_l1[0] && in_l1[1] && in_l1[3];
      fields_legal = vec_type(word_i.dt[0], 1'b0) && word_i.dt[3] == word_i.dt[0] && word_i.dt[1] == athena_pkg::DT_I32 &&
          word_i.mode <= athena_pkg::GATHERMODE_ELEMENTS;
    end else if (is_vmxq) begin
      places_legal = (in_l1[0] || in_acc[0]) && in_l1[3] && in_l1[4];
      fields_legal = vec_type(word_i.dt[0], 1'b0) && !byte_type(word_i.dt[0]) && word_i.dt[3] == athena_pkg::DT_I8 &&
          word_i.mode == athena_pkg::QUANTMODE_ROW_INT8;
    end else if (word_i.op == athena_pkg::OP_SETA) begin
      fields_legal = word_i.n[0] != '0 && word_i.p[0][31:4] == '0 && word_i.p[0][3:0] != '0 &&
          word_i.p[4][31:4] == '0 && word_i.n[2][31:4] == '0;
    end
  end
  logic unused;
  assign unused = ^{in_memory, in_acc, acc_banks};
  assign legal_o = (control_o || unit) && fields_legal && waits_legal && signals_legal &&
      (empty_o || control_o || places_legal);
endmodule
