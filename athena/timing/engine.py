"""Execute a program in time.

In:  `Program`, `Chip`. Out: `Timeline`. The kernels run in slices, so that an interrupt is heeded
     and arrays can grow.
Raises: DeadlockError, FaultError (see the message), RuntimeLimitError after `max_events`,
     ProgramError, ChipError.
"""

from __future__ import annotations

import numpy as np

from athena.chip.model import Chip
from athena.errors import AthenaError, DeadlockError, FaultError, RuntimeLimitError
from athena.isa.fields import CORE_SEMS, OP, P0, P1, WAIT0, WAIT1, Op
from athena.isa.program import Program
from athena.timing import layout as at
from athena.timing.collect import collect
from athena.timing.fast import fast_forward
from athena.timing.result import Timeline
from athena.timing.setup import State, build, queue_table

SLICE_EVENTS = 2_000_000
MAX_EVENTS = 4_000_000_000
LISTED_QUEUES = 8


def simulate(
    program: Program,
    chip: Chip,
    *,
    trace: bool = False,
    exact: bool = True,
    max_events: int = MAX_EVENTS,
) -> Timeline:
    """Cycles, action counts, use of units and times of nodes of one execution of `program` on
    `chip`.

    The same input gives the same result, event for event. Row numbers of COPYX are data and not
    known here: its rows are counted, and their addresses taken as spread over the table. `exact`
    False allows fast-forward of repeated sections (`athena.timing.fast`; not with `trace`);
    `Timeline.exact` says whether any was taken. `max_events` bounds the work of one simulation.
    """
    if not exact and not trace:
        found = fast_forward(program, chip, lambda p: simulate(p, chip, max_events=max_events))
        if found is not None:
            return found
    from athena.timing.engine_kernel import run  # loads compiled code, only when it is needed

    state = build(program, chip, trace=trace)
    _start(state)
    while True:
        stop = min(max_events, int(state.m[at.G_EVENTS]) + SLICE_EVENTS)
        status = run(stop, state.heap, state.m, state.w, state.trace)
        if status == at.FINISHED:
            break
        if status == at.GROW_HEAP:
            state.heap = np.concatenate([state.heap, np.zeros_like(state.heap)])
        elif status == at.GROW_TRACE:
            state.trace = np.concatenate([state.trace, np.zeros_like(state.trace)])
        elif status == at.FAULTED:
            raise _fault(state, program, chip)
        elif state.m[at.G_EVENTS] >= max_events:
            raise RuntimeLimitError(
                f"the simulation passed {max_events} events at cycle {int(state.m[at.G_LAST])}",
                where=f"program '{program.name}'",
                hint="raise max_events, or simulate a smaller program",
            )
    if state.m[at.G_LIVE] > 0:
        raise _deadlock(state, program, chip)
    return collect(state, program, chip)


def _start(state: State) -> None:
    """Time 0: every queue that runs something begins its first run."""
    from athena.timing.front_kernel import begin

    begin(state.heap, state.m)


def _place(state: State, x: int, chip: Chip) -> str:
    """`core3.LOAD pc 12 (COPY)`."""
    queue = state.queues()[x]
    pc = int(queue[at.PC])
    code = int(state.w[queue[at.WORD0] + pc, OP])
    name = Op(code).name if code in set(Op) else f"op {code}"
    return f"{queue_table(chip).names()[x]} pc {pc} ({name})"


def _fault(state: State, program: Program, chip: Chip) -> AthenaError:
    fault, x = int(state.m[at.G_FAULT]), int(state.m[at.G_FAULT_QUEUE])
    text, cycle = at.FAULT_TEXTS[fault], int(state.m[at.G_LAST])
    if fault == at.FAULT_TIME:
        return RuntimeLimitError(text, where=f"program '{program.name}'")
    if fault == at.FAULT_OVERFLOW:
        unit, sem = divmod(int(state.m[at.G_FAULT_ARG]), CORE_SEMS)
        owner = f"core {unit}" if unit < chip.cores else f"cluster {unit - chip.cores}"
        owner = "the chip" if unit == chip.cores + chip.clusters else owner
        return FaultError(
            f"{text}: semaphore {sem} of {owner}, around cycle {cycle}",
            where=f"program '{program.name}'",
        )
    return FaultError(
        f"{text}, around cycle {cycle}", where=f"program '{program.name}': {_place(state, x, chip)}"
    )


def _waits(state: State, x: int) -> str:
    """What the head of queue x waits for: semaphore, wanted and held."""
    queue = state.queues()[x]
    word = state.w[queue[at.WORD0] + queue[at.PC]]
    pairs = [(int(word[c]) & 31, int(word[c + 1])) for c in (WAIT0, WAIT1)]
    if word[OP] == Op.SYNC:
        pairs += [(int(word[c]) & 31, int(word[c]) >> 8 & 255) for c in (P0, P1)]
    values = state.m[int(queue[at.SEMS]) :: at.S_SIZE]
    parts = [f"semaphore {sem}: wants {n}, has {int(values[sem])}" for sem, n in pairs if n]
    return "; ".join(parts) or "nothing"


def _deadlock(state: State, program: Program, chip: Chip) -> DeadlockError:
    q = state.queues()
    blocked = np.flatnonzero((q[:, at.DONE] == 0) & (q[:, at.RUN] < q[:, at.RUN_END]))
    lines = [
        f"{_place(state, int(x), chip)}: {_waits(state, int(x))}" for x in blocked[:LISTED_QUEUES]
    ]
    more = f" … and {len(blocked) - LISTED_QUEUES} more" if len(blocked) > LISTED_QUEUES else ""
    return DeadlockError(
        f"{len(blocked)} queues wait for ever after cycle {int(state.m[at.G_LAST])}: "
        + " | ".join(lines)
        + more,
        where=f"program '{program.name}'",
    )
