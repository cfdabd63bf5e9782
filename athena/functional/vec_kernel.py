"""Numba: VEC, VPERM and VGATHER."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from athena.functional.access_kernel import (
    ACC_MASK,
    AREG,
    BAD_FIELD,
    BAD_INDEX,
    L1_MASK,
    block,
    clipped,
    f32_at,
    fail,
    float_of,
    i32_at,
    note,
    size_of,
    too_big,
    u8_at,
    u16_at,
)
from athena.functional.copy_kernel import move
from athena.functional.element_kernel import load_float, load_int, store_float, store_int, to_int
from athena.functional.inner_kernel import inner
from athena.functional.lut_kernel import library_row, table_row
from athena.functional.steps_kernel import (
    alu_float,
    alu_int,
    before_float,
    combine_float,
    combine_int,
    exact_float,
    exact_int,
    lanes_float,
    reduce_int,
    tree_float,
)

CHUNK = 4096  # elements in a pass, rounded down to a multiple of the lanes
_LOCAL = L1_MASK | ACC_MASK
_NONE, _FULL, _ROW, _COL, _SCALAR, _IMM = range(6)
_SELECT = 13


def buffer_bytes(lanes: int) -> int:
    """Bytes of `vec`'s five buffers of a chunk each."""
    return 5 * 4 * lanes * max(1, CHUNK // lanes)


@inner
def _check_steps(row, integer, fault):
    """0, or -1 for steps, kinds or types that no VEC has."""
    alu1, lut, alu2, red = (
        row[46] & 255,
        (row[46] >> 8) & 255,
        (row[46] >> 16) & 255,
        (row[46] >> 24) & 255,
    )
    if alu1 > 14 or alu1 == _SELECT or alu2 > 14 or lut > 21 or red > 5:
        return fail(fault, BAD_FIELD, -1, row[46], 0, 46)
    if integer and lut != 0 and lut < 18:
        return fail(fault, BAD_FIELD, -1, lut, 18, 46)
    kind_b, kind_c = row[47] & 255, (row[47] >> 8) & 255
    if kind_b > 5 or kind_c > 5:
        return fail(fault, BAD_FIELD, -1, row[47], 5, 47)
    if (kind_b == 0 and (alu1 != 0 or alu2 == _SELECT)) or (kind_c == 0 and alu2 != 0):
        return fail(fault, BAD_FIELD, -1, row[47], 1, 47)
    for i in range(3):
        kind = kind_b if i == 1 else kind_c
        used = i == 0 or (kind != _NONE and kind != _IMM)
        dt = row[2 + i]
        if used and (size_of(dt) == 0 or (integer and dt < 4)):
            return fail(fault, BAD_FIELD, i, dt, 6, 2 + i)
    if row[5] > 6:
        return fail(fault, BAD_FIELD, 3, row[5], 6, 5)
    return 0


@inner
def _side_block(row, i, kind, rows, cols, info, state, base, mem, fault):
    """Address of operand b or c, 0 when it is not in memory."""
    size = size_of(row[2 + i])
    if kind == _NONE or kind == _IMM:  # noqa: SIM109
        return 0
    if kind == _FULL:
        return block(row, i, info, state, base, mem, _LOCAL, rows, cols * size, size, fault)
    if kind == _COL:
        return block(row, i, info, state, base, mem, _LOCAL, rows, size, size, fault)
    width = cols if kind == _ROW else 1
    return block(row, i, info, state, base, mem, _LOCAL, 1, width * size, size, fault)


@inner
def _load(integer, address, stride, dt, rows, n, target):
    """Rows of n elements, one after the other at `target`; rows without gaps are merged."""
    if stride == n * size_of(dt):
        n = rows * n
        rows = 1
    for i in range(rows):
        if integer:
            load_int(address + i * stride, dt, n, target + 4 * i * n)
        else:
            load_float(address + i * stride, dt, n, target + 4 * i * n)


@inner
def _fill(bits, target, n):
    """N copies of a 32-bit pattern."""
    out = i32_at(target, n)
    for j in range(n):
        out[j] = bits


@inner
def _side(integer, kind, address, stride, dt, r0, rows, c0, n, bits, target):
    """Operand b or c for rows from r0 and n columns from c0; an integer immediate is rounded."""
    if kind == _NONE:
        return
    if kind == _IMM:
        value = np.int32(to_int(float_of(bits))) if integer else np.int32(bits)
        _fill(value, target, rows * n)
        return
    if kind == _FULL:
        at = address + r0 * stride + c0 * size_of(dt)
        _load(integer, at, stride, dt, rows, n, target)
        return
    if kind == _ROW:
        _load(integer, address + c0 * size_of(dt), 0, dt, rows, n, target)
        return
    for i in range(rows):
        at = target + 4 * i * n
        _load(integer, address + ((r0 + i) * stride if kind == _COL else 0), 0, dt, 1, 1, at)
        _fill(i32_at(at, 1)[0], at, n)


@inner
def _bound(row, state, scalars, which):
    """First value (row 0) and slope of the mask's bound lo (0) or hi (1)."""
    selector = (row[50] >> (16 + 8 * which)) & 255
    slope = (row[50] >> (8 * which)) & 255
    slope = slope - 256 if slope > 127 else slope
    return row[48 + which] + state[AREG + (selector & 15)] + scalars[selector >> 4], slope


@inner
def _mask(address, c0, n, low, high, pattern):
    """Columns below low or from high on become the pattern."""
    bits, fill = i32_at(address, n), np.int32(pattern)
    for j in range(min(n, max(0, low - c0))):
        bits[j] = fill
    for j in range(min(n, max(0, high - c0)), n):
        bits[j] = fill


@inner
def _steps_float(row, t, u, v, n, exact, table):
    """The three steps on n float32."""
    a, b, c = f32_at(t, n), f32_at(u, n), f32_at(v, n)
    lut = (row[46] >> 8) & 255
    alu_float(row[46] & 255, a, b, b, n)
    if lut >= 14:
        exact_float(lut, a, n)
    elif lut != 0 and exact != 0:
        library_row(lut, a, n)
    elif lut != 0:
        table_row(lut, a, n, table)
    alu_float((row[46] >> 16) & 255, a, c, b, n)


@inner
def _steps_int(row, t, u, v, n):
    """The three steps on n int32."""
    a, b, c = i32_at(t, n), i32_at(u, n), i32_at(v, n)
    alu1, lut, alu2 = row[46] & 255, (row[46] >> 8) & 255, (row[46] >> 16) & 255
    if alu1 != 0:
        alu_int(alu1, a, b, b, n)
    if lut != 0:
        exact_int(lut, a, n)
    if alu2 != 0:
        alu_int(alu2, a, c, b, n)


@inner
def _store(integer, address, stride, dt, rows, n, source, zero, line):
    """Rows at `source` to their destination; rows without gaps are merged."""
    if stride == n * size_of(dt):
        n = rows * n
        rows = 1
    for i in range(rows):
        if integer:
            store_int(address + i * stride, dt, n, source + 4 * i * n, zero, line)
        else:
            store_float(address + i * stride, dt, n, source + 4 * i * n, zero)


@inner
def _side_output(integer, red, keep, address, lane, used, total):
    """A row's reduction to e."""
    if integer:
        side = i32_at(address, 1)
        side[0] = np.int32(combine_int(red, np.int64(side[0]), total) if keep else total)
        return
    value = tree_float(red, lane, used)
    side_f = f32_at(address, 1)
    value = combine_float(red, side_f[0], value) if keep else value
    side_f[0] = value if value == value else float_of(0x7FC00000)


@inner
def vec(row, info, state, base, scalars, mem, lanes, exact, table, buffers, written, fault):
    """VEC; gives its elements or -1. buffers: address of `buffer_bytes`."""
    rows = clipped(row, 0, state, scalars)
    cols = clipped(row, 1, state, scalars)
    if rows == 0 or cols == 0:
        return 0
    if too_big(row, 1, rows, cols, fault):
        return -1
    integer = (row[1] & 1) != 0
    masked = (row[1] & 2) != 0
    if _check_steps(row, integer, fault) < 0:
        return -1
    red = (row[46] >> 24) & 255
    kind_b, kind_c = row[47] & 255, (row[47] >> 8) & 255
    a_dt, d_dt = row[2], row[5]
    a_size, d_size = size_of(a_dt), size_of(d_dt)
    a_stride, b_stride, c_stride, d_stride = row[19], row[23], row[27], row[31]
    a = block(row, 0, info, state, base, mem, _LOCAL, rows, cols * a_size, a_size, fault)
    b = _side_block(row, 1, kind_b, rows, cols, info, state, base, mem, fault) if a >= 0 else a
    c = _side_block(row, 2, kind_c, rows, cols, info, state, base, mem, fault) if b >= 0 else b
    d, e = np.int64(0), np.int64(0)
    if c >= 0 and d_dt != 0:
        d = block(row, 3, info, state, base, mem, _LOCAL, rows, cols * d_size, d_size, fault)
    if c >= 0 and d >= 0 and red != 0:
        e = block(row, 4, info, state, base, mem, L1_MASK, rows, 4, 4, fault)
    if a < 0 or b < 0 or c < 0 or d < 0 or e < 0:
        return -1
    if d_dt != 0:
        note(written, 0, d, 1, 0, rows, d_stride, cols * d_size)
    if red != 0:
        note(written, 1, e, 1, 0, rows, row[35], 4)
    count = rows * cols
    # A block without gaps, without row-wise work, is one long row.
    packed = red == 0 and not masked and a_stride == cols * a_size
    packed = packed and (d_dt == 0 or d_stride == cols * d_size)
    packed = packed and kind_b != _ROW and kind_b != _COL and kind_c != _ROW and kind_c != _COL
    packed = packed and (kind_b != _FULL or b_stride == cols * size_of(row[3]))
    packed = packed and (kind_c != _FULL or c_stride == cols * size_of(row[4]))
    if packed:
        cols = count
        rows = 1
    low, low_slope = _bound(row, state, scalars, 0)
    high, high_slope = _bound(row, state, scalars, 1)
    # Long rows go in chunks of whole lanes, short rows several at a time.
    chunk = lanes * max(1, CHUNK // lanes)
    group = max(1, chunk // cols)
    t = buffers
    u, v, lane, line = t + 4 * chunk, t + 8 * chunk, t + 12 * chunk, t + 16 * chunk
    total = np.int64(0)
    for r0 in range(0, rows, group):
        g = min(group, rows - r0)
        for c0 in range(0, cols, chunk):
            n = min(chunk, cols - c0)
            _load(integer, a + r0 * a_stride + c0 * a_size, a_stride, a_dt, g, n, t)
            _side(integer, kind_b, b, b_stride, row[3], r0, g, c0, n, row[54], u)
            _side(integer, kind_c, c, c_stride, row[4], r0, g, c0, n, row[55], v)
            if integer:
                _steps_int(row, t, u, v, g * n)
            else:
                _steps_float(row, t, u, v, g * n, exact, table)
            if masked:
                for i in range(g):
                    first, past = low + (r0 + i) * low_slope, high + (r0 + i) * high_slope
                    _mask(t + 4 * i * n, c0, n, first, past, row[51])
            if d_dt != 0:
                to = d + r0 * d_stride + c0 * d_size
                _store(integer, to, d_stride, d_dt, g, n, t, row[52], line)
            if red == 0:
                continue
            if not integer:
                before_float(red, f32_at(t, g * n), g * n)
            for i in range(g):
                if integer:
                    total = reduce_int(red, t + 4 * i * n, n, total, c0 == 0)
                else:
                    lanes_float(red, t + 4 * i * n, n, lanes, lane, c0 == 0)
                if c0 + n == cols:
                    at = e + (r0 + i) * row[35]
                    _side_output(integer, red, (row[1] & 4) != 0, at, lane, min(lanes, cols), total)
    return count


@inner
def _element(size, source, target, flip):
    """Copy one element, its sign bit flipped or not."""
    if size == 4:
        i32_at(target, 1)[0] = i32_at(source, 1)[0] ^ np.int32(-(1 << 31) if flip else 0)
    elif size == 2:
        u16_at(target, 1)[0] = u16_at(source, 1)[0] ^ np.uint16(0x8000 if flip else 0)
    else:
        u8_at(target, 1)[0] = u8_at(source, 1)[0]


@inner
def vperm(row, info, state, base, scalars, mem, written, fault):
    """VPERM."""
    rows = clipped(row, 0, state, scalars)
    cols = clipped(row, 1, state, scalars)
    mode, dt = row[1], row[2]
    size = size_of(dt)
    if rows == 0 or cols == 0:
        return 0
    if too_big(row, 1, rows, cols, fault):
        return -1
    if mode > 3 or size == 0 or row[5] != dt:
        return fail(fault, BAD_FIELD, 3, row[5], dt, 5)
    if (mode == 1 or mode == 2) and (cols % 2 or dt > 3):
        return fail(fault, BAD_FIELD, -1, cols, 2, 41)
    a = block(row, 0, info, state, base, mem, _LOCAL, rows, cols * size, size, fault)
    d_rows, d_cols = (cols, rows) if mode == 0 else (rows, cols)
    d = a
    if a >= 0:
        d = block(row, 3, info, state, base, mem, L1_MASK, d_rows, d_cols * size, size, fault)
    if d < 0:
        return -1
    half = cols // 2
    for r in range(rows):
        source = a + r * row[19]
        target = d + r * row[31]
        if mode == 3:
            move(source, cols * size, target, cols * size, 1, cols * size)
        elif mode == 0:
            for j in range(cols):
                _element(size, source + j * size, d + j * row[31] + r * size, False)
        elif mode == 1:
            for j in range(half):
                _element(size, source + (half + j) * size, target + j * size, True)
                _element(size, source + j * size, target + (half + j) * size, False)
        else:
            for j in range(half):
                _element(size, source + (2 * j + 1) * size, target + 2 * j * size, True)
                _element(size, source + 2 * j * size, target + (2 * j + 1) * size, False)
    note(written, 0, d, 1, 0, d_rows, row[31], d_cols * size)
    return rows * cols


@inner
def vgather(row, info, state, base, scalars, mem, written, fault):
    """VGATHER."""
    rows = clipped(row, 0, state, scalars)
    cols = clipped(row, 1, state, scalars)
    limit = clipped(row, 2, state, scalars)
    mode, dt = row[1], row[2]
    size = size_of(dt)
    if rows == 0 or cols == 0:
        return 0
    if too_big(row, 1, rows, cols, fault):
        return -1
    if mode > 1 or size == 0 or row[5] != dt or row[3] != 6:
        return fail(fault, BAD_FIELD, 1, row[3], 6, 3)
    a_rows, a_cols = (limit, cols) if mode == 0 else (rows, limit)
    a = block(row, 0, info, state, base, mem, L1_MASK, a_rows, a_cols * size, size, fault)
    b, d = a, a
    if a >= 0:
        b_rows, b_cols = (1, rows) if mode == 0 else (rows, cols)
        b = block(row, 1, info, state, base, mem, L1_MASK, b_rows, b_cols * 4, 4, fault)
    if a >= 0 and b >= 0:
        d = block(row, 3, info, state, base, mem, L1_MASK, rows, cols * size, size, fault)
    if a < 0 or b < 0 or d < 0:
        return -1
    for r in range(rows):
        index = i32_at(b, rows) if mode == 0 else i32_at(b + r * row[23], cols)
        for j in range(1 if mode == 0 else cols):
            item = np.int64(index[r if mode == 0 else j])
            if not 0 <= item < limit:
                return fail(fault, BAD_INDEX, 1, item, limit, r)
            if mode == 0:
                move(a + item * row[19], cols * size, d + r * row[31], cols * size, 1, cols * size)
            else:
                _element(size, a + r * row[19] + item * size, d + r * row[31] + j * size, False)
    note(written, 0, d, 1, 0, rows, row[31], cols * size)
    return rows * cols
