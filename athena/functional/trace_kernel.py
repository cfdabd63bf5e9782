"""Numba: CRC-32 (zlib's) of the bytes a word wrote, for the trace."""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from athena.functional.access_kernel import u8_at
from athena.functional.inner_kernel import inner

TRACE_COLUMNS = 4  # queue, dynamic index, pc, crc


def crc_table() -> np.ndarray:
    """The byte table of CRC-32 with the polynomial 0xEDB88320."""
    table = np.zeros(256, np.int64)
    for i in range(256):
        value = i
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        table[i] = value
    return table


@inner
def crc_of(written, table):
    """CRC of the written blocks, rows in order; 0 when nothing was written."""
    crc = 0xFFFFFFFF
    some = False
    for slot in range(written.shape[0]):
        address, blocks, block_stride, rows, stride, size = written[slot]
        for b in range(blocks):
            for r in range(rows):
                data = u8_at(address + b * block_stride + r * stride, size)
                some = True
                for j in range(size):
                    crc = table[(crc ^ data[j]) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF if some else 0
