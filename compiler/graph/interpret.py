"""Execute a graph at any stage with the numpy reference semantics: the oracle of every pass.

In:  a Graph and its inputs by name.   Out: the outputs by name (every value where `keep`), in each
value's dtype.
Raises: InputError for a missing input or one of another shape, ModelError for a value whose
weights are not in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from athena.errors import InputError, ModelError
from compiler.graph.chip_ops import HostAttrs
from compiler.graph.chip_reference import run_chip_node
from compiler.graph.elementwise_reference import convert
from compiler.graph.graph import Graph
from compiler.graph.types import CHIP_DOMAIN, Array, DType, Node, Value
from compiler.ops.table import lookup

_NARROW = (DType.BF16.numpy, DType.F16.numpy)


def interpret(
    graph: Graph,
    inputs: Mapping[str, Array],
    *,
    keep: bool = False,
    observe: Callable[[str, Array], None] | None = None,
) -> dict[str, Array]:
    """Run all nodes in order. Without `keep` a value is dropped after its last use.

    `observe` is called with each input and each result as soon as it is known.
    """
    known: dict[str, Array] = {}
    for name in graph.inputs:
        known[name] = _checked_input(graph.value(name), inputs)
        if observe is not None:
            observe(name, known[name])
    last_use = {} if keep else _last_uses(graph)
    for index, node in enumerate(graph.nodes):
        arrays = [_read(graph, known, name) for name in node.inputs]
        outputs = tuple(graph.value(name) if name else None for name in node.outputs)
        results = run_node(node, arrays, outputs)
        pairs = zip(node.outputs, results, strict=False)
        made = {name: array for name, array in pairs if array is not None}
        known.update(made)
        if observe is not None:
            for name, array in made.items():
                observe(name, array)
        for name in last_use.get(index, ()):
            known.pop(name, None)
    wanted = tuple(known) if keep else graph.outputs
    return {name: _known(graph, known, name) for name in wanted}


def run_node(
    node: Node, arrays: Sequence[Array | None], outputs: Sequence[Value | None]
) -> list[Array | None]:
    """Execute one node of any level; each result has its value's dtype."""
    if node.domain == CHIP_DOMAIN and not isinstance(node.attrs, HostAttrs):
        value = outputs[0]
        return [] if value is None else [run_chip_node(node, arrays, value)]
    domain, op, opset, attrs = node.domain, node.op, node.opset, node.attrs
    if isinstance(attrs, HostAttrs):
        arrays = [
            array if array is None or dtype is None else convert(array, dtype.numpy)
            for array, dtype in zip(arrays, attrs.input_dtypes, strict=True)
        ]
        domain, op, opset, attrs = attrs.onnx_domain, attrs.onnx_op, attrs.opset, attrs.onnx_attrs
    row = lookup(domain, op, opset)
    if row is None or row.reference is None:
        raise ModelError(f"no reference semantics for '{op}'", where=f"node '{node.name}'")
    wide = [_widened(array) for array in arrays]
    results = row.reference(attrs, wide)
    return [
        None if value is None or array is None else convert(np.asarray(array), value.dtype.numpy)
        for value, array in zip(outputs, results, strict=False)
    ]


def _widened(array: Array | None) -> Array | None:
    return array.astype(np.float32) if array is not None and array.dtype in _NARROW else array


def _checked_input(value: Value, inputs: Mapping[str, Array]) -> Array:
    if value.name not in inputs:
        raise InputError(f"input '{value.name}' is missing", where=f"inputs: {sorted(inputs)}")
    array = np.asarray(inputs[value.name])
    if array.shape != value.shape:
        raise InputError(
            f"shape {array.shape} instead of {value.shape}", where=f"input '{value.name}'"
        )
    return convert(array, value.dtype.numpy)


def _read(graph: Graph, known: Mapping[str, Array], name: str) -> Array | None:
    return _known(graph, known, name) if name else None


def _known(graph: Graph, known: Mapping[str, Array], name: str) -> Array:
    if name in known:
        return known[name]
    value = graph.value(name)
    if value.const is None:
        raise ModelError(
            "the value has no data to compute with",
            where=f"value '{name}'",
            hint="a weightless model can be costed, not executed",
        )
    return value.const


def _last_uses(graph: Graph) -> dict[int, list[str]]:
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        for name in (*node.inputs, *node.outputs):
            last[name] = index
    uses: dict[int, list[str]] = {}
    for name, index in last.items():
        if name and name not in graph.outputs:
            uses.setdefault(index, []).append(name)
    return uses
