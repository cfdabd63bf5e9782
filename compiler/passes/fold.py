"""Constant folding: nodes whose inputs are all known are computed at compile time.

In:  a Graph of any level.   Out: the Graph with results as constants; the same object if nothing
folds.
Raises: nothing: a node that cannot be computed stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compiler.graph.chip_ops import HostAttrs, Op
from compiler.graph.graph import Graph, GraphEdit
from compiler.graph.interpret import run_node
from compiler.graph.types import CHIP_DOMAIN, Array, Node, Value
from compiler.ops.table import lookup

DEFAULT_LIMIT_BYTES = 64 << 20
SMALL_BYTES = 64 << 10
_MOVES = frozenset({"Transpose", "Cast", "DequantizeLinear"})
_CHIP_MOVES = frozenset({Op.PERMUTE, Op.DEQUANTIZE, Op.EXPAND, Op.VIEW})


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldConstants:
    """`limit_bytes`: no result above it is made, unless the inputs were as large. `weights`:
    whether large constants that are only turned round or converted are folded too; before fusion
    they are not, since a Gemm may read them as they are.
    """

    name: str = "fold-constants"
    limit_bytes: int = DEFAULT_LIMIT_BYTES
    weights: bool = False

    def __call__(self, graph: Graph) -> Graph:
        """Fold in topological order, so that chains fold in one go."""
        edit = graph.edit()
        for node in graph.nodes:
            if _foldable(edit, node, self):
                _fold(edit, node)
            elif node.domain == "" and node.op in ("Shape", "Size"):
                _fold_from_types(edit, node)
        return edit.freeze()


def _foldable(edit: GraphEdit, node: Node, options: FoldConstants) -> bool:
    inputs = [edit.value(name) for name in node.inputs if name]
    if not all(value.is_const for value in inputs) or any(n in edit.outputs for n in node.outputs):
        return False
    outputs = edit.output_values(node)
    size = sum(value.nbytes for value in outputs)
    given = sum(value.nbytes for value in inputs)
    decodes = node.op in ("DequantizeLinear", Op.DEQUANTIZE)
    moves = node.op in (_CHIP_MOVES if node.domain == CHIP_DOMAIN else _MOVES)
    if moves and not options.weights and (size > SMALL_BYTES or decodes):
        return False
    return size <= max(options.limit_bytes, given)


def _fold(edit: GraphEdit, node: Node) -> None:
    outputs = tuple(edit.value(name) if name else None for name in node.outputs)
    inputs = [edit.value(name) if name else None for name in node.inputs]
    arrays = [None if value is None else value.const for value in inputs]
    if any(value is not None and value.weightless for value in inputs):
        _replace(edit, node, [None] * len(outputs), weightless=True)
        return
    results = _compute(node, arrays, outputs)
    if results is not None:
        _replace(edit, node, results, weightless=False)


def _compute(
    node: Node, arrays: list[Array | None], outputs: tuple[Value | None, ...]
) -> list[Array | None] | None:
    """The results; None if the node has no reference or its results are not what shape inference
    said.
    """
    if not isinstance(node.attrs, HostAttrs) and node.domain != CHIP_DOMAIN:
        row = lookup(node.domain, node.op, node.opset)
        if row is None or row.reference is None:
            return None
    results = run_node(node, arrays, outputs)
    for array, value in zip(results, outputs, strict=False):
        if value is not None and (array is None or array.shape != value.shape):
            return None
    return results


def _replace(edit: GraphEdit, node: Node, arrays: list[Array | None], *, weightless: bool) -> None:
    edit.remove_node(node.name)
    for name, array in zip(node.outputs, arrays, strict=False):
        if name:
            old = edit.value(name)
            data = None if array is None else np.asarray(array)
            edit.set_value(
                Value(
                    name=name, dtype=old.dtype, shape=old.shape, const=data, weightless=weightless
                )
            )


def _fold_from_types(edit: GraphEdit, node: Node) -> None:
    """Shape and Size are known from the type of their operand alone."""
    row = lookup(node.domain, node.op, node.opset)
    rule: Callable[..., tuple[Array, ...]] | None = None if row is None else row.from_types
    if rule is None or any(name in edit.outputs for name in node.outputs):
        return
    operands = [edit.value(name) if name else None for name in node.inputs]
    _replace(edit, node, list(rule(node.attrs, operands)), weightless=False)
