"""Compare what the RTL did with the functional machine (bytes) and the timing engine (cycles), word
by word.

In:  a job, the chip, the RTL's result. Out: `Agreement`, with the first difference of each kind in
     words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.functional import Machine
from athena.isa.fields import CORE_QUEUES, HBM_SEGMENTS, Queue, Seg
from athena.timing import simulate
from rtl_sim.job import RtlJob, RtlResult

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Words compared and texts of differences; empty texts: equal."""

    words: int
    cycles_rtl: int
    cycles_timing: int
    bytes_difference: str
    cycles_difference: str

    @property
    def equal(self) -> bool:
        """Every byte and every cycle."""
        return not self.bytes_difference and not self.cycles_difference


def _first(rtl: Ints, other: Ints, names: tuple[str, ...]) -> str:
    """First differing row of two tables sorted by (queue, index, …)."""
    if rtl.shape != other.shape:
        return f"{len(rtl)} words in the RTL, {len(other)} in the model"
    rows = np.flatnonzero((rtl != other).any(axis=1))
    if not len(rows):
        return ""
    row = rows[np.argmin(rtl[rows, -1])]
    shown = [
        f"{name} {a} (model {b})" for name, a, b in zip(names, rtl[row], other[row], strict=True)
    ]
    return f"{len(rows)} of {len(rtl)} words differ; first: " + ", ".join(shown)


def _sorted(table: Ints) -> Ints:
    return table[np.lexsort((table[:, 1], table[:, 0]))]


def compare_bytes(job: RtlJob, chip: Chip, result: RtlResult) -> str:
    """Difference to the functional machine: each word's CRC, then all memories after the run."""
    machine = Machine(job.program, job.chip(chip))
    for segment, image in (job.segments or {}).items():
        machine.segment(Seg(segment))[: len(image)] = image
    if job.l1 is not None:
        machine.l1(0)[: len(job.l1)] = job.l1
    machine.run(dict(job.inputs or {}), trace=True)
    kinds = np.array([int(queue.kind) for queue in machine.queues])
    model = machine.trace.copy()
    model[:, 0] = kinds[model[:, 0]]
    model = model[np.isin(model[:, 0], [int(queue) for queue in CORE_QUEUES])]
    rtl = result.trace[:, [0, 1, 2, 5]]
    text = _first(_sorted(rtl), _sorted(model), ("queue", "index", "pc", "crc32"))
    if text:
        return text
    pairs = [("L1", machine.l1(0), result.l1), ("ACC", machine.acc(0), result.acc)]
    pairs += [
        (seg.name, machine.segment(seg), result.segments[seg])
        for seg in HBM_SEGMENTS
        if job.program.segment_bytes[seg]
    ]
    for name, model_bytes, rtl_bytes in pairs:
        at = np.flatnonzero(model_bytes[: len(rtl_bytes)] != rtl_bytes)
        if len(at):
            return f"{name} differs in {len(at)} bytes, first at {at[0]}"
    return ""


def compare_cycles(job: RtlJob, chip: Chip, result: RtlResult) -> tuple[str, int]:
    """Difference to the timing engine in issue and completion of each word, and its cycles."""
    timeline = simulate(job.program, job.chip(chip), trace=True)
    if timeline.trace is None:
        return "the timing engine gave no trace", timeline.cycles
    kinds = np.array([int(Queue[name.split(".")[-1]]) for name in timeline.queue_names])
    model = timeline.trace[:, :5].copy()
    model[:, 0] = kinds[model[:, 0]]
    rtl = result.trace[:, :5]
    text = _first(_sorted(rtl), _sorted(model), ("queue", "index", "pc", "issue", "complete"))
    return text, timeline.cycles


def correlate(job: RtlJob, chip: Chip, result: RtlResult) -> Agreement:
    """Compare a finished job with both models."""
    difference, cycles = compare_cycles(job, chip, result)
    return Agreement(
        words=len(result.trace),
        cycles_rtl=result.cycles,
        cycles_timing=cycles,
        bytes_difference=compare_bytes(job, chip, result),
        cycles_difference=difference,
    )
