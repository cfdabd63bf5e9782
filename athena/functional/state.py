"""Tables that the interpreter runs from: decoded words, queues, runs, sections, semaphores.

In:  Program, Chip, index of memories. Out: `Tables`, arrays of int64.
Raises: ProgramError for runs on units that the chip does not have, or two runs of one queue in a
section.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.chip import Chip
from athena.errors import ProgramError, printable
from athena.functional import access_kernel as k
from athena.functional.images import L1_FIRST, Images
from athena.isa.fields import (
    AREGS,
    CLUSTER_QUEUES,
    CORE_QUEUES,
    S_CLUSTER,
    S_CORE,
    SCALARS,
    SEGMENTS,
    Queue,
    decode,
)
from athena.isa.program import Program, QueueRun

Ints = NDArray[np.int64]
SEMS = 32
_AREG_LIMIT = 1 << 47
_REPEAT_LIMIT = 1 << 18
_ADDRESS_LIMIT = 1 << 44  # repeats times stride stay within 64 bits


@dataclass(frozen=True, slots=True)
class QueueId:
    """A queue of the machine.

    Its kind and the logical core or cluster it belongs to (0 for the host).
    """

    kind: Queue
    unit: int

    def __str__(self) -> str:
        place = {**dict.fromkeys(CORE_QUEUES, "core"), **dict.fromkeys(CLUSTER_QUEUES, "cluster")}
        return (
            f"{self.kind.name} of {place[self.kind]} {self.unit}"
            if self.kind in place
            else self.kind.name
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Everything that stays the same in all runs of a program on a chip."""

    words: Ints  # decoded words of all streams, one after the other
    stream_first: Ints  # [streams + 1]
    ids: tuple[QueueId, ...]
    queues: Ints  # [queues, QUEUE_COLUMNS]
    run_table: Ints  # [runs, 4]: first word, words, section, stream
    run_aregs: Ints  # [runs, 16]
    section_table: Ints  # [sections, 33]: repeat, base 16, stride 16
    core_place: Ints  # [cores, 2]: cluster, place in the cluster
    first_sems: Ints  # semaphores at launch: cores, clusters, chip


def build_tables(program: Program, chip: Chip, images: Images) -> Tables:
    """Tables of a program on a chip."""
    first = np.cumsum([0, *(len(s.words) for s in program.streams)]).astype(np.int64)
    words = np.concatenate(
        [decode(s.words) for s in program.streams] or [np.zeros((0, 56), np.int64)]
    )
    runs = _runs_by_queue(program, chip)
    ids = tuple(
        sorted(runs, key=lambda q: (q.unit if q.kind < Queue.CDMA_IN else 1 << 20, q.kind, q.unit))
    )
    place = np.array([divmod(p, chip.cluster.cores) for p in chip.active_cores], np.int64)
    flat = [item for queue in ids for item in runs[queue]]
    run_table = np.zeros((len(flat), 4), np.int64)
    run_aregs = np.zeros((len(flat), AREGS), np.int64)
    for row, (section, run) in enumerate(flat):
        run_table[row] = (
            first[run.stream],
            len(program.streams[run.stream].words),
            section,
            run.stream,
        )
        for areg, value in run.aregs:
            run_aregs[row, areg] = value
    queues = np.zeros((len(ids), k.QUEUE_COLUMNS), np.int64)
    at = 0
    for row, queue in enumerate(ids):
        queues[row] = _queue_row(queue, chip, images, place, (at, at + len(runs[queue])))
        at += len(runs[queue])
    return Tables(
        words=np.ascontiguousarray(words),
        stream_first=first,
        ids=ids,
        queues=queues,
        run_table=run_table,
        run_aregs=run_aregs,
        section_table=_sections(program),
        core_place=place,
        first_sems=_semaphores(program, chip),
    )


def _runs_by_queue(program: Program, chip: Chip) -> dict[QueueId, list[tuple[int, QueueRun]]]:
    runs: dict[QueueId, list[tuple[int, QueueRun]]] = {}
    for section, entry in enumerate(program.sections):
        if entry.repeat < 1:
            continue
        for run in entry.runs:
            for unit in _units(run, chip, entry.name):
                queue = runs.setdefault(QueueId(run.kind, unit), [])
                if queue and queue[-1][0] == section:
                    raise ProgramError(
                        f"two runs on {QueueId(run.kind, unit)}",
                        where=f"section '{printable(entry.name)}'",
                    )
                queue.append((section, run))
    return runs


