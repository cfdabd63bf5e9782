"""One queue: fetch, loops, address registers, waits, ports, issue and completion of its words.

In:  the engine's arrays (`athena.timing.layout`). Out: the same, changed in place. Rules: docs/explanation/timing.md.
"""

from __future__ import annotations

from athena.isa.fields import (
    LOOP_DEPTH,
    MODE,
    MODE_SETA_SHIFT,
    N0,
    N1,
    N2,
    OP,
    P0,
    P1,
    P2,
    P3,
    P4,
    SIG0,
    WAIT0,
    WORD_BYTES,
    Op,
    Queue,
    Sig,
)
from athena.timing.event_kernel import (
    push,
    scalar,
    send,
    settle,
    try_at,
)
from athena.timing.jit import kernel
from athena.timing.layout import (
    AREG,
    AREGS,
    AVAIL,
    BASE,
    C_CORES,
    C_FETCH_CYCLES,
    C_FETCH_LATENCY,
    C_FIFO,
    COUNTS_AT,
    D_ACR,
    D_ACW,
    D_L1R,
    D_L1W,
    DEPTH,
    DONE,
    F_INSTANCE,
    F_ISSUE,
    F_L1R,
    F_MASK0,
    F_NODE,
    F_ROW,
    F_SIG0,
    F_SIZE,
    FAULT_LOOP,
    FAULT_NONE,
    FAULT_PC,
    FETCHED,
    FLIGHT,
    FLIGHTS,
    G_LAST,
    G_LIVE,
    HEAD_SLOT,
    HELD_ACR,
    HELD_ACW,
    HELD_L1R,
    HELD_L1W,
    I_LAST,
    I_SIZE,
    INFLIGHT,
    KIND,
    L_END,
    L_LEFT,
    L_SAVED,
    L_START,
    L_WORD,
    LAST,
    LOOP_SIZE,
    LOOPS,
    N_FETCH,
    NODE_BASE,
    NODE_DMA,
    NODE_GROUP,
    NODE_MATRIX,
    NODE_SIZE,
    NODE_VECTOR,
    NODES_AT,
    NUMBER,
    ORDER_AT,
    PC,
    PHASE_COMPLETE,
    Q_SIZE,
    QUEUES_AT,
    REASON,
    REASON_DONE,
    REASON_PORT,
    REASON_UNIT,
    RELEASED,
    RELEASED_AT,
    REPEAT,
    RUN,
    RUN_AREG,
    RUN_BASE,
    RUN_END,
    RUN_REPEAT,
    RUN_SIZE,
    RUN_STREAM,
    RUN_STRIDE,
    RUN_WORD0,
    RUN_WORDS,
    RUNS_AT,
    S_SIZE,
    SEMS,
    STREAM,
    WORD0,
    WORDS,
)

END, SYNC, LOOP, SETA = int(Op.END), int(Op.SYNC), int(Op.LOOP), int(Op.SETA)
MATRIX, VECTOR, CDMA_IN = int(Queue.MATRIX), int(Queue.VECTOR), int(Queue.CDMA_IN)
CORES_MASK, CDMA_MASK = int(Sig.CORES_MASK), int(Sig.CDMA_MASK)
AREG_BITS = 48


@kernel("i8(i8)")
def wrap(value):
    """48-bit two's complement."""
    return (value << (64 - AREG_BITS)) >> (64 - AREG_BITS)


@kernel("void(i8[::1],i8,i8)")
def fetch_to(m, p, word):
    """Availability of `word`, by the recurrence over all words up to it."""
    at, avail = m[p + FETCHED], m[p + AVAIL]
    fifo, cycles, latency = m[C_FIFO], m[C_FETCH_CYCLES], m[C_FETCH_LATENCY]
    while at < word:
        at += 1
        avail += cycles
        if at >= fifo:
            avail = max(avail, m[m[p + RELEASED] + at % fifo] + latency + cycles)
    m[p + FETCHED], m[p + AVAIL] = at, avail


