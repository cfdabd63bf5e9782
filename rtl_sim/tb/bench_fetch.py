"""Cocotb bench of the prefetch FIFO: every word as it lies in memory, no beat before its slot is
released, a beat a cycle, answers of an earlier run dropped, errors kept with their words.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from athena.isa.fields import WORD_BYTES
from rtl_sim.tb.clocked import boot, tick

LATENCY = 6
WORDS = 400


@cocotb.test()
async def words_in_order(dut: Any) -> None:
    rng = np.random.default_rng(12)
    bus = len(dut.rsp_data_i) // 8
    beats = WORD_BYTES // bus
    memory = rng.integers(0, 256, (2 * WORDS, beats, bus), dtype=np.uint8)
    errors = rng.random((2 * WORDS, beats)) < 0.1
    fifo = int(dut.Words.value)
    await boot(dut, restart_i=0, base_i=0, released_i=0, pc_i=0, rsp_valid_i=0, rsp_epoch_i=0,
               rsp_data_i=0, rsp_error_i=0)  # fmt: skip
    answers: deque[Any] = deque([None] * LATENCY)
    seen = 0
    for run, base in enumerate((0, 7, 300)):
        pc = released = asked = 0
        dut.restart_i.value, dut.base_i.value = 1, base
        dut.released_i.value = dut.pc_i.value = 0
        length = (60, 200, 90)[run]
        first = True
        while pc < length:
            await Timer(1, "step")
            if not first:
                if dut.available_o.value == 1:
                    word = int.from_bytes(memory[base + pc].tobytes(), "little")
                    assert int(dut.word_o.value) == word
                    assert (dut.bad_o.value == 1) == errors[base + pc].any()
                    seen += 1
                want = asked < (released + fifo) * beats
                assert (dut.req_valid_o.value == 1) == want  # a beat every cycle with room
            asks = dut.req_valid_o.value == 1
            if asks:
                assert int(dut.req_beat_o.value) == base * beats + asked
                asked += 1
            answers.append(
                (int(dut.req_beat_o.value), int(dut.req_epoch_o.value)) if asks else None
            )
            ready = not first and dut.available_o.value == 1
            await tick(dut)
            dut.restart_i.value, first = 0, False
            if ready and rng.integers(3):
                pc += 1
                dut.pc_i.value = pc
                if rng.integers(4) == 0:  # a loop around the pc would hold its words
                    released = pc
                    dut.released_i.value = released
            elif pc - released >= fifo - 1:
                released = pc
                dut.released_i.value = released
            answer = answers.popleft()
            dut.rsp_valid_i.value = int(answer is not None)
            if answer is not None:
                beat, epoch = answer
                dut.rsp_epoch_i.value = epoch
                data = memory.reshape(-1, bus)[beat].tobytes()
                dut.rsp_data_i.value = int.from_bytes(data, "little")
                dut.rsp_error_i.value = int(errors.reshape(-1)[beat])
    assert seen > 300
