"""Switching of one cell of the array in bf16 and in int8, from its gates: `python -m
rtl_sim.activity`.

In:  `mac_cell` as Yosys makes it (`rtl_sim.yosys`), and the operands that the cells of some columns
     see while the array multiplies the same matrices in both types. Out: toggles a cycle and their
     ratio.
Raises: ToolError when Yosys is missing.

The figure is proportional to switched capacitance: each toggle counts one for the gate's own output
and one for every pin that it drives. Wires, clock, glitches, leakage and the sizes of transistors
are not in it, so only the ratio of types says something.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athena.chip.load import load_chip
from athena.chip.model import Chip
from athena.functional.convert import bf16_bits, bf16_values
from rtl_sim.area import Cell, mac_cells
from rtl_sim.netlist import Netlist, Toggles, evaluate, parse, toggles

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
FEED_MASK, SUM_MASK = 0xFFFF, 0xFFFFFFFF
COLUMNS, TILES = 4, 4
WEIGHT_SIGMA = 0.02  # of linear layers after training, about 1 / sqrt(width)
SEED = 1
SHARED = (Cell.BOTH, Cell.BOTH)
ALONE = (Cell.BF16, Cell.INT8)
MEASURED = (
    (Cell.BOTH, "int8"), (Cell.BOTH, "bf16"), (Cell.INT8, "int8"), (Cell.BF16, "bf16"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What cells see, one after another: values of ports and registers over time, where a cycle's
    successor belongs to the same cell, and the type.
    """

    floats: bool
    values: Mapping[str, Ints]
    same: NDArray[np.bool_]


def _bf16(values: Floats) -> Ints:
    return bf16_bits(values).astype(np.int64)


def _int8(values: Floats) -> Ints:
    """Symmetric, the largest magnitude at 127."""
    return np.rint(values * np.float32(127 / np.abs(values).max())).astype(np.int64)


def _chain(a: Ints, w: Ints, *, floats: bool) -> Ints:
    """Sums that enter each cell of a column, and the last one: [rows + 1, m]."""
    rows, m = len(w), len(a)
    if not floats:
        steps = a.T * w[:, None]
        return np.concatenate([np.zeros((1, m), np.int64), np.cumsum(steps, axis=0)])
    values = [bf16_values(bits.astype(np.uint16)) for bits in (a, w)]
    sums = [np.zeros(m, np.float32)]
    for row in range(rows):
        sums.append(sums[-1] + values[0][:, row] * values[1][row])
    return np.stack([each.view(np.uint32).astype(np.int64) for each in sums])


