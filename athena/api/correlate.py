"""Many programs on the RTL beside the simulators, on several main memories.

In:  cases (a program, its inputs) from the built-in set or from files; memories.
Out: `Correlation` (frozen): a row a run, a summary, and which bounds are broken.
Raises: what compiling and `athena.api.rtl` raise; UsageError where there is nothing to run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from athena.api.compiled import compile
from athena.api.execute import resolve
from athena.api.models import load_model
from athena.api.rtl import (
    LONG_CYCLES,
    LONG_ERROR_PERCENT,
    SHORT_ERROR_PERCENT,
    check_executable,
    cycle_limit,
    error_percent,
    memory_kind,
    memory_text,
    stored,
    within_bounds,
)
from athena.api.samples import VERIFY_SEED, program_inputs, random_inputs
from athena.chip import Chip
from athena.chip.model import Hbm
from athena.errors import UsageError, printable
from athena.isa.program import Program
from athena.workload.export.rtl_set import Sample
from rtl_sim.build import simulator
from rtl_sim.correlate import Models, functional_run, timing_run
from rtl_sim.correlate import correlate as compare
from rtl_sim.job import Outcome, RtlJob, RtlResult
from rtl_sim.locate import Place
from rtl_sim.run import run_jobs

MEAN_ERROR_PERCENT = 1.0
BATCH_BYTES = 256 << 20  # of memory images in one start of the simulator
PROCESSES = 2
SUFFIX = ".athena"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A program with its chip and inputs."""

    name: str
    program: Program
    chip: Chip
    inputs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRow:
    """One program on one memory. `difference` is empty where bytes and cycles are all equal."""

    name: str
    chip: str
    memory: str
    memory_kind: str  # fixed, or banks with refresh
    words: int
    rtl_cycles: int
    timing_cycles: int
    error_percent: float
    bits_equal: bool
    trace_equal: bool
    passed: bool
    difference: str
    first_difference: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Figures over the runs on one kind of memory; errors are absolute values."""

    memory_kind: str
    runs: int
    bits_equal: int
    traces_equal: int
    mean_error_percent: float
    max_error_percent: float
    max_error_percent_long: float  # of programs above LONG_CYCLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """All runs. `broken` says which bounds do not hold; empty: passed."""

    programs: tuple[ProgramRow, ...]
    summaries: tuple[Summary, ...]
    broken: tuple[str, ...]
    simulated_cycles: int
    build_seconds: float
    run_seconds: float

    @property
    def passed(self) -> bool:
        """Whether every bound holds."""
        return not self.broken


def sample_cases(samples: Sequence[Sample], chip: Chip, pattern: str = "*") -> list[Case]:
    """The samples whose name `pattern` (with * and ?) fits, compiled.

    Raises: UsageError where none fits.
    """
    cases = []
    with tempfile.TemporaryDirectory(prefix="athena-") as folder:
        for sample in samples:
            if not fnmatch(sample.name, pattern):
                continue
            path = Path(folder) / f"{sample.name}.onnx"
            path.write_bytes(sample.model().SerializeToString())
            made = compile(load_model(path, sample.dims), chip=chip, precision=sample.precision)
            inputs = random_inputs(made.model, made.graph, VERIFY_SEED)
            check_executable(made.program, chip)
            cases.append(Case(name=sample.name, program=made.program, chip=chip, inputs=inputs))
    return _some(cases, pattern)


def file_cases(paths: Sequence[Path], chip: Chip | None, pattern: str = "*") -> list[Case]:
    """Program files, and those in folders; on `chip`, or each on the preset that it names.

    Raises: ProgramError; UsageError where there is none.
    """
    cases = []
    for path in dict.fromkeys(path.resolve() for path in _program_files(paths)):
        if not fnmatch(path.stem, pattern):
            continue
        program, target = resolve(path, chip)
        check_executable(program, target)
        inputs = program_inputs(program, VERIFY_SEED)
        cases.append(Case(name=path.stem, program=program, chip=target, inputs=inputs))
    return _some(cases, pattern)


def _program_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob(f"*{SUFFIX}"))
        else:
            yield path


def _some(cases: list[Case], pattern: str) -> list[Case]:
    if not cases:
        raise UsageError(
            f"no program fits '{printable(pattern)}'",
            where="athena rtl correlate",
            hint="leave out --filter, or name files or folders that hold .athena files",
        )
    return cases


def correlate(cases: Sequence[Case], memories: Sequence[Sequence[Hbm]]) -> Correlation:
    """Run every case on one memory of each list, taking turns within a list."""
    start = time.monotonic()
    for chip in {case.chip.name: case.chip for case in cases}.values():
        simulator(chip)
    built = time.monotonic()
    rows: list[ProgramRow] = []
    for batch in _batches(cases):
        rows += _run_batch(batch, memories)
    return Correlation(
        programs=tuple(rows),
        summaries=tuple(
            _summary(kind, [row for row in rows if row.memory_kind == kind])
            for kind in dict.fromkeys(row.memory_kind for row in rows)
        ),
        broken=_broken(rows),
        simulated_cycles=sum(row.rtl_cycles for row in rows),
        build_seconds=built - start,
        run_seconds=time.monotonic() - built,
    )


def _batches(cases: Sequence[Case]) -> Iterator[list[tuple[int, Case]]]:
    """Cases of one chip that fit memory together, each with its number."""
    for chip in dict.fromkeys(case.chip.name for case in cases):
        batch: list[tuple[int, Case]] = []
        held = 0
        for number, case in enumerate(cases):
            if case.chip.name != chip:
                continue
            size = sum(case.program.segment_bytes) + case.chip.core.l1_bytes
            if batch and held + size > BATCH_BYTES:
                yield batch
                batch, held = [], 0
            batch.append((number, case))
            held += size
        yield batch


def _run_batch(
    batch: Sequence[tuple[int, Case]], memories: Sequence[Sequence[Hbm]]
) -> list[ProgramRow]:
    chip = batch[0][1].chip
    cases, jobs, models = [], [], []
    for number, case in batch:
        machine = functional_run(RtlJob(program=case.program, inputs=case.inputs), chip)
        inputs = stored(case.program, case.inputs)
        for choice in memories:
            job = RtlJob(program=case.program, inputs=inputs, hbm=choice[number % len(choice)])
            cases.append(case)
            jobs.append(job)
            models.append(Models(functional=machine, timing=timing_run(job, chip)))
    limits = [cycle_limit(each) for each in models]
    results = run_jobs(jobs, chip, cycle_limit=limits, processes=PROCESSES)
    return [
        _row(case, job, result, each)
        for case, job, result, each in zip(cases, jobs, results, models, strict=True)
    ]


def _row(case: Case, job: RtlJob, result: RtlResult, models: Models) -> ProgramRow:
    chip = job.chip(case.chip)
    found = compare(job, case.chip, result, models)
    ended = result.outcome is Outcome.DONE
    texts = [] if ended else [f"{result.outcome.value} {result.fault.name}"]
    texts += [text for text in (found.bytes_difference, found.cycles_difference) if text]
    return ProgramRow(
        name=case.name,
        chip=case.chip.name,
        memory=memory_text(chip),
        memory_kind=memory_kind(chip),
        words=found.words,
        rtl_cycles=found.cycles_rtl,
        timing_cycles=found.cycles_timing,
        error_percent=error_percent(found),
        bits_equal=ended and not found.bytes_difference,
        trace_equal=ended and not found.cycles_difference,
        passed=ended and within_bounds(found, chip),
        difference="; ".join(texts),
        first_difference=found.place,
    )


def _summary(kind: str, rows: Sequence[ProgramRow]) -> Summary:
    errors = [abs(row.error_percent) for row in rows]
    long = [abs(row.error_percent) for row in rows if row.rtl_cycles > LONG_CYCLES]
    return Summary(
        memory_kind=kind,
        runs=len(rows),
        bits_equal=sum(row.bits_equal for row in rows),
        traces_equal=sum(row.trace_equal for row in rows),
        mean_error_percent=sum(errors) / len(errors),
        max_error_percent=max(errors),
        max_error_percent_long=max(long, default=0.0),
    )


def _broken(rows: Sequence[ProgramRow]) -> tuple[str, ...]:
    """Bounds that do not hold, as sentences."""
    fixed = [row for row in rows if row.memory_kind == "fixed"]
    banks = [row for row in rows if row.memory_kind == "banks"]
    errors = [abs(row.error_percent) for row in banks]
    counts = (
        (sum(not row.bits_equal for row in rows), "runs differ in bytes"),
        (sum(not row.trace_equal for row in fixed), "runs on fixed memory differ in a cycle"),
        (
            sum(not row.passed and row.bits_equal for row in banks),
            f"runs on banked memory are off by more than {SHORT_ERROR_PERCENT:g} %, or "
            f"{LONG_ERROR_PERCENT:g} % above {LONG_CYCLES:,} cycles",
        ),
    )
    found = [f"{count} {what}" for count, what in counts if count]
    if errors and sum(errors) / len(errors) > MEAN_ERROR_PERCENT:
        found.append(f"the mean error on banked memory is above {MEAN_ERROR_PERCENT:g} %")
    return tuple(found)
