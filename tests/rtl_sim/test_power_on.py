"""Registers and memories of the core hold anything at power-on: what runs is the same."""

import numpy as np
import pytest

from rtl_sim.build import Variant
from rtl_sim.generate import random_job
from rtl_sim.run import Start, run_jobs

PROGRAMS = 200
CYCLE_LIMIT = 20_000
RANDOM = "+verilator+rand+reset+2"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_the_state_at_power_on_does_not_matter(rtl_tools, ci_chip, seed):
    jobs = [random_job(number, ci_chip) for number in range(PROGRAMS)]
    start = Start(variant=Variant.POWER_ON, arguments=(f"+verilator+seed+{seed}", RANDOM))
    plain_results = run_jobs(jobs, ci_chip, cycle_limit=CYCLE_LIMIT)
    results = run_jobs(jobs, ci_chip, cycle_limit=CYCLE_LIMIT, start=start)
    for plain, other in zip(plain_results, results, strict=True):
        assert other.outcome is plain.outcome
        np.testing.assert_array_equal(other.trace, plain.trace)
        np.testing.assert_array_equal(other.l1, plain.l1)
        np.testing.assert_array_equal(other.acc, plain.acc)
        for segment, image in plain.segments.items():
            np.testing.assert_array_equal(other.segments[segment], image)
