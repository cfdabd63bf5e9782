"""The engine's final arrays as a `Timeline`.

In:  `State` after the last event. Out: `Timeline`, plain Python numbers in frozen objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.isa.fields import CLUSTER_QUEUES, Queue
from athena.isa.program import Program
from athena.timing import layout as at
from athena.timing.chip_arrays import host_seconds
from athena.timing.result import ActionCounts, NodeTime, Timeline, UnitUse
from athena.timing.setup import State, queue_table

Array = NDArray[np.int64]
DMA_QUEUES = (Queue.STORE, Queue.LOAD, *CLUSTER_QUEUES)
COMPUTE_TYPES = ("bf16", "int8", "fp32")


def collect(state: State, program: Program, chip: Chip) -> Timeline:
    """Sum up a finished simulation."""
    cycles = int(state.m[at.G_LAST])
    table = queue_table(chip)
    capacity = max(1, cycles) * at.TICKS * int(state.m[at.C_CHANNELS])
    calls = state.table(at.CALLS_AT, at.SERVERS_AT, at.CALL_SIZE)
    low, central, high = (
        sum(
            int(calls[i, at.CALL_RUNS]) * host_seconds(call, chip)[figure]
            for i, call in enumerate(program.host_calls)
        )
        for figure in range(3)
    )  # fmt: skip
    return Timeline(
        cycles=cycles,
        clock_hz=chip.clock_hz,
        counts=_counts(state),
        units=tuple(
            _unit(state.queues(), kind, table.first[kind], table.count[kind], cycles)
            for kind in Queue
        ),
        nodes=_nodes(state),
        events=int(state.m[at.G_EVENTS]),
        exact=True,
        hbm_busy_fraction=int(state.m[at.G_HBM_TICKS]) / capacity,
        host_s=(low, central, high),
        trace=state.trace[: int(state.m[at.G_ROWS])].copy() if state.m[at.C_TRACE] else None,
        queue_names=table.names(),
    )


def _counts(state: State) -> ActionCounts:
    n = [int(value) for value in state.m[at.COUNTS_AT : at.COUNTS_AT + at.COUNTS]]
    by_type = {name: n[at.N_MACS + i] for i, name in enumerate(COMPUTE_TYPES)}
    padded = {name: n[at.N_PADDED + i] for i, name in enumerate(COMPUTE_TYPES)}
    return ActionCounts(
        macs=by_type,
        padded_macs=padded,
        vector_ops=n[at.N_ALU],
        lut_ops=n[at.N_LUT],
        cast_ops=n[at.N_CAST],
        l1_read_bytes=n[at.N_L1R],
        l1_write_bytes=n[at.N_L1W],
        acc_read_bytes=n[at.N_ACR],
        acc_write_bytes=n[at.N_ACW],
        l2_read_bytes=n[at.N_L2R],
        l2_write_bytes=n[at.N_L2W],
        hbm_read_bytes=n[at.N_HBMR],
        hbm_write_bytes=n[at.N_HBMW],
        noc_byte_hops=n[at.N_HOPS],
        host_link_bytes=n[at.N_LINK],
        words_executed=int(state.queues()[:, at.DYNAMIC].sum()),
        fetch_bytes=n[at.N_FETCH],
    )


def _unit(q: Array, kind: Queue, first: int, count: int, cycles: int) -> UnitUse:
    rows = q[first : first + count]
    flying = rows[:, at.FLYING]
    working = np.minimum(flying, rows[:, at.BEATS]) if kind in DMA_QUEUES else flying
    busy, memory, sem, port, fetch = (
        float(cycles_of_queues.sum()) / count
        for cycles_of_queues in (
            working + rows[:, at.CONTROL],
            flying - working,
            rows[:, at.STALL_SEM],
            rows[:, at.STALL_PORT],
            rows[:, at.STALL_FETCH],
        )
    )
    return UnitUse(
        queue=kind,
        units=count,
        words=int(rows[:, at.DYNAMIC].sum()),
        busy_cycles=busy,
        wait_semaphore_cycles=sem,
        wait_port_cycles=port,
        wait_memory_cycles=memory,
        wait_fetch_cycles=fetch,
        idle_cycles=cycles - busy - sem - port - memory - fetch,
    )


def _nodes(state: State) -> tuple[NodeTime, ...]:
    """One entry for every node that a word worked for."""
    result = []
    nodes = state.table(at.NODES_AT, at.INSTANCES_AT, at.NODE_SIZE)
    instances = state.table(at.INSTANCES_AT, at.CALLS_AT, at.I_SIZE)
    starts = (nodes[:, at.NODE_BASE] - state.m[at.INSTANCES_AT]) // at.I_SIZE
    for node in range(len(nodes) - 1):
        spans = instances[int(starts[node]) : int(starts[node + 1])]
        spans = spans[spans[:, at.I_LAST] > 0]
        if len(spans) == 0:
            continue
        result.append(
            NodeTime(
                node=node,
                first_cycle=int(spans[:, at.I_FIRST].min()),
                last_cycle=int(spans[:, at.I_LAST].max()),
                span_cycles=_union_cycles(spans),
                matrix_busy_cycles=int(nodes[node, at.NODE_MATRIX]),
                vector_busy_cycles=int(nodes[node, at.NODE_VECTOR]),
                dma_busy_cycles=int(nodes[node, at.NODE_DMA]),
                hbm_bytes=int(nodes[node, at.NODE_HBM]),
                l2_bytes=int(nodes[node, at.NODE_L2]),
            )
        )
    return tuple(result)


def _union_cycles(spans: Array) -> int:
    """Length of the union of intervals [first, last)."""
    spans = spans[np.argsort(spans[:, at.I_FIRST], kind="stable")]
    reach = np.maximum.accumulate(spans[:, at.I_LAST])
    before = np.concatenate([[spans[0, at.I_FIRST]], reach[:-1]])
    return int(np.maximum(0, reach - np.maximum(spans[:, at.I_FIRST], before)).sum())
