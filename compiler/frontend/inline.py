"""Walk a model's nodes with functions and decided branches inlined.

In:  a checked model, the values known so far (conditions of If).   Out: calls of `take` with one
plain node after the other, its input and output names translated to graph-wide ones.
Raises: ModelError (a name that nothing defines), UnsupportedOpError (control flow that is not
static). The walk keeps its own stack; `structure` has bounded nesting and the number of inlined
nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from athena.errors import ModelError, UnsupportedOpError, printable
from compiler.frontend import structure
from compiler.frontend.store import ValueStore


@dataclass(slots=True)
class Frame:
    """One level of inlining: nodes still to read, and how their names translate.

    `results`: outputs (name inside, name outside) that the body only passes through; they are
    copied at the end. `outer`: the enclosing scope of a subgraph.
    """

    nodes: Iterator[Any]
    names: dict[str, str]
    opsets: Mapping[str, int]
    bindings: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    results: tuple[tuple[str, str], ...] = ()
    outer: Frame | None = None

    def find(self, name: str) -> str | None:
        """Graph-wide name of a value that this scope can see."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.names:
                return frame.names[name]
            frame = frame.outer
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainNode:
    """A node that is neither a call nor control flow. `proto` is None for a copy made here."""

    proto: Any
    frame: Frame
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    where: str


class Inliner:
    """Hands plain nodes to `take`, which must define their outputs before it returns."""

    def __init__(
        self,
        store: ValueStore,
        functions: Mapping[structure.FunctionKey, Any],
        take: Callable[[PlainNode], None],
    ) -> None:
        self._store = store
        self._functions = functions
        self._take = take

    def walk(self, first: Frame) -> None:
        """All nodes of a graph, in order."""
        stack = [first]
        while stack:
            frame = stack[-1]
            proto = next(frame.nodes, None)
            if proto is None:
                stack.pop()
                self._finish(frame)
                continue
            inner = self._step(frame, proto)
            if inner is not None:
                stack.append(inner)

    def _step(self, frame: Frame, proto: Any) -> Frame | None:
        """Hand over one node, or open the frame of what it stands for."""
        where = structure.node_place(self._store.file, proto)
        inputs = tuple(self._found(frame, name, where) for name in proto.input)
        key = structure.call_key(proto)
        if key in self._functions:
            return self._call(frame, proto, inputs, self._functions[key])
        if key[0] == "" and proto.op_type == "If":
            return self._branch(frame, proto, inputs, where)
        if structure.subgraphs(proto):
            raise UnsupportedOpError(
                f"control flow ({printable(proto.op_type)}) is not supported",
                where=where,
                hint="export the model with the loop unrolled",
            )
        outputs = self._outputs(frame, proto)
        self._take(PlainNode(proto=proto, frame=frame, inputs=inputs, outputs=outputs, where=where))
        return None

    def _found(self, frame: Frame, name: str, where: str) -> str:
        found = frame.find(name) if name else ""
        if found is None or (found and found not in self._store.values):
            raise ModelError(
                f"reads '{printable(name)}', which nothing defines before", where=where
            )
        return found

    def _outputs(self, frame: Frame, proto: Any) -> tuple[str, ...]:
        """Graph-wide names of a node's outputs; those of an inlined body get the call's prefix."""
        for name in proto.output:
            if name and name not in frame.names:
                frame.names[name] = self._store.fresh(f"{frame.prefix}{name}")
        return tuple(frame.names[name] if name else "" for name in proto.output)

    def _call(self, frame: Frame, proto: Any, inputs: tuple[str, ...], body: Any) -> Frame:
        """Open a model-local function: formal names stand for the call's."""
        where = structure.node_place(self._store.file, proto)
        if len(inputs) > len(body.input) or len(proto.output) > len(body.output):
            raise ModelError("the call gives more operands than the function has", where=where)
        names = dict.fromkeys(body.input, "") | dict(zip(body.input, inputs, strict=False))
        bindings = {default.name: default for default in body.attribute_proto}
        for attribute in proto.attribute:
            source = attribute
            if attribute.ref_attr_name:
                source = frame.bindings.get(attribute.ref_attr_name)
            if source is not None:
                bindings[attribute.name] = source
        outputs = self._outputs(frame, proto)
        pairs = tuple((a, b) for a, b in zip(body.output, outputs, strict=False) if b)
        nodes = structure.ordered(body.node, names, where)
        opsets = structure.opsets_of(body.opset_import, where)
        prefix = f"{frame.prefix}{proto.name or proto.op_type}/"
        return _connected(Frame(iter(nodes), names, opsets, bindings, prefix), nodes, pairs)

    def _branch(self, frame: Frame, proto: Any, inputs: tuple[str, ...], where: str) -> Frame:
        """Open the branch of an If whose condition is known."""
        condition = self._store.operand(inputs[0]) if inputs else None
        data = None if condition is None else condition.const
        if data is None or data.size != 1:
            raise UnsupportedOpError(
                f"the condition of an If, '{printable(proto.input[0] if proto.input else '')}', "
                "is not known at compile time",
                where=where,
                hint="fix the input that decides it (a merged decoder: use_cache_branch), "
                "or export the branches as two files",
            )
        wanted = "then_branch" if bool(data.reshape(-1)[0]) else "else_branch"
        graph = next((a.g for a in proto.attribute if a.name == wanted and a.HasField("g")), None)
        if graph is None or len(graph.output) < len(proto.output):
            raise ModelError(f"If has no {wanted} with {len(proto.output)} outputs", where=where)
        prefix = f"{frame.prefix}{proto.name or 'If'}/"
        outputs = self._outputs(frame, proto)
        inner = Frame(iter(()), {}, frame.opsets, frame.bindings, prefix, outer=frame)
        for tensor in graph.initializer:
            inner.names[tensor.name] = self._store.fresh(f"{prefix}{tensor.name}")
            self._store.add_initialiser(inner.names[tensor.name], tensor)
        results = [value.name for value in graph.output]
        pairs = tuple((a, b) for a, b in zip(results, outputs, strict=False) if b)
        nodes = structure.ordered(graph.node, _visible(inner), where)
        inner.nodes = iter(nodes)
        return _connected(inner, nodes, pairs)

    def _finish(self, frame: Frame) -> None:
        """Copy the outputs that a body only passes through."""
        for inside, outside in frame.results:
            where = f"{self._store.file}: '{printable(frame.prefix)}'"
            source = self._found(frame, inside, where)
            self._take(
                PlainNode(
                    proto=None, frame=frame, inputs=(source,), outputs=(outside,), where=where
                )
            )


def _visible(frame: Frame | None) -> set[str]:
    """All names that a scope can see."""
    names: set[str] = set()
    while frame is not None:
        names.update(frame.names)
        frame = frame.outer
    return names


def _connected(inner: Frame, nodes: list[Any], pairs: tuple[tuple[str, str], ...]) -> Frame:
    """Let the body write straight to the caller's names, but for what it only passes through."""
    made = {name for node in nodes for name in node.output if name}
    rest = []
    for inside, outside in pairs:
        if inside in made and inside not in inner.names:
            inner.names[inside] = outside
        else:
            rest.append((inside, outside))
    inner.results = tuple(rest)
    return inner