def _units(run: QueueRun, chip: Chip, section: str) -> tuple[int, ...]:
    """The run's units, checked. Raises: ProgramError."""
    count = (
        chip.cores
        if run.kind in CORE_QUEUES
        else chip.clusters
        if run.kind in CLUSTER_QUEUES
        else 1
    )
    units = run.units or tuple(range(count))
    if len(set(units)) != len(units) or not all(0 <= unit < count for unit in units):
        raise ProgramError(
            f"{run.kind.name} on units {units[:8]}; {chip.name} has 0 … {count - 1}",
            where=f"section '{printable(section)}'",
        )
    if not all(
        1 <= areg < AREGS and -_AREG_LIMIT <= value < _AREG_LIMIT for areg, value in run.aregs
    ):
        raise ProgramError(
            "initial values are for aregs 1 … 15 and have 48 bits",
            where=f"section '{printable(section)}'",
        )
    return units


def _queue_row(
    queue: QueueId, chip: Chip, images: Images, place: Ints, runs: tuple[int, int]
) -> tuple[int, ...]:
    if queue.kind in CORE_QUEUES:
        core, cluster = queue.unit, int(place[queue.unit, 0])
        sems, l1, acc = SEMS * core, L1_FIRST + core, images.acc_first + core
    elif queue.kind in CLUSTER_QUEUES:
        core, cluster, l1, acc = -1, queue.unit, -1, -1
        sems = SEMS * (chip.cores + cluster)
    else:
        core, cluster, l1, acc = -1, -1, -1, -1
        sems = SEMS * (chip.cores + chip.clusters)
    l2 = images.l2_first + cluster if cluster >= 0 else -1
    return (int(queue.kind), queue.unit, core, cluster, sems, l1, acc, l2, *runs)


def _sections(program: Program) -> Ints:
    """Repeat, bases, strides. Raises: ProgramError for values that no memory needs."""
    table = np.zeros((len(program.sections), 1 + 2 * SEGMENTS), np.int64)
    for row, section in enumerate(program.sections):
        values = (*section.seg_base, *section.seg_stride)
        if section.repeat > _REPEAT_LIMIT or max(map(abs, values), default=0) >= _ADDRESS_LIMIT:
            raise ProgramError(
                f"repeat {section.repeat}, bases and strides {values}; at most 2^18 and 2^44",
                where=f"section '{printable(section.name)}'",
            )
        table[row] = (section.repeat, *section.seg_base, *section.seg_stride)
    return table


def _semaphores(program: Program, chip: Chip) -> Ints:
    sems = np.zeros(SEMS * (chip.cores + chip.clusters + 1), np.int64)
    blocks = (
        (program.core_sems, 0, chip.cores),
        (program.cluster_sems, chip.cores, chip.clusters),
        (program.chip_sems, chip.cores + chip.clusters, 1),
    )
    for values, first, count in blocks:
        for index, value in values.items():
            if not 0 <= index < SEMS or not 0 <= value <= 255:
                raise ProgramError(
                    f"semaphore {index} starts at {value}",
                    where=f"program '{printable(program.name)}'",
                )
            sems[SEMS * first : SEMS * (first + count)].reshape(count, SEMS)[:, index] = value
    return sems


def launch_scalars(tables: Tables, program: Program, changes: Mapping[int, int]) -> Ints:
    """S0 … S15 of every queue.

    Raises: ProgramError for S0, S14, S15 or values of more than 48 bits.
    """
    values = np.zeros((len(tables.ids), SCALARS), np.int64)
    given = {**dict(enumerate(program.scalars)), **changes}
    for index, value in given.items():
        free = 1 <= index < S_CORE
        if (
            (not free and value != 0)
            or not 0 <= index < SCALARS
            or not -_AREG_LIMIT <= value < _AREG_LIMIT
        ):
            raise ProgramError(
                f"launch scalar S{index} = {value}; S1 … S13 of 48 bits may be set", where="scalars"
            )
        values[:, index] = value
    values[:, S_CORE] = np.maximum(tables.queues[:, k.Q_CORE], 0)
    values[:, S_CLUSTER] = np.maximum(tables.queues[:, k.Q_CLUSTER], 0)
    return values


def fresh_states(tables: Tables) -> Ints:
    """State of every queue before its first run."""
    states = np.zeros((len(tables.ids), k.STATE_COLUMNS), np.int64)
    states[:, k.RUN] = tables.queues[:, k.Q_RUN0]
    states[:, k.DONE] = -1  # not started
    return states
