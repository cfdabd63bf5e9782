"""The controller of a memory of one channel, cycle by cycle while it has work.

In:  beats that ports have sent (T_…). Out: atoms (X_…) and when each is transferred.

Half of the memory's latency after a beat was sent it is in the queue of its direction, as atoms;
beats that meet in an atom share it. The oldest atom whose row is open is transferred next, while
other banks close and open rows for atoms behind it. The bus turns round when the other direction
waits and this one has moved a batch since, or has had nothing to move for as long as a turn takes.
A refresh waits until nothing moves.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.timing.channel_kernel import quotient, remainder
from athena.timing.jit import kernel
from athena.timing.layout import (
    ATOM_BYTES,
    B_CLAIM,
    B_FREE,
    B_ROW,
    B_SIZE,
    BANKS_AT,
    BATCH_ATOMS,
    C_ATOM_TICKS,
    C_BANKS,
    C_MISS,
    C_REFRESH_EVERY,
    C_REFRESH_ONLY,
    C_ROW_BYTES,
    C_TURN,
    CONTROL_AT,
    ENTERED,
    G_HBM_TICKS,
    K_BUS_FREE,
    K_DIRECTION,
    K_HEAD,
    K_MOVED,
    K_NOW,
    K_QUIET,
    K_REFRESH_AT,
    K_RING,
    K_RING_MASK,
    K_SEEN,
    K_TAIL,
    K_WAITING,
    NEWEST,
    Q_SIZE,
    QUEUES_AT,
    RELEASED_AT,
    RING,
    RING_MASK,
    SENT,
    T_ADDR,
    T_BYTES,
    T_DUE,
    T_FIRST,
    T_LAST,
    T_MORE,
    T_SIZE,
    TICKS,
    WRITES,
    X_BANK,
    X_DONE,
    X_NUMBER,
    X_PARTIAL,
    X_ROW,
    X_SIZE,
    X_START,
    X_STATE,
    X_WHOLE,
)


@kernel("i8(i8[::1],i8,i8)")
def beat_at(m, p, number):
    """Place of a beat of a port."""
    return m[p + RING] + (number & m[p + RING_MASK]) * T_SIZE


@kernel("i8(i8[::1],i8,i8)")
def atom_at(m, way, number):
    """Place of an atom of a direction."""
    k = m[CONTROL_AT]
    return m[k + K_RING + way] + (number & m[k + K_RING_MASK + way]) * X_SIZE


@kernel("b1(i8[::1],i8,i8,i8,i8)")
def _joins(m, way, newest, number, now):
    """Whether bytes still come with the port's newest atom: a write's until it is transferred, a
    read's until its transfer has ended.
    """
    if newest < 0:
        return False
    atom = atom_at(m, way, newest)
    if m[atom + X_NUMBER] != number:
        return False
    if m[atom + X_STATE] != X_DONE:
        return True
    return way == 1 and m[atom + X_START] + m[C_ATOM_TICKS] > (now - 1) * TICKS


@kernel("void(i8[::1],i8,i8)")
def _enter(m, p, now):
    """The port's next beat joins its newest atom or brings new ones."""
    k, way = m[CONTROL_AT], 1 - m[p + WRITES]
    beat = beat_at(m, p, m[p + ENTERED])
    first = m[beat + T_ADDR] // ATOM_BYTES
    last = (m[beat + T_ADDR] + m[beat + T_BYTES] - 1) // ATOM_BYTES
    newest = m[p + NEWEST]
    for number in range(first, last + 1):
        if not _joins(m, way, newest, number, now):
            newest = m[k + K_TAIL + way]
            m[k + K_TAIL + way] = newest + 1
            atom = atom_at(m, way, newest)
            page = quotient(m, number * ATOM_BYTES, C_ROW_BYTES)
            row = quotient(m, page, C_BANKS)
            m[atom + X_NUMBER], m[atom + X_ROW] = number, row
            m[atom + X_BANK] = m[BANKS_AT] + remainder(m, page + row, C_BANKS) * B_SIZE
            m[atom + X_STATE] = X_PARTIAL
        atom = atom_at(m, way, newest)
        if number == first:
            m[beat + T_FIRST] = newest
        if m[atom + X_STATE] == X_PARTIAL and (number != last or not m[beat + T_MORE]):
            m[atom + X_STATE] = X_WHOLE
            m[k + K_WAITING + way] += 1
    m[beat + T_LAST] = m[p + NEWEST] = newest
    m[p + ENTERED] += 1
    m[k + K_QUIET] = 0


@kernel("void(i8[::1],i8)")
def _refresh(m, limit):
    """Close all rows and refresh, once nothing moves, if that is before `limit`."""
    k = m[CONTROL_AT]
    start = max(m[k + K_REFRESH_AT], m[k + K_BUS_FREE])
    banks = range(m[BANKS_AT], m[BANKS_AT] + m[C_BANKS] * B_SIZE, B_SIZE)
    for bank in banks:
        start = max(start, m[bank + B_FREE])
    if start < limit:
        for bank in banks:
            m[bank + B_ROW] = -1
            m[bank + B_FREE] = start + m[C_MISS] // 2 + m[C_REFRESH_ONLY]
        m[k + K_REFRESH_AT] += m[C_REFRESH_EVERY]
        m[k + K_QUIET] = 0


