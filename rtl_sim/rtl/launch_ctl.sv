// Start and end of a launch. Before one, and at a stop, the bus is drained and the core reset: no answer of an old launch meets a
// new one. Interrupts: a launch is done or at fault.
module launch_ctl (
    input  logic clk_i,
    input  logic rst_i,
    input  logic start_i,        // ignored while a launch runs or is prepared
    input  logic stop_i,
    input  logic bus_idle_i,
    input  logic core_done_i,
    input  logic core_fault_i,
    output logic accept_o,       // the bus may take requests of the core
    output logic core_rst_o,     // in this cycle the run tables read descriptor 0
    output logic load_o,         // in this cycle it has come
    output logic launch_o,
    output logic running_o,      // from the start to the end, or until a stop is done
    output logic done_o,
    output logic fault_o,
    output logic ended_o         // `done_o` or `fault_o` rises in the next cycle
);
  localparam logic [2:0] Idle = 3'd0, Drain = 3'd1, Reset = 3'd2, Load = 3'd3, Launch = 3'd4, Run = 3'd5;

  logic [2:0] state;
  logic again;  // launch after the reset

  assign accept_o = state == Idle || state == Launch || state == Run;
  assign core_rst_o = state == Reset;
  assign load_o = state == Load;
  assign launch_o = state == Launch;
  assign running_o = state != Idle;
  assign ended_o = state == Run && !stop_i && (core_done_i || core_fault_i);

  always_ff @(posedge clk_i) begin
    if (rst_i) begin
      state   <= Reset;
      again   <= 1'b0;
      done_o  <= 1'b0;
      fault_o <= 1'b0;
    end else if (stop_i || (start_i && state == Idle)) begin
      state   <= Drain;
      again   <= start_i && state == Idle;
      done_o  <= 1'b0;
      fault_o <= 1'b0;
    end else begin
      case (state)
        Drain:   if (bus_idle_i) state <= Reset;
        Reset:   state <= Load;
        Load:    state <= again ? Launch : Idle;
        Launch:  state <= Run;
        Run: begin
          if (ended_o) state <= Idle;
          done_o  <= core_done_i && !core_fault_i;
          fault_o <= core_fault_i;
        end
        default: state <= state;
      endcase
    end
  end
endmodule
