"""Rules that each word keeps by itself: operation, queue, fields, element types, memories, loops.

In:  the decoded words of one stream, the queue kind that runs it, the chip.
Out: nothing.   Raises: ProgramError naming stream, word, operation and the rule it breaks.
Every rule is one vectorised test over all words, so that long streams stay cheap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import ProgramError
from athena.isa.fields import (
    CLIP_EN,
    CORE_SEMS,
    DT_A,
    DT_B,
    DT_C,
    DT_D,
    LOOP_DEPTH,
    MODE,
    MODE_ACC_MASK,
    MODE_VEC_INT,
    N0,
    N1,
    N2,
    OP,
    P0,
    P1,
    P2,
    P4,
    SEG_A,
    SEG_B,
    SEG_C,
    SEG_D,
    SEG_E,
    SIG0,
    WAIT0,
    Acc,
    Alu,
    Dt,
    GatherMode,
    Kind,
    Lut,
    Op,
    Perm,
    QuantMode,
    Queue,
    Red,
    Seg,
    Sig,
)
from athena.isa.table import BY_OP

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
HBM = tuple(range(8))
FLOATS = (Dt.F32, Dt.BF16, Dt.F16)
INTEGERS = (Dt.I8, Dt.U8, Dt.I32)


def _clip_masks() -> Ints:
    """For each op code the counts that may be clipped, as its table row says."""
    masks = np.zeros(256, np.int64)
    for op, row in BY_OP.items():
        for slot, (_, meaning) in row.fields.items():
            if re.search(r"\(clip \d\)|may be clipped", meaning):
                masks[op] |= 1 << int(slot[1])
    return masks


_CLIPS = _clip_masks()


@dataclass(frozen=True, slots=True)
class Words:
    """One stream as a queue kind runs it; `where` names it in messages."""

    rows: Ints
    kind: Queue
    where: str

    def column(self, column: int) -> Ints:
        """A column of all words."""
        return self.rows[:, column]

    def of(self, *ops: Op) -> Mask:
        """Words of these operations."""
        return np.isin(self.rows[:, OP], ops)

    def refuse(self, bad: Mask, message: str | Callable[[Ints], str]) -> None:
        """Raise for the first word of `bad`."""
        if bad.any():
            pc = int(np.argmax(bad))
            text = message if isinstance(message, str) else message(self.rows[pc])
            raise ProgramError(text, where=self.at(pc))

    def at(self, pc: int) -> str:
        """Where a word stands."""
        code = int(self.rows[pc, OP])
        name = Op(code).name if code in tuple(Op) else f"op {code}"
        return f"{self.where}, queue {self.kind.name}, word {pc} ({name})"


def check_words(words: Words, chip: Chip, host_calls: int) -> None:
    """All rules that need no addresses."""
    _check_ops(words)
    _check_loops(words, chip)
    _check_control(words)
    for sem, count, _ in waits(words.rows):
        words.refuse((count > 0) & (sem >= CORE_SEMS), "a wait names a semaphore above 31")
    _check_signals(words)
    clip = words.column(CLIP_EN)
    words.refuse(clip & ~_CLIPS[words.column(OP)] != 0, "a count is clipped that has no clip")
    unit = words.column(OP) >= Op.COPY
    large = (words.rows[:, N0 : N0 + 3] >> 31 != 0).any(axis=1)
    words.refuse(unit & large, "a count is 2^31 or more")
    _check_dma(words)
    _check_matmul(words, chip)
    _check_vec(words)
    _check_moves(words)
    _check_vmxq(words)
    call = words.of(Op.CALL)
    number = words.column(P0)
    words.refuse(call & ((number < 0) | (number >= host_calls)), "no such host call")


def waits(rows: Ints) -> Iterator[tuple[Ints, Ints, Mask]]:
    """(semaphore, count, active) of each of the four waits of all words."""
    sync = rows[:, OP] == Op.SYNC
    for slot in range(4):
        if slot < 2:
            sem, count = rows[:, WAIT0 + 2 * slot], rows[:, WAIT0 + 2 * slot + 1]
        else:
            field = np.where(sync, rows[:, P0 + slot - 2], 0)
            sem, count = field & 255, field >> 8 & 255
        yield sem, count, count > 0


def signals(rows: Ints) -> Iterator[Ints]:
    """The code of each of the four signals of all words, 0 where there is none."""
    yield from (rows[:, SIG0], rows[:, SIG0 + 1])
    sync = rows[:, OP] == Op.SYNC
    yield from (np.where(sync, rows[:, P0 + slot] & 0xFFFF, 0) for slot in (2, 3))


def _check_ops(words: Words) -> None:
    op = words.column(OP)
    words.refuse(~np.isin(op, list(BY_OP)), "no such operation")
    here = [code for code, row in BY_OP.items() if words.kind in row.queues]
    words.refuse(~np.isin(op, here), f"the {words.kind.name} queue does not run this word")
    ends = np.flatnonzero(op == Op.END)
    if len(ends) != 1 or ends[0] != len(op) - 1:
        raise ProgramError(
            f"{len(ends)} END words in {len(op)}; END stands once, as the last word",
            where=words.where,
        )


def _check_loops(words: Words, chip: Chip) -> None:
    loop = words.of(Op.LOOP)
    body, at = words.column(N1), np.arange(len(words.rows))
    words.refuse(loop & (body < 1), "a loop needs a body")
    fifo = chip.core.fifo_words
    words.refuse(
        loop & (body > fifo),
        lambda row: f"a loop of {row[N1]} words; the FIFO holds {fifo}",
    )
    words.refuse(loop & (at + body >= len(at) - 1), "the loop's body reaches END")
    field = words.column(P4)
    words.refuse(loop & (field >> 16 != 0), "the list of aregs has more than 16 bits")
    listed = [field >> 4 * i & 15 for i in range(4)]
    twice = np.zeros(len(at), bool)
    for i in range(4):
        for j in range(i):
            twice |= (listed[i] == listed[j]) & (listed[i] != 0)
    words.refuse(loop & twice, "an areg is listed twice")
    open_ends: list[int] = []
    for pc in np.flatnonzero(loop).tolist():
        end = pc + 1 + int(body[pc])
        open_ends = [outer for outer in open_ends if outer > pc]
        if open_ends and end > open_ends[-1]:
            raise ProgramError("the body passes the end of the loop around it", where=words.at(pc))
        open_ends.append(end)
        if len(open_ends) > LOOP_DEPTH:
            raise ProgramError(f"loops nest deeper than {LOOP_DEPTH}", where=words.at(pc))


def _check_control(words: Words) -> None:
    seta, sync = words.of(Op.SETA), words.of(Op.SYNC)
    target, scalar = words.column(P0), words.column(P4)
    words.refuse(seta & ((target < 1) | (target > 15)), "SETA sets areg 1 … 15")
    words.refuse(seta & ((scalar < 0) | (scalar > 15)), "SETA reads scalar 0 … 15")
    words.refuse(seta & (words.column(N0) < 1), "SETA divides by 0")
    words.refuse(seta & (words.column(N2) > 15), "SETA adds areg 0 … 15")
    words.refuse((seta & (words.column(MODE) > 1)), "SETA has mode bit 0 only")
    for slot in range(4):
        wide = words.column(P0 + slot) >> 16 != 0
        words.refuse(sync & wide, "a wait or signal of SYNC has more than 16 bits")


def _check_signals(words: Words) -> None:
    for code in signals(words.rows):
        kind, arg = code >> 13, code >> 5 & 255
        none = (kind == Sig.NONE) & (code != 0)
        words.refuse(none, "a signal of kind 0 with other bits set")
        by_areg = np.isin(kind, (Sig.CDMA_MASK, Sig.CORES_MASK))
        words.refuse(by_areg & (arg > 15), "a signal's mask is in areg 0 … 15")
        if words.kind == Queue.HOST:
            own = np.isin(kind, (Sig.CORES_OF_CLUSTER, Sig.CDMA))
            words.refuse(own, "the host is in no cluster; it signals masks of clusters")


def _in(words: Words, column: int, segments: tuple[int, ...]) -> Mask:
    return np.isin(words.column(column), segments)


def _memory(words: Words, used: Mask, column: int, *segments: int) -> None:
    names = "HBM" if segments[0] == 0 else ""
    others = (Seg(s).name for s in segments if s > 7)
    text = " or ".join(filter(None, (names, *others)))
    slot = "abcde"[(column - SEG_A) // 4]
    words.refuse(used & ~_in(words, column, segments), f"operand {slot} is not in {text}")


def _check_dma(words: Words) -> None:
    far, kind = (*HBM, Seg.L2), words.kind
    copy, gather, mcast = words.of(Op.COPY), words.of(Op.COPYX), words.of(Op.MCAST)
    places = {
        Queue.LOAD: (far, (Seg.L1,)),
        Queue.STORE: ((Seg.L1,), far),
        Queue.CDMA_IN: (far, (Seg.L2,)),
        Queue.CDMA_OUT: ((Seg.L2,), far),
    }
    if kind in places:
        source, target = places[kind]
        _memory(words, copy | gather, SEG_A, *source)
        _memory(words, copy | gather, SEG_D, *target)
    _memory(words, gather, SEG_B, Seg.L1)
    words.refuse(gather & (words.column(P0) < 0), "the pitch of a table is negative")
    _memory(words, mcast, SEG_A, *HBM)
    _memory(words, mcast, SEG_D, Seg.L2)
    areg = words.column(P2)
    words.refuse(mcast & ((areg < 0) | (areg > 15)), "the mask of receivers is in areg 0 … 15")
    fill = words.of(Op.FILL)
    _memory(words, fill, SEG_D, Seg.L1)
    value = words.column(P0) & 0xFFFFFFFF
    mixed = value != (value & 255) * 0x01010101
    words.refuse(
        fill & mixed & (words.column(N2) % 4 != 0), "row_bytes is no multiple of the pattern"
    )


def _check_matmul(words: Words, chip: Chip) -> None:
    used = words.of(Op.MATMUL)
    if not used.any():
        return
    mode, a, b, d = (words.column(column) for column in (MODE, DT_A, DT_B, DT_D))
    start = mode & MODE_ACC_MASK
    words.refuse(used & ((start == 3) | (mode > 7)), "no such mode")
    small = (Dt.I8, Dt.U8)
    integer = np.isin(a, small) & np.isin(b, small)
    real = (a == b) & np.isin(a, (Dt.F32, Dt.BF16))
    words.refuse(used & ~integer & ~real, "A and B are both bf16, both fp32, or 8-bit integers")
    for name, mask in (("int8", integer), ("fp32", a == Dt.F32), ("bf16", a == Dt.BF16)):
        if name not in chip.core.matrix.rate:
            words.refuse(used & mask, f"the chip has no {name} matrix arithmetic")
    result = np.where(integer, Dt.I32, Dt.F32)
    words.refuse(used & (d != result), "D is fp32, of integers int32")
    bias = used & (start == Acc.BIAS)
    words.refuse(bias & (words.column(DT_C) != result), "the bias has another type than D")
    for i, column in enumerate((a, b)):
        zero = words.column(P0 + i)
        low, high = np.where(column == Dt.I8, -128, 0), np.where(column == Dt.I8, 127, 255)
        outside = (zero < low) | (zero > high)
        words.refuse(used & integer & outside, "a zero point is outside its type's range")
    _memory(words, used, SEG_A, Seg.L1)
    _memory(words, used, SEG_B, Seg.L1)
    _memory(words, bias, SEG_C, Seg.L1)
    _memory(words, used, SEG_D, Seg.ACC)


def _check_vec(words: Words) -> None:
    used = words.of(Op.VEC)
    if not used.any():
        return
    steps, kinds, mode = words.column(P0) & 0xFFFFFFFF, words.column(P1), words.column(MODE)
    alu1, lut, alu2, red = (steps >> shift & 255 for shift in (0, 8, 16, 24))
    known = (alu1 <= max(Alu)) & (alu2 <= max(Alu)) & (lut <= max(Lut)) & (red <= max(Red))
    words.refuse(used & ~known, "no such step")
    words.refuse(used & (alu1 == Alu.SELECT), "SELECT is the second step only")
    integer = mode & MODE_VEC_INT != 0
    words.refuse(
        used & integer & (lut > 0) & (lut < Lut.ABS), "integers have ABS, NEG, SIGN and NOT only"
    )
    kind_b, kind_c = kinds & 255, kinds >> 8
    words.refuse(used & ((kind_b > max(Kind)) | (kind_c > max(Kind))), "no such kind of operand")
    no_b = (kind_b == Kind.NONE) & ((alu1 != Alu.PASS) | (alu2 == Alu.SELECT))
    no_c = (kind_c == Kind.NONE) & (alu2 != Alu.PASS)
    words.refuse(used & (no_b | no_c), "a step lacks its second operand")
    words.refuse(used & (mode > 7), "no such mode")
    in_memory = [Kind.FULL, Kind.ROW, Kind.COL, Kind.SCALAR]
    held = (used, used & np.isin(kind_b, in_memory), used & np.isin(kind_c, in_memory))
    for i, mask in enumerate(held):
        dt = words.column(DT_A + i)
        words.refuse(mask & ((dt < 1) | (dt > max(Dt))), f"operand {'abc'[i]} has no element type")
        words.refuse(
            mask & integer & np.isin(dt, FLOATS), f"operand {'abc'[i]} of an integer VEC is a float"
        )
        _local(words, mask, i)
    d = words.column(DT_D)
    words.refuse(used & (d > max(Dt)), "operand d has no such element type")
    _local(words, used & (d != Dt.NONE), 3)
    _memory(words, used & (red > 0), SEG_E, Seg.L1)


def _local(words: Words, used: Mask, slot: int) -> None:
    """L1, or ACC, which holds 32-bit elements only."""
    column = SEG_A + 4 * slot
    _memory(words, used, column, Seg.L1, Seg.ACC)
    narrow = ~np.isin(words.column(DT_A + slot), (Dt.F32, Dt.I32))
    words.refuse(
        used & narrow & (words.column(column) == Seg.ACC),
        f"operand {'abcd'[slot]}: accumulators hold fp32 and int32 only",
    )


def _check_moves(words: Words) -> None:
    perm, gather = words.of(Op.VPERM), words.of(Op.VGATHER)
    mode, a = words.column(MODE), words.column(DT_A)
    words.refuse((perm & (mode > max(Perm))) | (gather & (mode > max(GatherMode))), "no such mode")
    both = perm | gather
    words.refuse(both & ((a < 1) | (a > max(Dt))), "operand a has no element type")
    words.refuse(both & (a != words.column(DT_D)), "operands a and d differ in type")
    turn = perm & np.isin(mode, (Perm.ROTATE_HALF, Perm.ROTATE_PAIRS))
    words.refuse(turn & ~np.isin(a, FLOATS), "rotations are of floats")
    words.refuse(turn & (words.column(N1) % 2 == 1), "rotations need an even number of columns")
    _local(words, perm, 0)
    _memory(words, both, SEG_D, Seg.L1)
    _memory(words, gather, SEG_A, Seg.L1)
    _memory(words, gather, SEG_B, Seg.L1)
    words.refuse(gather & (words.column(DT_B) != Dt.I32), "indices are int32")


def _check_vmxq(words: Words) -> None:
    used = words.of(Op.VMXQ)
    words.refuse(used & (words.column(MODE) > max(QuantMode)), "no such mode")
    source = np.isin(words.column(DT_A), (*FLOATS, Dt.I32))
    words.refuse(used & ~source, "operand a is fp32, bf16, fp16 or int32")
    words.refuse(used & (words.column(DT_D) != Dt.I8), "D is int8")
    _local(words, used, 0)
    _memory(words, used, SEG_D, Seg.L1)
    _memory(words, used, SEG_E, Seg.L1)
