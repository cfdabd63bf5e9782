"""Cocotb bench of the MAC array: tiles back to back, sums to the bit and on time."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from numpy.typing import NDArray

from rtl_sim.tb.pack import pack_lanes, unpack_lanes

FEED_BITS = 16
Matrix = NDArray[np.int64]


async def _idle(dut: Any) -> None:
    Clock(dut.clk_i, 2, "ns").start()
    dut.en_i.value = 1
    dut.float_i.value = 0
    dut.weight_valid_i.value = 0
    dut.weight_trans_i.value = 0
    dut.weight_index_i.value = 0
    dut.weight_line_i.value = 0
    dut.swap_i.value = 0
    dut.row_i.value = 0
    for _ in range(40):
        await FallingEdge(dut.clk_i)


async def _stream(dut: Any, tiles: list[tuple[Matrix, Matrix]], *, trans: bool) -> list[list[int]]:
    """Feed tiles with period max(M, R), the next tile's weights behind each; sums by cycle."""
    rows, cols = int(dut.Rows.value), int(dut.Cols.value)
    period = max(rows, *(len(a) for a, _ in tiles))
    seen = []
    for cycle in range(rows + len(tiles) * period + rows + cols):
        tile, step = divmod(cycle - rows, period)
        following = tile + 1 if tile >= 0 else 0
        slot = step if tile >= 0 else cycle
        weights = following < len(tiles) and slot < (cols if trans else rows)
        dut.weight_valid_i.value = int(weights)
        dut.weight_trans_i.value = int(trans)
        if weights:
            w = tiles[following][1]
            dut.weight_index_i.value = slot
            line = w[:, slot] if trans else np.pad(w[slot], (0, rows - cols))
            dut.weight_line_i.value = pack_lanes(line, FEED_BITS)
        live = 0 <= tile < len(tiles) and step < len(tiles[tile][0])
        dut.swap_i.value = int(0 <= tile < len(tiles) and step == 0)
        dut.row_i.value = pack_lanes(tiles[tile][0][step], FEED_BITS) if live else 0
        await FallingEdge(dut.clk_i)
        seen.append(unpack_lanes(int(dut.sums_o.value), 32, cols))
    return seen


async def _check(dut: Any, lengths: tuple[int, ...], *, trans: bool, extreme: bool = False) -> None:
    rows, cols = int(dut.Rows.value), int(dut.Cols.value)
    rng = np.random.default_rng(len(lengths) + 10 * trans)
    tiles = []
    for m in lengths:
        a = rng.integers(-255, 256, (m, rows))
        w = rng.integers(-255, 256, (rows, cols))
        if extreme:
            a[:], w[:] = -255, 255
        tiles.append((a, w))
    await _idle(dut)
    seen = await _stream(dut, tiles, trans=trans)
    period = max(rows, *lengths)
    for i, (a, w) in enumerate(tiles):
        # A row that enters in cycle t is seen rows + cols - 1 edges later, after edge t + R + C -
        # 2.
        first = rows + i * period + rows + cols - 2
        np.testing.assert_array_equal(np.array(seen[first : first + len(a)]), a @ w)


@cocotb.test()
async def one_tile(dut: Any) -> None:
    await _check(dut, (3,), trans=False)


@cocotb.test()
async def shortest_tiles_back_to_back(dut: Any) -> None:
    rows = int(dut.Rows.value)
    await _check(dut, (rows, 1, rows, rows - 1), trans=False)


@cocotb.test()
async def long_tiles_transposed(dut: Any) -> None:
    rows = int(dut.Rows.value)
    await _check(dut, (2 * rows + 1, 5, 2 * rows), trans=True)
    await _check(dut, (rows, rows, 2, rows), trans=True)


@cocotb.test()
async def extreme_sums(dut: Any) -> None:
    await _check(dut, (4, 4), trans=False, extreme=True)
