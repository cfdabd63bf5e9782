"""Main memory: interleaving over channels, data buses, banks, refresh.

In:  a piece of a transfer and its arrival, in ticks. Out: bytes and finish of each memory edge
     (E_…).

A channel's bus is booked in order of injection and never idles while work waits: the controller is
taken to reorder around bank conflicts. A bank is busy from activation to the end of its transfer,
so that conflicts delay the granules concerned. Refresh blocks a channel for refresh_ns +
row_miss_ns once an interval (rows are closed before it and opened after it), the channels
staggered.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.timing.jit import kernel
from athena.timing.layout import (
    ATOM_BYTES,
    B_FREE,
    B_ROW,
    B_SIZE,
    BANKS_AT,
    BATCH_BYTES,
    C_BANKS,
    C_CHANNEL_BITS,
    C_CHANNEL_RATE,
    C_CHANNELS,
    C_INTERLEAVE,
    C_MISS,
    C_REFRESH,
    C_REFRESH_EVERY,
    C_ROW_BYTES,
    C_TURN,
    CH_EDGE,
    CH_FREE,
    CH_OPEN,
    CH_READ,
    CH_REFRESH,
    CH_SIZE,
    CH_WRITTEN,
    CHANNELS_AT,
    DYNAMIC,
    E_BYTES,
    E_FINISH,
    E_SIZE,
    EDGES_AT,
    G_HBM_TICKS,
    M_ADDR,
    M_BSTRIDE,
    M_PITCH,
    M_ROW,
    M_ROWS,
    M_STRIDE,
    M_TABLE,
    NUMBER,
    RATE_SHIFT,
)

MIX = 0x45D9F3B  # odd multiplier of `mixed`


@kernel("i8(i8,i8)")
def cost(size, rate):
    """Ticks that `size` bytes take at a server of `rate`."""
    if size > 1 << 24 or rate > 1 << 36:
        return int(min(float(size) * rate / (1 << RATE_SHIFT), 1e18))
    return size * rate >> RATE_SHIFT


@kernel("i8(i8[::1],i8,i8)")
def quotient(m, value, place):
    """Value // m[place], by a shift where m[place + 1] gives one."""
    shift = m[place + 1]
    return value >> shift if shift >= 0 else value // m[place]


@kernel("i8(i8[::1],i8,i8)")
def remainder(m, value, place):
    """Value % m[place]."""
    return value & (m[place] - 1) if m[place + 1] >= 0 else value % m[place]


@kernel("i8(i8[::1],i8)")
def channel_of(m, chunk):
    """Channel of an interleave chunk: its low bits XOR the folded higher ones (rotated by them if
    channels is no power of two).
    """
    channels, bits = m[C_CHANNELS], m[C_CHANNEL_BITS]
    rest = quotient(m, chunk, C_CHANNELS)
    fold = 0
    while rest > 0:
        fold ^= rest
        rest >>= bits
    if m[C_CHANNELS + 1] >= 0:
        return (chunk ^ fold) & (channels - 1)
    return (chunk + fold) % channels


@kernel("i8(i8[::1],i8,i8,i8)")
def after_refresh(m, channel, start, work):
    """When `work` ticks begun at `start` end on a channel that refresh blocks once an interval,
    first at CH_REFRESH.

    CH_OPEN keeps the end of the interval that the channel's last transfer ended in.
    """
    every, blocked = m[C_REFRESH_EVERY], m[C_REFRESH]
    if every == 0 or blocked == 0:
        return start + work
    close = m[channel + CH_OPEN]
    if start + work <= close and start >= close - every + blocked:
        return start + work
    into = (start - m[channel + CH_REFRESH]) % every
    base = start - into
    done = max(into - blocked, 0) + work
    usable = every - blocked
    periods = (done - 1) // usable if done > 0 else 0
    m[channel + CH_OPEN] = base + (periods + 1) * every
    return base + periods * every + blocked + done - periods * usable


@kernel("i8(i8[::1],i8,i8,i8,b1)")
def _bus(m, ch, arrive, size, write):
    """Book a channel's data bus; a batch of writes between reads turns it around twice."""
    channel = m[CHANNELS_AT] + ch * CH_SIZE
    ticks = cost(size, m[C_CHANNEL_RATE])
    m[G_HBM_TICKS] += ticks
    if write:
        m[channel + CH_WRITTEN] += size
        if m[channel + CH_WRITTEN] >= BATCH_BYTES:
            ticks += 2 * m[C_TURN] * m[channel + CH_READ]
            m[channel + CH_READ] = 0
            m[channel + CH_WRITTEN] %= BATCH_BYTES
    else:
        m[channel + CH_READ] = 1
    start = max(arrive, m[channel + CH_FREE])
    end = after_refresh(m, channel, start, ticks)
    m[channel + CH_FREE] = end
    return end


