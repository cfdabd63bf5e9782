"""Numba: VMXQ."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from athena.functional.access_kernel import (
    ACC_MASK,
    BAD_FIELD,
    L1_MASK,
    block,
    clipped,
    f32_at,
    fail,
    float_of,
    i8_at,
    i32_at,
    note,
    size_of,
    too_big,
)
from athena.functional.element_kernel import load_float, to_int
from athena.functional.inner_kernel import inner
from athena.functional.lut_kernel import library_row, table_row
from athena.functional.vec_kernel import CHUNK
from athena.isa.tables import CANONICAL_NAN_BITS, QUANT_LEAST, QUANT_STEP

f = np.float32
_STEP, _LEAST = f(QUANT_STEP), f(QUANT_LEAST)
_I8, _U8, _RECIP = 4, 5, 3


@inner
def _largest(address, n, bits):
    """The larger of `bits` and the n float32 without their signs, by bit pattern: NaN wins."""
    pattern = i32_at(address, n)
    for j in range(n):
        bits = max(bits, np.int64(pattern[j]) & 0x7FFFFFFF)
    return bits


@inner
def _scale(bits):
    """The scale of a row whose largest absolute value has this bit pattern."""
    m = float_of(bits)
    scale = m * _STEP
    if scale < _LEAST and bits != 0:
        return _LEAST
    return scale if m == m else float_of(CANONICAL_NAN_BITS)


@inner
def _quantise(address, n, inverse, target):
    """int8 of n float32 times the inverse."""
    x, q = f32_at(address, n), i8_at(target, n)
    for j in range(n):
        q[j] = np.int8(to_int(x[j] * inverse))


@inner
def vmxq(row, info, state, base, scalars, mem, exact, table, buffers, written, fault):
    """VMXQ; gives its elements or -1. buffers: address of CHUNK float32 and one more."""
    rows = clipped(row, 0, state, scalars)
    cols = clipped(row, 1, state, scalars)
    dt = row[2]
    size = size_of(dt)
    if rows == 0 or cols == 0:
        return 0
    if too_big(row, 1, rows, cols, fault):
        return -1
    if row[1] != 0:
        return fail(fault, BAD_FIELD, -1, row[1], 0, 1)
    if size == 0 or dt in (_I8, _U8):
        return fail(fault, BAD_FIELD, 0, dt, 6, 2)
    if row[5] != _I8:
        return fail(fault, BAD_FIELD, 3, row[5], _I8, 5)
    allowed = L1_MASK | ACC_MASK
    a = block(row, 0, info, state, base, mem, allowed, rows, cols * size, size, fault)
    d, e = a, a
    if a >= 0:
        d = block(row, 3, info, state, base, mem, L1_MASK, rows, cols, 1, fault)
    if a >= 0 and d >= 0:
        e = block(row, 4, info, state, base, mem, L1_MASK, rows, 4, 4, fault)
    if a < 0 or d < 0 or e < 0:
        return -1
    inverse = f32_at(buffers + 4 * CHUNK, 1)
    for r in range(rows):
        at, to = a + r * row[19], d + r * row[31]
        bits = np.int64(0)
        for c0 in range(0, cols, CHUNK):
            n = min(CHUNK, cols - c0)
            load_float(at + c0 * size, dt, n, buffers)
            bits = _largest(buffers, n, bits)
        scale = f32_at(e + r * row[35], 1)
        scale[0] = inverse[0] = _scale(bits)
        if exact != 0:
            library_row(_RECIP, inverse, 1)
        else:
            table_row(_RECIP, inverse, 1, table)
        if bits == 0:
            inverse[0] = f(0)
        for c0 in range(0, cols, CHUNK):
            n = min(CHUNK, cols - c0)
            load_float(at + c0 * size, dt, n, buffers)
            _quantise(buffers, n, inverse[0], to + c0)
    note(written, 0, d, 1, 0, rows, row[31], cols)
    note(written, 1, e, 1, 0, rows, row[35], 4)
    return rows * cols
