"""The event loop of the timing engine.

In:  the engine's arrays (`athena.timing.setup`). Out: a status; state stays in the arrays, so that a call continues the last.
Events of one cycle run in the order: completions, arriving signals, granules, tries to issue in tie order (queue number).
"""

from __future__ import annotations

from numba import int64, njit

from athena.isa.cycles import SETA_CYCLES
from athena.isa.fields import OP, P0, P2, SEM_MAX, SIG0, Op, Queue
from athena.timing.event_kernel import pop, send, settle, try_at
from athena.timing.layout import (
    AVAIL,
    C_CLUSTERS,
    C_CORES,
    C_FIXED,
    C_IN_FLIGHT,
    C_TRACE,
    CONTROL_END,
    COUNTS,
    D_COUNTS,
    D_CYCLES,
    D_DIR,
    D_FAULT,
    D_L2,
    D_LATENCY,
    D_ZERO,
    DEPTH,
    DYNAMIC,
    FAULT_CALL,
    FAULT_LOOP,
    FAULT_NONE,
    FAULT_OP,
    FAULT_OVERFLOW,
    FAULT_TIME,
    FAULTED,
    FINISHED,
    G_EVENTS,
    G_FAULT,
    G_FAULT_ARG,
    G_FAULT_QUEUE,
    G_HEAP,
    G_LAST,
    G_ROWS,
    GROW_HEAP,
    GROW_TRACE,
    HEAD_SLOT,
    INFLIGHT,
    INJ_LEFT,
    KIND,
    LAST,
    N_HBMR,
    N_HBMW,
    N_L2R,
    N_L2W,
    N_LINK,
    NODE_HBM,
    NODE_L2,
    PAYLOAD_MASK,
    PC,
    PHASE_COMPLETE,
    PHASE_GRANULE,
    PHASE_SHIFT,
    PHASE_SIGNAL,
    READY,
    REASON,
    REASON_FETCH,
    REASON_PORT,
    REASON_SEM,
    REASON_UNIT,
    REPEAT,
    RUNNING,
    STREAM,
    TIME_LIMIT_CYCLES,
    TIME_SHIFT,
    TRY_AT,
    WORD0,
)
from athena.timing.memory_kernel import begin_transfer, count_fixed, inject
from athena.timing.plan_kernel import count, plan
from athena.timing.queue_kernel import (
    advance,
    complete_at,
    enter,
    finish,
    give_waits,
    next_run,
    node_of,
    ports_free,
    set_areg,
    take_waits,
    target_mask,
)

END, SYNC, LOOP, SETA, CALL = int(Op.END), int(Op.SYNC), int(Op.LOOP), int(Op.SETA), int(Op.CALL)
MATRIX, VECTOR, HOST = int(Queue.MATRIX), int(Queue.VECTOR), int(Queue.HOST)


@njit(cache=True)
def _note(g, q, x, i, node_of_word, nodes, instances, trace, c, time):
    """Book the issue of word i for its node and in the trace. Returns (node row, instance, trace row or -1)."""
    node, instance = node_of(node_of_word[i], q[x, REPEAT], nodes)
    instances[instance, 0] = min(instances[instance, 0], time)
    row = -1
    if c[C_TRACE]:
        row = g[G_ROWS]
        g[G_ROWS] = row + 1
        trace[row, 0], trace[row, 1], trace[row, 2], trace[row, 3] = x, q[x, DYNAMIC], q[x, PC], time
        trace[row, 5], trace[row, 6] = node_of_word[i], q[x, STREAM]
    q[x, DYNAMIC] += 1
    return node, instance, row


@njit(cache=True)
def _control(
    heap, g, q, x, w, i, node_of_word, aregs, bases, loops, released, c, core_at, runs, run_aregs, sections, scalars, counts,
    nodes, instances, trace, time,
):  # fmt: skip
    """Issue SYNC, LOOP, SETA or END at `time`. Returns a fault code."""
    op = w[i, OP]
    cycles = SETA_CYCLES if op == SETA else 1
    done = time + cycles
    _, instance, row = _note(g, q, x, i, node_of_word, nodes, instances, trace, c, time)
    if row >= 0:
        trace[row, 4] = done
    instances[instance, 1] = max(instances[instance, 1], done)
    q[x, CONTROL_END] = done
    q[x, REASON] = REASON_FETCH
    g[G_LAST] = max(g[G_LAST], done)
    for k in range(2):
        code = w[i, SIG0 + k]
        if code:
            send(heap, g, q, x, c, core_at, code, target_mask(code, aregs, x), done)
        code = w[i, P2 + k] & 0xFFFF if op == SYNC else 0
        if code:
            send(heap, g, q, x, c, core_at, code, target_mask(code, aregs, x), done)
    if op == END:
        if q[x, DEPTH] > 0:
            return FAULT_LOOP
        head = next_run(g, q, x, aregs, bases, runs, run_aregs, sections, c, counts, time)
        if head >= 0:
            try_at(heap, g, q, x, head)
        return FAULT_NONE
    iterations = count(w, i, q, x, aregs, scalars, 0) if op == LOOP else 0
    if op == SETA:
        set_areg(w, i, q, x, aregs, scalars)
    fault = advance(g, q, x, w, i, aregs, loops, released, c, iterations, time)
    if fault == FAULT_NONE:
        try_at(heap, g, q, x, max(done, q[x, AVAIL]))
    return fault


