"""COPY, COPYX, FILL, MCAST, VPERM and VGATHER."""

from __future__ import annotations

import numpy as np
import pytest

from athena.errors import FaultError
from athena.functional import Machine
from athena.isa.builder import Clip, StreamBuilder, Wait, acc, hbm, l1, l2, self_sem
from athena.isa.fields import Dt, GatherMode, Perm, Queue, Seg, Sig, signal
from tests.athena.functional.lab import STORAGE, chip, get, machine, program, put, same

BYTES = (0, 0, 0, 0, 4096, 4096, 4096, 0)


def noise(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, size).astype(np.uint8)


def block_index(blocks, block_stride, rows, stride, size) -> np.ndarray:
    """Offsets of the bytes of a strided block, in order."""
    b, r, j = np.ogrid[:blocks, :rows, :size]
    return (b * block_stride + r * stride + j).ravel()


@pytest.mark.parametrize(
    "blocks,rows,size,src,dst",
    [
        (1, 1, 1, (0, 0), (0, 0)),
        (1, 5, 7, (0, 9), (0, 11)),
        (3, 4, 16, (200, 20), (64, 16)),
        (2, 3, 8, (24, 8), (24, 8)),
        (3, 2, 5, (-100, 10), (100, 30)),
    ],
)
def test_copy_loads_and_stores_strided_blocks(blocks, rows, size, src, dst):
    load, store = StreamBuilder(), StreamBuilder()
    move = {"rows": rows, "row_bytes": size, "blocks": blocks}
    load.load(
        hbm(Seg.INPUT, 1000, stride=src[1]),
        l1(500, stride=dst[1]),
        block_strides=(src[0], dst[0]),
        **move,
    )
    store.store(
        l1(500, stride=dst[1]),
        hbm(Seg.OUTPUT, 700, stride=src[1]),
        block_strides=(dst[0], src[0]),
        **move,
    )
    data = noise(4096)
    first = machine("athena-edge", Queue.LOAD, load, segment_bytes=BYTES)
    first.segment(Seg.INPUT)[:] = data
    first.run({})
    want = np.zeros(4096, np.uint8)
    want[500 + block_index(blocks, dst[0], rows, dst[1], size)] = data[
        1000 + block_index(blocks, src[0], rows, src[1], size)
    ]
    same(first.l1(0)[:4096], want)
    second = machine("athena-edge", Queue.STORE, store, segment_bytes=BYTES)
    second.l1(0)[:4096] = want
    second.run({})
    back = np.zeros(4096, np.uint8)
    where = block_index(blocks, src[0], rows, src[1], size)
    back[700 + where] = data[1000 + where]
    same(second.segment(Seg.OUTPUT), back)


@pytest.mark.parametrize(
    "which,limit,left",
    [(0, 1, (1, 3, 8)), (1, 2, (2, 2, 8)), (2, 5, (2, 3, 5)), (1, -4, (2, 0, 8))],
)
def test_copy_clips(which, limit, left):
    clips = [None, None, None]
    clips[which] = Clip(limit, areg=3, scalar=2)
    builder = StreamBuilder()
    builder.seta(3, 6)
    source, target = hbm(Seg.INPUT, 0, stride=8), l1(0, stride=8)
    builder.load(
        source, target, rows=3, row_bytes=8, blocks=2, block_strides=(24, 24), clips=tuple(clips)
    )
    runner = machine("athena-edge", Queue.LOAD, builder, segment_bytes=BYTES, scalars=(0, 0, 6))
    data = noise(4096)
    runner.segment(Seg.INPUT)[:] = data
    runner.run({})
    want = np.zeros(64, np.uint8)
    where = block_index(left[0], 24, left[1], 8, left[2])
    want[where] = data[where]
    same(runner.l1(0)[:64], want)


