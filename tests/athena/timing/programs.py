"""Programs for the timing tests: hand-written ones, and random legal ones for one core."""

from __future__ import annotations

from hypothesis import strategies as st

from athena.chip.load import load_chip
from athena.isa.builder import (
    Clip,
    Mask,
    Operand,
    Side,
    StreamBuilder,
    Vec,
    Wait,
    acc,
    hbm,
    l1,
    self_sem,
)
from athena.isa.fields import Acc, Alu, Dt, GatherMode, Kind, Lut, Perm, Queue, Red, Seg
from athena.isa.program import Program, QueueRun, Section

SEGMENT_BYTES = 1 << 26


def program(*sections, sems=None, cluster_sems=None, segment_bytes=SEGMENT_BYTES, **fields):
    """A program of sections, each a list of (queue, builder[, units]) or a (repeat, list,
    seg_stride) tuple.
    """
    streams, made = [], []
    for section in sections:
        repeat, entries, stride = section if isinstance(section, tuple) else (1, section, (0,) * 16)
        runs = []
        for kind, builder, *units in entries:
            runs.append(
                QueueRun(kind=kind, stream=len(streams), units=tuple(units[0]) if units else ())
            )
            streams.append(builder.stream())
        made.append(
            Section(name=f"s{len(made)}", runs=tuple(runs), repeat=repeat, seg_stride=stride)
        )
    return Program(
        name="hand",
        chip="any",
        chip_hash="",
        precision="bf16",
        streams=tuple(streams),
        sections=tuple(made),
        segment_bytes=(segment_bytes,) * 8,
        core_sems=sems or {},
        cluster_sems=cluster_sems or {},
        **fields,
    )


@st.composite
def chips(draw):
    """Small cores with fixed-latency memory."""
    rows, cols = draw(st.sampled_from([(8, 8), (4, 8), (8, 4), (5, 3)]))
    return load_chip(
        "athena-edge-ci",
        overrides={
            "core.matrix.rows": rows,
            "core.matrix.cols": cols,
            "core.matrix.mac_latency_cycles": draw(st.integers(1, 3)),
            "core.vector.lanes": draw(st.sampled_from([3, 8])),
            "core.fifo_words": draw(st.sampled_from([8, 9, 16])),
            "core.fetch_bytes_per_cycle": draw(st.sampled_from([16, 32, 100, 128])),
            "core.fetch_latency_cycles": draw(st.sampled_from([0, 3, 20, 60])),
            "core.dma_words_in_flight": draw(st.sampled_from([1, 2, 4])),
            "core.l1_banks": draw(st.sampled_from([2, 4, 16])),
            "hbm.latency_cycles": draw(st.sampled_from([0, 7, 40])),
            "hbm.bandwidth_gbytes_per_s": draw(st.sampled_from([16, 16, 7, 3])),
        },
    )


L1_TOP, ACC_TOP = (
    24 * 1024,
    4 * 1024,
)  # first bytes of random operands; the small core has 32 KiB and 8 KiB


