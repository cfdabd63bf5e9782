"""Trace files: loadable JSON, every word once, escaped names, written whole or not at all."""

from __future__ import annotations

import json

import pytest

from athena.chip.load import load_chip
from athena.errors import OutputError, UsageError
from athena.isa.builder import StreamBuilder, hbm, l1
from athena.isa.fields import Queue, Seg
from athena.isa.program import NodeInfo
from athena.timing import simulate
from athena.timing.perfetto import write_trace
from tests.athena.timing.programs import program

EDGE = load_chip("athena-edge-ci")


def traced(*, trace=True, name="gemm\u202e</script>\n"):
    builder = StreamBuilder()
    builder.node = 0
    builder.load(hbm(Seg.ACT, 0), l1(0), rows=1, row_bytes=64)
    builder.end()
    prog = program(
        [(Queue.LOAD, builder)], nodes=(NodeInfo(name=name, op="Gemm", sources=(), place="chip"),)
    )
    return simulate(prog, EDGE, trace=trace), prog


def test_every_word_is_one_complete_event_with_times_in_microseconds(tmp_path):
    timeline, prog = traced()
    write_trace(timeline, prog, tmp_path / "t.json")
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    words = [event for event in events if event["ph"] == "X"]
    assert [event["name"] for event in words] == ["COPY", "END"]
    issue, complete = timeline.trace[0, 3:5].tolist()
    assert words[0]["ts"] == pytest.approx(issue / EDGE.clock_hz * 1e6)
    assert words[0]["dur"] == pytest.approx((complete - issue) / EDGE.clock_hz * 1e6)
    names = {(event["name"], event["args"]["name"]) for event in events if event["ph"] == "M"}
    assert names == {("process_name", "core0"), ("thread_name", "LOAD")}
    assert list(tmp_path.iterdir()) == [tmp_path / "t.json"]


def test_names_are_escaped(tmp_path):
    timeline, prog = traced()
    write_trace(timeline, prog, tmp_path / "t.json")
    text = (tmp_path / "t.json").read_text()
    assert "\u202e" not in text and text.isascii()
    category = json.loads(text)["traceEvents"][2]["cat"]
    assert category == "gemm\\u202e</script>\\n (Gemm)"


def test_an_untraced_execution_is_refused(tmp_path):
    timeline, prog = traced(trace=False)
    with pytest.raises(UsageError, match="not traced"):
        write_trace(timeline, prog, tmp_path / "t.json")


def test_a_missing_folder_is_named_and_nothing_is_left(tmp_path):
    timeline, prog = traced()
    with pytest.raises(OutputError, match="cannot be written"):
        write_trace(timeline, prog, tmp_path / "no" / "t.json")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_named_and_nothing_is_left(tmp_path):
    timeline, prog = traced()
    (tmp_path / "t.json").mkdir()
    with pytest.raises(OutputError):
        write_trace(timeline, prog, tmp_path / "t.json")
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