def test_copyx_gathers_and_scatters():
    data, index = noise(1024), np.array([5, 0, 5, 31], np.int32)
    gather, scatter = StreamBuilder(), StreamBuilder()
    table = hbm(Seg.INPUT, 64)
    gather.copyx(table, l1(100, stride=10), l1(0), limit=32, rows=4, row_bytes=9, pitch=30)
    runner = machine("athena-edge", Queue.LOAD, gather, segment_bytes=BYTES)
    runner.segment(Seg.INPUT)[:1024] = data
    put(runner.l1(0), 0, index, 0)
    runner.run({})
    for r, row in enumerate(index):
        same(runner.l1(0)[100 + 10 * r : 109 + 10 * r], data[64 + 30 * row : 73 + 30 * row])
    scatter.copyx(
        l1(100, stride=10), hbm(Seg.OUTPUT, 64), l1(0), limit=32, rows=4, row_bytes=9, pitch=30
    )
    runner = machine("athena-edge", Queue.STORE, scatter, segment_bytes=BYTES)
    runner.l1(0)[:1024] = data
    put(runner.l1(0), 0, np.array([7, 1, 2, 0], np.int32), 0)
    runner.run({})
    for r, row in enumerate((7, 1, 2, 0)):
        same(
            runner.segment(Seg.OUTPUT)[64 + 30 * row : 73 + 30 * row],
            data[100 + 10 * r : 109 + 10 * r],
        )


@pytest.mark.parametrize(
    "index,text",
    [(32, "index 32 of row 1 is outside 0 … 31"), (-1, "index -1"), (31, "bytes 4068")],
)
def test_copyx_faults(index, text):
    builder = StreamBuilder()
    at = 64 if index != 31 else 4096 - 28 - 31 * 30 + 930 - 0
    builder.copyx(
        hbm(Seg.INPUT, at if index == 31 else 64),
        l1(100, stride=64),
        l1(0),
        limit=32,
        rows=2,
        row_bytes=29,
        pitch=30 if index != 31 else 0,
    )
    runner = machine("athena-edge", Queue.LOAD, builder, segment_bytes=BYTES)
    put(runner.l1(0), 0, np.array([0, index], np.int32), 0)
    with pytest.raises(FaultError) as caught:
        runner.run({})
    assert text in str(caught.value)


def test_fill():
    builder = StreamBuilder()
    builder.fill(l1(3, stride=20), rows=3, row_bytes=12, value=0x11223344)
    builder.fill(l1(100, stride=8), rows=2, row_bytes=5, value=0x77777777)
    runner = machine("athena-edge", Queue.LOAD, builder)
    runner.run({})
    want = np.zeros(128, np.uint8)
    for r in range(3):
        want[3 + 20 * r : 15 + 20 * r] = [0x44, 0x33, 0x22, 0x11] * 3
    for r in range(2):
        want[100 + 8 * r : 105 + 8 * r] = 0x77
    same(runner.l1(0)[:128], want)
    bad = StreamBuilder()
    bad.fill(l1(0), rows=1, row_bytes=5, value=1)
    with pytest.raises(FaultError, match="n2 is 5; expected 4"):
        machine("athena-edge", Queue.LOAD, bad).run({})


def test_cluster_dma_multicasts_and_cores_read_their_slice():
    """MCAST to clusters 1 and 3, then a core of cluster 3 loads from its own L2 and a cluster
    stores from its L2.
    """
    cast, load, out = StreamBuilder(), StreamBuilder(), StreamBuilder()
    cast.seta(4, 0b1010)
    source = hbm(Seg.INPUT, 0, stride=64)
    cast.mcast(
        source,
        l2(256, stride=32),
        rows=4,
        row_bytes=32,
        mask_areg=4,
        signals=[signal(Sig.CORES_MASK, 9, 4)],
    )
    load.sync(waits=[Wait(9)])
    load.load(
        l2(256, stride=32), l1(0, stride=32), rows=4, row_bytes=32, signals=[signal(Sig.CDMA, 3)]
    )
    out.copy(
        l2(256, stride=32), hbm(Seg.OUTPUT, 128, stride=32), rows=4, row_bytes=32, waits=[Wait(3)]
    )
    made = program(
        {(Queue.CDMA_IN, (0,)): cast, (Queue.LOAD, (12,)): load, (Queue.CDMA_OUT, (3,)): out},
        segment_bytes=BYTES,
    )
    runner = Machine(made, chip("athena"))
    data = noise(4096)
    runner.segment(Seg.INPUT)[:] = data
    runner.run({})
    want = data[block_index(1, 0, 4, 64, 32)]
    same(runner.l2(1)[256:384], want)
    same(runner.l2(3)[256:384], want)
    assert not runner.l2(0)[:1024].any() and not runner.l2(2)[:1024].any()
    same(runner.l1(12)[:128], want)
    same(runner.segment(Seg.OUTPUT)[128:256], want)


