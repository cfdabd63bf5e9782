"""Look-up functions of VEC: coefficient tables and the exact algorithm, the definition for every
execution.

In:  float32 arrays. Out: `evaluate(lut, x)`, `coefficients()`, `errors()`.   Raises: ValueError
for a step without a table.

Every function is: reduce the argument, pick the nearest node i of a uniform grid, take d =
argument - node (exact), then p = c0[i] + d * (c1[i] + d * c2[i]), and put p together again. Each
add and multiply is one float32 operation rounded to nearest even with gradual underflow; nothing
is contracted to a fused multiply-add; no library function is called. c0 is the function at the
node, so that exp 0, recip 2^k, sqrt 4^k, log 1, sigmoid 0 … are exact. NaN gives the canonical
NaN; subnormal arguments are normalised first where the exponent is read; results become
subnormal gradually.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from athena.isa.fields import Lut

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# First entry of each table in the coefficient array, in order; sizes follow from the grids below.
EXP_AT, EXP_SIZE = 0, 64  # 2^(i/64), r in ±ln2/128
LOG_AT, LOG_SIZE = 64, 97  # log(m)/(m-1), m = 96/128 … 192/128
RECIP_AT, RECIP_SIZE = 161, 129  # 1/m, m = 128/128 … 256/128
RSQRT_AT, RSQRT_SIZE = 290, 193  # m^-1/2, m = 64/64 … 256/64
SQRT_AT, SQRT_SIZE = 483, 193  # m^1/2, m = 64/64 … 256/64
TANH_AT, TANH_SIZE = 676, 321  # tanh(u)/u, u = 0 … 10 in 1/32
ERF_AT, ERF_SIZE = 997, 129  # erf(u)/u, u = 0 … 4 in 1/32
GELU_AT, GELU_SIZE = 1126, 193  # Phi(-u), u = 0 … 6 in 1/32
GELU_TANH_AT, GELU_TANH_SIZE = 1319, 193  # (1 + tanh(...))/2 at -u, u = 0 … 6 in 1/32
SIGMOID_AT, SIGMOID_SIZE = 1512, 321  # sigmoid(-u), u = 0 … 20 in 1/16
SIN_AT, SIN_SIZE = 1833, 512  # sin at multiples of pi/256
TABLE_SIZE = 2345

TANH_LIMIT, ERF_LIMIT, GELU_LIMIT, SIGMOID_LIMIT = 10.0, 4.0, 6.0, 20.0
FINE, COARSE = 32.0, 16.0  # nodes in a unit of u
MANTISSA_NODES, ROOT_NODES = 128.0, 64.0  # nodes in a unit of m: LOG and RECIP, RSQRT and SQRT
LOG_FIRST, LOG_HALVE = 0.75, 1.5  # first m of LOG; from LOG_HALVE on m is halved
SIN_LIMIT = 262144.0  # radians; at and above it SIN and COS give NaN
EXP_LOW, EXP_HIGH = -105.0, 89.0  # arguments are clamped to this range: 0 below, infinity above
# Where node 0 would lie in the tables whose first node is not 0.
LOG_BASE, RECIP_BASE = LOG_AT - int(LOG_FIRST * MANTISSA_NODES), RECIP_AT - int(MANTISSA_NODES)
RSQRT_BASE, SQRT_BASE = RSQRT_AT - int(ROOT_NODES), SQRT_AT - int(ROOT_NODES)
ROUND_MAGIC = 12582912.0  # 1.5 * 2^23: adding and taking it away rounds to an integer, half to even
CANONICAL_NAN_BITS = 0x7FC00000
# VMXQ: a row's scale is its largest absolute value times QUANT_STEP, at least QUANT_LEAST (the
# smallest normal number, so that the reciprocal is finite) unless the row is all 0.
QUANT_STEP = float(np.float32(1.0 / 127.0))
QUANT_LEAST = 2.0**-126


def _head(value: float, bits: int) -> float:
    """`value` cut to `bits` significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.trunc(math.ldexp(mantissa, bits)), exponent - bits)


def _parts(value: float, *bits: int) -> tuple[float, ...]:
    """`value` as a sum of numbers of so many bits, the last one a float32."""
    parts = []
    for count in bits:
        parts.append(_head(value, count))
        value -= parts[-1]
    return (*parts, float(np.float32(value)))


EXP_SCALE = float(np.float32(64.0 / math.log(2.0)))
EXP_HI, EXP_LO = _parts(math.log(2.0) / 64.0, 9)
LOG_HI, LOG_LO = _parts(math.log(2.0), 15)
TURN_SCALE = float(np.float32(0.5 / math.pi))
TURN_1, TURN_2, TURN_3, TURN_4 = _parts(2.0 * math.pi, 8, 8, 8)
STEP_SCALE = float(np.float32(256.0 / math.pi))
STEP_HI, STEP_LO = _parts(math.pi / 256.0, 14)


