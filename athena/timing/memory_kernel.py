"""Contended memory: granules through ports, mesh links, L2 slices and HBM channels.

In:  a transfer of a DMA word (columns M_… and INJ_… of its queue). Out: when its bytes are visible; servers' next-free times.

Every server (link, cluster port, L2 slice, channel bus, bank) keeps the time until which it is booked. A granule books all servers of its
path when it is injected, each from its nominal arrival there, and is finished when the slowest is: queueing at one server does not block
the others, as with buffers in between. A channel's bus is booked in order of injection and never idles while work waits (the controller
reorders around bank conflicts); a bank is busy from activation to the end of the transfer, so that conflicts delay the granules concerned.
"""

from __future__ import annotations

from athena.timing.event_kernel import (
    push,
)
from athena.timing.jit import kernel
from athena.timing.layout import (
    ATOM_BYTES,
    B_FREE,
    B_ROW,
    B_SIZE,
    BANKS_AT,
    C_BANKS,
    C_CHANNEL_BITS,
    C_CHANNEL_RATE,
    C_CHANNELS,
    C_CLUSTERS,
    C_EDGES,
    C_HBM_LATENCY,
    C_HOP,
    C_INTERLEAVE,
    C_L2_LATENCY,
    C_L2_RATE,
    C_LINK_RATE,
    C_MISS,
    C_PORT_RATE,
    C_REFRESH,
    C_REFRESH_EVERY,
    C_RING,
    C_ROUTE,
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
    CLUSTER,
    COUNTS_AT,
    D_ADDR,
    D_BSTRIDE,
    D_BYTES,
    D_CYCLES,
    D_DIR,
    D_L2,
    D_MASK,
    D_PITCH,
    D_ROW,
    D_ROWS,
    D_STRIDE,
    D_TABLE,
    DIR_NONE,
    DIR_WRITE,
    E_BYTES,
    E_FINISH,
    E_SIZE,
    EDGES_AT,
    G_HBM_TICKS,
    GRANULE_BYTES,
    GRANULES,
    INJ_AT,
    INJ_BEATS,
    INJ_FINISH,
    INJ_LEFT,
    INJ_POS,
    INJ_SIZE,
    LAST,
    LINKS_USED_AT,
    M_ADDR,
    M_BSTRIDE,
    M_BYTES,
    M_DIR,
    M_L2,
    M_LATENCY,
    M_MASK,
    M_PITCH,
    M_ROW,
    M_ROWS,
    M_STRIDE,
    M_TABLE,
    N_HOPS,
    NUMBER,
    PHASE_GRANULE,
    RATE_SHIFT,
    READY,
    ROUTES_AT,
    SERVERS_AT,
    TICKS,
    W_BYTES,
    W_FINISH,
    W_SIZE,
    WIN_BYTES,
    WIN_COUNT,
    WIN_HEAD,
    WIN_LIMIT,
    WINDOW,
    WRITE_BATCH_BYTES,
)

MASK_BITS = 48  # bits of an areg: masks name clusters 0 to 47
SPREAD = 0x9E3779B1  # odd multiplier that stands for the row numbers of a COPYX, which timing does not know


@kernel("i8(i8,i8)")
def cost(size, rate):
    """Ticks that `size` bytes take at a server of `rate`."""
    if size > 1 << 24 or rate > 1 << 36:
        return int(min(float(size) * rate / (1 << RATE_SHIFT), 1e18))
    return size * rate >> RATE_SHIFT


@kernel("i8(i8[::1],i8,i8,i8)")
def book(m, server, arrive, ticks):
    """Book `ticks` at a server from `arrive` on; returns when they end."""
    place = m[SERVERS_AT] + server
    end = max(m[place], arrive) + ticks
    m[place] = end
    return end


@kernel("i8(i8[::1],i8,i8)")
def quotient(m, value, place):
    """value // m[place], by a shift where m[place + 1] gives one."""
    shift = m[place + 1]
    return value >> shift if shift >= 0 else value // m[place]


@kernel("i8(i8[::1],i8,i8)")
def remainder(m, value, place):
    """value % m[place]."""
    return value & (m[place] - 1) if m[place + 1] >= 0 else value % m[place]


