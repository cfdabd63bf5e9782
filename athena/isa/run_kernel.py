"""Numba: all queues of a program without data: waits, signals, loops, sections; with clocks.

`run` plays the counters only. `trace` also keeps vector clocks and records every unit word with its
counts, addresses and clock; `athena.isa.check_race` says what the clocks mean.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from numba import njit

from athena.isa.clock_kernel import (
    D_DIRTY,
    D_DONE,
    D_FRESH,
    D_KNOWN,
    D_POS,
    D_REMOTE,
    D_REPEAT,
    D_RUN,
    D_VERSION,
    GROUP_SLOTS,
    I_CLUSTER,
    I_GROUP,
    I_GROUP_END,
    I_KIND,
    I_LOCAL,
    I_RUN,
    I_RUN_END,
    I_SEM,
    L_AHEAD,
    L_STEPS,
    R_SECTION,
    R_WORD,
    REMOTE,
    T_ADDRESS,
    T_COUNT,
    T_KNOWN,
    T_MASK,
    T_POS,
    T_QUEUE,
    T_REPEAT,
    T_SECTION,
    T_VERSION,
    T_WORD,
    join,
)
from athena.isa.fields import (
    OP,
    P0,
    P2,
    SIG0,
    WAIT0,
    Op,
    Queue,
    Sig,
)
from athena.isa.walk_kernel import AREG, DEPTH, PC, address_of, count_of, step

# What a kernel returns.
FINISHED, BLOCKED, LIMIT = range(3)

_END, _SYNC, _FIRST_UNIT, _MCAST = int(Op.END), int(Op.SYNC), int(Op.COPY), int(Op.MCAST)
_MATRIX, _VECTOR, _HOST = int(Queue.MATRIX), int(Queue.VECTOR), int(Queue.HOST)
_SELF, _CORES, _CDMA, _ALL = (
    int(Sig.SELF), int(Sig.CORES_OF_CLUSTER), int(Sig.CDMA), int(Sig.ALL_CORES),
)  # fmt: skip
_CDMA_MASK, _CORES_MASK, _CHIP = int(Sig.CDMA_MASK), int(Sig.CORES_MASK), int(Sig.CHIP)


@njit(cache=True)
def wait_of(word, i):
    """Semaphore and count of wait i of 4."""
    if i < 2:
        return word[WAIT0 + 2 * i], word[WAIT0 + 1 + 2 * i]
    if word[OP] == _SYNC:
        return word[P0 + i - 2] & 255, word[P0 + i - 2] >> 8 & 255
    return 0, 0


@njit(cache=True)
def _signal_of(word, i):
    if i < 2:
        return word[SIG0 + i]
    return word[P2 + i - 2] & 0xFFFF if word[OP] == _SYNC else 0


@njit(cache=True)
def _holds(word, sems, first):
    """Whether all waits hold together."""
    for i in range(4):
        sem, n = wait_of(word, i)
        if n == 0:
            continue
        held = sems[first + sem]
        for j in range(i):
            other, taken = wait_of(word, j)
            if other == sem:
                held -= taken
        if held < n:
            return False
    return True


@njit(cache=True)
def _targets(code, x, info, state, place, clusters, out):
    """Write the semaphores that a signal of queue x raises to `out`; gives their number."""
    cores = place.shape[0]
    kind, arg, sem = code >> 13, code >> 5 & 255, code & 31
    if kind == 0:
        return 0
    if kind == _SELF:
        out[0] = info[x, I_SEM] + sem
        return 1
    if kind == _CDMA:
        out[0] = 32 * (cores + info[x, I_CLUSTER]) + sem
        return 1
    if kind == _CHIP:
        out[0] = 32 * (cores + clusters) + sem
        return 1
    mask = state[x, AREG + (arg & 15)] if kind >= _CDMA_MASK else arg
    count = 0
    if kind == _CDMA_MASK:
        for cluster in range(min(clusters, 48)):
            if mask >> cluster & 1:
                out[count] = 32 * (cores + cluster) + sem
                count += 1
        return count
    for core in range(cores):
        cluster = place[core, 0]
        hit = kind == _ALL
        if kind == _CORES:
            hit = cluster == info[x, I_CLUSTER] and (mask >> place[core, 1] & 1) != 0
        elif kind == _CORES_MASK:
            hit = cluster < 48 and (mask >> cluster & 1) != 0
        if hit:
            out[count] = 32 * core + sem
            count += 1
    return count


@njit(cache=True)
def _begin(x, info, runs, run_aregs, state, dyn):
    """Set pc and aregs for the queue's run, or mark it done."""
    run = dyn[x, D_RUN]
    if run >= info[x, I_RUN_END]:
        dyn[x, D_DONE] = 1
        return
    state[x, PC] = 0
    state[x, DEPTH] = 0
    state[x, AREG : AREG + 16] = run_aregs[run]


