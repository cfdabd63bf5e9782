"""The estimate of attention: the choice it leads to, and how near it is to the simulated time."""

from __future__ import annotations

import pytest

from athena.chip import load_chip
from athena.timing import simulate
from compiler.graph.chip_ops import AttentionAttrs
from compiler.graph.graph import Graph
from compiler.graph.types import DType, Node, Value
from compiler.lowering import LowerOptions, attention, lower

ATHENA = load_chip("athena")
CASES = {
    "causal": ((1, 8, 8, 2048, 2048, 128), True, 0.35),
    "grouped": ((2, 16, 4, 1024, 1024, 64), False, 0.5),  # array and memory nearly tie
    "decode": ((8, 32, 8, 1, 2048, 128), True, 0.15),
}


def attention_graph(size, *, causal):
    """One attention with inputs q, k, v; a single query sees every key."""
    batch, heads, kv_heads, rows, keys, depth = size
    edit = Graph("attention").edit()
    shapes = {
        "q": (batch, heads, rows, depth),
        "k": (batch, kv_heads, keys, depth),
        "v": (batch, kv_heads, keys, depth),
        "y": (batch, heads, rows, depth),
    }
    for name, shape in shapes.items():
        edit.set_value(Value(name=name, dtype=DType.BF16, shape=shape))
    edit.inputs, edit.outputs = ("q", "k", "v"), ("y",)
    attrs = AttentionAttrs(scale=depth**-0.5, causal=causal, causal_offset=keys - rows)
    inputs = ("q", "k", "v", "")
    edit.add_node(
        Node(name="a", op="Attention", domain="chip", inputs=inputs, outputs=("y",), attrs=attrs)
    )
    return edit.freeze()


@pytest.fixture
def jobs(monkeypatch):
    """The attention jobs that lowering maps, as they are met."""
    met = []
    chosen = attention._map
    monkeypatch.setattr(attention, "_map", lambda job, chip: met.append(job) or chosen(job, chip))
    return met


@pytest.mark.parametrize("case", CASES)
def test_estimate_is_near_the_simulated_time(case, jobs):
    size, causal, within = CASES[case]
    program = lower(attention_graph(size, causal=causal), ATHENA, LowerOptions(precision="bf16"))
    best = attention._map(jobs[0], ATHENA)
    assert simulate(program, ATHENA).cycles == pytest.approx(best.cycles, rel=within)
    assert f"~{best.cycles:,.0f} cycles, bound by {best.bound}" in program.nodes[0].mapping


@pytest.mark.parametrize("chip", ["athena", "athena-edge", "athena-edge-ci"])
@pytest.mark.parametrize("case", CASES)
def test_candidates_fit_and_the_cheapest_is_taken(case, chip, jobs):
    size, causal, _ = CASES[case]
    target = load_chip(chip)
    lower(attention_graph(size, causal=causal), target, LowerOptions(precision="bf16"))
    found = list(attention._candidates(jobs[0], target))
    for m in found:
        assert jobs[0].l1_bytes(m.bq, m.bk, m.subs, target) <= target.core.l1_bytes
        assert m.bq * m.bk * 4 <= target.acc_region_bytes
        assert m.s_slots + m.subs <= target.core.acc_regions
        assert m.head_groups * m.batch_groups * m.row_groups <= target.cores
        assert m.row_groups * m.row_blocks * m.subs * m.bq >= jobs[0].q.shape[2]
    assert round(attention._map(jobs[0], target).cycles) == min(round(m.cycles) for m in found)
