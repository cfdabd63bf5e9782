"""Cocotb bench of the queue controller: the order of words, address registers and releases of
random nested loops and SETAs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from athena.isa.builder import StreamBuilder
from athena.isa.cycles import SETA_CYCLES
from athena.isa.fields import AREGS, SCALARS, Op
from rtl_sim.tb.clocked import boot, tick
from rtl_sim.tb.pack import pack_lanes

WRAP = 1 << 48
S = (0, 1000, -77, 123456789, -(1 << 31), (1 << 31) - 1)
Step = tuple[int, list[int]]


def _body(builder: StreamBuilder, rng: np.random.Generator, depth: int) -> None:
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(0, 4))
        areg = int(rng.integers(1, 6))
        if kind == 0 and depth < 3:
            steps = [
                (int(rng.integers(1, 6)), int(rng.integers(-99, 99)))
                for _ in range(int(rng.integers(0, 5)))
            ]
            with builder.loop(int(rng.integers(0, 4)), *steps):
                _body(builder, rng, depth + 1)
        elif kind == 1:
            builder.seta(
                areg, int(rng.integers(-(1 << 40), 1 << 40)), mult=int(rng.integers(-999, 999)),
                scalar=int(rng.integers(0, len(S))), div=int(rng.integers(1, 50)),
                mod=int(rng.integers(0, 30)), add=int(rng.integers(0, 6)),
            )  # fmt: skip
        elif kind == 2:
            builder.seta(
                areg, int(rng.integers(-(1 << 40), 1 << 40)), mult=int(rng.integers(-20, 20)),
                scalar=int(rng.integers(0, len(S))), div=int(rng.integers(1, 400)),
                mod=int(rng.integers(0, 4)), add=int(rng.integers(0, 6)), shift=True,
            )  # fmt: skip
        else:
            builder.sync()


def _seta(word: Any, areg: list[int]) -> int:
    p, (div, mod, add) = [int(x) for x in word["p"]], [int(x) for x in word["n"]]
    q = S[p[4]] // div
    q = q % mod if mod else q
    base = (p[2] << 32) | (p[1] & 0xFFFFFFFF)
    if word["mode"] & 1:
        shift = q * p[3]
        value = base << shift if 0 <= shift < 48 else base >> -shift if -48 < shift < 0 else 0
    else:
        value = base + q * p[3]
    return (value + areg[add]) % WRAP


def _run(words: Any, areg: list[int], start: int, stop: int) -> Iterator[Step]:
    """Words in order of issue with the registers they see; recursion instead of a stack."""
    pc = start
    while pc < stop:
        word = words[pc]
        yield pc, list(areg)
        pc += 1
        if word["op"] == Op.SETA:
            areg[int(word["p"][0])] = _seta(word, areg)
        if word["op"] == Op.LOOP:
            count, body = int(word["n"][0]), int(word["n"][1])
            named = [int(word["p"][4]) >> (4 * i) & 15 for i in range(4)]
            saved = [areg[number] for number in named]
            for turn in range(count):
                yield from _run(words, areg, pc, pc + body)
                for i, number in enumerate(named):
                    if number:
                        last = turn == count - 1
                        areg[number] = (
                            saved[i] if last else (areg[number] + int(word["p"][i])) % WRAP
                        )
            pc += body


async def _play(dut: Any, words: Any, first: list[int], rng: np.random.Generator) -> None:
    expected = _run(words, list(first), 0, len(words))
    raw = [int.from_bytes(word.tobytes(), "little") for word in words]
    released = 0
    for pc, areg in expected:
        dut.word_i.value = raw[int(dut.pc_o.value)]
        await Timer(1, "step")
        assert int(dut.pc_o.value) == pc
        assert dut.head_o.value == 1
        assert dut.bad_loop_o.value == 0
        assert int(dut.areg_o.value) == pack_lanes(areg, 48)
        assert released <= int(dut.released_o.value) <= pc
        released = int(dut.released_o.value)
        dut.count_i.value = int(words[pc]["n"][0])
        while rng.integers(3) == 0:
            await tick(dut)
        dut.issue_i.value = 1
        await tick(dut)
        dut.issue_i.value = 0
        if words[pc]["op"] == Op.SETA:
            await tick(dut, SETA_CYCLES - 2)
            assert dut.head_o.value == 0
            await tick(dut)
    dut.word_i.value = 0
    await Timer(1, "step")


@cocotb.test()
async def random_streams(dut: Any) -> None:
    scalars = [*S, *[0] * (SCALARS - len(S))]
    await boot(
        dut, launch_i=0, runs_i=25, issue_i=0, control_i=1, available_i=1, count_i=0,
        word_i=0, signals_i=0, scalars_i=pack_lanes(scalars, 32), run_i=0,
    )  # fmt: skip
    rng = np.random.default_rng(3)
    for run in range(25):
        first = [0, *(int(x) for x in rng.integers(0, WRAP, AREGS - 1))]
        dut.run_i.value = pack_lanes(first, 48)
        if run == 0:
            dut.launch_i.value = 1
            await tick(dut)
            dut.launch_i.value = 0
        assert dut.restart_o.value == 1
        assert int(dut.run_o.value) == run
        await tick(dut)
        builder = StreamBuilder()
        _body(builder, rng, 0)
        _body(builder, rng, 0)
        builder.end()
        await _play(dut, builder.stream().words, first, rng)
    assert dut.head_o.value == 0
    await tick(dut, 2)
    assert dut.busy_o.value == 0
