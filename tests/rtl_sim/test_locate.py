"""Places of words in programs put together by hand."""

import numpy as np
import pytest

from athena.isa.builder import StreamBuilder
from athena.isa.fields import CORE_QUEUES, SEGMENTS
from athena.isa.program import NodeInfo, Program, QueueRun, Section
from rtl_sim.locate import halted, in_run, launches

STORE, LOAD, MATRIX, VECTOR = CORE_QUEUES


def stream(words, node=-1):
    builder = StreamBuilder()
    for _ in range(words):
        builder.sync()
    builder.end()
    made = builder.stream()
    return type(made)(words=made.words, nodes=np.full(words + 1, node, np.int32))


@pytest.fixture
def program():
    """LOAD runs stream 0 twice and then stream 1; STORE is of another core."""
    runs = (QueueRun(kind=LOAD, stream=0), QueueRun(kind=STORE, stream=0, units=(3,)))
    info = NodeInfo(name="gemm", op="Gemm", sources=("MatMul_3", "Add_4"), place="chip")
    return Program(
        name="p", chip="c", chip_hash="", precision="bf16", nodes=(info,),
        streams=(stream(2), stream(4, node=0)), segment_bytes=(0,) * SEGMENTS,
        sections=(
            Section(name="a", runs=runs, repeat=2),
            Section(name="b", runs=(QueueRun(kind=LOAD, stream=1),)),
        ),
    )  # fmt: skip


def row(queue, index, pc, issue, complete, run):
    return [int(queue), index, pc, issue, complete, 0, run]


def test_launches_are_those_of_core_0(program):
    assert [(s.name, repeat, run.stream) for s, repeat, run in launches(program)] == [
        ("a", 0, 0),
        ("a", 1, 0),
        ("b", 0, 1),
    ]


def test_a_word_of_a_run(program):
    place = in_run(program, LOAD, 8, 2, 1)
    assert (place.queue, place.index, place.pc, place.word) == ("LOAD", 8, 1, "SYNC")
    assert (place.node, place.sources) == ("gemm", ("MatMul_3", "Add_4"))
    assert in_run(program, LOAD, 2, 0, 2).word == "END"
    assert in_run(program, LOAD, 2, 0, 2).node == ""
    assert in_run(program, LOAD, 9, 3, 0).word == in_run(program, LOAD, 9, 0, 9).word != "END"


def test_where_the_core_halted(program):
    trace = np.array([row(LOAD, i, i, i, i + 1, 0) for i in range(3)])
    assert halted(program, trace[:0], LOAD, 1).word == "SYNC"
    assert halted(program, trace[:2], LOAD, 2).word == "END"  # in run 0
    trace = np.concatenate([trace, [row(LOAD, 3 + i, i, 9, 9, 1) for i in range(3)]])
    assert halted(program, trace, LOAD, 3).node == "gemm"  # behind END of run 1
    assert halted(program, trace, LOAD, 3).index == 6
