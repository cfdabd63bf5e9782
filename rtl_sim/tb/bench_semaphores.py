"""Cocotb bench of the semaphores: random waits and signals against counters in Python."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from athena.isa.fields import CORE_QUEUES, CORE_SEMS, SEM_MAX, Sig, signal
from rtl_sim.tb.clocked import boot, tick
from rtl_sim.tb.pack import pack_lanes

QUEUES = len(CORE_QUEUES)
Waits = list[list[tuple[int, int]]]


def _drive(dut: Any, waits: Waits, takes: list[int], sems: list[int]) -> None:
    flat = [sem | n << 8 for queue in waits for sem, n in queue]
    dut.waits_i.value = pack_lanes(flat, 16)
    dut.take_i.value = pack_lanes(takes, 1)
    dut.signals_i.value = pack_lanes([signal(Sig.SELF, sem) if sem >= 0 else 0 for sem in sems], 16)


def _holds(value: list[int], waits: list[tuple[int, int]]) -> int:
    need: dict[int, int] = {}
    for sem, n in waits:
        need[sem] = need.get(sem, 0) + n
    return int(all(value[sem] >= n for sem, n in need.items()))


@cocotb.test()
async def counters_follow_waits_and_signals(dut: Any) -> None:
    rng = np.random.default_rng(11)
    slots = int(dut.Signals.value)
    value = [int(x) for x in rng.integers(0, 9, CORE_SEMS)]
    await boot(dut, load_i=1, init_i=pack_lanes(value, 8), take_i=0, signals_i=0, waits_i=0)
    dut.load_i.value = 0
    for _ in range(600):
        # One consumer queue a semaphore: queue q waits on semaphores q, q + 4, …
        waits = [
            [(q + QUEUES * int(rng.integers(8)), int(rng.integers(0, 4))) for _ in range(4)]
            for q in range(QUEUES)
        ]
        sems = [int(x) if x < CORE_SEMS else -1 for x in rng.integers(0, 2 * CORE_SEMS, slots)]
        _drive(dut, waits, [0] * QUEUES, sems)
        holds = [_holds(value, queue) for queue in waits]
        takes = [int(hold and rng.integers(2)) for hold in holds]
        _drive(dut, waits, takes, sems)
        for queue, take in zip(waits, takes, strict=True):
            for sem, n in queue:
                value[sem] -= n * take
        for sem in sems:
            if sem >= 0:
                value[sem] += 1
        overflow = any(v > SEM_MAX for v in value)
        assert not overflow
        await Timer(1, "step")
        assert int(dut.hold_o.value) == pack_lanes(holds, 1)
        assert dut.fault_o.value == 0
        await tick(dut)


@cocotb.test()
async def overflow_and_underflow_are_faults(dut: Any) -> None:
    await boot(dut, load_i=1, init_i=pack_lanes([SEM_MAX, 1], 8), take_i=0, signals_i=0, waits_i=0)
    dut.load_i.value = 0
    idle: Waits = [[(0, 0)] * 4 for _ in range(QUEUES)]
    _drive(dut, idle, [0] * QUEUES, [0, -1, -1, -1])
    await Timer(1, "step")
    assert dut.fault_o.value == 1
    taking = [[(0, 2), (0, 0), (0, 0), (0, 0)], *idle[1:]]
    _drive(dut, taking, [1, 0, 0, 0], [0, 0, -1, -1])  # taken and given back in one cycle
    await Timer(1, "step")
    assert dut.fault_o.value == 0
    twice = [[(1, 1), (0, 0), (0, 0), (0, 0)]] * 2 + idle[2:]
    _drive(dut, twice, [1, 1, 0, 0], [-1] * 4)
    await Timer(1, "step")
    assert dut.fault_o.value == 1
