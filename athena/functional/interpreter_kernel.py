"""Numba: the interpreter of all queues: waits, signals, loops, address registers, sections, and the
call of each unit's kernel.

`build(stamp)` makes the one compiled and cached function; `stamp` names the sources it was
compiled from, since Numba's cache looks at the file of the outermost function only.
"""

# mypy: ignore-errors

from __future__ import annotations

from numba import njit

from athena.functional.access_kernel import (
    BAD_LOOP,
    BLOCKED,
    DEPTH,
    DONE,
    DYN,
    FAULT,
    FINISHED,
    HOST,
    ILLEGAL_OP,
    LENGTH,
    LIMIT,
    PAUSE,
    PC,
    PENDING,
    Q_KIND,
    Q_SEMS,
    START,
    STREAM_END,
    TRACE_FULL,
    WRONG_QUEUE,
    fail,
)
from athena.functional.control_kernel import (
    S_BUFFERS,
    S_CLUSTERS,
    S_EXACT,
    S_L2,
    S_LANES,
    S_ROWS,
    S_SCRATCH,
    advance,
    allowed,
    end,
    loop,
    seta,
    signals,
    start_run,
    waits_hold,
)
from athena.functional.copy_kernel import copy, copyx, fill, mcast
from athena.functional.matmul_kernel import matmul
from athena.functional.quantise_kernel import vmxq
from athena.functional.trace_kernel import crc_of
from athena.functional.vec_kernel import vec, vgather, vperm

# Entries of `limits`: words and work left before LIMIT (-1: none), work before PAUSE, order seed
# (0: round robin), where to go on.
L_WORDS, L_WORK, L_PAUSE, L_SEED, L_QUEUE = range(5)
_NEVER = 1 << 40  # more than a semaphore can hold


def build(stamp: int):
    """The compiled interpreter for sources with this stamp."""

    @njit(cache=True, nogil=True)
    def interpret(
        words, queues, states, bases, scalars, sems, mem, shape, core_place, run_table, run_aregs,
        section_table, limits, parked, table, crcs, written, trace, trace_count, fault,
    ):  # fmt: skip
        """Run until all queues are done (FINISHED), none can go on (BLOCKED), or Python is needed.

        fault[6] is the queue that faulted or that calls the host.
        """
        if stamp == 0:
            return FAULT
        total = queues.shape[0]
        for i in range(total):
            if states[i, DONE] < 0:
                states[i, DONE] = 0
                start_run(queues[i], states[i], bases[i], run_table, run_aregs, section_table)
        work_before_pause = limits[L_PAUSE]
        seed = limits[L_SEED]
        tracing = trace.shape[0] > 1
        idle = 0
        q = limits[L_QUEUE]
        while idle < total:
            if seed != 0 and idle == 0:
                # Another queue after every word (Knuth's linear congruential generator).
                seed = (seed * 6364136223846793005 + 1442695040888963407) & 0x7FFFFFFFFFFFFFFF
                seed = max(seed, 1)
                q = (seed >> 33) % total
            if sems[parked[q, 0]] < parked[q, 1]:
                idle += 1
                q = q + 1 if q + 1 < total else 0
                continue
            parked[q, 1] = 0
            progressed = False
            info, state, base, scalar = queues[q], states[q], bases[q], scalars[q]
            while state[DONE] == 0:
                if work_before_pause <= 0 or trace_count[0] >= trace.shape[0]:
                    limits[L_SEED], limits[L_QUEUE] = seed, q
                    return PAUSE if work_before_pause <= 0 else TRACE_FULL
                if state[PC] >= state[LENGTH]:
                    fault[6] = q
                    fail(fault, STREAM_END, -1, state[PC], state[LENGTH], 0)
                    return FAULT
                row = words[state[START] + state[PC]]
                op = row[0]
                if state[PENDING] == 0:
                    legal = 1 <= op <= 4 or 8 <= op <= 11 or op == 16 or 24 <= op <= 27 or op == 32
                    if not legal or not allowed(op, info[Q_KIND]):
                        fault[6] = q
                        fail(fault, WRONG_QUEUE if legal else ILLEGAL_OP, -1, op, info[Q_KIND], 0)
                        return FAULT
                    if limits[L_WORDS] == 0 or limits[L_WORK] == 0:
                        return LIMIT
                    held = waits_hold(row, sems, info[Q_SEMS], parked[q], fault)
                    if held == 0:
                        break
                    if held < 0:
                        fault[6] = q
                        return FAULT
                    if op == 32:
                        state[PENDING] = 1
                        fault[6] = q
                        limits[L_SEED], limits[L_QUEUE] = seed, q
                        return HOST
                state[PENDING] = 0
                pc = state[PC]
                work = 0
                if tracing:
                    written[:, :] = 0
                if op == 16:
                    height, room = shape[S_ROWS], shape[S_SCRATCH]
                    work = matmul(row, info, state, base, scalar, mem, height, room, written, fault)
                elif op == 24:
                    work = vec(
                        row, info, state, base, scalar, mem, shape[S_LANES], shape[S_EXACT], table,
                        shape[S_BUFFERS], written, fault,
                    )  # fmt: skip
                elif op == 8:
                    work = copy(row, info, state, base, scalar, mem, written, fault)
                elif op == 9:
                    work = copyx(row, info, state, base, scalar, mem, written, fault)
                elif op == 10:
                    work = fill(row, info, state, base, scalar, mem, written, fault)
                elif op == 11:
                    first, count = shape[S_L2], shape[S_CLUSTERS]
                    work = mcast(row, info, state, base, scalar, mem, first, count, written, fault)
                elif op == 25:
                    work = vperm(row, info, state, base, scalar, mem, written, fault)
                elif op == 26:
                    work = vgather(row, info, state, base, scalar, mem, written, fault)
                elif op == 27:
                    work = vmxq(
                        row, info, state, base, scalar, mem, shape[S_EXACT], table,
                        shape[S_BUFFERS], written, fault,
                    )  # fmt: skip
                elif op == 4:
                    work = seta(row, state, scalar, fault)
                elif op == 3:
                    work = loop(row, state, scalar, fault)
                if work < 0 or (op == 1 and state[DEPTH] > 0):
                    if work >= 0:
                        fail(fault, BAD_LOOP, -1, state[DEPTH], 0, 3)
                    fault[6] = q
                    return FAULT
                if signals(row, info, state, shape, core_place, sems, fault) < 0:
                    fault[6] = q
                    return FAULT
                if tracing:
                    at = trace_count[0]
                    trace[at, 0], trace[at, 1], trace[at, 2] = q, state[DYN], pc
                    trace[at, 3] = crc_of(written, crcs)
                    trace_count[0] += 1
                state[DYN] += 1
                work_before_pause -= work + 1000
                limits[L_WORDS] -= 1
                if limits[L_WORK] > 0:
                    limits[L_WORK] = max(0, limits[L_WORK] - work)
                if op == 1:
                    end(info, state, base, run_table, run_aregs, section_table)
                else:
                    advance(words, state)
                progressed = True
                if seed != 0:
                    break
            if state[DONE] != 0:
                parked[q, 1] = _NEVER
            if progressed:
                idle = 0
            else:
                idle += 1
            q = q + 1 if q + 1 < total else 0
        for i in range(total):
            if states[i, DONE] == 0:
                return BLOCKED
        return FINISHED

    return interpret