@kernel("i8(i8[::1],i8)")
def channel_of(m, chunk):
    """Channel of an interleave chunk: its low bits XOR the folded higher ones (rotated by them if channels is no power of two)."""
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
    """When `work` ticks begun at `start` end on a channel that refresh blocks once an interval, first at CH_REFRESH.

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
        if m[channel + CH_WRITTEN] >= WRITE_BATCH_BYTES:
            ticks += 2 * m[C_TURN] * m[channel + CH_READ]
            m[channel + CH_READ] = 0
            m[channel + CH_WRITTEN] %= WRITE_BATCH_BYTES
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


@kernel("void(i8[::1],i8,i8,i8,i8,b1)")
def _channels(m, p, pos, size, arrive, write):
    """Book the HBM side of bytes [pos, pos + size) of the queue's transfer."""
    row, rows, table = m[p + M_ROW], m[p + M_ROWS], m[p + M_TABLE]
    pieces = (pos + size - 1) // row - pos // row + 1
    chunks = 1 + row // m[C_INTERLEAVE]
    if pieces > 1 and pieces * chunks > 2 * m[C_CHANNELS]:
        _scattered(m, pieces, min(row, size), size, arrive, write)
        return
    while size > 0:
        number, offset = pos // row, pos % row
        part = min(size, row - offset)
        if table > 0:
            at = m[p + M_ADDR] + number * SPREAD % table * m[p + M_PITCH] + offset
        else:
            at = (
                m[p + M_ADDR]
                + number // rows * m[p + M_BSTRIDE]
                + number % rows * m[p + M_STRIDE]
                + offset
            )
        _piece(m, at, part, arrive, write)
        pos += part
        size -= part


@kernel("i8(i8[::1],i8,i8)")
def _route(m, row, edge):
    """Place of a route: its length, then its links."""
    return m[ROUTES_AT] + (row * m[C_EDGES] + edge) * m[C_ROUTE]


@kernel("i8(i8[::1],i8,i8,i8)")
def _tree(m, edge, mask, arrive):
    """Book the links of a multicast from one memory edge: each link of the union of the routes carries the bytes once."""
    clusters = m[C_CLUSTERS]
    used = m[LINKS_USED_AT]
    for link in range(4 * clusters):
        m[used + link] = 0
    share = m[EDGES_AT] + edge * E_SIZE
    size, finish = m[share + E_BYTES], m[share + E_FINISH]
    ticks = cost(size, m[C_LINK_RATE])
    end = finish
    for cluster in range(min(clusters, MASK_BITS)):
        if mask >> cluster & 1:
            route = _route(m, cluster, edge)
            length = m[route]
            for k in range(1, length + 1):
                link = m[route + k]
                if m[used + link] == 0:
                    m[used + link] = book(m, 3 * clusters + link, arrive, ticks)
                    m[COUNTS_AT + N_HOPS] += size
                end = max(end, m[used + link])
            end = max(end, finish + length * m[C_HOP] * TICKS)
    return end


@kernel("i8(i8[::1],i8,i8,i8)")
def _links(m, edge, route, arrive):
    """Book the links between one memory edge and a cluster; returns the finish at the far end."""
    share = m[EDGES_AT] + edge * E_SIZE
    size, end = m[share + E_BYTES], m[share + E_FINISH]
    way = _route(m, route, edge)
    length = m[way]
    ticks = cost(size, m[C_LINK_RATE])
    for k in range(1, length + 1):
        end = max(end, book(m, 3 * m[C_CLUSTERS] + m[way + k], arrive, ticks))
    m[COUNTS_AT + N_HOPS] += size * length
    return end + length * m[C_HOP] * TICKS


@kernel("i8(i8[::1],i8,i8,i8)")
def _memory(m, p, size, at):
    """Book memory, mesh and cluster ports for a granule injected at tick `at`; returns when its bytes are visible."""
    write = m[p + M_DIR] == DIR_WRITE
    clusters, cluster, mask = m[C_CLUSTERS], m[p + CLUSTER], m[p + M_MASK]
    request = m[C_HBM_LATENCY] // 2 * TICKS
    arrive = at + request
    for edge in range(m[C_EDGES]):
        share = m[EDGES_AT] + edge * E_SIZE
        m[share + E_BYTES] = 0
        m[share + E_FINISH] = 0
    _channels(m, p, m[p + INJ_POS], size, arrive, write)
    end = arrive
    for edge in range(m[C_EDGES]):
        if m[m[EDGES_AT] + edge * E_SIZE + E_BYTES] > 0:
            if mask:
                end = max(end, _tree(m, edge, mask, arrive))
            else:
                route = cluster + clusters if write else cluster
                end = max(end, _links(m, edge, route, arrive))
    ticks = cost(size, m[C_PORT_RATE])
    if mask:
        for receiver in range(min(clusters, MASK_BITS)):
            if mask >> receiver & 1:
                end = max(end, book(m, receiver, arrive, ticks))
                end = max(end, book(m, 2 * clusters + receiver, arrive, cost(size, m[C_L2_RATE])))
    else:
        end = max(end, book(m, cluster + clusters if write else cluster, arrive, ticks))
    return end + m[C_HBM_LATENCY] * TICKS - request


