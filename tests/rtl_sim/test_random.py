"""Random programs: every written byte as the functional machine has it, every cycle as the timing
engine.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from athena.chip.load import load_chip
from rtl_sim.correlate import correlate
from rtl_sim.generate import random_job
from rtl_sim.job import Outcome
from rtl_sim.run import run_jobs
from tests.rtl_sim.strategies import programs

PROGRAMS = 60
DRAWN = 50
SLOW_PROGRAMS = 2000
SLOW_EDGE_PROGRAMS = 200
BATCH = 100
CHIP = load_chip("athena-edge-ci")


def judge(jobs, chip):
    """Results of jobs that agree in all with both models."""
    results = run_jobs(jobs, chip)
    differences = []
    for job, result in zip(jobs, results, strict=True):
        assert result.outcome is Outcome.DONE, (job.program.name, result.fault)
        agreement = correlate(job, chip, result)
        assert agreement.words == len(result.trace) > 0
        if not agreement.equal or agreement.cycles_rtl != agreement.cycles_timing:
            differences.append((job.program.name, agreement))
    assert not differences
    return results


@pytest.fixture(scope="module")
def finished(rtl_tools, ci_chip):
    jobs = [random_job(seed, ci_chip) for seed in range(PROGRAMS)]
    return list(zip(jobs, judge(jobs, ci_chip), strict=True))


def test_random_programs_agree_in_every_byte_and_cycle(finished):
    assert len(finished) == PROGRAMS


@given(job=programs(CHIP))
@settings(
    max_examples=DRAWN, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
def test_drawn_programs_agree_and_shrink(rtl_tools, job):
    judge([job], CHIP)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [("athena-edge-ci", SLOW_PROGRAMS), ("athena-edge", SLOW_EDGE_PROGRAMS)],
)
def test_many_random_programs_agree(rtl_tools, name, count):
    chip = load_chip(name)
    for first in range(10_000, 10_000 + count, BATCH):
        judge([random_job(seed, chip) for seed in range(first, first + BATCH)], chip)


def test_the_programs_reach_what_they_are_meant_to(finished):
    """Waiting for ports and for words in flight, loops, several runs: else the comparison says
    little.
    """
    traces = [result.trace for _, result in finished]
    words = np.concatenate(traces)
    assert len(words) > 3000
    assert {tuple(np.unique(trace[:, 0])) for trace in traces} == {(0, 1, 2, 3)}
    assert max(trace[:, 6].max() for trace in traces) == 2  # runs of a section that repeats
    assert any((np.diff(trace[trace[:, 0] == 1][:, 2]) < -1).any() for trace in traces)  # loops
    overlap = [np.sum((t[:, 3, None] < t[:, 3]) & (t[:, 4, None] > t[:, 3])) for t in traces]
    assert np.median(overlap) > 20


def test_a_difference_is_seen(finished, ci_chip):
    """The comparison fails when one completion or one byte is another."""
    job, result = finished[0]
    late = result.trace.copy()
    late[3, 4] += 1
    wrong = result.trace.copy()
    wrong[np.flatnonzero(wrong[:, 5])[0], 5] ^= 1

    class Changed:
        def __init__(self, trace):
            self.trace = trace

        def __getattr__(self, name):
            return getattr(result, name)

    assert "complete" in correlate(job, ci_chip, Changed(late)).cycles_difference
    assert "crc32" in correlate(job, ci_chip, Changed(wrong)).bytes_difference
