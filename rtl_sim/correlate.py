"""Compare what the RTL did with the functional machine (bytes) and the timing engine (cycles), word
by word.

In:  a job, the chip, the RTL's result. Out: `Agreement`, with the first difference of each kind in
     words, and where in the program the first of all stands.
Raises: what the two models raise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.functional import Machine
from athena.isa.fields import CORE_QUEUES, HBM_SEGMENTS, Queue, Seg
from athena.isa.program import Program
from athena.timing import Timeline, simulate
from rtl_sim.job import Outcome, RtlJob, RtlResult
from rtl_sim.locate import Place, halted, in_run, in_stream

Ints = NDArray[np.int64]
CRC_COLUMNS = ("queue", "index", "pc", "crc32")
CYCLE_COLUMNS = ("queue", "index", "pc", "issue", "complete")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Functional:
    """The functional machine after a run, and the words' CRCs (CRC_COLUMNS) by queue and index."""

    machine: Machine
    crcs: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timed:
    """A timeline, and its trace (CYCLE_COLUMNS, node, stream) by queue and index."""

    timeline: Timeline
    cycles: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Models:
    """What both models make of a job."""

    functional: Functional
    timing: Timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Words compared and texts of differences; empty texts: equal."""

    words: int
    cycles_rtl: int
    cycles_timing: int
    bytes_difference: str
    cycles_difference: str
    place: Place | None = None  # the first word that differs, or where the core halted

    @property
    def equal(self) -> bool:
        """Every byte and every cycle."""
        return not self.bytes_difference and not self.cycles_difference


def functional_run(job: RtlJob, chip: Chip) -> Functional:
    """Run a job on the functional machine."""
    machine = Machine(job.program, job.chip(chip))
    for segment, image in (job.segments or {}).items():
        machine.segment(Seg(segment))[: len(image)] = image
    if job.l1 is not None:
        machine.l1(0)[: len(job.l1)] = job.l1
    machine.run(dict(job.inputs or {}), trace=True)
    kinds = [queue.kind for queue in machine.queues]
    return Functional(machine=machine, crcs=_of_the_core(machine.trace, kinds))


def timing_run(job: RtlJob, chip: Chip) -> Timed:
    """Run a job on the timing engine."""
    timeline = simulate(job.program, job.chip(chip), trace=True)
    names = [Queue[name.split(".")[-1]] for name in timeline.queue_names]
    rows = np.zeros((0, 7), np.int64) if timeline.trace is None else timeline.trace
    return Timed(timeline=timeline, cycles=_of_the_core(rows, names))


def _of_the_core(trace: Ints, kinds: list[Queue]) -> Ints:
    """Rows of the core's queues; the first column becomes the kind of queue."""
    table = trace.copy()
    table[:, 0] = np.array([int(kind) for kind in kinds])[table[:, 0]]
    return _sorted(table[np.isin(table[:, 0], [int(queue) for queue in CORE_QUEUES])])


def _sorted(table: Ints) -> Ints:
    return table[np.lexsort((table[:, 1], table[:, 0]))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    """A text (empty: equal), and the queue and index of the word that it is about, if any."""

    text: str = ""
    key: tuple[int, int] | None = None


def _first(rtl: Ints, model: Ints, names: tuple[str, ...], complete: Ints) -> _First:
    """The differing row that completes first; both tables by queue and index."""
    keys = [{(int(q), int(i)) for q, i in table[:, :2]} for table in (rtl, model)]
    if keys[0] != keys[1]:
        text = f"{len(rtl)} words in the RTL, {len(model)} in the model"
        return _First(text=text, key=min(keys[0] ^ keys[1], key=lambda key: key[::-1]))
    rows = np.flatnonzero((rtl != model).any(axis=1))
    if not len(rows):
        return _First()
    row = rows[np.argmin(complete[rows])]
    queue, index = (int(value) for value in rtl[row, :2])
    shown = [f"queue {Queue(queue).name}", f"index {index}"] + [
        f"{name} {a} (model {b})" if a != b else f"{name} {a}"
        for name, a, b in zip(names[2:], rtl[row, 2:], model[row, 2:], strict=True)
    ]
    text = f"{len(rows)} of {len(rtl)} words differ; first: " + ", ".join(shown)
    return _First(text=text, key=(queue, index))


def _bytes(result: RtlResult, model: Functional) -> _First:
    rows = _sorted(result.trace)
    found = _first(rows[:, [0, 1, 2, 5]], model.crcs, CRC_COLUMNS, rows[:, 4])
    return found if found.text else _First(text=_memories(result, model.machine))


def _memories(result: RtlResult, machine: Machine) -> str:
    """The first memory that differs after the run."""
    pairs = [("L1", machine.l1(0), result.l1), ("ACC", machine.acc(0), result.acc)]
    pairs += [
        (seg.name, machine.segment(seg), result.segments[seg])
        for seg in HBM_SEGMENTS
        if machine.program.segment_bytes[seg]
    ]
    for name, model_bytes, rtl_bytes in pairs:
        at = np.flatnonzero(model_bytes[: len(rtl_bytes)] != rtl_bytes)
        if len(at):
            return f"{name} differs in {len(at)} bytes, first at {at[0]}"
    return ""


def _cycles(result: RtlResult, model: Timed) -> _First:
    rows = _sorted(result.trace)
    return _first(rows[:, :5], model.cycles[:, :5], CYCLE_COLUMNS, rows[:, 4])


def compare_bytes(job: RtlJob, chip: Chip, result: RtlResult) -> str:
    """Difference to the functional machine: each word's CRC, then all memories after the run."""
    return _bytes(result, functional_run(job, chip)).text


def compare_cycles(job: RtlJob, chip: Chip, result: RtlResult) -> tuple[str, int]:
    """Difference to the timing engine in issue and completion of each word, and its cycles."""
    model = timing_run(job, chip)
    return _cycles(result, model).text, model.timeline.cycles


def correlate(
    job: RtlJob, chip: Chip, result: RtlResult, models: Models | None = None
) -> Agreement:
    """Compare a finished job with both models (`models` where they have run already)."""
    held = models or Models(functional=functional_run(job, chip), timing=timing_run(job, chip))
    found = _bytes(result, held.functional), _cycles(result, held.timing)
    return Agreement(
        words=len(result.trace),
        cycles_rtl=result.cycles,
        cycles_timing=held.timing.timeline.cycles,
        bytes_difference=found[0].text,
        cycles_difference=found[1].text,
        place=_place(
            job.program, result, held.timing.cycles, [each.key for each in found if each.key]
        ),
    )


def _place(
    program: Program, result: RtlResult, cycles: Ints, keys: list[tuple[int, int]]
) -> Place | None:
    """Where the core halted, else the one of the words `keys` that the model issues first."""
    if result.outcome is Outcome.FAULT:
        return halted(program, result.trace, result.fault_queue, result.fault_pc)
    places = []
    for key in keys:
        queue = Queue(key[0])
        row, held = _row(cycles, key), _row(result.trace, key)
        if held is not None:
            issue = int(held[3] if row is None else row[3])
            places.append((issue, in_run(program, queue, key[1], int(held[6]), int(held[2]))))
        elif row is not None:
            where = in_stream(program, queue, key[1], int(row[6]), int(row[2]))
            places.append((int(row[3]), where))
    return min(places, key=lambda item: item[0])[1] if places else None


def _row(trace: Ints, key: tuple[int, int]) -> Ints | None:
    rows = trace[(trace[:, 0] == key[0]) & (trace[:, 1] == key[1])]
    return rows[0] if len(rows) else None
