"""Numba: control flow of one queue: clips, SETA, loops. The machine's rules, once for the verifier.

A queue's state is one int64 row: pc, depth, 16 aregs, and per open loop its first word, end,
iterations left, the LOOP word's place and four saved aregs.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from numba import njit

from athena.isa.fields import (
    AREG_A,
    CLIP0,
    CLIP_EN,
    IMM_A,
    LIM0,
    LOOP_DEPTH,
    MODE,
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

PC, DEPTH, AREG, LOOPS = 0, 1, 2, 18
LOOP_COLUMNS = 8
WALK_COLUMNS = LOOPS + LOOP_DEPTH * LOOP_COLUMNS
_END, _LOOP, _SETA = int(Op.END), int(Op.LOOP), int(Op.SETA)
_HALF = 1 << 47


@njit(cache=True)
def wrap48(value):
    """48-bit two's complement."""
    return ((value + _HALF) & (2 * _HALF - 1)) - _HALF


@njit(cache=True)
def count_of(word, i, state, scalars):
    """Count i after its clip."""
    count = word[N0 + i]
    if word[CLIP_EN] >> i & 1:
        select = word[CLIP0 + i]
        room = word[LIM0 + i] + scalars[select >> 4] - state[AREG + (select & 15)]
        count = min(count, max(0, room))
    return count


@njit(cache=True)
def address_of(word, slot, state):
    """Effective address of an operand, without its segment's base."""
    at = 4 * slot
    return word[IMM_A + at] + state[AREG + word[AREG_A + at]]


@njit(cache=True)
def _seta(word, state, scalars):
    q = scalars[word[P4]] // word[N0]
    if word[N1] != 0:
        q = q % word[N1]
    value = wrap48((word[P2] << 32) | (word[P1] & 0xFFFFFFFF))
    if word[MODE] & 1:
        shift = q * word[P3]
        if shift >= 0:
            value = value << shift if shift < 48 else 0
        else:
            value = value >> -shift if shift > -48 else 0
    else:
        value += q * word[P3]
    state[AREG + word[P0]] = wrap48(value + state[AREG + word[N2]])


@njit(cache=True)
def step(words, first, state, scalars):
    """Go past the word at pc, which is not END; SETA and LOOP take effect."""
    word = words[first + state[PC]]
    op = word[OP]
    if op == _SETA:
        _seta(word, state, scalars)
    elif op == _LOOP:
        count, body = count_of(word, 0, state, scalars), word[N1]
        start = state[PC] + 1
        if count == 0:
            state[PC] = start + body - 1
        else:
            at = LOOPS + LOOP_COLUMNS * state[DEPTH]
            state[at] = start
            state[at + 1] = start + body
            state[at + 2] = count
            state[at + 3] = state[PC]
            for i in range(4):
                state[at + 4 + i] = state[AREG + (word[P4] >> 4 * i & 15)]
            state[DEPTH] += 1
    state[PC] += 1
    while state[DEPTH] > 0:
        at = LOOPS + LOOP_COLUMNS * (state[DEPTH] - 1)
        if state[PC] != state[at + 1]:
            return
        loop = words[first + state[at + 3]]
        state[at + 2] -= 1
        for i in range(4):
            areg = loop[P4] >> 4 * i & 15
            if areg != 0:
                if state[at + 2] > 0:
                    state[AREG + areg] = wrap48(state[AREG + areg] + loop[P0 + i])
                else:
                    state[AREG + areg] = state[at + 4 + i]
        if state[at + 2] > 0:
            state[PC] = state[at]
            return
        state[DEPTH] -= 1


@njit(cache=True)
def walk(words, state, scalars, flagged, out, steps):
    """Run one queue's stream from `state`, without waits, and record the flagged words.

    `out` int64 [room, 10]: pc, three counts, six addresses. Gives (records, steps left); the stream
    is finished when its END is at pc, and goes on with another call when `out` was full.
    """
    records = 0
    while words[state[PC], OP] != _END and steps > 0 and records < out.shape[0]:
        pc = state[PC]
        if flagged[pc]:
            row = out[records]
            row[0] = pc
            for i in range(3):
                row[1 + i] = count_of(words[pc], i, state, scalars)
            for i in range(6):
                row[4 + i] = address_of(words[pc], i, state)
            records += 1
        step(words, 0, state, scalars)
        steps -= 1
    return records, steps
