"""Cocotb bench of VPERM and VGATHER: all modes, sizes around the lanes, numpy as the model; words
back to back, each complete in the cycle that its closed form says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from athena.chip import load_chip
from athena.isa import cycles as law
from athena.isa.builder import StreamBuilder, acc, l1
from athena.isa.fields import DT_BYTES, WORD_BYTES, Dt, GatherMode, Perm, Seg
from rtl_sim.package import BOUND_BITS, COUNT_BITS
from rtl_sim.tb.clocked import boot, tick
from rtl_sim.tb.pack import pack_lanes

CORE = load_chip("athena-edge-ci").core
L1_BYTES, ACC_BYTES = CORE.l1_bytes, CORE.acc_bytes
TABLE, INDEX, RESULT = 0, 16384, 24576
LANES, STARTUP = CORE.vector.lanes, CORE.vector.startup_cycles
SIDES = (1, 2, LANES - 1, LANES, LANES + 1, 2 * LANES, 3 * LANES + 5)
TYPES = (Dt.F32, Dt.BF16, Dt.F16, Dt.I8, Dt.U8, Dt.I32)
FLOATS = TYPES[:3]
ROTATIONS = (Perm.ROTATE_HALF, Perm.ROTATE_PAIRS)
Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A word, where its result lies, what it has to be, and when."""

    uop: tuple[int, int]
    stride: int
    want: Array
    cycles: int
    indices: Array | None = None


def _uop(
    builder: StreamBuilder, addresses: tuple[int, int, int], counts: tuple[int, ...]
) -> tuple[int, int]:
    """Both ends of a decoded word: addresses, bounds and counts from below, the word on top."""
    word = int.from_bytes(builder.stream().words.tobytes(), "little")
    a, b, d = addresses
    low = pack_lanes((a, b, 0, d, 0), 48)
    return low | pack_lanes(counts, COUNT_BITS) << (5 * 48 + 2 * BOUND_BITS), word


def _block(memory: Array, at: int, rows: int, cols: int, dt: Dt, stride: int) -> Array:
    size = DT_BYTES[dt]
    lines = [memory[at + r * stride : at + r * stride + cols * size] for r in range(rows)]
    return np.stack(lines).view(f"u{size}")


def _turned(a: Array, mode: Perm) -> Array:
    if mode is Perm.TRANSPOSE:
        return a.T
    if mode is Perm.COPY:
        return a
    flip = a ^ a.dtype.type(1 << (8 * a.itemsize - 1))
    half = a.shape[1] // 2
    if mode is Perm.ROTATE_HALF:
        return np.concatenate([flip[:, half:], a[:, :half]], 1)
    return np.stack([flip[:, 1::2], a[:, ::2]], 2).reshape(a.shape)


def _perm(memories: dict[Seg, Array], mode: Perm, rows: int, cols: int, dt: Dt) -> Case:
    size = DT_BYTES[dt]
    a_stride, d_stride = (
        size * (cols + rows % 3),
        size * ((rows if mode is Perm.TRANSPOSE else cols) + 1),
    )
    from_acc = dt is Dt.F32 and rows * a_stride <= ACC_BYTES
    source = (acc if from_acc else l1)(TABLE, stride=a_stride, dt=dt)
    builder = StreamBuilder()
    builder.vperm(source, l1(RESULT, stride=d_stride, dt=dt), mode, rows=rows, cols=cols)
    if mode is Perm.TRANSPOSE:
        cycles = law.transpose_cycles(rows, cols, LANES, STARTUP)
    else:
        parts = 2 if mode is Perm.ROTATE_HALF else 1
        cycles = law.vperm_cycles(rows, cols, LANES, STARTUP, parts)
    a = _block(memories[source.seg], TABLE, rows, cols, dt, a_stride)
    uop = _uop(builder, (TABLE, 0, RESULT), (rows, cols, 0))
    return Case(uop=uop, stride=d_stride, want=_turned(a, mode), cycles=cycles)


def _gather(
    rng: np.random.Generator, memory: Array, mode: GatherMode, rows: int, cols: int, dt: Dt
) -> Case:
    size, limit = DT_BYTES[dt], int(rng.integers(1, 40))
    by_row = mode is GatherMode.ROWS
    height, width = (limit, cols) if by_row else (rows, limit)
    a_stride, d_stride, b_stride = size * (width + 2), size * cols, 4 * (cols + 1)
    indices = rng.integers(0, limit, (1, rows) if by_row else (rows, cols)).astype(np.int32)
    builder = StreamBuilder()
    builder.vgather(
        l1(TABLE, stride=a_stride, dt=dt), l1(INDEX, stride=b_stride, dt=Dt.I32),
        l1(RESULT, stride=d_stride, dt=dt), mode, rows=rows, cols=cols, limit=limit,
    )  # fmt: skip
    table = _block(memory, TABLE, height, width, dt, a_stride)
    want = table[indices[0]] if by_row else np.take_along_axis(table, indices.astype(np.int64), 1)
    return Case(
        uop=_uop(builder, (TABLE, INDEX, RESULT), (rows, cols, limit)), stride=d_stride, want=want,
        cycles=law.vgather_cycles(rows, cols, LANES, STARTUP, not by_row),
        indices=np.pad(indices, ((0, 0), (0, 1))),
    )  # fmt: skip