@njit(cache=True)
def _unit_blocks(heap, g, q, x, c, time):
    """Whether the unit cannot take a word now; if so the queue is woken when it can."""
    kind = q[x, KIND]
    if q[x, READY] > time:
        q[x, REASON] = REASON_UNIT
        try_at(heap, g, q, x, q[x, READY])
        return True
    if kind != MATRIX and kind != VECTOR and kind != HOST and (q[x, INJ_LEFT] > 0 or q[x, INFLIGHT] >= c[C_IN_FLIGHT]):
        q[x, REASON] = REASON_UNIT
        return True
    return False


@njit(cache=True)
def _book(counts, nodes, node, d):
    for k in range(COUNTS):
        counts[k] += d[D_COUNTS + k]
    nodes[node, NODE_HBM] += d[D_COUNTS + N_HBMR] + d[D_COUNTS + N_HBMW]
    nodes[node, NODE_L2] += d[D_COUNTS + N_L2R] + d[D_COUNTS + N_L2W]


@njit(cache=True)
def _closed_form(q, x, d, time):
    """Completion of a word whose time is known at issue; sets when the unit takes the next word."""
    kind = q[x, KIND]
    if kind == MATRIX or kind == VECTOR or kind == HOST:
        done = time + d[D_CYCLES]
        q[x, READY] = done
        return done
    last = q[x, LAST]
    if d[D_ZERO]:
        return max(time + 1, last)
    beats = d[D_CYCLES]
    q[x, READY] = time + beats
    if d[D_LATENCY] == 0:
        return max(time + beats, last)
    return max(time + beats + d[D_LATENCY], last + beats)


@njit(cache=True)
def _attempt(
    heap, g, q, x, f, d, w, node_of_word, aregs, bases, loops, released, c, core_at, runs, run_aregs, sections, segments,
    scalars, sems, counts, nodes, instances, trace, calls, servers, channels, banks, routes, window, edges, time,
):  # fmt: skip
    """Queue x tries to issue its head at `time`. Returns a fault code."""
    q[x, TRY_AT] = -1
    settle(q, x, time)
    i = q[x, WORD0] + q[x, PC]
    op = w[i, OP]
    control = op == SYNC or op == LOOP or op == SETA or op == END
    if not control and _unit_blocks(heap, g, q, x, c, time):
        return FAULT_NONE
    if not take_waits(w, i, q, x, sems):
        q[x, REASON] = REASON_SEM
        return FAULT_NONE
    if control:
        return _control(
            heap, g, q, x, w, i, node_of_word, aregs, bases, loops, released, c, core_at, runs, run_aregs, sections,
            scalars, counts, nodes, instances, trace, time,
        )  # fmt: skip
    if q[x, KIND] == HOST:
        call = w[i, P0]
        if op != CALL or call < 0 or call >= len(calls):
            return FAULT_OP if op != CALL else FAULT_CALL
        d[:] = 0
        d[D_CYCLES] = calls[call, 0]
        d[D_COUNTS + N_LINK] = calls[call, 1]
        calls[call, 2] += 1
    else:
        plan(d, w, i, q, x, aregs, bases, c, segments, scalars, c[C_CLUSTERS])
        if d[D_FAULT]:
            return d[D_FAULT]
        if q[x, KIND] <= VECTOR and not ports_free(q, x, d, c[C_CORES]):
            give_waits(w, i, q, x, sems)
            q[x, REASON] = REASON_PORT
            return FAULT_NONE
    node, instance, row = _note(g, q, x, i, node_of_word, nodes, instances, trace, c, time)
    q[x, REASON] = REASON_FETCH
    _book(counts, nodes, node, d)
    if c[C_FIXED] and d[D_DIR]:
        count_fixed(g, q, x, d, c, routes, counts)
    slot = enter(q, x, f, w, i, d, aregs, node, instance, row, time)
    if c[C_FIXED] or d[D_DIR] + d[D_L2] == 0:
        done = _closed_form(q, x, d, time)
        complete_at(heap, g, q, x, f, slot, c, core_at, nodes, instances, trace, done)
    else:
        begin_transfer(q, x, d, c, window, time)
        done = inject(heap, g, q, x, c, servers, channels, banks, routes, window, edges, counts, time)
        if done >= 0:
            complete_at(heap, g, q, x, f, slot, c, core_at, nodes, instances, trace, done)
    fault = advance(g, q, x, w, i, aregs, loops, released, c, 0, time)
    if fault == FAULT_NONE:
        head = max(time + 1, q[x, AVAIL])
        following = w[q[x, WORD0] + q[x, PC], OP]
        if following != SYNC and following != LOOP and following != SETA and following != END:
            head = max(head, q[x, READY])
        try_at(heap, g, q, x, head)
    return fault


