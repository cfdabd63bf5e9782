"""Ranges of the address registers at every word of a stream, without running its loops.

In:  decoded words of one stream, and for each queue instance (unit) that runs it the initial aregs
     and launch scalars.
Out: `Ranges`: for every word the lowest and highest value of each areg over all instances and
     iterations, the bits below 64 that can be set, and how often the word runs.
Raises: nothing; loops are taken to be well formed (`athena.isa.check_words` has looked).

The value of an areg is exact for each instance, plus one interval that covers what loops add. A
SETA inside a loop makes the value at the head of the body the hull over iterations; one that adds
to itself there has the full 48-bit range.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.isa.fields import (
    AREGS,
    CLIP0,
    CLIP_EN,
    LIM0,
    MODE,
    MODE_SETA_SHIFT,
    N0,
    N1,
    N2,
    OP,
    P0,
    P1,
    P2,
    P3,
    P4,
    Op,
)

Ints = NDArray[np.int64]
_LOW_BITS = 63
_HALF = 1 << 47
_FAR = 1 << 60
_TIMES_LIMIT = 1 << 40


class _Vector:
    """One number for each instance, with its bounds and its remainders modulo 64."""

    __slots__ = ("array", "high", "low", "remainders")

    def __init__(self, array: Ints) -> None:
        self.array = array
        self.low, self.high = int(array.min()), int(array.max())
        self.remainders: tuple[int, ...] = tuple(np.unique(array & _LOW_BITS).tolist())


class _Value:
    """One areg: vector + offset (exact for each instance), interval and low bits of loops."""

    __slots__ = ("bits", "bounds", "high", "low", "offset", "vector")

    def __init__(  # noqa: PLR0913 - the parts of a value
        self, vector: _Vector, offset: int = 0, low: int = 0, high: int = 0, bits: int = 0
    ) -> None:
        self.vector, self.offset, self.low, self.high, self.bits = vector, offset, low, high, bits
        ored = bits
        for remainder in vector.remainders:
            ored |= remainder + offset & _LOW_BITS
        least, most = vector.low + offset + low, vector.high + offset + high
        self.bounds = (max(least, -_FAR), min(most, _FAR), ored)

    def exact(self) -> Ints:
        """The exact part of each instance."""
        return self.vector.array + self.offset

    def moved(self, delta: int) -> _Value:
        """The value plus `delta`."""
        offset = self.offset + delta
        return _Value(self.vector, offset, self.low, self.high, self.bits) if delta else self

    def spread(self, delta: int, count: int) -> _Value:
        """The value over `count` iterations that each add `delta`."""
        if count < 2 or delta == 0:
            return self
        reach = delta * (count - 1)
        low, high = self.low + min(0, reach), self.high + max(0, reach)
        return _Value(self.vector, self.offset, low, high, self.bits | delta & _LOW_BITS)

    def hull(self, other: _Value) -> _Value:
        """A value that covers both."""
        if other is self:
            return self
        bits = self.bits | other.bits
        least = most = other.offset - self.offset
        if other.vector is self.vector:
            bits |= least & _LOW_BITS
        else:
            gap = other.exact() - self.exact()
            bits |= int(np.bitwise_or.reduce(gap & _LOW_BITS))
            least, most = int(gap.min()), int(gap.max())
        low, high = min(self.low, least + other.low), max(self.high, most + other.high)
        return _Value(self.vector, self.offset, low, high, bits)

    def anything(self) -> _Value:
        """A value of the full 48-bit range."""
        return _Value(self.vector, self.offset, -_HALF, _HALF, _LOW_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """`state[word]` indexes the rows of `low`, `high` and `bits` [states, 16].

    `times[often[word]]` is int64 [instances]: how often each instance runs the word, or None where
    a clipped count depends on a loop.
    """

    state: Ints
    low: Ints
    high: Ints
    bits: Ints
    often: Ints
    times: tuple[Ints | None, ...]


class _Walk:
    def __init__(self, words: Ints, scalars: Ints) -> None:
        self.words, self.scalars = words, scalars
        self.state = np.zeros(len(words), np.int64)
        self.often = np.zeros(len(words), np.int64)
        self.rows: list[list[tuple[int, int, int]]] = []
        self.times: list[Ints | None] = []
        self.time_numbers: dict[bytes, int] = {}
        self.products: dict[tuple[int, int] | None, int] = {}
        self.control = np.flatnonzero(np.isin(words[:, OP], (Op.LOOP, Op.SETA))).tolist()
        self.ops = words[:, OP].tolist()
        self.steps: dict[tuple[int, ...], Ints] = {}
        self.vectors: dict[tuple[int, ...], tuple[_Vector, _Vector]] = {}

    def emit(self, first: int, last: int, aregs: list[_Value], often: int) -> None:
        """Words first … last - 1 run in this state."""
        if first < last:
            self.state[first:last] = len(self.rows)
            self.often[first:last] = often
            self.rows.append([value.bounds for value in aregs])

    def number(self, times: Ints | None) -> int:
        """The index of `times` among those met."""
        key = b"" if times is None else times.tobytes()
        found = self.time_numbers.setdefault(key, len(self.times))
        if found == len(self.times):
            self.times.append(times)
        return found

    def run(self, first: int, last: int, aregs: list[_Value], often: int) -> None:
        """Walk words first … last - 1, changing `aregs` in place."""
        at = first
        for i in range(bisect_left(self.control, first), len(self.control)):
            pc = self.control[i]
            if pc >= last:
                break
            if pc < at:
                continue
            self.emit(at, pc + 1, aregs, often)
            at = pc + 1
            word: list[int] = self.words[pc].tolist()
            if word[OP] == Op.SETA:
                self.seta(word, aregs)
            else:
                at += word[N1]
                self.loop(pc, word, aregs, often)
        self.emit(at, last, aregs, often)

    def seta(self, word: list[int], aregs: list[_Value]) -> None:
        """Set an areg to imm + q * mult + areg[add], or to imm shifted + areg[add]."""
        added = aregs[word[N2] & 15]
        imm = (word[P2] << 32) | (word[P1] & 0xFFFFFFFF)
        imm = (imm + _HALF) % (2 * _HALF) - _HALF
        step = self.step(word[P4], word[N0], word[N1], word[P3])
        if word[MODE] & MODE_SETA_SHIFT:
            left = np.left_shift(np.int64(imm), np.clip(step, 0, 47))
            right = np.right_shift(np.int64(imm), np.clip(-step, 0, 47))
            step, imm = np.where(np.abs(step) < 48, np.where(step >= 0, left, right), 0), 0
            vector = _Vector(step + added.vector.array)
        else:
            key = (word[P4], word[N0], word[N1], word[P3], id(added.vector))
            held = self.vectors.get(key)
            if held is None:
                held = self.vectors[key] = (_Vector(step + added.vector.array), added.vector)
            vector = held[0]
        offset = imm + added.offset
        if not (vector.low + offset >= -_HALF and vector.high + offset < _HALF):
            vector = _Vector((vector.array + offset + _HALF) % (2 * _HALF) - _HALF)
            offset = 0
        aregs[word[P0] & 15] = _Value(vector, offset, added.low, added.high, added.bits)

    def step(self, scalar: int, div: int, mod: int, mult: int) -> Ints:
        """((S[scalar] div `div`) mod `mod`) * mult of each instance."""
        key = (scalar, div, mod, mult)
        if key not in self.steps:
            quotient = self.scalars[:, scalar] // max(div, 1)
            self.steps[key] = (quotient % mod if mod else quotient) * mult
        return self.steps[key]

    def loop(self, pc: int, word: list[int], aregs: list[_Value], often: int) -> None:
        """The body from its hull over iterations; afterwards the listed aregs are restored."""
        count, most, least = self.count(word, aregs)
        first, last = pc + 1, pc + 1 + word[N1]
        entry = list(aregs)
        deltas = {word[P4] >> 4 * i & 15: word[P0 + i] for i in range(4)}
        deltas.pop(0, None)
        body = range(bisect_left(self.control, first), bisect_left(self.control, last))
        setas = [pc for pc in (self.control[i] for i in body) if self.ops[pc] == Op.SETA]
        written = {int(self.words[pc, P0]) & 15 for pc in setas}
        for areg, delta in deltas.items():
            if areg not in written:
                aregs[areg] = entry[areg].spread(delta, most)
        inner = self.times_inside(often, count, most)
        self.settle(first, last, aregs, written, deltas, repeats=most > 1)
        self.run(first, last, aregs, inner)
        for areg in range(1, AREGS):
            if areg in deltas:
                aregs[areg] = entry[areg]
            elif areg in written and least == 0:
                aregs[areg] = entry[areg].hull(aregs[areg])

    def times_inside(self, often: int, count: Ints | int | None, most: int) -> int:
        """The index of how often a body runs, whose loop runs as `often` says."""
        key = (often, count) if isinstance(count, int) else None
        if key in self.products:
            return self.products[key]
        times, inner = self.times[often], self.number(None)
        if times is not None and count is not None and int(times.max()) * most < _TIMES_LIMIT:
            inner = self.number(times * count)
        if key is not None:
            self.products[key] = inner
        return inner

    def settle(  # noqa: PLR0913 - a loop's parts
        self,
        first: int,
        last: int,
        aregs: list[_Value],
        written: set[int],
        deltas: dict[int, int],
        *,
        repeats: bool,
    ) -> None:
        """Widen the aregs that the body sets until its head covers every iteration."""
        if not written or not repeats:
            return
        for attempt in range(3):
            trial = list(aregs)
            self.run(first, last, trial, 0)
            stable = True
            for areg in written:
                wide = aregs[areg].hull(trial[areg].moved(deltas.get(areg, 0)))
                if wide.bounds != aregs[areg].bounds:
                    stable = False
                    aregs[areg] = wide.anything() if attempt else wide
            if stable:
                return

    def count(self, word: list[int], aregs: list[_Value]) -> tuple[Ints | int | None, int, int]:
        """Iterations of each instance (None: depend on a loop), their greatest and least number."""
        n = word[N0]
        if not word[CLIP_EN] & 1:
            return n, n, n
        areg = aregs[word[CLIP0] & 15]
        room = word[LIM0] + self.scalars[:, word[CLIP0] >> 4] - areg.exact()
        most = min(n, max(0, int(room.max()) - areg.low))
        least = min(n, max(0, int(room.min()) - areg.high))
        exact = np.clip(room, 0, n) if areg.low == areg.high == 0 else None
        return exact, most, least


def areg_ranges(words: Ints, aregs: Ints, scalars: Ints) -> Ranges:
    """Ranges for `words` [n, COLUMNS] run by instances with `aregs` [i, 16], `scalars` [i, 16]."""
    walk = _Walk(words, scalars)
    start = [_Value(_Vector(aregs[:, i].copy())) for i in range(AREGS)]
    walk.run(0, len(words), start, walk.number(np.ones(len(aregs), np.int64)))
    rows = np.array(walk.rows, np.int64).reshape(-1, AREGS, 3)
    return Ranges(
        state=walk.state,
        low=rows[:, :, 0],
        high=rows[:, :, 1],
        bits=rows[:, :, 2],
        often=walk.often,
        times=tuple(walk.times),
    )