@kernel("void(i8[::1],i8,i8,i8,i8)")
def release(m, p, first, end, time):
    """Words [first, end) leave the FIFO at `time`; the slots are reused, so their availability must be known before."""
    fetch_to(m, p, end - 1)
    fifo, released = m[C_FIFO], m[p + RELEASED]
    for word in range(first, end):
        m[released + word % fifo] = time


@kernel("void(i8[::1],i8,i8)")
def start_run(m, p, time):
    """Begin the current repeat of the current run at `time`: fetch restarts, registers are set."""
    run = m[RUNS_AT] + m[m[ORDER_AT] + m[p + RUN]] * RUN_SIZE
    m[p + PC], m[p + DEPTH], m[p + FETCHED] = 0, 0, 0
    m[p + WORD0], m[p + WORDS] = m[run + RUN_WORD0], m[run + RUN_WORDS]
    m[p + STREAM] = m[run + RUN_STREAM]
    m[p + AVAIL] = time + m[C_FETCH_LATENCY] + m[C_FETCH_CYCLES]
    for i in range(AREGS):
        m[p + AREG + i] = m[run + RUN_AREG + i]
        m[p + BASE + i] = m[run + RUN_BASE + i] + m[p + REPEAT] * m[run + RUN_STRIDE + i]


@kernel("i8(i8[::1],i8,i8)")
def next_run(m, p, time):
    """After END, issued at `time`: next repeat, next section, or done. Returns the head's time, -1 when done."""
    m[COUNTS_AT + N_FETCH] += (m[p + PC] + 1) * WORD_BYTES
    m[p + REPEAT] += 1
    if m[p + REPEAT] >= m[m[RUNS_AT] + m[m[ORDER_AT] + m[p + RUN]] * RUN_SIZE + RUN_REPEAT]:
        m[p + REPEAT] = 0
        m[p + RUN] += 1
    if m[p + RUN] >= m[p + RUN_END]:
        m[p + DONE] = 1
        m[p + REASON] = REASON_DONE
        m[G_LIVE] -= 1
        return -1
    start_run(m, p, time + 1)
    return m[p + AVAIL]


@kernel("void(i8[::1],i8[::1])")
def begin(heap, m):
    """Time 0: every queue that has a run starts it; the others are done."""
    for p in range(m[QUEUES_AT], m[RELEASED_AT], Q_SIZE):
        if m[p + RUN] < m[p + RUN_END]:
            m[G_LIVE] += 1
            start_run(m, p, 0)
            try_at(heap, m, p, m[p + AVAIL])
        else:
            m[p + DONE] = 1
            m[p + REASON] = REASON_DONE


