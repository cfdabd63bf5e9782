"""Front end of a queue: instruction fetch, runs, loops and address registers.

In:  the engine's memory (`athena.timing.layout`), words, a queue. Out: its next word and when that
     is available.

Word p is available at max(avail(p - 1) + c, release(p - F) + latency + c), where c cycles fetch a
word and F words fit the FIFO; a word outside loops is released when it issues, the words of a loop
when the last word of its outermost loop's last iteration issues, a skipped body when its LOOP
issues.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

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
    WORD_BYTES,
)
from athena.timing.codes import AREG_BITS, LOOP
from athena.timing.event_kernel import scalar, try_at
from athena.timing.jit import kernel
from athena.timing.layout import (
    AREG,
    AREGS,
    AVAIL,
    BASE,
    C_FETCH_CYCLES,
    C_FETCH_LATENCY,
    C_FIFO,
    COUNTS_AT,
    DEPTH,
    DONE,
    FAULT_LOOP,
    FAULT_NONE,
    FAULT_PC,
    FETCHED,
    G_LIVE,
    L_END,
    L_LEFT,
    L_SAVED,
    L_START,
    L_WORD,
    LOOP_SIZE,
    LOOPS,
    N_FETCH,
    ORDER_AT,
    PC,
    Q_SIZE,
    QUEUES_AT,
    REASON,
    REASON_DONE,
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
    STREAM,
    WORD0,
    WORDS,
)


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
    """Words [first, end) leave the FIFO at `time`; the slots are reused, so their availability must
    be known before.
    """
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
    """After END, issued at `time`: next repeat, next section, or done. Returns the head's time, -1
    when done.
    """
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
    """Move to the next word after word i, issued at `time` (END excepted). Returns the fault code,
    0 = none.
    """
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
