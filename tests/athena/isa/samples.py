"""Words and programs for tests: Hypothesis strategies and one correct double-buffered kernel."""

import dataclasses
from contextlib import ExitStack

import numpy as np
from hypothesis import strategies as st

from athena.isa.builder import StreamBuilder, Vec, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import WORD_DTYPE, Dt, Op, Queue, Seg
from athena.isa.program import HostCall, NodeInfo, Program, QueueRun, Section, Stream, Tensor

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
UINT32 = st.integers(0, (1 << 32) - 1)
TEXT = st.text(max_size=12)


@st.composite
def words(draw, max_words=6):
    """Legal op codes with arbitrary bits everywhere else, half of the fields left 0."""
    count = draw(st.integers(0, max_words))
    raw = np.frombuffer(draw(st.binary(min_size=128 * count, max_size=128 * count)), np.uint8)
    seed = draw(st.integers(0, 1 << 20))
    keep = np.random.default_rng(seed).integers(0, 2, (count, 32), np.uint8).repeat(4, axis=1)
    out = (raw.reshape(count, 128) * keep).copy().view(WORD_DTYPE).reshape(-1)
    out["op"] = draw(st.lists(st.sampled_from(list(Op)), min_size=count, max_size=count))
    return out


@st.composite
def streams(draw, nodes=0):
    """A stream whose words carry node indices below `nodes`."""
    body = draw(words())
    index = st.lists(st.integers(-1, nodes - 1), min_size=len(body), max_size=len(body))
    return Stream(words=body, nodes=np.array(draw(index), np.int32))


@st.composite
def sections(draw, count):
    """A section that runs streams below `count`."""
    address = st.integers(-(1 << 40), 1 << 40)
    run = st.builds(
        QueueRun,
        kind=st.sampled_from(list(Queue)),
        stream=st.integers(0, count - 1),
        units=st.lists(st.integers(0, 63), max_size=3).map(tuple),
        aregs=st.lists(
            st.tuples(st.integers(0, 15), address), max_size=3, unique_by=lambda p: p[0]
        ).map(tuple),
    )
    per_segment = st.lists(address, min_size=16, max_size=16).map(tuple)
    return Section(
        name=draw(TEXT),
        runs=tuple(draw(st.lists(run, max_size=3))) if count else (),
        repeat=draw(st.integers(1, 1 << 32)),
        seg_base=draw(per_segment),
        seg_stride=draw(per_segment),
    )


_natural = st.integers(0, 1 << 40)
_names = st.lists(TEXT, max_size=2).map(tuple)
nodes_strategy = st.lists(
    st.builds(
        NodeInfo,
        name=TEXT,
        op=TEXT,
        sources=_names,
        place=st.sampled_from(["chip", "folded", "host"]),
        flops=st.dictionaries(TEXT, _natural, max_size=2),
        compulsory_bytes=_natural,
        dtype=TEXT,
        detail=TEXT,
        mapping=TEXT,
        repeat=st.integers(1, 1 << 20),
    ),
    max_size=3,
).map(tuple)
tensors_strategy = st.lists(
    st.integers(0, 3).flatmap(
        lambda rank: st.builds(
            Tensor,
            name=TEXT,
            role=st.sampled_from(["input", "output", "kv", "host"]),
            dtype=st.sampled_from(list(Dt)),
            source_dtype=st.sampled_from(["float32", "int64"]),
            shape=st.tuples(*[_natural] * rank),
            segment=st.sampled_from(list(Seg)[:8]),
            offset=_natural,
            strides=st.tuples(*[_natural] * rank),
        )
    ),
    max_size=2,
).map(tuple)
_sems = st.dictionaries(st.integers(0, 31), st.integers(0, 255), max_size=3)


