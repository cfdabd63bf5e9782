"""The event loop of the timing engine.

In:  the engine's memory (`athena.timing.layout`), words, heap, trace. Out: a status; a further call
     goes on where the last stopped. Events of one cycle run in the order: completions, arriving
     signals, granules, tries to issue in tie order (queue number).
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from athena.isa.cycles import SETA_CYCLES
from athena.isa.fields import OP, P0, P2, SEM_MAX, SIG0
from athena.timing.codes import CALL, END, FILL, HOST, LOOP, MATRIX, SETA, SYNC, VECTOR
from athena.timing.event_kernel import pop, send, settle, try_at
from athena.timing.front_kernel import advance, next_run, set_areg
from athena.timing.jit import kernel
from athena.timing.layout import (
    AVAIL,
    BEATS,
    C_CALLS,
    C_CLUSTERS,
    C_CONTROL,
    C_CORES,
    C_FIXED,
    C_IN_FLIGHT,
    C_TRACE,
    CALL_BYTES,
    CALL_CYCLES,
    CALL_RUNS,
    CALL_SIZE,
    CALLS_AT,
    CONTROL_END,
    CONTROLLER,
    COUNTS,
    COUNTS_AT,
    D_AT,
    D_COUNTS,
    D_CYCLES,
    D_DIR,
    D_END,
    D_FAULT,
    D_L2,
    D_LATENCY,
    D_STALL,
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
    I_FIRST,
    I_LAST,
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
    NUMBER,
    PAYLOAD_MASK,
    PC,
    PHASE_COMPLETE,
    PHASE_GRANULE,
    PHASE_SHIFT,
    PHASE_SIGNAL,
    Q_SIZE,
    QUEUES_AT,
    READY,
    REASON,
    REASON_FETCH,
    REASON_PORT,
    REASON_SEM,
    REASON_UNIT,
    REPEAT,
    RUNNING,
    S_CONSUMER,
    S_SIZE,
    SEMS_AT,
    STREAM,
    TIME_LIMIT_CYCLES,
    TIME_SHIFT,
    TRY_AT,
    W_NODE,
    W_NODE_ROW,
    WORD0,
)
from athena.timing.memory_kernel import begin_transfer, count_fixed, inject
from athena.timing.operand_kernel import count
from athena.timing.plan_kernel import plan
from athena.timing.port_kernel import begin_beats, control
from athena.timing.queue_kernel import (
    enter,
    finish,
    give_waits,
    newest_flight,
    node_of,
    ports_free,
    take_waits,
    target_mask,
    through,
)


@kernel("b1(i8)")
def _is_control(op):
    return op in (SYNC, LOOP, SETA, END)


@kernel("i8(i8[::1],i8[:,::1],i8[:,::1],i8,i8,i8)")
def _note(m, w, trace, i, p, time):
    """Book the issue of word i in the trace. Returns the row, -1 if there is no trace."""
    row = -1
    if m[C_TRACE]:
        row = m[G_ROWS]
        m[G_ROWS] = row + 1
        trace[row, 0], trace[row, 1] = m[p + NUMBER], m[p + DYNAMIC]
        trace[row, 2], trace[row, 3] = m[p + PC], time
        trace[row, 5], trace[row, 6] = w[i, W_NODE], m[p + STREAM]
    m[p + DYNAMIC] += 1
    return row


@kernel("i8(i8[::1],i8[::1],i8[:,::1],i8[:,::1],i8,i8,i8)")
def _control(heap, m, w, trace, i, p, time):
    """Issue SYNC, LOOP, SETA or END at `time`. Returns a fault code."""
    op = w[i, OP]
    done = time + (SETA_CYCLES if op == SETA else 1)
    row = _note(m, w, trace, i, p, time)
    if row >= 0:
        trace[row, 4] = done
    _, instance = node_of(m, w[i, W_NODE_ROW], m[p + REPEAT])
    m[instance + I_FIRST] = min(m[instance + I_FIRST], time)
    m[instance + I_LAST] = max(m[instance + I_LAST], done)
    m[p + CONTROL_END] = done
    m[p + REASON] = REASON_FETCH
    m[G_LAST] = max(m[G_LAST], done)
    for k in range(4 if op == SYNC else 2):
        code = w[i, SIG0 + k] if k < 2 else w[i, P2 + k - 2] & 0xFFFF
        if code:
            send(heap, m, p, code, target_mask(m, p, code), done)
    if op == END:
        if m[p + DEPTH] > 0:
            return FAULT_LOOP
        head = next_run(m, p, time)
        if head >= 0:
            try_at(heap, m, p, head)
        else:
            settle(m, p, done)  # no later try books the cycle of the last word
        return FAULT_NONE
    iterations = count(m, w, i, p, 0) if op == LOOP else 0
    if op == SETA:
        set_areg(m, w, i, p)
    fault = advance(m, w, i, p, iterations, time)
    if fault == FAULT_NONE:
        try_at(heap, m, p, max(done, m[p + AVAIL]))
    return fault


@kernel("b1(i8[::1],i8[::1],i8,i8)")
def _unit_blocks(heap, m, p, time):
    """Whether the unit cannot take a word now; if so the queue is woken when it can."""
    kind = m[p + KIND]
    if m[p + READY] > time:
        m[p + REASON] = REASON_UNIT
        try_at(heap, m, p, m[p + READY])
        return True
    if kind in (MATRIX, VECTOR, HOST):
        return False
    if m[p + INJ_LEFT] > 0 or m[p + INFLIGHT] >= m[C_IN_FLIGHT]:
        m[p + REASON] = REASON_UNIT
        return True
    return False


@kernel("void(i8[::1],i8)")
def _book(m, node):
    """Add the planned word's action counts to the totals and to its node."""
    for k in range(COUNTS):
        m[COUNTS_AT + k] += m[D_COUNTS + k]
    m[node + NODE_HBM] += m[D_COUNTS + N_HBMR] + m[D_COUNTS + N_HBMW]
    m[node + NODE_L2] += m[D_COUNTS + N_L2R] + m[D_COUNTS + N_L2W]


