"""Semaphores of the timing engine: first values, and the one queue that waits for each.

In:  `Program`, `Chip`, the rows of queues and runs. Out: rows and numbers for `setup`.
Raises: ProgramError for values out of range and semaphores with two consumers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import ProgramError
from athena.isa.fields import CORE_SEMS, OP, P0, P1, SEM_MAX, WAIT0, WAIT1, Op
from athena.isa.program import Program
from athena.timing import layout as at

Array = NDArray[np.int64]


def first_values(program: Program, chip: Chip) -> Array:
    """First values, unit by unit: cores, clusters, chip."""
    cores, clusters = chip.cores, chip.clusters
    sems = np.zeros((cores + clusters + 1, CORE_SEMS, at.S_SIZE), np.int64)
    for rows, values in (
        (slice(0, cores), program.core_sems),
        (slice(cores, cores + clusters), program.cluster_sems),
        (slice(cores + clusters, None), program.chip_sems),
    ):
        for sem, value in values.items():
            if not 0 <= sem < CORE_SEMS or not 0 <= value <= SEM_MAX:
                raise ProgramError(
                    f"initial semaphore {sem} = {value}; 0–31 and 0–{SEM_MAX} are allowed",
                    where=f"program '{program.name}'",
                )
            sems[rows, sem, at.S_VALUE] = value
    return sems.reshape(-1, at.S_SIZE)


def _waited(words: Array) -> frozenset[int]:
    """Semaphores that a stream waits for."""
    sems: set[int] = set()
    for column in (WAIT0, WAIT1):
        sems.update((words[words[:, column + 1] > 0, column] & 31).tolist())
    sync = words[words[:, OP] == Op.SYNC]
    for column in (P0, P1):
        sems.update((sync[(sync[:, column] >> 8 & 255) > 0, column] & 31).tolist())
    return frozenset(sems)


def consumers(
    q: Array, runs: Array, order: Array, words: Array, sems: Array, names: Sequence[str]
) -> Array:
    """The number of the one queue that waits for each semaphore, -1 for none."""
    found = np.full(len(sems), -1, np.int64)
    places = {(int(run[at.RUN_WORD0]), int(run[at.RUN_WORDS])) for run in runs}
    by_place = {place: _waited(words[place[0] : sum(place)]) for place in places}
    waited = [by_place[int(run[at.RUN_WORD0]), int(run[at.RUN_WORDS])] for run in runs]
    for x in range(len(q)):
        numbers = set(order[q[x, at.RUN] : q[x, at.RUN_END]].tolist())
        for sem in frozenset[int]().union(*(waited[number] for number in numbers)):
            target = int(q[x, at.SEMS]) + sem
            if found[target] >= 0:
                raise ProgramError(
                    f"semaphore {sem} has two consumers, {names[found[target]]} and {names[x]}",
                    where=names[x],
                    hint="let one queue wait for it",
                )
            found[target] = x
    return found
