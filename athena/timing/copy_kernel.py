"""What one DMA word asks for: L1 ports, beats, bytes and the transfer that memory will see.

In:  the engine's memory (`athena.timing.layout`), a word at the head of a queue. Out: D_….
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.isa.cycles import copy_beats
from athena.isa.fields import N0, OP, P0, P1, P2, SEG_A, SEG_B, SEG_D, STRIDE_A, STRIDE_D
from athena.timing.codes import (
    CDMA_IN,
    COPY,
    COPYX,
    FILL,
    HBM_LAST,
    L1,
    L2,
    LOAD,
    MASK_BITS,
    MATRIX,
    MCAST,
    STORE,
)
from athena.timing.jit import kernel
from athena.timing.layout import (
    AREG,
    C_CLUSTERS,
    C_DMA,
    C_HBM_LATENCY,
    C_HIGH,
    C_INTERVAL,
    C_L2,
    C_L2_LATENCY,
    C_LOAD,
    C_LOW,
    C_STORE,
    D_ADDR,
    D_BSTRIDE,
    D_BYTES,
    D_COUNTS,
    D_CYCLES,
    D_DIR,
    D_FAULT,
    D_L2,
    D_LATENCY,
    D_MASK,
    D_PITCH,
    D_ROW,
    D_ROWS,
    D_STALL,
    D_STRIDE,
    D_TABLE,
    DIR_READ,
    DIR_WRITE,
    FAULT_BOUNDS,
    FAULT_OP,
    FAULT_SEGMENT,
    FAULT_SIZE,
    KIND,
    N_HBMR,
    N_HBMW,
    N_L1R,
    N_L1W,
    N_L2R,
    N_L2W,
    READ,
    SIZE_LIMIT,
    WRITE,
)
from athena.timing.operand_kernel import address, touch


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8,i8,i8)")
def _far(m, w, i, at, p, span, block_span, volume, copies, direction):
    """The L2 or HBM side of a transfer. `span`: bytes from first to last of a block, `block_span`:
    of block starts (signed).
    """
    segment, start = w[i, at], address(m, w, i, at, p)
    low, high = start + min(block_span, 0), start + max(block_span, 0) + span
    if segment == L2:
        if low < 0 or high > m[C_L2]:
            m[D_FAULT] = FAULT_BOUNDS
        m[D_L2] += 1
        m[D_COUNTS + (N_L2R if direction == DIR_READ else N_L2W)] += volume * copies
        if m[D_LATENCY] == 0:
            m[D_LATENCY] = m[C_L2_LATENCY]
    elif segment <= HBM_LAST:
        if low < m[C_LOW + segment] or high > m[C_HIGH + segment]:
            m[D_FAULT] = FAULT_BOUNDS
        m[D_DIR] = direction
        m[D_ADDR] = start
        m[D_STRIDE] = w[i, at + STRIDE_A - SEG_A]
        m[D_COUNTS + (N_HBMR if direction == DIR_READ else N_HBMW)] += volume
        m[D_LATENCY] = m[C_HBM_LATENCY]
        m[D_STALL] = m[D_CYCLES] * (m[C_INTERVAL + m[p + KIND]] - 1)
        m[D_CYCLES] += m[D_STALL]
    else:
        m[D_FAULT] = FAULT_SEGMENT


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8,i8)")
def _near(m, w, i, at, p, span, block_span, volume, side):
    """The L1 side of a transfer."""
    start = address(m, w, i, at, p)
    if w[i, at] != L1:
        m[D_FAULT] = FAULT_SEGMENT
        return
    low, high = start + min(block_span, 0), start + max(block_span, 0) + span
    touch(m, L1, low, high - low, side)
    m[D_COUNTS + (N_L1R if side == READ else N_L1W)] += volume


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8)")
def _copy(m, w, i, p, blocks, rows, row, copies):
    """COPY, MCAST (copies > 1 slices), and FILL."""
    kind, op = m[p + KIND], w[i, OP]
    volume = blocks * rows * row
    from_span, to_span = (rows - 1) * w[i, STRIDE_A] + row, (rows - 1) * w[i, STRIDE_D] + row
    from_blocks, to_blocks = (blocks - 1) * w[i, P0], (blocks - 1) * w[i, P1]
    m[D_BYTES], m[D_ROW], m[D_ROWS] = volume, row, rows
    bus = m[C_LOAD] if kind == LOAD else (m[C_STORE] if kind == STORE else m[C_DMA])
    m[D_CYCLES] = copy_beats(blocks, rows, row, bus)
    if op == FILL:
        _near(m, w, i, SEG_D, p, to_span, 0, volume, WRITE)
        return
    far_in = kind in (LOAD, CDMA_IN)
    m[D_BSTRIDE] = w[i, P0] if far_in else w[i, P1]
    if kind == LOAD:
        _far(m, w, i, SEG_A, p, from_span, from_blocks, volume, 1, DIR_READ)
        _near(m, w, i, SEG_D, p, to_span, to_blocks, volume, WRITE)
    elif kind == STORE:
        _near(m, w, i, SEG_A, p, from_span, from_blocks, volume, READ)
        _far(m, w, i, SEG_D, p, to_span, to_blocks, volume, 1, DIR_WRITE)
    elif (w[i, SEG_D] if far_in else w[i, SEG_A]) == L2:
        _far(m, w, i, SEG_A, p, from_span, from_blocks, volume, 1, DIR_READ)
        _far(m, w, i, SEG_D, p, to_span, to_blocks, volume, copies, DIR_WRITE)
    else:
        m[D_FAULT] = FAULT_SEGMENT


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8)")
def _copyx(m, w, i, p, rows, row):
    """COPYX."""
    limit, pitch, volume = w[i, N0], w[i, P0], rows * row
    bus = m[C_LOAD] if m[p + KIND] == LOAD else m[C_STORE]
    m[D_BYTES], m[D_ROW], m[D_ROWS] = volume, row, rows
    m[D_CYCLES] = copy_beats(1, rows, row, bus)
    _near(m, w, i, SEG_B, p, rows * 4, 0, rows * 4, READ)
    table = (limit - 1) * pitch
    if m[p + KIND] == LOAD:
        _far(m, w, i, SEG_A, p, row, table, volume, 1, DIR_READ)
        _near(m, w, i, SEG_D, p, (rows - 1) * w[i, STRIDE_D] + row, 0, volume, WRITE)
    else:
        _near(m, w, i, SEG_A, p, (rows - 1) * w[i, STRIDE_A] + row, 0, volume, READ)
        _far(m, w, i, SEG_D, p, row, table, volume, 1, DIR_WRITE)
    m[D_CYCLES] += rows
    m[D_TABLE], m[D_PITCH] = limit, pitch


@kernel("i8(i8,i8)")
def popcount(mask, bits):
    """Set bits among the lowest `bits`."""
    total = 0
    for bit in range(bits):
        total += mask >> bit & 1
    return total


@kernel("void(i8[::1],i8[:,::1],i8,i8,i8,i8,i8)")
def transfer(m, w, i, p, blocks, rows, row):
    """Words of the DMA queues."""
    kind, op = m[p + KIND], w[i, OP]
    if float(blocks) * rows * row > SIZE_LIMIT:
        m[D_FAULT] = FAULT_SIZE
    elif op == COPY:
        _copy(m, w, i, p, blocks, rows, row, 1)
    elif op == FILL and kind == LOAD:
        _copy(m, w, i, p, 1, rows, row, 1)
    elif op == COPYX and kind < MATRIX:
        _copyx(m, w, i, p, rows, row)
    elif op == MCAST and kind == CDMA_IN and w[i, SEG_A] <= HBM_LAST:
        clusters = min(m[C_CLUSTERS], MASK_BITS)
        m[D_MASK] = m[p + AREG + (w[i, P2] & 15)] & ((1 << clusters) - 1)
        copies = popcount(m[D_MASK], clusters)
        _copy(m, w, i, p, blocks, rows, row, copies)
    else:
        m[D_FAULT] = FAULT_OP
