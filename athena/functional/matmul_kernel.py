"""Numba: MATMUL. Chains of R products from +0 in ascending k, each product and sum rounded, then
one sum into D a k-tile.

B's tile is packed to a float32 panel [k, 64] and rows of A to float32 [rows, k]; `gemm_kernel`
runs the chains of a few rows and columns in registers. The hardware pads K with +0: a chain that
began at +0 is never -0, so the added +0 change nothing and are left out. Integers are exact in
float32 as long as a chunk has at most 256 products of 9-bit numbers, and are added up in int32.
"""

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
    u8_at,
    u16_at,
)
from athena.functional.gemm_kernel import (
    PANEL,
    ROWS,
    SIDE,
    WIDTH,
    chains_row,
    chains_rows,
    transpose16,
)
from athena.functional.inner_kernel import inner

BLOCK = 64  # rows of A packed at a time
INT_CHUNK = 128  # k of an integer chunk: 128 * 255 * 255 < 2^24
_F32, _BF16, _I8, _U8 = 1, 2, 4, 5


@inner
def _widen(address, dt, n, zero, padded, target):
    """N elements as float32 at an address, the zero point subtracted, +0 up to padded."""
    out = f32_at(target, padded)
    if dt == _F32:
        source = f32_at(address, n)
        for j in range(n):
            out[j] = source[j]
    elif dt == _BF16:
        half = u16_at(address, n)
        for j in range(n):
            out[j] = float_of(np.int64(half[j]) << 16)
    elif dt == _I8:
        signed = i8_at(address, n)
        for j in range(n):
            out[j] = np.float32(np.int32(signed[j]) - zero)
    else:
        unsigned = u8_at(address, n)
        for j in range(n):
            out[j] = np.float32(np.int32(unsigned[j]) - zero)
    for j in range(n, padded):
        out[j] = np.float32(0)


@inner
def _clear(address, n):
    """N times +0."""
    out = f32_at(address, n)
    for j in range(n):
        out[j] = np.float32(0)


@inner
def _pack_b(address, stride, dt, zero, transposed, columns, width, depth, panel, lines):
    """B's tile as float32 [depth, PANEL] at `panel`, columns up to width are +0."""
    if not transposed:
        for k in range(depth):
            _widen(address + k * stride, dt, columns, zero, width, panel + 4 * PANEL * k)
        return
    padded = -(-depth // SIDE) * SIDE
    for j0 in range(0, width, SIDE):
        for j in range(SIDE):
            if j0 + j < columns:
                _widen(address + (j0 + j) * stride, dt, depth, zero, padded, lines + 4 * padded * j)
            else:
                _clear(lines + 4 * padded * j, padded)
        for k in range(0, padded, SIDE):
            transpose16(lines + 4 * k, 4 * padded, panel + 4 * PANEL * k + 4 * j0)


@inner
def _pack_a(address, stride, dt, zero, rows, depth, packed):
    """A's rows as float32 [rows up to a multiple of ROWS, depth], the spare ones +0."""
    for r in range(rows):
        _widen(address + r * stride, dt, depth, zero, depth, packed + 4 * depth * r)
    spare = -(-rows // ROWS) * ROWS - rows
    _clear(packed + 4 * depth * rows, spare * depth)


@inner
def _add(integer, address, chain_at, columns, last):
    """D's row += chain; NaN becomes canonical with the last k-tile."""
    chain = f32_at(chain_at, columns)
    if integer:
        sums = i32_at(address, columns)
        for j in range(columns):
            sums[j] = sums[j] + np.int32(chain[j])
        return
    values = f32_at(address, columns)
    if last:
        for j in range(columns):
            value = values[j] + chain[j]
            values[j] = value if value == value else float_of(0x7FC00000)
    else:
        for j in range(columns):
            values[j] = values[j] + chain[j]


@inner
def _tile(packed, rows, depth, panel, width, chain, integer, d, d_stride, columns, last):
    """D's rows += chains of packed rows times the panel."""
    for r in range(0, rows, ROWS):
        some = min(ROWS, rows - r)
        if some == 1:
            chains_row(packed + 4 * depth * r, 4 * depth, panel, depth, chain)
        else:
            for j in range(0, width, WIDTH):
                chains_rows(packed + 4 * depth * r, 4 * depth, panel + 4 * j, depth, chain + 4 * j)
        for i in range(some):
            _add(integer, d + (r + i) * d_stride, chain + 4 * PANEL * i, columns, last)


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
    integer = (a == _I8 or a == _U8) and (b == _I8 or b == _U8)  # noqa: SIM109
    if not integer and not (a == b and (a == _F32 or a == _BF16)):  # noqa: SIM109
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
def _areas(scratch, tile):
    """Addresses of packed A, the panel, the lines being transposed and the chains."""
    room = -(-tile // SIDE) * SIDE
    panel = scratch + 4 * BLOCK * room
    lines = panel + 4 * PANEL * room
    return scratch, panel, lines, lines + 4 * SIDE * room


@inner
def matmul(row, info, state, base, scalars, mem, array_rows, scratch, written, fault):
    """MATMUL; gives its MACs or -1. scratch: address of `scratch_bytes` bytes."""
    m = clipped(row, 0, state, scalars)
    n = clipped(row, 1, state, scalars)
    depth = clipped(row, 2, state, scalars)
    if m == 0 or n == 0:
        return 0
    if too_big(row, m, n, max(depth, 1), fault):
        return -1
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
    packed, panel, lines, chain = _areas(scratch, max(tile, INT_CHUNK))
    a_zero, b_zero = np.int32(row[46]), np.int32(row[47])
    b_k, b_n = (b_size, row[23]) if transposed else (row[23], b_size)
    for n0 in range(0, n, PANEL):
        columns = min(PANEL, n - n0)
        width = min(PANEL, -(-columns // WIDTH) * WIDTH)
        if m % ROWS == 1:
            width = PANEL
        for k0 in range(0, depth, tile):
            deep = min(tile, depth - k0)
            last = k0 + tile >= depth
            b_at = b + k0 * b_k + n0 * b_n
            _pack_b(b_at, row[23], row[3], b_zero, transposed, columns, width, deep, panel, lines)
            for m0 in range(0, m, BLOCK):
                rows = min(BLOCK, m - m0)
                _pack_a(a + m0 * row[19] + k0 * a_size, row[19], row[2], a_zero, rows, deep, packed)
                d_at = d + m0 * row[31] + 4 * n0
                _tile(
                    packed,
                    rows,
                    deep,
                    panel,
                    width,
                    chain,
                    integer == 1,
                    d_at,
                    row[31],
                    columns,
                    last,
                )
    note(written, 0, d, 1, 0, m, row[31], 4 * n)
    return m * n * depth


def scratch_bytes(array_rows: int) -> int:
    """Bytes of `matmul`'s scratch."""
    room = -(-max(array_rows, INT_CHUNK) // SIDE) * SIDE
    return 4 * ((BLOCK + PANEL + SIDE) * room + ROWS * PANEL)
