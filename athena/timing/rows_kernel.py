"""A memory of one channel: every row of a transfer by itself, through the controller's queue.

In:  a granule and its arrival, in ticks. Out: its bytes and finish at the one memory edge.

With one channel nothing spreads, so each row is booked where it lies: in its bank, on the bus, from
when the port has sent or asked for it. The controller sees as many atoms of a queue as a batch of
writes has; one behind them enters when the oldest is through. Rows that meet in an atom share it.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.timing.channel_kernel import after_refresh, cost, place_of, quotient, remainder
from athena.timing.jit import kernel
from athena.timing.layout import (
    ATOM_BYTES,
    ATOM_END,
    ATOM_LAST,
    ATOM_NUMBER,
    ATOMS,
    ATOMS_SEEN,
    B_FREE,
    B_INTERVAL,
    B_READ,
    B_ROW,
    B_SIZE,
    B_WRITTEN,
    BANKS_AT,
    BATCH_BYTES,
    C_BANKS,
    C_CHANNEL_RATE,
    C_MISS,
    C_OPEN,
    C_REFRESH,
    C_REFRESH_EVERY,
    C_ROW_BYTES,
    C_TURN,
    CH_BEGAN,
    CH_BEHIND,
    CH_FREE,
    CH_MOVED,
    CH_TURNS,
    CH_WRITES,
    CHANNELS_AT,
    E_BYTES,
    E_FINISH,
    EDGES_AT,
    G_HBM_TICKS,
    M_ROW,
)


@kernel("i8(i8[::1],i8,i8,b1,i8)")
def _bus(m, arrive, size, write, turn):
    """Book the data bus. What goes its way goes before what waits to go the other way, until that
    has waited for a batch or the bus has nothing to do for a turn.
    """
    channel, rate = m[CHANNELS_AT], m[C_CHANNEL_RATE]
    ticks, batch = cost(size, rate), cost(BATCH_BYTES, rate)
    m[G_HBM_TICKS] += ticks
    behind = m[channel + CH_BEHIND]  # end of what waits to go the other way
    if behind > 0 and (arrive >= m[channel + CH_TURNS] or m[channel + CH_MOVED] >= batch):
        m[channel + CH_WRITES] ^= 1
        m[channel + CH_BEGAN], m[channel + CH_FREE] = m[channel + CH_TURNS], behind
        m[channel + CH_BEHIND] = behind = 0
    free = m[channel + CH_FREE]
    if write == m[channel + CH_WRITES]:
        end = after_refresh(m, channel, max(arrive, free), ticks)
        m[channel + CH_FREE] = end
        if behind > 0:
            m[channel + CH_BEHIND] = max(behind, end) + ticks
            m[channel + CH_TURNS] = max(m[channel + CH_TURNS], end + turn)
            m[channel + CH_MOVED] += ticks
        return end
    if behind == 0:  # begins to wait
        behind = free + turn
        m[channel + CH_TURNS] = max(arrive, behind)
        m[channel + CH_MOVED] = max(free - max(arrive, m[channel + CH_BEGAN]), 0)
    end = after_refresh(m, channel, max(arrive, behind), ticks)
    m[channel + CH_BEHIND] = end
    return end


@kernel("i8(i8[::1],i8,i8,i8,b1,b1)")
def _opened(m, bank, row, enter, idle, write):
    """When a row of a bank is open. On a busy bus a direction finds the row that its batch left."""
    ready, every = max(enter, m[bank + B_FREE]), m[C_REFRESH_EVERY]
    interval = 0
    if every > 0:
        interval = ready // every
        ready = max(ready, interval * every + m[C_REFRESH] - m[C_OPEN])  # it closes all rows
    mine = bank + (B_WRITTEN if write else B_READ)
    if m[bank + B_INTERVAL] != interval:
        ready += m[C_OPEN]
        m[bank + B_INTERVAL], m[bank + B_READ], m[bank + B_WRITTEN] = interval, -1, -1
    elif m[bank + B_ROW if idle or m[mine] < 0 else mine] != row:
        ready += m[C_MISS]
    m[bank + B_ROW], m[mine] = row, row
    return ready


@kernel("i8(i8[::1],i8)")
def room_at(m, p):
    """When the controller's queue has room for the next atom."""
    return m[m[p + ATOMS] + m[p + ATOM_NUMBER] % ATOMS_SEEN]


@kernel("i8(i8[::1],i8,i8,i8,i8,b1)")
def _span(m, p, at, size, arrive, write):
    """Book bytes of one memory row; returns when they are through."""
    first, last = at // ATOM_BYTES, (at + size - 1) // ATOM_BYTES
    if first == m[p + ATOM_LAST] and arrive < m[p + ATOM_END]:
        first += 1  # came with the row before
    count = last - first + 1
    if count <= 0:
        return m[p + ATOM_END]
    seen, ring = m[p + ATOM_NUMBER], m[p + ATOMS]
    enter = max(arrive, room_at(m, p))
    padded = count * ATOM_BYTES
    page = quotient(m, at, C_ROW_BYTES)
    row = quotient(m, page, C_BANKS)
    bank = m[BANKS_AT] + remainder(m, page + row, C_BANKS) * B_SIZE
    busy = max(m[m[CHANNELS_AT] + CH_FREE], m[m[CHANNELS_AT] + CH_BEHIND])
    idle = enter >= busy  # nothing to transfer until this row is open
    other = m[bank + (B_READ if write else B_WRITTEN)]
    fought = other == m[bank + B_ROW] != row and m[bank + B_FREE] > enter
    turn = max(m[C_TURN], m[C_MISS]) if fought else m[C_TURN]
    ready = _opened(m, bank, row, enter, idle, write)
    start = min(ready, enter + m[C_MISS]) if idle else enter
    through = _bus(m, start, padded, write, turn)
    end = max(through, ready + cost(padded, m[C_CHANNEL_RATE]))
    m[bank + B_FREE] = end
    oldest = m[ring + (seen + ATOMS_SEEN - 1) % ATOMS_SEEN]
    for k in range(count):
        left = cost((count - 1 - k) * ATOM_BYTES, m[C_CHANNEL_RATE])
        oldest = max(oldest, end - left)
        m[ring + (seen + k) % ATOMS_SEEN] = oldest
    m[p + ATOM_NUMBER] = seen + count
    m[p + ATOM_LAST], m[p + ATOM_END] = last, end
    return end


@kernel("void(i8[::1],i8,i8,i8,i8,i8,b1)")
def rows(m, p, pos, size, arrive, port, write):
    """Book bytes [pos, pos + size) of the queue's transfer; the port takes `port` ticks."""
    row, end, done = m[p + M_ROW], arrive, 0
    while done < size:
        at = place_of(m, p, pos + done)
        part = min(size - done, row - (pos + done) % row)
        part = min(part, m[C_ROW_BYTES] - remainder(m, at, C_ROW_BYTES))
        there = done + min(part, ATOM_BYTES) if write else done  # a write when its atom is whole
        end = max(end, _span(m, p, at, part, arrive + port * there // size, write))
        done += part
    m[m[EDGES_AT] + E_BYTES] += size
    m[m[EDGES_AT] + E_FINISH] = max(m[m[EDGES_AT] + E_FINISH], end)
