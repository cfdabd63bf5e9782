"""Run programs on the RTL: many in one start of the simulator.

In:  jobs (`rtl_sim.job.RtlJob`) and a `Chip`. Out: an `RtlResult` a job.
Raises: ToolError when tools are missing, FaultError / DeadlockError / RuntimeLimitError from
`run_program`.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import DeadlockError, FaultError, InternalError, RuntimeLimitError, printable
from athena.isa.program import Program
from rtl_sim.build import Variant, simulator, wave_format
from rtl_sim.job import Outcome, RtlJob, RtlResult, decode_result, encode
from rtl_sim.locate import halted

CYCLE_LIMIT = 2_000_000
START_LIMIT_S = 60.0
CYCLES_PER_S = 2_000.0  # far below what a slow machine simulates


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A waveform file (.fst or .vcd) and the cycles that it holds, both ends included."""

    path: Path
    first_cycle: int = 0
    last_cycle: int = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How the simulator is built, and what else stands on its command line."""

    variant: Variant = Variant.PLAIN
    arguments: tuple[str, ...] = ()


_START = Start()


def run_jobs(
    jobs: Sequence[RtlJob],
    chip: Chip,
    *,
    cycle_limit: int | Sequence[int] = CYCLE_LIMIT,
    processes: int = 1,
    wave: Wave | None = None,
    start: Start = _START,
) -> list[RtlResult]:
    """Run every job, one after another in each process; faults and deadlocks are in the results.

    `cycle_limit` may be one a job. `wave` is of the first job.
    Raises: ToolError, InputError, CapacityError, RuntimeLimitError when the simulator does not end,
    InternalError naming the job and the assertion when one is broken.
    """
    if not jobs:
        return []
    limits = [cycle_limit] * len(jobs) if isinstance(cycle_limit, int) else list(cycle_limit)
    program = simulator(chip, wave=wave_format(wave.path) if wave else "", variant=start.variant)
    cases = list(zip(jobs, limits, strict=True))
    parts = [range(first, len(cases), processes) for first in range(min(processes, len(cases)))]
    with ThreadPoolExecutor(len(parts)) as pool:
        made = pool.map(
            lambda part: _run_part(
                [str(program), *start.arguments],
                chip,
                [cases[i] for i in part],
                wave if 0 in part else None,
            ),
            parts,
        )
        found = {i: result for part, results in zip(parts, made, strict=True)
                 for i, result in zip(part, results, strict=True)}  # fmt: skip
    return [found[i] for i in range(len(cases))]


def _run_part(
    program: list[str], chip: Chip, cases: Sequence[tuple[RtlJob, int]], wave: Wave | None
) -> list[RtlResult]:
    """One process of the simulator."""
    with tempfile.TemporaryDirectory(prefix="athena-rtl-") as name:
        folder = Path(name)
        for number, (job, limit) in enumerate(cases):
            (folder / f"{number}.in").write_bytes(encode(job, chip, limit))
        command = [*program, f"+dir={folder}", f"+count={len(cases)}"]
        if wave is not None:
            command += [f"+wave={wave.path}", f"+wave_first={wave.first_cycle}",
                        f"+wave_last={wave.last_cycle}"]  # fmt: skip
        limit_s = START_LIMIT_S + sum(limit for _, limit in cases) / CYCLES_PER_S
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise RuntimeLimitError(
                f"the RTL simulation did not end in {limit_s:.0f} s", where=chip.name
            ) from exc
        if done.returncode:
            ended = [(folder / f"{number}.status").exists() for number in range(len(cases))]
            at = cases[ended.index(False)][0].program.name if False in ended else "the end"
            raise InternalError(
                f"the RTL simulator ended with {done.returncode}: "
                f"{(done.stdout + done.stderr)[-500:]}",
                where=f"{chip.name}, {at}",
            )
        return [decode_result(job, chip, folder, number) for number, (job, _) in enumerate(cases)]


def run_program(
    program: Program,
    chip: Chip,
    inputs: Mapping[str, NDArray[np.generic]] | None = None,
    *,
    cycle_limit: int = CYCLE_LIMIT,
) -> RtlResult:
    """Run one program to its end on the RTL of `chip`.

    Raises: FaultError, DeadlockError, RuntimeLimitError; and what `run_jobs` raises.
    """
    job = RtlJob(program=program, inputs=inputs or {})
    (result,) = run_jobs([job], chip, cycle_limit=cycle_limit)
    return finished(program, result, cycle_limit)


def finished(program: Program, result: RtlResult, cycle_limit: int) -> RtlResult:
    """The result of a program that ended as it should.

    Raises: FaultError, DeadlockError, RuntimeLimitError.
    """
    if result.outcome is Outcome.FAULT:
        place = halted(program, result.trace, result.fault_queue, result.fault_pc)
        node = f", node '{printable(place.node)}'" if place.node else ""
        raise FaultError(
            f"the RTL core halted: {result.fault.name} at {printable(place.word, 400)}",
            where=f"{program.name}: queue {place.queue}, word {place.pc}{node}",
            hint="`rtl: no` in docs/isa.md marks words that the RTL does not have",
        )
    if result.outcome is Outcome.DEADLOCK:
        raise DeadlockError("every queue of the RTL core waits", where=program.name)
    if result.outcome is Outcome.LIMIT:
        raise RuntimeLimitError(f"not done after {cycle_limit} cycles", where=program.name)
    return result
