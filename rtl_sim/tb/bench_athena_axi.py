"""Cocotb bench of the core for SoCs: registers, programs from launch to interrupt, faults, stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotbext.axi import (
    AxiBus,
    AxiLiteBus,
    AxiLiteMaster,
    AxiReadBus,
    AxiResp,
    AxiSlave,
    AxiSlaveRead,
)

from athena.chip.load import load_chip
from athena.functional import Machine
from athena.isa.builder import StreamBuilder, Wait, hbm, l1, self_sem
from athena.isa.fields import CORE_QUEUES, CORE_SEMS, HBM_SEGMENTS, SCALARS, SEGMENTS, Queue, Seg
from athena.isa.program import Program, QueueRun, Section
from rtl_sim.counters import Counters, decode_counters
from rtl_sim.generate import random_job
from rtl_sim.job import RtlJob, segment_bases
from rtl_sim.launch import Launch, prepare
from rtl_sim.package import RUNS_MAX, Fault
from rtl_sim.registers import REGISTER_BYTES, RUN_STRIDE_BYTES, Control, Irq, Reg, Status
from rtl_sim.tb.axi_bus import Memory, Ports, pause_slave, pauses, start_watch
from rtl_sim.tb.clocked import boot, tick

CHIP = "athena-edge-ci"
BASE = 0x8000_0000
DATA_AT = BASE + 0x3000
SEED = 7
LIMIT_CYCLES = 30_000
LIMIT_US = 200  # of 500 cycles
ROWS, ROW_BYTES, IN_STRIDE, OUT_STRIDE = 5, 611, 700, 900
QUIET = {
    "s_axil_awprot_i": 0, "s_axil_arprot_i": 0,
    **{f"s_axil_{name}_i": 0 for name in ("awvalid", "wvalid", "bready", "arvalid", "rready")},
    **{f"m_axi_{name}_i": 0 for name in ("awready", "wready", "bvalid", "arready", "rvalid")},
    "f_axi_arready_i": 0, "f_axi_rvalid_i": 0,
}  # fmt: skip


def copy_job() -> RtlJob:
    """Unaligned rows from INPUT by L1 to OUTPUT, in two runs of the section."""
    streams = {queue: StreamBuilder() for queue in CORE_QUEUES}
    streams[Queue.LOAD].load(
        hbm(Seg.INPUT, 3, stride=IN_STRIDE), l1(16, stride=640), rows=ROWS, row_bytes=ROW_BYTES,
        waits=[Wait(1)], signals=[self_sem(0)],
    )  # fmt: skip
    streams[Queue.STORE].store(
        l1(16, stride=640), hbm(Seg.OUTPUT, 5, stride=OUT_STRIDE), rows=ROWS, row_bytes=ROW_BYTES,
        waits=[Wait(0)], signals=[self_sem(1)],
    )  # fmt: skip
    for stream in streams.values():
        stream.end()
    sizes = [0] * SEGMENTS
    sizes[Seg.INPUT] = sizes[Seg.OUTPUT] = 8192
    strides = [0] * SEGMENTS
    strides[Seg.INPUT], strides[Seg.OUTPUT] = 7, 650 * 5
    runs = tuple(QueueRun(kind=queue, stream=i) for i, queue in enumerate(CORE_QUEUES))
    program = Program(
        name="copy", chip=CHIP, chip_hash="", precision="int8",
        streams=tuple(streams[queue].stream() for queue in CORE_QUEUES),
        sections=(Section(name="all", repeat=2, seg_stride=tuple(strides), runs=runs),),
        segment_bytes=tuple(sizes), core_sems={1: 1}, scalars=(),
    )  # fmt: skip
    image = np.random.default_rng(SEED).integers(0, 256, 8192, dtype=np.uint8)
    return RtlJob(program=program, segments={int(Seg.INPUT): image})


def expected_memory(job: RtlJob) -> bytes:
    """Main memory after the functional machine has run the job."""
    bases = segment_bases(job.program)
    machine = Machine(job.program, load_chip(CHIP))
    for segment, image in (job.segments or {}).items():
        machine.segment(Seg(segment))[: len(image)] = image
    machine.run({})
    memory = bytearray(bases[-1])
    for seg in HBM_SEGMENTS:
        size = job.program.segment_bytes[seg]
        memory[bases[seg] : bases[seg] + size] = machine.segment(seg)[:size].tobytes()
    return bytes(memory)


class Soc:
    """The core with one memory behind both masters, and the driver's side of its registers."""

    def __init__(self, dut: Any, share: float = 0.0) -> None:
        self.dut, self.share = dut, share
        self.memory = Memory(BASE, bytearray())
        self.ports = Ports(dut)

    async def start(self) -> None:
        """Reset; memory and monitors run from here on."""
        clock, reset = self.dut.clk_i, self.dut.rst_i
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(self.ports, "s_axil"), clock, reset)
        data = AxiSlave(AxiBus.from_prefix(self.ports, "m_axi"), clock, reset, self.memory)
        code = AxiSlaveRead(AxiReadBus.from_prefix(self.ports, "f_axi"), clock, reset, self.memory)
        await boot(self.dut, **QUIET)
        if self.share:
            pause_slave(data, SEED, self.share)
            code.ar_channel.set_pause_generator(pauses(SEED + 8, self.share))
            code.r_channel.set_pause_generator(pauses(SEED + 9, self.share))
        self.data_beats = start_watch(self.dut, self.ports, "m_axi", ("aw", "w", "ar"))
        self.code_beats = start_watch(self.dut, self.ports, "f_axi", ("ar",))

    async def write(self, offset: int, value: int) -> AxiResp:
        """Write a register; the answer."""
        answer = await self.master.write(offset, value.to_bytes(REGISTER_BYTES, "little"))
        return AxiResp(answer.resp)

    async def read(self, offset: int) -> int:
        """Read a register that is there."""
        answer = await self.master.read(offset, REGISTER_BYTES)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def prepare(self, job: RtlJob) -> Launch:
        """Both images in memory (the code last, nothing behind it) and all launch state."""
        bases = segment_bases(job.program)
        launch = prepare(job, data_at=DATA_AT, code_at=DATA_AT + bases[-1])
        self.memory.image[:] = bytes(DATA_AT - BASE) + launch.data + launch.code
        for offset, value in launch.writes:
            assert await self.write(offset, value) == AxiResp.OKAY
        assert await self.write(Reg.IRQ_ENABLE, 1 << Irq.DONE | 1 << Irq.FAULT) == AxiResp.OKAY
        return launch

    async def run(self) -> int:
        """Start, wait for the interrupt, acknowledge it; STATUS."""
        await self.write(Reg.CONTROL, 1 << Control.START)
        for _ in range(LIMIT_CYCLES):
            if self.dut.irq_o.value == 1:
                break
            await tick(self.dut)
        else:
            raise AssertionError("no interrupt")
        await self.write(Reg.IRQ_PENDING, await self.read(Reg.IRQ_PENDING))
        assert self.dut.irq_o.value == 0
        return await self.read(Reg.STATUS) & ~(1 << Status.BUS_BUSY)

    async def wait_status(self, bit: Status, value: int) -> None:
        """Poll one bit."""
        for _ in range(LIMIT_CYCLES):
            if await self.read(Reg.STATUS) >> bit & 1 == value:
                return
        raise AssertionError(f"{bit.name} does not become {value}")

    async def counters(self) -> Counters:
        """All of them, low halves first."""
        at = [
            Reg.COUNTERS + 2 * REGISTER_BYTES * i for i in range(await self.read(Reg.SIZES) >> 16)
        ]
        words = [(await self.read(low), await self.read(low + REGISTER_BYTES)) for low in at]
        return decode_counters([low | high << 32 for low, high in words])

    def data(self, launch: Launch) -> bytes:
        """Main memory of the core now."""
        return bytes(self.memory.image[DATA_AT - BASE :][: len(launch.data)])


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def a_random_program_runs_to_its_interrupt(dut: Any) -> None:
    """Every byte of memory is the functional machine's, with back-pressure; then once more."""
    soc = Soc(dut, share=0.3)
    await soc.start()
    job = random_job(SEED, load_chip(CHIP))
    launch = await soc.prepare(job)
    assert await soc.run() == 1 << Status.DONE
    assert soc.data(launch) == expected_memory(job)
    assert await soc.read(Reg.FAULT_CODE) == Fault.NONE
    assert soc.data_beats["ar"]
    assert soc.data_beats["w"]
    assert soc.code_beats["ar"]


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def launches_follow_each_other(dut: Any) -> None:
    """A second launch needs no more than START; counters are those of the last one."""
    soc = Soc(dut)
    await soc.start()
    job = copy_job()
    launch = await soc.prepare(job)
    expected = expected_memory(job)
    assert expected.count(0) < len(expected) // 2
    for _ in range(2):
        soc.memory.image[DATA_AT - BASE :][: len(launch.data)] = launch.data
        assert await soc.run() == 1 << Status.DONE
        assert soc.data(launch) == expected
        counters = await soc.counters()
        assert counters.loaded_bytes == counters.stored_bytes == 2 * ROWS * ROW_BYTES
        for queue in counters.queues:
            assert queue.words == (4 if queue.queue in (Queue.LOAD, Queue.STORE) else 2)
            waits = queue.wait_semaphore_cycles + queue.wait_port_cycles + queue.wait_fetch_cycles
            used = queue.busy_cycles + queue.wait_memory_cycles + queue.idle_cycles
            assert waits + used == counters.cycles > 100