@kernel("void(i8[::1],i8[:,::1],i8,i8)")
def set_areg(m, w, i, p):
    """SETA."""
    value = scalar(m, p, w[i, P4] & 15) // max(1, w[i, N0])
    if w[i, N1] != 0:
        value = value % w[i, N1]
    value *= w[i, P3]
    base = w[i, P2] << 32 | (w[i, P1] & 0xFFFFFFFF)
    if w[i, MODE] & MODE_SETA_SHIFT:
        value = (
            base << value
            if 0 <= value < AREG_BITS
            else base >> -value
            if -AREG_BITS < value < 0
            else 0
        )
    else:
        value += base
    target = w[i, P0] & 15
    if target:
        m[p + AREG + target] = wrap(value + m[p + AREG + (w[i, N2] & 15)])


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8,i8)")
def open_loop(m, w, i, p, iterations, time):
    """LOOP at pc, issued at `time`. Returns the next pc, or -1 for an illegal loop."""
    pc, depth, body = m[p + PC], m[p + DEPTH], w[i, N1]
    end = pc + 1 + body
    if body > m[C_FIFO] or depth >= LOOP_DEPTH or end >= m[p + WORDS]:
        return -1
    frame = p + LOOPS + depth * LOOP_SIZE
    if depth > 0 and end > m[frame - LOOP_SIZE + L_END]:
        return -1
    if iterations == 0 or body == 0:
        if depth == 0:
            release(m, p, pc + 1, end, time)
        return end
    m[frame + L_START], m[frame + L_END] = pc + 1, end
    m[frame + L_LEFT], m[frame + L_WORD] = iterations, i
    for slot in range(4):
        m[frame + L_SAVED + slot] = m[p + AREG + (w[i, P4] >> (4 * slot) & 15)]
    m[p + DEPTH] = depth + 1
    return pc + 1


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8)")
def step_loops(m, w, p, following, time):
    """Loop ends at `following`: back-edges and exits. Returns the pc after them."""
    while m[p + DEPTH] > 0:
        frame = p + LOOPS + (m[p + DEPTH] - 1) * LOOP_SIZE
        if following != m[frame + L_END]:
            break
        i = m[frame + L_WORD]
        m[frame + L_LEFT] -= 1
        again = m[frame + L_LEFT] > 0
        for slot in range(4):
            register = w[i, P4] >> (4 * slot) & 15
            if register:
                place = p + AREG + register
                m[place] = wrap(m[place] + w[i, P0 + slot]) if again else m[frame + L_SAVED + slot]
        if again:
            return m[frame + L_START]
        m[p + DEPTH] -= 1
        if m[p + DEPTH] == 0:
            release(m, p, m[frame + L_START], m[frame + L_END], time)
    return following


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8,i8)")
def advance(m, w, i, p, iterations, time):
    """Move to the next word after word i, issued at `time` (END excepted). Returns the fault code, 0 = none."""
    pc = m[p + PC]
    if m[p + DEPTH] == 0:
        m[m[p + RELEASED] + pc % m[C_FIFO]] = time
    following = pc + 1
    if w[i, OP] == LOOP:
        following = open_loop(m, w, i, p, iterations, time)
        if following < 0:
            return FAULT_LOOP
    if m[p + DEPTH] > 0:
        following = step_loops(m, w, p, following, time)
    if following >= m[p + WORDS]:
        return FAULT_PC
    m[p + PC] = following
    if following > m[p + FETCHED]:
        fetch_to(m, p, following)
    return FAULT_NONE


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


@kernel("b1(i8[::1],i8)")
def ports_free(m, p):
    """Whether no other unit of the core holds a port that the planned word asks for."""
    kind, step = m[p + KIND], m[C_CORES] * Q_SIZE
    for other in range(4):
        if other != kind:
            y = p + (other - kind) * step
            held = (m[y + HELD_L1R] & m[D_L1R]) | (m[y + HELD_ACR] & m[D_ACR])
            if held | (m[y + HELD_L1W] & m[D_L1W]) | (m[y + HELD_ACW] & m[D_ACW]) != 0:
                return False
    return True


@kernel("i8(i8[::1],i8,i8)")
def target_mask(m, p, code):
    """Value of the areg that a signal's target names; 0 if it names none."""
    kind = code >> 13
    return m[p + AREG + (code >> 5 & 15)] if kind == CORES_MASK or kind == CDMA_MASK else 0


@kernel("i8(i8[::1],i8[:,::1],i8,i8,i8,i8,i8,i8)")
def enter(m, w, i, p, node, instance, row, time):
    """Put word i into the queue's list of words in flight; returns its place there."""
    at = p + FLIGHT + (m[p + HEAD_SLOT] + m[p + INFLIGHT]) % FLIGHTS * F_SIZE
    m[p + INFLIGHT] += 1
    m[at + F_ISSUE], m[at + F_ROW], m[at + F_NODE], m[at + F_INSTANCE] = time, row, node, instance
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
    """The word at place `at` completes at `time`: schedule that, send its signals, book its node."""
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


@kernel("void(i8[::1],i8[::1],i8,i8)")
def finish(heap, m, p, time):
    """The queue's oldest word completes: ports and unit are free, blocked queues of the core try again."""
    settle(m, p, time)
    head, left = (m[p + HEAD_SLOT] + 1) % FLIGHTS, m[p + INFLIGHT] - 1
    m[p + HEAD_SLOT], m[p + INFLIGHT] = head, left
    for k in range(4):
        held = 0
        for j in range(left):
            held |= m[p + FLIGHT + (head + j) % FLIGHTS * F_SIZE + F_L1R + k]
        m[p + HELD_L1R + k] = held
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
