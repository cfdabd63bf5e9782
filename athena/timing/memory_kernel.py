"""Contended memory: granules through ports, mesh links, L2 slices and HBM channels.

In:  a transfer of a DMA word (columns M_… and INJ_… of its queue). Out: when its bytes are visible; servers' next-free times.

Every server (link, cluster port, L2 slice, channel bus, bank) keeps the time until which it is booked. A granule books all servers of its
path when it is injected, each from its nominal arrival there, and is finished when the slowest is: queueing at one server does not block
the others, as with buffers in between. A channel's bus is booked in order of injection and never idles while work waits (the controller
reorders around bank conflicts); a bank is busy from activation to the end of the transfer, so that conflicts delay the granules concerned.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from athena.isa.fields import Queue
from athena.timing.event_kernel import push
from athena.timing.layout import (
    ATOM_BYTES,
    B_FREE,
    B_ROW,
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
    C_ROW_BYTES,
    C_TURN,
    CH_EDGE,
    CH_FREE,
    CH_READ,
    CH_REFRESH,
    CH_WRITTEN,
    CLUSTER,
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
    PHASE_GRANULE,
    RATE_SHIFT,
    READY,
    TICKS,
    W_BYTES,
    W_FINISH,
    WIN_BYTES,
    WIN_COUNT,
    WIN_HEAD,
    WIN_LIMIT,
    WRITE_BATCH_BYTES,
)

CDMA_IN = int(Queue.CDMA_IN)
SPREAD = 0x9E3779B1  # odd multiplier that stands for the row numbers of a COPYX, which timing does not know


@njit(cache=True)
def cost(size, rate):
    """Ticks that `size` bytes take at a server of `rate`."""
    if size > 1 << 24 or rate > 1 << 36:
        return int(min(float(size) * rate / (1 << RATE_SHIFT), 1e18))
    return size * rate >> RATE_SHIFT


@njit(cache=True)
def book(servers, server, arrive, ticks):
    """Book `ticks` at a server from `arrive` on; returns when they end."""
    end = max(servers[server], arrive) + ticks
    servers[server] = end
    return end


@njit(cache=True)
def channel_of(c, chunk):
    """Channel of an interleave chunk: its low address bits XOR the folded higher ones (a rotation if channels is no power of two)."""
    channels = c[C_CHANNELS]
    if channels == 1:
        return 0
    group, bits = chunk // channels, c[C_CHANNEL_BITS]
    fold = np.int64(0)
    rest = group
    while rest > 0:
        fold ^= rest
        rest >>= bits
    if 1 << bits == channels:
        return (chunk ^ fold) & (channels - 1)
    return (chunk + fold) % channels


@njit(cache=True)
def after_refresh(c, phase, start, work):
    """When `work` ticks begun at `start` end, if refresh windows block the channel every interval, first at `phase`."""
    every, blocked = c[C_REFRESH_EVERY], c[C_REFRESH]
    if every == 0 or blocked == 0:
        return start + work
    into = (start - phase) % every
    base = start - into
    done = max(into - blocked, 0) + work
    usable = every - blocked
    periods = done // usable
    rest = done - periods * usable
    if rest == 0 and periods > 0:
        periods -= 1
        rest = usable
    return base + periods * every + blocked + rest


@njit(cache=True)
def _bus(g, c, channels, ch, arrive, size, write):
    """Book a channel's data bus; a batch of writes between reads turns it around twice."""
    ticks = cost(size, c[C_CHANNEL_RATE])
    g[G_HBM_TICKS] += ticks
    if write:
        channels[ch, CH_WRITTEN] += size
        if channels[ch, CH_WRITTEN] >= WRITE_BATCH_BYTES:
            ticks += 2 * c[C_TURN] * channels[ch, CH_READ]
            channels[ch, CH_READ] = 0
            channels[ch, CH_WRITTEN] %= WRITE_BATCH_BYTES
    else:
        channels[ch, CH_READ] = 1
    start = max(arrive, channels[ch, CH_FREE])
    end = after_refresh(c, channels[ch, CH_REFRESH], start, ticks)
    channels[ch, CH_FREE] = end
    return end


