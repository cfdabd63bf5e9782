"""One queue: fetch, loops, address registers, waits, ports, issue and completion of its words.

In:  the engine's arrays (`athena.timing.layout`). Out: the same, changed in place. Rules: docs/explanation/timing.md.
"""

from __future__ import annotations

from numba import njit

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
    S_CLUSTER,
    S_CORE,
    SIG0,
    WAIT0,
    WAIT0_N,
    WAIT1,
    WAIT1_N,
    WORD_BYTES,
    Op,
    Queue,
    Sig,
)
from athena.timing.event_kernel import push, send, settle, try_at
from athena.timing.layout import (
    AVAIL,
    C_FETCH_CYCLES,
    C_FETCH_LATENCY,
    C_FIFO,
    CLUSTER,
    DEPTH,
    DONE,
    F_INSTANCE,
    F_ISSUE,
    F_L1R,
    F_MASK0,
    F_NODE,
    F_ROW,
    F_SIG0,
    FAULT_LOOP,
    FAULT_PC,
    FETCHED,
    G_LAST,
    G_LIVE,
    HEAD_SLOT,
    HELD_ACR,
    HELD_ACW,
    HELD_L1R,
    HELD_L1W,
    INFLIGHT,
    INSTANCES_LIMIT,
    KIND,
    L_END,
    L_LEFT,
    L_SAVED,
    L_START,
    L_WORD,
    LAST,
    LOOP_FIELDS,
    N_FETCH,
    NODE_BASE,
    NODE_DMA,
    NODE_GROUP,
    NODE_MATRIX,
    NODE_VECTOR,
    PC,
    PHASE_COMPLETE,
    REASON,
    REASON_DONE,
    REASON_PORT,
    REASON_UNIT,
    REPEAT,
    RUN,
    RUN_AREGS,
    RUN_END,
    RUN_REPEAT,
    RUN_SECTION,
    RUN_STREAM,
    RUN_WORD0,
    RUN_WORDS,
    SEMS,
    STREAM,
    UNIT,
    WORD0,
    WORDS,
)

END, SYNC, LOOP, SETA = int(Op.END), int(Op.SYNC), int(Op.LOOP), int(Op.SETA)
MATRIX, VECTOR, CDMA_IN = int(Queue.MATRIX), int(Queue.VECTOR), int(Queue.CDMA_IN)
CORES_MASK, CDMA_MASK = int(Sig.CORES_MASK), int(Sig.CDMA_MASK)
AREG_BITS = 48


@njit(cache=True)
def wrap(value):
    """48-bit two's complement."""
    return (value << (64 - AREG_BITS)) >> (64 - AREG_BITS)


@njit(cache=True)
def fetch_to(q, x, released, c, p):
    """Availability of word p, by the recurrence over all words up to it."""
    at, avail = q[x, FETCHED], q[x, AVAIL]
    fifo, cycles, latency = c[C_FIFO], c[C_FETCH_CYCLES], c[C_FETCH_LATENCY]
    while at < p:
        at += 1
        avail += cycles
        if at >= fifo:
            avail = max(avail, released[x, at % fifo] + latency + cycles)
    q[x, FETCHED], q[x, AVAIL] = at, avail


@njit(cache=True)
def release(q, x, released, c, first, end, time):
    """Words [first, end) leave the FIFO at `time`; their availability must be known before their slots are reused."""
    fetch_to(q, x, released, c, end - 1)
    fifo = c[C_FIFO]
    for p in range(max(first, end - fifo), end):
        released[x, p % fifo] = time


