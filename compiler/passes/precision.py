"""Precision assignment: the dtype in which each float value of a chip-level graph is stored.

In:  a fused chip-level Graph in F32.   Out: the Graph in F32 or BF16.   Raises: nothing.

BF16 keeps in F32: graph outputs that nothing else reads; values that only feed attention masks,
rotary tables and integers; gamma, beta, biases and constant rows of elementwise steps. A graph
output that is read inside too (a key or value cache) is BF16 and converted by whoever reads it
back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from compiler.graph.chip_ops import HostAttrs, Op
from compiler.graph.graph import Graph, GraphEdit
from compiler.graph.types import DType, Node, Value


class Precision(Enum):
    """In what numbers a model is computed."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"  # matrix products with constant weights; the rest as BF16


_MOVERS = frozenset(
    {
        Op.VIEW,
        Op.PERMUTE,
        Op.SLICE,
        Op.EXPAND,
        Op.CONCAT,
        Op.PAD,
        Op.ELEMENTWISE,
        Op.GATHER,
        Op.REDUCE,
        Op.SOFTMAX,
    }
)
_TABLE_INPUTS = {Op.ATTENTION: (3,), Op.ROPE: (1, 2)}
_ROW_INPUTS = {Op.NORM: (1, 2), Op.GEMM: (2,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFloats:
    """`dtype`: F32 or BF16."""

    dtype: DType
    name: str = "store-floats"

    def __call__(self, graph: Graph) -> Graph:
        """Change values' dtypes and constants' data; no node changes."""
        edit = graph.edit()
        exact = frozenset(graph.values) if self.dtype is DType.F32 else f32_values(graph)
        for value in graph.values.values():
            wanted = DType.F32 if value.name in exact else self.dtype
            if value.dtype.is_float and value.dtype is not wanted:
                _store(edit, graph, value, wanted)
        return edit.freeze()


def _store(edit: GraphEdit, graph: Graph, value: Value, dtype: DType) -> None:
    if value.is_const and not graph.consumers(value.name) and value.name not in graph.outputs:
        return
    data = None if value.const is None else value.const.astype(dtype.numpy)
    edit.set_value(replace(value, dtype=dtype, const=data))


def f32_values(graph: Graph) -> frozenset[str]:
    """Names of the values that a BF16 graph keeps in F32, found from the outputs backwards."""
    exact: set[str] = set()
    for value in graph.values.values():
        uses = graph.consumers(value.name)
        if value.dtype.is_float and not uses and value.name in graph.outputs:
            exact.add(value.name)
    for node in reversed(graph.nodes):
        for name in node.outputs:
            if name and name not in exact and _is_exact(graph, name, exact):
                exact.add(name)
    for value in graph.values.values():
        if graph.producer(value.name) is None and _is_exact(graph, value.name, exact):
            exact.add(value.name)
    return frozenset(exact)


def _is_exact(graph: Graph, name: str, exact: set[str]) -> bool:
    value = graph.value(name)
    uses = graph.consumers(name)
    if not uses or not value.dtype.is_float or name in graph.outputs:
        return name in exact
    return all(_reads_exactly(graph, node, value, exact) for node in uses)


def _reads_exactly(graph: Graph, node: Node, value: Value, exact: set[str]) -> bool:
    slots = {slot for slot, name in enumerate(node.inputs) if name == value.name}
    if slots <= set(_TABLE_INPUTS.get(node.op, ())) or isinstance(node.attrs, HostAttrs):
        return True
    if value.is_const and slots <= set(_ROW_INPUTS.get(node.op, ())):
        return True
    output = graph.value(node.outputs[0])
    if value.is_const and _is_row_of(value, output, node, slots):
        return True
    if node.op not in _MOVERS:
        return False
    is_output = output.name in graph.outputs
    return not output.dtype.is_float or (output.name in exact and not is_output)


def _is_row_of(value: Value, output: Value, node: Node, slots: set[int]) -> bool:
    """A constant operand of an elementwise step that is no larger than a row of the result."""
    first = {Op.ELEMENTWISE: 0, Op.GEMM: 3}.get(node.op)
    size = output.shape[-1] if output.shape else 1
    return first is not None and min(slots) >= first and value.elems <= size
