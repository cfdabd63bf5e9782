"""Which queues of a chip run which streams of a program, from which registers and scalars.

In:  a Program and a Chip. Out: `Group`s (one stream, one queue kind, all units with their initial
     aregs) and, for the abstract run, each queue's list of runs.
Raises: ProgramError for a section that names a unit, stream or register that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import ProgramError, printable
from athena.isa.fields import (
    AREGS,
    CLUSTER_QUEUES,
    CORE_QUEUES,
    S_CLUSTER,
    S_CORE,
    SCALARS,
    SEGMENTS,
    Queue,
)
from athena.isa.program import Program, QueueRun

Ints = NDArray[np.int64]
_Aregs = tuple[tuple[int, int], ...]
_Members = tuple[tuple[int, _Aregs], ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Group:
    """Units that run `stream` on queue `kind` in each of `sections`, from the same registers."""

    kind: Queue
    stream: int
    units: tuple[int, ...]
    aregs: Ints  # [units, 16]
    scalars: Ints  # [units, 16]
    sections: tuple[int, ...]


def unit_count(kind: Queue, chip: Chip) -> int:
    """How many queues of a kind the chip has; without L2 there is no cluster DMA."""
    if kind in CORE_QUEUES:
        return chip.cores
    if kind in CLUSTER_QUEUES:
        return chip.clusters if chip.cluster.l2_bytes else 0
    return 1


def units_of(run: QueueRun, chip: Chip) -> tuple[int, ...]:
    """The units of a run; none named means all."""
    return run.units or tuple(range(unit_count(run.kind, chip)))


def cluster_of(kind: Queue, unit: int, chip: Chip) -> int:
    """The cluster of a queue, -1 for the host."""
    if kind in CORE_QUEUES:
        return chip.active_cores[unit] // chip.cluster.cores
    return unit if kind in CLUSTER_QUEUES else -1


def scalars_of(program: Program, kind: Queue, unit: int, chip: Chip) -> list[int]:
    """Launch scalars as a queue sees them: S0 = 0, S14 its core (0 on others), S15 its cluster."""
    values = [*program.scalars, *[0] * SCALARS][:SCALARS]
    values[0] = 0
    values[S_CORE] = unit if kind in CORE_QUEUES else 0
    values[S_CLUSTER] = max(0, cluster_of(kind, unit, chip))
    return values


def check_sections(program: Program, chip: Chip) -> None:
    """Names, units, registers and segment tables of all sections."""
    for number, section in enumerate(program.sections):
        where = f"section {number} '{printable(section.name, 40)}'"
        if section.repeat < 1:
            raise ProgramError(f"repeat is {section.repeat}; at least 1", where=where)
        if len(section.seg_base) != SEGMENTS or len(section.seg_stride) != SEGMENTS:
            raise ProgramError(f"{SEGMENTS} segment bases and strides are needed", where=where)
        taken: set[tuple[Queue, int]] = set()
        for run in section.runs:
            _check_run(run, program, chip, f"{where}, queue {run.kind.name}")
            for unit in units_of(run, chip):
                if (run.kind, unit) in taken:
                    raise ProgramError(
                        f"queue {run.kind.name} of unit {unit} runs two streams", where=where
                    )
                taken.add((run.kind, unit))


def _check_run(run: QueueRun, program: Program, chip: Chip, where: str) -> None:
    if not 0 <= run.stream < len(program.streams):
        raise ProgramError(f"there is no stream {run.stream}", where=where)
    count = unit_count(run.kind, chip)
    if not count:
        raise ProgramError("this chip has no such queue", where=where)
    for unit in run.units:
        if not 0 <= unit < count:
            raise ProgramError(f"unit {unit}; the chip has {count}", where=where)
    if len(set(run.units)) != len(run.units):
        raise ProgramError("a unit is named twice", where=where)
    for areg, value in run.aregs:
        if not 1 <= areg < AREGS and not (areg == 0 and value == 0):
            raise ProgramError(f"areg {areg}; 1 … 15 can be set", where=where)
        if not -(1 << 47) <= value < 1 << 47:
            raise ProgramError(f"areg {areg}: {value} does not fit 48 bits", where=where)


def groups(program: Program, chip: Chip) -> tuple[Group, ...]:
    """All groups; sections with the same units and registers share one."""
    found: dict[tuple[Queue, int, _Members], list[int]] = {}
    for number, section in enumerate(program.sections):
        members: dict[tuple[Queue, int], dict[int, _Aregs]] = {}
        for run in section.runs:
            instances = members.setdefault((run.kind, run.stream), {})
            instances.update(dict.fromkeys(units_of(run, chip), run.aregs))
        for (kind, stream), instances in members.items():
            key = (kind, stream, tuple(sorted(instances.items())))
            found.setdefault(key, []).append(number)
    return tuple(
        Group(
            kind=kind,
            stream=stream,
            units=tuple(unit for unit, _ in instances),
            aregs=np.array([initial_aregs(pairs) for _, pairs in instances], np.int64),
            scalars=np.array(
                [scalars_of(program, kind, unit, chip) for unit, _ in instances], np.int64
            ),
            sections=tuple(sections),
        )
        for (kind, stream, instances), sections in found.items()
    )


def initial_aregs(pairs: _Aregs) -> list[int]:
    """The 16 registers that a run starts with."""
    values = [0] * AREGS
    for areg, value in pairs:
        values[areg] = value
    return values
