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

from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True)
class _Value:
    """One areg: exact part of each instance, interval and low bits that loops add."""

    exact: Ints
    low: int = 0
    high: int = 0
    bits: int = 0

    def bounds(self) -> tuple[int, int, int]:
        """Lowest, highest value and bits below 64 over all instances."""
        ored = int(np.bitwise_or.reduce(self.exact & _LOW_BITS))
        low, high = int(self.exact.min()) + self.low, int(self.exact.max()) + self.high
        return max(low, -_FAR), min(high, _FAR), ored | self.bits

    def spread(self, delta: int, count: int) -> _Value:
        """The value over `count` iterations that each add `delta`."""
        if count < 2 or delta == 0:
            return self
        reach = delta * (count - 1)
        low, high = self.low + min(0, reach), self.high + max(0, reach)
        return replace(self, low=low, high=high, bits=self.bits | delta & _LOW_BITS)

    def hull(self, other: _Value) -> _Value:
        """A value that covers both."""
        if other is self:
            return self
        gap = other.exact - self.exact
        bits = self.bits | other.bits | int(np.bitwise_or.reduce(gap & _LOW_BITS))
        low = min(self.low, int(gap.min()) + other.low)
        high = max(self.high, int(gap.max()) + other.high)
        return replace(self, low=low, high=high, bits=bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """`state[word]` indexes the rows of `low`, `high`, `bits` [states, 16] and `times`.

    `times[state]` is int64 [instances]: how often each instance runs a word in that state, or None
    where a clipped count depends on a loop.
    """

    state: Ints
    low: Ints
    high: Ints
    bits: Ints
    times: tuple[Ints | None, ...]


class _Walk:
    def __init__(self, words: Ints, scalars: Ints) -> None:
        self.words, self.scalars = words, scalars
        self.state = np.zeros(len(words), np.int64)
        self.rows: list[list[tuple[int, int, int]]] = []
        self.times: list[Ints | None] = []
        control = np.isin(words[:, OP], (Op.LOOP, Op.SETA, Op.END))
        self.control = np.flatnonzero(control)
        self.quotients: dict[tuple[int, int, int], Ints] = {}
        self.bounds: dict[int, tuple[_Value, tuple[int, int, int]]] = {}

    def emit(self, first: int, last: int, aregs: list[_Value], times: Ints | None) -> None:
        """Words first … last - 1 run in this state."""
        if first < last:
            self.state[first:last] = len(self.rows)
            self.rows.append([self.of(value) for value in aregs])
            self.times.append(times)

    def of(self, value: _Value) -> tuple[int, int, int]:
        """Bounds of a value, computed once."""
        held = self.bounds.get(id(value))
        if held is None:
            held = self.bounds[id(value)] = (value, value.bounds())
        return held[1]

    def run(self, first: int, last: int, aregs: list[_Value], times: Ints | None) -> None:
        """Walk words first … last - 1, changing `aregs` in place."""
        at = first
        for pc in self.control[np.searchsorted(self.control, first) :]:
            if pc >= last:
                break
            if pc < at:
                continue
            self.emit(at, pc + 1, aregs, times)
            at = pc + 1
            if self.words[pc, OP] == Op.SETA:
                self.seta(self.words[pc], aregs)
            elif self.words[pc, OP] == Op.LOOP:
                at += int(self.words[pc, N1])
                self.loop(int(pc), aregs, times)
        self.emit(at, last, aregs, times)

    def seta(self, word: Ints, aregs: list[_Value]) -> None:
        """Set an areg to imm + q * mult + areg[add], or to imm shifted by q * mult."""
        key = (int(word[P4]), int(word[N0]), int(word[N1]))
        if key not in self.quotients:
            quotient = self.scalars[:, key[0]] // max(key[1], 1)
            self.quotients[key] = quotient % key[2] if key[2] else quotient
        step = self.quotients[key] * word[P3]
        imm = (int(word[P2]) << 32) | (int(word[P1]) & 0xFFFFFFFF)
        imm = (imm + _HALF) % (2 * _HALF) - _HALF
        added = aregs[int(word[N2]) & 15]
        if word[MODE] & MODE_SETA_SHIFT:
            shifted = np.left_shift(np.int64(imm), np.clip(step, 0, 47))
            value = np.where((step >= 0) & (step < 48), shifted, 0)
        else:
            value = imm + step
        exact = (value + added.exact + _HALF) % (2 * _HALF) - _HALF
        aregs[int(word[P0]) & 15] = replace(added, exact=exact)

    def loop(self, pc: int, aregs: list[_Value], times: Ints | None) -> None:
        """The body from its hull over iterations; afterwards the listed aregs are restored."""
        word = self.words[pc]
        count, most, least = self.count(word, aregs)
        first, last = pc + 1, pc + 1 + int(word[N1])
        entry = list(aregs)
        deltas = {int(word[P4]) >> 4 * i & 15: int(word[P0 + i]) for i in range(4)}
        deltas.pop(0, None)
        body = self.words[first:last]
        written = {int(target) & 15 for target in body[body[:, OP] == Op.SETA, P0]}
        for areg, delta in deltas.items():
            if areg not in written:
                aregs[areg] = entry[areg].spread(delta, most)
        inner = None
        if times is not None and count is not None and int(times.max()) * most < _TIMES_LIMIT:
            inner = times * count
        self.settle(first, last, aregs, written, deltas, repeats=most > 1)
        self.run(first, last, aregs, inner)
        for areg in range(1, AREGS):
            if areg in deltas:
                aregs[areg] = entry[areg]
            elif areg in written and least == 0:
                aregs[areg] = entry[areg].hull(aregs[areg])

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
            self.run(first, last, trial, None)
            stable = True
            for areg in written:
                delta = deltas.get(areg, 0)
                end = trial[areg]
                end = replace(end, exact=end.exact + delta) if delta else end
                wide = aregs[areg].hull(end)
                if self.of(wide) != self.of(aregs[areg]) or wide.low < aregs[areg].low:
                    stable = False
                if attempt and not stable:
                    wide = replace(wide, low=-_HALF, high=_HALF, bits=_LOW_BITS)
                aregs[areg] = wide
            if stable:
                return

    def count(self, word: Ints, aregs: list[_Value]) -> tuple[Ints | None, int, int]:
        """Iterations of each instance (None: depend on a loop), their greatest and least number."""
        n = int(word[N0])
        if not word[CLIP_EN] & 1:
            return np.full(len(self.scalars), n), n, n
        areg = aregs[int(word[CLIP0]) & 15]
        room = int(word[LIM0]) + self.scalars[:, int(word[CLIP0]) >> 4] - areg.exact
        most = min(n, max(0, int(room.max()) - areg.low))
        least = min(n, max(0, int(room.min()) - areg.high))
        exact = np.clip(room, 0, n) if areg.low == areg.high == 0 else None
        return exact, most, least


def areg_ranges(words: Ints, aregs: Ints, scalars: Ints) -> Ranges:
    """Ranges for `words` [n, COLUMNS] run by instances with `aregs` [i, 16], `scalars` [i, 16]."""
    walk = _Walk(words, scalars)
    start = [_Value(aregs[:, i].copy()) for i in range(AREGS)]
    walk.run(0, len(words), start, np.ones(len(aregs), np.int64))
    rows = np.array(walk.rows, np.int64).reshape(-1, AREGS, 3)
    return Ranges(
        state=walk.state,
        low=rows[:, :, 0],
        high=rows[:, :, 1],
        bits=rows[:, :, 2],
        times=tuple(walk.times),
    )
