"""Memory with banks, rows and refresh: its own times, the core's bytes on it, and the cycles of the
timing engine beside its own.
"""

from dataclasses import replace

import pytest

from athena.chip.load import load_chip
from athena.errors import ChipError
from athena.isa.builder import StreamBuilder, Wait, hbm, l1, self_sem
from athena.isa.fields import CORE_QUEUES, OP, SEGMENTS, Op, Queue, Seg, decode
from athena.isa.program import Program, QueueRun, Section
from athena.timing import simulate
from rtl_sim.correlate import compare_bytes, compare_cycles
from rtl_sim.generate import random_job
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.memory import Setting, settings
from rtl_sim.memory_programs import memory_jobs
from rtl_sim.run import run_jobs

RANDOM = 40
GATHER_LIMIT = 3.0  # percent of the RTL's cycles; timing does not know the rows that COPYX takes
# Memories unlike the preset's: an atom in a twelfth of a cycle, in half a one and in 31, odd
# latencies and numbers of banks, small rows, turns that take nothing and turns longer than a row
# miss, refreshes that nearly touch.
MEMORIES = (
    {"bandwidth_gbytes_per_s": 64.0, "latency_cycles": 2},
    {"bandwidth_gbytes_per_s": 400.0, "latency_cycles": 2},
    {"turnaround_ns": 0.0, "row_miss_ns": 1.0, "bandwidth_gbytes_per_s": 3.7},
    {"bandwidth_gbytes_per_s": 1.0, "latency_cycles": 7},
    {"banks_per_channel": 5, "row_bytes": 512, "row_miss_ns": 61.0},
    {"turnaround_ns": 50.0, "latency_cycles": 200, "banks_per_channel": 2},
    {"refresh_interval_ns": 600.0, "row_bytes": 256, "bandwidth_gbytes_per_s": 9.7},
)


def _loads_in_turn(places):
    """Loads of 64 bytes, each when the one before has come."""
    streams = []
    for queue in CORE_QUEUES:
        builder = StreamBuilder()
        if queue is Queue.LOAD:
            for number, place in enumerate(places):
                waits = [Wait(0)] if number else []
                builder.load(
                    hbm(Seg.ACT, place), l1(0), rows=1, row_bytes=64, waits=waits,
                    signals=[self_sem(0)],
                )  # fmt: skip
        builder.end()
        streams.append(builder.stream())
    runs = tuple(QueueRun(kind=queue, stream=i) for i, queue in enumerate(CORE_QUEUES))
    sizes = tuple(1 << 20 if s == Seg.ACT else 0 for s in range(SEGMENTS))
    program = Program(
        name="turns", chip="athena-edge-lpddr5-ci", chip_hash="", precision="bf16",
        streams=tuple(streams), sections=(Section(name="all", runs=runs),), segment_bytes=sizes,
    )  # fmt: skip
    return RtlJob(program=program)


@pytest.fixture(scope="module")
def chip():
    return load_chip("athena-edge-lpddr5-ci")


@pytest.fixture(scope="module")
def results(rtl_tools, chip):
    """Jobs and what the RTL did, all in one start of the simulator."""
    calm = chip.hbm.model_copy(update={"refresh_ns": 0.0})
    jobs = memory_jobs(chip)
    jobs["calm stream"] = replace(jobs["stream of 4 KiB"], hbm=calm)
    same_bank = 31 * chip.hbm.row_bytes  # page 31 is in row 1, bank (31 + 1) % 16 = 0
    jobs["turns"] = replace(_loads_in_turn((0, 64, same_bank, 4096)), hbm=calm)
    jobs |= {f"random {seed}": random_job(seed, chip) for seed in range(RANDOM)}
    for number, changes in enumerate(MEMORIES):
        other = chip.hbm.model_copy(update=changes)
        jobs |= {
            f"memory {number}: {name}": replace(jobs[name], hbm=other)
            for name in ("rows both ways", "pass on a quarter", "rows of 16 B", "random 2")
        }
    done = run_jobs(list(jobs.values()), chip)
    return {name: (jobs[name], result) for name, result in zip(jobs, done, strict=True)}


def _gathers(job):
    """Whether a word takes rows of main memory by number."""
    words = [decode(stream.words) for stream in job.program.streams]
    return any(bool((columns[:, OP] == Op.COPYX).any()) for columns in words)


def test_every_job_ends_with_the_functional_machines_bytes(results, chip):
    for name, (job, result) in results.items():
        assert result.outcome is Outcome.DONE, (name, result.fault)
        if name.startswith(("random", "gather", "scatter", "pass", "chain")):
            assert compare_bytes(job, chip, result) == "", name


def test_latency_of_closed_open_and_other_rows(results, chip):
    """64 bytes are two atoms of 2.5 cycles; a closed bank opens in half a row miss."""
    _, result = results["turns"]
    trace = result.trace[(result.trace[:, 0] == Queue.LOAD)][:4]
    latency, miss = chip.hbm.latency_cycles + 5, int(chip.hbm.row_miss_ns)
    assert (trace[:, 4] - trace[:, 3]).tolist() == [
        latency + miss // 2, latency, latency + miss, latency + miss // 2,
    ]  # fmt: skip


def test_refresh_takes_its_share(results, chip):
    (_, calm), (_, stream) = results["calm stream"], results["stream of 4 KiB"]
    share = (chip.hbm.refresh_ns + chip.hbm.row_miss_ns) / chip.hbm.refresh_interval_ns
    assert stream.cycles == pytest.approx(calm.cycles / (1 - share), rel=0.02)
    assert calm.cycles == pytest.approx(32 * 4096 / chip.hbm_bytes_per_cycle, rel=0.02)


def test_cycles_are_those_of_the_timing_engine(results, chip):
    """Issue and completion of every word, unless rows are taken by number."""
    jobs = {name: pair for name, pair in results.items() if not _gathers(pair[0])}
    assert len(jobs) > 55
    for number in range(len(MEMORIES)):
        assert sum(name.startswith(f"memory {number}:") for name in jobs) == 4
    for name, (job, result) in jobs.items():
        assert compare_cycles(job, chip, result) == ("", result.cycles), name


def test_gathers_are_near(results, chip):
    errors = {
        name: 100 * (simulate(job.program, job.chip(chip)).cycles / result.cycles - 1)
        for name, (job, result) in results.items()
        if _gathers(job)
    }
    assert len(errors) > 8
    assert max(map(abs, errors.values())) <= GATHER_LIMIT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hbm.turnaround_ns", 1e8),
        ("hbm.refresh_interval_ns", 1e9),
        ("hbm.bandwidth_gbytes_per_s", 1e-6),
        ("hbm.row_miss_ns", 1e7),
        ("hbm.latency_cycles", 1),
        ("hbm.latency_cycles", 5000),
        ("core.load_bytes_per_cycle", 64),
    ],
)
def test_memories_that_the_test_bench_does_not_have_are_refused(chip, key, value):
    with pytest.raises(ChipError, match=key):
        settings(load_chip(chip, overrides={key: value}), 0, 0, 0)


def test_fixed_memory_has_no_settings_of_banks():
    slow = {"hbm.refresh_interval_ns": 1e9, "hbm.turnaround_ns": 1e9}
    values = settings(load_chip("athena-edge-ci", overrides=slow), 0, 0, 0)
    assert set(values[Setting.BANKED :]) == {0}
    with pytest.raises(ChipError, match="bandwidth"):
        overrides = {"hbm.bandwidth_gbytes_per_s": 1e-9}
        settings(load_chip("athena-edge-ci", overrides=overrides), 0, 0, 0)
