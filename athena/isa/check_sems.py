"""Rules about semaphores: one consumer queue each, and balance over the whole program.

In:  groups with their decoded words and ranges, the program's initial values, the chip.
Out: True if the totals of every semaphore are known, False where a clipped loop depends on another.
Raises: ProgramError naming the semaphore, its consumers or its totals.

Semaphores are numbered through: 32 of every core, then 32 of every cluster, then the chip's 32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import ProgramError
from athena.isa.areg_ranges import Ranges
from athena.isa.check_words import signals, waits
from athena.isa.fields import (
    CLUSTER_QUEUES,
    CORE_QUEUES,
    CORE_SEMS,
    SEM_MAX,
    Queue,
    Sig,
)
from athena.isa.program import Program
from athena.isa.queues import Group, cluster_of

Ints = NDArray[np.int64]
_MASKED = (Sig.CDMA_MASK, Sig.CORES_MASK)


class Semaphores:
    """Numbers and names of all semaphores of a chip."""

    def __init__(self, chip: Chip) -> None:
        self.cores, self.clusters = chip.cores, chip.clusters
        self.count = CORE_SEMS * (self.cores + self.clusters + 1)
        self.cluster_of_core = np.array(
            [cluster_of(Queue.LOAD, core, chip) for core in range(chip.cores)], np.int64
        )
        self.place_of_core = np.array(
            [physical % chip.cluster.cores for physical in chip.active_cores], np.int64
        )

    def first(self, kind: Queue, unit: int) -> int:
        """Semaphore 0 as a queue of this kind and unit sees it."""
        if kind in CORE_QUEUES:
            return CORE_SEMS * unit
        return CORE_SEMS * (self.cores + (unit if kind in CLUSTER_QUEUES else self.clusters))

    def name(self, number: int) -> str:
        """A semaphore in words."""
        owner, sem = divmod(number, CORE_SEMS)
        if owner < self.cores:
            return f"semaphore {sem} of core {owner}"
        if owner < self.cores + self.clusters:
            return f"semaphore {sem} of cluster {owner - self.cores}"
        return f"semaphore {sem} of the chip"

    def initial(self, program: Program) -> Ints:
        """Values at the start."""
        values = np.zeros((self.cores + self.clusters + 1, CORE_SEMS), np.int64)
        table: tuple[tuple[slice, Mapping[int, int]], ...] = (
            (slice(0, self.cores), program.core_sems),
            (slice(self.cores, self.cores + self.clusters), program.cluster_sems),
            (slice(self.cores + self.clusters, None), program.chip_sems),
        )
        for owners, held in table:
            for sem, value in held.items():
                if not 0 <= sem < CORE_SEMS or not 0 <= value <= SEM_MAX:
                    raise ProgramError(
                        f"semaphore {sem} starts at {value}; 0 … 31 start at 0 … {SEM_MAX}",
                        where="initial semaphores",
                    )
                values[owners, sem] = value
        return values.reshape(-1)

    def targets(self, code: int, kind: Queue, unit: int, mask: int) -> Ints:
        """Semaphores that a signal raises; `mask` is the value of the areg that it names."""
        target, arg, sem = Sig(code >> 13), code >> 5 & 255, code & 31
        if target == Sig.SELF:
            return np.array([self.first(kind, unit) + sem])
        if target == Sig.CHIP:
            return np.array([self.first(Queue.HOST, 0) + sem])
        cores = np.arange(self.cores)
        own = int(self.cluster_of_core[unit]) if kind in CORE_QUEUES else unit
        if target == Sig.CDMA:
            return np.array([self.first(Queue.CDMA_IN, own) + sem])
        if target == Sig.CDMA_MASK:
            chosen = [c for c in range(self.clusters) if mask >> c & 1]
            return np.array([self.first(Queue.CDMA_IN, c) + sem for c in chosen], np.int64)
        if target == Sig.CORES_OF_CLUSTER:
            hit = (self.cluster_of_core == own) & (arg >> self.place_of_core & 1 == 1)
            cores = cores[hit]
        elif target == Sig.CORES_MASK:
            cores = cores[[bool(mask >> int(c) & 1) for c in self.cluster_of_core]]
        return cores * CORE_SEMS + sem


Member = tuple[Group, Ints, Ranges]


def check_consumers(members: list[Member], sems: Semaphores, names: list[str]) -> Ints:
    """One consumer queue a semaphore; gives its queue kind, -1 where nobody waits."""
    consumer = np.full(sems.count, -1, np.int64)
    source = np.zeros(sems.count, np.int64)
    for number, (group, rows, _) in enumerate(members):
        waited = np.concatenate([sem[active] for sem, _, active in waits(rows)])
        used = np.unique(waited).tolist()
        for sem in used:
            at = np.array([sems.first(group.kind, unit) + sem for unit in group.units])
            clash = at[(consumer[at] >= 0) & (consumer[at] != group.kind)]
            if len(clash):
                first = int(clash[0])
                raise ProgramError(
                    f"{sems.name(first)} has two consumers: queues "
                    f"{Queue(int(consumer[first])).name} ({names[int(source[first])]}) and "
                    f"{group.kind.name} ({names[number]})",
                    where=names[number],
                    hint="let each semaphore have one consumer queue",
                )
            consumer[at], source[at] = group.kind, number
    return consumer


def check_balance(members: list[Member], sems: Semaphores, program: Program) -> bool:
    """Initial value + all signals - all waits is 0 … 255 for every semaphore."""
    taken, given = np.zeros(sems.count, np.int64), np.zeros(sems.count, np.int64)
    unknown = np.zeros(sems.count, bool)
    for group, rows, ranges in members:
        repeats = sum(program.sections[number].repeat for number in group.sections)
        for often, sem, total in _wait_totals(rows, ranges):
            times = ranges.times[often]
            at = np.array([sems.first(group.kind, unit) + sem for unit in group.units])
            if times is None:
                unknown[at] = True
            else:
                taken[at] += times * total * repeats
        for often, code, mask, total in _signal_totals(rows, ranges):
            times = ranges.times[often]
            for i, unit in enumerate(group.units):
                at = sems.targets(code, group.kind, unit, mask)
                if times is None or (mask < 0 and code >> 13 in _MASKED):
                    unknown[at] = True
                else:
                    given[at] += times[i] * total * repeats
    end = sems.initial(program) + given - taken
    bad = np.flatnonzero(~unknown & ((end < 0) | (end > SEM_MAX)))
    if len(bad):
        first = int(bad[0])
        start = end[first] - given[first] + taken[first]
        raise ProgramError(
            f"{sems.name(first)} ends at {end[first]}: it starts at {start}, "
            f"is signalled {given[first]} times, and {taken[first]} units are waited for",
            where=f"balance of {sems.name(first)}",
        )
    return not unknown.any()


def _wait_totals(rows: Ints, ranges: Ranges) -> Iterator[tuple[int, int, int]]:
    """(index of times, semaphore, units taken by one run of all these words)."""
    for sem, count, active in waits(rows):
        keys, inverse = np.unique(ranges.often[active] << 8 | sem[active], return_inverse=True)
        sums = np.bincount(inverse, weights=count[active], minlength=len(keys))
        for key, total in zip(keys.tolist(), sums.tolist(), strict=True):
            yield key >> 8, key & 255, int(total)


def _signal_totals(rows: Ints, ranges: Ranges) -> Iterator[tuple[int, int, int, int]]:
    """(index of times, code, value of the areg with its mask or -1, number of words)."""
    for code in signals(rows):
        active = np.flatnonzero(code)
        often, sent = ranges.often[active], code[active]
        areg, state = sent >> 5 & 15, ranges.state[active]
        low = ranges.low[state, areg]
        known = (low == ranges.high[state, areg]) & np.isin(sent >> 13, _MASKED)
        keys = np.stack([often, sent, np.where(known, low, -1)])
        found, count = np.unique(keys, axis=1, return_counts=True)
        for (times, value, mask), total in zip(found.T.tolist(), count.tolist(), strict=True):
            yield times, value, mask, total
