"""DMA queues in front of a memory of one channel: beats sent, answered, words through.

In:  the engine's memory (`athena.timing.layout`), a planned transfer. Out: when each beat is
     answered, and with the last of a word's when that word is through; READY of the queue.

A queue's port sends a beat a cycle as long as its window has room. A beat sent in one cycle cannot
come back within the latency, so `control` runs the controller that far ahead, and one event does
for as many cycles.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.timing.channel_kernel import place_of
from athena.timing.controller_kernel import atom_at, beat_at, next_cycle, step
from athena.timing.event_kernel import push, try_at
from athena.timing.jit import kernel
from athena.timing.layout import (
    ANSWERED,
    ANSWERED_AT,
    ATOM_BYTES,
    C_ATOM_TICKS,
    C_HBM_LATENCY,
    C_WINDOW,
    CONTROL_AT,
    CONTROLLER,
    DIR_NONE,
    ENTERED,
    F_BOUND,
    G_HEAP,
    INJ_LEFT,
    INJ_POS,
    K_NOW,
    K_PENDING,
    M_DIR,
    M_ROW,
    M_TABLE,
    PHASE_GRANULE,
    PORT_BYTES,
    Q_SIZE,
    QUEUES_AT,
    READY,
    REASON,
    REASON_UNIT,
    RELEASED_AT,
    SENT,
    SENT_AT,
    T_ADDR,
    T_ANSWER,
    T_BYTES,
    T_DUE,
    T_FIRST,
    T_LAST,
    T_MORE,
    T_WORD,
    TICKS,
    WRITES,
    X_DONE,
    X_START,
    X_STATE,
)
from athena.timing.memory_kernel import beside_channel, take_demand
from athena.timing.queue_kernel import newest_flight, through


@kernel("void(i8[::1],i8,i8)")
def _send(m, p, word):
    """Send the transfer's beats as far as it is known that the window has room. The last one names
    the word in flight, which lies at `word`; with it the unit is ready for the next word.
    """
    row, bus, indexed = m[p + M_ROW], m[p + PORT_BYTES], m[p + M_TABLE] > 0
    while m[p + INJ_LEFT] > 0:
        number, pos = m[p + SENT], m[p + INJ_POS]
        freed = number - m[C_WINDOW]
        if freed >= m[p + ANSWERED]:
            return
        rest = row - pos % row
        cycle = m[p + SENT_AT] + 1
        if indexed and rest == row:
            cycle += 1  # reads the row's number
        if freed >= 0:
            cycle = max(cycle, m[beat_at(m, p, freed) + T_ANSWER])
        size, at = min(rest, bus), place_of(m, p, pos)
        beat = beat_at(m, p, number)
        m[beat + T_DUE] = cycle + m[C_HBM_LATENCY] // 2
        m[beat + T_ADDR], m[beat + T_BYTES] = at, size
        m[beat + T_MORE] = m[p + WRITES] and rest > bus and (at + bus) % ATOM_BYTES != 0
        m[p + SENT], m[p + SENT_AT] = number + 1, cycle
        m[p + INJ_POS] += size
        m[p + INJ_LEFT] -= size
        m[beat + T_WORD] = word if m[p + INJ_LEFT] == 0 else 0
    m[p + READY] = m[p + SENT_AT]


@kernel("i8(i8[::1],i8)")
def _answer(m, p):
    """Answer the port's oldest beats that are through, up to the last of a word. Returns the place
    of that word, 0 if none has ended.
    """
    way = 1 - m[p + WRITES]
    back = m[C_HBM_LATENCY] - m[C_HBM_LATENCY] // 2
    while m[p + ANSWERED] < m[p + ENTERED]:
        beat = beat_at(m, p, m[p + ANSWERED])
        end = 0
        for number in range(m[beat + T_FIRST], m[beat + T_LAST] + 1):
            atom = atom_at(m, way, number)
            if m[atom + X_STATE] != X_DONE:
                return 0
            size = ATOM_BYTES
            if number == m[beat + T_LAST]:
                size = (m[beat + T_ADDR] + m[beat + T_BYTES] - 1) % ATOM_BYTES + 1
            end = max(end, m[atom + X_START] + m[C_ATOM_TICKS] * size // ATOM_BYTES)
        # At the earliest in the next cycle, which is what `now` has become.
        at = max(max(-(-end // TICKS), m[beat + T_DUE]) + back, m[m[CONTROL_AT] + K_NOW])
        m[beat + T_ANSWER] = m[p + ANSWERED_AT] = max(at, m[p + ANSWERED_AT] + 1)
        m[p + ANSWERED] += 1
        if m[beat + T_WORD]:
            return m[beat + T_WORD]
    return 0


@kernel("void(i8[::1],i8[::1],i8[:,::1],i8,i8)")
def _come_back(heap, m, trace, p, time):
    """Answers of one port: words that are through, and room for what waits to be sent."""
    word = _answer(m, p)
    while word:
        through(heap, m, trace, p, word, max(m[p + ANSWERED_AT], m[word + F_BOUND]))
        word = _answer(m, p)
    if m[p + INJ_LEFT] == 0 or m[p + M_DIR] == DIR_NONE:
        return
    _send(m, p, newest_flight(m, p))
    if m[p + INJ_LEFT] == 0 and m[p + REASON] == REASON_UNIT:
        try_at(heap, m, p, max(time, m[p + READY]))


@kernel("void(i8[::1],i8[::1],i8[:,::1],i8,i8)")
def control(heap, m, trace, time, most):
    """Run the controller for as long as what it may still be sent cannot matter, and while the heap
    has room for `most` events.
    """
    k = m[CONTROL_AT]
    until, again = time + m[C_HBM_LATENCY] // 2, time + max(m[C_HBM_LATENCY], 1)
    m[k + K_PENDING] = 0
    while True:
        now = next_cycle(m, until)
        if now < 0:
            return
        if now > until:
            break
        if m[G_HEAP] > most:
            again = time
            break
        step(m)
        for p in range(m[QUEUES_AT], m[RELEASED_AT], Q_SIZE):
            if m[p + ANSWERED] < m[p + ENTERED]:
                _come_back(heap, m, trace, p, time)
    m[k + K_PENDING] = 1
    push(heap, m, again, PHASE_GRANULE, CONTROLLER)


@kernel("void(i8[::1],i8[::1],i8,i8,i8)")
def begin_beats(heap, m, p, word, time):
    """Send the planned transfer of the word in flight at `word`, issued at `time`."""
    k = m[CONTROL_AT]
    take_demand(m, p, False)
    m[word + F_BOUND] = beside_channel(m, p, time)
    m[p + SENT_AT] = max(m[p + SENT_AT], time)
    _send(m, p, word)
    if m[k + K_PENDING] == 0:
        m[k + K_PENDING] = 1
        push(heap, m, time + max(m[C_HBM_LATENCY], 1), PHASE_GRANULE, CONTROLLER)
