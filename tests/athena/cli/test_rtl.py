"""From an ONNX file to the RTL: the same bits as the functional simulator, the timing's cycles."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from athena.api import correlate, rtl
from rtl_sim.build import missing_tools

CI = ("--chip", "athena-edge-ci")
needs_tools = pytest.mark.skipif(bool(missing_tools()), reason="; ".join(missing_tools()))


@pytest.fixture
def multiply(athena, tmp_path):
    path = tmp_path / "m.onnx"
    assert athena("models", "export", "matmul", "--sizes", "8,32,16", "-o", path).code == 0
    return path


@needs_tools
def test_a_multiply_in_both_precisions(athena, multiply):
    told = athena("rtl", "run", multiply, *CI, "--json")
    assert told.code == 0, told.err
    found = told.json
    assert found["schema"] == "athena-cli-rtl-run/2" and found["passed"]
    assert [run["precision"] for run in found["runs"]] == ["int8", "bf16"]
    for run in found["runs"]:
        assert run["outputs"] == ["y"] and run["differs"] == []
        assert run["rtl_cycles"] == run["timing_cycles"] > 0
        assert run["words"] > 20 and run["first_difference"] is None
        assert run["bytes_difference"] == run["cycles_difference"] == ""
        assert [unit["queue"] for unit in run["units"]] == ["STORE", "LOAD", "MATRIX", "VECTOR"]
        for unit in run["units"]:
            assert 0 < unit["rtl_cycles"] == unit["timing_cycles"] < run["rtl_cycles"]


@needs_tools
def test_a_program_file_in_one_table(athena, multiply, tmp_path):
    program = tmp_path / "m.athena"
    done = athena("compile", multiply, "--chip", "athena-edge-ci", "-o", program)
    assert done.code == 0, done.err
    told = athena("rtl", "run", program, *CI)
    assert told.code == 0, told.err
    assert told.out.count("┏") == 1 and "bf16" in told.out and "int8" not in told.out
    for text in ("words compared", "cycles, RTL", "busy MATRIX", "cycles/s", "build / run"):
        assert text in told.out, text


def _broken(monkeypatch, column):
    """The RTL's answer with one figure of one MATMUL word changed."""
    jobs = rtl.run_jobs

    def run_jobs(*arguments, **options):
        (result,) = jobs(*arguments, **options)
        trace = result.trace.copy()
        rows = np.flatnonzero((trace[:, 0] == 2) & (trace[:, 5] != 0))
        trace[rows[1], column] += 1
        return [dataclasses.replace(result, trace=trace)]

    monkeypatch.setattr(rtl, "run_jobs", run_jobs)


@needs_tools
@pytest.mark.parametrize(("column", "what"), [(5, "bytes"), (4, "cycles")])
def test_a_difference_is_located(athena, multiply, monkeypatch, column, what):
    _broken(monkeypatch, column)
    told = athena("rtl", "run", multiply, *CI, "--precision", "bf16")
    assert told.code == 1
    assert "the RTL DIFFERS" in told.out and f"  {what} " in told.out
    assert "1 of " in told.out and "MATRIX index" in told.out
    assert "MATMUL" in told.out and "of the model: MatMul" in told.out
    told = athena("rtl", "run", multiply, *CI, "--precision", "bf16", "--json")
    found = told.json["runs"][0]
    assert told.code == 1 and not told.json["passed"]
    assert found["first_difference"]["queue"] == "MATRIX"
    assert found["first_difference"]["sources"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--chip", "athena"), "64 cores"),
        (("--wave", "out.txt"), ".fst or a .vcd"),
        (("--wave-cycles", "0:5"), "needs --wave"),
        (("--wave", "out.vcd", "--wave-cycles", "9:5"), "no range of cycles"),
        (("--wave", "out.vcd", "--wave-cycles", "5"), "no range of cycles"),
        (("--precision", "int9"), "int9"),
        (("--precision", "fp32"), "fp32 is the simulators' alone"),
    ],
)
def test_refused(athena, multiply, arguments, text):
    told = athena("rtl", "run", multiply, *arguments)
    assert told.code == 2 and text in told.err


