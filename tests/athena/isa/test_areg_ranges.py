"""Ranges of aregs cover what the walk of the loops gives, and so do the walk's own rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.chip.load import load_chip
from athena.functional.machine import Machine
from athena.isa.areg_ranges import areg_ranges
from athena.isa.builder import Clip, StreamBuilder, hbm, l1
from athena.isa.fields import AREG_A, AREG_D, IMM_A, IMM_D, Op, Queue, Seg, decode
from athena.isa.program import Program, QueueRun, Section, Stream
from athena.isa.walk_kernel import AREG, WALK_COLUMNS, walk

SMALL = st.integers(-5, 9)


@st.composite
def bodies(draw, builder, depth=0):
    """SETAs, loops with clips and deltas, and words that show areg 1 and 2."""
    for _ in range(draw(st.integers(1, 3))):
        choice = draw(st.integers(0, 3 if depth < 3 else 1))
        if choice == 0:
            builder.seta(
                draw(st.integers(1, 3)),
                draw(st.integers(-40, 40)),
                mult=draw(SMALL),
                scalar=draw(st.sampled_from([0, 1, 14])),
                div=draw(st.integers(1, 3)),
                mod=draw(st.integers(0, 3)),
                add=draw(st.integers(0, 3)),
                shift=draw(st.booleans()),
            )
        elif choice == 1:
            builder.load(hbm(Seg.INPUT, 0, areg=1), l1(0, areg=2), rows=1, row_bytes=1)
        else:
            clip = None
            if draw(st.booleans()):
                clip = Clip(draw(SMALL), areg=draw(st.integers(0, 3)), scalar=14)
            aregs = draw(st.lists(st.integers(1, 3), max_size=2, unique=True))
            steps = [(areg, draw(SMALL)) for areg in aregs]
            with builder.loop(draw(st.integers(0, 4)), *steps, clip=clip):
                draw(bodies(builder, depth + 1))


@st.composite
def streams_with_loops(draw):
    builder = StreamBuilder()
    draw(bodies(builder))
    builder.end()
    return builder.stream()


def walked(rows, aregs, scalars):
    """(pc, areg 1, areg 2) of every word that one instance runs."""
    state = np.zeros(WALK_COLUMNS, np.int64)
    state[AREG : AREG + 16] = aregs
    out = np.empty((100_000, 10), np.int64)
    flagged = np.ones(len(rows), bool)
    records, left = walk(rows, state, scalars, flagged, out, 100_000)
    assert left > 0
    return out[:records, (0, 4, 7)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(stream=streams_with_loops(), first=st.lists(SMALL, min_size=3, max_size=3))
def test_ranges_cover_every_iteration_of_every_instance(stream, first):
    rows = decode(stream.words)
    rows[:, AREG_A], rows[:, AREG_D] = 1, 2
    scalars = np.zeros((3, 16), np.int64)
    scalars[:, 1], scalars[:, 14] = 5, (0, 1, 6)
    aregs = np.zeros((3, 16), np.int64)
    aregs[:, 1] = first
    ranges = areg_ranges(rows, aregs, scalars)
    for instance in range(3):
        seen = walked(rows, aregs[instance], scalars[instance])
        pc = seen[:, 0]
        state = ranges.state[pc]
        for areg in (1, 2):
            value = seen[:, areg] - rows[pc, IMM_A if areg == 1 else IMM_D]
            assert (ranges.low[state, areg] <= value).all()
            assert (value <= ranges.high[state, areg]).all()
            assert (_lowest(value) >= _lowest(ranges.bits[state, areg])).all()
        counted = np.bincount(pc, minlength=len(rows))
        for word in range(len(rows) - 1):
            times = ranges.times[ranges.often[word]]
            if times is not None:
                assert times[instance] == counted[word]


def _lowest(bits):
    """The lowest bit of each number that is set, 64 where none of the low six is."""
    low = bits & 63
    return np.where(low == 0, 64, low & -low)


@pytest.mark.parametrize(
    ("delta", "count", "low", "high"), [(4, 3, 10, 18), (-4, 3, 2, 10), (4, 1, 10, 10)]
)
def test_a_loop_is_exact(delta, count, low, high):
    builder = StreamBuilder()
    with builder.loop(count, (1, delta)):
        builder.load(hbm(Seg.INPUT, 0, areg=1), l1(0), rows=1, row_bytes=1)
    builder.load(hbm(Seg.INPUT, 0, areg=1), l1(0), rows=1, row_bytes=1)
    builder.end()
    rows = decode(builder.stream().words)
    aregs = np.zeros((1, 16), np.int64)
    aregs[0, 1] = 10
    ranges = areg_ranges(rows, aregs, np.zeros((1, 16), np.int64))
    inside, after = ranges.state[1], ranges.state[2]
    assert (ranges.low[inside, 1], ranges.high[inside, 1]) == (low, high)
    assert (ranges.low[after, 1], ranges.high[after, 1]) == (10, 10)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(stream=streams_with_loops())
def test_walk_visits_the_words_that_the_functional_machine_retires(stream):
    words = stream.words.copy()
    words["n"][words["op"] == Op.COPY, 1] = 0  # no rows: nothing is accessed
    chip = load_chip("athena-edge-ci")
    program = Program(
        name="t",
        chip=chip.name,
        chip_hash="",
        precision="bf16",
        streams=(Stream(words=words, nodes=stream.nodes),),
        sections=(Section(name="s", runs=(QueueRun(kind=Queue.LOAD, stream=0),)),),
        segment_bytes=(0,) * 8,
        scalars=(0, 5),
    )
    machine = Machine(program, chip)
    machine.run({}, trace=True)
    scalars = np.zeros(16, np.int64)
    scalars[1] = 5
    seen = walked(decode(words), np.zeros(16, np.int64), scalars)[:, 0]
    assert machine.trace[:-1, 2].tolist() == seen.tolist()
