"""What a timed execution gives: cycles, action counts, use of every unit, per-node times. Frozen.

In:  filled by `athena.timing.engine`. Out: read by energy, report, verify and the API.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from athena.isa.fields import Queue
from athena.units import cycles_to_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCounts:
    """Actions of a whole execution, summed over units. MACs by compute type (bf16, int8, fp32).

    `padded_macs` are MACs that the array performs on padding (not included in `macs`). `vector_ops`
    are alu steps on elements, `lut_ops` table steps, `cast_ops` conversions of results. Bytes are
    those moved at that memory's ports.
    """

    macs: dict[str, int] = field(default_factory=dict)
    padded_macs: dict[str, int] = field(default_factory=dict)
    vector_ops: int = 0
    lut_ops: int = 0
    cast_ops: int = 0
    l1_read_bytes: int = 0
    l1_write_bytes: int = 0
    acc_read_bytes: int = 0
    acc_write_bytes: int = 0
    l2_read_bytes: int = 0
    l2_write_bytes: int = 0
    hbm_read_bytes: int = 0
    hbm_write_bytes: int = 0
    noc_byte_hops: int = 0
    host_link_bytes: int = 0
    words_executed: int = 0
    fetch_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitUse:
    """Cycles of one kind of queue, mean over its units. They sum to the execution's cycles.

    Each cycle counts once. With a word in flight (from its issue to the cycle before its
    completion) it is busy, or, on a DMA queue that moves no beat in it, waiting for memory. Without
    one it is busy while a control word runs; else what the head of the queue waits for, where a
    word that is still to come is one to fetch. A queue is idle after its last word. A core's
    counters are the same (`rtl_sim/rtl/counters.sv`).
    """

    queue: Queue
    units: int
    words: int
    busy_cycles: float
    wait_semaphore_cycles: float
    wait_port_cycles: float
    wait_memory_cycles: float
    wait_fetch_cycles: float
    idle_cycles: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """When a node's first word issued and its last word completed, the busy cycles of its units,
    and its bytes.

    `repeat` is over how many instances (repeats) the figures are summed; first/last are over all of
    them.
    """

    node: int
    first_cycle: int
    last_cycle: int
    span_cycles: int  # union over instances of [first, last], the time the node was in progress
    matrix_busy_cycles: int
    vector_busy_cycles: int
    dma_busy_cycles: int
    hbm_bytes: int
    l2_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timeline:
    """Result of `simulate`: cycles at `clock_hz`, counts, units, nodes.

    `trace` (optional) is int64 [words, 7]: queue id, dynamic index, pc, issue, complete, node,
    stream: one row an executed word, in order of (issue, tie order). `host_s` is (low, central,
    high) seconds spent in host calls, included in cycles at its central value.
    """

    cycles: int
    clock_hz: float
    counts: ActionCounts
    units: tuple[UnitUse, ...]
    nodes: tuple[NodeTime, ...]
    events: int
    exact: bool
    hbm_busy_fraction: float
    host_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    trace: NDArray[np.int64] | None = None
    queue_names: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Simulated time."""
        return cycles_to_s(self.cycles, self.clock_hz)
