"""Cocotb bench of the table functions: the clock of `table_sweep`, which reads and writes files."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge


@cocotb.test()
async def whole_file(dut: Any) -> None:
    Clock(dut.clk_i, 2, unit="ns").start()
    await RisingEdge(dut.done_o)
