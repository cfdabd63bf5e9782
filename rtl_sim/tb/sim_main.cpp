// Main loop of the batch simulator: `athena_core_sim +dir=FOLDER +count=N` runs jobs 0 … N-1 of the folder one after another.
#include <cstdlib>
#include <memory>

#include "Vtb_core.h"
#include "verilated.h"

namespace {

void clock(Vtb_core& top) {
    top.clk_i = 1;
    top.eval();
    top.clk_i = 0;
    top.eval();
}

void run_job(Vtb_core& top, int job) {
    top.job_i = job;
    top.rst_i = 1;
    top.load_i = 1;
    clock(top);
    top.load_i = 0;
    clock(top);
    top.rst_i = 0;
    top.launch_i = 1;
    clock(top);
    top.launch_i = 0;
    top.eval();
    while (!top.stop_o) clock(top);
    clock(top);  // the trace looks at a word's bytes one cycle after its completion
    top.dump_i = 1;
    clock(top);
    top.dump_i = 0;
}

}  // namespace

int main(int argc, char** argv) {
    const auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(argc, argv);
    const auto top = std::make_unique<Vtb_core>(context.get());
    const char* text = context->commandArgsPlusMatch("count=");
    const int count = text[0] ? std::atoi(text + sizeof("+count=") - 1) : 0;
    top->clk_i = 0;
    top->eval();  // `initial` blocks, before the first edge
    for (int job = 0; job < count; ++job) run_job(*top, job);
    top->final();
    return 0;
}
