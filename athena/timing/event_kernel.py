"""Event heap, accounting of time, wake-ups and signals of the timing engine.

In:  the engine's memory (`athena.timing.layout`). Out: the same, changed in place.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.isa.fields import CORE_SEMS, S_CLUSTER, S_CORE
from athena.timing.codes import (
    ALL_CORES,
    CDMA,
    CDMA_IN,
    CDMA_MASK,
    CHIP,
    CORES_MASK,
    CORES_OF_CLUSTER,
    MASK_BITS,
    SELF,
)
from athena.timing.jit import kernel
from athena.timing.layout import (
    ACCOUNTED,
    C_CLUSTER_CORES,
    C_CLUSTERS,
    C_CORES,
    C_HOP,
    C_MESH_COLS,
    C_SCALARS,
    C_SIGNAL,
    CLUSTER,
    CONTROL,
    CONTROL_END,
    CORES_AT,
    FLYING,
    G_HEAP,
    INFLIGHT,
    KIND,
    NUMBER,
    PHASE_SHIFT,
    PHASE_SIGNAL,
    PHASE_TRY,
    REASON,
    REASON_DONE,
    REASON_FETCH,
    REASON_SEM,
    S_SIZE,
    SEMS,
    SEMS_AT,
    STALL_FETCH,
    STALL_PORT,
    STALL_SEM,
    TIME_SHIFT,
    TRY_AT,
    UNIT,
)


@kernel("void(i8[::1],i8[::1],i8,i8,i8)")
def push(heap, m, time, phase, payload):
    """Add an event; the caller has made sure that there is room."""
    key = time << TIME_SHIFT | phase << PHASE_SHIFT | payload
    at = m[G_HEAP]
    m[G_HEAP] = at + 1
    while at > 0:
        parent = (at - 1) >> 2
        above = heap[parent]
        if above <= key:
            break
        heap[at] = above
        at = parent
    heap[at] = key


@kernel("i8(i8[::1],i8[::1])")
def pop(heap, m):
    """Take the earliest event off the 4-ary heap."""
    top = heap[0]
    size = m[G_HEAP] - 1
    m[G_HEAP] = size
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


@kernel("void(i8[::1],i8[::1],i8,i8)")
def try_at(heap, m, p, time):
    """Let the queue try to issue its head at `time`; at most one try a queue is pending."""
    if m[p + TRY_AT] < 0:
        m[p + TRY_AT] = time
        push(heap, m, time, PHASE_TRY, m[p + NUMBER])


@kernel("void(i8[::1],i8,i8)")
def settle(m, p, time):
    """Book the time since the last booking: words in flight, else a control word, else a stall with
    the reason that held since then.
    """
    since = m[p + ACCOUNTED]
    if time <= since:
        return
    m[p + ACCOUNTED] = time
    if m[p + INFLIGHT] > 0:
        m[p + FLYING] += time - since
        return
    control = min(time, m[p + CONTROL_END])
    if control > since:
        m[p + CONTROL] += control - since
        since = control
    reason = m[p + REASON]
    if reason == REASON_FETCH:
        m[p + STALL_FETCH] += time - since
    elif reason == REASON_SEM:
        m[p + STALL_SEM] += time - since
    elif reason != REASON_DONE:
        m[p + STALL_PORT] += time - since


@kernel("i8(i8[::1],i8,i8)")
def hops(m, a, b):
    """Mesh links between clusters a and b by XY routing."""
    cols = m[C_MESH_COLS]
    return abs(a // cols - b // cols) + abs(a % cols - b % cols)


@kernel("void(i8[::1],i8[::1],i8,i8,i8,i8,i8)")
def _to_cores(heap, m, origin, cluster, mask, time, sem):
    """Signal the cores of a cluster whose bit is set in `mask`."""
    size = m[C_CLUSTER_CORES]
    at = time + m[C_SIGNAL] + hops(m, origin, cluster) * m[C_HOP]
    for slot in range(size):
        core = m[m[CORES_AT] + cluster * size + slot]
        if core >= 0 and mask >> slot & 1:
            push(heap, m, at, PHASE_SIGNAL, core * CORE_SEMS + sem)


@kernel("void(i8[::1],i8[::1],i8,i8,i8,i8)")
def send(heap, m, p, code, mask, time):
    """Put the arrivals of one signal, sent at `time` by the queue, on the heap. `mask`: value of
    the areg that its target names.
    """
    kind = code >> 13
    sem = code & 31
    own = m[p + CLUSTER]
    clusters = m[C_CLUSTERS]
    if kind == SELF:
        push(heap, m, time + 1, PHASE_SIGNAL, (m[p + SEMS] - m[SEMS_AT]) // S_SIZE + sem)
    elif kind == CORES_OF_CLUSTER:
        _to_cores(heap, m, own, own, code >> 5 & 255, time, sem)
    elif kind == CDMA:
        push(heap, m, time + m[C_SIGNAL], PHASE_SIGNAL, (m[C_CORES] + own) * CORE_SEMS + sem)
    elif kind in (ALL_CORES, CORES_MASK):
        for cluster in range(clusters):
            if kind == ALL_CORES or (cluster < MASK_BITS and mask >> cluster & 1):
                _to_cores(heap, m, own, cluster, 255, time, sem)
    elif kind == CDMA_MASK:
        for cluster in range(min(clusters, MASK_BITS)):
            if mask >> cluster & 1:
                at = time + m[C_SIGNAL] + hops(m, own, cluster) * m[C_HOP]
                push(heap, m, at, PHASE_SIGNAL, (m[C_CORES] + cluster) * CORE_SEMS + sem)
    elif kind == CHIP:
        at = time + m[C_SIGNAL] + hops(m, own, 0) * m[C_HOP]
        push(heap, m, at, PHASE_SIGNAL, (m[C_CORES] + clusters) * CORE_SEMS + sem)


@kernel("i8(i8[::1],i8,i8)")
def scalar(m, p, which):
    """Launch scalar S[which] as queue p sees it."""
    if which == S_CORE:
        return m[p + UNIT] if m[p + KIND] < CDMA_IN else 0
    return m[p + CLUSTER] if which == S_CLUSTER else m[C_SCALARS + which]