@njit(cache=True)
def start_run(q, x, aregs, bases, runs, run_aregs, sections, c, time):
    """Begin the current repeat of the queue's current run at `time`: fetch restarts, registers have their first values."""
    run = q[x, RUN]
    section = runs[run, RUN_SECTION]
    q[x, PC], q[x, DEPTH], q[x, FETCHED] = 0, 0, 0
    q[x, WORD0], q[x, WORDS], q[x, STREAM] = runs[run, RUN_WORD0], runs[run, RUN_WORDS], runs[run, RUN_STREAM]
    q[x, AVAIL] = time + c[C_FETCH_LATENCY] + c[C_FETCH_CYCLES]
    for i in range(16):
        aregs[x, i] = run_aregs[runs[run, RUN_AREGS], i]
        bases[x, i] = sections[section, i] + q[x, REPEAT] * sections[section, 16 + i]


@njit(cache=True)
def next_run(g, q, x, aregs, bases, runs, run_aregs, sections, c, counts, time):
    """After END, issued at `time`: next repeat, next section, or done. Returns the head's time, -1 when done."""
    counts[N_FETCH] += (q[x, PC] + 1) * WORD_BYTES
    q[x, REPEAT] += 1
    if q[x, REPEAT] >= runs[q[x, RUN], RUN_REPEAT]:
        q[x, REPEAT] = 0
        q[x, RUN] += 1
    if q[x, RUN] >= q[x, RUN_END]:
        q[x, DONE] = 1
        q[x, REASON] = REASON_DONE
        g[G_LIVE] -= 1
        return -1
    start_run(q, x, aregs, bases, runs, run_aregs, sections, c, time + 1)
    return q[x, AVAIL]


@njit(cache=True)
def set_areg(w, i, q, x, aregs, scalars):
    """SETA."""
    which = w[i, P4] & 15
    value = scalars[which]
    if which == S_CORE:
        value = q[x, UNIT] if q[x, KIND] < CDMA_IN else 0
    elif which == S_CLUSTER:
        value = q[x, CLUSTER]
    value = value // max(1, w[i, N0])
    if w[i, N1] != 0:
        value = value % w[i, N1]
    value *= w[i, P3]
    base = w[i, P2] << 32 | (w[i, P1] & 0xFFFFFFFF)
    if w[i, MODE] & MODE_SETA_SHIFT:
        value = base << value if 0 <= value < AREG_BITS else 0
    else:
        value += base
    target = w[i, P0] & 15
    if target:
        aregs[x, target] = wrap(value + aregs[x, w[i, N2] & 15])


@njit(cache=True)
def open_loop(w, i, q, x, aregs, loops, released, c, iterations, time):
    """LOOP at pc, issued at `time`. Returns the next pc, or -1 for an illegal loop."""
    pc, depth, body = q[x, PC], q[x, DEPTH], w[i, N1]
    if body > c[C_FIFO] or depth >= LOOP_DEPTH or pc + 1 + body >= q[x, WORDS]:
        return -1
    if iterations == 0 or body == 0:
        if depth == 0:
            release(q, x, released, c, pc + 1, pc + 1 + body, time)
        return pc + 1 + body
    if depth > 0 and pc + 1 + body > loops[x, (depth - 1) * LOOP_FIELDS + L_END]:
        return -1
    at = depth * LOOP_FIELDS
    loops[x, at + L_START], loops[x, at + L_END] = pc + 1, pc + 1 + body
    loops[x, at + L_LEFT], loops[x, at + L_WORD] = iterations, i
    for slot in range(4):
        loops[x, at + L_SAVED + slot] = aregs[x, w[i, P4] >> (4 * slot) & 15]
    q[x, DEPTH] = depth + 1
    return pc + 1


@njit(cache=True)
def step_loops(w, q, x, aregs, loops, released, c, following, time):
    """Loop ends at `following`: back-edges and exits. Returns the pc after them."""
    while q[x, DEPTH] > 0:
        at = (q[x, DEPTH] - 1) * LOOP_FIELDS
        if following != loops[x, at + L_END]:
            break
        i = loops[x, at + L_WORD]
        loops[x, at + L_LEFT] -= 1
        again = loops[x, at + L_LEFT] > 0
        for slot in range(4):
            register = w[i, P4] >> (4 * slot) & 15
            if register:
                if again:
                    aregs[x, register] = wrap(aregs[x, register] + w[i, P0 + slot])
                else:
                    aregs[x, register] = loops[x, at + L_SAVED + slot]
        if again:
            return loops[x, at + L_START]
        q[x, DEPTH] -= 1
        if q[x, DEPTH] == 0:
            release(q, x, released, c, loops[x, at + L_START], loops[x, at + L_END], time)
    return following


