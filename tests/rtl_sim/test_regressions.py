"""Small programs kept from faults that were found, and of edges that matter; each runs as both
models say.
"""

from pathlib import Path

import pytest

from athena.chip.load import load_chip
from athena.isa.check import check_program
from athena.isa.container import read_program
from rtl_sim.correlate import correlate
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.run import run_jobs

FILES = sorted((Path(__file__).parent / "regressions").glob("*.athena"))


@pytest.fixture(scope="module")
def finished(rtl_tools):
    jobs = {path.stem: RtlJob(program=read_program(path)) for path in FILES}
    done = {}
    for name in {job.program.chip for job in jobs.values()}:
        mine = {key: job for key, job in jobs.items() if job.program.chip == name}
        results = run_jobs(list(mine.values()), load_chip(name))
        done |= {k: (j, r) for (k, j), r in zip(mine.items(), results, strict=True)}
    return done


def test_there_are_some():
    assert len(FILES) >= 5


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_program(finished, name):
    job, result = finished[name]
    chip = load_chip(job.program.chip)
    check_program(job.program, chip, races=True)
    assert result.outcome is Outcome.DONE
    agreement = correlate(job, chip, result)
    assert agreement.equal, agreement
