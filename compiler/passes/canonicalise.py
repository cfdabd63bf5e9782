"""ONNX-level graph → chip-level graph: every ONNX node becomes chip nodes, or a Host node that
says why.

In:  a Graph whose shapes are known and whose constants are folded.   Out: a Graph of chip-level
nodes.
Raises: UnsupportedOpError for an integer constant beyond 32 bits that the chip would have to hold.

The chip's integers have 32 bits and its graphs one float type before the precision pass: 64-bit
integers become I32, floats F32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from athena.errors import UnsupportedOpError
from compiler.graph.chip_ops import ElementwiseAttrs, HostAttrs, Op, Step
from compiler.graph.graph import Graph, GraphEdit
from compiler.graph.types import CHIP_DOMAIN, Array, DType, Node, Value
from compiler.ops.attrs import OpaqueAttrs
from compiler.passes.build import Builder
from compiler.passes.canon import (
    attention,
    convolution,
    elementwise,
    linear,
    microsoft,
    movement,
    quantised,
)
from compiler.passes.canon.types import Canon

NO_ROW = "the chip has no unit for it"
EIGHT_BITS = "ONNX's arithmetic on 8-bit integers wraps, the chip's saturates"
NOTHING_TO_SUM = "the chip has no sum over no elements"
_WRAPPING = frozenset({"Add", "Sub", "Mul", "Neg", "Abs", "Sum"})
_SUMMING = frozenset({"MatMul", "Gemm", "Einsum", "MatMulInteger"})
_NARROW = {
    DType.F64: DType.F32,
    DType.F16: DType.F32,
    DType.BF16: DType.F32,
    DType.I64: DType.I32,
    DType.U64: DType.I32,
    DType.U32: DType.I32,
}
KEEP_16_BIT_ELEMS = 1 << 16
"""16-bit float constants above this size stay as they are until the precision pass, to save a
copy.
"""

TABLE: Mapping[tuple[str, str], Canon] = {
    **{("", op): canon for op, canon in movement.ROWS.items()},
    **{("", op): canon for op, canon in elementwise.ROWS.items()},
    **{("", op): canon for op, canon in linear.ROWS.items()},
    **{("", op): canon for op, canon in attention.ROWS.items()},
    **{("", op): canon for op, canon in convolution.ROWS.items()},
    **{("", op): canon for op, canon in quantised.ROWS.items()},
    **{("com.microsoft", op): canon for op, canon in microsoft.ROWS.items()},
    **{("com.microsoft", op): canon for op, canon in quantised.MICROSOFT_ROWS.items()},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonicalise:
    """The pass; `table` has one canonical form per (domain, op)."""

    name: str = "canonicalise"
    table: Mapping[tuple[str, str], Canon] = field(default_factory=lambda: TABLE)

    def __call__(self, graph: Graph) -> Graph:
        """The chip-level graph; the same object if it is one already."""
        foreign = [node for node in graph.nodes if node.domain != CHIP_DOMAIN]
        if not foreign and graph.nodes:
            return graph
        edit = graph.edit()
        for node in foreign:
            _canonicalise(edit, node, self.table)
        _narrow(edit)
        return edit.freeze()


def _canonicalise(edit: GraphEdit, node: Node, table: Mapping[tuple[str, str], Canon]) -> None:
    edit.at(node)
    edit.remove_node(node.name)
    reason = _emit(edit, node, table)
    if reason is None:
        return
    for name in node.outputs:
        begun = edit.producer(name) if name else None
        if begun is not None:
            edit.remove_node(begun.name)
    host = HostAttrs(
        onnx_op=node.op,
        onnx_domain=node.domain,
        opset=node.opset,
        onnx_attrs=node.attrs,
        node_proto=node.proto,
        reason=reason,
        input_dtypes=tuple(edit.value(name).dtype if name else None for name in node.inputs),
    )
    made = replace(node, op=Op.HOST, domain=CHIP_DOMAIN, attrs=host, opset=0, proto=b"")
    edit.add_node(replace(made, sources=node.sources or (node.name,)))


def _emit(edit: GraphEdit, node: Node, table: Mapping[tuple[str, str], Canon]) -> str | None:
    """Emit the node's canonical form; the reason where it has none."""
    if isinstance(node.attrs, OpaqueAttrs):
        return node.attrs.reason
    canon = table.get((node.domain, node.op))
    if canon is None:
        return NO_ROW
    return _differs(edit, node) or canon(Builder(edit, node))


def _differs(edit: GraphEdit, node: Node) -> str | None:
    """Why the chip's result would not be ONNX's, for forms that it has."""
    values = [edit.value(name) for name in node.inputs if name]
    dtypes = {value.dtype for value in values}
    if node.domain == "" and node.op in _WRAPPING and dtypes & {DType.I8, DType.U8}:
        return EIGHT_BITS
    summed = node.op in _SUMMING or node.op.startswith("Reduce")
    if summed and any(value.elems == 0 for value in values):
        return None if any(out.elems == 0 for out in edit.output_values(node)) else NOTHING_TO_SUM
    return None


def _narrow(edit: GraphEdit) -> None:
    for value in tuple(edit.values.values()):
        dtype = _NARROW.get(value.dtype)
        if dtype is None or (value.is_const and not _used(edit, value)):
            continue
        wide = value.is_const and value.elems > KEEP_16_BIT_ELEMS
        if wide and value.dtype in (DType.F16, DType.BF16):
            continue
        data = None if value.const is None else _narrowed(value, value.const, dtype)
        edit.set_value(replace(value, dtype=dtype, const=data))
    for node in edit.iter_nodes():
        _narrow_steps(edit, node)


def _used(edit: GraphEdit, value: Value) -> bool:
    return bool(edit.consumers(value.name)) or value.name in edit.outputs


def _narrowed(value: Value, data: Array, dtype: DType) -> Array:
    if dtype is DType.I32:
        limits = np.iinfo(np.int32)
        if data.size and (data.min() < limits.min or data.max() > limits.max):
            raise UnsupportedOpError(
                f"a constant spans {data.min()} to {data.max()}, beyond the chip's 32 bits",
                where=f"value '{value.name}'",
            )
    with np.errstate(over="ignore"):
        return data.astype(dtype.numpy)


def _narrow_steps(edit: GraphEdit, node: Node) -> None:
    attrs = node.attrs
    if not isinstance(attrs, ElementwiseAttrs):
        return
    steps = tuple(_narrow_step(step) for step in attrs.steps)
    if steps != attrs.steps:
        edit.replace_node(replace(node, attrs=replace(attrs, steps=steps)))


def _narrow_step(step: Step) -> Step:
    return step if step.to is None else replace(step, to=_NARROW.get(step.to, step.to))
