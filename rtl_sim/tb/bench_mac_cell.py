"""Cocotb bench of one MAC cell: products and sums of both kinds, the waiting weight, the enable."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl_sim.tb.clocked import boot, tick

NAN = 0x7FC00000
EXTREMES = (-256, -255, -1, 0, 1, 255)


def _bits(value: np.float32) -> int:
    return NAN if np.isnan(value) else int(value.view(np.uint32))


def _float(bits: int) -> np.float32:
    return np.uint32(bits).view(np.float32)


def _sum(total: int, a: int, weight: int, *, real: bool) -> int:
    """Sum + a * weight as the cell makes it; operands are 16 bits, the sum 32."""
    if not real:
        whole = [(x & 0x1FF) - ((x & 0x100) << 1) for x in (a, weight)]
        return (total + whole[0] * whole[1]) & 0xFFFFFFFF
    with np.errstate(all="ignore"):
        product = _float((a & 0xFFFF) << 16) * _float((weight & 0xFFFF) << 16)
        product = _float(_bits(np.float32(product)))
        return _bits(np.float32(_float(total) + product))


async def _play(dut: Any, *, real: bool, values: Any) -> None:
    rng = np.random.default_rng(4 + real)
    await boot(
        dut, en_i=1, float_i=int(real), load_i=0, weight_i=0, swap_i=0, a_i=0, sum_i=0
    )  # fmt: skip
    used = waiting = expected = 0
    dut.load_i.value = 1
    await tick(dut)
    dut.swap_i.value = 1
    dut.load_i.value = 0
    await tick(dut)
    for step in range(600):
        a, weight, total = (values(rng) for _ in range(3))
        load, swap, enable = (int(x) for x in rng.integers(0, (2, 2, 4)))
        total = total << 16 if real else total & 0xFFFFFFFF
        dut.a_i.value, dut.weight_i.value = a & 0xFFFF, weight & 0xFFFF
        dut.sum_i.value = total
        dut.load_i.value, dut.swap_i.value, dut.en_i.value = load, swap, int(enable > 0)
        await tick(dut)
        if enable:
            used = waiting if swap else used
            expected = (_sum(total, a, used, real=real), a & 0xFFFF, swap)
            waiting = weight if load else waiting
        if step and expected:
            assert int(dut.sum_o.value) == expected[0]
            assert int(dut.a_o.value) == expected[1]
            assert int(dut.swap_o.value) == expected[2]


@cocotb.test()
async def integers(dut: Any) -> None:
    def draw(rng: np.random.Generator) -> int:
        return int(rng.choice(EXTREMES)) if rng.integers(4) == 0 else int(rng.integers(-256, 256))

    await _play(dut, real=False, values=draw)


@cocotb.test()
async def bf16(dut: Any) -> None:
    def draw(rng: np.random.Generator) -> int:
        if rng.integers(3) == 0:
            return int(rng.integers(0, 1 << 16))  # any bits: infinities, NaNs, subnormals
        return int(np.float32(rng.normal()).view(np.uint32)) >> 16

    await _play(dut, real=True, values=draw)
