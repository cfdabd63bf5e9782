"""Graph and edits: order, uniqueness, sharing of untouched graphs, printing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.errors import InternalError
from compiler.graph.chip_ops import GemmAttrs, PermuteAttrs
from compiler.graph.graph import Graph
from compiler.graph.types import DType, Node, Value


def value(name: str, shape: tuple[int, ...] = (2, 3), const: np.ndarray | None = None) -> Value:
    return Value(name=name, dtype=DType.F32, shape=shape, const=const)


def node(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], op: str = "Add") -> Node:
    return Node(name=name, op=op, inputs=inputs, outputs=outputs)


def chain(length: int) -> Graph:
    edit = Graph("chain").edit()
    edit.set_value(value("x"))
    for index in range(length):
        edit.set_value(value(f"t{index}"))
        before = f"t{index - 1}" if index else "x"
        edit.add_node(node(f"n{index}", (before, "x"), (f"t{index}",)))
    edit.set_interface(inputs=("x",), outputs=(f"t{length - 1}",))
    return edit.freeze()


def test_producer_consumers_and_values():
    graph = chain(3)
    assert graph.producer("x") is None
    assert graph.producer("t1").name == "n1"
    assert [n.name for n in graph.consumers("x")] == ["n0", "n1", "n2"]
    assert [n.name for n in graph.consumers("t0")] == ["n1"]
    assert graph.value("t2").shape == (2, 3)
    assert [v.name for v in graph.input_values(graph.nodes[1])] == ["t0", "x"]
    with pytest.raises(KeyError):
        graph.value("nobody")


def test_an_untouched_edit_gives_the_same_graph():
    graph = chain(3)
    edit = graph.edit()
    assert not edit.changed
    assert edit.freeze() is graph


def test_an_edit_does_not_change_its_origin():
    graph = chain(3)
    before = str(graph)
    edit = graph.edit()
    edit.replace_value_uses("t0", "x")
    edit.remove_node("n0")
    after = edit.freeze()
    assert str(graph) == before
    assert [n.name for n in after.nodes] == ["n1", "n2"]
    assert not after.has_value("t0")


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.permutations(range(6)))
def test_nodes_come_in_an_order_that_respects_every_edge(order):
    """Nodes added in any order; each reads the one before it in the chain."""
    edit = Graph().edit()
    for name in ("x", *(f"t{i}" for i in range(6))):
        edit.set_value(value(name))
    for index in order:
        edit.add_node(node(f"n{index}", (f"t{index - 1}" if index else "x",), (f"t{index}",)))
    edit.set_interface(inputs=("x",), outputs=("t5",))
    assert [n.name for n in edit.freeze().nodes] == [f"n{i}" for i in range(6)]


def test_a_new_node_stands_where_the_replaced_one_stood():
    graph = chain(4)
    edit = graph.edit()
    edit.at(graph.nodes[1])
    edit.remove_node("n1")
    edit.set_value(value("side"))
    edit.add_node(node("first", ("x",), ("side",)))
    edit.add_node(node("second", ("t0", "side"), ("t1",)))
    assert [n.name for n in edit.freeze().nodes] == ["n0", "first", "second", "n2", "n3"]


def test_cycles_and_two_producers_are_refused():
    edit = Graph().edit()
    for name in "ab":
        edit.set_value(value(name))
    edit.add_node(node("one", ("a",), ("b",)))
    with pytest.raises(InternalError, match="made twice"):
        edit.add_node(node("two", (), ("b",)))
    edit = Graph().edit()
    for name in "ab":
        edit.set_value(value(name))
    edit.add_node(node("one", ("a",), ("b",)))
    edit.add_node(node("two", ("b",), ("a",)))
    with pytest.raises(InternalError, match="cycle"):
        edit.freeze()
    with pytest.raises(InternalError, match="unknown input"):
        Graph().edit().add_node(node("n", ("nobody",), ()))


def test_a_value_in_use_cannot_be_dropped():
    edit = chain(2).edit()
    with pytest.raises(InternalError, match="in use"):
        edit.drop_value("t0")


def test_merging_keeps_the_name_of_an_output():
    edit = Graph().edit()
    for name in ("x", "inner", "y"):
        edit.set_value(value(name))
    edit.add_node(node("make", ("x",), ("inner",)))
    edit.add_node(node("same", ("inner",), ("y",), "Identity"))
    edit.set_interface(inputs=("x",), outputs=("y",))
    assert edit.merge_value("y", "inner")
    graph = edit.freeze()
    assert [(n.name, n.outputs) for n in graph.nodes] == [("make", ("y",))]


def test_an_output_that_is_an_input_is_not_merged():
    edit = Graph().edit()
    for name in ("x", "y"):
        edit.set_value(value(name))
    edit.add_node(node("same", ("x",), ("y",), "Identity"))
    edit.set_interface(inputs=("x",), outputs=("y",))
    assert not edit.merge_value("y", "x")


def test_fresh_names_are_free_and_the_same_each_time():
    names = [chain(2).edit().fresh("t0") for _ in range(2)]
    assert names == ["t0.1", "t0.1"]


def test_text_is_stable_and_leaves_out_defaults():
    edit = Graph("small").edit()
    edit.set_value(value("x", (2, 3)))
    edit.set_value(value("w", (3, 2), np.ones((3, 2), np.float32)))
    edit.set_value(value("y", (2, 2)))
    edit.set_value(value("z", (2, 2)))
    attrs = GemmAttrs(alpha=0.5)
    edit.add_node(
        Node(name="g", op="Gemm", inputs=("x", "w", ""), outputs=("y",), attrs=attrs, domain="chip")
    )
    perm = PermuteAttrs(perm=(1, 0))
    edit.add_node(
        Node(name="p", op="Permute", inputs=("y",), outputs=("z",), attrs=perm, domain="chip")
    )
    edit.set_interface(inputs=("x",), outputs=("z",))
    assert str(edit.freeze()) == "\n".join(
        (
            "graph small",
            "  in    x: f32[2,3]",
            "  const w: f32[3,2] = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]",
            "  y: f32[2,2] = chip.Gemm(x, w, _) {alpha=0.5}",
            "  z: f32[2,2] = chip.Permute(y) {perm=(1, 0)}",
            "  out   z: f32[2,2]",
        )
    )


@pytest.mark.parametrize("dtype", list(DType))
def test_dtypes_round_trip(dtype):
    assert DType.from_numpy(dtype.numpy) is dtype
    assert dtype.nbytes == dtype.numpy.itemsize
    assert dtype.is_float + dtype.is_integer + (dtype is DType.BOOL) == 1