def _log_ratio(m: float) -> float:
    return math.log1p(m - 1.0) / (m - 1.0) if m != 1.0 else 1.0


def _tanh_ratio(u: float) -> float:
    return math.tanh(u) / u if u != 0.0 else 1.0


def _erf_ratio(u: float) -> float:
    return math.erf(u) / u if u != 0.0 else 2.0 / math.sqrt(math.pi)


def _normal_tail(u: float) -> float:
    return 0.5 * math.erfc(u / math.sqrt(2.0))


def _sigmoid_tail(u: float) -> float:
    return math.exp(-u) / (1.0 + math.exp(-u))


def _gelu_tanh_tail(u: float) -> float:
    return _sigmoid_tail(2.0 * math.sqrt(2.0 / math.pi) * (u + 0.044715 * u**3))


def _fit(
    function: Callable[[float], float], first: float, step: float, size: int
) -> NDArray[np.float64]:
    """c0, c1, c2 [3, size] through each node and the outer Chebyshev points of its interval."""
    out = np.empty((3, size))
    h = step / 2.0 * math.sqrt(0.75)
    for i in range(size):
        node = first + i * step
        mid, low, high = function(node), function(node - h), function(node + h)
        out[:, i] = mid, (high - low) / (2.0 * h), (high + low - 2.0 * mid) / (2.0 * h * h)
    return out


def _sine_fit() -> NDArray[np.float64]:
    """Taylor coefficients, so that the sine of a small angle is the angle."""
    angles = [math.remainder(i, 512) * math.pi / 256.0 for i in range(SIN_SIZE)]
    sines = [0.0 if i % 256 == 0 else math.sin(angle) for i, angle in enumerate(angles)]
    cosines = [0.0 if i % 256 == 128 else math.cos(angle) for i, angle in enumerate(angles)]
    return np.array([sines, cosines, [-0.5 * s for s in sines]])


@cache
def coefficients() -> F32:
    """All tables, float32 [3, TABLE_SIZE].

    Rows c0, c1, c2; read-only, computed once from double precision.
    """
    log2 = math.log(2.0)
    tables = (
        (_fit(math.exp, 0.0, log2 / 64, EXP_SIZE), EXP_AT),
        (_fit(_log_ratio, LOG_FIRST, 1 / MANTISSA_NODES, LOG_SIZE), LOG_AT),
        (_fit(lambda m: 1.0 / m, 1.0, 1 / MANTISSA_NODES, RECIP_SIZE), RECIP_AT),
        (_fit(lambda m: 1.0 / math.sqrt(m), 1.0, 1 / ROOT_NODES, RSQRT_SIZE), RSQRT_AT),
        (_fit(math.sqrt, 1.0, 1 / ROOT_NODES, SQRT_SIZE), SQRT_AT),
        (_fit(_tanh_ratio, 0.0, 1 / FINE, TANH_SIZE), TANH_AT),
        (_fit(_erf_ratio, 0.0, 1 / FINE, ERF_SIZE), ERF_AT),
        (_fit(_normal_tail, 0.0, 1 / FINE, GELU_SIZE), GELU_AT),
        (_fit(_gelu_tanh_tail, 0.0, 1 / FINE, GELU_TANH_SIZE), GELU_TANH_AT),
        (_fit(_sigmoid_tail, 0.0, 1 / COARSE, SIGMOID_SIZE), SIGMOID_AT),
        (_sine_fit(), SIN_AT),
    )
    out = np.empty((3, TABLE_SIZE), np.float32)
    for values, at in tables:
        out[:, at : at + values.shape[1]] = values
    out.setflags(write=False)
    return out


def _poly(index: I32, d: F32) -> F32:
    c0, c1, c2 = coefficients()
    result: F32 = c0[index] + d * (c1[index] + d * c2[index])
    return result


def _power(k: I32) -> F32:
    """2^k for -126 <= k <= 127."""
    return ((k + np.int32(127)) << 23).astype(np.int32).view(np.float32)


def _scale(p: F32, k: I32) -> F32:
    """P * 2^k in two multiplications, the first exact."""
    half = k >> 1
    result: F32 = (p * _power(half)) * _power(k - half)
    return result