def test_a_folder_that_cannot_hold_builds_is_named(athena, multiply, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told = athena("rtl", "run", multiply, *CI)
    assert told.code == 2 and "XDG_CACHE_HOME" in told.err


def test_missing_tools_are_said(athena, multiply, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("rtl_sim.build.shutil.which", lambda tool: None)
    told = athena("rtl", "run", multiply, *CI)
    assert told.code == 2 and "apt-get install g++" in told.err


@needs_tools
@pytest.mark.slow
def test_a_window_of_the_waveform(athena, multiply, tmp_path):
    """Times are cycles; the window holds these and no others; the clock is among the signals."""
    path = tmp_path / "w.vcd"
    options = ("--precision", "bf16", "--wave", path, "--wave-cycles", "100:120")
    told = athena("rtl", "run", multiply, *CI, *options)
    assert told.code == 0, told.err
    assert f"wrote {path}" in told.out
    text = path.read_text()
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    assert "$timescale 1ps" in text and " clk_i $end" in text
    assert times == [500 * half for half in range(200, 242)]
    assert not list(tmp_path.glob(".w.vcd*"))


@needs_tools
def test_a_part_of_the_set_on_fixed_memories(athena, tmp_path):
    plot = tmp_path / "plot.svg"
    options = (*CI, "--filter", "gemm-1[67]*", "--memory", "fixed", "--plot", plot)
    told = athena("rtl", "correlate", *options, "--json")
    assert told.code == 0, told.err
    found = told.json
    assert found["broken"] == [] and len(found["programs"]) == 8
    assert len({run["memory"] for run in found["programs"]}) > 3
    for run in found["programs"]:
        assert run["bits_equal"] and run["trace_equal"] and run["error_percent"] == 0.0
        assert run["rtl_cycles"] == run["timing_cycles"] > 0 and run["words"] > 20
    (summary,) = found["summaries"]
    assert summary["traces_equal"] == summary["runs"] == 8
    assert plot.read_text().count("<circle") == 8 + 1  # and the legend's


@needs_tools
def test_own_programs_and_a_difference(athena, multiply, tmp_path, monkeypatch):
    program = tmp_path / "own.athena"
    athena("compile", multiply, "--chip", "athena-edge-ci", "-o", program)
    told = athena("rtl", "correlate", tmp_path, "--memory", "fixed")
    assert told.code == 0, told.err
    assert "1 programs, 2 runs" in told.out and "every bound holds" in told.out
    jobs = correlate.run_jobs

    def run_jobs(*arguments, **options):
        first, *rest = jobs(*arguments, **options)
        trace = first.trace.copy()
        trace[5, 4] += 1
        return [dataclasses.replace(first, trace=trace), *rest]

    monkeypatch.setattr(correlate, "run_jobs", run_jobs)
    told = athena("rtl", "correlate", "--programs", program, "--memory", "fixed")
    assert told.code == 1
    assert "BROKEN: 1 runs on fixed memory differ in a cycle" in told.out
    assert "first   " in told.out and "node " in told.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--plot", "out.png"), ".svg or an .html"),
        (("--array", "9x9"), "--array"),
        (("--array", "8x8", "--chip", "athena-edge"), "--chip"),
        (("--filter", "none*"), "no program fits"),
        (("--memory", "l2", "--filter", "gemm-8x32x16.bf16"), "fixed, banks, both"),
        (("no-such.athena",), "no-such.athena"),
        (("--chip", "athena", "--filter", "gemm-8x32x16.bf16"), "64 cores"),
    ],
)
def test_correlate_refuses(athena, arguments, text):
    told = athena("rtl", "correlate", *arguments)
    assert told.code == 2 and text in told.err