def stream(chip: Chip, *, floats: bool) -> Stream:
    """Cells of COLUMNS columns over TILES tiles in depth, with twice as many rows of activations as
    the array is high. Weights ~ N(0, WEIGHT_SIGMA), activations ~ N(0, 1), in both types the same.
    """
    rows = chip.core.matrix.rows
    m = 2 * rows
    rng = np.random.default_rng(SEED)
    encode = _bf16 if floats else _int8
    a = encode(rng.normal(size=(m, TILES * rows)).astype(np.float32))
    w = encode(rng.normal(scale=WEIGHT_SIGMA, size=(TILES * rows, COLUMNS)).astype(np.float32))
    a, w = a.reshape(m, TILES, rows), w.reshape(TILES, rows, COLUMNS)
    sums = np.stack(
        [[_chain(a[:, t], w[t, :, c], floats=floats) for t in range(TILES)] for c in range(COLUMNS)]
    )  # column, tile, row, m
    shape = (COLUMNS, rows, TILES * m)

    def along(values: Ints) -> Ints:
        """[column, tile, row, m] as one line, cell by cell."""
        return np.broadcast_to(values, (COLUMNS, TILES, rows, m)).swapaxes(1, 2).reshape(shape)

    slot = np.arange(m)
    after = np.concatenate([w[1:], w[:1]])  # the next tile's weights, in the first cycles of a tile
    lines = np.concatenate([after, np.zeros((TILES, m - rows, COLUMNS), np.int64)], axis=1)
    load = slot[None, None, None, :] == np.arange(rows)[None, None, :, None]
    swap = np.broadcast_to((slot == 0).astype(np.int64), (1, 1, 1, m))
    now = along(w.transpose(2, 0, 1)[..., None])
    late = along(after.transpose(2, 0, 1)[..., None])
    taken = along(load.astype(np.int64).cumsum(axis=3) - load) > 0
    ends = np.zeros(shape, bool)
    ends[..., -1] = True
    wires = {
        "float_i": np.full(shape, int(floats)),
        "en_i": np.ones(shape, np.int64),
        "load_i": along(load.astype(np.int64)),
        "weight_i": along(lines.transpose(2, 0, 1)[:, :, None, :]) & FEED_MASK,
        "swap_i": along(swap),
        "a_i": along(a.transpose(1, 2, 0)[None]) & FEED_MASK,
        "sum_i": along(sums[:, :, :-1]) & SUM_MASK,
        "waiting": np.where(taken, late, now) & FEED_MASK,
        "used": _before(now) & FEED_MASK,
    }
    wires |= {
        "swap_o": _before(wires["swap_i"]),
        "a_o": _before(wires["a_i"]),
        "sum_o": _before(along(sums[:, :, 1:]) & SUM_MASK),
    }
    return Stream(
        floats=floats,
        values={name: value.reshape(-1) for name, value in wires.items()},
        same=~ends.reshape(-1),
    )


def _before(values: Ints) -> Ints:
    """The register behind a value: what it was one cycle ago (the first cycle: what it is)."""
    return np.concatenate([values[..., :1], values[..., :-1]], axis=-1)


def measure(netlist: Netlist, given: Stream) -> Toggles:
    """Toggles of a cell on a stream; the netlist is checked against the model on the way."""
    nets = evaluate(netlist, given.values, given.same)
    return toggles(netlist, nets, given.same, {"a_o": "a_i", "sum_o": "sum_i", "swap_o": "swap_i"})


def report(chip: Chip) -> dict[tuple[Cell, str], Toggles]:
    """Toggles by cell and type of the operands."""
    with tempfile.TemporaryDirectory(prefix="athena-area-") as name:
        made = {cell: parse(flat) for cell, flat in mac_cells(chip, Path(name)).items()}
    streams = {"int8": stream(chip, floats=False), "bf16": stream(chip, floats=True)}
    return {(cell, dtype): measure(made[cell], streams[dtype]) for cell, dtype in MEASURED}


def ratio(found: Mapping[tuple[Cell, str], Toggles], cells: tuple[Cell, Cell]) -> float:
    """Weighted toggles of bf16 in one cell over those of int8 in another."""
    return found[cells[0], "bf16"].weighted / found[cells[1], "int8"].weighted


def table(found: Mapping[tuple[Cell, str], Toggles]) -> str:
    """Markdown."""
    lines = [
        "| Cell with | Operands | Gate toggles a cycle | Flip-flop toggles | Weighted by pins |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {cell} | {dtype} | {row.gates:.0f} | {row.flops:.1f} | {row.weighted:.0f} |"
        for (cell, dtype), row in found.items()
    ]
    shared, alone = (ratio(found, cells) for cells in (SHARED, ALONE))
    lines += ["", f"bf16 : int8 = {shared:.2f} in the cell with both, {alone:.2f} in cells of one."]
    return "\n".join(lines)


def main() -> None:
    """`python -m rtl_sim.activity [--chip NAME]`."""
    parser = argparse.ArgumentParser(description="Toggles of a MAC cell's gates, by type")
    parser.add_argument("--chip", default="athena-edge", help="whose array (its height counts)")
    print(table(report(load_chip(parser.parse_args().chip))))


if __name__ == "__main__":
    main()
