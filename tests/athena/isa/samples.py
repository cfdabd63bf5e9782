"""Words and programs for tests: Hypothesis strategies and one correct double-buffered kernel."""

import numpy as np
from hypothesis import strategies as st

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
