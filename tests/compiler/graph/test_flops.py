"""FLOPs and bytes against numbers counted by hand."""

from __future__ import annotations

import pytest

from compiler.graph import chip_ops as c
from compiler.graph.flops import NodeFlops, graph_flops, node_flops
from compiler.graph.graph import Graph
from compiler.graph.types import NO_ATTRS, Attrs, DType, Node, Value


def single(
    op: str, inputs: list, out: tuple, attrs: Attrs = NO_ATTRS, dtype: DType = DType.F32, outputs=()
):
    """A graph of one node; inputs are shapes or (shape, dtype)."""
    edit = Graph().edit()
    names = []
    for index, entry in enumerate(inputs):
        if entry is None:
            names.append("")
            continue
        shape, kind = entry if entry and isinstance(entry[-1], DType) else (entry, dtype)
        names.append(f"x{index}")
        edit.set_value(Value(name=names[-1], dtype=kind, shape=shape))
    edit.set_value(Value(name="y", dtype=dtype, shape=out))
    edit.add_node(
        Node(name="n", op=op, inputs=tuple(names), outputs=("y",), attrs=attrs, domain="chip")
    )
    edit.set_interface(inputs=[n for n in names if n], outputs=("y",))
    graph = edit.freeze()
    return node_flops(graph, graph.nodes[0])


def test_gemm_with_bias_and_epilogue():
    steps = (c.Step(fn=c.Fn.GELU), c.Step(fn=c.Fn.ADD, operand=3))
    got = single("Gemm", [(2, 3, 5), (5, 7), (7,), (2, 3, 7)], (2, 3, 7), c.GemmAttrs(steps=steps))
    assert got.matmul == 2 * 2 * 3 * 5 * 7
    assert got.elementwise == 3 * 2 * 3 * 7
    assert got.compulsory_bytes == 4 * (30 + 35 + 7 + 42 + 42)
    assert got.total == got.matmul + got.elementwise


@pytest.mark.parametrize(
    ("offset", "pairs"), [(0, 1 + 2 + 3), (2, 3 + 4 + 5), (10, 15), (-1, 0 + 1 + 2)]
)
def test_causal_attention_counts_unmasked_pairs(offset, pairs):
    attrs = c.AttentionAttrs(scale=1.0, causal=True, causal_offset=offset)
    got = single("Attention", [(2, 6, 3, 8), (2, 2, 5, 8), (2, 2, 5, 4)], (2, 6, 3, 4), attrs)
    assert got.attention == 2 * 6 * pairs * 2 * (8 + 4)
    assert got.attention_full == 2 * 6 * 15 * 2 * (8 + 4)
    assert got.softmax == 2 * 6 * pairs * 5
    assert got.compulsory_bytes == 4 * (288 + 160 + 80 + 144)


def test_attention_without_causality_counts_all():
    got = single(
        "Attention",
        [(1, 1, 3, 8), (1, 1, 5, 8), (1, 1, 5, 8)],
        (1, 1, 3, 8),
        c.AttentionAttrs(scale=1.0),
    )
    assert got.attention == got.attention_full == 2 * 15 * 16


@pytest.mark.parametrize(("kind", "rate"), [(c.NormKind.LAYER, 7), (c.NormKind.RMS, 4)])
def test_norm(kind, rate):
    got = single("Norm", [(2, 5), (5,)], (2, 5), c.NormAttrs(kind=kind, eps=1e-5))
    assert (got.norm, got.compulsory_bytes) == (rate * 10, 4 * 25)


def test_only_gathered_rows_count():
    ids = ((2, 3), DType.I32)
    got = single("Gather", [(1000, 8), ids], (2, 3, 8), dtype=DType.BF16)
    assert got == NodeFlops(compulsory_bytes=6 * 8 * 2 + 6 * 4 + 48 * 2)
    few = single("Gather", [(4, 8), ids], (2, 3, 8), dtype=DType.BF16)
    assert few.compulsory_bytes == 4 * 8 * 2 + 6 * 4 + 48 * 2


@pytest.mark.parametrize("op", ["View", "Permute", "Slice", "Expand"])
def test_views_cost_nothing(op):
    assert single(op, [(2, 3)], (2, 3)) == NodeFlops()


def test_a_cache_append_moves_what_is_appended():
    got = single("Concat", [(1, 2, 100, 8), (1, 2, 1, 8)], (1, 2, 101, 8), c.ConcatAttrs(axis=2))
    assert got.compulsory_bytes == 2 * 16 * 4


def test_the_rest():
    assert single("Softmax", [(2, 5)], (2, 5), c.SoftmaxAttrs()).softmax == 50
    assert single("Reduce", [(2, 5)], (2,), c.ReduceAttrs(kind=c.ReduceKind.SUM)).elementwise == 10
    rope = c.RopeAttrs(interleaved=False, rotary_dim=4)
    assert single("Rope", [(1, 2, 3, 8), (3, 4), (3, 4)], (1, 2, 3, 8), rope).elementwise == 3 * 24
    cast = c.ElementwiseAttrs(steps=(c.Step(fn=c.Fn.CAST, to=DType.I32), c.Step(fn=c.Fn.ABS)))
    assert single("Elementwise", [(2, 5)], (2, 5), cast).elementwise == 10


def test_a_value_read_twice_is_one_read_and_totals_add_up():
    edit = Graph().edit()
    for name in "xyz":
        edit.set_value(Value(name=name, dtype=DType.F32, shape=(10,)))
    attrs = c.ElementwiseAttrs(steps=(c.Step(fn=c.Fn.MUL, operand=1),))
    for index, (x, y) in enumerate(("xy", "yz")):
        made = Node(
            name=f"n{index}",
            op="Elementwise",
            inputs=(x, x),
            outputs=(y,),
            attrs=attrs,
            domain="chip",
        )
        edit.add_node(made)
    edit.set_interface(inputs=("x",), outputs=("z",))
    graph = edit.freeze()
    assert graph_flops(graph) == NodeFlops(elementwise=20, compulsory_bytes=2 * 80)
