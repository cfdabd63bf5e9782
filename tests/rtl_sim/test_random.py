"""Random programs: every written byte as the functional machine has it, every cycle as the timing
engine.
"""

import numpy as np
import pytest

from rtl_sim.correlate import correlate
from rtl_sim.generate import random_job
from rtl_sim.job import Outcome
from rtl_sim.run import run_jobs

PROGRAMS = 60


@pytest.fixture(scope="module")
def finished(rtl_tools, ci_chip):
    jobs = [random_job(seed, ci_chip) for seed in range(PROGRAMS)]
    return list(zip(jobs, run_jobs(jobs, ci_chip), strict=True))


def test_random_programs_agree_in_every_byte_and_cycle(finished, ci_chip):
    differences = []
    for job, result in finished:
        assert result.outcome is Outcome.DONE, (job.program.name, result.fault)
        agreement = correlate(job, ci_chip, result)
        assert agreement.words == len(result.trace) > 0
        if not agreement.equal or agreement.cycles_rtl != agreement.cycles_timing:
            differences.append((job.program.name, agreement))
    assert not differences


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
