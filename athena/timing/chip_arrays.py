"""Chip parameters, mesh routes, memory channels and host calls as arrays for the timing kernels.

In:  `Chip`, `Program.host_calls`. Out: int64 arrays (columns: `athena.timing.layout`).
Raises: ChipError for memory that is never ready.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip, MemoryKind
from athena.errors import ChipError
from athena.isa.cycles import beat_interval, ceil_div
from athena.isa.fields import CLUSTER_QUEUES, WORD_BYTES, Queue
from athena.isa.program import HostCall, Program
from athena.timing import layout as at
from athena.units import gbytes_per_s_to_bytes_per_s

Array = NDArray[np.int64]
EAST, WEST, SOUTH, NORTH = range(4)
_BUSES = {Queue.STORE: at.C_STORE, Queue.LOAD: at.C_LOAD}


def chip_parameters(chip: Chip, *, trace: bool) -> Array:
    """The first C_END places of the engine's memory; those of the program are left 0."""
    core, cluster, hbm, noc, matrix = chip.core, chip.cluster, chip.hbm, chip.noc, chip.core.matrix
    fixed = hbm.kind is MemoryKind.FIXED
    channels = 1 if fixed else hbm.channels
    _check(chip)
    values = {
        at.C_CORES: chip.cores,
        at.C_CLUSTERS: chip.clusters,
        at.C_MESH_COLS: chip.mesh.cols,
        at.C_CLUSTER_CORES: cluster.cores,
        at.C_FIFO: core.fifo_words,
        at.C_FETCH_CYCLES: ceil_div(WORD_BYTES, core.fetch_bytes_per_cycle),
        at.C_FETCH_LATENCY: core.fetch_latency_cycles,
        at.C_ROWS: matrix.rows,
        at.C_COLS: matrix.cols,
        at.C_RATE: matrix.rate.get("bf16", 0),
        at.C_RATE + 1: matrix.rate.get("int8", 0),
        at.C_RATE + 2: matrix.rate.get("fp32", 0),
        at.C_MAC_LATENCY: matrix.mac_latency_cycles,
        at.C_LANES: core.vector.lanes,
        at.C_STARTUP: core.vector.startup_cycles,
        at.C_L1: core.l1_bytes,
        at.C_L1_BANK: chip.l1_bank_bytes,
        at.C_ACC: core.acc_bytes,
        at.C_ACC_BANK: chip.acc_region_bytes,
        at.C_L2: cluster.l2_bytes,
        at.C_LOAD: core.load_bytes_per_cycle,
        at.C_STORE: core.store_bytes_per_cycle,
        at.C_DMA: cluster.dma_bytes_per_cycle,
        at.C_IN_FLIGHT: core.dma_words_in_flight,
        at.C_FIXED: int(fixed),
        at.C_HBM_LATENCY: hbm.latency_cycles,
        at.C_L2_LATENCY: cluster.l2_latency_cycles,
        at.C_SIGNAL: noc.signal_cycles,
        at.C_HOP: noc.hop_cycles,
        at.C_TRACE: int(trace),
        at.C_CHANNELS: channels,
        at.C_CHANNEL_BITS: max(1, (channels - 1).bit_length()),
        at.C_INTERLEAVE: hbm.interleave_bytes,
        at.C_BANKS: hbm.banks_per_channel,
        at.C_ROW_BYTES: hbm.row_bytes,
        at.C_MISS: ticks(chip, hbm.row_miss_ns),
        at.C_TURN: ticks(chip, hbm.turnaround_ns),
        at.C_REFRESH_EVERY: refresh_every_ticks(chip),
        at.C_REFRESH: ticks(chip, _blocked_ns(chip)),
        at.C_REFRESH_ONLY: ticks(chip, hbm.refresh_ns),
        at.C_ATOM_TICKS: atom_ticks(chip),
        at.C_WINDOW: window_cycles(chip),
        at.C_CONTROL: int(channels == 1 and not fixed),
        at.C_CHANNEL_RATE: _rate(chip.hbm_bytes_per_cycle / channels),
        at.C_L2_RATE: _rate(cluster.l2_banks * cluster.l2_bytes_per_cycle_per_bank),
        at.C_LINK_RATE: _rate(noc.link_bytes_per_cycle),
        at.C_PORT_RATE: _rate(noc.cluster_port_bytes_per_cycle),
        at.C_EDGES: len(_edges(chip)),
        at.C_GRANULE: min(at.GRANULE_BYTES, channels * hbm.interleave_bytes),
        at.C_RING: at.GRANULES * (core.dma_words_in_flight + 1),
        at.C_ROUTE: 1 + chip.mesh.rows + chip.mesh.cols,
    }
    for kind in (Queue.STORE, Queue.LOAD, *CLUSTER_QUEUES):
        bus = values[_BUSES.get(kind, at.C_DMA)]
        interval = beat_interval(bus, chip.hbm_bytes_per_cycle) if fixed else 1
        values[at.C_INTERVAL + kind] = interval
    parameters = np.zeros(at.C_END, np.int64)
    for place, value in values.items():
        parameters[place] = value
    for place in (at.C_CHANNELS, at.C_INTERLEAVE, at.C_BANKS, at.C_ROW_BYTES):
        divisor = int(parameters[place])
        exact = divisor & (divisor - 1) == 0
        parameters[place + 1] = divisor.bit_length() - 1 if exact else -1
    return parameters