@njit(cache=True)
def _signal(heap, g, q, sems, consumers, target, time):
    """A signal arrives. Returns a fault code."""
    sems[target] += 1
    if sems[target] > SEM_MAX:
        g[G_FAULT_ARG] = target
        return FAULT_OVERFLOW
    x = consumers[target]
    if x >= 0 and q[x, REASON] == REASON_SEM:
        try_at(heap, g, q, x, time)
    return FAULT_NONE


_MATRIX, _VECTOR, _CUBE = int64[:, ::1], int64[::1], int64[:, :, ::1]


@njit(
    int64(
        int64, _VECTOR, _VECTOR, _MATRIX, _CUBE, _VECTOR, _MATRIX, _VECTOR, _MATRIX, _MATRIX, _MATRIX, _MATRIX, _VECTOR,
        _VECTOR, _MATRIX, _MATRIX, _MATRIX, _MATRIX, _VECTOR, _VECTOR, _VECTOR, _VECTOR, _MATRIX, _MATRIX, _MATRIX, _MATRIX,
        _VECTOR, _MATRIX, _MATRIX, _CUBE, _CUBE, _MATRIX,
    ),
    cache=True,
)  # fmt: skip
def run(
    stop, heap, g, q, f, d, w, node_of_word, aregs, bases, loops, released, c, core_at, runs, run_aregs, sections, segments,
    scalars, sems, consumers, counts, nodes, instances, trace, calls, servers, channels, banks, routes, window, edges,
):  # fmt: skip
    """Process events until `stop` events, the end, a fault, or an array that must grow. Returns the status."""
    room = 8 * (c[C_CORES] + c[C_CLUSTERS]) + 64
    while g[G_HEAP] > 0:
        if g[G_EVENTS] >= stop:
            return RUNNING
        if g[G_HEAP] + room > len(heap):
            return GROW_HEAP
        if c[C_TRACE] and g[G_ROWS] >= len(trace):
            return GROW_TRACE
        key = pop(heap, g)
        g[G_EVENTS] += 1
        time = key >> TIME_SHIFT
        phase = key >> PHASE_SHIFT & 3
        x = key & PAYLOAD_MASK
        fault = FAULT_NONE
        if time > TIME_LIMIT_CYCLES:
            fault = FAULT_TIME
        elif phase == PHASE_COMPLETE:
            finish(heap, g, q, x, f, c[C_CORES], time)
        elif phase == PHASE_SIGNAL:
            fault = _signal(heap, g, q, sems, consumers, x, time)
            x = consumers[x]
        elif phase == PHASE_GRANULE:
            done = inject(heap, g, q, x, c, servers, channels, banks, routes, window, edges, counts, time)
            if done >= 0:
                slot = (q[x, HEAD_SLOT] + q[x, INFLIGHT] - 1) % f.shape[1]
                complete_at(heap, g, q, x, f, slot, c, core_at, nodes, instances, trace, done)
                if q[x, REASON] == REASON_UNIT:
                    try_at(heap, g, q, x, max(time, q[x, READY]))
        else:
            fault = _attempt(
                heap, g, q, x, f, d, w, node_of_word, aregs, bases, loops, released, c, core_at, runs, run_aregs, sections,
                segments, scalars, sems, counts, nodes, instances, trace, calls, servers, channels, banks, routes, window, edges, time,
            )  # fmt: skip
        if fault != FAULT_NONE:
            g[G_FAULT], g[G_FAULT_QUEUE], g[G_LAST] = fault, x, max(g[G_LAST], time)
            return FAULTED
    return FINISHED