ROTATIONS = (Perm.ROTATE_HALF, Perm.ROTATE_PAIRS)


def check_that_integers_do_not_rotate(mode, dt):
    """Rotations negate by the sign bit."""
    builder = StreamBuilder()
    builder.vperm(l1(0, stride=48, dt=dt), l1(4096, stride=48, dt=dt), mode, rows=5, cols=12)
    with pytest.raises(FaultError, match="n1 is 12"):
        machine("athena-edge", Queue.VECTOR, builder).run({})


@pytest.mark.parametrize("mode", Perm)
@pytest.mark.parametrize("dt", [Dt.F32, Dt.BF16, Dt.F16, Dt.I8, Dt.I32])
def test_vperm(mode, dt):
    if mode in ROTATIONS and dt in (Dt.I8, Dt.I32):
        return check_that_integers_do_not_rotate(mode, dt)
    rows, cols = 5, 12
    kind = STORAGE[dt]
    size = np.dtype(kind).itemsize
    a = (
        np.random.default_rng(1)
        .integers(0, 256, rows * cols * size)
        .astype(np.uint8)
        .view(kind)
        .reshape(rows, cols)
    )
    bits = a.view(f"u{size}")
    flip = bits ^ bits.dtype.type(1 << (8 * size - 1))
    half = cols // 2
    pairs = np.stack([flip[:, 1::2], bits[:, ::2]], 2).reshape(rows, cols)
    want = {
        Perm.TRANSPOSE: bits.T,
        Perm.COPY: bits,
        Perm.ROTATE_HALF: np.concatenate([flip[:, half:], bits[:, :half]], 1),
        Perm.ROTATE_PAIRS: pairs,
    }[mode]
    builder = StreamBuilder()
    d_stride = size * (want.shape[1] + 1)
    source = (acc if dt is Dt.F32 else l1)(0, stride=size * 14, dt=dt)
    builder.vperm(source, l1(4096, stride=d_stride, dt=dt), mode, rows=rows, cols=cols)
    runner = machine("athena-edge", Queue.VECTOR, builder)
    put(runner.acc(0) if dt is Dt.F32 else runner.l1(0), 0, a, size * 14)
    runner.run({})
    same(get(runner.l1(0), 4096, want.shape, d_stride, bits.dtype), np.ascontiguousarray(want))


@pytest.mark.parametrize("dt", [Dt.F32, Dt.BF16, Dt.U8])
def test_vgather(dt):
    kind = STORAGE[dt]
    size = np.dtype(kind).itemsize
    rng = np.random.default_rng(2)
    table = rng.integers(0, 256, 9 * 8 * size).astype(np.uint8).view(kind).reshape(9, 8)
    rows = rng.integers(0, 9, 5).astype(np.int32)
    cells = rng.integers(0, 8, (9, 3)).astype(np.int32)
    builder = StreamBuilder()
    a = l1(0, stride=size * 8, dt=dt)
    builder.vgather(
        a, l1(1024, dt=Dt.I32), l1(2048, stride=40, dt=dt), GatherMode.ROWS, rows=5, cols=8, limit=9
    )
    each = l1(1200, stride=16, dt=Dt.I32)
    builder.vgather(
        a, each, l1(3072, stride=16, dt=dt), GatherMode.ELEMENTS, rows=9, cols=3, limit=8
    )
    runner = machine("athena-edge", Queue.VECTOR, builder)
    put(runner.l1(0), 0, table, size * 8)
    put(runner.l1(0), 1024, rows, 0)
    put(runner.l1(0), 1200, cells, 16)
    runner.run({})
    same(get(runner.l1(0), 2048, (5, 8), 40, kind), table[rows])
    same(
        get(runner.l1(0), 3072, (9, 3), 16, kind),
        np.take_along_axis(table, cells.astype(np.int64), 1),
    )