def core_slots(chip: Chip) -> Array:
    """The logical core in each slot of each cluster, -1 where it is disabled."""
    slots = np.full(chip.clusters * chip.cluster.cores, -1, np.int64)
    slots[list(chip.active_cores)] = np.arange(chip.cores)
    return slots


def _blocked_ns(chip: Chip) -> float:
    """How long a refresh keeps a channel from transferring: all rows are closed before it and the
    first is opened after it.
    """
    hbm = chip.hbm
    return hbm.refresh_ns + hbm.row_miss_ns if hbm.refresh_ns else 0.0


def _check(chip: Chip) -> None:
    hbm = chip.hbm
    if 0 < hbm.refresh_interval_ns <= _blocked_ns(chip):
        raise ChipError(
            f"refresh_ns {hbm.refresh_ns} + row_miss_ns {hbm.row_miss_ns} is not below "
            f"refresh_interval_ns {hbm.refresh_interval_ns}",
            where=f"chip '{chip.name}': hbm.refresh_ns",
            hint="memory that always refreshes never answers",
        )
    if hbm.kind is MemoryKind.HBM and hbm.channels == 1 and hbm.refresh_ns:
        # A refresh may wait for a row that was begun just before. After it rows open one a cycle,
        # and something has to be transferred before the next one is due.
        cycles = hbm.banks_per_channel + atom_ticks(chip) / at.TICKS + 2
        least_ns = _blocked_ns(chip) + hbm.row_miss_ns + hbm.turnaround_ns
        least_ns += cycles * 1e9 / chip.clock_hz
        if 0 < hbm.refresh_interval_ns <= least_ns:
            raise ChipError(
                f"refresh_interval_ns {hbm.refresh_interval_ns} leaves no time between refreshes; "
                f"this memory needs more than {least_ns:.0f}",
                where=f"chip '{chip.name}': hbm.refresh_interval_ns",
                hint="refresh less often, or make refresh_ns, row_miss_ns or turnaround_ns shorter",
            )


def window_cycles(chip: Chip) -> int:
    """Cycles that a queue's outstanding bytes cover at full rate of its port: a round trip of the
    longest way, and what memory may stall.
    """
    hbm, longest = chip.hbm, chip.mesh.rows + chip.mesh.cols
    stall_ns = hbm.refresh_ns + 2 * hbm.row_miss_ns
    trip = hbm.latency_cycles + 2 * longest * chip.noc.hop_cycles
    return max(1, trip + math.ceil(stall_ns * 1e-9 * chip.clock_hz))


def ticks(chip: Chip, ns: float) -> int:
    """A time in ticks of the contended servers."""
    return min(1 << 60, round(ns * 1e-9 * chip.clock_hz * at.TICKS))


def atom_ticks(chip: Chip) -> int:
    """Ticks that an atom takes on a channel's data bus."""
    return round(at.ATOM_BYTES * at.TICKS * chip.hbm.channels / chip.hbm_bytes_per_cycle)


