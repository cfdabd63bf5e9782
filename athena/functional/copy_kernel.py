"""Numba: COPY, COPYX, FILL and MCAST.

Every function gives the bytes moved, or -1 with a fault recorded.
"""

# mypy: ignore-errors

from __future__ import annotations

from athena.functional.access_kernel import (
    AREG,
    BAD_FIELD,
    BAD_INDEX,
    HBM_MASK,
    L1_MASK,
    L2_MASK,
    Q_KIND,
    block,
    clipped,
    fail,
    i32_at,
    locate,
    note,
    too_big,
    u8_at,
)
from athena.functional.inner_kernel import inner


@inner
def move(src, src_stride, dst, dst_stride, rows, row_bytes):
    """Copy rows of bytes; rows without gaps are merged."""
    if src_stride == row_bytes and dst_stride == row_bytes:
        row_bytes = rows * row_bytes
        rows = 1
    for r in range(rows):
        source = u8_at(src + r * src_stride, row_bytes)
        target = u8_at(dst + r * dst_stride, row_bytes)
        for j in range(row_bytes):
            target[j] = source[j]


@inner
def _low_high(blocks, block_stride, rows, stride, row_bytes):
    """Lowest and one past the highest byte of a strided block, counted from its first byte."""
    reach = (blocks - 1) * block_stride
    return min(0, reach), max(0, reach) + (rows - 1) * stride + row_bytes


@inner
def _masks(kind):
    """Where COPY on a queue of this kind may read and write."""
    if kind == 1:
        return HBM_MASK | L2_MASK, L1_MASK
    if kind == 0:
        return L1_MASK, HBM_MASK | L2_MASK
    if kind == 4:
        return HBM_MASK | L2_MASK, L2_MASK
    return L2_MASK, HBM_MASK | L2_MASK


@inner
def copy(row, info, state, base, scalars, mem, written, fault):
    """COPY."""
    blocks = clipped(row, 0, state, scalars)
    rows = clipped(row, 1, state, scalars)
    size = clipped(row, 2, state, scalars)
    if blocks == 0 or rows == 0 or size == 0:
        return 0
    if too_big(row, blocks, rows, size, fault):
        return -1
    reads, writes = _masks(info[Q_KIND])
    low, high = _low_high(blocks, row[46], rows, row[19], size)
    src = locate(row, 0, info, state, base, mem, reads, low, high, 1, fault)
    low, high = _low_high(blocks, row[47], rows, row[31], size)
    dst = locate(row, 3, info, state, base, mem, writes, low, high, 1, fault) if src >= 0 else src
    if dst < 0:
        return -1
    for b in range(blocks):
        move(src + b * row[46], row[19], dst + b * row[47], row[31], rows, size)
    note(written, 0, dst, blocks, row[47], rows, row[31], size)
    return blocks * rows * size


@inner
def mcast(row, info, state, base, scalars, mem, l2_first, clusters, written, fault):
    """MCAST: the same offset of every L2 slice in the mask."""
    blocks = clipped(row, 0, state, scalars)
    rows = clipped(row, 1, state, scalars)
    size = clipped(row, 2, state, scalars)
    mask_areg = row[48]
    if not 0 <= mask_areg < 16:
        return fail(fault, BAD_FIELD, -1, mask_areg, 15, 48)
    mask = state[AREG + mask_areg]
    if mask >> clusters:
        return fail(fault, BAD_FIELD, -1, mask, clusters, mask_areg)
    if blocks == 0 or rows == 0 or size == 0 or mask == 0:
        return 0
    if too_big(row, blocks, rows, size, fault):
        return -1
    low, high = _low_high(blocks, row[46], rows, row[19], size)
    src = locate(row, 0, info, state, base, mem, HBM_MASK, low, high, 1, fault)
    low, high = _low_high(blocks, row[47], rows, row[31], size)
    own = locate(row, 3, info, state, base, mem, L2_MASK, low, high, 1, fault) if src >= 0 else src
    if own < 0:
        return -1
    offset = row[30] + state[AREG + row[29]]
    dst = own
    for cluster in range(clusters):
        if (mask >> cluster) & 1:
            dst = mem[0, l2_first + cluster] + offset
            for b in range(blocks):
                move(src + b * row[46], row[19], dst + b * row[47], row[31], rows, size)
    note(written, 0, dst, blocks, row[47], rows, row[31], size)
    return blocks * rows * size


@inner
def copyx(row, info, state, base, scalars, mem, written, fault):
    """COPYX: LOAD gathers, STORE scatters."""
    rows = clipped(row, 1, state, scalars)
    size = clipped(row, 2, state, scalars)
    limit = row[40]
    if rows == 0 or size == 0:
        return 0
    if too_big(row, 1, rows, size, fault):
        return -1
    gathers = info[Q_KIND] == 1
    table, local = (0, 3) if gathers else (3, 0)
    pitch = row[46]
    index_at = locate(row, 1, info, state, base, mem, L1_MASK, 0, 4 * rows, 4, fault)
    if index_at < 0:
        return -1
    near = block(row, local, info, state, base, mem, L1_MASK, rows, size, 1, fault)
    if near < 0:
        return -1
    far = locate(row, table, info, state, base, mem, HBM_MASK | L2_MASK, 0, 0, 1, fault)
    if far < 0:
        return -1
    index = i32_at(index_at, rows)
    near_stride = row[16 + 4 * local + 3]
    for r in range(rows):
        if not 0 <= index[r] < limit:
            return fail(fault, BAD_INDEX, 1, index[r], limit, r)
        step = index[r] * pitch
        if (
            locate(
                row, table, info, state, base, mem, HBM_MASK | L2_MASK, step, step + size, 1, fault
            )
            < 0
        ):
            return -1
    for r in range(rows):
        if gathers:
            move(far + index[r] * pitch, size, near + r * near_stride, size, 1, size)
        else:
            move(near + r * near_stride, size, far + index[r] * pitch, size, 1, size)
    note(written, 0, near, 1, 0, rows, near_stride, size)
    return rows * size


@inner
def fill(row, info, state, base, scalars, mem, written, fault):
    """FILL: a 32-bit pattern repeated from each row's first byte."""
    rows = clipped(row, 1, state, scalars)
    size = clipped(row, 2, state, scalars)
    if rows == 0 or size == 0:
        return 0
    if too_big(row, 1, rows, size, fault):
        return -1
    value = row[46] & 0xFFFFFFFF
    if size % 4 and value != (value & 255) * 0x01010101:
        return fail(fault, BAD_FIELD, -1, size, 4, 42)
    dst = block(row, 3, info, state, base, mem, L1_MASK, rows, size, 1, fault)
    if dst < 0:
        return -1
    for r in range(rows):
        target = u8_at(dst + r * row[31], size)
        for j in range(size):
            target[j] = (value >> (8 * (j & 3))) & 255
    note(written, 0, dst, 1, 0, rows, row[31], size)
    return rows * size
