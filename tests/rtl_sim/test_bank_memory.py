"""Memory with banks, rows and refresh: its own times, the core's bytes on it, and how far from it
the timing engine's cycles are.
"""

from dataclasses import replace

import numpy as np
import pytest

from athena.chip.load import load_chip
from athena.isa.builder import StreamBuilder, Wait, hbm, l1, self_sem
from athena.isa.fields import CORE_QUEUES, SEGMENTS, Queue, Seg
from athena.isa.program import Program, QueueRun, Section
from athena.timing import simulate
from rtl_sim.correlate import compare_bytes
from rtl_sim.generate import random_job
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.memory_programs import memory_jobs
from rtl_sim.run import run_jobs

RANDOM = 20
# Percent of the RTL's cycles. The bus's turns are booked one by one, their order is not: programs
# that send many short rows both ways at once are the farthest off. Row numbers of a gather are not
# known; timing spreads them more evenly over the banks than chance does.
LIMITS = {"rows both ways": 8.0, "gather of 32 B": 6.0}
LIMIT, MEAN_LIMIT, RANDOM_LIMIT, RANDOM_MEAN = 5.0, 1.5, 7.0, 2.0
CLOSE = ("stream", "rows of", "store", "chain", "pass on 2 KiB")  # begin of a name: within 1.2 %


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
    done = run_jobs(list(jobs.values()), chip)
    return {name: (jobs[name], result) for name, result in zip(jobs, done, strict=True)}


def _errors(results, chip, names):
    return {
        name: 100 * (simulate(job.program, job.chip(chip)).cycles / result.cycles - 1)
        for name, (job, result) in results.items()
        if name in names
    }


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


def test_timing_is_near(results, chip):
    errors = _errors(results, chip, memory_jobs(chip))
    far = {n: e for n, e in errors.items() if abs(e) > LIMITS.get(n, LIMIT)}
    assert not far
    assert np.mean(np.abs(list(errors.values()))) <= MEAN_LIMIT
    close = {n: e for n, e in errors.items() if n.startswith(CLOSE)}
    assert len(close) > 10 and max(map(abs, close.values())) <= 1.2


def test_timing_of_random_programs_is_near(results, chip):
    errors = _errors(results, chip, [f"random {seed}" for seed in range(RANDOM)])
    assert max(map(abs, errors.values())) <= RANDOM_LIMIT
    assert np.mean(np.abs(list(errors.values()))) <= RANDOM_MEAN
