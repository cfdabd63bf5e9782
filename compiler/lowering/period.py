"""Find the block of ops that a model repeats, and what must hold so that its words repeat too.

In:  a `Plan`, and the buffers that each step's kernel touches.   Out: `Period`, and `Placement` for
the allocation of memory.
Raises: nothing.

Words repeat when every operand moves by one distance per segment from a repeat to the next. So
activations of the same role share their bytes over all repeats, constants lie in order of use, and
constants that several repeats read lie in a segment of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.isa.fields import Seg
from compiler.lowering.plan import Plan, PlanStep

SETTLE = 5  # one that differs in what it waits for, and twice two blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Steps start … start + length · count: `count` repeats of `length` steps."""

    start: int
    length: int
    count: int

    def step(self, repeat: int) -> int:
        """First step of a repeat."""
        return self.start + repeat * self.length

    def boundary(self, step: int) -> bool:
        """Whether a repeat begins at `step`, or the last one ended before it."""
        at = step - self.start
        return 0 <= at <= self.length * self.count and at % self.length == 0

    def repeat_of(self, step: int) -> int:
        """Which repeat the step is in; -1 if it is in none."""
        at = step - self.start
        return at // self.length if 0 <= at < self.length * self.count else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`together`: groups of activation buffers with one offset each; `order`: constant buffers by
    first use.
    """

    period: Period | None = None
    together: tuple[tuple[int, ...], ...] = ()
    order: tuple[int, ...] = ()

    def repeat_of(self, step: int) -> int:
        """Which repeat the step is in; -1 if it is in none."""
        return -1 if self.period is None else self.period.repeat_of(step)

    def begins(self, step: int) -> bool:
        """Whether a repeat begins at `step`, or the last one ended before it."""
        return self.period is not None and self.period.boundary(step)


def place_repeats(plan: Plan, touched: Sequence[frozenset[int]]) -> Placement:
    """The period of the plan, if it has one, and the placement that lets it repeat.

    `touched[i]` are the buffers that step i reads or writes. Constants that several repeats read
    are moved to segment PARAM.
    """
    order = tuple(
        dict.fromkeys(
            number
            for buffers in touched
            for number in sorted(buffers)
            if plan.buffers[number].segment is Seg.WEIGHT
        )
    )
    for period in _candidates(plan):
        together = _together(plan, period)
        if together is not None:
            _move_shared(plan, touched, period)
            return Placement(period=period, together=together, order=order)
    return Placement(order=order)


def _candidates(plan: Plan) -> Iterator[Period]:
    """The best period, without its first or last repeat; then the same for blocks twice as long."""
    best = _best(_kinds(plan))
    if best is None:
        return
    for length in (best.length, 2 * best.length):
        for first, last in ((0, 0), (1, 0), (0, 1), (1, 1)):
            steps = best.length * (best.count - first - last)
            if steps >= 2 * length:
                start = best.start + first * best.length
                yield Period(start=start, length=length, count=steps // length)


def _kinds(plan: Plan) -> NDArray[np.int64]:
    """A number for each step, equal for steps that can have the same words."""
    numbers: dict[object, int] = {}
    return np.array(
        [numbers.setdefault(_signature(plan, step), len(numbers)) for step in plan.steps], np.int64
    )


def _signature(plan: Plan, step: PlanStep) -> object:
    views = tuple(
        None if v is None else (v.dt, v.shape, v.strides, plan.buffers[v.buffer].segment)
        for v in (*step.ins, step.out)
    )
    try:
        hash(step.attrs)
    except TypeError:
        return step.op, step.to_bool, views
    return step.op, step.to_bool, views, step.attrs


def _best(kinds: NDArray[np.int64]) -> Period | None:
    """The period that covers most steps; of equals the shortest, then the first."""
    best, covered = None, 0
    for length in range(1, len(kinds) // 2 + 1):
        same = np.concatenate([[False], kinds[length:] == kinds[:-length], [False]])
        edges = np.flatnonzero(same[1:] != same[:-1])
        starts, ends = edges[::2], edges[1::2]
        counts = (ends - starts) // length + 1
        if len(counts) and (top := int(counts.argmax())) >= 0 and counts[top] > 1:
            steps = int(counts[top]) * length
            if steps > covered:
                covered = steps
                best = Period(start=int(starts[top]), length=length, count=int(counts[top]))
    return best


def _together(plan: Plan, period: Period) -> tuple[tuple[int, ...], ...] | None:
    """Activation buffers of one role in all repeats; None if two of a role are alive at once."""
    leader: dict[int, int] = {}

    def find(number: int) -> int:
        while leader.setdefault(number, number) != number:
            number = leader[number]
        return number

    last = period.start + period.length * (period.count - 1)
    for at in range(period.start, last):
        here, there = plan.steps[at], plan.steps[at + period.length]
        for one, other in zip((*here.ins, here.out), (*there.ins, there.out), strict=True):
            if (
                one is not None
                and other is not None
                and plan.buffers[one.buffer].segment is Seg.ACT
            ):
                leader[find(other.buffer)] = find(one.buffer)
    groups: dict[int, list[int]] = {}
    for number in sorted(leader):
        groups.setdefault(find(number), []).append(number)
    for group in groups.values():
        lives = sorted((plan.buffers[n].first, plan.buffers[n].last) for n in group)
        if any(after[0] <= before[1] for before, after in zip(lives, lives[1:], strict=False)):
            return None
    return tuple(tuple(group) for group in groups.values())


def _move_shared(plan: Plan, touched: Sequence[frozenset[int]], period: Period) -> None:
    """Constants that more than one repeat reads go to segment PARAM."""
    reader: dict[int, int] = {}
    for step, buffers in enumerate(touched):
        repeat = period.repeat_of(step)
        for number in buffers if repeat >= 0 else ():
            if (
                plan.buffers[number].segment is Seg.WEIGHT
                and reader.setdefault(number, repeat) != repeat
            ):
                plan.buffers[number].segment = Seg.PARAM


def repeats_to_write(plan: Plan, touched: Sequence[frozenset[int]], placement: Placement) -> int:
    """How many repeats must be written so that the words of all others follow from them.

    The buffers have offsets. From some repeat on, all of them move by one distance per segment and
    repeat; SETTLE are written from there, and an even number is left out.
    """
    period = placement.period
    if period is None:
        return 0
    steps = [_moves(plan, touched, period, repeat) for repeat in range(1, period.count)]
    steady = len(steps)
    while steady and steps[-1] is not None and steps[steady - 1] == steps[-1]:
        steady -= 1
    left = period.count - steady - SETTLE
    return period.count - max(0, left // 2 * 2)


def _moves(
    plan: Plan, touched: Sequence[frozenset[int]], period: Period, repeat: int
) -> dict[Seg | None, int] | None:
    """Distance of a repeat's buffers from the one before, by segment; None if it is not one."""
    found: dict[Seg | None, int] = {}
    for at in range(period.step(repeat), period.step(repeat + 1)):
        before = at - period.length
        one, other = _places(plan, touched, before), _places(plan, touched, at)
        if len(one) != len(other):
            return None
        for (segment, start), (segment_after, start_after) in zip(one, other, strict=True):
            distance = start_after - start
            if segment is not segment_after or found.setdefault(segment, distance) != distance:
                return None
    return found


def _places(
    plan: Plan, touched: Sequence[frozenset[int]], step: int
) -> list[tuple[Seg | None, int]]:
    """Segment and offset of every view and every buffer of a step."""
    views = (*plan.steps[step].ins, plan.steps[step].out)
    found: list[tuple[Seg | None, int]] = [
        (None, 0)
        if view is None
        else (plan.buffers[view.buffer].segment, plan.buffers[view.buffer].offset + view.offset)
        for view in views
    ]
    buffers = (plan.buffers[number] for number in sorted(touched[step]))
    return [*found, *((buffer.segment, buffer.offset) for buffer in buffers)]
