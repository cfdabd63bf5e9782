"""One queue: waits, ports, words in flight and their completion.

In:  the engine's memory (`athena.timing.layout`), words, a queue. Out: the same, changed in place.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.isa.fields import OP, P0, SIG0, WAIT0
from athena.timing.codes import CDMA_IN, CDMA_MASK, CORES_MASK, MATRIX, SYNC, VECTOR
from athena.timing.event_kernel import push, send, settle, try_at
from athena.timing.jit import kernel
from athena.timing.layout import (
    AREG,
    C_CONTROL,
    C_CORES,
    D_ACR,
    D_ACW,
    D_L1R,
    D_L1W,
    F_INSTANCE,
    F_ISSUE,
    F_L1R,
    F_MASK0,
    F_NODE,
    F_ROW,
    F_SIG0,
    F_SIZE,
    F_TIME,
    FLIGHT,
    FLIGHTS,
    G_LAST,
    HEAD_SLOT,
    HELD_ACR,
    HELD_ACW,
    HELD_L1R,
    HELD_L1W,
    I_LAST,
    I_SIZE,
    INFLIGHT,
    KIND,
    LAST,
    NODE_BASE,
    NODE_DMA,
    NODE_GROUP,
    NODE_MATRIX,
    NODE_SIZE,
    NODE_VECTOR,
    NODES_AT,
    NUMBER,
    PHASE_COMPLETE,
    Q_SIZE,
    REASON,
    REASON_PORT,
    REASON_UNIT,
    S_SIZE,
    SEMS,
)


@kernel("UniTuple(i8,2)(i8[:,::1],i8,i8)")
def _wait(w, i, k):
    """Semaphore and number of wait k of word i; 2 and 3 are SYNC's, in p0 and p1."""
    if k < 2:
        return w[i, WAIT0 + 2 * k] & 31, w[i, WAIT0 + 2 * k + 1]
    return w[i, P0 + k - 2] & 31, w[i, P0 + k - 2] >> 8 & 255


@kernel("void(i8[::1],i8[:,::1],i8,i8)")
def give_waits(m, w, i, p):
    """Put back what `take_waits` took, when the word cannot issue for another reason."""
    for k in range(4 if w[i, OP] == SYNC else 2):
        sem, number = _wait(w, i, k)
        m[m[p + SEMS] + sem * S_SIZE] += number


@kernel("b1(i8[::1],i8[:,::1],i8,i8)")
def take_waits(m, w, i, p):
    """Consume the waits of word i if all hold. Returns whether they were taken."""
    waits = 4 if w[i, OP] == SYNC else 2
    if waits == 2 and w[i, WAIT0 + 1] == 0 and w[i, WAIT0 + 3] == 0:
        return True
    good = True
    for k in range(waits):
        sem, number = _wait(w, i, k)
        place = m[p + SEMS] + sem * S_SIZE
        m[place] -= number
        good &= number == 0 or m[place] >= 0
    if not good:
        give_waits(m, w, i, p)
    return good


@kernel("b1(i8[::1],i8,b1)")
def ports_free(m, p, fills):
    """Whether no other unit of the core holds a port that the planned word asks for.

    A FILL (`fills`) writes at once, so it also waits for what the words before it in its own queue
    have still to write to its banks; other words write behind those.
    """
    kind, step = m[p + KIND], m[C_CORES] * Q_SIZE
    for other in range(4):
        if other != kind:
            y = p + (other - kind) * step
            held = (m[y + HELD_L1R] & m[D_L1R]) | (m[y + HELD_ACR] & m[D_ACR])
            if held | (m[y + HELD_L1W] & m[D_L1W]) | (m[y + HELD_ACW] & m[D_ACW]) != 0:
                return False
    return not fills or (m[p + HELD_L1W] & m[D_L1W]) == 0


