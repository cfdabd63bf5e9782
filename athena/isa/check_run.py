"""Abstract run of a program's semaphores: deadlock, and the schedule of repeats for the race rule.

In:  a Program that has passed the structural rules, its decoded words, the Chip.
Out: `Outcome`: words run, whether a limit ended the run, and which sections repeat unchanged.
Raises: DeadlockError naming every kind of blocked queue with word, semaphore, value and need.

Waits take only from semaphores that no other queue takes from, so the order in which queues run
changes neither which words run nor the values at the end: one order shows deadlock for all. Each
repeat of a section first runs by itself, up to a barrier; if it completes and leaves the semaphores
as it found them, all further repeats do the same and are skipped. Where a section needs the next
one to complete, the whole program runs without barriers. Overflow above 255 depends on the order
and is left to the executions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import DeadlockError, printable
from athena.isa.check_sems import Semaphores
from athena.isa.clock_kernel import (
    D_DONE,
    D_RUN,
    DYN_COLUMNS,
    INFO_COLUMNS,
    R_SECTION,
    R_WORD,
)
from athena.isa.fields import AREGS, CLUSTER_QUEUES, CORE_QUEUES, OP, Op, Queue
from athena.isa.program import Program
from athena.isa.queues import cluster_of, initial_aregs, scalars_of, units_of
from athena.isa.run_kernel import (
    BLOCKED,
    FINISHED,
    LIMIT,
    run,
    start,
    wait_of,
)
from athena.isa.walk_kernel import PC, WALK_COLUMNS

Ints = NDArray[np.int64]
STEPS_LIMIT = 1 << 25
_LISTED = 8


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A program as the kernel's arrays; `words` are all streams, one after the other."""

    words: Ints
    stream_first: Ints
    info: Ints
    scalars: Ints
    runs: Ints
    run_aregs: Ints
    place: Ints
    clusters: int
    initial: Ints
    sems: Semaphores


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the run showed. `steady[s]`: a repeat of section s leaves all semaphores unchanged."""

    steps: int
    limited: bool
    steady: tuple[bool, ...]


def layout(program: Program, rows: list[Ints], chip: Chip) -> Layout:
    """Arrays of all queues that run anything: core by core, then clusters, then the host."""
    sems = Semaphores(chip)
    lengths = [len(stream) for stream in rows]
    first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    members: dict[tuple[Queue, int], list[tuple[int, int, tuple[tuple[int, int], ...]]]] = {}
    for number, section in enumerate(program.sections):
        for queue_run in section.runs:
            for unit in units_of(queue_run, chip):
                entry = (number, queue_run.stream, queue_run.aregs)
                members.setdefault((queue_run.kind, unit), []).append(entry)
    keys = sorted(members, key=_place)
    homes = [_place(key)[:2] for key in keys]
    representatives = _representatives(members)
    info = np.zeros((len(keys), INFO_COLUMNS), np.int64)
    runs: list[tuple[int, int]] = []
    aregs = []
    for i, (kind, unit) in enumerate(keys):
        begin = len(runs)
        for number, stream, pairs in members[kind, unit]:
            runs.append((int(first[stream]), number))
            aregs.append(initial_aregs(pairs))
        cluster, sem = cluster_of(kind, unit, chip), sems.first(kind, unit)
        local = unit in representatives or kind not in CORE_QUEUES
        slot = kind - min(kind_at for kind_at in _GROUPS[_place((kind, unit))[0]])
        first_queue = homes.index(homes[i])
        group = (slot, first_queue, first_queue + homes.count(homes[i]))
        info[i] = (kind, unit, cluster, sem, begin, len(runs), local, *group)
    scalars = [scalars_of(program, kind, unit, chip) for kind, unit in keys]
    return Layout(
        words=np.concatenate(rows) if rows else np.zeros((0, 1), np.int64),
        stream_first=first,
        info=info,
        scalars=np.array(scalars, np.int64).reshape(-1, AREGS),
        runs=np.array(runs, np.int64).reshape(-1, 2),
        run_aregs=np.array(aregs, np.int64).reshape(-1, AREGS),
        place=np.stack([sems.cluster_of_core, sems.place_of_core], axis=1),
        clusters=chip.clusters,
        initial=sems.initial(program),
        sems=sems,
    )


_GROUPS: tuple[tuple[Queue, ...], ...] = (CORE_QUEUES, CLUSTER_QUEUES, (Queue.HOST,))


def _place(key: tuple[Queue, int]) -> tuple[int, int, int]:
    """Cores first; the queues of one unit together."""
    kind, unit = key
    group = next(i for i, kinds in enumerate(_GROUPS) if kind in kinds)
    return group, unit, kind


def _representatives(
    members: dict[tuple[Queue, int], list[tuple[int, int, tuple[tuple[int, int], ...]]]],
) -> set[int]:
    """The first and the last core of each set of cores that run the same streams."""
    classes: dict[tuple[object, ...], list[int]] = {}
    for core in sorted({unit for kind, unit in members if kind in CORE_QUEUES}):
        key = tuple(
            (kind, tuple((number, stream) for number, stream, _ in members.get((kind, core), [])))
            for kind in CORE_QUEUES
        )
        classes.setdefault(key, []).append(core)
    return {core for cores in classes.values() for core in (cores[0], cores[-1])}


class Machine:
    """State of all queues between calls of the kernel."""

    def __init__(self, plan: Layout) -> None:
        queues = len(plan.info)
        self.plan = plan
        self.state = np.zeros((queues, WALK_COLUMNS), np.int64)
        self.dyn = np.zeros((queues, DYN_COLUMNS), np.int64)
        self.values = plan.initial.copy()
        self.left = np.array([STEPS_LIMIT, STEPS_LIMIT], np.int64)
        self.out = np.zeros(len(plan.place) + plan.clusters + 1, np.int64)
        self.sent = np.zeros((0, 2 * queues), np.int64)
        self.taken = np.zeros(len(self.values), np.int64)

    def run(self, info: Ints, repeats: Ints, *, count: bool = False) -> int:
        """Run from the beginning of the runs in `info`; gives the kernel's status."""
        plan = self.plan
        if count:
            self.sent = np.zeros((len(self.values), 2 * len(info)), np.int64)
        start(info, plan.runs, plan.run_aregs, self.state, self.dyn)
        status: int = run(
            plan.words, info, plan.scalars, plan.runs, plan.run_aregs, repeats, plan.place,
            plan.clusters, self.state, self.dyn, self.values, self.taken, self.sent, -1, 0,
            self.left, 0, self.out,
        )  # fmt: skip
        return status