def test_vgather_index_fault():
    builder = StreamBuilder()
    a, d = l1(0, stride=8, dt=Dt.U8), l1(64, stride=8, dt=Dt.U8)
    builder.vgather(a, l1(128, dt=Dt.I32), d, GatherMode.ROWS, rows=2, cols=8, limit=4)
    runner = machine("athena-edge", Queue.VECTOR, builder)
    put(runner.l1(0), 128, np.array([3, 4], np.int32), 0)
    with pytest.raises(FaultError, match="operand b: index 4 of row 1 is outside 0 … 3"):
        runner.run({})


def test_vgather_limit_is_clipped():
    builder = StreamBuilder()
    a, d = l1(0, stride=8, dt=Dt.U8), l1(64, stride=8, dt=Dt.U8)
    builder.vgather(
        a, l1(128, dt=Dt.I32), d, GatherMode.ROWS, rows=1, cols=8, limit=4,
        clips=(None, None, Clip(3)),
    )  # fmt: skip
    runner = machine("athena-edge", Queue.VECTOR, builder)
    put(runner.l1(0), 128, np.array([3], np.int32), 0)
    with pytest.raises(FaultError, match="index 3 of row 0 is outside 0 … 2"):
        runner.run({})


@pytest.mark.parametrize(
    "queue,source,target,text",
    [
        (Queue.LOAD, l1(0), l1(64), "operand a: L1 is not allowed here"),
        (
            Queue.LOAD,
            hbm(Seg.INPUT, 0),
            hbm(Seg.OUTPUT, 0),
            "operand d: OUTPUT is not allowed here",
        ),
        (
            Queue.STORE,
            hbm(Seg.INPUT, 0),
            hbm(Seg.OUTPUT, 0),
            "operand a: INPUT is not allowed here",
        ),
        (
            Queue.LOAD,
            hbm(Seg.INPUT, 4090),
            l1(0),
            "operand a: bytes 4090 … 4098 of a memory of 4096",
        ),
        (
            Queue.LOAD,
            hbm(Seg.INPUT, 0),
            l1(131068),
            "operand d: bytes 131068 … 131076 of a memory of 131072",
        ),
        (Queue.LOAD, hbm(Seg.HOST, 0), l1(0), "operand a: bytes 0 … 8 of a memory of 0"),
        (Queue.LOAD, l2(0), l1(0), "operand a: bytes 0 … 8 of a memory of 0"),
        (
            Queue.LOAD,
            hbm(Seg.INPUT, 0, areg=7),
            l1(0),
            "operand a: bytes -4 … 4 of a memory of 4096",
        ),
    ],
)
def test_copy_faults(queue, source, target, text):
    builder = StreamBuilder()
    builder.seta(7, -4)
    builder.copy(source, target, rows=1, row_bytes=8)
    with pytest.raises(FaultError) as caught:
        machine("athena-edge", queue, builder, segment_bytes=BYTES).run({})
    assert text in str(caught.value)


def test_zero_counts_touch_nothing_but_signal():
    builder = StreamBuilder()
    builder.load(hbm(Seg.HOST, 99), l1(0), rows=0, row_bytes=8, signals=[self_sem(1)])
    builder.sync(waits=[Wait(1)])
    machine("athena-edge", Queue.LOAD, builder).run({})
