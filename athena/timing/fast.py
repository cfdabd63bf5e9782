"""Fast-forward: of a section with many repeats a few are simulated, the others follow from their
steady interval.

In:  a program, its chip, and the exact simulation as a function.   Out: a `Timeline` with `exact`
False, or None where no steady state was seen and everything has to be simulated.

The program is simulated with 4, 8 and 12 repeats of its longest section. If the last four took as
long as the four before, within STEADY, every further repeat is taken to last as long as these eight
did on average, and to do what they did. Counts are those of the words and come out exactly, but for
the hops over the mesh, which depend on addresses; cycles are an extrapolation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from athena.chip import Chip
from athena.isa.program import Program
from athena.timing.result import Timeline
from athena.units import cycles_to_s

STEP = 4  # repeats of one window
LEAST_REPEATS = 24  # below this, three short simulations cost more than the whole
STEADY = 0.005
REFRESHES = 20  # a window spans at least so many refresh intervals


def fast_forward(
    program: Program, chip: Chip, run: Callable[[Program], Timeline]
) -> Timeline | None:
    """The timeline of `program` with its longest section extrapolated, or None."""
    longest = max(
        range(len(program.sections)), key=lambda i: program.sections[i].repeat, default=-1
    )
    if longest < 0 or program.sections[longest].repeat < LEAST_REPEATS:
        return None
    first, second, third = (run(_shortened(program, longest, STEP * i)) for i in (1, 2, 3))
    before, last = second.cycles - first.cycles, third.cycles - second.cycles
    window_s = cycles_to_s(last, chip.clock_hz)
    if abs(last - before) > STEADY * last or window_s < REFRESHES * _refresh_s(chip):
        return None
    return _extended(first, third, program.sections[longest].repeat - 3 * STEP)


def _refresh_s(chip: Chip) -> float:
    return chip.hbm.refresh_interval_ns * 1e-9 if chip.hbm.kind == "hbm" else 0.0


def _shortened(program: Program, section: int, repeat: int) -> Program:
    sections = list(program.sections)
    sections[section] = replace(sections[section], repeat=repeat)
    return replace(program, sections=tuple(sections))


def _extended(first: Timeline, third: Timeline, repeats: int) -> Timeline:
    """`third` and `repeats` more, each its share of what `third` has beyond `first`."""
    cycles = _more(first.cycles, third.cycles, repeats)
    busy = _more(
        first.hbm_busy_fraction * first.cycles, third.hbm_busy_fraction * third.cycles, repeats
    )
    return replace(
        third,
        cycles=cycles,
        counts=_more(first.counts, third.counts, repeats),
        units=tuple(_more(a, b, repeats) for a, b in zip(first.units, third.units, strict=True)),
        nodes=tuple(_more(a, b, repeats) for a, b in zip(first.nodes, third.nodes, strict=True)),
        host_s=tuple(_more(a, b, repeats) for a, b in zip(first.host_s, third.host_s, strict=True)),
        hbm_busy_fraction=busy / cycles,
        exact=False,
    )


_LABELS = ("queue", "units", "node")  # fields that name, and do not measure


def _more(a: Any, b: Any, repeats: int) -> Any:
    """`b` and `repeats` shares of b - a: numbers, and records or mappings of numbers."""
    if is_dataclass(b) and not isinstance(b, type):
        changes = {
            f.name: _more(getattr(a, f.name), getattr(b, f.name), repeats)
            for f in fields(b)
            if f.name not in _LABELS
        }
        return replace(b, **changes)
    if isinstance(b, dict):
        return {key: _more(a.get(key, 0), value, repeats) for key, value in b.items()}
    if isinstance(b, int):
        return b + round((b - a) * repeats / (2 * STEP))
    return b + (b - a) * repeats / (2 * STEP)
