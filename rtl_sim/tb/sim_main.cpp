// Main loop of the batch simulator: `athena_core_sim +dir=FOLDER +count=N` runs jobs 0 … N-1 of the folder one after another.
// A build with coverage takes `+coverage=FILE`: the counts of all jobs together.
// A build with waveforms takes `+wave=FILE +wave_first=CYCLE +wave_last=CYCLE`: cycles of job 0 that are written, one nanosecond
// each. Printed is a line a job: its cycles, and the CPU seconds that they took.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>

#include "Vtb_core.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using WaveFile = VerilatedFstC;
#elif VM_TRACE
#include "verilated_vcd_c.h"
using WaveFile = VerilatedVcdC;
#endif

namespace {

std::string argument(VerilatedContext& context, const std::string& name) {
    const std::string text = context.commandArgsPlusMatch(name.c_str());
    return text.empty() ? text : text.substr(name.size() + 1);
}

#if VM_TRACE
class Wave {
public:
    Wave(VerilatedContext& context, Vtb_core& top)
        : path_(argument(context, "wave=")),
          first_(std::atoll(argument(context, "wave_first=").c_str())),
          last_(std::atoll(argument(context, "wave_last=").c_str())) {
        if (path_.empty()) return;
        top.trace(&file_, 99);
        file_.open(path_.c_str());
    }
    ~Wave() { close(); }
    void dump(std::int64_t cycle, int half) {
        if (file_.isOpen() && cycle >= first_ && cycle <= last_) file_.dump(std::uint64_t(cycle) * 1000 + half * 500);
    }
    void close() {
        if (file_.isOpen()) file_.close();
    }

private:
    std::string path_;
    std::int64_t first_, last_;
    WaveFile file_;
};
#else
class Wave {
public:
    Wave(VerilatedContext&, Vtb_core&) {}
    void dump(std::int64_t, int) {}
    void close() {}
};
#endif

// One clock, whose rising edge begins `cycle`: the one that launches begins cycle 0.
void clock(Vtb_core& top, Wave& wave, std::int64_t cycle) {
    top.clk_i = 1;
    top.eval();
    wave.dump(cycle, 0);
    top.clk_i = 0;
    top.eval();
    wave.dump(cycle, 1);
}

void run_job(Vtb_core& top, Wave& wave, int job) {
    top.job_i = job;
    top.rst_i = 1;
    clock(top, wave, -3);  // drops what a job that halted left in flight, before memories are filled
    top.load_i = 1;
    clock(top, wave, -2);
    top.load_i = 0;
    clock(top, wave, -1);
    top.rst_i = 0;
    top.launch_i = 1;
    std::int64_t cycle = 0;
    clock(top, wave, cycle);
    top.launch_i = 0;
    top.eval();
    const std::clock_t start = std::clock();
    while (!top.stop_o) clock(top, wave, ++cycle);
    const double spent_s = double(std::clock() - start) / CLOCKS_PER_SEC;
    std::printf("job %d %lld %.6f\n", job, static_cast<long long>(cycle), spent_s);
    clock(top, wave, ++cycle);  // the trace looks at a word's bytes one cycle after its completion
    wave.close();
    top.dump_i = 1;
    clock(top, wave, ++cycle);
    top.dump_i = 0;
}

}  // namespace

int main(int argc, char** argv) {
    const auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(argc, argv);
#if VM_TRACE
    context->traceEverOn(true);
#endif
    const auto top = std::make_unique<Vtb_core>(context.get());
    Wave wave(*context, *top);
    const int count = std::atoi(argument(*context, "count=").c_str());
    top->clk_i = 0;
    top->rst_i = 1;
    top->load_i = 0;
    top->launch_i = 0;
    top->dump_i = 0;
    top->job_i = 0;
    top->eval();  // `initial` blocks, before the first edge
    for (int job = 0; job < count; ++job) run_job(*top, wave, job);
    top->final();
#if VM_COVERAGE
    context->coveragep()->write(argument(*context, "coverage=").c_str());
#endif
    return 0;
}
