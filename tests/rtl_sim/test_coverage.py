"""Coverage: bins follow the instruction table and the verifier; Verilator's counters are read; the
random programs reach every mode of every word and nearly every line.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from athena.isa.fields import CORE_QUEUES
from athena.isa.table import ROWS
from rtl_sim.bins import Bins, bins_report, size_class
from rtl_sim.build import RTL
from rtl_sim.coverage import Coverage, cover
from rtl_sim.generate import random_job
from rtl_sim.job import RtlJob
from tests.rtl_sim.test_compiled import SHAPES, graph
from tests.rtl_sim.test_faults import CASES

SLOW_PROGRAMS = 500


@dataclass
class Retired:
    """A result of which only the trace is asked: every word of the program once."""

    trace: np.ndarray


@pytest.fixture(scope="module")
def bins(ci_chip):
    return Bins(ci_chip)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        (("VEC", "steps.0", "select"), False),  # the second step only
        (("VEC", "steps.2", "select"), True),
        (("VEC", "steps.1", "floor", "a", "F16"), True),
        (("VEC", "mode", "int", "a", "F32"), False),  # integers compute on integers
        (("VEC", "mode", "int", "d", "F32"), True),
        (("VEC", "kinds.0", "imm", "b", "F32"), False),  # nothing is read
        (("VEC", "kinds.0", "row", "b", "U8"), True),
        (("MATMUL", "mode", "keep.b_trans", "b", "U8"), True),
        (("MATMUL", "mode", "0", "c", "I32"), False),  # no bias
        (("MATMUL", "mode", "bias", "c", "I32"), True),
        (("MATMUL", "mode", "0", "a", "F16"), False),
        (("MATMUL", "mode", "0", "a", "F32"), False),  # the arithmetic profile only
        (("VPERM", "mode", "rotate_half", "a", "I8"), False),
        (("VPERM", "mode", "rotate_half", "a", "BF16", "cols", "q+1"), False),  # an odd number
        (("VPERM", "mode", "0", "a", "I8", "rows", "q+1"), True),
        (("COPYX", "queue", "STORE"), True),
        (("FILL", "queue", "STORE"), False),
        (("MCAST", "mode", "0"), False),  # not in the RTL
    ],
)
def test_a_bin_exists_when_the_verifier_accepts_its_words(bins, name, there):
    assert (name in bins.all) == there


def test_every_word_of_the_rtl_has_bins(bins):
    there = {row.op.name for row in ROWS if row.rtl and {*row.queues} & {*CORE_QUEUES}}
    assert {name[0] for name in bins.all} == there


@pytest.mark.parametrize(
    ("count", "quantum", "name"),
    [(0, 8, "0"), (1, 8, "1"), (3, 8, "<q"), (7, 8, "q-1"), (8, 8, "q"), (9, 8, "q+1"),
     (16, 8, "kq"), (17, 8, ">q"), (2, 0, ">1")],
)  # fmt: skip
def test_size_classes(count, quantum, name):
    assert size_class(count, quantum) == name


def test_words_that_retire_meet_bins_that_exist(bins, ci_chip):
    """All that random programs hold exists, and a few dozen of them hold nearly every mode."""
    for seed in range(60):
        job = random_job(seed, ci_chip)
        rows = [
            (queue, 0, pc)
            for queue in CORE_QUEUES
            for pc in range(len(job.program.streams[queue].words))
        ]
        bins.meet(job, Retired(np.array(rows)))
    assert not sorted(bins.met - bins.all)
    assert len(bins.missing(3)) <= 12
    assert bins_report(bins).count("\n") > 8


ENTRY = (
    "C '\x01f\x02{}\x01l\x02{}\x01n\x0212\x01page\x02v_{}/walker\x01o\x02{}"
    "\x01S\x02{}\x01h\x02{}' {}"
)


def test_counters_of_verilator_are_read(tmp_path):
    """A line is covered when all its points are, a point when one instance meets it."""
    file = RTL / "walker.sv"
    entries = [
        ENTRY.format(file, 5, "line", "block", "5-6,9", "top.a", 0),
        ENTRY.format(file, 5, "line", "block", "5-6,9", "top.b", 3),
        ENTRY.format(file, 6, "branch", "if", "6-7", "top.a", 1),
        ENTRY.format(file, 6, "branch", "else", "6,8", "top.a", 0),
        ENTRY.format("/elsewhere/tb.sv", 1, "line", "block", "1", "top", 0),
        ENTRY.format(file, 2, "toggle", "busy:0->1", "", "top.a", 2),
        ENTRY.format(file, 2, "toggle", "busy:1->0", "", "top.a", 0),
    ]
    path = tmp_path / "coverage.dat"
    path.write_text("# SystemC::Coverage-3\n" + "\n".join(entries) + "\n")
    coverage = Coverage()
    coverage.add(path)
    lines = {5: True, 6: False, 7: True, 8: False, 9: True}
    assert coverage.lines == {"walker.sv": lines}
    assert coverage.line_percent() == 60.0
    assert coverage.toggle_percent("walker.sv") == 50.0
    assert "6 8" in coverage.report()
    path.write_text("# SystemC::Coverage-3\n" + entries[3].replace("' 0", "' 9") + "\n")
    coverage.add(path)  # another run meets the branch that this one did not, and nothing else
    assert coverage.line_percent() == 100.0


@pytest.mark.slow
def test_random_programs_cover_the_rtl(rtl_tools, ci_chip):
    from compiler.lowering import LowerOptions, lower  # noqa: PLC0415 - only this test compiles

    compiled = [
        RtlJob(program=lower(graph(*shape)[0], ci_chip, LowerOptions(precision="bf16")),
               segments={})
        for shape in SHAPES
    ]  # fmt: skip
    faults = [RtlJob(program=case[0], segments={}) for case in CASES.values()]
    coverage, bins = cover(SLOW_PROGRAMS, ci_chip, (*faults, *compiled))
    assert coverage.line_percent() >= 95.0, coverage.report()
    assert not bins.missing(3), bins_report(bins)
