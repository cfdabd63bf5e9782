"""Numba: the passes of VEC over one row: conversions, two-operand steps, exact one-operand steps,
reductions.

Floating rows are float32, integer rows int32; a row's buffer is both (the same bytes).
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from athena.functional.access_kernel import (
    bits_of,
    f32_at,
    float_of,
    i8_at,
    i32_at,
    u8_at,
    u16_at,
)
from athena.functional.inner_kernel import inner

f = np.float32
_ZERO, _ONE = f(0), f(1)
_F32, _BF16, _F16, _I8, _U8, _I32 = 1, 2, 3, 4, 5, 6
_NAN_BITS = 0x7FC00000
_I32_MIN, _I32_MAX = -(1 << 31), (1 << 31) - 1
_LOW, _HIGH = f(-(2.0**31)), f(2.0**31)


@inner
def half_to_float(h):
    """Bits of an fp16 as float32, exact."""
    sign = (h & 0x8000) << 16
    body = h & 0x7FFF
    small = f(body) * f(2.0**-24)
    if body >= 0x7C00:
        bits = (body << 13) | 0x7F800000
    elif body < 0x400:
        bits = np.int64(bits_of(small))
    else:
        bits = (body << 13) + (112 << 23)
    return float_of(sign | bits)


@inner
def float_to_half(x):
    """Bits of the nearest fp16, half to even; NaN canonical."""
    bits = np.int64(bits_of(x)) & 0xFFFFFFFF
    sign = (bits >> 16) & 0x8000
    body = bits & 0x7FFFFFFF
    if body > 0x7F800000:
        return 0x7E00
    if body >= 0x47800000:
        return sign | 0x7C00
    if body < 0x38800000:
        # Subnormal: adding 0.5 leaves the multiple of 2^-24 in the low bits, rounded to even.
        return sign | (np.int64(bits_of(float_of(body) + f(0.5))) - 0x3F000000)
    return sign | ((body + 0xFFF + ((body >> 13) & 1) - (112 << 23)) >> 13)


@inner
def load_float(address, dt, n, target):
    """N elements as float32 at an address."""
    out = f32_at(target, n)
    if dt == _F32:
        source = f32_at(address, n)
        for j in range(n):
            out[j] = source[j]
    elif dt == _BF16:
        half = u16_at(address, n)
        for j in range(n):
            out[j] = float_of(np.int64(half[j]) << 16)
    elif dt == _F16:
        half = u16_at(address, n)
        for j in range(n):
            out[j] = half_to_float(np.int64(half[j]))
    elif dt == _I8:
        signed = i8_at(address, n)
        for j in range(n):
            out[j] = f(signed[j])
    elif dt == _U8:
        unsigned = u8_at(address, n)
        for j in range(n):
            out[j] = f(unsigned[j])
    else:
        word = i32_at(address, n)
        for j in range(n):
            out[j] = f(word[j])


@inner
def load_int(address, dt, n, target):
    """Int8, uint8 or int32 elements as int32 at an address."""
    out = i32_at(target, n)
    if dt == _I8:
        signed = i8_at(address, n)
        for j in range(n):
            out[j] = signed[j]
    elif dt == _U8:
        unsigned = u8_at(address, n)
        for j in range(n):
            out[j] = unsigned[j]
    else:
        word = i32_at(address, n)
        for j in range(n):
            out[j] = word[j]


@inner
def to_int(x):
    """Nearest int32, half to even, saturated; NaN gives 0."""
    y = np.rint(x)
    y = y if y == y else _ZERO
    y = y if y > _LOW else _LOW
    return np.int64(y) if y < _HIGH else np.int64(_I32_MAX)


@inner
def store_float(address, dt, n, source, zero):
    """Convert float32 at an address to the destination's type."""
    x = f32_at(source, n)
    if dt == _F32:
        target = f32_at(address, n)
        for j in range(n):
            target[j] = x[j] if x[j] == x[j] else float_of(_NAN_BITS)
    elif dt == _BF16:
        half = u16_at(address, n)
        for j in range(n):
            bits = np.int64(bits_of(x[j])) & 0xFFFFFFFF
            rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
            half[j] = np.uint16(rounded if x[j] == x[j] else 0x7FC0)
    elif dt == _F16:
        half = u16_at(address, n)
        for j in range(n):
            half[j] = np.uint16(float_to_half(x[j]))
    elif dt == _I8:
        signed = i8_at(address, n)
        for j in range(n):
            signed[j] = np.int8(min(127, max(-128, to_int(x[j]) + zero)))
    elif dt == _U8:
        unsigned = u8_at(address, n)
        for j in range(n):
            unsigned[j] = np.uint8(min(255, max(0, to_int(x[j]) + zero)))
    else:
        word = i32_at(address, n)
        for j in range(n):
            word[j] = np.int32(to_int(x[j]))


@inner
def store_int(address, dt, n, source, zero, line):
    """Convert int32 at an address; to floating point through the nearest float32, at `line`."""
    x = i32_at(source, n)
    if dt == _I8:
        signed = i8_at(address, n)
        for j in range(n):
            signed[j] = np.int8(min(127, max(-128, np.int64(x[j]) + zero)))
    elif dt == _U8:
        unsigned = u8_at(address, n)
        for j in range(n):
            unsigned[j] = np.uint8(min(255, max(0, np.int64(x[j]) + zero)))
    elif dt == _I32:
        word = i32_at(address, n)
        for j in range(n):
            word[j] = x[j]
    else:
        single = f32_at(line, n)
        for j in range(n):
            single[j] = f(x[j])
        store_float(address, dt, n, line, 0)


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
