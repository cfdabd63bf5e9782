"""The program verifier: `check_program`.

In:  a Program (from a file, the assembler or the compiler) and the Chip it is for.
Out: `CheckResult`: what was looked at, and whether a limit ended it early.
Raises: ProgramError, DeadlockError or RaceError naming queue, stream, word, operation, node,
     semaphore or byte range.

The structural part costs O(static words): rules of each word, bounds, alignment, loops within the
FIFO, banks, one consumer a semaphore, balance. Then the semaphores are run without data, which
shows deadlock. With `races`, words that touch the same byte, one writing, need an order
(`athena.isa.check_race`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from athena.chip.load import chip_hash
from athena.chip.model import Chip
from athena.errors import ProgramError, printable
from athena.isa.areg_ranges import areg_ranges
from athena.isa.check_bounds import check_bounds, limits_of
from athena.isa.check_race import check_races
from athena.isa.check_run import check_deadlock, layout
from athena.isa.check_sems import Member, Semaphores, check_balance, check_consumers
from athena.isa.check_words import Ints, Words, check_words
from athena.isa.fields import Seg, decode
from athena.isa.program import Program
from athena.isa.queues import Group, check_sections, groups

SEGMENT_ALIGN = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What `check_program` looked at; `limits` names the parts that a limit of work cut short."""

    static_words: int
    abstract_words: int
    accesses: int
    limits: tuple[str, ...]


def check_program(program: Program, chip: Chip, *, races: bool) -> CheckResult:
    """Judge `program` for `chip`; with `races`, the order of accesses too.

    Raises: ProgramError, DeadlockError, RaceError.
    """
    rows = [decode(stream.words) for stream in program.streams]
    members, limits = _check_structure(program, rows, chip)
    plan = layout(program, rows, chip)
    if not len(plan.info):
        raise ProgramError("no queue runs anything", where=printable(program.name))
    outcome = check_deadlock(program, plan)
    if outcome.limited:
        limits.append("deadlock: the abstract run met its limit of words")
    accesses = 0
    if races and not outcome.limited:
        accesses, whole = check_races(program, plan, outcome)
        if not whole:
            limits.append("races: only the first part of the run was judged")
    return CheckResult(
        static_words=program.static_words,
        abstract_words=outcome.steps,
        accesses=accesses,
        limits=tuple(limits),
    )


def check_structure(program: Program, chip: Chip) -> tuple[str, ...]:
    """The structural part alone: O(static words). Gives the limits that it met.

    Raises: ProgramError.
    """
    rows = [decode(stream.words) for stream in program.streams]
    return tuple(_check_structure(program, rows, chip)[1])


def _check_structure(
    program: Program, rows: list[Ints], chip: Chip
) -> tuple[list[Member], list[str]]:
    if program.chip_hash and program.chip_hash != chip_hash(chip):
        raise ProgramError(
            f"the program is for another description of chip '{printable(program.chip, 40)}'",
            where=printable(program.name),
            hint="compile the model again for this chip",
        )
    _check_memory(program, chip)
    check_sections(program, chip)
    members: list[Member] = []
    names, limits = [], []
    judged: set[tuple[int, int]] = set()
    for group in groups(program, chip):
        words = Words(rows[group.stream], group.kind, _name(program, group))
        if (group.stream, group.kind) not in judged:
            judged.add((group.stream, group.kind))
            check_words(words, chip, len(program.host_calls))
        ranges = areg_ranges(words.rows, group.aregs, group.scalars)
        if not check_bounds(words, group, ranges, limits_of(program, chip, group.sections), chip):
            limits.append(f"bounds: {words.where}, queue {group.kind.name}: too many iterations")
        members.append((group, words.rows, ranges))
        names.append(words.where)
    sems = Semaphores(chip)
    check_consumers(members, sems, names)
    if not check_balance(members, sems, program):
        limits.append("balance: loops with clipped counts are left to the abstract run")
    return members, limits


def _name(program: Program, group: Group) -> str:
    section = program.sections[group.sections[0]]
    return f"stream {group.stream}, section '{printable(section.name, 40)}'"


def _check_memory(program: Program, chip: Chip) -> None:
    """Segments fit main memory; constants and tensors lie within their segments."""
    where = printable(program.name)
    if any(size < 0 for size in program.segment_bytes) or any(program.segment_bytes[8:]):
        raise ProgramError("segments 0 … 7 have sizes of 0 or more, the others none", where=where)
    total = sum(-(-size // SEGMENT_ALIGN) * SEGMENT_ALIGN for size in program.segment_bytes)
    if total > chip.hbm.bytes:
        raise ProgramError(
            f"the segments need {total} bytes; main memory has {chip.hbm.bytes}", where=where
        )
    sizes = np.zeros(16, np.int64)
    sizes[: len(program.segment_bytes)] = program.segment_bytes
    for seg, data in program.constants.items():
        if not 0 <= seg < Seg.L1 or len(data) > sizes[seg]:
            raise ProgramError(f"constants of segment {seg} are longer than it", where=where)
    for tensor in program.tensors:
        low, high = tensor.byte_range()
        if not 0 <= tensor.segment < Seg.L1 or low < 0 or high > sizes[tensor.segment]:
            raise ProgramError(
                f"bytes {low} … {high - 1} of segment {tensor.segment.name}, which has "
                f"{sizes[tensor.segment]}",
                where=f"tensor '{printable(tensor.name)}'",
            )