def check_deadlock(program: Program, plan: Layout) -> Outcome:
    """Run all sections; raise if queues remain blocked."""
    machine = Machine(plan)
    sections = len(program.sections)
    steady = [False] * sections
    for number, section in enumerate(program.sections):
        info = _only(plan, number)
        for _ in range(section.repeat):
            before = machine.values.copy()
            status = machine.run(info, np.ones(sections, np.int64))
            if status == LIMIT:
                return Outcome(STEPS_LIMIT, limited=True, steady=tuple(steady))
            if status == BLOCKED:
                return _without_barriers(program, plan)
            if (machine.values == before).all():
                steady[number] = True
                break
    steps = STEPS_LIMIT - int(machine.left[0])
    return Outcome(steps, limited=False, steady=tuple(steady))


def _only(plan: Layout, section: int) -> Ints:
    """`info` with the runs of one section only."""
    info = plan.info.copy()
    for x in range(len(info)):
        first, end = int(info[x, 4]), int(info[x, 5])
        mine = np.flatnonzero(plan.runs[first:end, R_SECTION] == section)
        info[x, 4:6] = (first + mine[0], first + mine[-1] + 1) if len(mine) else (end, end)
    return info


def _without_barriers(program: Program, plan: Layout) -> Outcome:
    machine = Machine(plan)
    repeats = np.array([section.repeat for section in program.sections], np.int64)
    status = machine.run(plan.info, repeats)
    if status == BLOCKED:
        raise deadlock(program, plan, machine)
    none = tuple(False for _ in program.sections)
    steps = STEPS_LIMIT - int(machine.left[0])
    return Outcome(steps, limited=status != FINISHED, steady=none)


def deadlock(program: Program, plan: Layout, machine: Machine) -> DeadlockError:
    """The error that lists blocked queues with the semaphores they wait for."""
    lines = []
    for x in np.flatnonzero(machine.dyn[:, D_DONE] == 0):
        kind, unit = Queue(int(plan.info[x, 0])), int(plan.info[x, 1])
        at_run = int(machine.dyn[x, D_RUN])
        at = int(plan.runs[at_run, R_WORD] + machine.state[x, PC])
        stream, pc, node = place_of_word(program, plan, at)
        word = plan.words[at]
        needs = [
            f"{plan.sems.name(int(plan.info[x, 3]) + sem)} is "
            f"{machine.values[plan.info[x, 3] + sem]}, needs {n}"
            for sem, n in (map(int, wait_of(word, i)) for i in range(4))
            if n and machine.values[plan.info[x, 3] + sem] < n
        ]
        section = printable(program.sections[int(plan.runs[at_run, R_SECTION])].name, 40)
        lines.append(
            f"queue {kind.name} {unit}, section '{section}', stream {stream}, word {pc} "
            f"({Op(int(word[OP])).name}{node}): {'; '.join(needs)}"
        )
    more = f" and {len(lines) - _LISTED} more queues" if len(lines) > _LISTED else ""
    return DeadlockError(
        f"{len(lines)} queues wait for ever: {' | '.join(lines[:_LISTED])}{more}",
        where=lines[0].split(":")[0],
        hint="look for a signal that is missing or a wait too many",
    )


def place_of_word(program: Program, plan: Layout, at: int) -> tuple[int, int, str]:
    """(stream, pc, text of its node) of a word of the layout."""
    stream = int(np.searchsorted(plan.stream_first, at, side="right")) - 1
    pc = at - int(plan.stream_first[stream])
    node = int(program.streams[stream].nodes[pc])
    if not 0 <= node < len(program.nodes):
        return stream, pc, ""
    return stream, pc, f", node '{printable(program.nodes[node].name, 60)}'"
