"""MATMUL against a numpy reference that adds one product at a time."""

from __future__ import annotations

import numpy as np
import pytest

from athena.errors import FaultError
from athena.isa.builder import Clip, StreamBuilder, acc, l1
from athena.isa.fields import Acc, Dt, Queue
from tests.athena.functional import oracle
from tests.athena.functional.lab import chip, get, machine, put, same, stored

CHIPS = ("athena-edge-ci", "athena-edge", "athena")
SHAPES = ((1, 1, 1), (3, 17, 17), (17, 3, 65), (5, 33, 8), (4, 65, 3), (9, 31, 70))


def run(
    where,
    a,
    b,
    dt,
    *,
    m,
    n,
    k,
    start=None,
    bias=None,
    trans=False,
    zeros=(0, 0),
    mode=Acc.ZERO,
    clips=(None,) * 3,
):
    """One MATMUL word; a and b in storage type, b as stored."""
    made = chip(where)
    size = a.dtype.itemsize
    a_stride, b_stride, d_stride = size * (a.shape[1] + 1), size * (b.shape[1] + 2), 4 * (n + 1)
    half, quarter = made.core.l1_bytes // 2, made.core.l1_bytes // 4
    d_dt = Dt.I32 if dt in (Dt.I8, Dt.U8) else Dt.F32
    builder = StreamBuilder()
    builder.matmul(
        l1(0, stride=a_stride, dt=dt),
        l1(half, stride=b_stride, dt=dt),
        acc(0, stride=d_stride, dt=d_dt),
        m=m,
        n=n,
        k=k,
        start=mode,
        bias=l1(quarter, dt=d_dt) if mode is Acc.BIAS else None,
        b_trans=trans,
        zeros=zeros,
        clips=clips,
    )
    runner = machine(where, Queue.MATRIX, builder)
    put(runner.l1(0), 0, a, a_stride)
    put(runner.l1(0), half, b, b_stride)
    runner.acc(0)[:] = 0xAB
    if bias is not None:
        put(runner.l1(0), quarter, bias, 0)
    if start is not None:
        put(runner.acc(0), 0, start, d_stride)
    runner.run({})
    return get(runner.acc(0), 0, (m, n), d_stride, np.int32 if d_dt is Dt.I32 else np.float32)


def floats(rng, shape, dt):
    values = (rng.normal(size=shape) * np.exp2(rng.integers(-4, 5, shape))).astype(np.float32)
    return stored(values, dt)


@pytest.mark.parametrize("where", CHIPS)
@pytest.mark.parametrize("dt", [Dt.BF16, Dt.F32])
@pytest.mark.parametrize("trans", [False, True])
def test_floating_point_equals_the_chain_to_the_bit(where, dt, trans):
    rows = chip(where).core.matrix.rows
    rng = np.random.default_rng(1)
    for m, n, k in SHAPES:
        a, b = floats(rng, (m, k), dt), floats(rng, (k, n), dt)
        start, bias = (
            rng.normal(size=(m, n)).astype(np.float32),
            rng.normal(size=n).astype(np.float32),
        )
        wide_a, wide_b = oracle.widen(a, dt), oracle.widen(b, dt)
        held = b.T.copy() if trans else b
        for mode in Acc:
            first = {Acc.ZERO: np.zeros((m, n)), Acc.KEEP: start, Acc.BIAS: np.tile(bias, (m, 1))}[
                mode
            ]
            got = run(
                where, a, held, dt, m=m, n=n, k=k, start=start, bias=bias, trans=trans, mode=mode
            )
            same(got, oracle.matmul(wide_a, wide_b, first, rows))


def test_a_large_block_equals_the_chain_to_the_bit():
    rng = np.random.default_rng(2)
    a, b = floats(rng, (129, 130), Dt.BF16), floats(rng, (130, 129), Dt.BF16)
    got = run("athena", a, b, Dt.BF16, m=129, n=129, k=130)
    want = oracle.matmul(
        oracle.widen(a, Dt.BF16), oracle.widen(b, Dt.BF16), np.zeros((129, 129)), 64
    )
    same(got, want)


def test_products_are_rounded_before_the_sum():
    """A fused multiply-add would keep the 2^-24 of (1 + 2^-12)^2."""
    x = np.float32(1 + 2.0**-12)
    a, b = np.array([[1.0, x]], np.float32), np.array([[-1.0], [x]], np.float32)
    got = run("athena", a, b, Dt.F32, m=1, n=1, k=2)
    assert got[0, 0] == np.float32(x * x) - np.float32(1)
    assert float(got[0, 0]) != float(x) * float(x) - 1.0


@pytest.mark.parametrize("columns", [1, 40])
def test_special_values(columns):
    """Infinities, NaN (one canonical), subnormal products and sums, -0."""
    tiny = np.float32(2.0**-100)
    a = np.array(
        [[np.inf, 1.0], [np.nan, 1.0], [tiny, tiny], [-0.0, -0.0], [3e38, 3e38]], np.float32
    )
    b = np.tile(np.array([[0.0], [2.0**-40]], np.float32), (1, columns))
    b[0, -1] = 2.0**-45
    got = run("athena-edge", a, b, Dt.F32, m=5, n=columns, k=2)
    want = oracle.matmul(a, b, np.zeros((5, columns)), 16)
    same(got, want)
    assert {int(v) for v in got[1].view(np.uint32)} == {0x7FC00000}
    assert 0 < got[2, -1] < 2.0**-126