@njit(cache=True)
def advance(g, q, x, w, i, aregs, loops, released, c, iterations, time):
    """Move to the next word after word i, issued at `time` (END excepted). Returns the fault code, 0 = none."""
    pc = q[x, PC]
    if q[x, DEPTH] == 0:
        release(q, x, released, c, pc, pc + 1, time)
    following = pc + 1
    if w[i, OP] == LOOP:
        following = open_loop(w, i, q, x, aregs, loops, released, c, iterations, time)
        if following < 0:
            return FAULT_LOOP
    if q[x, DEPTH] > 0:
        following = step_loops(w, q, x, aregs, loops, released, c, following, time)
    if following >= q[x, WORDS]:
        return FAULT_PC
    q[x, PC] = following
    fetch_to(q, x, released, c, following)
    return 0


@njit(cache=True)
def _holds(w, i, wait, sems, base):
    return w[i, wait + 1] == 0 or sems[base + (w[i, wait] & 31)] >= w[i, wait + 1]


@njit(cache=True)
def take_waits(w, i, q, x, sems):
    """Consume the waits of word i if all hold. SYNC has two more in p0, p1. Returns whether they were taken."""
    n0, n1, n2, n3 = w[i, WAIT0_N], w[i, WAIT1_N], 0, 0
    if w[i, OP] == SYNC:
        n2, n3 = w[i, P0] >> 8 & 255, w[i, P1] >> 8 & 255
    if n0 == 0 and n1 == 0 and n2 == 0 and n3 == 0:
        return True
    base = q[x, SEMS]
    s0, s1 = base + (w[i, WAIT0] & 31), base + (w[i, WAIT1] & 31)
    s2, s3 = base + (w[i, P0] & 31), base + (w[i, P1] & 31)
    sems[s0] -= n0
    sems[s1] -= n1
    if n2:
        sems[s2] -= n2
    if n3:
        sems[s3] -= n3
    good = sems[s0] >= 0 and sems[s1] >= 0 and (n2 == 0 or sems[s2] >= 0) and (n3 == 0 or sems[s3] >= 0)
    if not good:
        give_waits(w, i, q, x, sems)
    return good


@njit(cache=True)
def give_waits(w, i, q, x, sems):
    """Put back what `take_waits` took, when the word cannot issue for another reason."""
    base = q[x, SEMS]
    sems[base + (w[i, WAIT0] & 31)] += w[i, WAIT0_N]
    sems[base + (w[i, WAIT1] & 31)] += w[i, WAIT1_N]
    if w[i, OP] == SYNC:
        sems[base + (w[i, P0] & 31)] += w[i, P0] >> 8 & 255
        sems[base + (w[i, P1] & 31)] += w[i, P1] >> 8 & 255


@njit(cache=True)
def ports_free(q, x, d, cores):
    """Whether no other unit of the core holds a port that d asks for."""
    kind, core = q[x, KIND], q[x, UNIT]
    for other in range(4):
        if other != kind:
            y = other * cores + core
            if (
                (q[y, HELD_L1R] & d[0]) | (q[y, HELD_ACR] & d[1]) | (q[y, HELD_L1W] & d[2]) | (q[y, HELD_ACW] & d[3])
            ) != 0:
                return False
    return True


@njit(cache=True)
def target_mask(code, aregs, x):
    """Value of the areg that a signal's target names; 0 if it names none."""
    kind = code >> 13
    return aregs[x, code >> 5 & 15] if kind == CORES_MASK or kind == CDMA_MASK else 0


