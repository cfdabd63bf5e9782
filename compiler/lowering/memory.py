"""Give every buffer an offset in its segment; activation buffers share bytes where their lifetimes
do not meet.

In:  a `Plan`, and which buffers must lie together or in order so that repeated blocks repeat.
Out: the same plan with offsets, and the bytes of each segment.
Raises: CapacityError if the segments together exceed main memory.
"""

from __future__ import annotations

from athena.chip import Chip
from athena.errors import CapacityError
from athena.isa.cycles import ceil_div
from athena.isa.fields import SEGMENTS, Seg
from compiler.lowering.period import Placement
from compiler.lowering.plan import ALIGN_BYTES, Buffer, Plan

PAGE_BYTES = 4096


def allocate(plan: Plan, chip: Chip, placement: Placement) -> tuple[int, ...]:
    """Offsets for all buffers; returns bytes per segment (multiples of 4 KiB)."""
    sizes = [0] * SEGMENTS
    first = [plan.buffers[number] for number in placement.order]
    done = set(placement.order)
    rest = [buffer for number, buffer in enumerate(plan.buffers) if number not in done]
    for buffer in (*first, *rest):
        if buffer.segment is not Seg.ACT:
            buffer.offset = sizes[buffer.segment]
            sizes[buffer.segment] += ceil_div(buffer.nbytes, ALIGN_BYTES) * ALIGN_BYTES
    for segment in (Seg.PARAM, Seg.WEIGHT):
        sizes[segment] += plan.tail_bytes if sizes[segment] else 0
    sizes[Seg.ACT] = _share(_units(plan, placement))
    sizes = [ceil_div(size, PAGE_BYTES) * PAGE_BYTES for size in sizes]
    if sum(sizes) > chip.hbm.bytes:
        raise CapacityError(
            f"weights, caches and activations need {sum(sizes):,} bytes; "
            f"'{chip.name}' has {chip.hbm.bytes:,}",
            where=plan.graph.name,
            hint="a smaller batch or context, a narrower precision, or more chips",
        )
    return tuple(sizes)


def _units(plan: Plan, placement: Placement) -> list[list[Buffer]]:
    """Activation buffers, those that must share an offset as one."""
    done = {number for group in placement.together for number in group}
    units = [[plan.buffers[number] for number in group] for group in placement.together]
    units += [
        [buffer]
        for number, buffer in enumerate(plan.buffers)
        if buffer.segment is Seg.ACT and number not in done
    ]
    for unit in units:
        unit.sort(key=lambda b: b.first)
    return units


def _share(units: list[list[Buffer]]) -> int:
    """First fit by start of life: each unit takes the lowest gap left by those alive; a step's
    outputs never share with its inputs.
    """
    placed: list[list[Buffer]] = []
    high = 0
    for unit in sorted((u for u in units if u[-1].first >= 0), key=lambda u: u[0].first):
        placed = [other for other in placed if other[-1].last >= unit[0].first]
        size = max(buffer.nbytes for buffer in unit)
        at = 0
        for other in sorted((o for o in placed if _meet(unit, o)), key=lambda o: o[0].offset):
            if other[0].offset - at >= size:
                break
            at = max(at, other[0].offset + max(buffer.nbytes for buffer in other))
        for buffer in unit:
            buffer.offset = at
        high = max(high, at + size)
        placed.append(unit)
    for buffer in (b for u in units for b in u):
        buffer.offset = max(buffer.offset, 0)
    return high


def _meet(one: list[Buffer], other: list[Buffer]) -> bool:
    """Whether a buffer of one unit is alive together with one of the other; both sorted by first
    use.
    """
    i = j = 0
    while i < len(one) and j < len(other):
        a, b = one[i], other[j]
        if a.first <= b.last and b.first <= a.last:
            return True
        if a.last < b.last:
            i += 1
        else:
            j += 1
    return False