@kernel("void(i8[::1],i8)")
def _turn(m, now):
    """Turn the bus if the other direction waits and this one has had its batch, or nothing."""
    k = m[CONTROL_AT]
    way = m[k + K_DIRECTION]
    if m[k + K_WAITING + way] > 0:
        m[k + K_SEEN] = now
    if m[k + K_WAITING + 1 - way] == 0:
        m[k + K_MOVED] = 0
    elif m[k + K_MOVED] >= BATCH_ATOMS or now >= m[k + K_SEEN] + max(1, -(-m[C_TURN] // TICKS)):
        m[k + K_DIRECTION] = 1 - way
        m[k + K_SEEN], m[k + K_MOVED], m[k + K_QUIET] = now, 0, 0
        m[k + K_BUS_FREE] += m[C_TURN]


@kernel("i8(i8[::1],i8,i8)")
def _ready(m, way, limit):
    """Oldest atom whose row is open before `limit`: its place, -1 if there is none."""
    k = m[CONTROL_AT]
    first = m[k + K_HEAD + way]
    for number in range(first, min(m[k + K_TAIL + way], first + BATCH_ATOMS)):
        atom = atom_at(m, way, number)
        if m[atom + X_STATE] == X_WHOLE:
            bank = m[atom + X_BANK]
            if m[bank + B_ROW] == m[atom + X_ROW] and m[bank + B_FREE] < limit:
                return atom
    return -1


@kernel("void(i8[::1],i8)")
def _transfer(m, now):
    """Transfer what can start in the cycle before `now`."""
    k = m[CONTROL_AT]
    way, limit = m[k + K_DIRECTION], now * TICKS
    while m[k + K_BUS_FREE] < limit and m[k + K_WAITING + way] > 0:
        atom = _ready(m, way, limit)
        if atom < 0:
            return
        bank = m[atom + X_BANK]
        start = max(m[k + K_BUS_FREE], m[bank + B_FREE], limit - TICKS)
        m[atom + X_STATE], m[atom + X_START] = X_DONE, start
        m[k + K_BUS_FREE] = m[bank + B_FREE] = start + m[C_ATOM_TICKS]
        m[G_HBM_TICKS] += m[C_ATOM_TICKS]
        m[k + K_WAITING + way] -= 1
        m[k + K_MOVED] += 1
        m[k + K_QUIET] = 0
        head, tail = m[k + K_HEAD + way], m[k + K_TAIL + way]
        while head != tail and m[atom_at(m, way, head) + X_STATE] == X_DONE:
            head += 1
        m[k + K_HEAD + way] = head


@kernel("void(i8[::1],i8)")
def _open_row(m, now):
    """Open one row. For each bank the oldest atom, of the bus's direction first, says which."""
    k = m[CONTROL_AT]
    if m[k + K_QUIET]:
        return
    m[k + K_QUIET] = 1  # unless a bank waits for another row
    for turn in range(2):
        way = m[k + K_DIRECTION] ^ turn
        first = m[k + K_HEAD + way]
        for number in range(first, min(m[k + K_TAIL + way], first + BATCH_ATOMS)):
            atom = atom_at(m, way, number)
            bank = m[atom + X_BANK]
            if m[atom + X_STATE] == X_DONE or m[bank + B_CLAIM] == now:
                continue
            m[bank + B_CLAIM] = now
            row, free = m[bank + B_ROW], m[bank + B_FREE]
            if row != m[atom + X_ROW]:
                m[k + K_QUIET] = 0
                if free < now * TICKS:
                    takes = m[C_MISS] - m[C_MISS] // 2 if row < 0 else m[C_MISS]
                    m[bank + B_FREE] = max(free, (now - 1) * TICKS) + takes
                    m[bank + B_ROW] = m[atom + X_ROW]
                    return


@kernel("i8(i8[::1])")
def _next_due(m):
    """Cycle in which the next beat reaches the controller; -1 if none is on its way."""
    due = -1
    for p in range(m[QUEUES_AT], m[RELEASED_AT], Q_SIZE):
        if m[p + ENTERED] < m[p + SENT]:
            at = m[beat_at(m, p, m[p + ENTERED]) + T_DUE]
            due = at if due < 0 else min(due, at)
    return due


@kernel("i8(i8[::1],i8)")
def next_cycle(m, until):
    """Next cycle in which the controller has something to do, at most `until` + 1; -1 if there is
    nothing. What lies before it is over then: refreshes without work.
    """
    k = m[CONTROL_AT]
    if m[k + K_HEAD] != m[k + K_TAIL] or m[k + K_HEAD + 1] != m[k + K_TAIL + 1]:
        return m[k + K_NOW]
    due = min(_next_due(m), until + 1)
    if due <= m[k + K_NOW]:
        return m[k + K_NOW] if due >= 0 else -1
    m[k + K_MOVED] = 0
    every, limit = m[C_REFRESH_EVERY], (due - 1) * TICKS
    if every > 0:
        m[k + K_REFRESH_AT] += max((limit - m[k + K_REFRESH_AT]) // every - 2, 0) * every
        while m[k + K_REFRESH_AT] < limit:
            before = m[k + K_REFRESH_AT]
            _refresh(m, limit)
            if m[k + K_REFRESH_AT] == before:
                break
    m[k + K_NOW] = due
    return due


@kernel("void(i8[::1])")
def step(m):
    """The controller's next cycle."""
    k = m[CONTROL_AT]
    now = m[k + K_NOW]
    for p in range(m[QUEUES_AT], m[RELEASED_AT], Q_SIZE):
        while m[p + ENTERED] < m[p + SENT]:
            if m[beat_at(m, p, m[p + ENTERED]) + T_DUE] > now:
                break
            _enter(m, p, now)
    if m[C_REFRESH_EVERY] > 0 and m[k + K_REFRESH_AT] < now * TICKS:
        _refresh(m, now * TICKS)
    else:
        _turn(m, now)
        _transfer(m, now)
        _open_row(m, now)
    m[k + K_NOW] = now + 1
