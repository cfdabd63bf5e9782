"""Lowered sketches on the RTL: run many in one start of the simulator, and what has to hold."""

from athena.functional.convert import from_storage, to_storage
from compiler.graph.interpret import interpret
from compiler.passes import Precision
from rtl_sim.correlate import correlate
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.run import run_jobs
from tests.compiler.lowering.lab import compare
from tests.end_to_end.lab import lowered


def run_sketches(sketches, chip, int8=()):
    """(job, result) of each sketch with output y, by name; bf16, but those named in `int8`."""
    jobs = []
    for name, sketch in sketches.items():
        precision = Precision.INT8 if name in int8 else Precision.BF16
        program = lowered(sketch.graph("y"), chip, precision).program
        inputs = {
            t.name: to_storage(sketch.inputs[t.name], t.dtype, t.name)
            for t in program.tensors
            if t.role == "input"
        }
        jobs.append(RtlJob(program=program, inputs=inputs))
    return dict(zip(sketches, zip(jobs, run_jobs(jobs, chip), strict=True), strict=True))


def check_sketch(sketch, job, result, chip):
    """Every byte and cycle as in both models, and the output as the graph means it."""
    assert result.outcome is Outcome.DONE, result.fault
    agreement = correlate(RtlJob(program=job.program, inputs=sketch.inputs), chip, result)
    assert agreement.equal, agreement
    assert agreement.cycles_rtl == agreement.cycles_timing
    (y,) = (t for t in job.program.tensors if t.role == "output")
    got = from_storage(result.outputs["y"], y.dtype, y.source_dtype)
    compare({"y": got}, interpret(sketch.graph("y"), sketch.inputs), 2e-2)