@st.composite
def programs(draw):
    """Any Program that a file can hold; few are legal on a machine."""
    nodes = draw(nodes_strategy)
    body = tuple(draw(st.lists(streams(len(nodes)), max_size=3)))
    constants = {
        seg: np.frombuffer(draw(st.binary(max_size=100)), np.uint8)
        for seg in draw(st.sets(st.sampled_from(list(Seg)[:8]), max_size=3))
    }
    call = st.builds(
        HostCall,
        name=TEXT,
        node=st.integers(-1, len(nodes) - 1),
        model=st.binary(max_size=70),
        inputs=_names,
        outputs=_names,
        flops=_natural,
        bytes=_natural,
    )
    return Program(
        name=draw(TEXT),
        chip=draw(TEXT),
        chip_hash=draw(TEXT),
        precision=draw(TEXT),
        streams=body,
        sections=tuple(draw(st.lists(sections(len(body)), max_size=2))),
        segment_bytes=tuple(draw(st.lists(st.integers(100, 1 << 40), min_size=8, max_size=8))),
        tensors=draw(tensors_strategy),
        nodes=nodes,
        constants=constants,
        core_sems=draw(_sems),
        cluster_sems=draw(_sems),
        chip_sems=draw(_sems),
        scalars=tuple(draw(st.lists(st.integers(-(1 << 40), 1 << 40), max_size=16))),
        host_calls=tuple(draw(st.lists(call, max_size=2))),
        notes=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        weightless=draw(st.booleans()),
    )


def tables(program):
    """All of a program as comparable values."""
    fields = {
        name: getattr(program, name)
        for name in program.__slots__
        if name not in ("streams", "constants")
    }
    return (
        fields,
        [(stream.words.tobytes(), stream.nodes.tobytes()) for stream in program.streams],
        {seg: bytes(data) for seg, data in program.constants.items()},
    )


def ring_program(tiles=6, *, repeat=1, chip="athena-edge-ci"):
    """A correct double-buffered kernel: LOAD A tiles, MATMUL with B, VEC to bf16, STORE.

    Every semaphore has one producer and one consumer; `tiles` is even.
    """
    load, matrix, vector, store = (StreamBuilder() for _ in range(4))
    load.load(hbm(Seg.WEIGHT, 0, stride=16), l1(8192, stride=16), rows=8, row_bytes=16,
              waits=[Wait(7)], signals=[self_sem(2)])  # fmt: skip
    matrix.sync(waits=[Wait(2)])
    with ExitStack() as loops:
        for builder in (load, matrix, vector, store):
            loops.enter_context(builder.loop(tiles // 2, (1, 256)))
        for j in range(2):
            a, c = l1(2048 * j, stride=16, dt=Dt.BF16), l1(16384 + 2048 * j, stride=16, dt=Dt.BF16)
            d = acc(4096 * j, stride=32)
            load.load(hbm(Seg.INPUT, 128 * j, stride=16, areg=1), a, rows=8, row_bytes=16,
                      waits=[Wait(1)], signals=[self_sem(0)])  # fmt: skip
            matrix.matmul(a, l1(8192, stride=16, dt=Dt.BF16), d, m=8, n=8, k=8,
                          waits=[Wait(0), Wait(4)], signals=[self_sem(1), self_sem(3)])  # fmt: skip
            vector.vec(d, c, Vec(), rows=8, cols=8, waits=[Wait(3), Wait(6)],
                       signals=[self_sem(4), self_sem(5)])  # fmt: skip
            store.store(c, hbm(Seg.OUTPUT, 128 * j, stride=16, areg=1), rows=8, row_bytes=16,
                        waits=[Wait(5)], signals=[self_sem(6)])  # fmt: skip
    vector.sync(signals=[self_sem(7)])  # all MATMULs are complete: B may be overwritten
    runs = []
    for number, (kind, builder) in enumerate(
        zip((Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE),
            (load, matrix, vector, store), strict=True)
    ):  # fmt: skip
        builder.end()
        runs.append(QueueRun(kind=kind, stream=number))
    return Program(
        name="ring",
        chip=chip,
        chip_hash="",
        precision="bf16",
        streams=tuple(b.stream() for b in (load, matrix, vector, store)),
        sections=(Section(name="main", runs=tuple(runs), repeat=repeat),),
        segment_bytes=(0, 0, 128, 0, 0, 128 * tiles, 128 * tiles, 0),
        core_sems={1: 2, 4: 2, 6: 2, 7: 1},
    )


def edited(program, stream, change):
    """The program with `change(words)` applied to a copy of one stream's words."""
    words = program.streams[stream].words.copy()
    change(words)
    body = list(program.streams)
    body[stream] = dataclasses.replace(body[stream], words=words)
    return dataclasses.replace(program, streams=tuple(body))
