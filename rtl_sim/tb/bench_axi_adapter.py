"""Cocotb bench of the AXI4 adapter: random rows under back-pressure, bursts, speed, errors, refusal
of new rows, no path from ready to valid.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiSlave

from rtl_sim.registers import SIZES, AxiBurst
from rtl_sim.tb.axi_bus import Memory, Ports, pause_slave, pauses, start_watch
from rtl_sim.tb.clocked import boot, tick

PAGE = SIZES["AXI_PAGE_BYTES"]
BASE = 0x1234_5000
SIZE = 1 << 16
LIMIT_CYCLES = 20_000
LIMIT_US = 50  # of 500 cycles
BURSTS = int(os.environ["AXI_BURSTS"])  # `ReadBursts` and `WriteBursts` of the build
QUIET = {
    "accept_i": 1, "base_i": BASE // PAGE, "load_valid_i": 0, "load_first_i": 0, "load_addr_i": 0,
    "load_left_i": 1, "load_tag_i": 0, "store_valid_i": 0, "store_first_i": 0, "store_addr_i": 0,
    "store_left_i": 1, "store_tag_i": 0, "store_data_i": 0, "store_bytes_i": 1,
    "m_axi_awready_i": 0, "m_axi_wready_i": 0, "m_axi_bvalid_i": 0, "m_axi_arready_i": 0,
    "m_axi_rvalid_i": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the core: where, and (for stores) what."""

    at: int
    data: bytes

    def beats(self, bus: int) -> list[tuple[int, int, bytes]]:
        """Address, bytes left, data of each beat."""
        return [
            (self.at + i, len(self.data) - i, self.data[i : i + bus])
            for i in range(0, len(self.data), bus)
        ]

    def bursts(self, bus: int) -> list[tuple[int, int]]:
        """(address, beats - 1) of the AXI bursts: the bus words of the row, cut at pages."""
        words = range((BASE + self.at) // bus, (BASE + self.at + len(self.data) - 1) // bus + 1)
        cut: dict[int, list[int]] = {}
        for word in words:
            cut.setdefault(word * bus // PAGE, []).append(word)
        return [(page[0] * bus, len(page) - 1) for page in cut.values()]


def _rows(rng: np.random.Generator, count: int) -> list[Row]:
    rows = []
    for _ in range(count):
        length = int(rng.choice([rng.integers(1, 17), rng.integers(1, 80), rng.integers(80, 700)]))
        at = int(rng.integers(0, SIZE - length))
        if rng.integers(3) == 0:  # around the end of a page
            at = PAGE * int(rng.integers(1, 15)) - int(rng.integers(0, length + 1))
        if rng.integers(3) == 0:
            at &= ~15
        rows.append(Row(at=at, data=rng.bytes(length)))
    return rows


async def _send(dut: Any, port: str, rows: list[Row], rng: Any = None) -> None:
    """Beats of rows into a port of the core; the tag is the beat's number."""
    bus = len(dut.store_data_i) // 8
    signals = {
        name: getattr(dut, f"{port}_{name}_i") for name in ("valid", "addr", "first", "left", "tag")
    }
    tag = 0
    for row in rows:
        for at, left, data in row.beats(bus):
            while rng is not None and rng.integers(4) == 0:
                await RisingEdge(dut.clk_i)
            signals["addr"].value, signals["left"].value = at, left
            signals["first"].value = int(left == len(row.data))
            signals["tag"].value = tag
            signals["valid"].value = 1
            if port == "store":
                garbage = bytes(bus - len(data)).replace(b"\0", b"\xa5")
                dut.store_data_i.value = int.from_bytes(data + garbage, "little")
                dut.store_bytes_i.value = len(data)
            tag += 1
            await RisingEdge(dut.clk_i)
            while getattr(dut, f"{port}_ready_o").value == 0:
                await RisingEdge(dut.clk_i)
            signals["valid"].value = 0


async def _answers(dut: Any, port: str, seen: list[Any]) -> None:
    while True:
        await RisingEdge(dut.clk_i)
        if getattr(dut, f"{port}_valid_o").value == 1:
            data = int(dut.load_data_o.value) if port == "load" else 0
            error = int(getattr(dut, f"{port}_error_o").value)
            seen.append((int(getattr(dut, f"{port}_tag_o").value), error, data))


async def _count_open(dut: Any, most: dict[str, int]) -> None:
    """Largest number of bursts whose address was taken and whose last answer was not."""
    opened = {"read": 0, "write": 0}
    while True:
        await RisingEdge(dut.clk_i)
        taken = {
            name: getattr(dut, f"m_axi_{name}valid_o").value == 1
            and getattr(dut, f"m_axi_{name}ready_i").value == 1
            for name in ("ar", "aw")
        }
        r_end = dut.m_axi_rvalid_i.value == 1 and dut.m_axi_rlast_i.value == 1
        r_end = r_end and dut.m_axi_rready_o.value == 1
        b_end = dut.m_axi_bvalid_i.value == 1 and dut.m_axi_bready_o.value == 1
        opened["read"] += int(taken["ar"]) - int(r_end)
        opened["write"] += int(taken["aw"]) - int(b_end)
        for name, count in opened.items():
            most[name] = max(most[name], count)


class Bench:
    """The adapter with memory behind it."""

    def __init__(self, dut: Any, seed: int, share: float = 0.0) -> None:
        self.dut, self.bus = dut, len(dut.store_data_i) // 8
        self.rng = np.random.default_rng(seed)
        self.memory = Memory(BASE, bytearray(self.rng.bytes(SIZE)))
        self.ports = Ports(dut)
        self.share, self.seed = share, seed
        self.loaded: list[Any] = []
        self.stored: list[Any] = []

    async def start(self) -> None:
        """Reset; memory and monitors run from here on."""
        slave = AxiSlave(
            AxiBus.from_prefix(self.ports, "m_axi"), self.dut.clk_i, self.dut.rst_i, self.memory
        )
        await boot(self.dut, **QUIET)
        if self.share:
            pause_slave(slave, self.seed, self.share)
        self.axi = start_watch(self.dut, self.ports, "m_axi", ("aw", "w", "ar"))
        self.most_open = {"read": 0, "write": 0}
        cocotb.start_soon(_count_open(self.dut, self.most_open))
        cocotb.start_soon(_answers(self.dut, "load", self.loaded))
        cocotb.start_soon(_answers(self.dut, "store", self.stored))

    async def finish(self) -> int:
        """Wait until the adapter is idle; cycles that took."""
        await tick(self.dut, 2)
        for cycle in range(LIMIT_CYCLES):
            if self.dut.idle_o.value == 1:
                await tick(self.dut, 2)
                return cycle
            await tick(self.dut)
        raise AssertionError("the adapter does not become idle")

    def check_bursts(self, channel: str, rows: list[Row]) -> None:
        """The address beats are those of the rows in order."""
        size = self.bus.bit_length() - 1
        expected = [
            (at, beats, size, AxiBurst.INCR) for row in rows for at, beats in row.bursts(self.bus)
        ]
        assert self.axi[channel] == expected

    def check_loads(self, rows: list[Row], image: bytes) -> None:
        """Every beat has its answer, with its tag and memory's bytes."""
        beats = [beat for row in rows for beat in row.beats(self.bus)]
        assert len(self.loaded) == len(beats)
        for number, ((tag, error, data), (at, _, sent)) in enumerate(
            zip(self.loaded, beats, strict=True)
        ):
            expected = image[at : at + len(sent)]
            assert (tag, error) == (number, 0)
            assert data.to_bytes(self.bus, "little")[: len(sent)] == expected


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def random_rows(dut: Any) -> None:
    """Loads of one half of memory while the other half is written."""
    bench = Bench(dut, seed=11, share=0.4)
    await bench.start()
    before = bytes(bench.memory.image)
    loads, stores = _rows(bench.rng, 200), _rows(bench.rng, 200)
    half = SIZE // 2
    loads = [Row(at=row.at % (half - 800), data=row.data) for row in loads]
    stores = [Row(at=half + row.at % (half - 800), data=row.data) for row in stores]
    sending = [
        cocotb.start_soon(_send(dut, "load", loads, np.random.default_rng(1))),
        cocotb.start_soon(_send(dut, "store", stores, np.random.default_rng(2))),
    ]
    for task in sending:
        await task
    await bench.finish()
    bench.check_loads(loads, before)
    bench.check_bursts("ar", loads)
    bench.check_bursts("aw", stores)
    assert bench.most_open == {"read": BURSTS, "write": BURSTS}
    expected = bytearray(before)
    for row in stores:
        expected[row.at : row.at + len(row.data)] = row.data
    assert bench.memory.image == expected
    ends = np.cumsum([len(row.beats(bench.bus)) for row in stores]) - 1
    assert bench.stored == [(int(tag), 0, 0) for tag in ends]


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
@cocotb.parametrize(at=[0, 5])
async def long_rows_run_at_a_beat_a_cycle(dut: Any, at: int) -> None:
    """A row over pages is one burst a page; apart from the start nothing waits, aligned or not."""
    bench = Bench(dut, seed=3)
    await bench.start()
    rows = [Row(at=at, data=bench.rng.bytes(3 * PAGE + 100))]
    before, beats = bytes(bench.memory.image), len(rows[0].beats(bench.bus))
    for port, answers, count in (("load", bench.loaded, beats), ("store", bench.stored, 1)):
        task = cocotb.start_soon(_send(dut, port, rows))
        cycles = 0
        while len(answers) < count:
            await tick(dut)
            cycles += 1
        assert cycles < beats + 40
        await task
        await bench.finish()
    bench.check_bursts("ar", rows)
    bench.check_bursts("aw", rows)
    bench.check_loads(rows, before)


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def errors_reach_the_core(dut: Any) -> None:
    """A load beat with a refused word and a store row with one are errors, no others."""
    bench = Bench(dut, seed=4, share=0.2)
    await bench.start()
    first, last = 0x2340, 0x238F
    bench.memory.refused = range(BASE + first, BASE + last + 1)
    bus = bench.bus
    places = (
        (0x2200, 48), (0x2301, 200), (0x2341, 4), (0x2390, 64), (0x1FFF, 2), (0x1F05, 0x500),
        (0x2301, 0xF00), (0x3000, 16),
    )  # fmt: skip
    rows = [Row(at=at, data=bytes(length)) for at, length in places]
    await _send(dut, "load", rows)
    await _send(dut, "store", rows)
    await bench.finish()
    beats = [(at, len(data)) for row in rows for at, _, data in row.beats(bus)]
    bad = [at // bus * bus <= last and at + length > first for at, length in beats]
    assert [error for _, error, _ in bench.loaded] == bad
    assert True in bad
    assert False in bad
    bad = [row.at <= last and row.at + len(row.data) > first for row in rows]
    assert [error for _, error, _ in bench.stored] == bad


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def rows_begun_are_finished(dut: Any) -> None:
    """Without `accept_i` the beats of an open row are taken, a new row is not."""
    bench = Bench(dut, seed=5)
    await bench.start()
    rows = [Row(at=0x100, data=bytes(160)), Row(at=0x900, data=bytes(16))]
    for port in ("load", "store"):
        dut.accept_i.value = 1
        task = cocotb.start_soon(_send(dut, port, rows))
        await tick(dut, 4)
        dut.accept_i.value = 0
        await tick(dut, 2)
        assert dut.idle_o.value == 0
        await bench.finish()
        assert getattr(dut, f"{port}_valid_i").value == 1
        assert getattr(dut, f"{port}_ready_o").value == 0
        assert not task.done()
        task.cancel()
        getattr(dut, f"{port}_valid_i").value = 0
    assert len(bench.loaded) == 10
    assert bench.stored == [(9, 0, 0)]


@cocotb.test(timeout_time=LIMIT_US, timeout_unit="us")
async def ready_is_not_seen_by_valid(dut: Any) -> None:
    """No AXI output but those behind a register changes with an AXI ready, at any step of a row."""
    await boot(dut, **QUIET)
    outputs = [h for h in dut if h._name.startswith("m_axi_") and h._name.endswith("_o")]
    readies = (dut.m_axi_awready_i, dut.m_axi_wready_i, dut.m_axi_arready_i)
    rng, flow = np.random.default_rng(6), pauses(6, 0.5)
    rows = [Row(at=5, data=bytes(1500))] * 20
    for port in ("load", "store"):
        cocotb.start_soon(_send(dut, port, rows, rng))
    moved = 0
    for _ in range(200):
        await tick(dut)
        before = [int(h.value) for h in outputs]
        for ready in readies:
            ready.value = 1 - int(ready.value)
        await Timer(100, "ps")
        assert [int(h.value) for h in outputs] == before
        moved += sum(int(h.value) for h in (dut.m_axi_arvalid_o, dut.m_axi_wvalid_o))
        for ready in readies:
            ready.value = int(next(flow))
    assert moved > 50
