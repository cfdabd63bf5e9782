"""Cocotb bench of the float32 blocks against numpy: random bit patterns, near and far exponents,
all special values.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

SPECIAL = (
    0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0x3F800000, 0x3F800001, 0x34000000, 0x33800000,
    0x4B000000, 0x4EFFFFFF, 0x4F000000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0x7FA00001,
    0x3F000000, 0x3FC00000, 0x40200000, 0x00400000,
)  # fmt: skip
NAN = 0x7FC00000


def _patterns() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    special = np.array([*SPECIAL, *(x | 1 << 31 for x in SPECIAL)], np.uint32)
    pairs = np.array(np.meshgrid(special, special)).reshape(2, -1)
    free = rng.integers(0, 1 << 32, (2, 1500), dtype=np.uint32)
    near = rng.integers(0, 1 << 32, (2, 1500), dtype=np.uint32)
    gap = rng.integers(-27, 28, 1500)
    exponent = np.clip((near[0] >> 23 & 255).astype(np.int64) + gap, 0, 255).astype(np.uint32)
    near[1] = (near[1] & np.uint32(0x807FFFFF)) | exponent << np.uint32(23)
    tiny = rng.integers(0, 1 << 32, (2, 1500), dtype=np.uint32)  # products about the subnormals
    total = rng.integers(90, 135, 1500).astype(np.uint32)
    first = rng.integers(0, 90, 1500).astype(np.uint32)
    tiny = tiny & np.uint32(0x807FFFFF)
    tiny[0] |= first << np.uint32(23)
    tiny[1] |= (total - first) << np.uint32(23)
    x, y = np.concatenate([pairs, free, near, tiny], axis=1)
    return x, y


def _bits(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), np.uint32(NAN), values.astype(np.float32).view(np.uint32))


@cocotb.test()
async def equal_to_numpy(dut: Any) -> None:
    x, y = _patterns()
    fx, fy = x.view(np.float32), y.view(np.float32)
    with np.errstate(all="ignore"):
        sums, products = _bits(fx + fy), _bits(fx * fy)
        from_int = x.view(np.int32).astype(np.float32).view(np.uint32)
        rounded = np.nan_to_num(
            np.rint(fx.astype(np.float64)), nan=0.0, posinf=2.0**40, neginf=-(2.0**40)
        )
        to_int = np.clip(rounded, -(2.0**31), 2.0**31 - 1).astype(np.int64) & 0xFFFFFFFF
    for i in range(len(x)):
        dut.x_i.value, dut.y_i.value = int(x[i]), int(y[i])
        await Timer(1, "ns")
        got = (dut.sum_o.value, dut.product_o.value, dut.from_int_o.value, dut.to_int_o.value)
        want = (sums[i], products[i], from_int[i], to_int[i])
        assert [int(v) for v in got] == [int(v) for v in want], (hex(x[i]), hex(y[i]))
