"""Numba: what every queue's controller does: waits, signals, loops, address registers, sections."""

# mypy: ignore-errors

from __future__ import annotations

from athena.functional.access_kernel import (
    AREG,
    BAD_FIELD,
    BAD_LOOP,
    DEPTH,
    DONE,
    LENGTH,
    LOOP_COLUMNS,
    LOOPS,
    PC,
    Q_CLUSTER,
    Q_RUN1,
    Q_SEMS,
    REPEAT,
    RUN,
    SEM_OVERFLOW,
    START,
    clipped,
    fail,
)
from athena.functional.inner_kernel import inner

# Entries of `shape`: cores, clusters, array rows, lanes, library functions instead of tables, index
# of the first L2 memory, addresses of MATMUL's scratch and VEC's buffers.
S_CORES, S_CLUSTERS, S_ROWS, S_LANES, S_EXACT, S_L2, S_SCRATCH, S_BUFFERS = range(8)
_SIGN = 1 << 47
_WRAP = 1 << 48


@inner
def _wrap48(value):
    """Cut to 48 bits, signed."""
    value &= _WRAP - 1
    return value - _WRAP if value & _SIGN else value


@inner
def allowed(op, kind):
    """Whether a queue of this kind has the word."""
    if op <= 4:
        return True
    if op == 8:
        return kind == 0 or kind == 1 or kind == 4 or kind == 5
    if op == 9:
        return kind == 0 or kind == 1
    if op == 10:
        return kind == 1
    if op == 11:
        return kind == 4
    if op == 16:
        return kind == 2
    if op == 32:
        return kind == 6
    return kind == 3


@inner
def start_run(info, state, base, run_table, run_aregs, section_table):
    """Set pc, address registers and segment bases for the queue's present run and repeat, or mark
    it done.
    """
    run = state[RUN]
    if run >= info[Q_RUN1]:
        state[DONE] = 1
        return
    state[PC] = 0
    state[DEPTH] = 0
    state[START] = run_table[run, 0]
    state[LENGTH] = run_table[run, 1]
    section = run_table[run, 2]
    for i in range(16):
        state[AREG + i] = run_aregs[run, i]
        base[i] = section_table[section, 1 + i] + state[REPEAT] * section_table[section, 17 + i]


@inner
def end(info, state, base, run_table, run_aregs, section_table):
    """END: next repeat, next run, or done."""
    state[REPEAT] += 1
    if state[REPEAT] >= section_table[run_table[state[RUN], 2], 0]:
        state[REPEAT] = 0
        state[RUN] += 1
    start_run(info, state, base, run_table, run_aregs, section_table)


@inner
def _wait(row, i):
    """Semaphore and count of wait i (2 and 3: SYNC only)."""
    if i < 2:
        return row[6 + 2 * i], row[7 + 2 * i]
    if row[0] == 2:
        return row[44 + i] & 255, (row[44 + i] >> 8) & 255
    return 0, 0


@inner
def waits_hold(row, sems, first, parked, fault):
    """1 and the semaphores taken if all waits hold; 0 if not, -1 for one that does not exist.

    parked[2]: the first semaphore that is too low (of all) and the value it must reach.
    """
    for i in range(4):
        sem, n = _wait(row, i)
        if n == 0:
            continue
        if sem > 31:
            return fail(fault, BAD_FIELD, -1, sem, 31, 6)
        need = n
        for j in range(i):
            other, taken = _wait(row, j)
            if other == sem:
                need += taken
        if sems[first + sem] < need:
            parked[0] = first + sem
            parked[1] = need
            return 0
    for i in range(4):
        sem, n = _wait(row, i)
        if n != 0:
            sems[first + sem] -= n
    return 1


@inner
def _raise(sems, at, fault):
    """Add one to a semaphore."""
    sems[at] += 1
    if sems[at] > 255:
        return fail(fault, SEM_OVERFLOW, -1, at & 31, 255, at >> 5)
    return 0