async def _run(dut: Any, memories: dict[Seg, Array], uop: tuple[int, int], limit: int) -> int:
    """Start a word; serve its reads and writes until it is done, or stops at a bad index (0)."""
    low, word = uop
    dut.uop_i.value = low | word << (len(dut.uop_i) - 8 * WORD_BYTES)
    dut.start_i.value = 1
    for cycle in range(1, limit):
        await tick(dut)
        dut.start_i.value = 0
        enables, at = int(dut.write_o.value), int(dut.write_addr_o.value)
        data = int(dut.write_data_o.value).to_bytes(4 * LANES, "little")
        for i in range(4 * LANES):
            if enables >> i & 1:
                memories[Seg.L1][at + i] = data[i]
        if dut.read_o.value == 1:
            memory = memories[Seg.ACC if dut.read_acc_o.value == 1 else Seg.L1]
            at = int(dut.read_addr_o.value)
            dut.read_data_i.value = int.from_bytes(
                np.take(memory, range(at, at + 4 * LANES), mode="wrap").tobytes(), "little"
            )
        if dut.done_o.value == 1:
            return cycle
    return 0


async def _check(dut: Any, memories: dict[Seg, Array], case: Case, label: str) -> None:
    l1_bytes = memories[Seg.L1]
    if case.indices is not None:
        raw = case.indices.tobytes()
        l1_bytes[INDEX : INDEX + len(raw)] = np.frombuffer(raw, np.uint8)
    before = l1_bytes.copy()
    assert await _run(dut, memories, case.uop, case.cycles + 5) == case.cycles, label
    for r, row in enumerate(np.ascontiguousarray(case.want)):
        at = RESULT + r * case.stride
        before[at : at + row.nbytes] = row.view(np.uint8)
    np.testing.assert_array_equal(l1_bytes, before, err_msg=label)


def _memories(rng: np.random.Generator) -> dict[Seg, Array]:
    return {
        Seg.L1: rng.integers(0, 256, L1_BYTES).astype(np.uint8),
        Seg.ACC: rng.integers(0, 256, ACC_BYTES).astype(np.uint8),
    }


@cocotb.test()
async def permutations(dut: Any) -> None:
    rng = np.random.default_rng(3)
    await boot(dut, start_i=0)
    memories = _memories(rng)
    for mode in Perm:
        types = FLOATS if mode in ROTATIONS else TYPES
        for rows in SIDES:
            for cols in SIDES:
                if mode in ROTATIONS and cols % 2:
                    continue
                dt = types[int(rng.integers(len(types)))]
                case = _perm(memories, mode, rows, cols, dt)
                await _check(dut, memories, case, f"{mode.name} {rows}x{cols} {dt.name}")


@cocotb.test()
async def gathers(dut: Any) -> None:
    rng = np.random.default_rng(4)
    await boot(dut, start_i=0)
    memories = _memories(rng)
    for mode in GatherMode:
        for rows in SIDES[::2]:
            for cols in SIDES:
                dt = TYPES[int(rng.integers(len(TYPES)))]
                case = _gather(rng, memories[Seg.L1], mode, rows, cols, dt)
                await _check(dut, memories, case, f"{mode.name} {rows}x{cols} {dt.name}")


@cocotb.test()
async def an_index_outside_stops_the_word(dut: Any) -> None:
    rng = np.random.default_rng(5)
    await boot(dut, start_i=0)
    memories = _memories(rng)
    for mode in GatherMode:
        for bad in (-1, 40):
            case = _gather(rng, memories[Seg.L1], mode, 3, 5, Dt.BF16)
            assert case.indices is not None
            indices = case.indices.copy()
            indices[-1, 2] = bad
            raw = indices.tobytes()
            memories[Seg.L1][INDEX : INDEX + len(raw)] = np.frombuffer(raw, np.uint8)
            assert await _run(dut, memories, case.uop, 200) == 0
            assert dut.read_o.value == 0
            case = _perm(memories, Perm.COPY, 2, 2, Dt.I8)
            await _check(dut, memories, case, "after a bad index")
