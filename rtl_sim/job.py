"""One program as the file that the batch simulator reads, and the files it writes as arrays.

In:  a `Program`, input tensors. Out: the bytes of `<job>.in`; `RtlResult` from `.trace`, `.status`,
     `.out`.
Raises: InputError for missing or misshapen tensors, CapacityError for programs larger than the test
bench's memories.

Layout of `.in` (big endian, as $fread fills arrays): four sizes (instruction words, memory image,
L1 image, cycle limit), end of mapped memory, flags, settings of main memory
(`rtl_sim.memory.Setting`), runs of each queue, 16 scalars, 32 semaphores, run descriptors queue by
queue, words, memory, L1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip, Hbm
from athena.errors import CapacityError, InputError
from athena.isa.fields import (
    AREGS,
    CORE_QUEUES,
    CORE_SEMS,
    DT_BYTES,
    HBM_SEGMENTS,
    S_CLUSTER,
    S_CORE,
    SCALARS,
    Dt,
    Queue,
)
from athena.isa.program import Program, Section, Tensor
from rtl_sim import memory
from rtl_sim.counters import Counters, decode_counters
from rtl_sim.locate import launches
from rtl_sim.package import MEMORY_BYTES, PROGRAM_WORDS, RUNS_MAX, Fault

PAGE_BYTES = 4096
FLAG_DUMP_LOCAL = 1
TRACE_COLUMNS = ("queue", "index", "pc", "issue", "complete", "crc32", "run")
_DTYPES = {Dt.F32: "<f4", Dt.BF16: "<u2", Dt.F16: "<f2", Dt.I8: "i1", Dt.U8: "u1", Dt.I32: "<i4"}
Bytes = NDArray[np.uint8]


class Outcome(StrEnum):
    """How a job ended."""

    DONE = "done"
    FAULT = "fault"
    DEADLOCK = "deadlock"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RtlJob:
    """A program, its inputs by tensor name, and (for tests of single words) images of L1 and memory
    segments.

    `hbm` is main memory where it is not the chip's: jobs of one start may differ in it.
    `stress_seed` other than 0 makes memory take and answer beats at random; beats that start in the
    `error_bytes` at physical address `error_at` are answered with an error.
    """

    program: Program
    inputs: Mapping[str, NDArray[np.generic]] | None = None
    segments: Mapping[int, Bytes] | None = None
    l1: Bytes | None = None
    hbm: Hbm | None = None
    stress_seed: int = 0
    error_at: int = 0
    error_bytes: int = 0

    def chip(self, chip: Chip) -> Chip:
        """`chip` with the memory of this job."""
        return chip if self.hbm is None else chip.model_copy(update={"hbm": self.hbm})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RtlResult:
    """What the core did.

    `trace` is int64 [words, 7] (TRACE_COLUMNS): one row a word in order of issue, then queue.
    `cycles` is the last completion.
    `counters` are the core's performance counters at that point.
    `segments` are the memory segments after the run, `l1` and `acc` the local memories.
    """

    outcome: Outcome
    cycles: int
    counters: Counters
    trace: NDArray[np.int64]
    outputs: dict[str, NDArray[np.generic]]
    segments: dict[int, Bytes]
    l1: Bytes
    acc: Bytes
    fault: Fault = Fault.NONE
    fault_queue: Queue = Queue.STORE
    fault_pc: int = 0


def segment_bases(program: Program) -> tuple[int, ...]:
    """Physical addresses of the memory segments (each on a page, in order of number), and the end
    of the last.
    """
    bases, at = [], 0
    for size in program.segment_bytes[: len(HBM_SEGMENTS)]:
        bases.append(at)
        at += -(-size // PAGE_BYTES) * PAGE_BYTES
    return (*bases, at)


def _view(image: Bytes, tensor: Tensor) -> NDArray[np.generic]:
    span = DT_BYTES[tensor.dtype] + sum(
        (n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    flat = image[tensor.offset : tensor.offset + span]
    return np.ndarray(tensor.shape, _DTYPES[tensor.dtype], flat.data, strides=tensor.strides)


def memory_image(job: RtlJob, bases: tuple[int, ...]) -> Bytes:
    """Main memory before the launch: constants, images, inputs.

    Raises: InputError for missing or misshapen tensors.
    """
    program = job.program
    whole = np.zeros(bases[-1], np.uint8)
    images: dict[int, Bytes] = {int(seg): image for seg, image in program.constants.items()}
    images.update(job.segments or {})
    for segment, image in images.items():
        whole[bases[segment] : bases[segment] + len(image)] = image
    given = job.inputs or {}
    for tensor in program.tensors:
        if tensor.role != "input" or (job.inputs is None and job.segments is not None):
            continue
        if tensor.name not in given:
            raise InputError(f"input '{tensor.name}' is missing", where=program.name)
        value = np.asarray(given[tensor.name])
        if value.shape != tensor.shape:
            raise InputError(
                f"input '{tensor.name}' has shape {value.shape}, the program has {tensor.shape}",
                where=program.name,
            )
        _view(whole[bases[tensor.segment] :], tensor)[...] = value.astype(_DTYPES[tensor.dtype])
    return whole


def _descriptor(base: int, seg: list[int], areg: list[int]) -> bytes:
    """A run_t: base, eight segments, sixteen aregs of 48 bits, the highest index first."""
    mask = (1 << 48) - 1
    return b"".join(
        [base.to_bytes(4, "big")]
        + [(value & mask).to_bytes(6, "big") for value in (*reversed(seg), *reversed(areg))]
    )


def _section_bases(section: Section, repeat: int, bases: tuple[int, ...]) -> list[int]:
    return [
        bases[s] + section.seg_base[s] + repeat * section.seg_stride[s]
        for s in range(len(HBM_SEGMENTS))
    ]


def run_descriptors(
    program: Program, bases: tuple[int, ...], starts: list[int]
) -> dict[Queue, list[bytes]]:
    """Each queue's `run_t`s in order, big endian; `starts`: first word of each stream."""
    runs: dict[Queue, list[bytes]] = {queue: [] for queue in CORE_QUEUES}
    for section, repeat, run in launches(program):
        areg = [0] * AREGS
        for number, value in run.aregs:
            areg[number] = value
        seg = _section_bases(section, repeat, bases)
        runs[run.kind].append(_descriptor(starts[run.stream], seg, areg))
    return runs


