"""Numba: overlap of strided blocks, candidate pairs, and the order test of two groups of words."""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import numpy as np
from numba import njit

from athena.isa.clock_kernel import I_GROUP, I_SLOT, REMOTE

# Columns of a footprint: memory, queue, write, base, blocks, block stride, rows, stride, row bytes.
(
    F_MEMORY, F_QUEUE, F_WRITE, F_BASE, F_BLOCKS, F_BSTRIDE, F_ROWS, F_STRIDE, F_BYTES,
    FOOTPRINT_COLUMNS,
) = range(10)  # fmt: skip
ROWS_LIMIT = 1 << 14


@njit(cache=True)
def _hits(first, end, b):
    """Whether any row of footprint b meets bytes first … end - 1."""
    rows, stride, size = b[F_ROWS], b[F_STRIDE], b[F_BYTES]
    for block in range(b[F_BLOCKS]):
        base = b[F_BASE] + block * b[F_BSTRIDE]
        if rows == 1 or stride == 0:
            if base < end and first < base + size:
                return True
            continue
        low = max(0, (first - size - base) // stride + 1)
        high = min(rows - 1, -((base - end) // stride) - 1)
        if low <= high:
            return True
    return False


@njit(cache=True)
def overlap(a, b):
    """Whether two strided blocks share a byte; blocks of very many rows are taken as solid."""
    if a[F_ROWS] * a[F_BLOCKS] > b[F_ROWS] * b[F_BLOCKS]:
        a, b = b, a
    if a[F_ROWS] * a[F_BLOCKS] > ROWS_LIMIT:
        return True
    for block in range(a[F_BLOCKS]):
        for row in range(a[F_ROWS]):
            first = a[F_BASE] + block * a[F_BSTRIDE] + row * a[F_STRIDE]
            if _hits(first, first + a[F_BYTES], b):
                return True
    return False


@njit(cache=True)
def _knows(version, home, queue, info, versions, remote):
    """Words of `queue` that a word of queue `home` with this clock knows to be complete."""
    if info[home, I_GROUP] == info[queue, I_GROUP]:
        return np.int64(versions[version, info[queue, I_SLOT]])
    return np.int64(remote[versions[version, REMOTE], queue])


@njit(cache=True)
def ordered(
    first, end, other, other_end, queue, other_queue, pos, version, info, versions, remote
):  # fmt: skip
    """Whether every word of members[first:end] on `queue` is ordered with each of the others.

    Both lists ascend in pos. Gives -1 if so, else the first entry without order << 32 | the other.
    """
    j = other
    for i in range(first, end):
        # The others up to j - 1 do not know that word i is complete, so word i must know them.
        while (
            j < other_end
            and _knows(version[j], other_queue, queue, info, versions, remote) < pos[i]
        ):
            j += 1
        known = _knows(version[i], queue, other_queue, info, versions, remote)
        if j > other and known < pos[j - 1]:
            return i << 32 | j - 1
    return -1


@njit(cache=True)
def read_after_write(first, end, other, other_end, pos, known):
    """For one queue: whether each read knows the writes before it to be complete.

    members[first:end] write, members[other:other_end] read; -1, or as `ordered`.
    """
    j = first
    for i in range(other, other_end):
        while j < end and pos[j] < pos[i]:
            j += 1
        if j > first and pos[j - 1] > known[i]:
            return (j - 1) << 32 | i
    return -1


@njit(cache=True)
def find_race(
    prints, low, high, group_first, pos, version, known, info, versions, remote, pipelined, left
):  # fmt: skip
    """The first race among footprints sorted by (memory, low byte).

    Footprint g covers bytes low[g] … high[g] - 1 and is touched by members group_first[g] …
    group_first[g + 1] - 1. `left[0]`: pairs that may still be looked at.
    Gives (g, other g, code of `ordered`), or g = -1 for none, -2 when `left` ran out.
    """
    count = prints.shape[0]
    for g in range(count):
        h = g + 1
        while h < count and prints[h, F_MEMORY] == prints[g, F_MEMORY] and low[h] < high[g]:
            left[0] -= 1
            if left[0] < 0:
                return -2, 0, np.int64(0)
            a, b = g, h
            h += 1
            writes = prints[a, F_WRITE] + prints[b, F_WRITE]
            if writes == 0:
                continue
            same = prints[a, F_QUEUE] == prints[b, F_QUEUE]
            if same and (writes == 2 or pipelined[prints[a, F_QUEUE]] == 0):
                continue
            if not overlap(prints[a], prints[b]):
                continue
            if same:
                if prints[a, F_WRITE] == 0:
                    a, b = b, a
                code = read_after_write(
                    group_first[a], group_first[a + 1], group_first[b], group_first[b + 1], pos,
                    known,
                )  # fmt: skip
            else:
                code = ordered(
                    group_first[a], group_first[a + 1], group_first[b], group_first[b + 1],
                    prints[a, F_QUEUE], prints[b, F_QUEUE], pos, version, info, versions,
                    remote,
                )  # fmt: skip
            if code >= 0:
                return a, b, np.int64(code)
    return -1, 0, np.int64(0)
