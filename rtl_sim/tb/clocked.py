"""Clock and reset of cocotb benches; values change and are read at the falling edge."""

from __future__ import annotations

from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


async def tick(dut: Any, cycles: int = 1) -> None:
    """Let rising edges pass."""
    for _ in range(cycles):
        await FallingEdge(dut.clk_i)


async def boot(dut: Any, **inputs: int) -> None:
    """Start the clock, set inputs, reset."""
    Clock(dut.clk_i, 2, "ns").start()
    for name, value in inputs.items():
        getattr(dut, name).value = value
    if hasattr(dut, "rst_i"):
        dut.rst_i.value = 1
        await tick(dut, 2)
        dut.rst_i.value = 0
    await tick(dut)
