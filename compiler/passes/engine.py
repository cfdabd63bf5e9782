"""The rewrite engine: (pattern, function) pairs applied by one work-list until nothing changes.

In:  a Graph and rewrites.   Out: the rewritten Graph, or the same object where no rewrite applied.
Raises: InternalError if the rewrites do not come to an end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from athena.errors import InternalError
from compiler.graph.graph import Graph, GraphEdit
from compiler.graph.types import CHIP_DOMAIN, Node
from compiler.passes.clean import drop_dead

Apply = Callable[[GraphEdit, Node], bool]
MAX_APPLICATIONS_PER_NODE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """`pattern`: chip-level ops of the root node; `apply(edit, root)` changes the graph and says
    so, or leaves it alone.

    A rewrite must bring the graph closer to its final form: the engine repeats it as long as it
    applies.
    """

    name: str
    pattern: tuple[str, ...]
    apply: Apply


@dataclass(frozen=True, slots=True, kw_only=True)
class RewritePass:
    """A pass made of rewrites."""

    name: str
    rewrites: tuple[Rewrite, ...]

    def __call__(self, graph: Graph) -> Graph:
        """The graph after all rewrites have been tried at every node, to a fixed point, without
        dead nodes.
        """
        edit = graph.edit()
        table: dict[str, list[Rewrite]] = {}
        for rewrite in self.rewrites:
            for op in rewrite.pattern:
                table.setdefault(op, []).append(rewrite)
        budget = MAX_APPLICATIONS_PER_NODE * (len(graph.nodes) + 1)
        while _sweep(edit, table, budget):
            drop_dead(edit)
        return edit.freeze()


def _sweep(edit: GraphEdit, table: dict[str, list[Rewrite]], budget: int) -> bool:
    """Try every node once, and again every node near a change; whether anything changed."""
    queue = deque(node.name for node in edit.iter_nodes())
    waiting = set(queue)
    applied = 0
    while queue:
        name = queue.popleft()
        waiting.discard(name)
        if not edit.has_node(name) or not _try_node(edit, edit.node(name), table):
            continue
        applied += 1
        if applied > budget:
            raise InternalError("rewrites do not come to an end", where=f"node '{name}'")
        for near in _near(edit, edit.take_touched()):
            if near not in waiting:
                waiting.add(near)
                queue.append(near)
    return applied > 0


def _try_node(edit: GraphEdit, node: Node, table: dict[str, list[Rewrite]]) -> bool:
    if node.domain != CHIP_DOMAIN:
        return False
    for rewrite in table.get(node.op, ()):
        edit.at(node)
        if rewrite.apply(edit, node):
            return True
    return False


def _near(edit: GraphEdit, touched: Sequence[str]) -> list[str]:
    names: dict[str, None] = {}
    for name in touched:
        if not edit.has_node(name):
            continue
        node = edit.node(name)
        names[name] = None
        for value in node.inputs:
            maker = edit.producer(value) if value else None
            if maker is not None:
                names[maker.name] = None
        for value in node.outputs:
            names.update((user.name, None) for user in (edit.consumers(value) if value else ()))
    return list(names)
