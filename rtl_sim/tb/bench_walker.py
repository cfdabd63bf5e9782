"""Cocotb bench of the strided walker: every beat's addresses, beats that are not taken at once, the
next copy at the last beat.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from athena.isa.cycles import copy_beats
from rtl_sim.tb.clocked import boot, tick

MASK = (1 << 48) - 1
Shape = dict[str, int]


def _expected(c: Shape, bus: int) -> list[tuple[int, ...]]:
    """Source, destination, bytes, whether first of its row, bytes of the row from it on."""
    beats = []
    for block in range(c["blocks"]):
        for row in range(c["rows"]):
            for at in range(0, c["row_bytes"], bus):
                src = c["src"] + block * c["src_block"] + row * c["src_stride"] + at
                dst = c["dst"] + block * c["dst_block"] + row * c["dst_stride"] + at
                left = c["row_bytes"] - at
                beats.append((src & MASK, dst & MASK, min(bus, left), int(at == 0), left))
    return beats


def _random(rng: np.random.Generator) -> Shape:
    def pick(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    return {
        "blocks": pick(1, 4), "rows": pick(1, 5), "row_bytes": pick(1, 50),
        "src": pick(0, 1 << 40), "src_stride": pick(0, 1 << 24),
        "src_block": pick(-(1 << 31), 1 << 31),
        "dst": pick(0, 1 << 15), "dst_stride": pick(0, 1 << 10), "dst_block": pick(-999, 999),
    }  # fmt: skip


@cocotb.test()
async def copies_back_to_back(dut: Any) -> None:
    bus = int(dut.BusBytes.value)
    rng = np.random.default_rng(5)
    await boot(dut, start_i=0, indexed_i=0, take_i=1)
    for _ in range(40):
        shape = _random(rng)
        for name, value in shape.items():
            signal = getattr(dut, f"{name}_i")
            signal.value = value & ((1 << len(signal)) - 1)
        assert dut.ready_o.value == 1
        dut.start_i.value = 1
        await tick(dut)  # the first beat is there one cycle after the start
        dut.start_i.value = 0
        expected = _expected(shape, bus)
        assert len(expected) == copy_beats(shape["blocks"], shape["rows"], shape["row_bytes"], bus)
        for number, beat in enumerate(expected):
            last = number == len(expected) - 1
            for held in range(int(rng.integers(0, 3)), -1, -1):  # not taken for a while
                dut.take_i.value = int(held == 0)
                await Timer(1, "step")
                assert dut.valid_o.value == 1
                names = ("src_o", "dst_o", "bytes_o", "first_o", "left_o")
                assert tuple(int(getattr(dut, name).value) for name in names) == beat
                assert (dut.last_o.value == 1) == last
                assert (dut.ready_o.value == 1) == (last and not held)
                if held:
                    await tick(dut)
            if not last:
                await tick(dut)
    await tick(dut)
    assert dut.valid_o.value == 0
    assert dut.ready_o.value == 1
