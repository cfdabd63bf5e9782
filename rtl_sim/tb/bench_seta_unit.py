"""Cocotb bench of SETA: values and cycles, with all signs, divisors and shifts."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from athena.isa.builder import StreamBuilder
from athena.isa.cycles import SETA_CYCLES
from rtl_sim.tb.clocked import boot, tick

WRAP = 1 << 48
EXTREMES = (-(1 << 31), -1, 0, 1, (1 << 31) - 1)


def _value(imm: int, q: int, mult: int, base: int, *, shift: bool) -> int:
    step = q * mult
    if not shift:
        return (imm + step + base) % WRAP
    if abs(step) >= 48:
        return base % WRAP
    return ((imm << step if step >= 0 else imm >> -step) + base) % WRAP


@cocotb.test()
async def random_words(dut: Any) -> None:
    await boot(dut, start_i=0, word_i=0, scalar_i=0, base_i=0)
    rng = np.random.default_rng(8)

    def signed() -> int:
        if rng.integers(4) == 0:
            return int(rng.choice(EXTREMES))
        return int(rng.integers(-(1 << 31), 1 << 31)) >> int(rng.integers(0, 32))

    def divisor(low: int) -> int:
        top = 1 << int(rng.integers(1, 33))
        return int(rng.choice((low, 1, (1 << 32) - 1, int(rng.integers(low, top)))))

    for _ in range(400):
        scalar, base = signed(), int(rng.integers(-(WRAP >> 1), WRAP >> 1))
        imm, div, mod = int(rng.integers(-(WRAP >> 1), WRAP >> 1)), divisor(1), divisor(0)
        shift = bool(rng.integers(2))
        mult = int(rng.integers(-9, 10)) if shift else signed()
        builder = StreamBuilder()
        builder.seta(1, imm, mult=mult, div=div, mod=mod, shift=shift)
        dut.word_i.value = int.from_bytes(builder.stream().words.tobytes(), "little")
        dut.scalar_i.value, dut.base_i.value = scalar, base
        assert dut.busy_o.value == 0
        dut.start_i.value = 1
        await tick(dut)
        dut.start_i.value = 0
        for _ in range(SETA_CYCLES - 2):
            assert dut.busy_o.value == 1
            assert dut.done_o.value == 0
            await tick(dut)
        assert dut.done_o.value == 1
        q = scalar // div
        q = q % mod if mod else q
        assert int(dut.result_o.value) == _value(imm, q, mult, base, shift=shift)
        await tick(dut)
