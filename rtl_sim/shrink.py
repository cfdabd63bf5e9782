"""Make a failing random program small and keep it: `python -m rtl_sim.shrink SEED --to FOLDER`.

In:  a seed for which RTL and models differ, or any list of choices, and a judge of jobs.
Out: `minimise` → the simplest choices that still fail; `save` → a program file that holds its
     memory images, so that `tests/rtl_sim/test_regressions.py` can run it again.
Raises: UsageError for a seed that does not fail; OutputError when the file cannot be written.

A program is the list of numbers that were drawn for it. Fewer and smaller numbers are simpler
programs, so the list is cut and lowered for as long as the judge still says that it fails.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from athena.chip.load import load_chip
from athena.chip.model import Chip
from athena.errors import AthenaError, InternalError, UsageError
from athena.isa.check import check_program
from athena.isa.container import write_program
from athena.isa.fields import Seg
from rtl_sim.correlate import correlate
from rtl_sim.generate import build_job
from rtl_sim.job import Outcome, RtlJob, RtlResult
from rtl_sim.run import run_jobs

BATCH = 24  # candidates in one start of the simulator
CYCLE_LIMIT = 200_000
Choices = tuple[int, ...]
Change = Callable[[Choices, int, int], Choices]
Judge = Callable[[Sequence[RtlJob]], Sequence[str]]  # a text for each job: how it fails, or nothing


@dataclass(slots=True)
class Replay:
    """A `Chooser` that gives numbers from a list, each counted from the low end of its range, and
    the low end when the list is used up; `used` is what it gave.
    """

    choices: Choices
    used: list[int] = field(default_factory=list)

    def randint(self, low: int, high: int, /) -> int:
        """The next number, at most `high`."""
        at = len(self.used)
        step = min(self.choices[at], high - low) if at < len(self.choices) else 0
        self.used.append(step)
        return low + step


@dataclass(slots=True)
class Recorder:
    """A `Chooser` that draws from `rng` and keeps what it drew, as `Replay` takes it."""

    rng: random.Random
    used: list[int] = field(default_factory=list)

    def randint(self, low: int, high: int, /) -> int:
        """A number from low to high."""
        value = self.rng.randint(low, high)
        self.used.append(value - low)
        return value


def choices_of(seed: int, chip: Chip) -> Choices:
    """The numbers that `random_job(seed, chip)` draws."""
    recorder = Recorder(random.Random(seed))
    build_job(recorder, chip, "")
    return tuple(recorder.used)


def verdicts(jobs: Sequence[RtlJob], chip: Chip) -> list[str]:
    """What is wrong with each job: its outcome, a broken assertion, or where RTL and models differ;
    nothing for a good one and for one that the verifier refuses.
    """
    try:
        results = run_jobs(jobs, chip, cycle_limit=CYCLE_LIMIT)
    except InternalError as error:
        if len(jobs) == 1:
            return [str(error)]
        half = len(jobs) // 2
        return verdicts(jobs[:half], chip) + verdicts(jobs[half:], chip)
    return [_verdict(job, chip, result) for job, result in zip(jobs, results, strict=True)]


def _verdict(job: RtlJob, chip: Chip, result: RtlResult) -> str:
    if result.outcome is Outcome.DONE:
        agreement = correlate(job, chip, result)
        text = agreement.bytes_difference or agreement.cycles_difference
    else:
        text = f"{result.outcome} {result.fault.name}"
    if text:
        try:
            check_program(job.program, chip, races=True)
        except AthenaError:
            return ""
    return text


def _cut(choices: Choices, at: int, length: int) -> Choices:
    return choices[:at] + choices[at + length :]


def _lowest(choices: Choices, at: int, length: int) -> Choices:
    return choices[:at] + (0,) * len(choices[at : at + length]) + choices[at + length :]


def _half(choices: Choices, at: int, length: int) -> Choices:
    return choices[:at] + tuple(x // 2 for x in choices[at : at + length]) + choices[at + length :]


def _less(choices: Choices, at: int, length: int) -> Choices:
    lower = tuple(max(0, x - 1) for x in choices[at : at + length])
    return choices[:at] + lower + choices[at + length :]


def minimise(choices: Choices, chip: Chip, judge: Judge) -> Choices:
    """The simplest list found for which `judge` still names a failure."""
    best, before = choices, None
    while best != before:
        before = best
        length = 1 << max(0, len(best).bit_length() - 1)
        while length:
            best = _sweep(best, length, _cut, chip, judge)
            best = _sweep(best, length, _lowest, chip, judge)
            length //= 2
        for change in (_half, _less):
            best = _sweep(best, 1, change, chip, judge)
    return best


def _sweep(best: Choices, length: int, change: Change, chip: Chip, judge: Judge) -> Choices:
    """Apply `change` wherever the program still fails, from the first choices to the last."""
    at = 0
    while at < len(best):
        batch: list[tuple[int, Choices, RtlJob]] = []
        while at < len(best) and len(batch) < BATCH:
            replay = Replay(change(best, at, length))
            job = build_job(replay, chip, "candidate")
            used = tuple(replay.used)
            if (len(used), used) < (len(best), best):
                batch.append((at, used, job))
            at += length
        texts = judge([job for _, _, job in batch]) if batch else ()
        for (place, used, _), text in zip(batch, texts, strict=True):
            if text:
                best, at = used, place
                break
    return best


def save(choices: Choices, chip: Chip, path: Path, judge: Judge) -> RtlJob:
    """Write the program of `choices` with no more of its input image than it needs to fail."""
    job = build_job(Replay(choices), chip, path.stem)
    image = job.program.constants[Seg.INPUT]
    for size in (0, 64, 256, 1024, 4096):
        constants = {**job.program.constants, Seg.INPUT: image[:size]}
        shorter = RtlJob(program=replace(job.program, constants=constants))
        if any(judge([shorter])):
            job = shorter
            break
    write_program(job.program, path)
    return job


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="make a failing random program small, keep it")
    parser.add_argument("seed", type=int)
    parser.add_argument("--chip", default="athena-edge-ci")
    parser.add_argument("--to", type=Path, default=Path("tests/rtl_sim/regressions"))
    given = parser.parse_args()
    chip = load_chip(given.chip)

    def judge(jobs: Sequence[RtlJob]) -> list[str]:
        return verdicts(jobs, chip)

    choices = choices_of(given.seed, chip)
    (text,) = judge([build_job(Replay(choices), chip, f"random-{given.seed}")])
    if not text:
        raise UsageError(f"program {given.seed} runs as the models say", where=chip.name)
    small = minimise(choices, chip, judge)
    path = given.to / f"seed-{given.seed}-{chip.name}.athena"
    job = save(small, chip, path, judge)
    (text,) = judge([job])
    print(
        f"{path}: {job.program.static_words} words, {len(small)} of {len(choices)} choices: {text}"
    )


if __name__ == "__main__":
    main()
