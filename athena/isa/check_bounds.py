"""Rules about addresses: bounds, alignment, overlap within a word, banks of A, B and bias.

In:  one `Group`, its decoded words, the program's segments and sections, the chip.
Out: True if every access was judged, False when the exact walk met its limit of iterations.
Raises: ProgramError naming word, operand and byte range.

First all words are judged with ranges of aregs and greatest counts (O(static words)); the few that
fail, such as tails where a clip and an address move together, are then judged exactly, iteration by
iteration. Copies may have any byte address: only elements that a unit reads as numbers (MATRIX,
VECTOR, indices) have to be aligned to their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import ProgramError
from athena.isa.areg_ranges import Ranges
from athena.isa.check_words import Words
from athena.isa.fields import (
    AREG_A,
    AREGS,
    CLIP0,
    CLIP_EN,
    IMM_A,
    LIM0,
    N0,
    OP,
    STRIDE_A,
    Op,
    Seg,
)
from athena.isa.footprint import SLOT_NAMES, A, B, C, D, E, Parts, footprints
from athena.isa.program import Program
from athena.isa.queues import Group
from athena.isa.race_kernel import overlap
from athena.isa.walk_kernel import AREG, WALK_COLUMNS, walk

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
RECORDS = 1 << 16
RECORDS_LIMIT = 1 << 22
STEPS_LIMIT = 1 << 25
_SLOTS = 5
_OVERLAPS = {"source and destination overlap": D, "source and scales overlap": E}


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Bytes of each address space and the range of each HBM segment's base over all repeats."""

    size: Ints  # [16]
    base_low: Ints  # [16]
    base_high: Ints  # [16]


@dataclass(frozen=True, slots=True, eq=False)
class _Accesses:
    """Operands with the range of bytes that each may touch, and bits that its address may have."""

    rows: Ints  # decoded words, one an entry that Parts.word names
    parts: Parts
    low: Ints
    high: Ints
    bits: Ints


def limits_of(program: Program, chip: Chip, sections: tuple[int, ...]) -> Limits:
    """Limits for a group that runs in `sections`."""
    size = np.zeros(16, np.int64)
    held = program.segment_bytes[:8]
    size[: len(held)] = held
    size[[Seg.L1, Seg.ACC, Seg.L2]] = (
        chip.core.l1_bytes,
        chip.core.acc_bytes,
        chip.cluster.l2_bytes,
    )
    low, high = np.full(16, 1 << 60, np.int64), np.full(16, -(1 << 60), np.int64)
    for number in sections:
        section = program.sections[number]
        base = np.array(section.seg_base, np.int64)
        last = base + (section.repeat - 1) * np.array(section.seg_stride, np.int64)
        low, high = np.minimum(low, np.minimum(base, last)), np.maximum(high, base)
        high = np.maximum(high, last)
    low[8:] = high[8:] = 0
    return Limits(size, low, high)


def check_bounds(words: Words, group: Group, ranges: Ranges, limits: Limits, chip: Chip) -> bool:
    """Judge all words by ranges, and those that fail exactly."""
    accesses = _by_ranges(words, group, ranges)
    flagged = np.zeros(len(words.rows), bool)
    for _, bad in _rules(accesses, limits, chip):
        flagged[accesses.parts.word[bad]] = True
    return not flagged.any() or _check_exactly(words, group, flagged, limits, chip)


def _by_ranges(words: Words, group: Group, ranges: Ranges) -> _Accesses:
    rows, state = words.rows, ranges.state
    low, high = np.zeros((2, len(rows), 6), np.int64)
    bits = np.zeros((len(rows), 6), np.int64)
    for slot in range(_SLOTS):
        areg, imm = rows[:, AREG_A + 4 * slot], rows[:, IMM_A + 4 * slot]
        low[:, slot] = ranges.low[state, areg] + imm
        high[:, slot] = ranges.high[state, areg] + imm
        bits[:, slot] = ranges.bits[state, areg] | imm
    counts = rows[:, N0 : N0 + 3].copy()
    for i in range(3):
        clipped = np.flatnonzero(rows[:, CLIP_EN] >> i & 1)
        select = rows[clipped, CLIP0 + i]
        room = rows[clipped, LIM0 + i] + group.scalars.max(axis=0)[select >> 4]
        room -= ranges.low[state[clipped], select & 15]
        counts[clipped, i] = np.minimum(counts[clipped, i], np.maximum(0, room))
    parts = footprints(rows, counts, low, np.full(len(rows), words.kind))
    end = high[parts.word, parts.slot] + parts.high()
    return _Accesses(rows, parts, parts.base + parts.low(), end, bits[parts.word, parts.slot])


