"""Cocotb bench of the words in flight: slots, order of completion, ports and signals held."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from rtl_sim.tb.clocked import boot, tick
from rtl_sim.tb.pack import pack_lanes


@cocotb.test()
async def words_retire_in_order(dut: Any) -> None:
    slots = int(dut.Slots.value)
    port_bits = len(dut.ports_i)
    rng = np.random.default_rng(slots)
    await boot(dut, issue_i=0, empty_i=0, ports_i=0, signals_i=0, done_i=0)
    flying: list[dict[str, int]] = []  # oldest first
    next_slot, retired = 0, 0
    for _ in range(1500):
        finishing = [w for w in flying if not w["done"] and rng.integers(6) == 0]
        dut.done_i.value = sum(1 << w["slot"] for w in finishing)
        done = {w["slot"] for w in flying if w["done"]} | {w["slot"] for w in finishing}
        leaving = []
        for word in flying:
            if word["slot"] not in done:
                break
            leaving.append(word)
        word = {
            "slot": next_slot, "done": int(rng.integers(5) == 0),
            "ports": int(rng.integers(0, 1 << 30)) % (1 << port_bits),
            "signals": int(rng.integers(0, 1 << 32)),
        }  # fmt: skip
        issue = len(flying) - len(leaving) < slots and bool(rng.integers(2))
        dut.issue_i.value, dut.empty_i.value = int(issue), word["done"]
        dut.ports_i.value, dut.signals_i.value = word["ports"], word["signals"]
        await Timer(1, "step")
        assert (dut.free_o.value == 1) == (len(flying) - len(leaving) < slots)
        assert int(dut.slot_o.value) == next_slot
        assert int(dut.retire_o.value) == sum(1 << w["slot"] for w in leaving)
        held = 0
        for other in flying[len(leaving) :]:
            held |= other["ports"]
        assert int(dut.ports_o.value) == held
        sent = [0] * slots
        for other in leaving:
            sent[other["slot"]] = other["signals"]
        assert int(dut.signals_o.value) == pack_lanes(sent, 32)
        assert (dut.busy_o.value == 1) == bool(flying)
        for other in finishing:
            other["done"] = 1
        flying = flying[len(leaving) :]
        retired += len(leaving)
        if issue:
            flying.append(word)
            next_slot = (next_slot + 1) % slots
        await tick(dut)
    assert retired > 200