@njit(cache=True)
def _share(g, c, channels, banks, edges, ch, chunk, offset, size, arrive, write):
    """Book `size` bytes in one channel, starting at byte `offset` of interleave chunk `chunk`."""
    padded = -(-(offset % ATOM_BYTES + size) // ATOM_BYTES) * ATOM_BYTES
    end = _bus(g, c, channels, ch, arrive, padded, write)
    local = chunk // c[C_CHANNELS] * c[C_INTERLEAVE] + offset
    page = local // c[C_ROW_BYTES]
    per = c[C_BANKS]
    row = page // per
    bank = ch * per + (page + row) % per
    ready = max(arrive, banks[bank, B_FREE])
    if banks[bank, B_ROW] != row:
        ready += c[C_MISS]
        banks[bank, B_ROW] = row
    first = min(padded, c[C_ROW_BYTES])
    end = max(end, ready + cost(first, c[C_CHANNEL_RATE]))
    banks[bank, B_FREE] = ready + cost(first, c[C_CHANNEL_RATE])
    edge = channels[ch, CH_EDGE]
    edges[edge, E_BYTES] += size
    edges[edge, E_FINISH] = max(edges[edge, E_FINISH], end)


@njit(cache=True)
def _piece(g, c, channels, banks, edges, at, size, arrive, write):
    """Book a contiguous piece of memory, each channel for its share."""
    interleave, count = c[C_INTERLEAVE], c[C_CHANNELS]
    first = at // interleave
    last = (at + size - 1) // interleave
    chunks = last - first + 1
    if chunks <= count:
        while size > 0:
            offset = at % interleave
            part = min(size, interleave - offset)
            chunk = at // interleave
            _share(g, c, channels, banks, edges, channel_of(c, chunk), chunk, offset, part, arrive, write)
            at += part
            size -= part
        return
    whole, rest = size // count, size % count
    for j in range(count):
        chunk = first + j
        part = whole + (1 if j < rest else 0)
        _share(g, c, channels, banks, edges, channel_of(c, chunk), chunk, 0, part, arrive, write)


@njit(cache=True)
def _scattered(g, c, channels, edges, pieces, piece, size, arrive, write):
    """Book many small pieces: spread evenly over channels and banks, a row miss each."""
    count = c[C_CHANNELS]
    padded = pieces * (-(-piece // ATOM_BYTES) * ATOM_BYTES)
    whole, rest = size // count, size % count
    misses = -(-pieces // count)
    rows_ticks = misses * (c[C_MISS] + cost(piece, c[C_CHANNEL_RATE])) // c[C_BANKS]
    for ch in range(count):
        end = _bus(g, c, channels, ch, arrive, max(padded, size) // count, write)
        edge = channels[ch, CH_EDGE]
        edges[edge, E_BYTES] += whole + (1 if ch < rest else 0)
        edges[edge, E_FINISH] = max(edges[edge, E_FINISH], max(end, arrive + c[C_MISS] + rows_ticks))


@njit(cache=True)
def _channels(g, q, x, c, channels, banks, edges, pos, size, arrive, write):
    """Book the HBM side of bytes [pos, pos + size) of the queue's transfer."""
    row, rows, table = q[x, M_ROW], q[x, M_ROWS], q[x, M_TABLE]
    pieces = (pos + size - 1) // row - pos // row + 1
    chunks = 1 + row // c[C_INTERLEAVE]
    if pieces > 1 and pieces * chunks > 2 * c[C_CHANNELS]:
        _scattered(g, c, channels, edges, pieces, min(row, size), size, arrive, write)
        return
    while size > 0:
        number, offset = pos // row, pos % row
        part = min(size, row - offset)
        if table > 0:
            at = q[x, M_ADDR] + number * SPREAD % table * q[x, M_PITCH] + offset
        else:
            at = q[x, M_ADDR] + number // rows * q[x, M_BSTRIDE] + number % rows * q[x, M_STRIDE] + offset
        _piece(g, c, channels, banks, edges, at, part, arrive, write)
        pos += part
        size -= part


@njit(cache=True)
def _tree(c, servers, routes, edges, edge, mask, arrive, counts):
    """Book the links of a multicast from one memory edge: each link of the union of the routes carries the bytes once."""
    clusters = c[C_CLUSTERS]
    used = np.zeros(4 * clusters, np.int64)
    size, finish = edges[edge, E_BYTES], edges[edge, E_FINISH]
    ticks = cost(size, c[C_LINK_RATE])
    end = finish
    for cluster in range(min(clusters, 48)):
        if mask >> cluster & 1:
            length = routes[cluster, edge, 0]
            for k in range(1, length + 1):
                link = routes[cluster, edge, k]
                if used[link] == 0:
                    used[link] = book(servers, 3 * clusters + link, arrive, ticks)
                    counts[N_HOPS] += size
                end = max(end, used[link])
            end = max(end, finish + length * c[C_HOP] * TICKS)
    return end


@njit(cache=True)
def _links(c, servers, routes, edges, edge, route, arrive, counts):
    """Book the links between one memory edge and a cluster; returns the finish at the far end."""
    size, end = edges[edge, E_BYTES], edges[edge, E_FINISH]
    length = routes[route, edge, 0]
    ticks = cost(size, c[C_LINK_RATE])
    for k in range(1, length + 1):
        end = max(end, book(servers, 3 * c[C_CLUSTERS] + routes[route, edge, k], arrive, ticks))
    counts[N_HOPS] += size * length
    return end + length * c[C_HOP] * TICKS


@njit(cache=True)
def _memory(g, q, x, c, servers, channels, banks, routes, edges, counts, size, at):
    """Book memory, mesh and cluster ports for a granule injected at tick `at`; returns when its bytes are visible."""
    write = q[x, M_DIR] == DIR_WRITE
    clusters, cluster, mask = c[C_CLUSTERS], q[x, CLUSTER], q[x, M_MASK]
    request = c[C_HBM_LATENCY] // 2 * TICKS
    arrive = at + request
    for edge in range(c[C_EDGES]):
        edges[edge, E_BYTES] = 0
        edges[edge, E_FINISH] = 0
    _channels(g, q, x, c, channels, banks, edges, q[x, INJ_POS], size, arrive, write)
    end = arrive
    for edge in range(c[C_EDGES]):
        if edges[edge, E_BYTES] > 0:
            if mask:
                end = max(end, _tree(c, servers, routes, edges, edge, mask, arrive, counts))
            else:
                route = cluster + clusters if write else cluster
                end = max(end, _links(c, servers, routes, edges, edge, route, arrive, counts))
    ticks = cost(size, c[C_PORT_RATE])
    if mask:
        for receiver in range(min(clusters, 48)):
            if mask >> receiver & 1:
                end = max(end, book(servers, receiver, arrive, ticks))
                end = max(end, book(servers, 2 * clusters + receiver, arrive, cost(size, c[C_L2_RATE])))
    else:
        end = max(end, book(servers, cluster + clusters if write else cluster, arrive, ticks))
    return end + c[C_HBM_LATENCY] * TICKS - request


@njit(cache=True)
def begin_transfer(q, x, d, c, window, time):
    """Load the demand d of a word into its queue's injector, contiguous rows and blocks merged."""
    size, row, rows = d[D_BYTES], d[D_ROW], d[D_ROWS]
    blocks = size // (row * rows)
    if d[D_TABLE] == 0:
        if rows == 1 or d[D_STRIDE] == row:
            row, rows = row * rows, 1
        if rows == 1 and (blocks == 1 or d[D_BSTRIDE] == row):
            row = row * blocks
    q[x, M_BYTES], q[x, M_ROW], q[x, M_ROWS] = size, row, rows
    q[x, M_ADDR], q[x, M_STRIDE], q[x, M_BSTRIDE] = d[D_ADDR], d[D_STRIDE], d[D_BSTRIDE]
    q[x, M_DIR], q[x, M_L2], q[x, M_MASK] = d[D_DIR], d[D_L2], d[D_MASK]
    q[x, M_TABLE], q[x, M_PITCH] = d[D_TABLE], d[D_PITCH]
    q[x, M_LATENCY] = c[C_HBM_LATENCY] if d[D_DIR] else c[C_L2_LATENCY]
    q[x, INJ_LEFT], q[x, INJ_POS], q[x, INJ_FINISH] = size, 0, 0
    q[x, INJ_SIZE] = max(GRANULE_BYTES, -(-size // GRANULES))
    q[x, INJ_BEATS] = d[D_CYCLES] * TICKS
    q[x, INJ_AT] = max(q[x, INJ_AT], time * TICKS)
    _make_room(q, x, window, min(size, q[x, INJ_SIZE]))


@njit(cache=True)
def _make_room(q, x, window, size):
    """Delay the next granule until the bytes that the queue has outstanding leave room for it."""
    ring = window.shape[1]
    while q[x, WIN_COUNT] > 0 and (q[x, WIN_BYTES] > q[x, WIN_LIMIT] + size or q[x, WIN_COUNT] == ring):
        head = q[x, WIN_HEAD]
        q[x, INJ_AT] = max(q[x, INJ_AT], window[x, head, W_FINISH])
        q[x, WIN_BYTES] -= window[x, head, W_BYTES]
        q[x, WIN_HEAD] = (head + 1) % ring
        q[x, WIN_COUNT] -= 1


@njit(cache=True)
def inject(heap, g, q, x, c, servers, channels, banks, routes, window, edges, counts, time):
    """Inject the next granule of queue x if its time has come, else schedule it. Returns the word's completion, -1 if not known yet."""
    at = q[x, INJ_AT]
    if at > time * TICKS:
        push(heap, g, -(-at // TICKS), PHASE_GRANULE, x)
        return -1
    size = min(q[x, INJ_SIZE], q[x, INJ_LEFT])
    port = q[x, INJ_BEATS] * size // q[x, M_BYTES]
    finish = at + port + q[x, M_LATENCY] * TICKS
    if q[x, M_DIR] != DIR_NONE:
        end = _memory(g, q, x, c, servers, channels, banks, routes, edges, counts, size, at)
        finish = max(finish, end)
    if q[x, M_L2] and q[x, M_MASK] == 0:
        clusters = c[C_CLUSTERS]
        ticks = cost(size * q[x, M_L2], c[C_L2_RATE])
        delay = q[x, M_LATENCY] * TICKS
        finish = max(finish, book(servers, 2 * clusters + q[x, CLUSTER], at, ticks) + delay)
    q[x, INJ_FINISH] = max(q[x, INJ_FINISH], finish)
    q[x, INJ_LEFT] -= size
    q[x, INJ_POS] += size
    q[x, INJ_AT] = at + port
    entry = (q[x, WIN_HEAD] + q[x, WIN_COUNT]) % window.shape[1]
    window[x, entry, W_FINISH], window[x, entry, W_BYTES] = finish, size
    q[x, WIN_COUNT] += 1
    q[x, WIN_BYTES] += size
    if q[x, INJ_LEFT] > 0:
        _make_room(q, x, window, min(q[x, INJ_SIZE], q[x, INJ_LEFT]))
        q[x, INJ_AT] = max(q[x, INJ_AT], at + 1)
        push(heap, g, max(time, -(-q[x, INJ_AT] // TICKS)), PHASE_GRANULE, x)
        return -1
    q[x, READY] = max(time + 1, -(-q[x, INJ_AT] // TICKS))
    return max(-(-q[x, INJ_FINISH] // TICKS), q[x, LAST])


@njit(cache=True)
def count_fixed(g, q, x, d, c, routes, counts):
    """With fixed-latency memory: mean hops over the memory edges, and the time that the bytes take at full bandwidth."""
    total = 0
    for edge in range(c[C_EDGES]):
        total += routes[q[x, CLUSTER], edge, 0]
    counts[N_HOPS] += d[D_BYTES] * total // c[C_EDGES]
    g[G_HBM_TICKS] += cost(d[D_BYTES], c[C_CHANNEL_RATE])
