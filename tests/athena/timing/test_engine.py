"""The event-driven engine against a model that advances cycle by cycle: traces equal, entry for entry."""

from __future__ import annotations

from hypothesis import Phase, given, settings

from athena.timing import simulate
from tests.athena.timing.programs import chips, programs
from tests.athena.timing.stepper import simulate_slowly


@settings(max_examples=60, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(program=programs(), chip=chips())
def test_traces_equal_those_of_the_cycle_stepped_model(program, chip):
    expected, last = simulate_slowly(program, chip)
    result = simulate(program, chip, trace=True)
    assert [tuple(row[:5]) for row in result.trace.tolist()] == expected
    assert result.cycles == last
