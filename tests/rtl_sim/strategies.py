"""Hypothesis strategy of programs for the RTL: the generator of the seeds, fed by draws."""

from __future__ import annotations

from hypothesis import strategies as st

from rtl_sim.generate import build_job
from rtl_sim.job import RtlJob


class Drawn:
    """A `Chooser` whose numbers Hypothesis draws, so that failing programs shrink."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def randint(self, low: int, high: int, /) -> int:
        return low + self.draw(st.integers(0, high - low))


@st.composite
def programs(draw: st.DrawFn, chip) -> RtlJob:
    """A legal program for `chip` with its memory image."""
    return build_job(Drawn(draw), chip, "drawn")
