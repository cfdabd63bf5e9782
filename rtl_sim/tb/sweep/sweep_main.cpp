// Main loop of `table_sweep`: the clock until it is done.
#include <memory>

#include "Vtable_sweep.h"
#include "verilated.h"

int main(int argc, char** argv) {
    const auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(argc, argv);
    const auto top = std::make_unique<Vtable_sweep>(context.get());
    top->clk_i = 0;
    top->eval();  // `initial` blocks, before the first edge
    while (!top->done_o) {
        top->clk_i = !top->clk_i;
        top->eval();
    }
    top->final();
    return 0;
}
