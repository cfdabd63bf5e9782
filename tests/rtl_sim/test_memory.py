"""Main memory of the test bench: at every latency and bandwidth the core keeps the timing engine's
cycles; under random back-pressure it keeps the functional machine's bytes.
"""

from dataclasses import replace

import numpy as np
import pytest

from athena.chip.load import load_chip
from athena.errors import ChipError
from athena.isa.cycles import beat_interval
from athena.isa.fields import Op
from rtl_sim.correlate import compare_bytes, correlate
from rtl_sim.generate import random_job
from rtl_sim.job import Outcome
from rtl_sim.package import package_text
from rtl_sim.run import run_jobs

LATENCIES = (1, 7, 40, 200)
BANDWIDTHS = (16, 8, 5, 4, 1)  # bytes a cycle at 1 GHz; the bus has 16
STRESSED = 30
CONTROL_OPS = (Op.END, Op.SYNC, Op.LOOP, Op.SETA)  # do not wait for words in flight


def _hbm(latency, bandwidth):
    overrides = {"hbm.latency_cycles": latency, "hbm.bandwidth_gbytes_per_s": bandwidth}
    return load_chip("athena-edge-ci", overrides=overrides).hbm


@pytest.fixture(scope="module")
def jobs(ci_chip):
    """Two programs a setting, other ones each time; then programs under stress, one twice."""
    made = []
    for latency in LATENCIES:
        for bandwidth in BANDWIDTHS:
            for _ in range(2):
                job = random_job(1000 + len(made), ci_chip)
                made.append(replace(job, hbm=_hbm(latency, bandwidth)))
    made += [replace(random_job(n, ci_chip), stress_seed=n + 1) for n in range(STRESSED)]
    made.append(replace(made[-1], stress_seed=STRESSED + 1000))
    return made


@pytest.fixture(scope="module")
def finished(rtl_tools, ci_chip, jobs):
    return list(zip(jobs, run_jobs(jobs, ci_chip), strict=True))


def test_every_setting_agrees_in_every_byte_and_cycle(finished, ci_chip):
    differences, cycles = [], {}
    for job, result in finished[: -STRESSED - 1]:
        assert result.outcome is Outcome.DONE, (job.program.name, result.fault)
        agreement = correlate(job, ci_chip, result)
        setting = job.hbm.latency_cycles, job.hbm.bandwidth_gbytes_per_s
        cycles[setting] = cycles.get(setting, 0) + agreement.cycles_rtl
        if not agreement.equal or agreement.cycles_rtl != agreement.cycles_timing:
            differences.append((setting, job.program.name, agreement))
    assert not differences
    assert len(set(cycles.values())) == len(LATENCIES) * len(BANDWIDTHS)


def test_stress_changes_cycles_and_no_byte(finished, ci_chip):
    """The CRC of every word, all memories, and the order in each queue (index, pc)."""
    for job, result in finished[-STRESSED - 1 :]:
        assert result.outcome is Outcome.DONE, (job.program.name, result.fault)
        assert compare_bytes(job, ci_chip, result) == ""
    (_, one), (_, other) = finished[-2:]
    assert one.cycles != other.cycles
    assert not np.array_equal(one.trace[:, 3:5], other.trace[:, 3:5])


def test_completions_stay_in_order_under_stress(finished):
    for job, result in finished[-STRESSED:]:
        for queue, stream in enumerate(job.program.streams):
            mine = result.trace[result.trace[:, 0] == queue]
            mine = mine[~np.isin(stream.words["op"][mine[:, 2]], CONTROL_OPS)]
            mine = mine[np.lexsort((mine[:, 1], mine[:, 6]))]
            assert (np.diff(mine[:, 3]) > 0).all()
            assert (np.diff(mine[:, 4]) >= 0).all()


def test_chips_that_differ_in_memory_share_a_build(ci_chip):
    assert package_text(ci_chip.model_copy(update={"hbm": _hbm(7, 4)})) == package_text(ci_chip)


def test_a_latency_above_the_test_benchs_queue_is_refused(ci_chip):
    job = replace(random_job(0, ci_chip), hbm=_hbm(5000, 16))
    with pytest.raises(ChipError, match="latency_cycles"):
        run_jobs([job], ci_chip)


@pytest.mark.parametrize(
    ("bus", "rate", "cycles"),
    [(16, 16.0, 1), (16, 64.0, 1), (16, 8.0, 2), (16, 5.0, 4), (16, 1.0, 16), (16, 0.3, 54)],
)
def test_cycles_of_a_beat(bus, rate, cycles):
    assert beat_interval(bus, rate) == cycles
