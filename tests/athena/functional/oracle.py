"""The arithmetic of MATMUL and VEC written a second time, in numpy, from the text of the
instruction table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from athena.isa.fields import Alu, Dt, Kind, Lut, Red
from athena.isa.tables import evaluate

TINY = 2.0**-126
NAN = np.array(0x7FC00000, np.uint32).view(np.float32)


def widen(x: np.ndarray, dt: Dt) -> np.ndarray:
    """Storage to float32."""
    if dt is Dt.BF16:
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float32)


def narrow(t: np.ndarray, dt: Dt, zero: int = 0) -> np.ndarray:
    """float32 to storage."""
    nan = np.isnan(t)
    if dt is Dt.F32:
        return np.where(nan, NAN, t).astype(np.float32)
    if dt is Dt.BF16:
        # Round to nearest even by comparing with the two neighbours in double precision.
        bits = np.where(nan, NAN, t).view(np.uint32)
        low = bits & np.uint32(0xFFFF0000)
        rest = bits & np.uint32(0xFFFF)
        up = (rest > 0x8000) | ((rest == 0x8000) & ((low >> 16) & 1 == 1))
        return ((low >> 16) + (up & ~nan)).astype(np.uint16)
    if dt is Dt.F16:
        with np.errstate(all="ignore"):
            half = t.astype(np.float16)
        return np.where(nan, np.array(0x7E00, np.uint16).view(np.float16), half).astype(np.float16)
    info = {Dt.I8: np.iinfo(np.int8), Dt.U8: np.iinfo(np.uint8), Dt.I32: np.iinfo(np.int32)}[dt]
    whole = [0 if math.isnan(v) else (v if math.isinf(v) else round(v)) for v in t.ravel().tolist()]
    shifted = [v + (zero if dt is not Dt.I32 else 0) for v in whole]
    return (
        np.array([min(info.max, max(info.min, v)) for v in shifted])
        .reshape(t.shape)
        .astype(info.dtype)
    )


def larger(a, b):
    """NaN wins; +0 above -0."""
    key = np.where((a == b), np.signbit(b), a > b)
    y = np.where(key, a, b)
    return np.where(np.isnan(a) | np.isnan(b), NAN, y).astype(np.float32)


def smaller(a, b):
    return -larger(-a, -b)


def alu(op: Alu, t, b, b_select):
    """One two-operand step; float32 or int32 (wrapping) by the type of t."""
    kind = t.dtype.type
    with np.errstate(all="ignore"):
        match op:
            case Alu.PASS:
                return t
            case Alu.ADD:
                return t + b
            case Alu.SUB:
                return t - b
            case Alu.RSUB:
                return b - t
            case Alu.MUL:
                return t * b
            case Alu.MAX:
                return larger(t, b) if kind is np.float32 else np.maximum(t, b)
            case Alu.MIN:
                return smaller(t, b) if kind is np.float32 else np.minimum(t, b)
            case Alu.SELECT:
                return np.where(t != 0, b_select, b).astype(kind)
            case Alu.ABSDIFF:
                return np.abs(t - b)
            case _:
                name = {
                    Alu.EQ: "equal",
                    Alu.NE: "not_equal",
                    Alu.LT: "less",
                    Alu.LE: "less_equal",
                    Alu.GT: "greater",
                    Alu.GE: "greater_equal",
                }[op]
                return getattr(np, name)(t, b).astype(kind)


def lut(op: Lut, t):
    """One one-operand step."""
    kind = t.dtype.type
    with np.errstate(all="ignore"):
        match op:
            case Lut.NONE:
                return t
            case Lut.FLOOR:
                return np.floor(t)
            case Lut.CEIL:
                return np.ceil(t)
            case Lut.ROUND:
                return np.round(t)
            case Lut.TRUNC:
                return np.trunc(t)
            case Lut.ABS:
                return np.abs(t)
            case Lut.NEG:
                return -t
            case Lut.SIGN:
                return np.where(
                    np.isnan(t), NAN, (t > 0).astype(np.int8) - (t < 0).astype(np.int8)
                ).astype(kind)
            case Lut.NOT:
                return (t == 0).astype(kind)
            case _:
                return evaluate(op, t)


def reduce_row(red: Red, row, lanes: int):
    """Lane-strided partial results, then the pairwise tree."""
    steps = {
        Red.SUM: lambda a, b: a + b,
        Red.SUMSQ: lambda a, b: a + b,
        Red.MAX: larger if row.dtype == np.float32 else np.maximum,
        Red.ABSMAX: larger if row.dtype == np.float32 else np.maximum,
        Red.MIN: smaller if row.dtype == np.float32 else np.minimum,
    }
    step = steps[red]
    with np.errstate(all="ignore"):
        row = row * row if red is Red.SUMSQ else np.abs(row) if red is Red.ABSMAX else row
        partial = {}
        for j, value in enumerate(row):
            lane = j % lanes
            partial[lane] = step(partial[lane], value) if lane in partial else value
        half = (1 << (lanes - 1).bit_length()) // 2
        while half >= 1:
            for i in range(half):
                if i in partial and i + half in partial:
                    partial[i] = step(partial[i], partial.pop(i + half))
            half //= 2
    return partial[0], step


@dataclass
class VecCase:
    """Everything that the reference needs; arrays in storage type."""

    a: np.ndarray
    a_dt: Dt
    d_dt: Dt
    lanes: int
    alu1: Alu = Alu.PASS
    lut: Lut = Lut.NONE
    alu2: Alu = Alu.PASS
    b_kind: Kind = Kind.NONE
    b: np.ndarray | None = None
    b_dt: Dt = Dt.NONE
    b_imm: float = 0.0
    c_kind: Kind = Kind.NONE
    c: np.ndarray | None = None
    c_dt: Dt = Dt.NONE
    c_imm: float = 0.0
    mask: tuple[int, int, int, int] | None = None  # lo, hi, slopes
    fill: float = 0.0
    red: Red = Red.NONE
    e: np.ndarray | None = None
    keep: bool = False
    zero: int = 0
    integer: bool = False


def _side(case: VecCase, kind: Kind, values, dt: Dt, immediate: float):
    number = np.int32 if case.integer else np.float32
    shape = case.a.shape
    if kind is Kind.IMM:
        return np.full(
            shape, number(round(immediate)) if case.integer else np.float32(immediate), number
        )
    if kind is Kind.NONE:
        return np.zeros(shape, number)
    wide = values.astype(np.int32) if case.integer else widen(values, dt)
    wide = {Kind.FULL: wide, Kind.ROW: wide[:1], Kind.COL: wide[:, :1], Kind.SCALAR: wide[:1, :1]}[
        kind
    ]
    return np.broadcast_to(wide, shape).astype(number)


def vec(case: VecCase):
    """d and e as the machine leaves them (None where it writes none)."""
    t = case.a.astype(np.int32) if case.integer else widen(case.a, case.a_dt)
    b = _side(case, case.b_kind, case.b, case.b_dt, case.b_imm)
    c = _side(case, case.c_kind, case.c, case.c_dt, case.c_imm)
    t = alu(case.alu1, t, b, b)
    t = lut(case.lut, t)
    t = alu(case.alu2, t, c, b)
    rows, cols = t.shape
    if case.mask is not None:
        low, high, low_slope, high_slope = case.mask
        r, j = np.arange(rows)[:, None], np.arange(cols)[None, :]
        kept = (j >= low + r * low_slope) & (j < high + r * high_slope)
        t = np.where(kept, t, t.dtype.type(case.fill))
    d = None
    if case.d_dt is not Dt.NONE:
        if case.integer and case.d_dt in (Dt.I8, Dt.U8, Dt.I32):
            info = np.iinfo({Dt.I8: np.int8, Dt.U8: np.uint8, Dt.I32: np.int32}[case.d_dt])
            shift = 0 if case.d_dt is Dt.I32 else case.zero
            d = np.clip(t.astype(np.int64) + shift, info.min, info.max).astype(info.dtype)
        else:
            d = narrow(t.astype(np.float32), case.d_dt, case.zero)
    e = None
    if case.red is not Red.NONE:
        values = []
        for r in range(rows):
            value, step = reduce_row(case.red, t[r], case.lanes)
            with np.errstate(all="ignore"):
                values.append(step(case.e[r], value) if case.keep else value)
        e = np.array(values, t.dtype)
        if not case.integer:
            e = narrow(e, Dt.F32)
    return d, e


def matmul(a, b, start, rows: int):
    """D for float32 a [M, K], b [K, N] and initial D: chains of `rows` products from +0."""
    d = start.astype(np.float32).copy()
    with np.errstate(all="ignore"):
        for k0 in range(0, a.shape[1], rows):
            chain = np.zeros_like(d)
            for k in range(k0, min(a.shape[1], k0 + rows)):
                chain = chain + a[:, k, None] * b[None, k]
            d = d + chain
    return np.where(np.isnan(d), NAN, d).astype(np.float32)


def row_int8(x: np.ndarray, recip=lambda scale: evaluate(Lut.RECIP, scale)):
    """VMXQ: q and scales of float32 rows."""
    m = np.abs(x).max(axis=1)  # NaN wins
    with np.errstate(all="ignore"):
        scale = m * np.float32(1 / 127)
    scale = np.where((m > 0) & (scale < np.float32(TINY)), np.float32(TINY), scale)
    scale = np.where(np.isnan(m), NAN, scale).astype(np.float32)
    inverse = np.where(m == 0, np.float32(0), recip(scale)).astype(np.float32)
    with np.errstate(all="ignore"):
        t = x * inverse[:, None]
    return narrow(t, Dt.I8), scale


def hard_rows(cols: int) -> np.ndarray:
    """Rows for VMXQ: zeros, NaN, infinities, subnormal numbers, largest and smallest scales."""
    rng = np.random.default_rng(cols)
    x = rng.normal(size=(24, cols)).astype(np.float32)
    spot = rng.integers(0, cols, 24)
    x[0], x[1] = 0.0, -0.0
    x[2, spot[2]], x[3, spot[3]], x[4, spot[4]] = np.nan, np.inf, -np.inf
    x[5, spot[5]], x[5, -1] = np.inf, np.nan
    for row, most in enumerate((2.0**-149, 2.0**-140, 2.0**-126, 127 * TINY, 2.0**-119), 6):
        x[row] = (x[row] / np.abs(x[row]).max() * np.float64(most)).astype(np.float32)
    x[11] = np.sign(x[11]) * np.finfo(np.float32).max
    x[12, spot[12]] = -3e38
    x[13] = 0.0
    x[13, spot[13]] = -1e-45
    x[14] = 127 * 0.5 ** rng.integers(0, 9, cols)  # halves: to the even neighbour
    x[14, 0] = 127
    return x
