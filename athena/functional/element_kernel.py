"""Numba: elements in memory to float32 or int32 and back, with every rounding written out."""

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
_ZERO = f(0)
_F32, _BF16, _F16, _I8, _U8, _I32 = 1, 2, 3, 4, 5, 6
_NAN_BITS = 0x7FC00000
_I32_MAX = (1 << 31) - 1
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