@kernel("i8(i8[::1],i8,i8)")
def target_mask(m, p, code):
    """Value of the areg that a signal's target names; 0 if it names none."""
    kind = code >> 13
    return m[p + AREG + (code >> 5 & 15)] if kind in (CORES_MASK, CDMA_MASK) else 0


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8)")
def enter(m, w, i, p, node, instance, row, time):
    """Put word i into the queue's list of words in flight; returns its place there."""
    at = p + FLIGHT + (m[p + HEAD_SLOT] + m[p + INFLIGHT]) % FLIGHTS * F_SIZE
    m[p + INFLIGHT] += 1
    m[at + F_ISSUE], m[at + F_ROW], m[at + F_NODE], m[at + F_INSTANCE] = time, row, node, instance
    m[at + F_TIME] = -1
    for k in range(4):
        m[at + F_L1R + k] = m[D_L1R + k]
        m[p + HELD_L1R + k] |= m[D_L1R + k]
    for k in range(2):
        code = w[i, SIG0 + k]
        m[at + F_SIG0 + 2 * k] = code
        m[at + F_MASK0 + 2 * k] = target_mask(m, p, code)
    return at


@kernel("void(i8[::1],i8[::1],i8[:,::1],i8,i8,i8)")
def complete_at(heap, m, trace, p, at, time):
    """The word at place `at` completes at `time`: schedule it, send its signals, book its node."""
    push(heap, m, time, PHASE_COMPLETE, m[p + NUMBER])
    for k in range(2):
        code = m[at + F_SIG0 + 2 * k]
        if code:
            send(heap, m, p, code, m[at + F_MASK0 + 2 * k], time)
    if m[at + F_ROW] >= 0:
        trace[m[at + F_ROW], 4] = time
    kind = m[p + KIND]
    column = NODE_MATRIX if kind == MATRIX else (NODE_VECTOR if kind == VECTOR else NODE_DMA)
    m[m[at + F_NODE] + column] += max(0, time - max(m[at + F_ISSUE], m[p + LAST]))
    last = m[at + F_INSTANCE] + I_LAST
    m[last] = max(m[last], time)
    m[p + LAST] = time
    m[G_LAST] = max(m[G_LAST], time)


@kernel("void(i8[::1],i8[::1],i8[:,::1],i8,i8,i8)")
def through(heap, m, trace, p, at, time):
    """The word at place `at` is through at `time`. Behind the controller of one channel what comes
    before it may not be known yet: it completes when it is the oldest.
    """
    if m[C_CONTROL] and at != p + FLIGHT + m[p + HEAD_SLOT] * F_SIZE:
        m[at + F_TIME] = time
    else:
        complete_at(heap, m, trace, p, at, max(time, m[p + LAST]))


@kernel("i8(i8[::1],i8)")
def newest_flight(m, p):
    """Place of the word that went into flight last."""
    return p + FLIGHT + (m[p + HEAD_SLOT] + m[p + INFLIGHT] - 1) % FLIGHTS * F_SIZE


@kernel("void(i8[::1],i8[::1],i8[:,::1],i8,i8)")
def finish(heap, m, trace, p, time):
    """The queue's oldest word completes: ports and unit are free, blocked queues of the core try
    again.
    """
    settle(m, p, time)
    head, left = (m[p + HEAD_SLOT] + 1) % FLIGHTS, m[p + INFLIGHT] - 1
    m[p + HEAD_SLOT], m[p + INFLIGHT] = head, left
    for k in range(4):
        held = 0
        for j in range(left):
            held |= m[p + FLIGHT + (head + j) % FLIGHTS * F_SIZE + F_L1R + k]
        m[p + HELD_L1R + k] = held
    oldest = p + FLIGHT + head * F_SIZE
    if left > 0 and m[oldest + F_TIME] >= 0:
        complete_at(heap, m, trace, p, oldest, max(m[oldest + F_TIME], time))
    if m[p + REASON] == REASON_UNIT:
        try_at(heap, m, p, time)
    kind, step = m[p + KIND], m[C_CORES] * Q_SIZE
    if kind < CDMA_IN:
        for other in range(4):
            y = p + (other - kind) * step
            if m[y + REASON] == REASON_PORT:
                try_at(heap, m, y, time)


@kernel("UniTuple(i8,2)(i8[::1],i8,i8)")
def node_of(m, number, repeat):
    """Places of row `number` of the node table and of its interval in `repeat`."""
    row = m[NODES_AT] + number * NODE_SIZE
    return row, m[row + NODE_BASE] + repeat // m[row + NODE_GROUP] * I_SIZE
