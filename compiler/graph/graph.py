"""The graph: typed API around one networkx MultiDiGraph; immutable, changed through `edit()`.

In:  Values and Nodes (through a GraphEdit).   Out: Graph, whose nodes are in a stable topological
order.
Raises: InternalError where an edit breaks the graph's own rules (two producers, unknown value,
cycle).

Vertices are value names and, for nodes, the 1-tuple (name,), so the two name spaces cannot
collide. An edge value → node has the input's position as key, an edge node → value the output's.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

import networkx as nx
import numpy as np

from athena.errors import InternalError
from compiler.graph.types import Attrs, Node, Value

_Vertex = str | tuple[str]
LISTED = 8
"""How many entries of a list are printed."""


class _View:
    """What a Graph and a GraphEdit can both be asked."""

    _topology: Any
    _values: dict[str, Value]
    _nodes: dict[str, Node]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def values(self) -> Mapping[str, Value]:
        """Every value by name."""
        return MappingProxyType(self._values)

    def value(self, name: str) -> Value:
        """The value called `name`; KeyError if there is none."""
        return self._values[name]

    def has_value(self, name: str) -> bool:
        """Whether a value of this name exists."""
        return name in self._values

    def node(self, name: str) -> Node:
        """The node called `name`; KeyError if there is none."""
        return self._nodes[name]

    def has_node(self, name: str) -> bool:
        """Whether a node of this name exists."""
        return name in self._nodes

    def producer(self, name: str) -> Node | None:
        """The node that computes the value; None for graph inputs and constants."""
        for vertex in self._topology._pred[name]:
            return self._nodes[vertex[0]]
        return None

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read the value, each once, in the order they were added."""
        return tuple(self._nodes[vertex[0]] for vertex in self._topology._succ[name])

    def is_read(self, name: str) -> bool:
        """Whether any node reads the value."""
        return bool(self._topology._succ[name])

    def input_values(self, node: Node) -> tuple[Value | None, ...]:
        """The node's input values; None where an optional one is absent."""
        return tuple(self._values[name] if name else None for name in node.inputs)

    def output_values(self, node: Node) -> tuple[Value, ...]:
        """The node's output values, absent ones left out."""
        return tuple(self._values[name] for name in node.outputs if name)


class Graph(_View):
    """An immutable dataflow graph. `nodes` is topological; constants are values without
    producer.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs = ()
        self.outputs = ()
        self._topology = nx.MultiDiGraph()
        self._values = {}
        self._nodes = {}
        self._order: tuple[Node, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, producers before consumers, in a stable order."""
        return self._order

    def edit(self) -> GraphEdit:
        """A changeable copy; nothing is copied before the first change."""
        return GraphEdit(self)

    @property
    def constants(self) -> tuple[Value, ...]:
        """Values fixed at compile time."""
        return tuple(value for value in self._values.values() if value.is_const)

    def __str__(self) -> str:
        lines = [f"graph {self.name}"]
        lines += [f"  in    {self._values[name]}" for name in self.inputs]
        lines += [f"  const {value}{_small(value)}" for value in self.constants]
        lines += [f"  {self._node_text(node)}" for node in self._order]
        lines += [f"  out   {self._values[name]}" for name in self.outputs]
        return "\n".join(lines)

    def _node_text(self, node: Node) -> str:
        outputs = ", ".join(str(self._values[name]) if name else "_" for name in node.outputs)
        inputs = ", ".join(name or "_" for name in node.inputs)
        return f"{outputs} = {node.kind}({inputs}){_attrs_text(node.attrs)}"


def _attrs_text(attrs: Attrs) -> str:
    """Attributes that differ from their defaults; bytes and nested attributes are left out."""
    parts = []
    for field in fields(attrs):
        value = getattr(attrs, field.name)
        if value != field.default and not isinstance(value, bytes | Attrs | np.ndarray):
            parts.append(f"{field.name}={_attr_text(value)}")
    return f" {{{', '.join(parts)}}}" if parts else ""


