"""Contended memory: granules through ports, mesh links, L2 slices and HBM channels.

In:  a transfer of a DMA word (columns M_… and INJ_… of its queue). Out: when its bytes are visible;
     servers' next-free times.

Every server (link, cluster port, L2 slice, channel bus, bank) keeps the time until which it is
booked. A granule books all servers of its path when it is injected, each from its nominal arrival
there, and is finished when the slowest is: queueing at one server does not block the others, as
with buffers in between. A channel's bus is booked in order of injection and never idles while work
waits (the controller reorders around bank conflicts); a bank is busy from activation to the end of
the transfer, so that conflicts delay the granules concerned. A memory of one channel is booked by
`controller_kernel` instead.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.timing.channel_kernel import channels, cost
from athena.timing.codes import MASK_BITS
from athena.timing.event_kernel import push
from athena.timing.jit import kernel
from athena.timing.layout import (
    C_CHANNEL_RATE,
    C_CLUSTERS,
    C_EDGES,
    C_GRANULE,
    C_HBM_LATENCY,
    C_HOP,
    C_L2_LATENCY,
    C_L2_RATE,
    C_LINK_RATE,
    C_PORT_RATE,
    C_RING,
    C_ROUTE,
    CH_EDGE,
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
)


@kernel("i8(i8[::1],i8,i8,i8)")
def book(m, server, arrive, ticks):
    """Book `ticks` at a server from `arrive` on; returns when they end."""
    place = m[SERVERS_AT] + server
    end = max(m[place], arrive) + ticks
    m[place] = end
    return end


@kernel("i8(i8[::1],i8,i8)")
def _route(m, row, edge):
    """Place of a route: its length, then its links."""
    return m[ROUTES_AT] + (row * m[C_EDGES] + edge) * m[C_ROUTE]


@kernel("i8(i8[::1],i8,i8,i8)")
def _tree(m, edge, mask, arrive):
    """Book the links of a multicast from one memory edge: each link of the union of the routes
    carries the bytes once.
    """
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
def _beyond(m, p, size, arrive):
    """Book mesh, cluster ports and L2 for bytes of main memory that each edge has its share of;
    returns when they are through.
    """
    clusters, cluster, mask = m[C_CLUSTERS], m[p + CLUSTER], m[p + M_MASK]
    write = m[p + M_DIR] == DIR_WRITE
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
    return end


@kernel("void(i8[::1])")
def _no_shares(m):
    """No bytes at any memory edge."""
    for edge in range(m[C_EDGES]):
        share = m[EDGES_AT] + edge * E_SIZE
        m[share + E_BYTES] = 0
        m[share + E_FINISH] = 0


@kernel("i8(i8[::1],i8,i8,i8)")
def _memory(m, p, size, at):
    """Book memory, mesh and cluster ports for a granule injected at tick `at`; returns when its
    bytes are visible.
    """
    write = m[p + M_DIR] == DIR_WRITE
    request = m[C_HBM_LATENCY] // 2 * TICKS
    arrive = at + request
    _no_shares(m)
    channels(m, p, m[p + INJ_POS], size, arrive, write)
    return _beyond(m, p, size, arrive) + m[C_HBM_LATENCY] * TICKS - request


@kernel("i8(i8[::1],i8,i8,i8)")
def _slices(m, p, size, at):
    """Book the cluster's L2 for bytes sent at tick `at`; returns when they are through, 0 if they
    do not pass it.
    """
    if m[p + M_L2] == 0 or m[p + M_MASK]:
        return 0
    ticks = cost(size * m[p + M_L2], m[C_L2_RATE])
    server = 2 * m[C_CLUSTERS] + m[p + CLUSTER]
    return book(m, server, at, ticks) + m[p + M_LATENCY] * TICKS


@kernel("i8(i8[::1],i8,i8)")
def beside_channel(m, p, time):
    """Book all but the one channel for a transfer begun at `time`; returns the cycle in which its
    bytes are through there.
    """
    size, at, request = m[p + M_BYTES], time * TICKS, m[C_HBM_LATENCY] // 2 * TICKS
    _no_shares(m)
    m[m[EDGES_AT] + m[m[CHANNELS_AT] + CH_EDGE] * E_SIZE + E_BYTES] = size
    end = _beyond(m, p, size, at + request) + m[C_HBM_LATENCY] * TICKS - request
    return -(-max(end, _slices(m, p, size, at)) // TICKS)


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


@kernel("void(i8[::1],i8,b1)")
def take_demand(m, p, merged):
    """Load the demand D_… of a word into its queue, contiguous rows `merged` or not."""
    size, row, rows = m[D_BYTES], m[D_ROW], m[D_ROWS]
    blocks = size // (row * rows)
    if merged and m[D_TABLE] == 0:
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


@kernel("void(i8[::1],i8,i8)")
def begin_transfer(m, p, time):
    """Ready the queue's injector for the planned word."""
    take_demand(m, p, True)
    size = m[p + M_BYTES]
    m[p + INJ_SIZE] = max(m[C_GRANULE], -(-size // GRANULES))
    m[p + INJ_BEATS] = m[D_CYCLES] * TICKS
    m[p + INJ_AT] = max(m[p + INJ_AT], time * TICKS)
    _make_room(m, p, min(size, m[p + INJ_SIZE]))


@kernel("i8(i8[::1],i8[::1],i8,i8)")
def inject(heap, m, p, time):
    """Inject the next granule of the queue if its time has come, else schedule it. Returns the
    word's completion, -1 if not known yet.
    """
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
    finish = max(finish, _slices(m, p, size, at))
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
    """With fixed-latency memory: mean hops over the memory edges, and the time that the bytes take
    at full bandwidth.
    """
    total = 0
    for edge in range(m[C_EDGES]):
        total += m[_route(m, m[p + CLUSTER], edge)]
    m[COUNTS_AT + N_HOPS] += m[D_BYTES] * total // m[C_EDGES]
    m[G_HBM_TICKS] += cost(m[D_BYTES], m[C_CHANNEL_RATE])
