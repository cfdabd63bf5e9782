"""Event heap, accounting of time, wake-ups and signals of the timing engine.

In:  the engine's arrays (`athena.timing.layout`). Out: the same, changed in place.
"""

from __future__ import annotations

from numba import njit

from athena.isa.fields import (
    CHIP_SEMS,
    CLUSTER_SEMS,
    CORE_SEMS,
    Sig,
)
from athena.timing.layout import (
    ACCOUNTED,
    BUSY,
    C_CLUSTER_CORES,
    C_CLUSTERS,
    C_CORES,
    C_HOP,
    C_MESH_COLS,
    C_SIGNAL,
    CLUSTER,
    CONTROL_END,
    G_HEAP,
    INFLIGHT,
    PHASE_SHIFT,
    PHASE_SIGNAL,
    PHASE_TRY,
    REASON,
    REASON_DONE,
    REASON_FETCH,
    REASON_SEM,
    SEMS,
    STALL_FETCH,
    STALL_PORT,
    STALL_SEM,
    TIME_SHIFT,
    TRY_AT,
)

if not CORE_SEMS == CLUSTER_SEMS == CHIP_SEMS:
    raise AssertionError("semaphores are numbered as unit * CORE_SEMS + semaphore")

SELF, CORES_OF_CLUSTER, CDMA, ALL_CORES = int(Sig.SELF), int(Sig.CORES_OF_CLUSTER), int(Sig.CDMA), int(Sig.ALL_CORES)
CDMA_MASK, CORES_MASK, CHIP = int(Sig.CDMA_MASK), int(Sig.CORES_MASK), int(Sig.CHIP)


@njit(cache=True)
def push(heap, g, time, phase, payload):
    """Add an event; the caller has made sure that there is room."""
    key = time << TIME_SHIFT | phase << PHASE_SHIFT | payload
    at = g[G_HEAP]
    g[G_HEAP] = at + 1
    while at > 0:
        parent = (at - 1) >> 2
        above = heap[parent]
        if above <= key:
            break
        heap[at] = above
        at = parent
    heap[at] = key


@njit(cache=True)
def pop(heap, g):
    """Take the earliest event off the 4-ary heap."""
    top = heap[0]
    size = g[G_HEAP] - 1
    g[G_HEAP] = size
    key = heap[size]
    at = 0
    while True:
        child = 4 * at + 1
        if child >= size:
            break
        best = child
        least = heap[child]
        for other in range(child + 1, min(child + 4, size)):
            value = heap[other]
            if value < least:
                least = value
                best = other
        if least >= key:
            break
        heap[at] = least
        at = best
    heap[at] = key
    return top


@njit(cache=True)
def try_at(heap, g, q, x, time):
    """Let queue x try to issue its head at `time`; at most one try a queue is pending."""
    if q[x, TRY_AT] < 0:
        q[x, TRY_AT] = time
        push(heap, g, time, PHASE_TRY, x)


@njit(cache=True)
def settle(q, x, time):
    """Book the time since the last booking as busy or as a stall with the reason that held since then."""
    since = q[x, ACCOUNTED]
    if time <= since:
        return
    q[x, ACCOUNTED] = time
    if q[x, INFLIGHT] > 0:
        q[x, BUSY] += time - since
        return
    control = min(time, q[x, CONTROL_END])
    if control > since:
        q[x, BUSY] += control - since
        since = control
    reason = q[x, REASON]
    if reason == REASON_FETCH:
        q[x, STALL_FETCH] += time - since
    elif reason == REASON_SEM:
        q[x, STALL_SEM] += time - since
    elif reason != REASON_DONE:
        q[x, STALL_PORT] += time - since


@njit(cache=True)
def hops(c, a, b):
    """Mesh links between clusters a and b by XY routing."""
    cols = c[C_MESH_COLS]
    return abs(a // cols - b // cols) + abs(a % cols - b % cols)


@njit(cache=True)
def _to_cores(heap, g, c, core_at, origin, cluster, mask, time, sem):
    """Signal the cores of a cluster whose bit is set in `mask`."""
    size = c[C_CLUSTER_CORES]
    at = time + c[C_SIGNAL] + hops(c, origin, cluster) * c[C_HOP]
    for slot in range(size):
        core = core_at[cluster * size + slot]
        if core >= 0 and mask >> slot & 1:
            push(heap, g, at, PHASE_SIGNAL, core * CORE_SEMS + sem)


@njit(cache=True)
def send(heap, g, q, x, c, core_at, code, mask, time):
    """Put the arrivals of one signal, sent at `time` by queue x, on the heap. `mask`: value of the areg that its target names."""
    kind = code >> 13
    sem = code & 31
    own = q[x, CLUSTER]
    clusters = c[C_CLUSTERS]
    if kind == SELF:
        push(heap, g, time + 1, PHASE_SIGNAL, q[x, SEMS] + sem)
    elif kind == CORES_OF_CLUSTER:
        _to_cores(heap, g, c, core_at, own, own, code >> 5 & 255, time, sem)
    elif kind == CDMA:
        push(heap, g, time + c[C_SIGNAL], PHASE_SIGNAL, (c[C_CORES] + own) * CORE_SEMS + sem)
    elif kind == ALL_CORES or kind == CORES_MASK:
        for cluster in range(clusters):
            if kind == ALL_CORES or (cluster < 48 and mask >> cluster & 1):
                _to_cores(heap, g, c, core_at, own, cluster, 255, time, sem)
    elif kind == CDMA_MASK:
        for cluster in range(min(clusters, 48)):
            if mask >> cluster & 1:
                at = time + c[C_SIGNAL] + hops(c, own, cluster) * c[C_HOP]
                push(heap, g, at, PHASE_SIGNAL, (c[C_CORES] + cluster) * CORE_SEMS + sem)
    elif kind == CHIP:
        at = time + c[C_SIGNAL] + hops(c, own, 0) * c[C_HOP]
        push(heap, g, at, PHASE_SIGNAL, (c[C_CORES] + clusters) * CORE_SEMS + sem)
