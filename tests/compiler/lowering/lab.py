"""Chip-level graphs written by hand, lowered, run on the functional machine and compared with the
reference semantics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from athena.isa.check import check_program
from compiler.graph.graph import Graph
from compiler.graph.interpret import interpret
from compiler.graph.types import NO_ATTRS, Attrs, DType, Node, Value
from compiler.passes import Precision
from tests.end_to_end.lab import Built, chip_named, lowered


class Sketch:
    """Collects values and nodes; names are given by the caller."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.nodes: list[Node] = []
        self.inputs: dict[str, np.ndarray] = {}

    def input(self, name: str, array: np.ndarray) -> str:
        self.values.append(Value(name=name, dtype=DType.from_numpy(array.dtype), shape=array.shape))
        self.inputs[name] = array
        return name

    def const(self, name: str, array: np.ndarray) -> str:
        dtype = DType.from_numpy(array.dtype)
        self.values.append(Value(name=name, dtype=dtype, shape=array.shape, const=array))
        return name

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        out: str,
        shape: Sequence[int],
        attrs: Attrs = NO_ATTRS,
        dtype: DType = DType.F32,
    ) -> str:
        self.values.append(Value(name=out, dtype=dtype, shape=tuple(shape)))
        self.nodes.append(
            Node(
                name=f"{op}:{out}",
                op=op,
                inputs=tuple(inputs),
                outputs=(out,),
                attrs=attrs,
                domain="chip",
            )
        )
        return out

    def graph(self, *outputs: str) -> Graph:
        edit = Graph("hand").edit()
        for value in self.values:
            edit.set_value(value)
        for node in self.nodes:
            edit.add_node(node)
        edit.set_interface(inputs=tuple(self.inputs), outputs=outputs)
        return edit.freeze()


def weightless(graph: Graph) -> Graph:
    """The same graph without the data of its constants."""
    edit = graph.edit()
    for value in graph.constants:
        edit.set_value(replace(value, const=None, weightless=True))
    return edit.freeze()


def check(
    sketch: Sketch,
    *outputs: str,
    chip: str = "athena-edge-ci",
    share: float = 1e-4,
    precision: Precision = Precision.FP32,
) -> Built:
    """Lower, check, run, compare: floats within `share` of the range, others exactly."""
    graph = sketch.graph(*outputs)
    built = lowered(graph, chip_named(chip), precision)
    check_program(built.program, built.chip, races=True)
    got = built.run(sketch.inputs)
    compare(got, interpret(graph, sketch.inputs), share)
    return built


def compare(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], share: float) -> None:
    """Every wanted array, NaN where NaN."""
    for name, array in wanted.items():
        assert got[name].shape == array.shape
        if array.dtype.kind in "iub":
            np.testing.assert_array_equal(got[name], array, err_msg=name)
            continue
        one, other = got[name].astype(np.float64), array.astype(np.float64)
        finite = other[np.isfinite(other)]
        scale = max(float(np.abs(finite).max(initial=0.0)), 1e-3)
        np.testing.assert_allclose(one, other, rtol=0, atol=share * scale, err_msg=name)
