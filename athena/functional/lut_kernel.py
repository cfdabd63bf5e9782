"""Numba: the look-up functions of `athena.isa.tables` operation for operation, and the library
forms of the fp32 profile.

A row of float32 is changed in place. `table` is `coefficients()`, float32 [3, TABLE_SIZE].
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np

from athena.functional.access_kernel import bits_of, float_of
from athena.functional.inner_kernel import inner
from athena.isa import tables as t

f = np.float32
_MAGIC = f(t.ROUND_MAGIC)
_EXP_LOW, _EXP_HIGH = f(t.EXP_LOW), f(t.EXP_HIGH)
_EXP_SCALE, _EXP_HI, _EXP_LO = f(t.EXP_SCALE), f(t.EXP_HI), f(t.EXP_LO)
_LOG_HI, _LOG_LO = f(t.LOG_HI), f(t.LOG_LO)
_TURN_SCALE = f(t.TURN_SCALE)
_TURN_1, _TURN_2, _TURN_3, _TURN_4 = f(t.TURN_1), f(t.TURN_2), f(t.TURN_3), f(t.TURN_4)
_STEP_SCALE, _STEP_HI, _STEP_LO = f(t.STEP_SCALE), f(t.STEP_HI), f(t.STEP_LO)
_SIN_LIMIT = f(t.SIN_LIMIT)
_ZERO, _HALF, _ONE, _TWO, _1_5 = f(0), f(0.5), f(1), f(2), f(1.5)
_MINUS_ZERO = f(-0.0)
_SMALL, _UP = f(2.0**-126), f(2.0**24)
_INF, _NAN = f(np.inf), f(np.nan)
_EXP_AT, _LOG_AT, _RECIP_AT, _RSQRT_AT, _SQRT_AT, _SIN_AT = (
    t.EXP_AT, t.LOG_AT, t.RECIP_AT, t.RSQRT_AT, t.SQRT_AT, t.SIN_AT,
)  # fmt: skip
_TANH_AT, _ERF_AT, _GELU_AT, _GELU_TANH_AT, _SIGMOID_AT = (
    t.TANH_AT, t.ERF_AT, t.GELU_AT, t.GELU_TANH_AT, t.SIGMOID_AT,
)  # fmt: skip
_TANH_LIMIT, _ERF_LIMIT = f(t.TANH_LIMIT), f(t.ERF_LIMIT)
_GELU_LIMIT, _SIGMOID_LIMIT = f(t.GELU_LIMIT), f(t.SIGMOID_LIMIT)
_FINE, _COARSE = f(t.FINE), f(t.COARSE)


@inner
def _poly(table, index, d):
    return table[0, index] + d * (table[1, index] + d * table[2, index])


@inner
def _scale(p, k):
    half = k >> 1
    return (p * float_of((half + 127) << 23)) * float_of((k - half + 127) << 23)


@inner
def _split(x):
    small = x < _SMALL
    bits = np.int64(bits_of(x * _UP if small else x))
    exponent = (bits >> 23) - (151 if small else 127)
    return exponent, float_of((bits & 0x7FFFFF) | 0x3F800000)


@inner
def _node(u, nodes):
    index = np.int64(np.int32(u * nodes + _HALF))
    return index, u - f(index) * (_ONE / nodes)


@inner
def _exp(x, table):
    y = x if x == x else _ZERO
    y = y if y > _EXP_LOW else _EXP_LOW
    y = y if y < _EXP_HIGH else _EXP_HIGH
    n = (y * _EXP_SCALE + _MAGIC) - _MAGIC
    r = (y - n * _EXP_HI) - n * _EXP_LO
    j = np.int64(np.int32(n))
    p = _scale(_poly(table, _EXP_AT + (j & 63), r), j >> 6)
    return p if x == x else x


@inner
def _log(x, table):
    good = x > _ZERO and x < _INF
    exponent, m = _split(x if good else _ONE)
    if m >= _1_5:
        m = m * _HALF
        exponent += 1
    index, d = _node(m, f(128))
    e = f(exponent)
    y = e * _LOG_HI + ((m - _ONE) * _poly(table, _LOG_AT + index - 96, d) + e * _LOG_LO)
    other = -_INF if x == _ZERO else (x if x > _ZERO else _NAN)
    return y if good else other


@inner
def _signed(size, x):
    """Size with the sign of x."""
    return float_of((np.int64(bits_of(size)) & 0x7FFFFFFF) | (np.int64(bits_of(x)) & 0x80000000))


@inner
def _recip(x, table):
    size = abs(x)
    good = size > _ZERO and size < _INF
    exponent, m = _split(size if good else _ONE)
    index, d = _node(m, f(128))
    y = _scale(_poly(table, _RECIP_AT + index - 128, d), -exponent)
    other = _INF if size == _ZERO else (_ZERO if size == _INF else _NAN)
    return _signed(y if good else other, x)


@inner
def _root(x, table, inverse):
    good = x > _ZERO and x < _INF
    exponent, m = _split(x if good else _ONE)
    m = m * _TWO if exponent & 1 else m
    index, d = _node(m, f(64))
    half = exponent >> 1
    if inverse:
        y = _scale(_poly(table, _RSQRT_AT + index - 64, d), -half)
        other = _signed(_INF, x) if x == _ZERO else (_ZERO if x > _ZERO else _NAN)
    else:
        y = _scale(_poly(table, _SQRT_AT + index - 64, d), half)
        other = x if x >= _ZERO else _NAN
    return y if good else other


@inner
def _odd(x, table, at, limit):
    size = abs(x)
    small = size < limit
    index, d = _node(size if small else _ZERO, _FINE)
    y = size * _poly(table, at + index, d)
    y = y if y < _ONE else _ONE
    y = _signed(y if small else _ONE, x)
    return y if x == x else x


@inner
def _gate(x, table, at, limit, nodes):
    size = abs(x)
    small = size < limit
    index, d = _node(size if small else _ZERO, nodes)
    tail = _poly(table, at + index, d) if small else _ZERO
    y = _ONE - tail if x > _ZERO else tail
    return y if x == x else x


@inner
def _gated(x, table, at, limit, nodes):
    y = x * _gate(x, table, at, limit, nodes)
    return _MINUS_ZERO if x <= -limit else y


@inner
def _wave(x, table, quarter):
    good = abs(x) < _SIN_LIMIT
    x = x if good else _ZERO
    k = (x * _TURN_SCALE + _MAGIC) - _MAGIC
    y = ((x - k * _TURN_1) - k * _TURN_2) - k * _TURN_3
    u = k * _TURN_4
    n = ((y - u) * _STEP_SCALE + _MAGIC) - _MAGIC
    r = (y - n * _STEP_HI) - (u + n * _STEP_LO)
    index = (np.int64(np.int32(n)) + quarter) & 511
    return _poly(table, _SIN_AT + index, r) if good else _NAN


@inner
def table_row(op, x, n, table):
    """x[:n] = the function of step `op`, EXP … COS."""
    if op == 1:
        for j in range(n):
            x[j] = _exp(x[j], table)
    elif op == 2:
        for j in range(n):
            x[j] = _log(x[j], table)
    elif op == 3:
        for j in range(n):
            x[j] = _recip(x[j], table)
    elif op == 4 or op == 5:
        inverse = op == 4
        for j in range(n):
            x[j] = _root(x[j], table, inverse)
    elif op == 6 or op == 7:
        at, limit = (_TANH_AT, _TANH_LIMIT) if op == 6 else (_ERF_AT, _ERF_LIMIT)
        for j in range(n):
            x[j] = _odd(x[j], table, at, limit)
    elif op == 8 or op == 9:
        at = _GELU_AT if op == 8 else _GELU_TANH_AT
        for j in range(n):
            x[j] = _gated(x[j], table, at, _GELU_LIMIT, _FINE)
    elif op == 10:
        for j in range(n):
            x[j] = _gate(x[j], table, _SIGMOID_AT, _SIGMOID_LIMIT, _COARSE)
    elif op == 11:
        for j in range(n):
            x[j] = _gated(x[j], table, _SIGMOID_AT, _SIGMOID_LIMIT, _COARSE)
    else:
        quarter = 0 if op == 12 else 128
        for j in range(n):
            x[j] = _wave(x[j], table, quarter)


@inner
def _library(op, x):
    """The same functions in double precision, as the fp32 profile has them."""
    if op == 1:
        return math.exp(x) if x < 710.0 else math.inf
    if op == 2:
        return math.log(x) if x > 0.0 else (-math.inf if x == 0.0 else math.nan)
    if op == 3:
        return 1.0 / x if x != 0.0 else math.copysign(math.inf, x)
    if op == 4:
        return (
            1.0 / math.sqrt(x)
            if x > 0.0
            else (math.copysign(math.inf, x) if x == 0.0 else math.nan)
        )
    if op == 5:
        return math.sqrt(x) if x >= 0.0 else math.nan
    if op == 6:
        return math.tanh(x)
    if op == 7:
        return math.erf(x)
    if op == 8:
        return 0.5 * x * math.erfc(-x * math.sqrt(0.5)) if x > -40.0 else -0.0
    if op == 9:
        z = 2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
        return x / (1.0 + math.exp(-z)) if z > -700.0 else -0.0
    if op == 10:
        return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0
    if op == 11:
        return x / (1.0 + math.exp(-x)) if x > -700.0 else -0.0
    if op == 12:
        return math.sin(x) if abs(x) < math.inf else math.nan
    return math.cos(x) if abs(x) < math.inf else math.nan


@inner
def library_row(op, x, n):
    """x[:n] = the library function of step `op`, rounded once."""
    for j in range(n):
        value = np.float64(x[j])
        x[j] = f(_library(op, value)) if value == value else _NAN
