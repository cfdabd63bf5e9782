"""Dead code elimination and common subexpression elimination.

In:  a Graph.   Out: the Graph without nodes that no output needs, or that repeat another; the same
object if none does.
Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from compiler.graph.chip_ops import HostAttrs
from compiler.graph.graph import Graph, GraphEdit
from compiler.graph.types import CHIP_DOMAIN, Node, Value

SMALL_ELEMS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDead:
    """Remove nodes whose outputs nobody reads."""

    name: str = "remove-dead"

    def __call__(self, graph: Graph) -> Graph:
        """From the nodes that nobody reads backwards."""
        edit = graph.edit()
        drop_dead(edit)
        return edit.freeze()


def drop_dead(edit: GraphEdit) -> None:
    """Remove every node whose outputs nobody reads, and what only such nodes need."""
    waiting = [node.name for node in edit.iter_nodes()]
    while waiting:
        name = waiting.pop()
        if not edit.has_node(name):
            continue
        node = edit.node(name)
        if any(out and (out in edit.outputs or edit.is_read(out)) for out in node.outputs):
            continue
        makers = [edit.producer(value) for value in node.inputs if value]
        edit.remove_node(name)
        waiting += [maker.name for maker in makers if maker is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareCommon:
    """Of chip-level nodes with equal op, attributes, inputs and output types, keep the first; the
    same for equal constants.
    """

    name: str = "share-common"

    def __call__(self, graph: Graph) -> Graph:
        """One forward walk."""
        edit = graph.edit()
        _share_constants(edit, graph)
        seen: dict[Hashable, Node] = {}
        for node in graph.nodes:
            current = edit.node(node.name)
            if current.domain != CHIP_DOMAIN or isinstance(current.attrs, HostAttrs):
                continue
            types = tuple((value.dtype, value.shape) for value in edit.output_values(current))
            first = seen.setdefault((current.op, current.attrs, current.inputs, types), current)
            if first is not current:
                _merge(edit, current, first)
        return edit.freeze()


def _merge(edit: GraphEdit, node: Node, first: Node) -> None:
    if any(name in edit.outputs for name in node.outputs):
        return
    for name, same in zip(node.outputs, first.outputs, strict=True):
        edit.replace_value_uses(name, same)
    edit.remove_node(node.name)


def _share_constants(edit: GraphEdit, graph: Graph) -> None:
    seen: dict[Hashable, Value] = {}
    for value in graph.constants:
        key = _content(value)
        if key is None or value.name in graph.outputs or not graph.consumers(value.name):
            continue
        first = seen.setdefault(key, value)
        if first is not value:
            edit.replace_value_uses(value.name, first.name)


def _content(value: Value) -> Hashable | None:
    """Equal keys mean equal data: small constants by content, large ones by the memory they lie
    in.
    """
    data = value.const
    if data is None:
        return None
    if data.size <= SMALL_ELEMS:
        return (value.dtype, value.shape, data.tobytes())
    address = int(data.__array_interface__["data"][0])
    return (value.dtype, value.shape, address, data.strides)
