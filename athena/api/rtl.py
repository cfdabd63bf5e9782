"""A program on the RTL of the core beside the simulators.

In:  a compiled model, program or program file; inputs. Out: `RtlRun` (frozen).
Raises: ToolError without Verilator or a C++ compiler; InputError, CapacityError, FaultError,
DeadlockError, RuntimeLimitError, UsageError for a chip that the RTL is not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.api.arrays import read_npz
from athena.api.compiled import CompiledModel
from athena.api.execute import Executable, resolve
from athena.api.samples import VERIFY_SEED, program_inputs, random_inputs
from athena.chip import Chip
from athena.chip.model import MemoryKind
from athena.errors import OutputError, UsageError, printable
from athena.files import check_output
from athena.functional.convert import to_storage
from athena.isa.fields import Seg
from athena.isa.program import Program
from rtl_sim.build import simulator, wave_format
from rtl_sim.correlate import Agreement, Models, correlate, functional_run, timing_run
from rtl_sim.counters import timing_counters
from rtl_sim.job import RtlJob, RtlResult
from rtl_sim.locate import Place
from rtl_sim.run import Wave, finished, run_jobs

Array = NDArray[Any]
Inputs = Mapping[str, Array]
DEFAULT_CHIP = "athena-edge"
LONG_CYCLES = 5000  # from here on the tighter bound holds
LONG_ERROR_PERCENT = 2.0
SHORT_ERROR_PERCENT = 5.0
SLACK_CYCLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitBusy:
    """Busy cycles of a queue: the core's performance counter and the timing model's figure."""

    queue: str
    rtl_cycles: int
    timing_cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlRun:
    """One program on RTL, functional and timing simulator.

    `differs` names the outputs whose bytes are not the functional simulator's; the two differences
    say in words how the traces differ (empty: equal in every word), `first_difference` where.
    """

    name: str
    chip: str
    precision: str
    memory: str
    outputs: tuple[str, ...]
    differs: tuple[str, ...]
    words: int
    bytes_difference: str
    cycles_difference: str
    first_difference: Place | None
    rtl_cycles: int
    timing_cycles: int
    error_percent: float
    passed: bool
    units: tuple[UnitBusy, ...]
    build_seconds: float
    run_seconds: float
    cycles_per_second: float


def rtl_run(
    source: Executable,
    chip: str | Path | Chip | None = None,
    inputs: None | str | Path | Inputs = None,
    *,
    wave: Wave | None = None,
) -> RtlRun:
    """Execute on RTL, functional simulator and timing model; the chip needs exactly one core."""
    program, target = resolve(source, None if isinstance(source, CompiledModel) else chip)
    check_executable(program, target)
    arrays = _inputs(source, program, inputs)
    start = time.monotonic()
    if wave is not None:
        check_output(wave.path, _file_of(source))
    simulator(target, wave=wave_format(wave.path) if wave else "")
    built = time.monotonic()
    job = RtlJob(program=program, inputs=arrays)
    models = Models(functional=functional_run(job, target), timing=timing_run(job, target))
    begun = time.monotonic()
    limit = cycle_limit(models)
    result = _run(RtlJob(program=program, inputs=stored(program, arrays)), target, limit, wave)
    seconds = time.monotonic() - begun
    finished(program, result, limit)
    agreement = correlate(job, target, result, models)
    return RtlRun(
        name=program.name,
        chip=target.name,
        precision=program.precision,
        memory=memory_text(target),
        outputs=tuple(t.name for t in program.tensors if t.role == "output"),
        differs=differing_outputs(program, models, result),
        words=agreement.words,
        bytes_difference=agreement.bytes_difference,
        cycles_difference=agreement.cycles_difference,
        first_difference=agreement.place,
        rtl_cycles=agreement.cycles_rtl,
        timing_cycles=agreement.cycles_timing,
        error_percent=error_percent(agreement),
        passed=within_bounds(agreement, target),
        units=_units(models, result),
        build_seconds=built - start,
        run_seconds=seconds,
        cycles_per_second=result.cycles / seconds,
    )


def _file_of(source: Executable) -> str | Path | None:
    if isinstance(source, CompiledModel):
        return source.model.path
    return None if isinstance(source, Program) else source


def check_executable(program: Program, chip: Chip) -> None:
    """Refuse what the RTL cannot run, whatever its words.

    Raises: UsageError.
    """
    if chip.cores != 1 or chip.cluster.l2_bytes:
        raise UsageError(
            f"chip '{chip.name}' has {chip.cores} cores; the RTL is one core without L2",
            where="athena rtl",
            hint="use --chip athena-edge or athena-edge-ci",
        )
    if program.precision == "fp32":
        raise UsageError(
            "the RTL multiplies int8 and bf16; fp32 is the simulators' alone",
            where=printable(program.name),
            hint="use --precision bf16 or int8",
        )
    if program.host_calls or program.weightless:
        why = "needs the host" if program.host_calls else "has no weights"
        raise UsageError(
            f"the program {why}, which the RTL cannot execute",
            where=printable(program.name),
            hint="`athena simulate` costs it",
        )


def cycle_limit(models: Models) -> int:
    """Where the RTL is stopped: far behind the timing model's end."""
    return 2 * models.timing.timeline.cycles + SLACK_CYCLES