@kernel("void(i8[::1],i8,i8,i8,i8,i8,b1)")
def _share(m, ch, chunk, offset, size, arrive, write):
    """Book `size` bytes in one channel, starting at byte `offset` of interleave chunk `chunk`."""
    padded = (offset % ATOM_BYTES + size + ATOM_BYTES - 1) // ATOM_BYTES * ATOM_BYTES
    end = _bus(m, ch, arrive, padded, write)
    local = quotient(m, chunk, C_CHANNELS) * m[C_INTERLEAVE] + offset
    page = quotient(m, local, C_ROW_BYTES)
    per = m[C_BANKS]
    row = quotient(m, page, C_BANKS)
    bank = m[BANKS_AT] + (ch * per + remainder(m, page + row, C_BANKS)) * B_SIZE
    ready = max(arrive, m[bank + B_FREE])
    if m[bank + B_ROW] != row:
        ready += m[C_MISS]
        m[bank + B_ROW] = row
    first = min(padded, m[C_ROW_BYTES])
    end = max(end, ready + cost(first, m[C_CHANNEL_RATE]))
    m[bank + B_FREE] = ready + cost(first, m[C_CHANNEL_RATE])
    edge = m[EDGES_AT] + m[m[CHANNELS_AT] + ch * CH_SIZE + CH_EDGE] * E_SIZE
    m[edge + E_BYTES] += size
    m[edge + E_FINISH] = max(m[edge + E_FINISH], end)


@kernel("void(i8[::1],i8,i8,i8,b1)")
def _piece(m, at, size, arrive, write):
    """Book a contiguous piece of memory, each channel for its share."""
    interleave, count = m[C_INTERLEAVE], m[C_CHANNELS]
    first = quotient(m, at, C_INTERLEAVE)
    last = quotient(m, at + size - 1, C_INTERLEAVE)
    chunks = last - first + 1
    if chunks <= count:
        while size > 0:
            offset = remainder(m, at, C_INTERLEAVE)
            part = min(size, interleave - offset)
            chunk = quotient(m, at, C_INTERLEAVE)
            _share(m, channel_of(m, chunk), chunk, offset, part, arrive, write)
            at += part
            size -= part
        return
    whole, rest = size // count, size % count
    for j in range(count):
        chunk = first + j
        part = whole + (1 if j < rest else 0)
        _share(m, channel_of(m, chunk), chunk, 0, part, arrive, write)


@kernel("void(i8[::1],i8,i8,i8,i8,b1)")
def _scattered(m, pieces, piece, size, arrive, write):
    """Book many small pieces: spread evenly over channels and banks, a row miss each."""
    count = m[C_CHANNELS]
    padded = pieces * (-(-piece // ATOM_BYTES) * ATOM_BYTES)
    whole, rest = size // count, size % count
    misses = -(-pieces // count)
    rows_ticks = misses * (m[C_MISS] + cost(piece, m[C_CHANNEL_RATE])) // m[C_BANKS]
    for ch in range(count):
        end = _bus(m, ch, arrive, max(padded, size) // count, write)
        edge = m[EDGES_AT] + m[m[CHANNELS_AT] + ch * CH_SIZE + CH_EDGE] * E_SIZE
        m[edge + E_BYTES] += whole + (1 if ch < rest else 0)
        m[edge + E_FINISH] = max(m[edge + E_FINISH], max(end, arrive + m[C_MISS] + rows_ticks))


@kernel("i8(i8)")
def mixed(value):
    """A number below 2^32 that looks like chance, for the row numbers of a COPYX, which timing does
    not know.
    """
    for _ in range(2):
        value = ((value >> 16 ^ value) * MIX) & 0xFFFFFFFF
    return value >> 16 ^ value


@kernel("i8(i8[::1],i8,i8)")
def place_of(m, p, pos):
    """Where in memory byte `pos` of the queue's transfer lies."""
    row, rows, table = m[p + M_ROW], m[p + M_ROWS], m[p + M_TABLE]
    number, offset = pos // row, pos % row
    if table > 0:
        salt = m[p + NUMBER] * 7919 + m[p + DYNAMIC] * 104729  # other rows in every queue and word
        return m[p + M_ADDR] + mixed(number + salt) % table * m[p + M_PITCH] + offset
    block = number // rows * m[p + M_BSTRIDE]
    return m[p + M_ADDR] + block + number % rows * m[p + M_STRIDE] + offset


@kernel("void(i8[::1],i8,i8,i8,i8,b1)")
def channels(m, p, pos, size, arrive, write):
    """Book the HBM side of bytes [pos, pos + size) of the queue's transfer."""
    row = m[p + M_ROW]
    pieces = (pos + size - 1) // row - pos // row + 1
    chunks = 1 + row // m[C_INTERLEAVE]
    if pieces > 1 and pieces * chunks > 2 * m[C_CHANNELS]:
        _scattered(m, pieces, min(row, size), size, arrive, write)
        return
    while size > 0:
        part = min(size, row - pos % row)
        _piece(m, place_of(m, p, pos), part, arrive, write)
        pos += part
        size -= part