@kernel("void(i8[::1],i8,i8)")
def _make_room(m, p, size):
    """Delay the next granule until the bytes that the queue has outstanding leave room for it."""
    ring = m[C_RING]
    while m[p + WIN_COUNT] > 0 and (
        m[p + WIN_BYTES] > m[p + WIN_LIMIT] + size or m[p + WIN_COUNT] == ring
    ):
        head = m[p + WIN_HEAD]
        m[p + INJ_AT] = max(m[p + INJ_AT], m[m[p + WINDOW] + head * W_SIZE + W_FINISH])
        m[p + WIN_BYTES] -= m[m[p + WINDOW] + head * W_SIZE + W_BYTES]
        m[p + WIN_HEAD] = (head + 1) % ring
        m[p + WIN_COUNT] -= 1


@kernel("void(i8[::1],i8,i8)")
def begin_transfer(m, p, time):
    """Load the demand D_… of a word into its queue's injector, contiguous rows and blocks merged."""
    size, row, rows = m[D_BYTES], m[D_ROW], m[D_ROWS]
    blocks = size // (row * rows)
    if m[D_TABLE] == 0:
        if rows == 1 or m[D_STRIDE] == row:
            row, rows = row * rows, 1
        if rows == 1 and (blocks == 1 or m[D_BSTRIDE] == row):
            row = row * blocks
    m[p + M_BYTES], m[p + M_ROW], m[p + M_ROWS] = size, row, rows
    m[p + M_ADDR], m[p + M_STRIDE], m[p + M_BSTRIDE] = m[D_ADDR], m[D_STRIDE], m[D_BSTRIDE]
    m[p + M_DIR], m[p + M_L2], m[p + M_MASK] = m[D_DIR], m[D_L2], m[D_MASK]
    m[p + M_TABLE], m[p + M_PITCH] = m[D_TABLE], m[D_PITCH]
    m[p + M_LATENCY] = m[C_HBM_LATENCY] if m[D_DIR] else m[C_L2_LATENCY]
    m[p + INJ_LEFT], m[p + INJ_POS], m[p + INJ_FINISH] = size, 0, 0
    m[p + INJ_SIZE] = max(GRANULE_BYTES, -(-size // GRANULES))
    m[p + INJ_BEATS] = m[D_CYCLES] * TICKS
    m[p + INJ_AT] = max(m[p + INJ_AT], time * TICKS)
    _make_room(m, p, min(size, m[p + INJ_SIZE]))


@kernel("i8(i8[::1],i8[::1],i8,i8)")
def inject(heap, m, p, time):
    """Inject the next granule of the queue if its time has come, else schedule it. Returns the word's completion, -1 if not known yet."""
    at = m[p + INJ_AT]
    if at > time * TICKS:
        push(heap, m, -(-at // TICKS), PHASE_GRANULE, m[p + NUMBER])
        return -1
    size = min(m[p + INJ_SIZE], m[p + INJ_LEFT])
    port = m[p + INJ_BEATS] * size // m[p + M_BYTES]
    finish = at + port + m[p + M_LATENCY] * TICKS
    if m[p + M_DIR] != DIR_NONE:
        end = _memory(m, p, size, at)
        finish = max(finish, end)
    if m[p + M_L2] and m[p + M_MASK] == 0:
        clusters = m[C_CLUSTERS]
        ticks = cost(size * m[p + M_L2], m[C_L2_RATE])
        delay = m[p + M_LATENCY] * TICKS
        finish = max(finish, book(m, 2 * clusters + m[p + CLUSTER], at, ticks) + delay)
    m[p + INJ_FINISH] = max(m[p + INJ_FINISH], finish)
    m[p + INJ_LEFT] -= size
    m[p + INJ_POS] += size
    m[p + INJ_AT] = at + port
    entry = m[p + WINDOW] + (m[p + WIN_HEAD] + m[p + WIN_COUNT]) % m[C_RING] * W_SIZE
    m[entry + W_FINISH], m[entry + W_BYTES] = finish, size
    m[p + WIN_COUNT] += 1
    m[p + WIN_BYTES] += size
    if m[p + INJ_LEFT] > 0:
        _make_room(m, p, min(m[p + INJ_SIZE], m[p + INJ_LEFT]))
        m[p + INJ_AT] = max(m[p + INJ_AT], at + 1)
        push(heap, m, max(time, -(-m[p + INJ_AT] // TICKS)), PHASE_GRANULE, m[p + NUMBER])
        return -1
    m[p + READY] = max(time + 1, -(-m[p + INJ_AT] // TICKS))
    return max(-(-m[p + INJ_FINISH] // TICKS), m[p + LAST])


@kernel("void(i8[::1],i8)")
def count_fixed(m, p):
    """With fixed-latency memory: mean hops over the memory edges, and the time that the bytes take at full bandwidth."""
    total = 0
    for edge in range(m[C_EDGES]):
        total += m[_route(m, m[p + CLUSTER], edge)]
    m[COUNTS_AT + N_HOPS] += m[D_BYTES] * total // m[C_EDGES]
    m[G_HBM_TICKS] += cost(m[D_BYTES], m[C_CHANNEL_RATE])
