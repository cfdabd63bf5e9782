"""Assertions and comparison see faults: the RTL is broken in one place, and the run says which rule
that breaks.
"""

import dataclasses

import pytest

from athena.errors import InternalError
from athena.isa.builder import StreamBuilder
from athena.isa.fields import CORE_QUEUES, SEGMENTS, Seg
from athena.isa.program import Program, QueueRun, Section
from rtl_sim.generate import random_job
from rtl_sim.job import RtlJob
from rtl_sim.run import run_jobs
from rtl_sim.shrink import verdicts


def deep_loops():
    """Four loops, one in the other: one more than the stack holds."""
    builders = [StreamBuilder() for _ in CORE_QUEUES]
    with builders[0].loop(2), builders[0].loop(2), builders[0].loop(2), builders[0].loop(2):
        builders[0].sync()
    for builder in builders:
        builder.end()
    runs = tuple(QueueRun(kind=queue, stream=i) for i, queue in enumerate(CORE_QUEUES))
    program = Program(
        name="deep", chip="athena-edge-ci", chip_hash="", precision="int8",
        streams=tuple(builder.stream() for builder in builders),
        sections=(Section(name="all", runs=runs),),
        segment_bytes=tuple(64 if s == Seg.ACT else 0 for s in range(SEGMENTS)),
    )  # fmt: skip
    return RtlJob(program=program)


MUTATIONS = {  # what is broken, and the rule that says so
    "a prefetch too many": ("fetch.sv", "asked < released_i", "asked <= released_i", "no_overflow"),
    "a word before it is there": (
        "fetch.sv",
        "available_o = arrived > pc_i",
        "available_o = arrived >= pc_i",
        "no_underflow",
    ),
    "a wait that takes nothing": (
        "semaphores.sv",
        "value[s] <= 8'(Wide'(value[s]) - minus[s]",
        "value[s] <= 8'(Wide'(value[s])",
        "sum_is_kept",
    ),
    "a slot that is taken": (
        "inflight.sv",
        "free_o = !valid[tail] || retire_o[tail]",
        "free_o = 1'b1 || retire_o[tail]",
        "no_overrun",
    ),
    "a port with two owners": (
        "core.sv",
        "(ports[q] & held_others[q]) == '0",
        "(ports[q] & held_others[q] & '0) == '0",
        "one_owner",
    ),
    "a beat that does not wait": (
        "walker.sv",
        "else if (busy && take_i)",
        "else if (busy)",
        "beat",
    ),
    "a loop too deep": (
        "queue_ctl.sv",
        "depth == $bits(depth)'(Depth) || ",
        "",
        "depth_in_stack",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_rule_ends_the_run_and_is_named(rtl_tools, mutated, ci_chip, name):
    file, old, new, rule = MUTATIONS[name]
    jobs = [random_job(seed, ci_chip) for seed in range(10)] + [deep_loops()]
    jobs += [dataclasses.replace(job, stress_seed=7) for job in jobs[:5]]
    with mutated(file, old, new), pytest.raises(InternalError, match=rule) as error:
        run_jobs(jobs, ci_chip, cycle_limit=20_000)
    assert "Assertion failed" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "column"),
    [
        ("f32_pkg.sv", "(sum[1:0] != '0 || sum[3])", "1'b1", "crc32"),  # ties away from nought
        ("semaphores.sv", "SIGNAL_CYCLES - 1;", "SIGNAL_CYCLES;", "issue"),  # a cycle later
    ],
)
def test_a_fault_is_seen_by_the_comparison(rtl_tools, mutated, ci_chip, file, old, new, column):
    with mutated(file, old, new):
        texts = verdicts([random_job(seed, ci_chip) for seed in range(20)], ci_chip)
    assert any(column in text for text in texts)
