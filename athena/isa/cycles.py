"""Service times of words in clock cycles: one copy for cost model, timing engine, documentation and
RTL tests.

Plain integer functions of chip parameters, written so that Numba can compile them as they stand. A
word that issues in cycle t and
takes n cycles completes in cycle t + n: its last byte is visible, its signals leave, its ports are
free, in t + n.
"""

from __future__ import annotations

import math


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b, for a ≥ 0, b > 0."""
    return -(-a // b)


def matmul_cycles(  # noqa: PLR0913 - every figure of the closed form
    m: int, n: int, k: int, rows: int, cols: int, rate: int, mac_latency: int
) -> int:
    """Cycles of MATMUL [m, k] × [k, n] on a weight-stationary rows × cols array.

    The first tile of weights takes `rows` cycles to shift in; every tile then occupies the array
    for max(ceil(m / rate), rows)
    cycles, since the next tile's weights need `rows` cycles to shift in behind it; the last row
    leaves
    rows * mac_latency + cols - 1 cycles after it entered, and its sums are added to the accumulator
    in one more.
    No rows or columns: 1 cycle. k = 0 writes the initial values, one row a cycle.
    """
    if m == 0 or n == 0:
        return 1
    if k == 0:
        return 1 + m * ceil_div(n, cols)
    tiles = ceil_div(n, cols) * ceil_div(k, rows)
    return rows + tiles * max(ceil_div(m, rate), rows) + rows * mac_latency + cols


def copy_beats(blocks: int, rows: int, row_bytes: int, bus_bytes: int) -> int:
    """Beats of a strided copy: every row starts a new beat."""
    return blocks * rows * ceil_div(row_bytes, bus_bytes)


def beat_interval(bus_bytes: int, bytes_per_cycle: float) -> int:
    """Cycles that fixed-latency memory takes for one beat (1e-9: rounding of `bytes_per_cycle`)."""
    return max(1, math.ceil(bus_bytes / bytes_per_cycle - 1e-9))


def tree_levels(lanes: int) -> int:
    """Levels of the pairwise tree over the lanes."""
    levels = 0
    while (1 << levels) < lanes:
        levels += 1
    return levels


def vec_passes(  # noqa: PLR0913 - every pair of operands that can meet
    ab: int, ac: int, bc: int, ae: int, be: int, ce: int, de: int
) -> int:
    """Cycles that a step of VEC takes, from which pairs of its operands have a bank in common.

    A bank has one read port: a, b, c and a kept e, in this order, are each read in the first cycle
    in which no operand before them reads a bank of theirs. It has one write port: two where
    results d and e share a bank.
    """
    b = 1 if ab else 0
    c = 0
    while (ac and c == 0) or (bc and c == b):
        c += 1
    e = 0
    while (ae and e == 0) or (be and e == b) or (ce and e == c):
        e += 1
    return max(1 + max(b, c, e), 2 if de else 1)


def vec_cycles(rows: int, cols: int, lanes: int, startup: int, passes: int, reduces: int) -> int:
    """Cycles of VEC on [rows, cols], with `passes` cycles a step (`vec_passes`).

    Every row takes ceil(cols / lanes) × passes cycles; a row reduction adds the tree once, at the
    end, since rows are pipelined.
    """
    if rows == 0 or cols == 0:
        return 1
    tree = tree_levels(lanes) if reduces else 0
    return startup + rows * ceil_div(cols, lanes) * passes + tree


def vperm_cycles(rows: int, cols: int, lanes: int, startup: int, parts: int) -> int:
    """Cycles of VPERM but TRANSPOSE: up to `lanes` elements are read and, in another order, written
    each cycle.

    `parts` of a row have runs of addresses of their own: the two halves of ROTATE_HALF, else 1.
    """
    if rows == 0 or cols == 0:
        return 1
    return startup + rows * parts * ceil_div(cols // parts, lanes)


def transpose_cycles(rows: int, cols: int, lanes: int, startup: int) -> int:
    """Cycles of VPERM TRANSPOSE: blocks of lanes × lanes pass through one square of registers.

    The rows of a block take the places of the columns of the block before, which leave in the same
    cycles. The first block only enters, the last one only leaves; between them a block takes as
    many cycles as the longer side of the first.
    """
    if rows == 0 or cols == 0:
        return 1
    across = ceil_div(cols, lanes)
    height, width = min(rows, lanes), min(cols, lanes)
    between = ceil_div(rows, lanes) * across - 1
    return startup + height + between * max(height, width) + cols - (across - 1) * lanes


def vgather_cycles(rows: int, cols: int, lanes: int, startup: int, single: int) -> int:
    """Cycles of VGATHER, whose indices and elements come through one port.

    Whole rows: an index is read one cycle before its row. `single` elements: `lanes` indices are
    read in one cycle, then each element in one of its own, as it has an address of its own.
    """
    if rows == 0 or cols == 0:
        return 1
    steps = ceil_div(cols, lanes)
    return startup + rows * (steps + (cols if single else 1))


def vmxq_cycles(rows: int, cols: int, lanes: int, startup: int) -> int:
    """Cycles of VMXQ: two passes over the block, one after the other.

    The first is that of a reducing VEC and leaves the rows' scales; the second reads a row's scale
    one cycle before the row, then quantises it.
    """
    if rows == 0 or cols == 0:
        return 1
    beats = ceil_div(cols, lanes)
    return startup + rows * beats + tree_levels(lanes) + rows * (1 + beats) + startup


# One cycle to start, 16 for two serial divisions (div, mod) of 32 bits at four bits a cycle, one to
# multiply and add.
SETA_CYCLES = 18
