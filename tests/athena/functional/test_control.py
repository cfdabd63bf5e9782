"""Loops, address registers, sections, faults, limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.errors import FaultError, ProgramError, RuntimeLimitError
from athena.functional import Limits, Machine
from athena.isa.builder import Clip, StreamBuilder, Vec, Wait, hbm, imm, l1, self_sem
from athena.isa.fields import AREGS, SEGMENTS, Alu, Dt, Op, Queue, Seg
from athena.isa.program import QueueRun, Section
from tests.athena.functional.lab import chip, machine, program, same

SLOT = 4


def mark(builder: StreamBuilder, value: int, areg: int = 0, at: int = 0, **more) -> None:
    """Write a 32-bit mark to L1."""
    builder.fill(l1(at, areg=areg), rows=1, row_bytes=SLOT, value=value, **more)


def marks(runner: Machine, count: int, core: int = 0) -> list[int]:
    return runner.l1(core)[: SLOT * count].view(np.int32).tolist()


def bump(builder: StreamBuilder, areg: int = 0, at: int = 0, **more) -> None:
    """Add one to an int32 in L1."""
    place = l1(at, stride=4, dt=Dt.I32, areg=areg)
    builder.vec(place, place, Vec(alu1=Alu.ADD, b=imm(1), integer=True), rows=1, cols=1, **more)


def test_nested_loops_step_and_restore_their_aregs():
    builder = StreamBuilder()
    builder.seta(1, 8)
    builder.seta(2, 0)
    with builder.loop(3, (1, 100), (2, 16)):
        mark(builder, 1, areg=1)
        with builder.loop(2, (1, 4), (3, 40)):
            mark(builder, 2, areg=1, at=12)
            with builder.loop(4, (3, 4)):
                mark(builder, 3, areg=3, at=1000)
    mark(builder, 4, areg=1)
    mark(builder, 5, areg=3, at=2000)
    runner = machine("athena-edge", Queue.LOAD, builder)
    runner.run({}, trace=True)
    words = runner.l1(0)[:4096].view(np.int32)
    want = np.zeros(1024, np.int32)
    for i in range(3):
        want[(8 + 100 * i) // 4] = 1
        for j in range(2):
            want[(8 + 100 * i + 4 * j + 12) // 4] = 2
            for k in range(4):
                want[(1000 + 40 * j + 4 * k) // 4] = 3
    want[2], want[500] = 4, 5
    same(words, want)
    pcs = runner.trace[:, 2].tolist()
    body = [5, 6] + [7] * 4
    assert pcs == [0, 1, 2, *([3, 4, *body, *body] * 3), 8, 9, 10]
    assert runner.trace[:, 1].tolist() == list(range(len(pcs)))


def test_loops_skip_and_clip():
    builder = StreamBuilder()
    with builder.loop(0):
        mark(builder, 1)
    builder.seta(5, 7)
    with builder.loop(9, (1, 4), clip=Clip(3, areg=5, scalar=6)):
        mark(builder, 2, areg=1, at=4)
    with builder.loop(9, (1, 4), clip=Clip(-100)):
        mark(builder, 3, at=60)
    runner = machine("athena-edge", Queue.LOAD, builder, scalars=(0,) * 6 + (8,))
    runner.run({})
    assert marks(runner, 16) == [0, 2, 2, 2, 2, *[0] * 11]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    scalar=st.integers(0, (1 << 40)),
    div=st.integers(1, 1 << 20),
    mod=st.integers(0, 1 << 20),
    mult=st.integers(-(1 << 31), (1 << 31) - 1),
    value=st.integers(-(1 << 47), (1 << 47) - 1),
    add=st.integers(0, 64),
)
def test_seta_is_48_bit_arithmetic(scalar, div, mod, mult, value, add):
    builder = StreamBuilder()
    builder.seta(4, add)
    builder.seta(3, value, mult=mult, scalar=2, div=div, mod=mod, add=4)
    q = scalar // div % mod if mod else scalar // div
    result = (value + q * mult + add + (1 << 47)) % (1 << 48) - (1 << 47)
    # Bring the result back into L1's range to see it.
    builder.seta(5, -result + 16, add=3)
    mark(builder, 77, areg=5)
    runner = machine("athena-edge", Queue.LOAD, builder, scalars=(0, 0, scalar))
    runner.run({})
    assert marks(runner, 8) == [0, 0, 0, 0, 77, 0, 0, 0]


@pytest.mark.parametrize(
    "value,step,want", [(3, 4, 48), (1, 10, 1024), (1, 60, 0), (64, -3, 8), (-64, -6, -1)]
)
def test_seta_shifts(value, step, want):
    builder = StreamBuilder()
    builder.seta(3, value, mult=step, scalar=1, shift=True)
    builder.seta(5, 64 - want, add=3)
    mark(builder, 1, areg=5)
    runner = machine("athena-edge", Queue.LOAD, builder, scalars=(0, 1))
    runner.run({})
    assert marks(runner, 17)[16] == 1


def test_cores_and_clusters_know_their_numbers():
    builder = StreamBuilder()
    builder.seta(1, 0, mult=4, scalar=14)
    builder.seta(2, 0, mult=4, scalar=15)
    mark(builder, 1, areg=1)
    mark(builder, 2, areg=2, at=512)
    runner = Machine(program({(Queue.LOAD, (0, 5, 63)): builder}), chip("athena"))
    runner.run({})
    for core in (0, 5, 63):
        words = runner.l1(core)[:1024].view(np.int32)
        assert np.flatnonzero(words).tolist() == [core, 128 + core // 4]


def test_sections_repeat_with_strided_segments_and_initial_aregs():
    """Repeat i reads at base + i * stride.

    Each section starts from its run's aregs; a queue without a run skips it.
    """
    data = np.arange(1024, dtype=np.int32).view(np.uint8)
    load, store = StreamBuilder(), StreamBuilder()
    load.load(hbm(Seg.INPUT, 4), l1(0), rows=1, row_bytes=4, waits=[Wait(1)], signals=[self_sem(0)])
    load.end()
    store.store(
        l1(0),
        hbm(Seg.OUTPUT, 0, areg=2),
        rows=1,
        row_bytes=4,
        waits=[Wait(0)],
        signals=[self_sem(1)],
    )
    store.end()
    bases, strides = [0] * SEGMENTS, [0] * SEGMENTS
    bases[Seg.INPUT], strides[Seg.INPUT], strides[Seg.OUTPUT] = 100, 40, 8
    pair = (
        QueueRun(kind=Queue.LOAD, stream=0),
        QueueRun(kind=Queue.STORE, stream=1, aregs=((2, 16),)),
    )
    later = (
        QueueRun(kind=Queue.LOAD, stream=0),
        QueueRun(kind=Queue.STORE, stream=1, aregs=((2, 256),)),
    )
    sections = (
        Section(
            name="first", runs=pair, repeat=3, seg_base=tuple(bases), seg_stride=tuple(strides)
        ),
        Section(name="second", runs=later),
    )
    made = program(
        {(Queue.LOAD, ()): load, (Queue.STORE, ()): store},
        sections=sections,
        core_sems={1: 1},
        segment_bytes=(0, 0, 0, 0, 0, 4096, 1024, 0),
    )
    for seed in (None, 1, 2):
        runner = Machine(made, chip("athena-edge"))
        runner.segment(Seg.INPUT)[:] = data
        runner.run({}, order_seed=seed)
        out = runner.segment(Seg.OUTPUT).view(np.int32)
        assert out[[4, 6, 8, 64]].tolist() == [26, 36, 46, 1]


def broken(change) -> StreamBuilder:
    builder = StreamBuilder()
    change(builder)
    return builder


def poke(builder: StreamBuilder, **fields) -> None:
    builder.sync()
    for name, value in fields.items():
        builder._words[-1][name] = value


def deep(builder: StreamBuilder) -> None:
    with builder.loop(1), builder.loop(1), builder.loop(1), builder.loop(1):
        builder.sync()


def end_inside(builder: StreamBuilder) -> None:
    with builder.loop(2):
        builder.end()
    builder.sync()


@pytest.mark.parametrize(
    "change,text",
    [
        (lambda b: poke(b, op=0), "illegal word, code 0"),
        (lambda b: poke(b, op=77), "illegal word, code 77"),
        (lambda b: poke(b, op=Op.MATMUL), "MATMUL is not a word of LOAD queues"),
        (lambda b: poke(b, op=Op.MCAST), "MCAST is not a word of LOAD queues"),
        (lambda b: poke(b, op=Op.CALL), "CALL is not a word of LOAD queues"),
        (lambda b: poke(b, wait=(32, 1, 0, 0)), "a wait is 32; expected 31"),
        (deep, "loops nest 4 deep"),
        (end_inside, "END inside a loop"),
        (
            lambda b: poke(b, op=Op.LOOP, n=(1, 9, 0)),
            "the loop's body ends at word 10 of a stream of 2",
        ),
        (lambda b: b.seta(0, 1), "p0 is 0"),
        (lambda b: poke(b, op=Op.SETA, n=(0, 0, 0)), "p0 is 0"),
    ],
)
def test_illegal_words_are_faults(change, text):
    with pytest.raises(FaultError) as caught:
        machine("athena-edge", Queue.LOAD, broken(change)).run({})
    assert text in str(caught.value)


def test_a_stream_without_end_is_a_fault():
    builder = StreamBuilder()
    builder.sync()
    run = (QueueRun(kind=Queue.LOAD, stream=0),)
    made = program({}, sections=(Section(name="s", runs=run),))
    made = replace(made, streams=(builder.stream(),))
    with pytest.raises(FaultError, match="the stream of 1 words ends without END"):
        Machine(made, chip("athena-edge")).run({})


def test_limits_stop_a_run():
    builder = StreamBuilder()
    with builder.loop(1000), builder.loop(1000):
        builder.sync()
    runner = machine("athena-edge", Queue.LOAD, builder)
    with pytest.raises(RuntimeLimitError, match="after 5000 words"):
        runner.run({}, limits=Limits(words=5000))
    big = StreamBuilder()
    with big.loop(1000):
        mark(big, 1)
    with pytest.raises(RuntimeLimitError, match="after 10 words"):
        machine("athena-edge", Queue.LOAD, big).run({}, limits=Limits(work=36))


@pytest.mark.parametrize(
    "run,text",
    [
        (QueueRun(kind=Queue.LOAD, stream=0, units=(1,)), "LOAD on units"),
        (QueueRun(kind=Queue.CDMA_IN, stream=0, units=(-1,)), "CDMA_IN on units"),
        (QueueRun(kind=Queue.LOAD, stream=0, units=(0, 0)), "LOAD on units"),
        (QueueRun(kind=Queue.LOAD, stream=0, aregs=((0, 1),)), "aregs 1 … 15"),
        (QueueRun(kind=Queue.LOAD, stream=0, aregs=((AREGS, 1),)), "aregs 1 … 15"),
    ],
)
def test_programs_for_units_that_do_not_exist(run, text):
    builder = StreamBuilder()
    made = program({(Queue.LOAD, ()): builder}, sections=(Section(name="s", runs=(run,)),))
    with pytest.raises(ProgramError, match=text):
        Machine(made, chip("athena-edge"))


def test_two_runs_of_one_queue_in_a_section_are_refused():
    runs = (QueueRun(kind=Queue.LOAD, stream=0), QueueRun(kind=Queue.LOAD, stream=0, units=(0,)))
    made = program({(Queue.LOAD, ()): StreamBuilder()}, sections=(Section(name="s", runs=runs),))
    with pytest.raises(ProgramError, match="two runs on LOAD of core 0"):
        Machine(made, chip("athena-edge"))


def test_sections_beyond_any_memory_are_refused():
    run = (QueueRun(kind=Queue.LOAD, stream=0),)
    for change in ({"repeat": 1 << 19}, {"seg_stride": (1 << 45,) * SEGMENTS}):
        section = Section(name="s", runs=run, **change)
        made = program({(Queue.LOAD, ()): StreamBuilder()}, sections=(section,))
        with pytest.raises(ProgramError, match="section 's'"):
            Machine(made, chip("athena-edge"))


@pytest.mark.parametrize(
    "blocks,rows,size", [(1, 1 << 32, 8), (1 << 20, 1 << 20, 8), (4, 1, 1 << 31)]
)
def test_a_word_without_end_is_a_fault(blocks, rows, size):
    """Counts whose products pass 64 bits, on operands that do not move."""
    builder = StreamBuilder()
    move = {"blocks": blocks, "rows": min(rows, (1 << 32) - 1), "row_bytes": size}
    builder.load(hbm(Seg.INPUT, 0), l1(0), block_strides=(-(1 << 31), 0), **move)
    with pytest.raises(FaultError, match="is more than one word may do|of a memory of"):
        machine("athena-edge", Queue.LOAD, builder, segment_bytes=(0,) * 5 + (64, 0, 0)).run({})