def _split(x: F32) -> tuple[I32, F32]:
    """Exponent e and mantissa m in [1, 2) of positive finite x, subnormals normalised by 2^24."""
    small = x < np.float32(2.0**-126)
    bits = np.where(small, x * np.float32(2.0**24), x).astype(np.float32).view(np.int32)
    exponent = (bits >> 23) - np.int32(127) - np.where(small, 24, 0).astype(np.int32)
    mantissa = ((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    return exponent.astype(np.int32), mantissa


def _node(u: F32, nodes: float) -> tuple[I32, F32]:
    """Nearest node's index and the distance from it."""
    index = (u * np.float32(nodes) + np.float32(0.5)).astype(np.int32)
    return index, u - index.astype(np.float32) * np.float32(1.0 / nodes)


def _safe(x: F32, good: NDArray[np.bool_], other: float = 1.0) -> F32:
    return np.where(good, x, np.float32(other)).astype(np.float32)


def _exp(x: F32) -> F32:
    x = np.clip(x, np.float32(EXP_LOW), np.float32(EXP_HIGH))
    magic = np.float32(ROUND_MAGIC)
    n = (x * np.float32(EXP_SCALE) + magic) - magic
    r = (x - n * np.float32(EXP_HI)) - n * np.float32(EXP_LO)
    j = n.astype(np.int32)
    return _scale(_poly(EXP_AT + (j & 63), r), j >> 6)


def _log(x: F32) -> F32:
    good = (x > 0) & (x < np.inf)
    exponent, m = _split(_safe(x, good))
    upper = m >= np.float32(LOG_HALVE)
    exponent = exponent + upper.astype(np.int32)
    m = np.where(upper, m * np.float32(0.5), m)
    index, d = _node(m, MANTISSA_NODES)
    z, e = m - np.float32(1.0), exponent.astype(np.float32)
    y = e * np.float32(LOG_HI) + (z * _poly(LOG_BASE + index, d) + e * np.float32(LOG_LO))
    return np.where(good, y, np.where(x == 0, -np.inf, np.where(x > 0, np.inf, np.nan))).astype(
        np.float32
    )


def _recip(x: F32) -> F32:
    size = np.abs(x)
    good = (size > 0) & (size < np.inf)
    exponent, m = _split(_safe(size, good))
    index, d = _node(m, MANTISSA_NODES)
    y = _scale(_poly(RECIP_BASE + index, d), -exponent)
    return np.copysign(np.where(good, y, np.where(size == 0, np.inf, 0.0)), x).astype(np.float32)


def _even(x: F32) -> tuple[I32, F32, I32, F32]:
    """Half exponent, mantissa in [1, 4), node and distance for the square roots."""
    exponent, m = _split(x)
    m = np.where(exponent & 1, m * np.float32(2.0), m).astype(np.float32)
    index, d = _node(m, ROOT_NODES)
    return exponent >> 1, m, index, d


def _rsqrt(x: F32) -> F32:
    good = (x > 0) & (x < np.inf)
    half, _, index, d = _even(_safe(x, good))
    y = _scale(_poly(RSQRT_BASE + index, d), -half)
    special = np.where(x == 0, np.copysign(np.inf, x), np.where(x > 0, 0.0, np.nan))
    return np.where(good, y, special).astype(np.float32)


def _sqrt(x: F32) -> F32:
    good = (x > 0) & (x < np.inf)
    half, _, index, d = _even(_safe(x, good))
    y = _scale(_poly(SQRT_BASE + index, d), half)
    return np.where(good, y, np.where(x == 0, x, np.where(x > 0, np.inf, np.nan))).astype(
        np.float32
    )


def _odd(x: F32, at: int, limit: float) -> F32:
    """X * ratio(|x|) up to 1; ±1 from the limit on."""
    size = np.abs(x)
    small = size < np.float32(limit)
    index, d = _node(_safe(size, small), FINE)
    y = np.minimum(size * _poly(at + index, d), np.float32(1.0))
    return np.copysign(np.where(small, y, np.float32(1.0)), x).astype(np.float32)


def _gate(x: F32, at: int, limit: float, nodes: float) -> F32:
    """tail(-x) for x <= 0, 1 - tail(x) above; 0 and 1 from the limit on."""
    size = np.abs(x)
    small = size < np.float32(limit)
    index, d = _node(_safe(size, small), nodes)
    tail = np.where(small, _poly(at + index, d), np.float32(0.0))
    return np.where(x > 0, np.float32(1.0) - tail, tail).astype(np.float32)


def _gated(x: F32, at: int, limit: float, nodes: float) -> F32:
    """X * gate(x); -0 below the limit, infinity included."""
    y = x * _gate(x, at, limit, nodes)
    return np.where(x <= np.float32(-limit), np.float32(-0.0), y).astype(np.float32)


def _wave(x: F32, quarter: int) -> F32:
    good = np.abs(x) < np.float32(SIN_LIMIT)
    x = _safe(x, good, 0.0)
    magic = np.float32(ROUND_MAGIC)
    k = (x * np.float32(TURN_SCALE) + magic) - magic
    y = ((x - k * np.float32(TURN_1)) - k * np.float32(TURN_2)) - k * np.float32(TURN_3)
    t = k * np.float32(TURN_4)
    n = ((y - t) * np.float32(STEP_SCALE) + magic) - magic
    r = (y - n * np.float32(STEP_HI)) - (t + n * np.float32(STEP_LO))
    index = (n.astype(np.int32) + np.int32(quarter)) & 511
    return np.where(good, _poly(SIN_AT + index, r), np.float32(np.nan)).astype(np.float32)


_FUNCTIONS: dict[Lut, Callable[[F32], F32]] = {
    Lut.EXP: _exp,
    Lut.LOG: _log,
    Lut.RECIP: _recip,
    Lut.RSQRT: _rsqrt,
    Lut.SQRT: _sqrt,
    Lut.TANH: lambda x: _odd(x, TANH_AT, TANH_LIMIT),
    Lut.ERF: lambda x: _odd(x, ERF_AT, ERF_LIMIT),
    Lut.GELU: lambda x: _gated(x, GELU_AT, GELU_LIMIT, FINE),
    Lut.GELU_TANH: lambda x: _gated(x, GELU_TANH_AT, GELU_LIMIT, FINE),
    Lut.SIGMOID: lambda x: _gate(x, SIGMOID_AT, SIGMOID_LIMIT, COARSE),
    Lut.SILU: lambda x: _gated(x, SIGMOID_AT, SIGMOID_LIMIT, COARSE),
    Lut.SIN: lambda x: _wave(x, 0),
    Lut.COS: lambda x: _wave(x, 128),
}


def evaluate(lut: Lut, x: F32) -> F32:
    """The step's result for each element, to the bit.

    >>> evaluate(Lut.RECIP, np.array([4.0, 0.0], np.float32))
    array([0.25,  inf], dtype=float32)
    """
    if lut not in _FUNCTIONS:
        raise ValueError(f"{lut.name} has no table")
    x = np.asarray(x, np.float32)
    number = ~np.isnan(x)
    with np.errstate(all="ignore"):
        y = _FUNCTIONS[lut](_safe(x, number))
    nan = np.array(CANONICAL_NAN_BITS, np.uint32).view(np.float32)
    return np.where(number & ~np.isnan(y), y, nan).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class LutError:
    """The promise of one function.

    |result - exact| <= bound × (|exact| if relative else 1) for low <= x <= high.
    """

    lut: Lut
    relative: bool
    bound: float
    low: float
    high: float
    special: str


def errors() -> tuple[LutError, ...]:
    """The documented error of every function; a test holds each to it."""
    tiny, huge = 2.0**-126, 3.4e38
    rows = (
        (
            Lut.EXP,
            True,
            2e-7,
            -87.0,
            88.7,
            "0 below -105 (subnormal results from -87.3), infinity above 88.73",
        ),
        (Lut.LOG, True, 4e-7, tiny, huge, "log 0 = -inf, negative: NaN, log inf = inf"),
        (Lut.RECIP, True, 2e-7, tiny, 2.0**126, "1/±0 = ±inf, 1/±inf = ±0"),
        (Lut.RSQRT, True, 2e-7, tiny, huge, "±0: ±inf, inf: 0, negative: NaN"),
        (Lut.SQRT, True, 2e-7, tiny, huge, "±0: ±0, inf: inf, negative: NaN"),
        (Lut.TANH, True, 4e-7, -10.0, 10.0, "±1 from |x| = 10 on"),
        (Lut.ERF, True, 4e-7, -4.0, 4.0, "±1 from |x| = 4 on"),
        (Lut.GELU, False, 5e-7, -12.0, 12.0, "-0 up to x = -6, x from 6 on"),
        (Lut.GELU_TANH, False, 5e-7, -12.0, 12.0, "-0 up to x = -6, x from 6 on"),
        (Lut.SIGMOID, False, 3e-7, -87.0, 87.0, "0 up to x = -20, 1 from 20 on"),
        (Lut.SILU, False, 2e-6, -30.0, 30.0, "-0 up to x = -20, x from 20 on"),
        (Lut.SIN, False, 2.5e-7, -262143.0, 262143.0, "NaN from |x| = 262144 on"),
        (Lut.COS, False, 2.5e-7, -262143.0, 262143.0, "NaN from |x| = 262144 on"),
    )
    return tuple(
        LutError(lut=lut, relative=rel, bound=bound, low=low, high=high, special=text)
        for lut, rel, bound, low, high, text in rows
    )