def _check_exactly(
    words: Words, group: Group, flagged: Mask, limits: Limits, chip: Chip
) -> bool:  # fmt: skip
    """Walk every instance and judge the flagged words with exact counts and addresses."""
    out = np.empty((RECORDS, 10), np.int64)
    steps, judged = STEPS_LIMIT, 0
    for aregs, scalars, unit in zip(group.aregs, group.scalars, group.units, strict=True):
        state = np.zeros(WALK_COLUMNS, np.int64)
        state[AREG : AREG + AREGS] = aregs
        while words.rows[state[0], OP] != Op.END:
            if steps <= 0 or judged > RECORDS_LIMIT:
                return False
            records, steps = walk(words.rows, state, scalars, flagged, out, steps)
            judged += records
            held = out[:records]
            rows = words.rows[held[:, 0]]
            kinds = np.full(records, words.kind)
            parts = footprints(rows, held[:, 1:4], held[:, 4:10], kinds)
            accesses = _Accesses(
                rows, parts, parts.base + parts.low(), parts.base + parts.high(), parts.base
            )
            for rule, bad in _rules(accesses, limits, chip):
                if rule in _OVERLAPS and bad.any():
                    bad = _shares_bytes(accesses, bad, _OVERLAPS[rule])
                if bad.any():
                    entry = int(np.argmax(bad))
                    _refuse(words, accesses, entry, int(held[parts.word[entry], 0]), rule, unit)
    return True


def _refuse(
    words: Words, accesses: _Accesses, entry: int, pc: int, rule: str, unit: int
) -> None:  # fmt: skip
    parts = accesses.parts
    seg, slot = Seg(int(parts.seg[entry])).name, SLOT_NAMES[int(parts.slot[entry])]
    first, end = int(accesses.low[entry]), int(accesses.high[entry])
    raise ProgramError(
        f"operand {slot}, {seg} bytes {first} … {end - 1}: {rule}",
        where=f"{words.at(pc)}, unit {unit}",
    )


def _rules(accesses: _Accesses, limits: Limits, chip: Chip) -> Iterator[tuple[str, Mask]]:
    """Each rule's text and the operands that break it."""
    parts, low, high = accesses.parts, accesses.low, accesses.high
    start, end = low + limits.base_low[parts.seg], high + limits.base_high[parts.seg]
    yield "outside its memory or segment", (start < 0) | (end > limits.size[parts.seg])
    stride = accesses.rows[parts.word, STRIDE_A + 4 * parts.slot]
    yield "not aligned to its elements", (accesses.bits | stride) & (parts.align - 1) != 0
    written = parts.write & (
        ((parts.rows > 1) & (parts.stride < parts.row_bytes))
        | ((parts.blocks > 1) & (np.abs(parts.block_stride) < parts.row_bytes))
    )
    yield "rows that are written overlap", written
    op = accesses.rows[parts.word, OP]
    ops = ((Op.COPY, Op.VPERM, Op.VGATHER, Op.VMXQ), (Op.VMXQ,))
    for (text, slot), words in zip(_OVERLAPS.items(), ops, strict=True):
        other = (parts.slot != D) & (parts.slot != slot) & np.isin(op, words)
        yield text, other & _meets(accesses, _of_slot(accesses, slot), parts.seg, 1)
    for slot, other, names in ((A, B, "A and B"), (A, C, "A and bias"), (B, C, "B and bias")):
        mine = (parts.slot == slot) & (op == Op.MATMUL)
        yield (
            f"{names} share an L1 bank",
            mine & _meets(accesses, _of_slot(accesses, other), parts.seg, chip.l1_bank_bytes),
        )


def _shares_bytes(accesses: _Accesses, bad: Mask, slot: int) -> Mask:
    """Of operands whose byte range meets that of operand `slot`, those that share a byte."""
    parts = accesses.parts
    target = np.full(len(accesses.rows), -1, np.int64)
    target[parts.word[parts.slot == slot]] = np.flatnonzero(parts.slot == slot)
    shares = np.zeros(len(bad), bool)
    for entry in np.flatnonzero(bad).tolist():
        pair = [parts.block(i) for i in (entry, int(target[parts.word[entry]]))]
        shares[entry] = overlap(*pair)
    return shares


def _of_slot(accesses: _Accesses, slot: int) -> tuple[Ints, Ints, Ints]:
    """For each operand the segment (-1: none) and byte range of operand `slot` of its word."""
    parts = accesses.parts
    table = np.full((3, len(accesses.rows)), -1, np.int64)
    mine = parts.slot == slot
    table[:, parts.word[mine]] = (parts.seg[mine], accesses.low[mine], accesses.high[mine])
    seg, low, high = table[:, parts.word]
    return seg, low, high


def _meets(
    accesses: _Accesses, other: tuple[Ints, Ints, Ints], seg: Ints, unit_bytes: int
) -> Mask:  # fmt: skip
    """Operands that touch a unit (bank, or byte for 1) that the other operand touches too."""
    other_seg, other_low, other_high = other
    apart = (accesses.high - 1) // unit_bytes < other_low // unit_bytes
    apart |= (other_high - 1) // unit_bytes < accesses.low // unit_bytes
    meets: Mask = (other_seg == seg) & ~apart
    return meets
