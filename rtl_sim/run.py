"""Run programs on the RTL: many in one start of the simulator.

In:  jobs (`rtl_sim.job.RtlJob`) and a `Chip`. Out: an `RtlResult` a job.
Raises: ToolError when tools are missing, FaultError / DeadlockError / RuntimeLimitError from
`run_program`.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.errors import DeadlockError, FaultError, InternalError, RuntimeLimitError
from athena.isa.program import Program
from rtl_sim.build import simulator
from rtl_sim.job import Outcome, RtlJob, RtlResult, decode_result, encode

CYCLE_LIMIT = 2_000_000
START_LIMIT_S = 60.0
CYCLES_PER_S = 20_000.0  # far below what a slow machine simulates


def run_jobs(
    jobs: Sequence[RtlJob], chip: Chip, *, cycle_limit: int = CYCLE_LIMIT
) -> list[RtlResult]:
    """Run every job, one after another in one process; faults and deadlocks are in the results.

    Raises: ToolError, InputError, CapacityError, RuntimeLimitError when the simulator does not end.
    """
    program = simulator(chip)
    with tempfile.TemporaryDirectory(prefix="athena-rtl-") as name:
        folder = Path(name)
        for number, job in enumerate(jobs):
            (folder / f"{number}.in").write_bytes(encode(job, chip, cycle_limit))
        limit_s = START_LIMIT_S + len(jobs) * cycle_limit / CYCLES_PER_S
        try:
            done = subprocess.run(
                [str(program), f"+dir={folder}", f"+count={len(jobs)}"],
                capture_output=True, text=True, timeout=limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise RuntimeLimitError(
                f"the RTL simulation did not end in {limit_s:.0f} s", where=chip.name
            ) from exc
        if done.returncode:
            raise InternalError(
                f"the RTL simulator ended with {done.returncode}: {done.stderr[-500:]}",
                where=chip.name,
            )
        return [decode_result(job, chip, folder, number) for number, job in enumerate(jobs)]


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
    at = f"{program.name}: queue {result.fault_queue.name}, word {result.fault_pc}"
    if result.outcome is Outcome.FAULT:
        raise FaultError(
            f"the RTL core halted: {result.fault.name}", where=at,
            hint="`rtl: no` in docs/isa.md marks words that the RTL does not have",
        )  # fmt: skip
    if result.outcome is Outcome.DEADLOCK:
        raise DeadlockError("every queue of the RTL core waits", where=program.name)
    if result.outcome is Outcome.LIMIT:
        raise RuntimeLimitError(f"not done after {cycle_limit} cycles", where=program.name)
    return result
