"""Which forms of which words a set of runs has retired: functional coverage.

In:  a `Chip`, finished jobs (program and retire trace).
Out: `Bins`: for every operation the bins that exist and those that were met, at three depths:
     modes; modes x element type of an operand; those x size class of a count.

Nothing is listed here by hand: modes are the codes for which the assembler has names, operands and
counts are those of the instruction table, and a bin exists when the verifier accepts a word of it.
A count's classes lie around what the hardware takes of it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.isa.asm_fields import MODES, PARAMETERS
from athena.isa.check_words import Words, check_words
from athena.isa.fields import (
    CLIP_EN,
    COLUMNS,
    DT_A,
    MODE,
    N0,
    OP,
    P0,
    SEG_A,
    Dt,
    Op,
    Queue,
    Seg,
    decode,
)
from athena.isa.footprint import footprints
from athena.isa.table import BY_OP, ROWS, WordRow
from rtl_sim.job import RtlJob, RtlResult

Ints = NDArray[np.int64]
Bin = tuple[str, ...]  # operation, axis, value; operand, type; count, class
TYPED = ("a", "b", "c", "d")
CODES = 256
# MATMUL of fp32 belongs to the arithmetic profile: the table says so, and that no RTL has it.
PROFILE_ONLY = {(Op.MATMUL, "a", Dt.F32), (Op.MATMUL, "b", Dt.F32)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Bits of a decoded column, and the names of the values that mean something."""

    name: str
    column: int
    shift: int
    names: dict[int, str]

    def of(self, rows: Ints) -> Ints:
        """The value in each word."""
        value: Ints = rows[:, self.column] >> self.shift & (CODES - 1)
        return value


@dataclass(frozen=True, slots=True)
class _Judge(Words):
    """Words of which it is noted, not raised, that a rule refuses them."""

    illegal: NDArray[np.bool_]

    def refuse(self, bad: NDArray[np.bool_], message: object) -> None:
        """Note them."""
        np.logical_or(self.illegal, bad, out=self.illegal)


def legal(rows: Ints, queue: Queue, chip: Chip) -> NDArray[np.bool_]:
    """Which words the verifier's rules of single words accept; a LOOP has a SYNC as its body."""
    if (rows[:, OP] == Op.END).all():
        return np.ones(len(rows), bool)  # it stands once, as the last word
    step = 2 if (rows[:, OP] == Op.LOOP).any() else 1
    stream = np.zeros((step * len(rows) + 1, COLUMNS), np.int64)
    stream[:, OP] = Op.SYNC
    stream[0:-1:step] = rows
    stream[-1, OP] = Op.END
    judge = _Judge(stream, queue, "bins", np.zeros(len(stream), bool))
    check_words(judge, chip, 0)
    return ~judge.illegal[:-1:step]


def axes(row: WordRow) -> tuple[Axis, ...]:
    """The axes of an operation: its mode, codes packed into parameters, clipped counts."""
    return _axes(row.op)


@cache
def _axes(op: Op) -> tuple[Axis, ...]:
    row = BY_OP[op]
    made = [Axis(name="mode", column=MODE, shift=0, names={0: "0"})]
    if row.op in MODES:
        write = MODES[row.op].write
        named = {v: write(v) or "0" for v in range(CODES) if write(v) or not v}
        made = [Axis(name="mode", column=MODE, shift=0, names=named)]
    for (other, slot), form in PARAMETERS.items():
        parts = form.write(0).split(".")
        if other is not op or len(parts) < 2 or not all(part.isalpha() for part in parts):
            continue
        for number, _ in enumerate(parts):
            shown = {v: form.write(v << 8 * number) for v in range(CODES)}
            named = {v: text.split(".")[number] for v, text in shown.items() if text}
            name = f"{row.fields[slot][0]}.{number}"
            made.append(Axis(name=name, column=P0 + int(slot[1]), shift=8 * number, names=named))
    for slot, (name, meaning) in row.fields.items():
        if slot[0] == "n" and "clip" in meaning:
            at = int(slot[1])
            made.append(
                Axis(name=f"clip {name}", column=CLIP_EN, shift=at, names={0: "no", 1: "yes"})
            )
    return tuple(made)


def quanta(row: WordRow, chip: Chip) -> dict[int, int]:
    """For each count of the word (0 … 2) how much of it the hardware takes at once, 0: no such
    number.
    """
    matrix, lanes = chip.core.matrix, chip.core.vector.lanes
    bus = chip.core.load_bytes_per_cycle
    special = {
        Op.MATMUL: {0: matrix.rows, 1: matrix.cols, 2: matrix.rows},
        Op.VPERM: {0: lanes, 1: lanes},
        **{op: {2: bus} for op in (Op.COPY, Op.COPYX, Op.FILL)},
        **{op: {1: lanes} for op in (Op.VEC, Op.VGATHER, Op.VMXQ)},
    }.get(row.op, {})
    counts = [
        int(slot[1])
        for slot, (_, meaning) in row.fields.items()
        if slot[0] == "n" and (row.op >= Op.COPY or "clip" in meaning)
    ]
    return {at: special.get(at, 0) for at in counts}