@inner
def _signal(code, info, state, shape, core_place, sems, fault):
    """Send one signal. core_place[cores, 2]: cluster and place in it of each logical core."""
    kind, arg, sem = code >> 13, (code >> 5) & 255, code & 31
    cores, clusters = shape[S_CORES], shape[S_CLUSTERS]
    if kind == 0:
        return 0
    if kind == 1:
        return _raise(sems, info[Q_SEMS] + sem, fault)
    if kind == 7:
        return _raise(sems, 32 * (cores + clusters) + sem, fault)
    if kind == 3 or kind == 2:
        if info[Q_CLUSTER] < 0:
            return fail(fault, BAD_FIELD, -1, kind, 7, 10)
        if kind == 3:
            return _raise(sems, 32 * (cores + info[Q_CLUSTER]) + sem, fault)
    if kind >= 5 and arg > 15:
        return fail(fault, BAD_FIELD, -1, arg, 15, 10)
    mask = state[AREG + arg] if kind >= 5 else arg
    if kind == 5:
        for cluster in range(clusters):
            if (mask >> cluster) & 1 and _raise(sems, 32 * (cores + cluster) + sem, fault) < 0:
                return -1
        return 0
    for core in range(cores):
        cluster, place = core_place[core]
        hit = kind == 4
        if kind == 2:
            hit = cluster == info[Q_CLUSTER] and (mask >> place) & 1
        elif kind == 6:
            hit = (mask >> cluster) & 1
        if hit and _raise(sems, 32 * core + sem, fault) < 0:
            return -1
    return 0


@inner
def signals(row, info, state, shape, core_place, sems, fault):
    """All signals of a word."""
    for i in range(4):
        code = row[10 + i] if i < 2 else (row[46 + i] & 0xFFFF if row[0] == 2 else 0)
        if code != 0 and _signal(code, info, state, shape, core_place, sems, fault) < 0:
            return -1
    return 0


@inner
def seta(row, state, scalars, fault):
    """SETA."""
    target, scalar, add = row[46], row[50], row[42]
    if not 1 <= target <= 15 or not 0 <= scalar <= 15 or not 0 <= add <= 15 or row[40] == 0:
        return fail(fault, BAD_FIELD, -1, target if row[40] else 0, 15, 46)
    q = scalars[scalar] // row[40]
    if row[41] != 0:
        q = q % row[41]
    value = (row[48] << 32) | (row[47] & 0xFFFFFFFF)
    value = _wrap48(value)
    if row[1] & 1:
        shift = q * row[49]
        value = value << shift if 0 <= shift < 48 else value >> -shift if -48 < shift < 0 else 0
    else:
        value = value + q * row[49]
    state[AREG + target] = _wrap48(value + state[AREG + add])
    return 0


@inner
def loop(row, state, scalars, fault):
    """LOOP: push the body, or skip it."""
    count = clipped(row, 0, state, scalars)
    body = row[41]
    first = state[PC] + 1
    if first + body > state[LENGTH]:
        return fail(fault, BAD_LOOP, -1, first + body, state[LENGTH], 0)
    if count == 0 or body == 0:
        state[PC] = first + body - 1
        return 0
    depth = state[DEPTH]
    if depth >= 3:
        return fail(fault, BAD_LOOP, -1, depth + 1, 3, 1)
    if depth > 0 and first + body > state[LOOPS + LOOP_COLUMNS * (depth - 1) + 1]:
        return fail(
            fault, BAD_LOOP, -1, first + body, state[LOOPS + LOOP_COLUMNS * (depth - 1) + 1], 2
        )
    at = LOOPS + LOOP_COLUMNS * depth
    state[at] = first
    state[at + 1] = first + body
    state[at + 2] = count
    state[at + 3] = state[START] + state[PC]
    for i in range(4):
        state[at + 4 + i] = state[AREG + ((row[50] >> (4 * i)) & 15)]
    state[DEPTH] = depth + 1
    return 0


@inner
def advance(words, state):
    """Next pc; loop ends go back or restore the address registers."""
    state[PC] += 1
    while state[DEPTH] > 0:
        at = LOOPS + LOOP_COLUMNS * (state[DEPTH] - 1)
        if state[PC] != state[at + 1]:
            return
        loop = words[state[at + 3]]
        state[at + 2] -= 1
        again = state[at + 2] > 0
        for i in range(4):
            areg = (loop[50] >> (4 * i)) & 15
            if areg != 0:
                step = state[AREG + areg] + loop[46 + i]
                state[AREG + areg] = _wrap48(step) if again else state[at + 4 + i]
        if again:
            state[PC] = state[at]
            return
        state[DEPTH] -= 1
