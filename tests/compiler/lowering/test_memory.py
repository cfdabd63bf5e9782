"""No two buffers alive together share bytes; dead bytes are used again."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from athena.isa.fields import Seg
from compiler.graph.graph import Graph
from compiler.lowering.memory import allocate
from compiler.lowering.period import Placement
from compiler.lowering.plan import Plan
from tests.end_to_end.lab import chip_named

QUICK = settings(deadline=None, derandomize=True, max_examples=200, database=None)


@dataclass(frozen=True)
class _Life:
    size: int
    first: int
    last: int


LIVES = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 30), st.integers(0, 8)).map(
        lambda t: _Life(t[0], t[1], t[1] + t[2])
    ),
    min_size=1,
    max_size=40,
)


@QUICK
@given(LIVES)
def test_alive_buffers_do_not_overlap(lives):
    plan = Plan(Graph("hand"))
    for i, life in enumerate(lives):
        buffer = plan.buffers[plan.buffer(Seg.ACT, life.size, f"b{i}")]
        buffer.first, buffer.last = life.first, life.last
    sizes = allocate(plan, chip_named("athena-edge"), Placement())
    for i, one in enumerate(plan.buffers):
        assert one.offset >= 0
        assert one.offset + one.nbytes <= sizes[Seg.ACT]
        for other in plan.buffers[:i]:
            together = one.first <= other.last and other.first <= one.last
            apart = (
                one.offset + one.nbytes <= other.offset or other.offset + other.nbytes <= one.offset
            )
            assert apart or not together


def test_dead_bytes_are_used_again():
    plan = Plan(Graph("hand"))
    for i in range(10):
        buffer = plan.buffers[plan.buffer(Seg.ACT, 4096, f"b{i}")]
        buffer.first, buffer.last = i, i + 1
    assert allocate(plan, chip_named("athena-edge"), Placement())[Seg.ACT] == 2 * 4096
