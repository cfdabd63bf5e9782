"""The comparison of many programs: set, memories, bounds. cli/test_rtl.py runs some on the RTL."""

from __future__ import annotations

import numpy as np
import pytest

from athena.api import correlate as api
from athena.api.memories import OTHERS, memories
from athena.api.samples import program_inputs
from athena.chip import load_chip
from athena.chip.model import MemoryKind
from athena.errors import UsageError
from athena.isa.container import write_program
from athena.workload.export.rtl_set import samples


def row(**changed):
    values = {
        "name": "p", "chip": "c", "memory": "m", "memory_kind": "fixed", "words": 10,
        "rtl_cycles": 1000, "timing_cycles": 1000, "error_percent": 0.0, "bits_equal": True,
        "trace_equal": True, "passed": True, "difference": "", "first_difference": None,
    }  # fmt: skip
    return api.ProgramRow(**(values | changed))


BANKED = {"memory_kind": "banks", "trace_equal": False}
BOUNDS = {
    "all equal": ([row(), row(**BANKED, error_percent=1.0)], ""),
    "a byte": ([row(bits_equal=False, passed=False)], "1 runs differ in bytes"),
    "a cycle of one word": ([row(trace_equal=False, passed=False)], "fixed memory differ"),
    "banks above 5 %": ([row(**BANKED, passed=False), row(**BANKED)], "1 runs on banked"),
    "banks' bytes": ([row(**BANKED | {"bits_equal": False}, passed=False)], "differ in bytes"),
    "mean": ([row(**BANKED, error_percent=e) for e in (-1.4, 0.7)], "the mean error"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name):
    rows, text = BOUNDS[name]
    broken = api._broken(rows)
    assert len(broken) == bool(text) and text in "".join(broken)


def test_figures_of_a_summary():
    rows = [
        row(error_percent=-3.0, rtl_cycles=100, trace_equal=False),
        row(error_percent=1.0, rtl_cycles=9000),
        row(error_percent=0.5, rtl_cycles=5001, bits_equal=False),
    ]
    found = api._summary("banks", rows)
    assert (found.runs, found.bits_equal, found.traces_equal) == (3, 2, 2)
    assert (found.mean_error_percent, found.max_error_percent) == (1.5, 3.0)
    assert found.max_error_percent_long == 1.0
    assert api._summary("banks", rows[:1]).max_error_percent_long == 0.0


def test_memories_of_a_chip():
    chip = load_chip("athena-edge-ci")
    own, others = memories(chip, "fixed")
    assert own == (chip.hbm,) and len(others) == len(OTHERS) == len(set(others_of(others)))
    assert {each.kind for each in others} == {MemoryKind.FIXED}
    with pytest.raises(UsageError, match="fixed, banks, both"):
        memories(chip, "l2")


def others_of(others):
    return [(each.latency_cycles, each.bandwidth_gbytes_per_s) for each in others]


def test_the_set_is_what_the_documentation_says():
    found = samples()
    names = [sample.name for sample in found]
    assert len(found) >= 60 and len(set(names)) == len(names)
    for part in ("gemm", "softmax", "layer-norm", "rms-norm", "attention", "gelu"):
        assert any(part in name for name in names)
    for layer in ("bert-layer", "llama-decode"):
        for hidden in (64, 128, 256):
            for precision in ("int8", "bf16"):
                assert f"{layer}-{hidden}.{precision}" in names
    one = found[0]
    assert one.model().SerializeToString() == one.model().SerializeToString()


def test_files_and_folders(tmp_path):
    chip = load_chip("athena-edge-ci")
    (case,) = api.sample_cases(samples(), chip, "gemm-8x32x16.bf16")
    for name in ("b", "a"):
        write_program(case.program, tmp_path / f"{name}.athena")
    (tmp_path / "notes.txt").write_text("no program")
    cases = api.file_cases([tmp_path, tmp_path / "b.athena"], None)
    assert [each.name for each in cases] == ["a", "b"]
    assert {each.chip.name for each in cases} == {"athena-edge-ci"}
    again = program_inputs(case.program, 0)
    for name, values in cases[0].inputs.items():
        np.testing.assert_array_equal(values, again[name])
    with pytest.raises(UsageError, match="no program fits"):
        api.file_cases([tmp_path], None, "z*")


def test_cases_go_to_the_simulator_by_chip_and_size(monkeypatch):
    chips = [load_chip("athena-edge-ci"), load_chip("athena-edge")]
    (made,) = api.sample_cases(samples(), chips[0], "gemm-8x32x16.bf16")
    cases = [
        api.Case(name=str(i), program=made.program, chip=chips[i % 2], inputs={}) for i in range(5)
    ]
    whole = list(api._batches(cases))
    assert [[number for number, _ in batch] for batch in whole] == [[0, 2, 4], [1, 3]]
    monkeypatch.setattr(api, "BATCH_BYTES", 100_000)
    parts = [[number for number, _ in batch] for batch in api._batches(cases)]
    assert parts == [[0, 2], [4], [1], [3]]
