"""VMXQ against a second writing of it in numpy, and against the error that its row promises."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from athena.errors import FaultError
from athena.isa.builder import Clip, StreamBuilder, acc, l1
from athena.isa.fields import Dt, Lut, Queue
from athena.isa.tables import evaluate
from tests.athena.functional import oracle
from tests.athena.functional.lab import STORAGE, get, machine, put, same, stored

EDGE = "athena-edge"  # 16 lanes
D_AT, E_AT = 98304, 122880
BOUND = 0.50004  # of a scale: what the instruction table promises


def run(a: np.ndarray, dt: Dt, *, in_acc: bool = False, precision: str = "bf16", **fields):
    """q, scales and machine after one VMXQ; rows with gaps between them."""
    rows, cols = a.shape
    stride = np.dtype(STORAGE[dt]).itemsize * (cols + 3)
    source = (acc if in_acc else l1)(0, stride=stride, dt=dt)
    builder = StreamBuilder()
    target = l1(D_AT + 1, stride=cols + 2, dt=Dt.I8)
    builder.vmxq(source, target, l1(E_AT, stride=12), rows=rows, cols=cols, **fields)
    runner = machine(EDGE, Queue.VECTOR, builder, precision=precision)
    put(runner.acc(0) if in_acc else runner.l1(0), 0, a, stride)
    runner.run({}, trace=True)
    q = get(runner.l1(0), D_AT + 1, a.shape, cols + 2, np.int8)
    return q, get(runner.l1(0), E_AT, (rows, 1), 12, np.float32)[:, 0], runner


@pytest.mark.parametrize("cols", [1, 15, 16, 17, 100])
def test_hard_rows(cols):
    x = oracle.hard_rows(cols)
    q, scale, _ = run(x, Dt.F32)
    want_q, want_scale = oracle.row_int8(x)
    same(scale, want_scale)
    same(q, want_q)
    assert scale[0] == scale[1] == 0 and not np.signbit(scale[1])
    assert np.isnan(scale[[2, 5]]).all() and np.isinf(scale[[3, 4]]).all()
    assert not q[:6].any()
    assert (scale[6:10] == np.float32(oracle.TINY)).all()
    if cols > 1:
        assert np.abs(q[[11, 12, 14]]).max() == 127


@pytest.mark.parametrize(
    ("dt", "in_acc"),
    [(Dt.F32, False), (Dt.BF16, False), (Dt.F16, False), (Dt.I32, False), (Dt.F32, True),
     (Dt.I32, True)],
)  # fmt: skip
def test_sources(dt, in_acc):
    rng = np.random.default_rng(int(dt))
    x = rng.normal(size=(9, 37)) * np.exp2(rng.integers(-8, 9, (9, 1)))
    a = rng.integers(-(1 << 31), 1 << 31, (9, 37)) if dt is Dt.I32 else x.astype(np.float32)
    a = stored(a, dt)
    q, scale, _ = run(a, dt, in_acc=in_acc)
    want_q, want_scale = oracle.row_int8(oracle.widen(a, dt))
    same(scale, want_scale)
    same(q, want_q)


def test_rows_longer_than_a_pass_of_the_kernel():
    x = np.random.default_rng(3).normal(size=(2, 9001)).astype(np.float32)
    x[0, 8999], x[1, 2] = 7.0, -9.0
    q, scale, _ = run(x, Dt.F32)
    want_q, want_scale = oracle.row_int8(x)
    same(scale, want_scale)
    same(q, want_q)
    assert q[0, 8999] == 127 and q[1, 2] == -127


def test_dequantised_numbers_are_within_the_promised_error():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 64)) * np.exp2(rng.integers(-149, 125, (200, 1)))
    x = x.astype(np.float32)
    x[100:] = np.round(x[100:] / np.abs(x[100:]).max(1, keepdims=True) * 254) / 2  # near halves
    q, scale, _ = run(x, Dt.F32)
    error = np.abs(x.astype(np.float64) - q.astype(np.float64) * scale.astype(np.float64)[:, None])
    worst = (error / scale.astype(np.float64)[:, None]).max()
    assert 0.4999 < worst <= BOUND


def test_no_mantissa_of_a_largest_number_passes_127():
    """All 2^23 of them: what is left to the exponent is exact."""
    for part in range(8):
        m = np.arange(part << 20, (part + 1) << 20, dtype=np.uint32) | np.uint32(0x3F800000)
        m = m.view(np.float32)
        t = m * evaluate(Lut.RECIP, m * np.float32(1 / 127))
        assert t.min() > 126.9999 and t.max() < 127.0001


def test_the_exact_profile_divides():
    x = np.random.default_rng(5).normal(size=(6, 50)).astype(np.float32)
    q, scale, _ = run(x, Dt.F32, precision="fp32")
    want_q, want_scale = oracle.row_int8(x, lambda s: np.float32(1) / s)
    same(scale, want_scale)
    same(q, want_q)


def test_the_trace_has_the_rows_of_d_then_the_scales():
    x = np.random.default_rng(6).normal(size=(5, 20)).astype(np.float32)
    q, scale, runner = run(x, Dt.F32)
    assert runner.trace[0, 3] == zlib.crc32(q.tobytes() + scale.tobytes())


def test_clipped_counts():
    x = np.random.default_rng(7).normal(size=(4, 10)).astype(np.float32)
    q, scale, _ = run(x, Dt.F32, clips=(Clip(3), Clip(6), None))
    want_q, want_scale = oracle.row_int8(x[:3, :6])
    same(q[:3, :6], want_q)
    same(scale[:3], want_scale)
    assert not q[3:].any() and not q[:, 6:].any() and scale[3] == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mode": 1}, "mode is 1; expected 0"),
        ({"a": l1(0, stride=16, dt=Dt.U8)}, "operand a"),
        ({"a": l1(0, stride=16)}, "operand a"),
        ({"d": l1(512, stride=16, dt=Dt.BF16)}, "operand d"),
        ({"d": acc(0, stride=16, dt=Dt.I8)}, "operand d: ACC is not allowed here"),
        ({"scales": acc(0, stride=4)}, "operand e: ACC is not allowed here"),
        ({"scales": l1(1026, stride=4)}, "operand e: offset 1026 or stride 4"),
        ({"scales": l1(131068, stride=4)}, "operand e: bytes 131068"),
    ],
)
def test_faults(change, text):
    fields = {"a": l1(0, stride=16, dt=Dt.F32), "d": l1(512, stride=16, dt=Dt.I8)}
    fields |= {"scales": l1(1024, stride=4), "rows": 2, "cols": 4} | change
    builder = StreamBuilder()
    builder.vmxq(**fields)
    with pytest.raises(FaultError) as caught:
        machine(EDGE, Queue.VECTOR, builder).run({})
    assert text in str(caught.value)