@kernel("i8(i8[::1],i8,i8)")
def _closed_form(m, p, time):
    """Completion of a word whose time is known at issue; sets when the unit takes the next word."""
    kind, beats, last = m[p + KIND], m[D_CYCLES], m[p + LAST]
    if kind in (MATRIX, VECTOR, HOST):
        m[p + READY] = time + beats
        return time + beats
    if m[D_ZERO]:
        return max(time + 1, last)
    m[p + READY] = time + beats
    if m[D_LATENCY] == 0:
        return max(time + beats, last)
    return max(time + beats + m[D_LATENCY], last + beats)


@kernel("i8(i8[::1],i8[:,::1],i8,i8)")
def _demand(m, w, i, p):
    """Plan word i. Returns a fault code."""
    if m[p + KIND] != HOST:
        plan(m, w, i, p)
        return m[D_FAULT]
    for place in range(D_AT, D_END):
        m[place] = 0
    number = w[i, P0]
    if w[i, OP] != CALL:
        return FAULT_OP
    if number < 0 or number >= m[C_CALLS]:
        return FAULT_CALL
    call = m[CALLS_AT] + number * CALL_SIZE
    m[D_CYCLES] = m[call + CALL_CYCLES]
    m[D_COUNTS + N_LINK] = m[call + CALL_BYTES]
    m[call + CALL_RUNS] += 1
    return FAULT_NONE