def error_percent(agreement: Agreement) -> float:
    """The timing model's cycles over the RTL's, less 1, in percent."""
    rtl = agreement.cycles_rtl
    return 100.0 * (agreement.cycles_timing - rtl) / rtl if rtl else 0.0


def within_bounds(agreement: Agreement, chip: Chip) -> bool:
    """Every byte; with fixed-latency memory every cycle of every word, else the sum nearly."""
    if agreement.bytes_difference:
        return False
    if chip.hbm.kind == MemoryKind.FIXED:
        return not agreement.cycles_difference
    long = agreement.cycles_rtl > LONG_CYCLES
    return abs(error_percent(agreement)) <= (LONG_ERROR_PERCENT if long else SHORT_ERROR_PERCENT)


def memory_kind(chip: Chip) -> str:
    """`fixed`, or `banks` with refresh."""
    return "fixed" if chip.hbm.kind == MemoryKind.FIXED else "banks"


def memory_text(chip: Chip) -> str:
    """`fixed, 40 cycles, 16 GB/s`."""
    bandwidth = f"{chip.hbm.bandwidth_gbytes_per_s:g} GB/s"
    return f"{memory_kind(chip)}, {chip.hbm.latency_cycles} cycles, {bandwidth}"


def stored(program: Program, arrays: Inputs) -> dict[str, Array]:
    """Inputs as the chip's memory holds them."""
    return {
        t.name: to_storage(np.asarray(arrays[t.name]), t.dtype, where=printable(t.name))
        for t in program.tensors
        if t.role == "input"
    }


def differing_outputs(program: Program, models: Models, result: RtlResult) -> tuple[str, ...]:
    """Outputs whose bytes in memory are not those of the functional machine."""
    names = []
    for tensor in program.tensors:
        low, high = tensor.byte_range()
        model = models.functional.machine.segment(Seg(tensor.segment))[low:high]
        if tensor.role == "output" and not np.array_equal(
            model, result.segments[int(tensor.segment)][low:high]
        ):
            names.append(tensor.name)
    return tuple(names)


def _run(job: RtlJob, chip: Chip, limit: int, wave: Wave | None) -> RtlResult:
    """The simulator; a waveform appears under its name when it is whole."""
    if wave is None:
        return run_jobs([job], chip, cycle_limit=limit)[0]
    part = wave.path.with_name(f".{wave.path.name}.{os.getpid()}{wave.path.suffix}")
    try:
        held = Wave(path=part, first_cycle=wave.first_cycle, last_cycle=wave.last_cycle)
        (result,) = run_jobs([job], chip, cycle_limit=limit, wave=held)
        try:
            part.replace(wave.path)
        except OSError as exc:
            raise OutputError(
                f"the waveform cannot be written: {exc.strerror}",
                where=printable(wave.path),
                hint="name a file in a folder that you may write to",
            ) from exc
    finally:
        part.unlink(missing_ok=True)
    return result


def _units(models: Models, result: RtlResult) -> tuple[UnitBusy, ...]:
    timing = timing_counters(models.timing.timeline)
    return tuple(
        UnitBusy(
            queue=rtl.queue.name,
            rtl_cycles=rtl.busy_cycles,
            timing_cycles=model.busy_cycles,
        )
        for rtl, model in zip(result.counters.queues, timing.queues, strict=True)
    )


def _inputs(
    source: Executable, program: Program, given: None | str | Path | Inputs
) -> dict[str, Array]:
    if isinstance(given, str | Path):
        return read_npz(given)
    if given is not None:
        return dict(given)
    if isinstance(source, CompiledModel):
        return random_inputs(source.model, source.graph, VERIFY_SEED)
    return program_inputs(program, VERIFY_SEED)