def _attr_text(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        shown = [_attr_text(part) for part in value[:LISTED]]
        return f"({', '.join(shown)}{', …' if len(value) > LISTED else ''})"
    return str(value)


def _small(value: Value) -> str:
    if value.const is None:
        return " weightless"
    return f" = {value.const.ravel().tolist()}" if value.const.size <= 8 else ""


class GraphEdit(_View):
    """A graph under change. `freeze()` gives the new Graph, or the very same object if nothing was
    changed.

    `position` (any number) orders new nodes among the old ones, whose positions are 0, 1, 2 …; a
    node still comes after its producers. By default a new node stands where the node last given to
    `at()` stood, or last.
    """

    def __init__(self, graph: Graph) -> None:
        self._origin = graph
        self._copied = False
        self._topology = graph._topology
        self._values = graph._values
        self._nodes = graph._nodes
        self.name = graph.name
        self.inputs = graph.inputs
        self.outputs = graph.outputs
        self._position: dict[str, float] = {}
        self._here = float(len(graph.nodes))
        self._counters: dict[str, int] = {}
        self.touched: list[str] = []

    @property
    def changed(self) -> bool:
        """Whether anything was changed so far."""
        return self._copied

    def iter_nodes(self) -> Iterator[Node]:
        """All nodes: the original's in its order, then the added ones as added."""
        return iter(tuple(self._nodes.values()))

    def take_touched(self) -> list[str]:
        """Names of the nodes added or changed since the last call."""
        names, self.touched = self.touched, []
        return names

    def at(self, node: Node) -> None:
        """New nodes take the place of `node` in the order from now on."""
        self._here = self._position_of(node.name)

    def fresh(self, prefix: str) -> str:
        """A name that no value or node has: `prefix`, or `prefix.1`, `prefix.2` …"""
        name, count = prefix, self._counters.get(prefix, 0)
        while name in self._values or name in self._nodes:
            count += 1
            name = f"{prefix}.{count}"
        self._counters[prefix] = count
        return name

    def set_interface(self, *, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        """Name the graph's inputs and outputs, in their public order."""
        self._own()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)

    def set_value(self, value: Value) -> None:
        """Add the value, or change dtype, shape or data of the one with its name."""
        self._own()
        self._values[value.name] = value
        self._topology.add_node(value.name)

    def drop_value(self, name: str) -> None:
        """Remove a value that nothing produces or reads."""
        if self._topology.degree(name):
            raise InternalError("a value in use cannot be dropped", where=name)
        self._own()
        del self._values[name]
        self._topology.remove_node(name)

    def add_node(self, node: Node, *, position: float | None = None) -> Node:
        """Add a node whose input and output values exist already."""
        self._own()
        if node.name in self._nodes or not node.name:
            raise InternalError("two nodes of one name, or none", where=node.name)
        self._nodes[node.name] = node
        self._position[node.name] = self._here if position is None else position
        self._connect(node)
        self.touched.append(node.name)
        return node

    def remove_node(self, name: str) -> None:
        """Remove a node; its values stay."""
        self._own()
        del self._nodes[name]
        self._position.pop(name, None)
        self._topology.remove_node((name,))

    def replace_node(self, node: Node) -> Node:
        """Exchange the node of the same name: other op, attributes, inputs or outputs, same place
        in the order.
        """
        position = self._position_of(node.name)
        self.remove_node(node.name)
        return self.add_node(node, position=position)

    def replace_value_uses(self, old: str, new: str) -> None:
        """Let every node that reads `old` read `new`; graph outputs are not renamed (see
        `merge_value`).
        """
        for node in self.consumers(old):
            inputs = tuple(new if name == old else name for name in node.inputs)
            self._reconnect(replace(node, inputs=inputs))

    def merge_value(self, old: str, new: str) -> bool:
        """Make `old` and `new` one value, as after removing the identity between them.

        Uses of `old` read `new`. If `old` is a graph output its name must survive, so `new`'s
        producer gets it instead; False (nothing changed) where that cannot be: `new` is an input,
        a constant or an output itself.
        """
        if old not in self.outputs:
            self.replace_value_uses(old, new)
            return True
        maker = self.producer(new)
        if maker is None or new in self.outputs:
            return False
        stale = self.producer(old)
        if stale is not None:
            self.remove_node(stale.name)
        self._values[old] = replace(self._values[new], name=old)
        self.replace_value_uses(new, old)
        self._reconnect(
            replace(maker, outputs=tuple(old if name == new else name for name in maker.outputs))
        )
        return True

    def freeze(self) -> Graph:
        """The changed graph with unused values removed; the original object if untouched."""
        if not self._copied:
            return self._origin
        graph = Graph(self.name)
        graph.inputs, graph.outputs = self.inputs, self.outputs
        graph._order = self._sorted()
        graph._nodes = {node.name: node for node in graph._order}
        keep = {*self.inputs, *self.outputs}
        for name in [n for n in self._values if n not in keep and not self._topology.degree(n)]:
            del self._values[name]
            self._topology.remove_node(name)
        graph._values, graph._topology = self._values, self._topology
        self._origin, self._copied = graph, False
        return graph

    def _position_of(self, name: str) -> float:
        if not self._position:
            self._position = {n.name: float(i) for i, n in enumerate(self._origin.nodes)}
        return self._position[name]

    def _own(self) -> None:
        if self._copied:
            return
        self._copied = True
        if not self._position:
            self._position = {n.name: float(i) for i, n in enumerate(self._origin.nodes)}
        self._values, self._nodes = dict(self._values), dict(self._nodes)
        self._topology = self._topology.copy()

    def _connect(self, node: Node) -> None:
        vertex: _Vertex = (node.name,)
        topology, values = self._topology, self._values
        topology.add_node(vertex)
        for slot, name in enumerate(node.inputs):
            if name:
                if name not in values:
                    raise InternalError(f"unknown input value '{name}'", where=node.name)
                topology.add_edge(name, vertex, key=slot)
        for slot, name in enumerate(node.outputs):
            if name:
                if name not in values or topology._pred[name]:
                    raise InternalError(
                        f"output value '{name}' unknown or made twice", where=node.name
                    )
                topology.add_edge(vertex, name, key=slot)

    def _reconnect(self, node: Node) -> None:
        """Exchange a node in place, without moving it among its neighbours' consumers more than
        needed.
        """
        self._own()
        self._topology.remove_node((node.name,))
        self._nodes[node.name] = node
        self._connect(node)
        self.touched.append(node.name)

    def _sorted(self) -> tuple[Node, ...]:
        """Kahn's algorithm; among ready nodes the lowest position, then the oldest, comes first."""
        serial = {name: index for index, name in enumerate(self._nodes)}
        missing: dict[str, int] = {}
        heap: list[tuple[float, int, str]] = []
        for name, node in self._nodes.items():
            waits = {value for value in node.inputs if value and self._topology._pred[value]}
            missing[name] = len(waits)
            if not waits:
                heap.append((self._position[name], serial[name], name))
        heapq.heapify(heap)
        order: list[Node] = []
        while heap:
            node = self._nodes[heapq.heappop(heap)[2]]
            order.append(node)
            for value in dict.fromkeys(node.outputs):
                for vertex in self._topology._succ[value] if value else ():
                    follower = vertex[0]
                    missing[follower] -= 1
                    if not missing[follower]:
                        heapq.heappush(heap, (self._position[follower], serial[follower], follower))
        if len(order) != len(self._nodes):
            stuck = sorted(name for name, count in missing.items() if count)[:3]
            raise InternalError(f"the graph has a cycle through {stuck}", where=self.name)
        return tuple(order)
