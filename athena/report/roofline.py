"""Hold every node against what the chip allows: matrix unit, vector unit, main memory.

In:  `Program`, `Timeline`, `Chip`. Out: `NodeRow`s, peaks, the bound of the whole execution.
Raises: nothing.

The least time of a node is the largest of: its matmul and attention FLOPs over the matrix peak of
its type; its other FLOPs over the vector peak; its bytes over the peak bandwidth, the bytes being
the compulsory ones, or those really moved where less was (the rest stayed on the chip).
A lane of the vector unit does at most four steps on an element in a cycle: two of arithmetic, one
of a table, one of a reduction.
"""

from __future__ import annotations

from athena.chip.model import Chip
from athena.isa.program import NodeInfo, Program
from athena.report.summary import Bound, NodeRow, RooflinePeaks
from athena.timing.result import NodeTime, Timeline
from athena.units import gbytes_per_s_to_bytes_per_s

VECTOR_STEPS = 4
MATRIX_KINDS = ("matmul", "attention")
NOT_SUMMED = "attention_full"


def peaks_of(chip: Chip, dtype: str) -> RooflinePeaks:
    """The chip's peaks for one compute type (a type the array lacks has peak 0)."""
    lanes = chip.core.vector.lanes * chip.cores
    return RooflinePeaks(
        matrix_flop_per_s=chip.peak_flops(dtype),
        vector_op_per_s=VECTOR_STEPS * lanes * chip.clock_hz,
        memory_bytes_per_s=gbytes_per_s_to_bytes_per_s(chip.hbm.bandwidth_gbytes_per_s),
        dtype=dtype,
    )


def flops_of(node: NodeInfo) -> int:
    """Model FLOPs of a node: every kind but the full-matrix figure of attention."""
    return sum(count for kind, count in node.flops.items() if kind != NOT_SUMMED)


def node_rows(program: Program, timeline: Timeline, chip: Chip) -> tuple[NodeRow, ...]:
    """A row for every node that is executed, in program order."""
    times = {row.node: row for row in timeline.nodes}
    return tuple(
        _row(index, node, times.get(index, _NO_TIME), (program, timeline, chip))
        for index, node in enumerate(program.nodes)
        if node.place != "folded"
    )


def whole_bound(program: Program, timeline: Timeline, chip: Chip) -> tuple[Bound, float]:
    """What the execution cannot be faster than: sums over nodes, and all bytes moved."""
    times = {Bound.MATRIX: 0.0, Bound.VECTOR: 0.0, Bound.MEMORY: 0.0}
    for node in program.nodes:
        if node.place == "chip":
            for bound, seconds in _times(node, 0, program.precision, chip).items():
                times[bound] += seconds
    moved = timeline.counts.hbm_read_bytes + timeline.counts.hbm_write_bytes
    times[Bound.MEMORY] = moved / gbytes_per_s_to_bytes_per_s(chip.hbm.bandwidth_gbytes_per_s)
    times[Bound.HOST] = timeline.host_s[1]
    return _largest(times)


_NO_TIME = NodeTime(
    node=-1,
    first_cycle=0,
    last_cycle=0,
    span_cycles=0,
    matrix_busy_cycles=0,
    vector_busy_cycles=0,
    dma_busy_cycles=0,
    hbm_bytes=0,
    l2_bytes=0,
)


def _row(index: int, node: NodeInfo, time: NodeTime, of: tuple[Program, Timeline, Chip]) -> NodeRow:
    program, timeline, chip = of
    hz = timeline.clock_hz
    moved, span_s, flops = time.hbm_bytes, time.span_cycles / hz, flops_of(node)
    bound_by, bound_s = Bound.HOST, 0.0
    if node.place != "host":
        least = min(node.compulsory_bytes, moved)
        bound_by, bound_s = _largest(_times(node, least, program.precision, chip))
    return NodeRow(
        index=index,
        name=node.name,
        op=node.op,
        sources=node.sources,
        place=node.place,
        dtype=node.dtype or program.precision,
        flops=flops,
        compulsory_bytes=node.compulsory_bytes,
        hbm_bytes=moved,
        l2_bytes=time.l2_bytes,
        span_s=span_s,
        share=time.span_cycles / timeline.cycles if timeline.cycles else 0.0,
        matrix_busy_s=time.matrix_busy_cycles / hz,
        vector_busy_s=time.vector_busy_cycles / hz,
        dma_busy_s=time.dma_busy_cycles / hz,
        bound_by=bound_by,
        bound_s=bound_s,
        achieved=bound_s / span_s if span_s and bound_s else None,
        traffic=moved / node.compulsory_bytes if node.compulsory_bytes else None,
        intensity_flop_per_byte=flops / moved if moved else None,
        flop_per_s=flops / span_s if span_s else None,
        mapping=node.mapping,
    )


def _times(node: NodeInfo, data_bytes: int, precision: str, chip: Chip) -> dict[Bound, float]:
    """Least seconds of a node at each resource."""
    peaks = peaks_of(chip, node.dtype or precision)
    matrix = sum(node.flops.get(kind, 0) for kind in MATRIX_KINDS)
    peak = peaks.matrix_flop_per_s
    return {
        Bound.MATRIX: matrix / peak if peak else 0.0,
        Bound.VECTOR: (flops_of(node) - matrix) / peaks.vector_op_per_s,
        Bound.MEMORY: data_bytes / peaks.memory_bytes_per_s,
    }


def _largest(times: dict[Bound, float]) -> tuple[Bound, float]:
    best = max(times, key=lambda bound: times[bound])
    return (best, times[best]) if times[best] > 0 else (Bound.NONE, 0.0)
