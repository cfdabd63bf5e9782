"""Words whose operands may lie anywhere in a segment: what exceeds 32 bits stands beside the word.

In:  operands with offsets of up to 48 bits.   Out: words as `StreamBuilder` makes them, and the
full offsets; `lift` rewrites words whose offset does not fit: an address register takes the part
above 32 bits.
Raises: CapacityError where no register is free, or a loop no longer fits the FIFO.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from athena.errors import CapacityError
from athena.isa.builder import Operand, StreamBuilder
from athena.isa.fields import (
    AREG_A,
    AREGS,
    CLIP0,
    CLIP_EN,
    N2,
    OP,
    P0,
    SEG_A,
    SIG0,
    Op,
    Seg,
    Sig,
    decode,
)

OPERANDS = ("a", "b", "c", "d", "e", "g")
OFFSET_LIMIT = 1 << 32
_LOW = OFFSET_LIMIT - 1
_STRIDE_LIMIT = 1 << 24

Words = NDArray[np.void]
Offsets = NDArray[np.int64]


class WideBuilder(StreamBuilder):
    """A builder that keeps the upper part of offsets beside the words."""

    def __init__(self) -> None:
        super().__init__()
        self._high: dict[tuple[int, str], int] = {}

    def rewind(self, mark: int) -> None:
        """Forget the words added after `mark`."""
        super().rewind(mark)
        self._high = {key: high for key, high in self._high.items() if key[0] < mark}

    def offsets(self, words: Words) -> Offsets:
        """Full offsets [n, 6] of the operands of `words`, this builder's stream."""
        out = np.stack([words[name][:, 1] for name in OPERANDS], axis=1).astype(np.int64)
        for (at, name), high in self._high.items():
            out[at, OPERANDS.index(name)] += high
        return out

    def _operands(self, word: np.void, **operands: Operand | None) -> None:
        for name, operand in operands.items():
            if operand is None or (operand.imm < OFFSET_LIMIT and operand.stride < _STRIDE_LIMIT):
                continue
            if operand.imm >= OFFSET_LIMIT:
                self._high[len(self) - 1, name] = operand.imm & ~_LOW
            single = word["op"] in (Op.COPY, Op.MCAST) and word["n"][1] == 1
            stride = 0 if single else operand.stride  # of one row it has no meaning
            operands[name] = replace(operand, imm=operand.imm & _LOW, stride=stride)
        super()._operands(word, **operands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Consecutive words of a lane, node of each, full offsets [n, 6], and where ops begin."""

    words: Words
    nodes: NDArray[np.int32]
    offsets: Offsets
    starts: tuple[int, ...]


def lift(piece: Piece, fifo_words: int) -> Piece:
    """The piece with all offsets below 4 GiB.

    Where an op's register walks only operands that share the upper part of their offset, its start
    takes that part; other words get a SETA of a free register before them.
    """
    wide = piece.offsets >= OFFSET_LIMIT
    if not wide.any():
        return piece
    words, offsets = piece.words.copy(), piece.offsets.copy()
    bounds = (*piece.starts, len(words))
    for start, end in zip(bounds, bounds[1:], strict=False):
        if wide[start:end].any():
            _move_starts(words[start:end], offsets[start:end])
    return _with_setas(replace(piece, words=words, offsets=offsets), fifo_words)


def _move_starts(words: Words, offsets: Offsets) -> None:
    """In one op, add the upper part of offsets to the SETA of registers that serve nothing else.

    Changes both arrays.
    """
    rows = decode(words)
    aregs, segments = rows[:, AREG_A : AREG_A + 24 : 4], rows[:, SEG_A : SEG_A + 24 : 4]
    sets = rows[:, OP] == Op.SETA
    target, source = rows[:, P0], rows[:, N2]
    for areg in np.unique(aregs[offsets >= OFFSET_LIMIT]):
        walks = aregs == areg
        high = np.unique(offsets[walks] & ~_LOW)
        begins = np.flatnonzero(sets & (target == areg) & (source != areg))
        others = _used_beside(rows) | set(source[sets & (target != areg)].tolist())
        if (
            areg == 0
            or len(high) > 1
            or len(begins) == 0
            or begins[0] > np.flatnonzero(walks.any(axis=1))[0]
            or int(areg) in others
            or (segments[walks] >= Seg.L1).any()
        ):
            continue
        for at in begins:
            p = words["p"][at]
            value = (int(p[2]) << 32 | int(p[1]) & _LOW) + int(high[0])
            words["p"][at, 1:3] = np.array([value & _LOW, value >> 32], np.int64).astype(np.int32)
        offsets[walks] &= _LOW


def _with_setas(piece: Piece, fifo_words: int) -> Piece:
    """A SETA before every word whose offset still needs more than 32 bits."""
    wide = piece.offsets >= OFFSET_LIMIT
    words, offsets = piece.words.copy(), piece.offsets & _LOW
    for slot, name in enumerate(OPERANDS):
        words[name][:, 1] = offsets[:, slot]
    used = _used_by_op(piece)
    extra = StreamBuilder()
    places: list[int] = []
    for at in np.flatnonzero(wide.any(axis=1)):
        free = [areg for areg in range(AREGS - 1, 0, -1) if areg not in used[int(at)]]
        slots = np.flatnonzero(wide[at])
        if len(free) < len(slots):
            raise CapacityError(
                "an op beyond 4 GiB of a segment has no address register left", where="lowering"
            )
        for slot, areg in zip(slots.tolist(), free, strict=False):
            low = int(words[OPERANDS[slot]][at, 0])
            extra.seta(areg, int(piece.offsets[at, slot]) & ~_LOW, add=low >> 4 & 15)
            words[OPERANDS[slot]][at, 0] = low & ~0xF0 | areg << 4
            places.append(int(at))
    _grow_loops(words, places, fifo_words)
    return Piece(
        words=np.insert(words, places, extra.stream().words),
        nodes=np.insert(piece.nodes, places, piece.nodes[places]),
        offsets=np.insert(offsets, places, 0, axis=0),
        starts=tuple(start + sum(place < start for place in places) for start in piece.starts),
    )


def _used_by_op(piece: Piece) -> list[frozenset[int]]:
    """For each word, the address registers that its op uses on this lane."""
    rows = decode(piece.words)
    bounds = (*piece.starts, len(rows))
    out: list[frozenset[int]] = [frozenset()] * bounds[0]
    for start, end in zip(bounds, bounds[1:], strict=False):
        out += [_used(rows[start:end])] * (end - start)
    return out


def _used(rows: NDArray[np.int64]) -> frozenset[int]:
    """Registers that the decoded words of an op read or write."""
    sets, loops = rows[:, OP] == Op.SETA, rows[:, OP] == Op.LOOP
    found = _used_beside(rows)
    found.update(rows[:, AREG_A : AREG_A + 24 : 4].ravel().tolist())
    found.update(rows[sets, P0].tolist(), rows[sets, N2].tolist())
    for shift in range(0, 16, 4):
        found.update((rows[loops, P0 + 4] >> shift & 15).tolist())
    return frozenset(found)


def _used_beside(rows: NDArray[np.int64]) -> set[int]:
    """Registers that select clips or hold masks of clusters."""
    found: set[int] = set()
    for slot in range(3):
        found.update((rows[rows[:, CLIP_EN] >> slot & 1 > 0, CLIP0 + slot] & 15).tolist())
    found.update(rows[rows[:, OP] == Op.MCAST, P0 + 2].tolist())
    more = rows[rows[:, OP] == Op.SYNC, P0 + 2 : P0 + 4]
    signals = np.concatenate([rows[:, SIG0 : SIG0 + 2].ravel(), more.ravel()])
    masked = np.isin(signals >> 13, (Sig.CDMA_MASK, Sig.CORES_MASK))
    found.update((signals[masked] >> 5 & 255).tolist())
    return found


def _grow_loops(words: Words, places: list[int], fifo_words: int) -> None:
    """Loops that gain words have longer bodies."""
    if not places:
        return
    spots = np.array(places)
    for at in np.flatnonzero(words["op"] == Op.LOOP):
        body = int(words["n"][at, 1])
        more = int(((spots > at) & (spots <= at + body)).sum())
        if more and body + more > fifo_words:
            raise CapacityError(
                f"a loop beyond 4 GiB of a segment has {body + more} words, the FIFO {fifo_words}",
                where="lowering",
            )
        words["n"][at, 1] = body + more
