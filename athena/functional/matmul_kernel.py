"""Numba: MATMUL. Chains of R products from +0 in ascending k, each product and sum rounded, then one sum into D a k-tile.

B is packed to a float32 panel [k-tile, PANEL] and A to a float32 block [BLOCK, k-tile]; four rows of A advance over four k at once
through all columns of the panel, so that the compiler vectorises over columns and every element's chain keeps its order. K is
padded with +0 to a multiple of four; a chain that began at +0 is never -0, so the added +0 change nothing. Integers are exact in
float32 as long as a chunk has at most 256 products of 9-bit numbers, and are added up in int32.
"""

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
    u8_at,
    u16_at,
)
from athena.functional.inner_kernel import inner

PANEL = 64  # columns of a panel
BLOCK = 64  # rows of A packed at a time
STEP = 4  # rows, and k, that advance together
INT_CHUNK = 128  # k of an integer chunk: 128 * 255 * 255 < 2^24
_F32, _BF16, _I8, _U8 = 1, 2, 4, 5


@inner
def _widen(address, dt, n, zero, out, at):
    """n elements as float32 to out[at:], the zero point subtracted."""
    if dt == _F32:
        source = f32_at(address, n)
        for j in range(n):
            out[at + j] = source[j]
    elif dt == _BF16:
        half = u16_at(address, n)
        for j in range(n):
            out[at + j] = float_of(np.int64(half[j]) << 16)
    elif dt == _I8:
        signed = i8_at(address, n)
        for j in range(n):
            out[at + j] = np.float32(np.int32(signed[j]) - zero)
    else:
        unsigned = u8_at(address, n)
        for j in range(n):
            out[at + j] = np.float32(np.int32(unsigned[j]) - zero)


@inner
def _pack_b(address, stride, dt, zero, transposed, columns, width, depth, padded, panel, line):
    """B's tile as panel[k * PANEL + j]; columns up to width and k up to padded are +0."""
    if transposed:
        for j in range(columns):
            _widen(address + j * stride, dt, depth, zero, line, 0)
            for k in range(depth):
                panel[k * PANEL + j] = line[k]
        for k in range(depth):
            for j in range(columns, width):
                panel[k * PANEL + j] = np.float32(0)
    else:
        for k in range(depth):
            _widen(address + k * stride, dt, columns, zero, panel, k * PANEL)
            for j in range(columns, width):
                panel[k * PANEL + j] = np.float32(0)
    for k in range(depth, padded):
        for j in range(width):
            panel[k * PANEL + j] = np.float32(0)