def refresh_every_ticks(chip: Chip) -> int:
    """Ticks between refreshes of a channel, 0 without."""
    return ticks(chip, chip.hbm.refresh_interval_ns if chip.hbm.refresh_ns else 0)


def _rate(bytes_per_cycle: float) -> int:
    """Ticks a byte, as a fixed-point number."""
    return max(1, min(1 << 60, round(at.TICKS / bytes_per_cycle * (1 << at.RATE_SHIFT))))


def _edges(chip: Chip) -> list[int]:
    """Clusters whose routers memory channels are attached to: the west and the east column, row by
    row.
    """
    cols = chip.mesh.cols
    sides = (0, cols - 1) if cols > 1 else (0,)
    return [row * cols + col for row in range(chip.mesh.rows) for col in sides]


def _route(chip: Chip, start: int, end: int) -> list[int]:
    """Links from router `start` to router `end`, first along the row, then along the column; link =
    router * 4 + direction.
    """
    cols = chip.mesh.cols
    links = []
    here = start
    while here % cols != end % cols:
        east = end % cols > here % cols
        links.append(here * 4 + (EAST if east else WEST))
        here += 1 if east else -1
    while here != end:
        south = end > here
        links.append(here * 4 + (SOUTH if south else NORTH))
        here += cols if south else -cols
    return links


def memory_arrays(chip: Chip, parameters: Array) -> tuple[Array, ...]:
    """Servers, channels, banks, edges' shares, routes [2 * clusters, edges, 1 + links] (memory to
    cluster, then back), link marks.

    Servers are next-free ticks of: cluster ports in, cluster ports out, L2 slices, links (router *
    4 + direction).
    """
    edges, clusters = _edges(chip), chip.clusters
    count = int(parameters[at.C_CHANNELS])
    numbers = np.arange(count)
    channels = np.zeros((count, at.CH_SIZE), np.int64)
    channels[:, at.CH_EDGE] = numbers * len(edges) // max(count, len(edges))
    channels[:, at.CH_REFRESH] = numbers * (parameters[at.C_REFRESH_EVERY] // count)
    banks = np.zeros((count * chip.hbm.banks_per_channel, at.B_SIZE), np.int64)
    banks[:, (at.B_ROW, at.B_CLAIM)] = -1
    routes = np.zeros((2 * clusters, len(edges), int(parameters[at.C_ROUTE])), np.int64)
    for cluster in range(clusters):
        for e, edge in enumerate(edges):
            for row, ends in ((cluster, (edge, cluster)), (clusters + cluster, (cluster, edge))):
                links = _route(chip, *ends)
                routes[row, e, 0] = len(links)
                routes[row, e, 1 : 1 + len(links)] = links
    shares = np.zeros((len(edges), at.E_SIZE), np.int64)
    return (
        np.zeros(7 * clusters, np.int64),
        channels,
        banks,
        shares,
        routes,
        np.zeros(4 * clusters, np.int64),
    )


def host_seconds(call: HostCall, chip: Chip) -> tuple[float, float, float]:
    """(low, central, high) seconds of a host call: latency + bytes over the link + the slower of
    arithmetic and host memory.
    """
    host = chip.host
    link_s = call.bytes / gbytes_per_s_to_bytes_per_s(host.link_gbytes_per_s)
    low, central, high = (
        host.call_latency_us[i] * 1e-6
        + link_s
        + max(
            call.flops / (host.gflops[2 - i] * 1e9),
            call.bytes / gbytes_per_s_to_bytes_per_s(host.memory_gbytes_per_s[2 - i]),
        )
        for i in range(3)
    )
    return low, central, high


def host_calls(program: Program, chip: Chip) -> Array:
    """Central cycles and link bytes of each host call, and how often it ran (0)."""
    calls = np.zeros((len(program.host_calls), at.CALL_SIZE), np.int64)
    for i, call in enumerate(program.host_calls):
        calls[i, :2] = math.ceil(host_seconds(call, chip)[1] * chip.clock_hz), call.bytes
    return calls