@njit(cache=True)
def enter(q, x, f, w, i, d, aregs, node, instance, row, time):
    """Put word i into the queue's list of words in flight; returns its slot."""
    slot = (q[x, HEAD_SLOT] + q[x, INFLIGHT]) % f.shape[1]
    q[x, INFLIGHT] += 1
    f[x, slot, F_ISSUE], f[x, slot, F_ROW] = time, row
    f[x, slot, F_NODE], f[x, slot, F_INSTANCE] = node, instance
    for k in range(4):
        f[x, slot, F_L1R + k] = d[k]
        q[x, HELD_L1R + k] |= d[k]
    for k in range(2):
        code = w[i, SIG0 + k]
        f[x, slot, F_SIG0 + 2 * k], f[x, slot, F_MASK0 + 2 * k] = code, target_mask(code, aregs, x)
    return slot


@njit(cache=True)
def complete_at(heap, g, q, x, f, slot, c, core_at, nodes, instances, trace, time):
    """The word in `slot` completes at `time`: schedule that, send its signals, book its node."""
    push(heap, g, time, PHASE_COMPLETE, x)
    for k in range(2):
        code = f[x, slot, F_SIG0 + 2 * k]
        if code:
            send(heap, g, q, x, c, core_at, code, f[x, slot, F_MASK0 + 2 * k], time)
    if f[x, slot, F_ROW] >= 0:
        trace[f[x, slot, F_ROW], 4] = time
    node, instance = f[x, slot, F_NODE], f[x, slot, F_INSTANCE]
    kind = q[x, KIND]
    busy = time - max(f[x, slot, F_ISSUE], q[x, LAST])
    column = NODE_MATRIX if kind == MATRIX else (NODE_VECTOR if kind == VECTOR else NODE_DMA)
    nodes[node, column] += max(0, busy)
    instances[instance, 1] = max(instances[instance, 1], time)
    q[x, LAST] = time
    g[G_LAST] = max(g[G_LAST], time)


@njit(cache=True)
def finish(heap, g, q, x, f, cores, time):
    """Completion event of queue x's oldest word: ports and unit are free, blocked queues of the core try again."""
    settle(q, x, time)
    slots = f.shape[1]
    head = (q[x, HEAD_SLOT] + 1) % slots
    left = q[x, INFLIGHT] - 1
    q[x, HEAD_SLOT], q[x, INFLIGHT] = head, left
    for k in range(4):
        held = 0
        for j in range(left):
            held |= f[x, (head + j) % slots, F_L1R + k]
        q[x, HELD_L1R + k] = held
    if q[x, REASON] == REASON_UNIT:
        try_at(heap, g, q, x, time)
    if q[x, KIND] < CDMA_IN:
        core = q[x, UNIT]
        for other in range(4):
            y = other * cores + core
            if q[y, REASON] == REASON_PORT:
                try_at(heap, g, q, y, time)


@njit(cache=True)
def node_of(node, repeat, nodes):
    """Row of the node table and index of the instance for a word of `node` in `repeat`."""
    row = node if node >= 0 else nodes.shape[0] - 1
    return row, nodes[row, NODE_BASE] + min(repeat // nodes[row, NODE_GROUP], INSTANCES_LIMIT - 1)


@njit(cache=True)
def begin(heap, g, q, aregs, bases, runs, run_aregs, sections, c):
    """Time 0: every queue that has a run starts it; the others are done."""
    for x in range(len(q)):
        if q[x, RUN] < q[x, RUN_END]:
            g[G_LIVE] += 1
            start_run(q, x, aregs, bases, runs, run_aregs, sections, c, 0)
            try_at(heap, g, q, x, q[x, AVAIL])
        else:
            q[x, DONE] = 1
            q[x, REASON] = REASON_DONE
