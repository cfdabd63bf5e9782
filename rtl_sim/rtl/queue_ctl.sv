// Controller of one queue: program counter in the FIFO, loop stack, address registers, SETA, runs.
// A word issues when the core says so; the next word is at the head one cycle later (SETA: SETA_CYCLES later).
module queue_ctl (
    input  logic                                                 clk_i,
    input  logic                                                 rst_i,
    input  logic                                                 launch_i,
    input  logic [31:0]                                          runs_i,       // runs of this queue
    output logic [31:0]                                          run_o,        // number of the run that `run_i` is to describe
    input  athena_pkg::run_t                                     run_i,
    input  logic [athena_pkg::SCALARS-1:0][31:0]                 scalars_i,
    output logic                                                 restart_o,    // a run starts in this cycle
    output logic [athena_pkg::PC_BITS-1:0]                       pc_o,
    output logic [athena_pkg::PC_BITS-1:0]                       released_o,
    input  logic                                                 available_i,
    input  athena_pkg::word_t                                    word_i,
    output logic                                                 head_o,       // a word is at the head
    output logic [athena_pkg::AREGS-1:0][athena_pkg::ADDR_BITS-1:0] areg_o,
    input  logic [31:0]                                          count_i,      // LOOP: iterations after the clip
    output logic                                                 bad_loop_o,   // the head is a LOOP that cannot run, or an END inside one
    input  logic                                                 issue_i,
    input  logic                                                 control_i,    // the head runs in this controller
    input  logic [3:0][15:0]                                     signals_i,    // of the head
    output logic                                                 done_o,       // a control word completes in this cycle
    output logic [3:0][15:0]                                     signals_o,    // and sends these
    output logic                                                 busy_o,
    output logic                                                 active_o,     // words are left
    output logic                                                 control_o     // a control word issues or runs
);
  localparam int PcBits = athena_pkg::PC_BITS;
  localparam int AddrBits = athena_pkg::ADDR_BITS;
  localparam int Depth = athena_pkg::LOOP_DEPTH;
  localparam int Steps = 4;  // aregs that one LOOP advances

  // The loop stack, by level.
  logic [Depth-1:0][PcBits-1:0] first, first_next;
  logic [Depth-1:0][PcBits-1:0] stop, stop_next;  // first word behind the body
  logic [Depth-1:0][31:0] left, left_next;
  logic [Depth-1:0][Steps-1:0][3:0] list, list_next;
  logic [Depth-1:0][Steps-1:0][31:0] delta, delta_next;
  logic [Depth-1:0][Steps-1:0][AddrBits-1:0] saved, saved_next;
  logic [$clog2(Depth+1)-1:0] depth, depth_next;
  logic [athena_pkg::AREGS-1:0][AddrBits-1:0] areg, areg_next;
  logic [PcBits-1:0] pc, pc_next, released;
  logic [31:0] run;
  logic [Steps-1:0][3:0] aregs_named;
  logic active, restart, is_loop, is_end, is_seta, looping, enters, going;
  logic seta_busy, seta_done, control_done, seta_keeps, seta_keeps_next;
  logic [AddrBits-1:0] seta_result, seta_delta, seta_delta_next;
  logic [3:0] seta_areg;
  logic [3:0][15:0] signals;

  assign is_loop = word_i.op == athena_pkg::OP_LOOP;
  assign is_end = word_i.op == athena_pkg::OP_END;
  assign is_seta = word_i.op == athena_pkg::OP_SETA;
  assign looping = is_loop && count_i != '0 && word_i.n[1] != '0;
  always_comb begin
    bad_loop_o = looping && (depth == $bits(depth)'(Depth) || word_i.n[1] > 32'(athena_pkg::FIFO_WORDS));
    if (is_end && depth != '0) bad_loop_o = 1'b1;
    for (int level = 0; level < Depth; level++) begin
      if (looping && level < int'(depth) && pc + 1'b1 + word_i.n[1][PcBits-1:0] > stop[level]) bad_loop_o = 1'b1;
    end
  end
  assign aregs_named = word_i.p[4][4*Steps-1:0];
  assign enters = looping && !bad_loop_o;

  assign head_o = active && !restart && !seta_busy && available_i;
  assign run_o = run;
  assign restart_o = restart;
  assign pc_o = pc;
  assign released_o = released;
  assign areg_o = areg;
  assign done_o = control_done || (seta_done_q);
  assign signals_o = done_o ? signals : '0;
  assign busy_o = active || done_o;
  assign active_o = active;
  assign control_o = (issue_i && control_i) || seta_busy;

  // Where the queue goes from the head, and what that does to loops and address registers.
  always_comb begin
    pc_next         = pc + 1'b1 + (is_loop && !enters ? word_i.n[1][PcBits-1:0] : '0);
    {first_next, stop_next, left_next, list_next, delta_next, saved_next} = {first, stop, left, list, delta, saved};
    depth_next      = depth;
    areg_next       = areg;
    seta_keeps_next = 1'b1;
    seta_delta_next = '0;
    going           = !enters;
    for (int level = Depth - 1; level >= 0; level--) begin
      if (going && level < int'(depth) && pc_next == stop[level]) begin
        if (left[level] > 1) begin
          left_next[level] = left[level] - 1'b1;
          pc_next = first[level];
          going = 1'b0;
          for (int i = 0; i < Steps; i++) begin
            if (list[level][i] != '0) begin
              areg_next[list[level][i]] = areg_next[list[level][i]] +
                  {{(AddrBits - 32) {delta[level][i][31]}}, delta[level][i]};
              if (list[level][i] == word_i.p[0][3:0]) begin
                seta_delta_next = seta_delta_next +
                    {{(AddrBits - 32) {delta[level][i][31]}}, delta[level][i]};
              end
            end
          end
        end else begin
          depth_next = $bits(depth)'(level);
          for (int i = 0; i < Steps; i++) begin
            if (list[level][i] != '0) begin
              areg_next[list[level][i]] = saved[level][i];
              if (list[level][i] == word_i.p[0][3:0]) seta_keeps_next = 1'b0;
            end
          end
        end
      end
    end
    if (enters) begin
      depth_next = depth + 1'b1;
      for (int level = 0; level < Depth; level++) begin
        if (level == int'(depth)) begin
          first_next[level] = pc + 1'b1;
          stop_next[level]  = pc + 1'b1 + word_i.n[1][PcBits-1:0];
          left_next[level]  = count_i;
          for (int i = 0; i < Steps; i++) begin
            list_next[level][i]  = aregs_named[i];
            delta_next[level][i] = word_i.p[i];
            saved_next[level][i] = areg[aregs_named[i]];
          end
        end
      end
    end
  end

  seta_unit u_seta (
      .clk_i,
      .rst_i,
      .start_i(issue_i && is_seta),
      .word_i,
      .scalar_i(scalars_i[word_i.p[4][3:0]]),
      .base_i(areg[word_i.n[2][3:0]]),
      .busy_o(seta_busy),
      .done_o(seta_done),
      .result_o(seta_result)
  );

  logic seta_done_q, unused;
  assign unused = ^run_i;

  always_ff @(posedge clk_i) begin
    control_done <= 1'b0;
    seta_done_q  <= seta_done;
    restart      <= 1'b0;
    if (rst_i) begin
      active      <= 1'b0;
      run         <= '0;
      seta_done_q <= 1'b0;
    end else if (launch_i) begin
      active  <= runs_i != '0;
      restart <= runs_i != '0;
      run     <= '0;
    end else if (restart) begin
      pc       <= '0;
      released <= '0;
      depth    <= '0;
      areg     <= run_i.areg;
    end else if (issue_i) begin
      pc    <= pc_next;
      {first, stop, left, list, delta, saved} <= {first_next, stop_next, left_next, list_next, delta_next, saved_next};
      depth <= depth_next;
      areg  <= areg_next;
      if (depth_next == '0) released <= pc_next;
      else if (depth == '0) released <= pc + 1'b1;
      control_done <= control_i && !is_seta;
      if (control_i) signals <= signals_i;
      if (is_seta) begin
        seta_areg  <= word_i.p[0][3:0];
        seta_keeps <= seta_keeps_next;
        seta_delta <= seta_delta_next;
      end
      if (is_end) begin
        active  <= run + 1 != runs_i;
        restart <= run + 1 != runs_i;
        run     <= run + 1;
      end
    end else if (seta_done && seta_keeps) begin
      areg[seta_areg] <= seta_result + seta_delta;
    end
  end
endmodule