@njit(cache=True)
def start(info, runs, run_aregs, state, dyn):
    """All queues at their first word."""
    for x in range(info.shape[0]):
        dyn[x, :] = 0
        dyn[x, D_RUN] = info[x, I_RUN]
        _begin(x, info, runs, run_aregs, state, dyn)


@njit(cache=True)
def _end(x, info, runs, run_aregs, repeats, state, dyn):
    """END: next repeat or run."""
    dyn[x, D_REPEAT] += 1
    if dyn[x, D_REPEAT] >= repeats[runs[dyn[x, D_RUN], R_SECTION]]:
        dyn[x, D_REPEAT] = 0
        dyn[x, D_RUN] += 1
    _begin(x, info, runs, run_aregs, state, dyn)


@njit(cache=True)
def _status(dyn):
    for x in range(dyn.shape[0]):
        if dyn[x, D_DONE] == 0:
            return BLOCKED
    return FINISHED


@njit(cache=True)
def _in_order(kind):
    """Whether the unit executes one word at a time."""
    return kind in (_MATRIX, _VECTOR, _HOST)


@njit(cache=True)
def run(
    words, info, scalars, runs, run_aregs, repeats, place, clusters, state, dyn, sems, taken, sent,
    held, control, left, which, out,
):  # fmt: skip
    """Go on until every queue is done or blocked.

    `taken[s]` grows by the units waited for; `sent` counts signals [semaphore, 2 * queue + 1 for
    SYNC and the like] unless it is empty. Queue `held` (-1: none) does not go on at all if
    `control` is 0; otherwise its units' words give no signals, as if the one before did not
    complete, and a unit that executes one word at a time stops at the next. `left[which]`: steps.
    """
    queues = info.shape[0]
    idle = 0
    x = 0
    moved = False
    while idle < queues:
        while dyn[x, D_DONE] == 0:
            first = runs[dyn[x, D_RUN], R_WORD]
            word = words[first + state[x, PC]]
            unit = word[OP] >= _FIRST_UNIT
            if x == held and (control == 0 or (unit and _in_order(info[x, I_KIND]))):
                break
            if not _holds(word, sems, info[x, I_SEM]):
                break
            if left[which] <= 0:
                return LIMIT
            left[which] -= 1
            moved = True
            for i in range(4):
                sem, n = wait_of(word, i)
                if n != 0:
                    sems[info[x, I_SEM] + sem] -= n
                    taken[info[x, I_SEM] + sem] += n
            for i in range(4):
                code = 0 if unit and x == held else _signal_of(word, i)
                if code != 0:
                    for t in range(_targets(code, x, info, state, place, clusters, out)):
                        sems[out[t]] += 1
                        if sent.shape[0] > 0:
                            sent[out[t], 2 * x if unit else 2 * x + 1] += 1
            if word[OP] == _END:
                _end(x, info, runs, run_aregs, repeats, state, dyn)
            else:
                step(words, first, state[x], scalars[x])
        # A group goes on until none of its queues can move, then the next group has its turn.
        idle += 1
        x += 1
        if x == info[x - 1, I_GROUP_END]:
            if moved:
                idle = 0
                x = info[x - 1, I_GROUP]
            elif x == queues:
                x = 0
            moved = False
    return _status(dyn)