def size_class(count: int, quantum: int) -> str:
    """The class of a count: 0, 1, around the quantum, below, a multiple of it, above."""
    if count < 2:
        return str(count)
    if not quantum:
        return ">1"
    named = {quantum - 1: "q-1", quantum: "q", quantum + 1: "q+1"}
    if count in named:
        return named[count]
    return "<q" if count < quantum else ">q" if count % quantum else "kq"


def _classes(quantum: int) -> dict[str, int]:
    """Each class with its smallest count."""
    counts = range(2 * quantum + 4)
    return {size_class(count, quantum): count for count in reversed(counts)}


@dataclass(slots=True)
class Bins:
    """Bins that exist, and those of them that were met, by depth: 3, 5 or 7 names."""

    chip: Chip
    all: set[Bin] = field(default_factory=set)
    met: set[Bin] = field(default_factory=set)

    def __post_init__(self) -> None:
        for row in ROWS:
            queues = [queue for queue in row.queues if queue <= Queue.VECTOR]
            if row.rtl and queues:
                self._exist(row, queues)

    def _exist(self, row: WordRow, queues: list[Queue]) -> None:
        for queue in queues:
            self.all.add((row.op.name, "queue", queue.name))
        for axis in axes(row):
            for value in axis.names:
                rows = _variants(row, queues[0], axis, value)
                rows = rows[legal(rows, queues[0], self.chip)]
                self.all.update(self._names(row, axis, rows, queues[0]))
                sizes = _sized(row, rows[:1], self.chip)
                if len(sizes):
                    sizes = sizes[legal(sizes, queues[0], self.chip)]
                typed = [name for name in self.all if name[:3] == _head(row, axis, value)]
                for at, name in self._sizes(row, sizes):
                    self.all.update((*head, at, name) for head in typed if len(head) == 5)

    def _names(self, row: WordRow, axis: Axis, rows: Ints, queue: Queue) -> Iterator[Bin]:
        """Bins of depths 3 and 5 of legal words."""
        value = axis.of(rows)
        for code in np.unique(value):
            if int(code) in axis.names:
                yield _head(row, axis, int(code))
        word, slot = _typed(rows, queue)
        found = np.unique(np.stack([value[word], slot, rows[word, DT_A + slot]], axis=1), axis=0)
        for code, which, dt in found.tolist():
            name = TYPED[which]
            if code in axis.names and (row.op, name, dt) not in PROFILE_ONLY:
                yield (*_head(row, axis, code), name, Dt(dt).name)

    def _sizes(self, row: WordRow, rows: Ints) -> set[tuple[str, str]]:
        found = set()
        for at, quantum in quanta(row, self.chip).items():
            for count in np.unique(rows[:, N0 + at]).tolist():
                found.add((row.fields[f"n{at}"][0], size_class(count, quantum)))
        return found

    def meet(self, job: RtlJob, result: RtlResult) -> None:
        """Count the words that a job retired."""
        for queue in Queue:
            if queue > Queue.VECTOR:
                continue
            pcs = np.unique(result.trace[result.trace[:, 0] == queue, 2])
            rows = decode(job.program.streams[queue].words)[pcs]
            for row in ROWS:
                mine = rows[rows[:, OP] == row.op]
                if len(mine) and row.rtl:
                    self._meet(row, mine, queue)

    def _meet(self, row: WordRow, rows: Ints, queue: Queue) -> None:
        self.met.add((row.op.name, "queue", queue.name))
        word, slot = _typed(rows, queue)
        by_word: dict[int, list[Bin]] = {}
        for index, which in zip(word.tolist(), slot.tolist(), strict=True):
            name = (TYPED[which], Dt(int(rows[index, DT_A + which])).name)
            by_word.setdefault(index, []).append(name)
        counts = [self._counts(row, one) for one in rows]
        for axis in axes(row):
            for index, code in enumerate(axis.of(rows).tolist()):
                if code not in axis.names:
                    continue
                head = _head(row, axis, code)
                self.met.add(head)
                for typed in by_word.get(index, ()):
                    self.met.add((*head, *typed))
                    self.met.update((*head, *typed, *sized) for sized in counts[index])

    def _counts(self, row: WordRow, word: Ints) -> list[tuple[str, str]]:
        """Size classes of a word's counts that no clip changes."""
        return [
            (row.fields[f"n{at}"][0], size_class(int(word[N0 + at]), quantum))
            for at, quantum in quanta(row, self.chip).items()
            if not word[CLIP_EN] >> at & 1
        ]

    def missing(self, depth: int) -> list[Bin]:
        """Bins of a depth that exist and were not met."""
        return sorted(name for name in self.all - self.met if len(name) == depth)

    def counts(self, op: str, depth: int) -> tuple[int, int]:
        """Bins met and bins that exist."""
        there = {name for name in self.all if name[0] == op and len(name) == depth}
        return len(there & self.met), len(there)


def _head(row: WordRow, axis: Axis, value: int) -> Bin:
    return (row.op.name, axis.name, axis.names[value])


