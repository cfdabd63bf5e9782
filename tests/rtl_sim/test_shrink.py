"""Failing programs get small: by choices alone, on a broken RTL, and kept as files that run."""

import pytest

from athena.isa.check import check_program
from athena.isa.container import read_program
from athena.isa.fields import DT_A, N2, OP, Dt, Op, Queue, Seg, decode
from rtl_sim import shrink
from rtl_sim.correlate import correlate
from rtl_sim.generate import build_job, random_job
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.run import run_jobs


def deep_bf16(job):
    """Whether a bf16 product is deeper than 9."""
    rows = decode(job.program.streams[Queue.MATRIX].words)
    mine = (rows[:, OP] == Op.MATMUL) & (rows[:, N2] > 9) & (rows[:, DT_A] == Dt.BF16)
    return "deep" if mine.any() else ""


def test_choices_are_lowered_to_the_simplest_program_that_fails(ci_chip, tmp_path):
    def judge(jobs):
        return [deep_bf16(job) for job in jobs]

    seed = next(n for n in range(99) if deep_bf16(random_job(n, ci_chip)))
    choices = shrink.choices_of(seed, ci_chip)
    small = shrink.minimise(choices, ci_chip, judge)
    job = build_job(shrink.Replay(small), ci_chip, "small")
    assert deep_bf16(job)
    assert len(small) < len(choices)
    assert job.program.static_words < random_job(seed, ci_chip).program.static_words / 2
    check_program(job.program, ci_chip, races=True)
    kept = shrink.save(small, ci_chip, tmp_path / "small.athena", judge)
    again = read_program(tmp_path / "small.athena")
    assert again.static_words == kept.program.static_words
    assert len(again.constants.get(Seg.INPUT, b"")) == 0  # this judge looks at no input


@pytest.mark.slow
def test_a_broken_rtl_gives_a_small_program(rtl_tools, mutated, ci_chip, tmp_path):
    """A rounding fault in the array: found by a seed, made small, kept, and seen again."""
    with mutated("mac_cell.sv", "weight[IntBits-1:0]", "{weight[IntBits-1:1], 1'b0}"):
        seed = next(n for n in range(50) if any(shrink.verdicts([random_job(n, ci_chip)], ci_chip)))

        def judge(jobs):
            return shrink.verdicts(jobs, ci_chip)

        small = shrink.minimise(shrink.choices_of(seed, ci_chip), ci_chip, judge)
        path = tmp_path / "odd-weight.athena"
        job = shrink.save(small, ci_chip, path, judge)
        assert job.program.static_words <= 16
        kept = RtlJob(program=read_program(path))
        (result,) = run_jobs([kept], ci_chip)
        assert result.outcome is Outcome.DONE
        assert "crc32" in correlate(kept, ci_chip, result).bytes_difference
    (result,) = run_jobs([kept], ci_chip)  # the RTL as it is
    assert correlate(kept, ci_chip, result).equal