@njit(cache=True)
def trace(
    words, info, scalars, runs, run_aregs, repeats, place, clusters, state, dyn, sems, left, out,
    pair_range, pair_column, pair_total, pair_first, pair_sent, log, taken, clocks, versions,
    pair_next, remote, records, ahead_state, ahead_dyn, ahead_sems, ahead_taken, none, pair_of,
):  # fmt: skip
    """As `run`, with clocks and records. Gives (status, records, versions, versions of others).

    versions[v]: words known complete of each queue of the own group, and the row of `remote` with
    those of all other queues.
    Producers of semaphore s are the pairs pair_range[s] … pair_range[s + 1] - 1; pair p is column
    pair_column[p], sends pair_total[p] signals in all, has sent pair_sent[p], and its k-th signal
    is log[pair_first[p] + k]: clock (version, own words complete) and the units of s that could be
    taken without it. The first pair_next[p] of them are known to the consumer. taken[s]: units
    waited for, less the initial value.
    """
    queues = info.shape[0]
    count, made, others = 0, 1, 1
    idle = 0
    x = 0
    moved = False
    while idle < queues:
        while dyn[x, D_DONE] == 0:
            at_run = dyn[x, D_RUN]
            first = runs[at_run, R_WORD]
            word = words[first + state[x, PC]]
            if not _holds(word, sems, info[x, I_SEM]):
                break
            full = count >= records.shape[0] or made + 1 >= versions.shape[0]
            full = full or others + 2 * queues >= remote.shape[0]
            if left[L_STEPS] <= 0 or left[L_AHEAD] <= 0 or full:
                return LIMIT, count, made, others
            left[L_STEPS] -= 1
            moved = True
            # The clocks that the waits bring; the waiting word has not issued yet.
            for i in range(4):
                sem, n = wait_of(word, i)
                if n == 0:
                    continue
                s = info[x, I_SEM] + sem
                need = taken[s] + n
                for j in range(i):
                    other, more = wait_of(word, j)
                    if other == sem:
                        need += more
                alone = pair_range[s + 1] - pair_range[s] == 1
                for p in range(pair_range[s], pair_range[s + 1]):
                    k = pair_next[p]
                    if alone:
                        k = max(k, need)
                    else:
                        while k < pair_sent[p] and log[pair_first[p] + k, 2] < need:
                            k += 1
                    if k > pair_next[p]:
                        pair_next[p] = k
                        entry = log[pair_first[p] + k - 1]
                        others = join(
                            x, pair_column[p] // 2, entry[0], entry[1], others, info, clocks,
                            versions, remote, dyn,
                        )  # fmt: skip
            for i in range(4):
                sem, n = wait_of(word, i)
                if n != 0:
                    sems[info[x, I_SEM] + sem] -= n
                    taken[info[x, I_SEM] + sem] += n
            unit = word[OP] >= _FIRST_UNIT
            kind = info[x, I_KIND]
            if unit and _in_order(kind):
                dyn[x, D_KNOWN] = dyn[x, D_POS]
            if dyn[x, D_DIRTY] != 0:
                versions[made, :GROUP_SLOTS] = clocks[x]
                versions[made, REMOTE] = dyn[x, D_REMOTE]
                dyn[x, D_VERSION] = made
                dyn[x, D_DIRTY] = 0
                dyn[x, D_FRESH] = 0
                made += 1
            own = dyn[x, D_KNOWN]
            if unit:
                dyn[x, D_POS] += 1
                if info[x, I_LOCAL] != 0 or (kind != _MATRIX and kind != _VECTOR):
                    row = records[count]
                    row[T_QUEUE] = x
                    row[T_WORD] = first + state[x, PC]
                    row[T_SECTION] = runs[at_run, R_SECTION]
                    row[T_REPEAT] = dyn[x, D_REPEAT]
                    row[T_POS] = dyn[x, D_POS]
                    row[T_VERSION] = dyn[x, D_VERSION]
                    row[T_KNOWN] = own
                    for i in range(3):
                        row[T_COUNT + i] = count_of(word, i, state[x], scalars[x])
                    for i in range(6):
                        row[T_ADDRESS + i] = address_of(word, i, state[x])
                    row[T_MASK] = 0
                    if word[OP] == _MCAST:
                        row[T_MASK] = state[x, AREG + (word[P2] & 15)]
                    count += 1
                own = dyn[x, D_POS]
            column = 2 * x if unit else 2 * x + 1
            # With several producers: how far every consumer comes without this word's signals.
            several = False
            for i in range(4):
                code = _signal_of(word, i)
                if code != 0:
                    for t in range(_targets(code, x, info, state, place, clusters, out)):
                        s = out[t]
                        p = pair_of[s, column]
                        if p < 0 or pair_sent[p] >= pair_total[p]:
                            return LIMIT, count, made, others  # the counting run was cut short
                        several = several or pair_range[s + 1] - pair_range[s] > 1
            if several:
                ahead_state[:] = state
                ahead_dyn[:] = dyn
                ahead_sems[:] = sems
                ahead_taken[:] = taken
                if unit:
                    step(words, first, ahead_state[x], scalars[x])
                run(
                    words, info, scalars, runs, run_aregs, repeats, place, clusters, ahead_state,
                    ahead_dyn, ahead_sems, ahead_taken, none, x, 1 if unit else 0, left, L_AHEAD,
                    out,
                )  # fmt: skip
                if left[L_AHEAD] <= 0:
                    return LIMIT, count, made, others
            for i in range(4):
                code = _signal_of(word, i)
                if code != 0:
                    for t in range(_targets(code, x, info, state, place, clusters, out)):
                        s = out[t]
                        sems[s] += 1
                        p = pair_of[s, column]
                        entry = log[pair_first[p] + pair_sent[p]]
                        entry[0], entry[1], entry[2] = dyn[x, D_VERSION], own, ahead_taken[s]
                        pair_sent[p] += 1
            if word[OP] == _END:
                _end(x, info, runs, run_aregs, repeats, state, dyn)
            else:
                step(words, first, state[x], scalars[x])
        # A group goes on until none of its queues can move, then the next group has its turn.
        idle += 1
        x += 1
        if x == info[x - 1, I_GROUP_END]:
            if moved:
                idle = 0
                x = info[x - 1, I_GROUP]
            elif x == queues:
                x = 0
            moved = False
    return _status(dyn), count, made, others
