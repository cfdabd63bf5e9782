"""Performance counters of the core, and the same figures of the timing engine.

In:  the values of `counters_o` of core.sv in order of index; a `Timeline` of one core.
Out: `Counters`; `counter_index` and `COUNTERS`, from which the generated package and register maps
     are made. What a cycle counts as is written at `athena.timing.result.UnitUse`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from athena.isa.fields import CORE_QUEUES, Queue
from athena.timing.result import Timeline

COUNTER_BITS = 48


class Use(IntEnum):
    """Counters of one queue: what a cycle was used for, then words completed."""

    BUSY = 0
    WAIT_SEMAPHORE = 1
    WAIT_PORT = 2
    WAIT_MEMORY = 3
    WAIT_FETCH = 4
    IDLE = 5
    WORDS = 6


class Counter(IntEnum):
    """Counters of the whole core, behind those of the queues."""

    CYCLES = len(CORE_QUEUES) * len(Use)
    LOADED_BYTES = CYCLES + 1
    STORED_BYTES = CYCLES + 2


COUNTERS = len(CORE_QUEUES) * len(Use) + len(Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounters:
    """One queue; the cycles sum to the core's."""

    queue: Queue
    words: int
    busy_cycles: int
    wait_semaphore_cycles: int
    wait_port_cycles: int
    wait_memory_cycles: int
    wait_fetch_cycles: int
    idle_cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """All counters of the core; bytes are those exchanged with main memory."""

    cycles: int
    loaded_bytes: int
    stored_bytes: int
    queues: tuple[QueueCounters, ...]


def counter_index(queue: Queue, use: Use) -> int:
    """Index of a queue's counter in `counters_o`."""
    return int(queue) * len(Use) + int(use)


def decode_counters(values: Sequence[int]) -> Counters:
    """The counters from their values in order of index."""
    return Counters(
        cycles=values[Counter.CYCLES],
        loaded_bytes=values[Counter.LOADED_BYTES],
        stored_bytes=values[Counter.STORED_BYTES],
        queues=tuple(
            QueueCounters(
                queue=queue,
                words=values[counter_index(queue, Use.WORDS)],
                busy_cycles=values[counter_index(queue, Use.BUSY)],
                wait_semaphore_cycles=values[counter_index(queue, Use.WAIT_SEMAPHORE)],
                wait_port_cycles=values[counter_index(queue, Use.WAIT_PORT)],
                wait_memory_cycles=values[counter_index(queue, Use.WAIT_MEMORY)],
                wait_fetch_cycles=values[counter_index(queue, Use.WAIT_FETCH)],
                idle_cycles=values[counter_index(queue, Use.IDLE)],
            )
            for queue in CORE_QUEUES
        ),
    )


def timing_counters(timeline: Timeline) -> Counters:
    """What the timing engine has for the same figures, for a chip of one core."""
    return Counters(
        cycles=timeline.cycles,
        loaded_bytes=timeline.counts.hbm_read_bytes,
        stored_bytes=timeline.counts.hbm_write_bytes,
        queues=tuple(
            QueueCounters(
                queue=unit.queue,
                words=unit.words,
                busy_cycles=round(unit.busy_cycles),
                wait_semaphore_cycles=round(unit.wait_semaphore_cycles),
                wait_port_cycles=round(unit.wait_port_cycles),
                wait_memory_cycles=round(unit.wait_memory_cycles),
                wait_fetch_cycles=round(unit.wait_fetch_cycles),
                idle_cycles=round(unit.idle_cycles),
            )
            for unit in timeline.units
            if unit.queue in CORE_QUEUES
        ),
    )