@kernel("i8(i8[::1],i8[::1],i8[:,::1],i8[:,::1],i8,i8)")
def _attempt(heap, m, w, trace, p, time):
    """Queue p tries to issue its head at `time`. Returns a fault code."""
    m[p + TRY_AT] = -1
    settle(m, p, time)
    i = m[p + WORD0] + m[p + PC]
    control = _is_control(w[i, OP])
    if not control and _unit_blocks(heap, m, p, time):
        return FAULT_NONE
    if not take_waits(m, w, i, p):
        m[p + REASON] = REASON_SEM
        return FAULT_NONE
    if control:
        return _control(heap, m, w, trace, i, p, time)
    fault = _demand(m, w, i, p)
    if fault:
        return fault
    if m[p + KIND] <= VECTOR and not ports_free(m, p, w[i, OP] == FILL):
        give_waits(m, w, i, p)
        m[p + REASON] = REASON_PORT
        return FAULT_NONE
    row = _note(m, w, trace, i, p, time)
    node, instance = node_of(m, w[i, W_NODE_ROW], m[p + REPEAT])
    m[instance + I_FIRST] = min(m[instance + I_FIRST], time)
    m[p + REASON] = REASON_FETCH
    _book(m, node)
    if not m[D_ZERO] and m[p + KIND] not in (MATRIX, VECTOR, HOST):
        m[p + BEATS] += m[D_CYCLES] - m[D_STALL]
    at = enter(m, w, i, p, node, instance, row, time)
    if m[C_FIXED] or m[D_DIR] + m[D_L2] == 0:
        if m[D_DIR]:
            count_fixed(m, p)
        through(heap, m, trace, p, at, _closed_form(m, p, time))
    elif m[C_CONTROL] and m[D_DIR]:
        begin_beats(heap, m, p, at, time)
    else:
        begin_transfer(m, p, time)
        done = inject(heap, m, p, time)
        if done >= 0:
            through(heap, m, trace, p, at, done)
    fault = advance(m, w, i, p, 0, time)
    if fault == FAULT_NONE:
        head = max(time + 1, m[p + AVAIL])
        if not _is_control(w[m[p + WORD0] + m[p + PC], OP]):
            head = max(head, m[p + READY])
        try_at(heap, m, p, head)
    return fault


@kernel("i8(i8[::1],i8[::1],i8,i8)")
def _signal(heap, m, number, time):
    """A signal arrives at a semaphore. Returns a fault code."""
    place = m[SEMS_AT] + number * S_SIZE
    m[place] += 1
    if m[place] > SEM_MAX:
        m[G_FAULT_ARG] = number
        return FAULT_OVERFLOW
    p = m[place + S_CONSUMER]
    if p >= 0 and m[p + REASON] == REASON_SEM:
        try_at(heap, m, p, time)
    return FAULT_NONE


@kernel("void(i8[::1],i8[::1],i8[:,::1],i8,i8)")
def _granule(heap, m, trace, p, time):
    """The next granule of the queue's transfer."""
    done = inject(heap, m, p, time)
    if done >= 0:
        through(heap, m, trace, p, newest_flight(m, p), done)
        if m[p + REASON] == REASON_UNIT:
            try_at(heap, m, p, max(time, m[p + READY]))


@kernel("i8(i8,i8[::1],i8[::1],i8[:,::1],i8[:,::1])")
def run(stop, heap, m, w, trace):
    """Process events until `stop` events, the end, a fault, or an array that must grow. Returns the
    status.
    """
    units = m[C_CORES] + m[C_CLUSTERS]
    room = 8 * units + 64 + (4 * units * units if m[C_CONTROL] else 0)
    while m[G_HEAP] > 0:
        if m[G_EVENTS] >= stop:
            return RUNNING
        if m[G_HEAP] + room > len(heap):
            return GROW_HEAP
        if m[C_TRACE] and m[G_ROWS] >= len(trace):
            return GROW_TRACE
        key = pop(heap, m)
        m[G_EVENTS] += 1
        time = key >> TIME_SHIFT
        phase = key >> PHASE_SHIFT & 3
        number = key & PAYLOAD_MASK
        p = m[QUEUES_AT] + number * Q_SIZE
        fault = FAULT_NONE
        if time > TIME_LIMIT_CYCLES:
            fault = FAULT_TIME
        elif phase == PHASE_COMPLETE:
            finish(heap, m, trace, p, time)
        elif phase == PHASE_SIGNAL:
            fault = _signal(heap, m, number, time)
        elif phase == PHASE_GRANULE:
            if number == CONTROLLER:
                control(heap, m, trace, time, len(heap) - room)
            else:
                _granule(heap, m, trace, p, time)
        else:
            fault = _attempt(heap, m, w, trace, p, time)
        if fault != FAULT_NONE:
            m[G_FAULT], m[G_FAULT_QUEUE], m[G_LAST] = fault, number, max(m[G_LAST], time)
            return FAULTED
    return FINISHED
