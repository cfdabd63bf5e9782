"""Words for what the kernels report as numbers: faults, deadlocks, limits.

In:  the fault record and the queues' state. Out: errors to raise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from athena.errors import DeadlockError, FaultError, printable
from athena.functional import access_kernel as k
from athena.functional.state import SEMS, Tables
from athena.isa.fields import Op, Queue, Seg
from athena.isa.program import Program

Ints = NDArray[np.int64]
SHOWN = 8
_OPERANDS = "abcdeg"
_FIELDS = {
    1: "mode",
    **{2 + i: f"dtype of {name}" for i, name in enumerate("abcd")},
    6: "a wait",
    10: "a signal",
    **{40 + i: f"n{i}" for i in range(3)},
    **{46 + i: f"p{i}" for i in range(8)},
}


def _op(code: int) -> str:
    return Op(code).name if code in set(Op) else f"op {code}"


def _queue(code: int) -> str:
    return Queue(code).name if code in set(Queue) else f"kind {code}"


def _seg(code: int) -> str:
    return Seg(code).name if code in set(Seg) else f"segment {code}"


def place_of(program: Program, tables: Tables, states: Ints, queue: int) -> str:
    """Queue, section, stream, pc, word and node of a queue's present word."""
    state = states[queue]
    run = int(min(state[k.RUN], len(tables.run_table) - 1))
    stream, section = int(tables.run_table[run, 3]), program.sections[int(tables.run_table[run, 2])]
    pc = int(state[k.PC])
    words, nodes = program.streams[stream].words, program.streams[stream].nodes
    where = f"section '{printable(section.name)}' repeat {int(state[k.REPEAT])}"
    text = f"{tables.ids[queue]}, {where}, stream {stream}, pc {pc}"
    if pc < len(words):
        text += f" ({_op(int(words['op'][pc]))})"
        node = int(nodes[pc])
        if 0 <= node < len(program.nodes):
            text += f", node '{printable(program.nodes[node].name)}'"
    return text


def _field(column: int) -> str:
    return _FIELDS.get(column, f"column {column}")


def _owner(tables: Tables, group: int) -> str:
    """Whose semaphores a group of 32 is."""
    cores = len(tables.core_place)
    if group < cores:
        return f"core {group}"
    return f"cluster {group - cores}" if SEMS * (group + 1) < len(tables.first_sems) else "the chip"


def _describe(tables: Tables, fault: Ints) -> str:
    code, operand, met, allowed, extra = (int(v) for v in fault[:5])
    name = f"operand {_OPERANDS[operand]}: " if 0 <= operand < 6 else ""
    texts = {
        k.ILLEGAL_OP: f"illegal word, code {met}",
        k.WRONG_QUEUE: f"{_op(met)} is not a word of {_queue(allowed)} queues",
        k.BAD_SEGMENT: f"{name}{_seg(met)} is not allowed here",
        k.OUT_OF_BOUNDS: f"{name}bytes {met} … {extra} of a memory of {allowed}",
        k.MISALIGNED: f"{name}offset {met} or stride {extra} is not a multiple of {allowed}",
        k.BAD_INDEX: f"{name}index {met} of row {extra} is outside 0 … {allowed - 1}",
        k.SEM_OVERFLOW: f"semaphore {met} of {_owner(tables, extra)} passes 255",
        k.BAD_FIELD: f"{name}{_field(extra)} is {met}; expected {allowed}",
        k.TOO_BIG: f"{met} × {allowed} × {extra} is more than one word may do",
        k.STREAM_END: f"the stream of {allowed} words ends without END",
    }
    return _loop_text(met, allowed, extra) if code == k.BAD_LOOP else texts[code]


def _loop_text(met: int, allowed: int, extra: int) -> str:
    return (
        f"the loop's body ends at word {met} of a stream of {allowed}",
        f"loops nest {met} deep; {allowed} is the most",
        f"the inner loop ends at word {met}, its outer one at {allowed}",
        "END inside a loop",
    )[extra]


def fault_error(program: Program, tables: Tables, states: Ints, fault: Ints) -> FaultError:
    """The error for a fault record."""
    return FaultError(
        _describe(tables, fault), where=place_of(program, tables, states, int(fault[6]))
    )


def deadlock_error(program: Program, tables: Tables, states: Ints, sems: Ints) -> DeadlockError:
    """The error for queues that all wait: the first eight with their unmet waits."""
    blocked = [i for i in range(len(states)) if not states[i, k.DONE]]
    lines = []
    for queue in blocked[:SHOWN]:
        state = states[queue]
        row = tables.words[state[k.START] + state[k.PC]]
        waits = [(int(row[6 + 2 * i]), int(row[7 + 2 * i])) for i in range(2)]
        if row[0] == Op.SYNC:
            waits += [(int(row[46 + i]) & 255, int(row[46 + i]) >> 8 & 255) for i in range(2)]
        first = int(tables.queues[queue, k.Q_SEMS])
        held = [
            f"semaphore {s} wants {n}, holds {int(sems[first + s])}"
            for s, n in waits
            if n and s < SEMS
        ]
        lines.append(f"{place_of(program, tables, states, queue)}: {'; '.join(held)}")
    more = f"\n      and {len(blocked) - SHOWN} more" if len(blocked) > SHOWN else ""
    return DeadlockError(
        f"{len(blocked)} of {len(states)} queues wait and none can go on",
        where="\n      ".join(lines) + more,
        hint="a signal is missing, or is sent by a word behind the wait",
    )