@st.composite
def local(draw, dt=Dt.NONE, space=l1):
    """An operand in L1 or ACC that leaves room for a small block."""
    top = L1_TOP if space is l1 else ACC_TOP
    offset = 512 + draw(st.integers(0, top // 64)) * 64
    return space(
        offset,
        stride=draw(st.sampled_from([64, 96, 128])),
        dt=dt,
        areg=draw(st.sampled_from([0, 0, 1, 2])),
    )


dims = st.integers(0, 9)
clip = st.one_of(
    st.none(), st.builds(Clip, st.integers(-2, 8), st.just(0), st.sampled_from([0, 1]))
)
clips = st.tuples(clip, clip, st.none())


@st.composite
def dma_word(draw, builder, kind):
    """A random COPY, COPYX or FILL."""
    far = hbm(Seg.ACT, draw(st.integers(16, 99)) * 32, stride=draw(st.sampled_from([32, 256])))
    near = draw(local())
    rows, row = draw(dims), draw(st.integers(0, 40))
    what = draw(st.sampled_from(["copy", "copy", "copyx", "fill"]))
    ends = (far, near) if kind is Queue.LOAD else (near, far)
    if what == "copyx":
        return lambda **kw: (
            builder.copyx(*ends, draw_index, limit=50, rows=rows, row_bytes=row, pitch=64, **kw)
            if (draw_index := l1(1024))
            else None
        )
    if what == "fill" and kind is Queue.LOAD:
        return lambda **kw: builder.fill(near, rows=rows, row_bytes=row, value=7, **kw)
    blocks, used = draw(st.integers(0, 3)), draw(clips)
    strides = (draw(st.sampled_from([0, 64])), draw(st.sampled_from([0, 128])))
    return lambda **kw: builder.copy(
        *ends, rows=rows, row_bytes=row, blocks=blocks, block_strides=strides, clips=used, **kw
    )


@st.composite
def matmul_word(draw, builder, kind):
    """A random MATMUL."""
    dt = draw(st.sampled_from([Dt.BF16, Dt.I8, Dt.F32]))
    a, b, d = draw(local(dt)), draw(local(dt)), draw(local(Dt.F32, acc))
    start = draw(st.sampled_from(list(Acc)))
    bias = draw(local(Dt.F32)) if start is Acc.BIAS else None
    m, n, k, used, trans = (
        draw(dims),
        draw(dims),
        draw(st.integers(0, 16)),
        draw(clips),
        draw(st.booleans()),
    )
    return lambda **kw: builder.matmul(
        a, b, d, m=m, n=n, k=k, start=start, bias=bias, b_trans=trans, clips=used, **kw
    )


@st.composite
def side(draw):
    """Operand b or c of VEC."""
    kind = draw(st.sampled_from(list(Kind)))
    if kind in (Kind.NONE, Kind.IMM):
        return Side(kind, None, 1.5)
    return Side(kind, draw(local(draw(st.sampled_from([Dt.F32, Dt.BF16])))))


@st.composite
def vector_word(draw, builder, kind):
    """A random VEC, VPERM, VGATHER or VMXQ."""
    a = draw(local(Dt.F32, draw(st.sampled_from([l1, acc]))))
    d, rows, cols, used = draw(local(Dt.BF16)), draw(dims), draw(dims), draw(clips)
    what = draw(st.sampled_from(["vec", "vec", "vperm", "vgather", "vmxq"]))
    if what == "vperm":
        mode = draw(st.sampled_from(list(Perm)))
        return lambda **kw: builder.vperm(a, d, mode, rows=rows, cols=cols, clips=used, **kw)
    if what == "vgather":
        mode, index = draw(st.sampled_from(list(GatherMode))), draw(local(Dt.I32))
        table = Operand(Seg.L1, 640, 64, Dt.F32)
        return lambda **kw: builder.vgather(
            table, index, d, mode, rows=rows, cols=cols, limit=9, clips=used, **kw
        )
    if what == "vmxq":
        scales = draw(local(Dt.F32))
        return lambda **kw: builder.vmxq(a, d, scales, rows=rows, cols=cols, clips=used, **kw)
    red = draw(st.sampled_from(list(Red)))
    steps = Vec(
        alu1=draw(st.sampled_from(list(Alu))),
        b=draw(side()),
        lut=draw(st.sampled_from(list(Lut))),
        alu2=draw(st.sampled_from(list(Alu))),
        c=draw(side()),
        red=red,
        red_to=draw(local(Dt.F32)) if red else None,
        red_keep=draw(st.booleans()),
        mask=Mask(lo=0, hi=4) if draw(st.booleans()) else None,
    )
    result = None if draw(st.integers(0, 4)) == 0 else d
    return lambda **kw: builder.vec(a, result, steps, rows=rows, cols=cols, clips=used, **kw)


WORDS = {
    Queue.LOAD: dma_word,
    Queue.STORE: dma_word,
    Queue.MATRIX: matmul_word,
    Queue.VECTOR: vector_word,
}
CHAIN = (Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE)


def prelude(draw, builder, filler):
    """Words before the rounds: some that issue faster than they can be fetched, loops, skipped
    loops.
    """

    def burst(most):
        for _ in range(draw(st.integers(0, most))):
            builder.sync()

    burst(25)
    filler(draw(st.integers(0, 4)))
    with builder.loop(draw(st.integers(0, 3)), clip=draw(clip)):
        burst(4)
        with builder.loop(draw(st.integers(0, 1))):
            burst(2)
    burst(12)
    with builder.loop(draw(st.integers(0, 2)), (2, 64)):
        filler(draw(st.integers(1, 2)))


@st.composite
def streams(draw, kind, rounds):
    """A stream of one queue: `rounds` rounds, each taking from the queue before and giving to the
    queue after it in the chain.

    Semaphore i: queue i of the chain may work on what queue i - 1 made; 8 + i: queue i - 1 has room
    again (credits).
    """
    builder, place = StreamBuilder(), CHAIN.index(kind)
    waits = ([Wait(place)] if place else []) + ([Wait(9 + place)] if place < 3 else [])
    gives = ([self_sem(8 + place)] if place else []) + ([self_sem(place + 1)] if place < 3 else [])

    def filler(count):
        for _ in range(count):
            draw(WORDS[kind](builder, kind))()

    def one_round():
        if draw(st.booleans()):
            builder.sync(waits=waits)
            filler(draw(st.integers(0, 1)))
            draw(WORDS[kind](builder, kind))(signals=gives)
        else:
            draw(WORDS[kind](builder, kind))(waits=waits)
            if draw(st.booleans()):
                builder.seta(draw(st.integers(0, 2)), 64, mult=32, scalar=1, div=2, mod=3)
            builder.sync(signals=gives)

    prelude(draw, builder, filler)
    shape = draw(st.sampled_from(["flat", "loop", "nested", "three"]))
    outer = draw(st.sampled_from([n for n in range(1, rounds + 1) if rounds % n == 0]))
    if shape == "flat":
        for _ in range(rounds):
            one_round()
    elif shape == "loop":
        with builder.loop(rounds, (1, 128), (2, -32)):
            one_round()
    elif shape == "nested":
        with builder.loop(outer, (1, 64)):
            with builder.loop(rounds // outer, (2, 32)):
                one_round()
            with builder.loop(draw(st.integers(0, 2))):
                filler(1)
    else:
        with builder.loop(1), builder.loop(outer, (1, 64)), builder.loop(rounds // outer, (1, 32)):
            one_round()
    filler(draw(st.integers(0, 12)))
    builder.end()
    return builder


@st.composite
def programs(draw):
    """A random legal program for one core: one or two sections, the first one perhaps repeated."""
    sections = []
    for _ in range(draw(st.integers(1, 2))):
        rounds = draw(st.integers(1, 6))
        entries = [(kind, draw(streams(kind, rounds))) for kind in CHAIN]
        sections.append((draw(st.integers(1, 2)), entries, (0,) * 16))
    credits = {9 + i: draw(st.integers(1, 3)) for i in range(3)}
    return program(*sections, sems=credits, scalars=(0, draw(st.integers(0, 9))))
