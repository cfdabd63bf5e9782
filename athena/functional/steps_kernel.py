"""Numba: the passes of VEC: two-operand steps, exact one-operand steps, reductions.

Floating elements are float32, integers int32; their buffers are the same bytes.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from athena.functional.access_kernel import (
    bits_of,
    f32_at,
    float_of,
    i32_at,
)
from athena.functional.inner_kernel import inner

f = np.float32
_ZERO, _ONE = f(0), f(1)


@inner
def _larger(a, b):
    """The larger; NaN wins, -0 < +0."""
    y = a if a > b else b
    y = float_of(np.int64(bits_of(a)) & np.int64(bits_of(b))) if a == b else y
    return y if a == a else a


@inner
def _smaller(a, b):
    """The smaller; NaN wins, -0 < +0."""
    y = a if a < b else b
    y = float_of(np.int64(bits_of(a)) | np.int64(bits_of(b))) if a == b else y
    return y if a == a else a


@inner
def alu_float(op, t, b, b_select, n):
    """T = op(t, b); SELECT: t = b_select where t is not 0, else b."""
    if op == 1:
        for j in range(n):
            t[j] = t[j] + b[j]
    elif op == 2:
        for j in range(n):
            t[j] = t[j] - b[j]
    elif op == 3:
        for j in range(n):
            t[j] = b[j] - t[j]
    elif op == 4:
        for j in range(n):
            t[j] = t[j] * b[j]
    elif op == 5:
        for j in range(n):
            t[j] = _larger(t[j], b[j])
    elif op == 6:
        for j in range(n):
            t[j] = _smaller(t[j], b[j])
    elif op == 7:
        for j in range(n):
            t[j] = _ONE if t[j] == b[j] else _ZERO
    elif op == 8:
        for j in range(n):
            t[j] = _ONE if t[j] != b[j] else _ZERO
    elif op == 9:
        for j in range(n):
            t[j] = _ONE if t[j] < b[j] else _ZERO
    elif op == 10:
        for j in range(n):
            t[j] = _ONE if t[j] <= b[j] else _ZERO
    elif op == 11:
        for j in range(n):
            t[j] = _ONE if t[j] > b[j] else _ZERO
    elif op == 12:
        for j in range(n):
            t[j] = _ONE if t[j] >= b[j] else _ZERO
    elif op == 13:
        for j in range(n):
            t[j] = b_select[j] if t[j] != _ZERO else b[j]
    elif op == 14:
        for j in range(n):
            t[j] = abs(t[j] - b[j])


@inner
def _int2(op, a, b, select):
    """One integer step on int64 copies of int32 values; the caller cuts to 32 bits."""
    if op == 1:
        return a + b
    if op == 2:
        return a - b
    if op == 3:
        return b - a
    if op == 4:
        return a * b
    if op == 5:
        return max(a, b)
    if op == 6:
        return min(a, b)
    if op == 7:
        return np.int64(a == b)
    if op == 8:
        return np.int64(a != b)
    if op == 9:
        return np.int64(a < b)
    if op == 10:
        return np.int64(a <= b)
    if op == 11:
        return np.int64(a > b)
    if op == 12:
        return np.int64(a >= b)
    if op == 13:
        return select if a != 0 else b
    return abs(np.int64(np.int32(a - b)))


@inner
def alu_int(op, t, b, b_select, n):
    """The steps in two's complement."""
    for j in range(n):
        t[j] = np.int32(_int2(op, np.int64(t[j]), np.int64(b[j]), np.int64(b_select[j])))


@inner
def exact_float(op, t, n):
    """FLOOR … NOT."""
    if op == 14:
        for j in range(n):
            t[j] = np.floor(t[j])
    elif op == 15:
        for j in range(n):
            t[j] = np.ceil(t[j])
    elif op == 16:
        for j in range(n):
            t[j] = np.rint(t[j])
    elif op == 17:
        for j in range(n):
            t[j] = np.trunc(t[j])
    elif op == 18:
        for j in range(n):
            t[j] = abs(t[j])
    elif op == 19:
        for j in range(n):
            t[j] = -t[j]
    elif op == 20:
        for j in range(n):
            sign = _ONE if t[j] > _ZERO else (-_ONE if t[j] < _ZERO else _ZERO)
            t[j] = sign if t[j] == t[j] else t[j]
    else:
        for j in range(n):
            t[j] = _ONE if t[j] == _ZERO else _ZERO


@inner
def exact_int(op, t, n):
    """ABS, NEG, SIGN, NOT."""
    for j in range(n):
        value = np.int64(t[j])
        if op == 18:
            value = abs(value)
        elif op == 19:
            value = -value
        elif op == 20:
            value = np.int64(value > 0) - np.int64(value < 0)
        else:
            value = np.int64(value == 0)
        t[j] = np.int32(value)


@inner
def combine_float(red, a, b):
    """One step of a reduction."""
    if red == 1 or red == 4:
        return a + b
    if red == 3:
        return _smaller(a, b)
    return _larger(a, b)


@inner
def before_float(red, t, n):
    """What a reduction does to every element first: SUMSQ squares, ABSMAX drops the sign."""
    if red == 4:
        for j in range(n):
            t[j] = t[j] * t[j]
    elif red == 5:
        for j in range(n):
            t[j] = abs(t[j])


@inner
def _combine_rows(red, to, source, n):
    """to[:n] = step(to[:n], source[:n]); both are addresses."""
    a, b = f32_at(to, n), f32_at(source, n)
    if red == 1 or red == 4:
        for j in range(n):
            a[j] = a[j] + b[j]
    elif red == 3:
        for j in range(n):
            a[j] = _smaller(a[j], b[j])
    else:
        for j in range(n):
            a[j] = _larger(a[j], b[j])


@inner
def lanes_float(red, t, n, lanes, lane, first):
    """Add a chunk at `t` to the lanes; `first`: the lanes are empty.

    Chunks but the last of a row are multiples of the lanes.
    """
    at = 0
    if first:
        at = min(n, lanes)
        source, target = f32_at(t, at), f32_at(lane, at)
        for j in range(at):
            target[j] = source[j]
    while at < n:
        some = min(lanes, n - at)
        _combine_rows(red, lane, t + 4 * at, some)
        at += some


@inner
def tree_float(red, lane, used):
    """The pairwise tree over the used lanes at an address."""
    half = 1
    while half < used:
        half *= 2
    while half > 1:
        half //= 2
        if used > half:
            _combine_rows(red, lane, lane + 4 * half, used - half)
            used = half
    return f32_at(lane, 1)[0]


@inner
def combine_int(red, a, b):
    """One step of an integer reduction, cut to 32 bits."""
    if red == 1 or red == 4:
        return np.int64(np.int32(a + b))
    if red == 3:
        return min(a, b)
    return max(a, b)


@inner
def reduce_int(red, address, n, value, first):
    """An integer reduction; its order does not matter."""
    t = i32_at(address, n)
    for j in range(n):
        item = np.int64(t[j])
        if red == 4:
            item = np.int64(np.int32(item * item))
        elif red == 5:
            item = np.int64(np.int32(abs(item)))
        value = item if first and j == 0 else combine_int(red, value, item)
    return value