def _typed(rows: Ints, queue: Queue) -> tuple[Ints, Ints]:
    """Word and operand (0 … 3) of every access that has an element type."""
    counts = np.maximum(rows[:, N0 : N0 + 3], 1)
    parts = footprints(rows, counts, np.zeros((len(rows), 6), np.int64), np.full(len(rows), queue))
    typed = (parts.slot < len(TYPED)) & (rows[parts.word, OP] >= Op.MATMUL)
    word, slot = parts.word[typed], parts.slot[typed]
    typed = rows[word, DT_A + slot] != Dt.NONE
    return word[typed], slot[typed]


def _variants(row: WordRow, queue: Queue, axis: Axis, value: int) -> Ints:
    """Words with one value on one axis: the others at their first or second values, each of them
    also alone at the other one; all modes; all pairs of element types, or one for all operands.
    """
    used = [slot for slot in TYPED if slot in row.fields] if row.op >= Op.MATMUL else []
    pairs = [some for some in product(tuple(Dt), repeat=len(used)) if len({*some}) <= 2]
    same = [(dt,) * len(used) for dt in Dt]
    others = [other for other in axes(row) if other.name not in (axis.name, "mode")]
    blocks = []
    for full in (0, 1):
        blocks.append(_block(row, (axis, value), dict.fromkeys(range(len(others)), full), pairs))
        for alone in range(len(others)):
            choice = {i: full ^ (i == alone) for i in range(len(others))}
            blocks.append(_block(row, (axis, value), choice, same))
    rows = np.concatenate(blocks)
    rows[:, OP] = row.op
    for column, seg in _places(row, queue).items():
        rows[:, column] = seg
    for slot in row.fields:
        if slot[0] == "n":
            rows[:, N0 + int(slot[1])] = 2
    if row.op is Op.LOOP:
        rows[:, N0 + 1] = 1
    if row.op is Op.SETA:
        rows[:, P0] = 1
    return rows


def _block(
    row: WordRow, fixed: tuple[Axis, int], choice: dict[int, int], types: list[tuple[Dt, ...]]
) -> Ints:
    """Words of every mode and of `types`, the other axes at value 0 or 1 of their own."""
    axis, value = fixed
    used = [slot for slot in TYPED if slot in row.fields] if row.op >= Op.MATMUL else []
    mode, *others = (some for some in axes(row) if some.name == "mode" or some.name != axis.name)
    codes = (value,) if axis.name == "mode" else tuple(mode.names)
    rows = np.zeros((len(codes), len(types), COLUMNS), np.int64)
    rows[:, :, MODE] = np.array(codes)[:, None]
    for index, slot in enumerate(used):
        rows[:, :, DT_A + TYPED.index(slot)] = np.array(types, np.int64)[None, :, index]
    for number, other in enumerate(others):
        plain = other.column == CLIP_EN or not choice.get(number)
        rows[:, :, other.column] |= (min(other.names) if plain else _second(other)) << other.shift
    if axis.name != "mode":
        rows[:, :, axis.column] |= value << axis.shift
    return rows.reshape(-1, COLUMNS)


def _second(axis: Axis) -> int:
    return sorted(axis.names)[min(1, len(axis.names) - 1)]


def _places(row: WordRow, queue: Queue) -> dict[int, int]:
    """Memories in which the word's operands may lie."""
    far = {(Queue.LOAD, "a"): Seg.INPUT, (Queue.STORE, "d"): Seg.OUTPUT}
    places = {}
    for number, slot in enumerate("abcde"):
        if slot in row.fields:
            seg = far.get((queue, slot), Seg.L1)
            places[SEG_A + 4 * number] = Seg.ACC if (row.op, slot) == (Op.MATMUL, "d") else seg
    return places


def _sized(row: WordRow, rows: Ints, chip: Chip) -> Ints:
    """The first word with every size class of each of its counts."""
    made = []
    for at, quantum in quanta(row, chip).items():
        for count in _classes(quantum).values():
            for word in rows:
                word = word.copy()
                word[N0 + at] = count
                made.append(word)
    return np.array(made, np.int64).reshape(-1, COLUMNS)


def measure(chip: Chip, finished: Iterable[tuple[RtlJob, RtlResult]]) -> Bins:
    """The bins that the jobs met."""
    bins = Bins(chip)
    for job, result in finished:
        bins.meet(job, result)
    return bins


def bins_report(bins: Bins) -> str:
    """A table by operation: modes, with types, with sizes, and the modes that are missing."""
    names = [row.op.name for row in ROWS if any(name[0] == row.op.name for name in bins.all)]
    lines = [f"{'word':8} {'modes':>11} {'x types':>13} {'x sizes':>13}"]
    for op in names:
        shown = ["{}/{}".format(*bins.counts(op, depth)) for depth in (3, 5, 7)]
        lines.append(f"{op:8} {shown[0]:>11} {shown[1]:>13} {shown[2]:>13}")
    lines += [f"not met: {' '.join(name)}" for name in bins.missing(3)]
    return "\n".join(lines)
