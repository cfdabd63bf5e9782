"""Numba: vector clocks of queues: columns of the abstract run's arrays, and what a signal teaches.

In:  rows of `info`, `dyn`, `clocks`, `versions`, `remote` (see `athena.isa.run_kernel.trace`).
Out: the waiting queue's clock, joined with the signal's.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from numba import njit

# Columns of `info` [queues, …], fixed: kind, unit, cluster (-1: host), first semaphore, runs.
# whether L1 and ACC accesses are recorded, place in its group (the queues of a core, of a cluster's
# DMA, or the host, which stand one after the other), first queue and end of the group.
(
    I_KIND, I_UNIT, I_CLUSTER, I_SEM, I_RUN, I_RUN_END, I_LOCAL, I_SLOT, I_GROUP, I_GROUP_END,
    INFO_COLUMNS,
) = range(11)  # fmt: skip
GROUP_SLOTS = 4
REMOTE = GROUP_SLOTS  # column of a version that names the version of what is known of other groups
# Columns of `runs`: first word, section.
R_WORD, R_SECTION = range(2)
# Columns of `dyn` [queues, …]: run, number of the repeat, done, unit words issued, own words known
# to be complete, version of the clock, clock changed since that version, version of other groups,
# that version if no clock refers to it yet and it may be changed in place.
D_RUN, D_REPEAT, D_DONE, D_POS, D_KNOWN, D_VERSION, D_DIRTY, D_REMOTE, D_FRESH, DYN_COLUMNS = range(
    10
)
# Columns of a record.
(
    T_QUEUE, T_WORD, T_SECTION, T_REPEAT, T_POS, T_VERSION, T_KNOWN, T_COUNT, T_ADDRESS, T_MASK,
    RECORD_COLUMNS,
) = (0, 1, 2, 3, 4, 5, 6, 7, 10, 16, 17)  # fmt: skip
# Entries of `left`: steps, steps of look-ahead; 0 after a limit was met.
L_STEPS, L_AHEAD = range(2)


@njit(cache=True)
def _own_row(x, made, remote, dyn):
    """Make the row of other groups that queue x knows its own to change; gives the rows made."""
    mine = dyn[x, D_REMOTE]
    dyn[x, D_DIRTY] = 1
    if dyn[x, D_FRESH] == mine and mine != 0:
        return made
    remote[made, :] = remote[mine]
    dyn[x, D_REMOTE] = made
    dyn[x, D_FRESH] = made
    return made + 1


@njit(cache=True)
def _merge(x, wanted, made, info, clocks, remote, dyn):
    """Queue x adds row `wanted` of other groups to what it knows; gives the rows made."""
    mine = dyn[x, D_REMOTE]
    if wanted == mine or wanted == 0:
        return made
    more, less = False, False
    for q in range(remote.shape[1]):
        if remote[wanted, q] > remote[mine, q]:
            more = True
        elif remote[wanted, q] < remote[mine, q]:
            less = True
    if not more:
        return made
    if less:
        made = _own_row(x, made, remote, dyn)
        mine = dyn[x, D_REMOTE]
        for q in range(remote.shape[1]):
            remote[mine, q] = max(remote[wanted, q], remote[mine, q])
    else:
        dyn[x, D_REMOTE] = wanted
        dyn[x, D_DIRTY] = 1
    for q in range(info[x, I_GROUP], info[x, I_GROUP_END]):
        slot = info[q, I_SLOT]
        clocks[x, slot] = max(clocks[x, slot], remote[wanted, q])
    return made


@njit(cache=True)
def join(x, producer, version, own, made, info, clocks, versions, remote, dyn):
    """Queue x learns what a signal carries; gives the number of rows of other groups."""
    made = _merge(x, versions[version, REMOTE], made, info, clocks, remote, dyn)
    same = info[producer, I_GROUP] == info[x, I_GROUP]
    for q in range(info[producer, I_GROUP], info[producer, I_GROUP_END]):
        slot = info[q, I_SLOT]
        known = versions[version, slot]
        if q == producer:
            known = max(known, own)
        if same and known > clocks[x, slot]:
            clocks[x, slot] = known
            dyn[x, D_DIRTY] = 1
        elif not same and known > remote[dyn[x, D_REMOTE], q]:
            made = _own_row(x, made, remote, dyn)
            remote[dyn[x, D_REMOTE], q] = known
    dyn[x, D_KNOWN] = max(dyn[x, D_KNOWN], clocks[x, info[x, I_SLOT]])
    return made
