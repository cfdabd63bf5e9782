"""Performance counters: on random programs equal to the timing engine's use of units, and to what
the retire trace says.
"""

from dataclasses import astuple, replace

import numpy as np
import pytest

from athena.chip.load import load_chip
from athena.isa.fields import CORE_QUEUES
from athena.timing import simulate
from rtl_sim.counters import (
    COUNTERS,
    Counter,
    Use,
    counter_index,
    decode_counters,
    timing_counters,
)
from rtl_sim.generate import random_job
from rtl_sim.run import run_jobs

PROGRAMS = 30
FIRST_SEED = 500


SLOW_MEMORY = {"hbm.latency_cycles": 23, "hbm.bandwidth_gbytes_per_s": 6}


@pytest.fixture(scope="module", params=[{}, SLOW_MEMORY], ids=["own memory", "slow memory"])
def chip(request):
    return load_chip("athena-edge-ci", overrides=request.param)


@pytest.fixture(scope="module")
def finished(rtl_tools, chip):
    jobs = [random_job(FIRST_SEED + number, chip) for number in range(PROGRAMS)]
    return list(zip(jobs, run_jobs(jobs, chip), strict=True))


def test_equal_to_the_timing_engine(finished, chip):
    for job, result in finished:
        assert result.counters == timing_counters(simulate(job.program, chip)), job.program.name


def test_every_cycle_counts_once(finished):
    for _, result in finished:
        counters = result.counters
        assert counters.cycles == result.cycles
        for queue in counters.queues:
            assert sum(astuple(queue)[2:]) == counters.cycles
            assert queue.words == np.sum(result.trace[:, 0] == queue.queue)


def test_time_with_words_in_flight_is_that_of_the_trace(finished):
    """The union of a queue's intervals [issue, complete) is busy, or waits for memory."""
    for _, result in finished:
        for queue in result.counters.queues:
            rows = result.trace[result.trace[:, 0] == queue.queue]
            taken = np.zeros(result.cycles + 1, bool)
            for start, end in rows[:, 3:5]:
                taken[start:end] = True
            assert queue.busy_cycles + queue.wait_memory_cycles == taken.sum()


def test_every_category_is_met(finished):
    totals = np.sum([astuple(q)[1:] for _, r in finished for q in r.counters.queues], axis=0)
    assert (totals > 0).all()
    assert all(r.counters.loaded_bytes and r.counters.stored_bytes for _, r in finished)


def test_indices_are_a_numbering():
    numbers = [counter_index(queue, use) for queue in CORE_QUEUES for use in Use]
    assert numbers + [int(counter) for counter in Counter] == list(range(COUNTERS))
    decoded = decode_counters(range(COUNTERS))
    assert decoded == replace(decoded, cycles=Counter.CYCLES)
    assert decoded.queues[3].wait_fetch_cycles == 3 * len(Use) + Use.WAIT_FETCH