def _registers() -> Iterator[tuple[int, int]]:
    """Launch state and a value that it can hold."""
    yield from ((Reg.CODE_LOW, 0xABCD_EF80), (Reg.CODE_HIGH, 0x4321))
    yield from ((Reg.DATA_LOW, 0xABCD_E000), (Reg.DATA_HIGH, 0x1234))
    yield from ((Reg.MEMORY_LOW, 0xABCD_EF01), (Reg.MEMORY_HIGH, 0x8765))
    for reg, count in ((Reg.SCALARS, SCALARS), (Reg.SEMS, CORE_SEMS // REGISTER_BYTES)):
        for i in range(count):
            yield reg + REGISTER_BYTES * i, 0x1001_0203 * (i + 1) & 0xFFFF_FFFF
    for i in range(len(CORE_QUEUES)):
        yield Reg.RUNS + REGISTER_BYTES * i, RUNS_MAX - i


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def registers(dut: Any) -> None:
    """Launch state reads back; what is not there, partial or too large answers SLVERR."""
    soc = Soc(dut)
    await soc.start()
    for offset, value in _registers():
        assert await soc.write(offset, value) == AxiResp.OKAY
    for offset, value in _registers():
        assert await soc.read(offset) == value
    assert await soc.read(Reg.SIZES) & 0xFFFF == RUNS_MAX
    table_end = Reg.RUN_TABLE + RUN_STRIDE_BYTES * RUNS_MAX * len(CORE_QUEUES)
    assert await soc.write(table_end - RUN_STRIDE_BYTES, 1) == AxiResp.OKAY
    refused = [
        (Reg.RUNS, RUNS_MAX + 1), (Reg.RUNS + REGISTER_BYTES * len(CORE_QUEUES), 0),
        (Reg.STATUS, 0), (Reg.SIZES, 0), (Reg.COUNTERS, 0), (Reg.MEMORY_HIGH + REGISTER_BYTES, 0),
        (table_end - REGISTER_BYTES, 0),
    ]  # fmt: skip
    for offset, value in refused:
        assert await soc.write(offset, value) == AxiResp.SLVERR
    for offset in (Reg.MEMORY_HIGH + REGISTER_BYTES, Reg.RUN_TABLE, Reg.COUNTERS - REGISTER_BYTES):
        assert (await soc.master.read(offset, REGISTER_BYTES)).resp == AxiResp.SLVERR
    assert (await soc.master.write(Reg.SCALARS, b"\xff")).resp == AxiResp.SLVERR
    for offset, value in _registers():
        assert await soc.read(offset) == value


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def errors_of_memory_are_faults(dut: Any) -> None:
    """A refused load, store or word ends with its code, queue and pc; the next launch is good."""
    soc = Soc(dut, share=0.2)
    await soc.start()
    job = copy_job()
    launch = await soc.prepare(job)
    bases = segment_bases(job.program)
    words = [len(stream.words) for stream in job.program.streams]
    end_of_load = launch.code_at + (sum(words[: Queue.LOAD + 1]) - 1) * 128 + 96
    cases = (
        (DATA_AT + bases[Seg.INPUT] + 3 + 2 * IN_STRIDE, Queue.LOAD, 0),
        (DATA_AT + bases[Seg.OUTPUT] + 5 + 4 * OUT_STRIDE, Queue.STORE, 0),
        (end_of_load, Queue.LOAD, 1),
    )
    expected = expected_memory(job)
    for refused, queue, pc in cases:
        soc.memory.refused = range(refused, refused + 1)
        assert await soc.run() == 1 << Status.FAULT
        found = [await soc.read(reg) for reg in (Reg.FAULT_CODE, Reg.FAULT_QUEUE, Reg.FAULT_PC)]
        assert found == [Fault.MEMORY, queue, pc]
        soc.memory.refused = range(0)
        assert await soc.run() == 1 << Status.DONE
        assert await soc.read(Reg.FAULT_CODE) == Fault.NONE
        assert soc.data(launch) == expected


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def a_stop_ends_what_waits_for_ever(dut: Any) -> None:
    """WAITING shows it; launch state cannot change before STOP, and after it a launch is good."""
    soc = Soc(dut)
    await soc.start()
    job = copy_job()
    launch = await soc.prepare(job)
    stuck = dataclasses.replace(job.program, core_sems={})
    await soc.prepare(dataclasses.replace(job, program=stuck))
    await soc.write(Reg.CONTROL, 1 << Control.START)
    await soc.wait_status(Status.WAITING, 1)
    assert await soc.write(Reg.SCALARS, 5) == AxiResp.SLVERR
    await soc.write(Reg.CONTROL, 1 << Control.START)  # ignored
    await soc.write(Reg.CONTROL, 1 << Control.STOP)
    await soc.wait_status(Status.RUNNING, 0)
    assert dut.irq_o.value == 0
    launch = await soc.prepare(job)
    assert await soc.run() == 1 << Status.DONE
    assert soc.data(launch) == expected_memory(job)