def launch_scalars(program: Program) -> NDArray[np.int64]:
    """The launch scalars of the only core.

    Raises: CapacityError for one above 32 bits.
    """
    scalars = np.zeros(SCALARS, np.int64)
    scalars[: len(program.scalars)] = program.scalars
    scalars[S_CORE] = scalars[S_CLUSTER] = 0
    if np.any(scalars != scalars.astype(np.int32)):
        raise CapacityError("a launch scalar does not fit 32 bits", where=program.name)
    return scalars


def _check(job: RtlJob, words: int, end: int, runs: Mapping[Queue, list[bytes]]) -> None:
    limits = (
        ("instruction words", words, PROGRAM_WORDS),
        ("bytes of memory", end, MEMORY_BYTES),
        ("runs of a queue", max(len(run) for run in runs.values()), RUNS_MAX),
    )
    for what, met, allowed in limits:
        if met > allowed:
            raise CapacityError(
                f"{met} {what}; the RTL's test bench has {allowed}", where=job.program.name
            )


def encode(job: RtlJob, chip: Chip, cycle_limit: int) -> bytes:
    """The bytes of `<job>.in`."""
    program, bases = job.program, segment_bases(job.program)
    starts = list(np.cumsum([0, *(len(stream.words) for stream in program.streams)]))
    runs = run_descriptors(program, bases, [int(start) for start in starts])
    words = np.concatenate([stream.words for stream in program.streams])
    _check(job, len(words), bases[-1], runs)
    image = memory_image(job, bases)
    l1 = np.zeros(0, np.uint8) if job.l1 is None else job.l1
    sems = np.zeros(CORE_SEMS, np.uint8)
    for sem, value in program.core_sems.items():
        sems[sem] = value
    head = [len(words), len(image), len(l1), cycle_limit, bases[-1], FLAG_DUMP_LOCAL]
    head += memory.settings(job.chip(chip), job.stress_seed, job.error_at, job.error_bytes)
    head += [len(runs[queue]) for queue in CORE_QUEUES]
    fetch = chip.core.fetch_bytes_per_cycle
    raw = np.frombuffer(words.tobytes(), np.uint8).reshape(-1, fetch)[:, ::-1]
    return b"".join(
        [np.array(head, ">u4").tobytes(), launch_scalars(program).astype(">i4").tobytes()]
        + [sems.tobytes()]
        + [b"".join(runs[queue]) for queue in CORE_QUEUES]
        + [raw.tobytes(), image.tobytes(), l1.tobytes()]
    )


def _trace(path: Path) -> NDArray[np.int64]:
    values = np.array(path.read_text().split(), np.int64).reshape(-1, len(TRACE_COLUMNS))
    queue, run, index, pc, issue, complete, crc = values.T
    table = np.stack([queue, index, pc, issue, complete, crc, run], axis=1)
    return table[np.lexsort((queue, issue))]


def decode_result(job: RtlJob, chip: Chip, folder: Path, number: int) -> RtlResult:
    """Read what the simulator wrote for job `number`."""
    program, bases = job.program, segment_bases(job.program)
    status = [int(value) for value in (folder / f"{number}.status").read_text().split()]
    done, deadlock, fault, queue, pc, _, *counters = status
    image = np.fromfile(folder / f"{number}.out", np.uint8)
    l1_end = bases[-1] + chip.core.l1_bytes
    outcome = Outcome.LIMIT
    if fault:
        outcome = Outcome.FAULT
    elif done:
        outcome = Outcome.DONE
    elif deadlock:
        outcome = Outcome.DEADLOCK
    trace = _trace(folder / f"{number}.trace")
    segments = {
        s: image[bases[s] : bases[s] + size]
        for s, size in enumerate(program.segment_bytes[: len(HBM_SEGMENTS)])
    }
    return RtlResult(
        outcome=outcome,
        cycles=int(trace[:, 4].max(initial=0)),
        counters=decode_counters(counters),
        trace=trace,
        outputs={
            t.name: _view(segments[t.segment], t).copy()
            for t in program.tensors
            if t.role == "output"
        },
        segments=segments,
        l1=image[bases[-1] : l1_end],
        acc=image[l1_end:],
        fault=Fault(fault),
        fault_queue=Queue(queue),
        fault_pc=pc,
    )
