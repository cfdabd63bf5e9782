"""The race rule: words that touch the same byte, one writing, need a happens-before path.

In:  a Program without deadlock, its layout and the outcome of the abstract run.
Out: accesses judged, and whether that was the whole program.
Raises: RaceError naming both words with queue, stream, word, node, operand and byte range.

A word is after another when that one is complete before it issues:

- A wait is after a signal if it cannot happen without it. With one producer of the semaphore, the
  wait that takes the c-th unit (initial units first) is after the c-th signal. With several, each
  signal is held back, all queues go on until they are blocked, and the waits that were not reached
  are after it: so barriers of any shape are exact.
- A signal carries all that its word knew when it issued; a unit's word also itself and, since
  completions of a queue are in order, all earlier words of its queue.
- SYNC and END signal when they issue: they carry what is known, not the queue's unfinished words.
- MATRIX, VECTOR and HOST execute one word at a time, so a word is after its predecessors.
- LOAD, STORE and the cluster DMA overlap words: later writes and writes after reads of the same
  queue keep their order, but a read of what the same queue wrote needs a semaphore.

Knowledge of each queue is a vector clock (words known complete, by queue), kept in two parts that
change at different rates: queues of the own core, and all others. Clocks hold for all executions,
since waits have one consumer each. Every pair of different byte sets is tested, and for it every
pair of words, by merging the two ascending lists.

Limits: L1 and ACC are judged on the first and the last core of those that run the same streams; of
a section whose repeats leave the semaphores unchanged, repeats 0, 1, 2 and the last are run; a
prefix of the run is judged if it is longer than the limits of words, clocks or pairs, and this is
reported. Strided blocks are exact up to 16,384 rows and taken as solid above; tables of COPYX and
VGATHER count as touched whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.errors import RaceError
from athena.isa.check_run import Layout, Machine, Outcome, place_of_word
from athena.isa.clock_kernel import (
    GROUP_SLOTS,
    I_CLUSTER,
    I_KIND,
    I_LOCAL,
    I_UNIT,
    RECORD_COLUMNS,
    T_ADDRESS,
    T_COUNT,
    T_KNOWN,
    T_MASK,
    T_POS,
    T_QUEUE,
    T_REPEAT,
    T_SECTION,
    T_VERSION,
    T_WORD,
)
from athena.isa.fields import OP, P0, Op, Queue, Seg
from athena.isa.footprint import SLOT_NAMES, Parts, footprints
from athena.isa.program import Program
from athena.isa.race_kernel import (
    F_BASE,
    F_BLOCKS,
    F_BSTRIDE,
    F_BYTES,
    F_MEMORY,
    F_ROWS,
    F_STRIDE,
    F_WRITE,
    find_race,
)
from athena.isa.run_kernel import (
    FINISHED,
    start,
    trace,
)

Ints = NDArray[np.int64]
RECORDS_LIMIT = 1 << 19
CLOCKS_LIMIT = 1 << 20
CLOCK_ENTRIES = 1 << 26
PAIRS_LIMIT = 1 << 26
AHEAD_LIMIT = 1 << 26
KEPT_REPEATS = 4
_L1, _ACC, _L2 = 1 << 20, 2 << 20, 3 << 20  # memories are numbered: segment, or these + unit


@dataclass(frozen=True, slots=True, eq=False)
class _Trace:
    """Recorded words and clocks."""

    records: Ints
    versions: NDArray[np.int32]
    remote: NDArray[np.int32]
    whole: bool


def check_races(program: Program, plan: Layout, outcome: Outcome) -> tuple[int, bool]:
    """Judge every pair of accesses; gives their number and whether the program was whole."""
    numbers = _repeats(program, outcome)
    traced = _trace(plan, np.array([len(n) for n in numbers], np.int64))
    prints, word, slot = _prints(program, plan, traced.records, numbers)
    if not len(prints):
        return 0, traced.whole
    keep = _contended(prints)
    prints, word, slot = prints[keep], word[keep], slot[keep]
    order, first = _grouped(prints, word)
    prints, word, slot = prints[order], word[order], slot[order]
    heads = prints[first[:-1]]
    low = heads[:, F_BASE] + np.minimum(0, (heads[:, F_BLOCKS] - 1) * heads[:, F_BSTRIDE])
    high = heads[:, F_BASE] + np.maximum(0, (heads[:, F_BLOCKS] - 1) * heads[:, F_BSTRIDE])
    high += (heads[:, F_ROWS] - 1) * heads[:, F_STRIDE] + heads[:, F_BYTES]
    pipelined = np.isin(plan.info[:, I_KIND], (Queue.MATRIX, Queue.VECTOR, Queue.HOST)) == 0
    records = traced.records
    left = np.array([PAIRS_LIMIT], np.int64)
    found, other, code = find_race(
        heads, low, high, first, records[word, T_POS], records[word, T_VERSION],
        records[word, T_KNOWN], plan.info, traced.versions, traced.remote,
        pipelined.astype(np.int64), left,
    )  # fmt: skip
    if found >= 0:
        pair = (int(code) >> 32, int(code) & 0xFFFFFFFF)
        ends = [(prints[i], int(word[i]), int(slot[i])) for i in pair]
        raise _race(program, plan, traced.records, ends)
    return len(keep), traced.whole and found == -1


def _repeats(program: Program, outcome: Outcome) -> list[Ints]:
    """Which repeats of each section are run."""
    numbers = []
    for section, steady in zip(program.sections, outcome.steady, strict=True):
        all_of_them = np.arange(min(section.repeat, 1 << 20))
        if steady and section.repeat > KEPT_REPEATS:
            all_of_them = np.array([0, 1, 2, section.repeat - 1])
        numbers.append(all_of_them)
    return numbers


def _trace(plan: Layout, repeats: Ints) -> _Trace:
    """Run once for the producers' totals, then with clocks."""
    machine = Machine(plan)
    whole = machine.run(plan.info, repeats, count=True) == FINISHED
    sem, column = np.nonzero(machine.sent)
    total = machine.sent[sem, column]
    pair_of = np.full(machine.sent.shape, -1, np.int32)
    pair_of[sem, column] = np.arange(len(sem))
    first = np.concatenate([[0], np.cumsum(total)]).astype(np.int64)
    machine = Machine(plan)
    queues = len(plan.info)
    start(plan.info, plan.runs, plan.run_aregs, machine.state, machine.dyn)
    records = np.zeros((RECORDS_LIMIT, RECORD_COLUMNS), np.int64)
    versions = np.zeros((CLOCKS_LIMIT, GROUP_SLOTS + 1), np.int32)
    remote = np.zeros((max(16, CLOCK_ENTRIES // queues), queues), np.int32)
    machine.left[1] = AHEAD_LIMIT
    status, count, made, others = trace(
        plan.words, plan.info, plan.scalars, plan.runs, plan.run_aregs, repeats, plan.place,
        plan.clusters, machine.state, machine.dyn, machine.values, machine.left, machine.out,
        np.searchsorted(sem, np.arange(len(machine.values) + 1)), column, total, first,
        np.zeros(len(sem), np.int64), np.zeros((int(first[-1]) + 1, 3), np.int64),
        -plan.initial, np.zeros((queues, GROUP_SLOTS), np.int32), versions,
        np.zeros(len(sem), np.int64), remote, records, machine.state.copy(), machine.dyn.copy(),
        machine.values.copy(), -plan.initial, np.zeros((0, 0), np.int64), pair_of,
    )  # fmt: skip
    whole = whole and status == FINISHED
    return _Trace(records[:count].copy(), versions[:made], remote[:others], whole=whole)


def _prints(
    program: Program, plan: Layout, records: Ints, numbers: list[Ints]
) -> tuple[Ints, Ints, Ints]:
    """Footprints [n, 9] in absolute bytes, with the record and operand of each."""
    rows = plan.words[records[:, T_WORD]]
    kinds = plan.info[records[:, T_QUEUE], I_KIND]
    counts = records[:, T_COUNT : T_COUNT + 3]
    parts = footprints(rows, counts, records[:, T_ADDRESS : T_ADDRESS + 6], kinds)
    held = records[parts.word]
    queue = held[:, T_QUEUE]
    bases = _bases(program, held, parts, numbers)
    memory = np.where(parts.seg < Seg.L1, parts.seg, 0)
    for seg, first, owner in (
        (Seg.L1, _L1, I_UNIT),
        (Seg.ACC, _ACC, I_UNIT),
        (Seg.L2, _L2, I_CLUSTER),
    ):
        memory = np.where(parts.seg == seg, first + plan.info[queue, owner], memory)
    tall = parts.rows * parts.blocks > 1
    solid = (parts.stride == parts.row_bytes) | (parts.rows == 1)
    columns = [
        memory,
        queue,
        parts.write,
        parts.base + bases,
        parts.blocks,
        np.where(parts.blocks > 1, parts.block_stride, 0),
        np.where(tall & solid, 1, parts.rows),
        np.where(tall & solid | (parts.rows == 1), 0, parts.stride),
        np.where(tall & solid, parts.rows * parts.row_bytes, parts.row_bytes),
    ]
    prints = np.stack([np.asarray(c, np.int64) for c in columns], axis=1)
    local = np.isin(parts.seg, (Seg.L1, Seg.ACC)) & (plan.info[queue, I_LOCAL] == 0)
    word, slot = parts.word[~local], parts.slot[~local]
    return _with_extra(program, plan, records, (prints[~local], word, slot))


def _bases(program: Program, held: Ints, parts: Parts, numbers: list[Ints]) -> Ints:
    """Base of each access's segment in its section and repeat; 0 for local memories."""
    out = np.zeros(len(held), np.int64)
    for number, section in enumerate(program.sections):
        mine = (held[:, T_SECTION] == number) & (parts.seg < Seg.L1)
        seg = parts.seg[mine]
        repeat = numbers[number][held[mine, T_REPEAT]]
        base, stride = np.array(section.seg_base), np.array(section.seg_stride)
        out[mine] = base[seg] + repeat * stride[seg]
    return out


def _with_extra(
    program: Program, plan: Layout, records: Ints, held: tuple[Ints, Ints, Ints]
) -> tuple[Ints, Ints, Ints]:
    """Adds the other receivers of MCAST and the tensors of host calls."""
    prints, word, slot = held
    more: list[tuple[Ints, int, int]] = []
    op = plan.words[records[word, T_WORD], OP]
    for i in np.flatnonzero((op == Op.MCAST) & (prints[:, F_WRITE] == 1)).tolist():
        mask = int(records[word[i], T_MASK])
        receivers = [c for c in range(plan.clusters) if mask >> c & 1]
        for cluster in receivers:
            copy = prints[i].copy()
            copy[F_MEMORY] = _L2 + cluster
            more.append((copy, int(word[i]), int(slot[i])))
    alone = ~((op == Op.MCAST) & (prints[:, F_WRITE] == 1))
    calls = np.flatnonzero(plan.words[records[:, T_WORD], OP] == Op.CALL)
    for record in calls.tolist():
        more += _call_prints(program, plan, records[record], record)
    if not more:
        return prints[alone], word[alone], slot[alone]
    extra, words, slots = zip(*more, strict=True)
    return (
        np.concatenate([prints[alone], np.stack(extra)]),
        np.concatenate([word[alone], np.array(words, np.int64)]),
        np.concatenate([slot[alone], np.array(slots, np.int64)]),
    )


def _call_prints(
    program: Program, plan: Layout, record: Ints, number: int
) -> list[tuple[Ints, int, int]]:
    """The bytes from first to last of every tensor that a host call reads or writes."""
    call = program.host_calls[int(plan.words[record[T_WORD], P0])]
    out = []
    for names, write in ((call.inputs, 0), (call.outputs, 1)):
        for tensor in (tensor for tensor in program.tensors if tensor.name in names):
            low, high = tensor.byte_range()
            if high > low:
                values = (tensor.segment, record[T_QUEUE], write, low, 1, 0, 1, 0, high - low)
                out.append((np.array(values, np.int64), number, 3 if write else 0))
    return out


def _contended(prints: Ints) -> Ints:
    """Footprints in memories that something writes."""
    written = np.unique(prints[prints[:, F_WRITE] == 1, F_MEMORY])
    return np.flatnonzero(np.isin(prints[:, F_MEMORY], written))


def _grouped(prints: Ints, word: Ints) -> tuple[Ints, Ints]:
    """Order by memory, first byte, footprint and record, and where each footprint begins."""
    low = prints[:, F_BASE] + np.minimum(0, (prints[:, F_BLOCKS] - 1) * prints[:, F_BSTRIDE])
    others = [prints[:, column] for column in range(prints.shape[1] - 1, 0, -1)]
    order = np.lexsort([word, *others, low, prints[:, F_MEMORY]])
    ordered = prints[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, np.append(np.flatnonzero(new), len(order))


def _race(
    program: Program, plan: Layout, records: Ints, ends: list[tuple[Ints, int, int]]
) -> RaceError:
    """Both words, and the bytes that they share or may share."""
    texts = []
    for prints, record, slot in ends:
        row = records[record]
        kind, unit = plan.info[row[T_QUEUE], [I_KIND, I_UNIT]]
        stream, pc, node = place_of_word(program, plan, int(row[T_WORD]))
        op = Op(int(plan.words[row[T_WORD], OP])).name
        does = "writes" if prints[F_WRITE] else "reads"
        texts.append(
            f"queue {Queue(int(kind)).name} {unit}, stream {stream}, word {pc} ({op}{node}) "
            f"{does} operand {SLOT_NAMES[slot]} in {_range(prints)}"
        )
    return RaceError(
        f"{texts[0]}, and {texts[1]}, with no order between them",
        where=texts[0].split(" (")[0],
        hint="let the later word wait for a semaphore that the earlier one signals",
    )


def _range(prints: Ints) -> str:
    memory, base = int(prints[F_MEMORY]), int(prints[F_BASE])
    names = {_L1 >> 20: "L1 of core", _ACC >> 20: "ACC of core", _L2 >> 20: "L2 of cluster"}
    name = names.get(memory >> 20)
    text = f"{name} {memory & 0xFFFFF}" if name else f"segment {Seg(memory).name}"
    reach = int((prints[F_BLOCKS] - 1) * prints[F_BSTRIDE])
    low, high = base + min(0, reach), base + max(0, reach)
    high += int((prints[F_ROWS] - 1) * prints[F_STRIDE] + prints[F_BYTES])
    return f"{text}, bytes {low} … {high - 1}"