@pytest.mark.parametrize("trans", [False, True])
@pytest.mark.parametrize("a_dt,b_dt", [(Dt.I8, Dt.I8), (Dt.U8, Dt.I8), (Dt.U8, Dt.U8)])
def test_integers_are_exact(a_dt, b_dt, trans):
    rng = np.random.default_rng(3)
    limits = {Dt.I8: (-128, 127), Dt.U8: (0, 255)}
    for (m, n, k), extreme in (((3, 17, 65), False), ((17, 129, 129), False), ((2, 2, 2000), True)):
        a = rng.integers(*limits[a_dt], (m, k), endpoint=True)
        b = rng.integers(*limits[b_dt], (k, n), endpoint=True)
        zeros = (int(rng.integers(*limits[a_dt])), int(rng.integers(*limits[b_dt])))
        if extreme:
            a[:], b[:], zeros = limits[a_dt][0], limits[b_dt][0], (limits[a_dt][1], limits[b_dt][1])
        bias = rng.integers(-(1 << 30), 1 << 30, n).astype(np.int32)
        want = (a - zeros[0]) @ (b - zeros[1]) + bias
        builder_b = b.T if trans else b
        got = _mixed(a, builder_b, (a_dt, b_dt), (m, n, k), bias, zeros, trans)
        same(got, want.astype(np.int64).astype(np.int32))


def _mixed(a, b, dts, shape, bias, zeros, trans):
    m, n, k = shape
    half = 1 << 20
    builder = StreamBuilder()
    builder.matmul(
        l1(0, stride=a.shape[1], dt=dts[0]),
        l1(half, stride=b.shape[1], dt=dts[1]),
        acc(0, stride=4 * n, dt=Dt.I32),
        m=m,
        n=n,
        k=k,
        start=Acc.BIAS,
        bias=l1(2 * half, dt=Dt.I32),
        zeros=zeros,
        b_trans=trans,
    )
    runner = machine("athena", Queue.MATRIX, builder)
    put(runner.l1(0), 0, stored(a, dts[0]), a.shape[1])
    put(runner.l1(0), half, stored(b, dts[1]), b.shape[1])
    put(runner.l1(0), 2 * half, bias, 0)
    runner.run({})
    return get(runner.acc(0), 0, (m, n), 4 * n, np.int32)


def test_integer_sums_wrap():
    a, b = np.full((1, 1), 100, np.int8), np.full((1, 1), 100, np.int8)
    start = np.full((1, 1), (1 << 31) - 1, np.int32)
    got = run("athena-edge", a, b, Dt.I8, m=1, n=1, k=1, start=start, mode=Acc.KEEP)
    assert got[0, 0] == -(1 << 31) + 9999


def test_depth_zero_writes_the_initial_values():
    bias = np.arange(5, dtype=np.float32)
    empty_a, empty_b = np.zeros((3, 1), np.uint16), np.zeros((1, 5), np.uint16)
    got = run("athena-edge", empty_a, empty_b, Dt.BF16, m=3, n=5, k=0, bias=bias, mode=Acc.BIAS)
    same(got, np.tile(bias, (3, 1)))


@pytest.mark.parametrize(
    "which,limit,kept", [(0, 2, 2), (1, 3, 3), (2, 0, 0), (0, -1, None), (1, 99, 9)]
)
def test_clips(which, limit, kept):
    rng = np.random.default_rng(4)
    sizes = [4, 9, 20]
    a, b = floats(rng, (4, 20), Dt.BF16), floats(rng, (20, 9), Dt.BF16)
    start = rng.normal(size=(4, 9)).astype(np.float32)
    clips = [None, None, None]
    clips[which] = Clip(limit)
    got = run(
        "athena-edge", a, b, Dt.BF16, m=4, n=9, k=20, start=start, mode=Acc.KEEP, clips=tuple(clips)
    )
    sizes[which] = kept or 0
    m, n, k = sizes
    want = start.copy()
    part = oracle.matmul(
        oracle.widen(a, Dt.BF16)[:m, :k], oracle.widen(b, Dt.BF16)[:k, :n], start[:m, :n], 16
    )
    want[:m, :n] = part
    same(got, want)


@pytest.mark.parametrize(
    "change,text",
    [
        ({"a_dt": Dt.F16}, "operand b: dtype of b"),
        ({"b_dt": Dt.F32}, "operand b: dtype of b is 1; expected 2"),
        ({"d_dt": Dt.I32}, "operand d: dtype of d is 6; expected 1"),
        ({"d_seg": "l1"}, "operand d: L1 is not allowed here"),
        ({"m": 300}, "of a memory of 32768"),
        ({"a_at": 1}, "is not a multiple of 2"),
    ],
)
def test_faults(change, text):
    builder = StreamBuilder()
    builder.node = 0
    d = (l1 if "d_seg" in change else acc)(0, stride=256, dt=change.get("d_dt", Dt.F32))
    builder.matmul(
        l1(change.get("a_at", 0), stride=64, dt=change.get("a_dt", Dt.BF16)),
        l1(65536, stride=128, dt=change.get("b_dt", Dt.BF16)),
        d,
        m=change.get("m", 4),
        n=64,
        k=8,
    )
    with pytest.raises(FaultError, match="node 'node0'") as caught:
        machine("athena-edge", Queue.MATRIX, builder).run({})
    assert text in str(caught.value)
    assert "MATRIX of core 0" in str(caught.value)
