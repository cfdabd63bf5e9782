"""Joules of a timed execution: counts × energy per action, plus idle power × time, plus the host.

In:  `ActionCounts`, seconds, a `Chip`, an `EnergyTable`, seconds of host calls.
Out: `EnergyBreakdown` (frozen): parts with ranges that sum to the total, entries used, notes.
Raises: ChipError where the table or the chip lacks a figure that the counts need.

What is where: on-chip dynamic energy is scaled to the chip's process; memory devices and links are
not. The idle power is that of the whole chip (leakage, clocks, memory standby and refresh), so no
leakage is added to it. HBM: low and central are device + interface, the high case is what the
board power of GPUs shows, control included. A hop of the mesh is a router and the wire across one
cluster, √(die area / clusters). Fetched words are read from main memory by every queue (timing
counts them apart from data), written to the queue's FIFO, and read from it when they run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from athena.chip.model import Chip
from athena.energy.range import Range, exactly, total
from athena.energy.table import EnergyTable, Entry, Kind
from athena.errors import ChipError
from athena.isa.fields import WORD_BYTES
from athena.timing.result import ActionCounts
from athena.units import BITS_PER_BYTE, PJ_PER_J


class Group(StrEnum):
    """Lines that are never added without being shown apart."""

    CHIP_DYNAMIC = "chip dynamic"
    CHIP_STATIC = "chip static"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyPart:
    """One component: what was counted, how often, its joules, and the table's entries used."""

    name: str
    group: Group
    energy_j: Range
    count: float
    unit: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyBreakdown:
    """Energy of one execution by component; `entries` are those of the table that were used."""

    parts: tuple[EnergyPart, ...]
    seconds: float
    table: str
    table_sha256: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]

    def of(self, *groups: Group) -> Range:
        """Joules of some groups together."""
        return total(part.energy_j for part in self.parts if part.group in groups)

    @property
    def total_j(self) -> Range:
        """All parts: chip and the host's share."""
        return total(part.energy_j for part in self.parts)

    @property
    def chip_j(self) -> Range:
        """Boundary `chip`: package with its memory, dynamic and static."""
        return self.of(Group.CHIP_DYNAMIC, Group.CHIP_STATIC)

    @property
    def chip_w(self) -> Range:
        """Average power of the chip over the execution; zero for an execution without time."""
        return self.chip_j / self.seconds if self.seconds else exactly(0.0)

    @property
    def assumed(self) -> tuple[str, ...]:
        """Keys of used entries that have no source but an engineering estimate."""
        return tuple(entry.key for entry in self.entries if entry.kind == Kind.ASSUMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """A count with the energy of one action in pJ."""

    name: str
    count: float
    unit: str
    each_pj: Range
    entries: tuple[str, ...]
    group: Group = Group.CHIP_DYNAMIC

    def part(self) -> EnergyPart:
        return EnergyPart(
            name=self.name,
            group=self.group,
            energy_j=self.each_pj * (self.count / PJ_PER_J),
            count=self.count,
            unit=self.unit,
            entries=self.entries,
        )


def energy(
    counts: ActionCounts,
    seconds: float,
    chip: Chip,
    table: EnergyTable,
    *,
    host_s: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> EnergyBreakdown:
    """Energy of an execution of `seconds` (host calls included at their central time `host_s[1]`).

    Components without any action do not appear; each action counted has an entry or is an error.
    """
    scale = table.process_factor(chip.process_nm)
    costs = (
        *_matrix(counts, table, scale),
        *_vector(counts, table, scale),
        *_sram(counts, chip, table, scale),
        *_noc(counts, chip, table, scale),
        *_hbm(counts, chip, table, scale),
        *_instructions(counts, chip, table, scale),
        *_host_link(counts, table),
    )
    parts = [cost.part() for cost in costs if cost.count]
    parts.append(_static(seconds, chip, host_s))
    if host_s[1] > 0:
        parts.append(_host(chip, host_s))
    used = dict.fromkeys(key for part in parts for key in part.entries if key in table.entries)
    breakdown = EnergyBreakdown(
        parts=tuple(parts),
        seconds=seconds,
        table=table.name,
        table_sha256=table.sha256,
        entries=tuple(table.entries[key] for key in used),
        notes=(),
    )
    return replace(breakdown, notes=tuple(_notes(breakdown, chip, table, scale)))


def _matrix(counts: ActionCounts, table: EnergyTable, scale: Range) -> Iterator[_Cost]:
    for dtype, macs in sorted(counts.macs.items()):
        if macs:
            key = f"mac.{dtype}"
            each = table.entry(key).range * scale
            yield _Cost(
                name=f"matrix {dtype}", count=macs, unit="MAC", each_pj=each, entries=(key,)
            )
    for dtype, macs in sorted(counts.padded_macs.items()):
        if macs:
            keys = (f"mac.{dtype}", "mac.padded_fraction")
            each = table.entry(keys[0]).range * table.entry(keys[1]).range * scale
            yield _Cost(
                name=f"matrix {dtype} padding", count=macs, unit="MAC", each_pj=each, entries=keys
            )


def _vector(counts: ActionCounts, table: EnergyTable, scale: Range) -> Iterator[_Cost]:
    for name, count, key in (
        ("vector", counts.vector_ops, "vector.op"),
        ("look-up tables", counts.lut_ops, "vector.lut"),
        ("conversions", counts.cast_ops, "vector.cast"),
    ):
        if count:
            each = table.entry(key).range * scale
            yield _Cost(name=name, count=count, unit="op", each_pj=each, entries=(key,))


def _sram(counts: ActionCounts, chip: Chip, table: EnergyTable, scale: Range) -> Iterator[_Cost]:
    for name, capacity, read, write in (
        ("L1", chip.core.l1_bytes, counts.l1_read_bytes, counts.l1_write_bytes),
        ("accumulators", chip.core.acc_bytes, counts.acc_read_bytes, counts.acc_write_bytes),
        ("L2", chip.cluster.l2_bytes, counts.l2_read_bytes, counts.l2_write_bytes),
    ):
        if not read and not write:
            continue
        if not capacity:
            raise ChipError(f"{name} was accessed but has 0 bytes", where=f"chip '{chip.name}'")
        each, keys = table.sram(capacity)
        writing = each * table.entry("sram.write_factor").range
        yield _Cost(
            name=f"{name} read", count=read, unit="byte", each_pj=each * scale, entries=keys
        )
        yield _Cost(
            name=f"{name} write",
            count=write,
            unit="byte",
            each_pj=writing * scale,
            entries=(*keys, "sram.write_factor"),
        )


def _noc(counts: ActionCounts, chip: Chip, table: EnergyTable, scale: Range) -> Iterator[_Cost]:
    if not counts.noc_byte_hops:
        return
    if chip.die_area_mm2 is None:
        raise ChipError(
            "die_area_mm2 is missing: without it a hop of the mesh has no length",
            where=f"chip '{chip.name}'",
            hint="state the die's area in mm2",
        )
    hop_mm = math.sqrt(chip.die_area_mm2 / chip.clusters)
    keys = ("noc.router", "noc.wire")
    each = (table.entry(keys[0]).range + table.entry(keys[1]).range * hop_mm) * scale
    yield _Cost(
        name="mesh", count=counts.noc_byte_hops, unit="byte hop", each_pj=each, entries=keys
    )


def _hbm(counts: ActionCounts, chip: Chip, table: EnergyTable, scale: Range) -> Iterator[_Cost]:
    if not counts.hbm_read_bytes and not counts.hbm_write_bytes:
        return
    each, keys = _memory(chip, table, scale)
    for name, count in (("read", counts.hbm_read_bytes), ("write", counts.hbm_write_bytes)):
        yield _Cost(
            name=f"main memory {name}", count=count, unit="byte", each_pj=each, entries=keys
        )


def _memory(chip: Chip, table: EnergyTable, scale: Range) -> tuple[Range, tuple[str, ...]]:
    """Energy in pJ of a byte to or from main memory, and the entries it rests on."""
    standard = chip.hbm.standard.lower()
    if not standard:
        raise ChipError(
            "hbm.standard is missing: the energy of main memory depends on it",
            where=f"chip '{chip.name}'",
            hint="state it, e.g. hbm2e, hbm3, lpddr5",
        )
    keys: tuple[str, ...] = (f"dram.{standard}", "dram.phy")
    each = table.entry(keys[0]).range + table.entry(keys[1]).range * scale
    if standard.startswith("hbm"):
        keys = (*keys, "dram.gpu_all_in")
        all_in = table.entry(keys[2]).range.central
        each = Range(each.low, each.central, max(each.high, all_in))
    return each * float(BITS_PER_BYTE), keys


def _instructions(
    counts: ActionCounts, chip: Chip, table: EnergyTable, scale: Range
) -> Iterator[_Cost]:
    """Words fetched from main memory into a queue's FIFO; words read from it and decoded."""
    if not counts.fetch_bytes and not counts.words_executed:
        return
    fifo, keys = table.sram(chip.core.fifo_words * WORD_BYTES)
    if counts.fetch_bytes:
        memory, memory_keys = _memory(chip, table, scale)
        yield _Cost(
            name="instruction fetch",
            count=counts.fetch_bytes,
            unit="byte",
            each_pj=memory + fifo * table.entry("sram.write_factor").range * scale,
            entries=(*memory_keys, *keys, "sram.write_factor"),
        )
    if counts.words_executed:
        key = "instruction.word"
        yield _Cost(
            name="instruction decode",
            count=counts.words_executed,
            unit="word",
            each_pj=(table.entry(key).range + fifo * float(WORD_BYTES)) * scale,
            entries=(key, *keys),
        )


def _host_link(counts: ActionCounts, table: EnergyTable) -> Iterator[_Cost]:
    if counts.host_link_bytes:
        key = "link.pcie5"
        yield _Cost(
            name="host link",
            count=counts.host_link_bytes,
            unit="byte",
            each_pj=table.entry(key).range * float(BITS_PER_BYTE),
            entries=(key,),
            group=Group.HOST,
        )


def _static(seconds: float, chip: Chip, host_s: tuple[float, float, float]) -> EnergyPart:
    """Idle power × time; where the host takes part, its range of time is the chip's as well."""
    shortest = max(0.0, seconds - host_s[1] + host_s[0])
    time_s = Range(shortest, seconds, seconds - host_s[1] + host_s[2])
    return EnergyPart(
        name="idle power",
        group=Group.CHIP_STATIC,
        energy_j=_power(chip, "power.idle_w", chip.power.idle_w) * time_s,
        count=seconds,
        unit="s",
        entries=("chip: power.idle_w",),
    )


def _host(chip: Chip, host_s: tuple[float, float, float]) -> EnergyPart:
    return EnergyPart(
        name="host calls",
        group=Group.HOST,
        energy_j=_power(chip, "host.active_w", chip.host.active_w) * Range(*host_s),
        count=host_s[1],
        unit="s",
        entries=("chip: host.active_w",),
    )


def _power(chip: Chip, key: str, values: tuple[float, float, float]) -> Range:
    try:
        return Range(*values)
    except ValueError:
        raise ChipError(
            f"{list(values)} is not in the order low, central, high",
            where=f"chip '{chip.name}': {key}",
        ) from None


def _notes(
    breakdown: EnergyBreakdown, chip: Chip, table: EnergyTable, scale: Range
) -> Iterator[str]:
    source = chip.sources.get("power.idle_w") or chip.sources.get("power") or "no source"
    yield (
        "Static energy is the whole chip's idle power (leakage, clocks, memory standby and refresh "
        f"inside) times time: {chip.power.idle_w[0]:g} / {chip.power.idle_w[1]:g} / "
        f"{chip.power.idle_w[2]:g} W ({source})."
    )
    yield "Ranges add end by end: low is every figure low, high every figure high."
    if scale != exactly(1.0):
        yield (
            f"On-chip energies are for {table.process_nm:g} nm, scaled to {chip.process_nm:g} nm "
            f"by {scale.low:g} / {scale.central:g} / {scale.high:g} ({table.scaling_source})."
        )
    if breakdown.assumed:
        yield f"Entries without a published source (assumed): {', '.join(breakdown.assumed)}."
    if breakdown.chip_w.central > chip.power.tdp_w:
        yield (
            f"The average power of {breakdown.chip_w.central:.4g} W is above the design power of "
            f"{chip.power.tdp_w:g} W: a real chip would lower its clock, so time is optimistic."
        )
