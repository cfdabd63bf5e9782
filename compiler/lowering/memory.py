"""Give every buffer an offset in its segment; activation buffers share bytes where their lifetimes do not meet.

In:  a `Plan`.   Out: the same plan with offsets, and the bytes of each segment.
Raises: CapacityError if the segments together exceed main memory.
"""

from __future__ import annotations

from athena.chip import Chip
from athena.errors import CapacityError
from athena.isa.cycles import ceil_div
from athena.isa.fields import SEGMENTS, Seg
from compiler.lowering.plan import ALIGN_BYTES, Buffer, Plan

PAGE_BYTES = 4096


def allocate(plan: Plan, chip: Chip) -> tuple[int, ...]:
    """Offsets for all buffers; returns bytes per segment (multiples of 4 KiB)."""
    sizes = [0] * SEGMENTS
    for buffer in plan.buffers:
        if buffer.segment is not Seg.ACT:
            buffer.offset = sizes[buffer.segment]
            sizes[buffer.segment] += ceil_div(buffer.nbytes, ALIGN_BYTES) * ALIGN_BYTES
    sizes[Seg.ACT] = _share([b for b in plan.buffers if b.segment is Seg.ACT])
    sizes = [ceil_div(size, PAGE_BYTES) * PAGE_BYTES for size in sizes]
    if sum(sizes) > chip.hbm.bytes:
        raise CapacityError(
            f"weights, caches and activations need {sum(sizes):,} bytes; '{chip.name}' has {chip.hbm.bytes:,}",
            where=plan.graph.name,
            hint="a smaller batch or context, a narrower precision, or more chips",
        )
    return tuple(sizes)


def _share(buffers: list[Buffer]) -> int:
    """First fit by start of life: each buffer takes the lowest gap left by those alive; a step's outputs never share with its inputs."""
    alive: list[Buffer] = []
    high = 0
    for buffer in sorted((b for b in buffers if b.first >= 0), key=lambda b: b.first):
        alive = [b for b in alive if b.last >= buffer.first]
        at = 0
        for other in sorted(alive, key=lambda b: b.offset):
            if other.offset - at >= buffer.nbytes:
                break
            at = max(at, other.offset + other.nbytes)
        buffer.offset = at
        high = max(high, at + buffer.nbytes)
        alive.append(buffer)
    for buffer in buffers:
        buffer.offset = max(buffer.offset, 0)
    return high
