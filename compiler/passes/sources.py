"""Which ONNX nodes each chip-level node stands for, also those that fusion absorbed.

In:  the graph before the passes and the graph after them.   Out: the latter with complete
`sources`.
Raises: nothing. An absorbed node belongs to the node that stands for the first of its consumers;
where several stand for one ONNX node, to the last.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.graph.graph import Graph
from compiler.graph.types import CHIP_DOMAIN, Node


def complete_sources(before: Graph, after: Graph) -> Graph:
    """`after` itself if nothing is missing, or if `before` is at chip level already."""
    owners: dict[str, str] = {}
    for node in after.nodes:
        owners.update(dict.fromkeys(node.sources, node.name))
    missing: dict[str, list[str]] = {}
    for node in reversed(before.nodes):
        lost = [s for s in _names(node) if s not in owners and node.domain != CHIP_DOMAIN]
        owner = _owner_of_consumers(before, node, owners) if lost else None
        if owner is not None:
            owners.update(dict.fromkeys(lost, owner))
            missing.setdefault(owner, []).extend(reversed(lost))
    edit = after.edit()
    for name, sources in missing.items():
        node = edit.node(name)
        edit.replace_node(replace(node, sources=(*reversed(sources), *node.sources)))
    return edit.freeze()


def _names(node: Node) -> tuple[str, ...]:
    return node.sources or (node.name,)


def _owner_of_consumers(graph: Graph, node: Node, owners: dict[str, str]) -> str | None:
    for output in node.outputs:
        for user in graph.consumers(output) if output else ():
            for source in _names(user):
                if source in owners:
                    return owners[source]
    return None