@inner
def _pack_a(address, stride, dt, zero, rows, depth, padded, packed):
    """A's rows as packed[r * padded + k], rows up to a multiple of STEP and k up to padded are +0."""
    for r in range(rows):
        _widen(address + r * stride, dt, depth, zero, packed, r * padded)
        for k in range(depth, padded):
            packed[r * padded + k] = np.float32(0)
    for r in range(rows, -(-rows // STEP) * STEP):
        for k in range(padded):
            packed[r * padded + k] = np.float32(0)


@inner
def _rows4(packed, at, padded, panel, width, chain):
    """chain[4, PANEL] = four rows of A times the panel, k ascending."""
    for j in range(STEP * PANEL):
        chain[j] = np.float32(0)
    for k in range(0, padded, STEP):
        b = k * PANEL
        a00, a01, a02, a03 = packed[at + k], packed[at + k + 1], packed[at + k + 2], packed[at + k + 3]
        p = at + padded + k
        a10, a11, a12, a13 = packed[p], packed[p + 1], packed[p + 2], packed[p + 3]
        p += padded
        a20, a21, a22, a23 = packed[p], packed[p + 1], packed[p + 2], packed[p + 3]
        p += padded
        a30, a31, a32, a33 = packed[p], packed[p + 1], packed[p + 2], packed[p + 3]
        for j in range(width):
            b0 = panel[b + j]
            b1 = panel[b + PANEL + j]
            b2 = panel[b + 2 * PANEL + j]
            b3 = panel[b + 3 * PANEL + j]
            chain[j] = (((chain[j] + a00 * b0) + a01 * b1) + a02 * b2) + a03 * b3
            chain[PANEL + j] = (((chain[PANEL + j] + a10 * b0) + a11 * b1) + a12 * b2) + a13 * b3
            chain[2 * PANEL + j] = (((chain[2 * PANEL + j] + a20 * b0) + a21 * b1) + a22 * b2) + a23 * b3
            chain[3 * PANEL + j] = (((chain[3 * PANEL + j] + a30 * b0) + a31 * b1) + a32 * b2) + a33 * b3


@inner
def _row1(packed, at, padded, panel, width, chain):
    """One row of A times the panel."""
    for j in range(width):
        chain[j] = np.float32(0)
    for k in range(0, padded, STEP):
        b = k * PANEL
        a0, a1, a2, a3 = packed[at + k], packed[at + k + 1], packed[at + k + 2], packed[at + k + 3]
        for j in range(width):
            chain[j] = (
                ((chain[j] + a0 * panel[b + j]) + a1 * panel[b + PANEL + j]) + a2 * panel[b + 2 * PANEL + j]
            ) + a3 * panel[b + 3 * PANEL + j]


@inner
def _add(integer, address, chain, at, columns, last):
    """D's row += chain; NaN becomes canonical with the last k-tile."""
    if integer:
        sums = i32_at(address, columns)
        for j in range(columns):
            sums[j] = sums[j] + np.int32(chain[at + j])
        return
    values = f32_at(address, columns)
    if last:
        for j in range(columns):
            value = values[j] + chain[at + j]
            values[j] = value if value == value else float_of(0x7FC00000)
    else:
        for j in range(columns):
            values[j] = values[j] + chain[at + j]


@inner
def _start(mode, integer, d, stride, bias, rows, columns):
    """D's initial values: zero or the bias row; kept values stay."""
    if mode == 1:
        return
    for r in range(rows):
        if integer:
            sums = i32_at(d + r * stride, columns)
            ints = i32_at(bias, columns if mode == 2 else 0)
            for j in range(columns):
                sums[j] = ints[j] if mode == 2 else np.int32(0)
        else:
            values = f32_at(d + r * stride, columns)
            floats = f32_at(bias, columns if mode == 2 else 0)
            for j in range(columns):
                values[j] = floats[j] if mode == 2 else np.float32(0)


@inner
def _types(row, fault):
    """1 integers, 0 floating point, -1 a fault."""
    a, b, d = row[2], row[3], row[5]
    integer = (a == _I8 or a == _U8) and (b == _I8 or b == _U8)
    if not integer and not (a == b and (a == _F32 or a == _BF16)):
        return fail(fault, BAD_FIELD, 1, b, a, 3)
    if d != (6 if integer else 1):
        return fail(fault, BAD_FIELD, 3, d, 6 if integer else 1, 5)
    if (row[1] & 3) == 3 or ((row[1] & 3) == 2 and row[4] != d):
        return fail(fault, BAD_FIELD, 2, row[1] & 3, 2, 1)
    if integer:
        for i in range(2):
            low, high = (-128, 127) if row[2 + i] == _I8 else (0, 255)
            if not low <= row[46 + i] <= high:
                return fail(fault, BAD_FIELD, i, row[46 + i], high, 46 + i)
    return 1 if integer else 0


@inner
def matmul(row, info, state, base, scalars, mem, array_rows, scratch, written, fault):
    """MATMUL; gives its MACs or -1. scratch: float32 packed A, panel, chain and line, one after the other."""
    m = clipped(row, 0, state, scalars)
    n = clipped(row, 1, state, scalars)
    depth = clipped(row, 2, state, scalars)
    if m == 0 or n == 0:
        return 0
    integer = _types(row, fault)
    if integer < 0:
        return -1
    a_size, b_size = size_of(row[2]), size_of(row[3])
    transposed = (row[1] & 4) != 0
    bias, a, b = np.int64(0), np.int64(0), np.int64(0)
    d = block(row, 3, info, state, base, mem, ACC_MASK, m, 4 * n, 4, fault)
    if d >= 0 and (row[1] & 3) == 2:
        bias = block(row, 2, info, state, base, mem, L1_MASK, 1, 4 * n, 4, fault)
    if d >= 0 and bias >= 0 and depth > 0:
        a = block(row, 0, info, state, base, mem, L1_MASK, m, depth * a_size, a_size, fault)
        if a >= 0:
            rows, size = (n, depth * b_size) if transposed else (depth, n * b_size)
            b = block(row, 1, info, state, base, mem, L1_MASK, rows, size, b_size, fault)
    if a < 0 or b < 0 or d < 0 or bias < 0:
        return -1
    _start(row[1] & 3, integer == 1, d, row[31], bias, m, n)
    tile = INT_CHUNK if integer == 1 else array_rows
    room = -(-max(tile, INT_CHUNK) // STEP) * STEP
    packed = scratch[: BLOCK * room]
    panel = scratch[BLOCK * room : (BLOCK + PANEL) * room]
    chain = scratch[(BLOCK + PANEL) * room : (BLOCK + PANEL) * room + STEP * PANEL]
    line = scratch[(BLOCK + PANEL) * room + STEP * PANEL :]
    a_zero, b_zero = np.int32(row[46]), np.int32(row[47])
    b_k, b_n = (b_size, row[23]) if transposed else (row[23], b_size)
    for n0 in range(0, n, PANEL):
        columns = min(PANEL, n - n0)
        width = min(PANEL, -(-columns // 8) * 8)
        for k0 in range(0, depth, tile):
            deep = min(tile, depth - k0)
            padded = -(-deep // STEP) * STEP
            last = k0 + tile >= depth
            b_at = b + k0 * b_k + n0 * b_n
            _pack_b(b_at, row[23], row[3], b_zero, transposed, columns, width, deep, padded, panel, line)
            for m0 in range(0, m, BLOCK):
                rows = min(BLOCK, m - m0)
                a_at = a + m0 * row[19] + k0 * a_size
                _pack_a(a_at, row[19], row[2], a_zero, rows, deep, padded, packed)
                for r in range(0, rows, STEP):
                    some = min(STEP, rows - r)
                    if some == 1:
                        _row1(packed, r * padded, padded, panel, width, chain)
                    else:
                        _rows4(packed, r * padded, padded, panel, width, chain)
                    for i in range(some):
                        target = d + (m0 + r + i) * row[31] + 4 * n0
                        _add(integer == 1, target, chain, i * PANEL, columns, last)
    note(written, 0, d, 1, 0, m, row[31], 4 * n)
    return m * n * depth


def scratch_floats(array_rows: int) -> int:
    """Length of `matmul`'s scratch."""
    room = -(-max(array_rows, INT_CHUNK) // STEP) * STEP
    return (BLOCK + PANEL) * room + STEP * PANEL + room
