"""Our own check of a parsed model, before anything else looks at it: names, order, nesting,
functions, sizes.

In:  a ModelProto (untrusted).   Out: nothing, or the order in which the nodes of a graph can be
read.
Raises: ModelError (names, cycles, versions, functions that call themselves), UnsupportedOpError
(sparse tensors). Every walk is iterative or capped; counts are Python integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from athena.errors import ModelError, UnsupportedOpError, printable
from compiler.ops.types import MAX_OPSET, OLDEST_OPSET

MAX_NODES = 1_000_000
MAX_NESTING = 32
MAX_IR_VERSION = 14
"""What onnxruntime 1.32, the reference, reads."""
_DEFAULT_DOMAINS = ("", "ai.onnx")

FunctionKey = tuple[str, str, str]


def domain_of(name: str) -> str:
    """The default domain has two spellings."""
    return "" if name in _DEFAULT_DOMAINS else name


def opsets_of(imports: Iterable[Any], where: str) -> dict[str, int]:
    """Version of every imported domain; the default domain's must be one that the project knows."""
    versions: dict[str, int] = {}
    for entry in imports:
        domain = domain_of(entry.domain)
        if versions.get(domain, entry.version) != entry.version:
            raise ModelError(f"domain '{printable(domain)}' is imported twice", where=where)
        versions[domain] = entry.version
    default = versions.get("")
    if default is not None and not 1 <= default <= MAX_OPSET:
        raise ModelError(
            f"opset {default} of the default domain; supported are {OLDEST_OPSET} to {MAX_OPSET}",
            where=where,
        )
    return versions


def function_key(proto: Any) -> FunctionKey:
    """Domain, name and overload of a FunctionProto."""
    return domain_of(proto.domain), proto.name, getattr(proto, "overload", "")


def call_key(node: Any) -> FunctionKey:
    """Domain, name and overload that a NodeProto asks for."""
    return domain_of(node.domain), node.op_type, getattr(node, "overload", "")


def node_place(file: str, node: Any) -> str:
    """`file: node 'name' (Op)` for messages."""
    return f"{file}: node '{printable(node.name)}' ({printable(node.op_type)})"


def subgraphs(node: Any) -> list[Any]:
    """The graphs in a node's attributes."""
    found: list[Any] = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found.append(attribute.g)
        found.extend(attribute.graphs)
    return found


def _require_text(values: Iterable[Any], where: str) -> None:
    """Protobuf hands out bytes where a string of the file is not UTF-8."""
    for value in values:
        if not isinstance(value, str):
            raise ModelError(f"a name is not UTF-8 text: {printable(value)}", where=where)


def _check_texts(model: Any, file: str) -> None:
    texts = [model.producer_name, model.producer_version, model.graph.name]
    texts += [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    texts += [entry.domain for entry in model.opset_import]
    for proto in model.functions:
        texts += [proto.name, proto.domain, getattr(proto, "overload", ""), *proto.input]
        texts += [*proto.output, *(entry.domain for entry in proto.opset_import)]
        texts += [default.name for default in proto.attribute_proto]
    _require_text(texts, file)


def _node_texts(node: Any) -> list[Any]:
    texts = [node.name, node.op_type, node.domain, getattr(node, "overload", "")]
    texts += [*node.input, *node.output]
    for attribute in node.attribute:
        texts += [attribute.name, attribute.ref_attr_name]
        if attribute.HasField("t"):
            texts += _tensor_texts(attribute.t)
    return texts


def _tensor_texts(tensor: Any) -> list[Any]:
    return [tensor.name, *(text for e in tensor.external_data for text in (e.key, e.value))]


def _port_texts(value: Any) -> list[Any]:
    return [value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim)]


def check_model(model: Any, file: str) -> dict[FunctionKey, Any]:
    """Check the whole model; returns its functions by key."""
    _check_texts(model, file)
    functions: dict[FunctionKey, Any] = {}
    for proto in model.functions:
        key = function_key(proto)
        if key in functions:
            raise ModelError(f"function '{printable(key[1])}' is defined twice", where=file)
        functions[key] = proto
    if "" not in opsets_of(model.opset_import, file) and not functions:
        raise ModelError("the model imports no opset of the default domain", where=file)
    if model.ir_version > MAX_IR_VERSION:
        raise ModelError(
            f"IR version {model.ir_version}; at most {MAX_IR_VERSION} is known",
            where=file,
            hint="save the model with an older onnx package",
        )
    _check_graph(model.graph, file, depth=0)
    if not model.graph.output:
        raise ModelError("the graph has no outputs", where=file)
    for proto in functions.values():
        place = f"{file}: function '{printable(proto.name)}'"
        opsets_of(proto.opset_import, place)
        for node in proto.node:
            _check_node(node, file, depth=1)
        _check_names(place, [*proto.input], proto.node)
    _check_calls(model.graph, functions, file)
    return functions


def _check_graph(graph: Any, file: str, depth: int) -> None:
    if depth > MAX_NESTING:
        raise ModelError(f"subgraphs are nested more than {MAX_NESTING} deep", where=file)
    if len(graph.sparse_initializer):
        raise UnsupportedOpError("sparse initialisers are not supported", where=file)
    ports = [*graph.input, *graph.output, *graph.value_info]
    _require_text([text for value in ports for text in _port_texts(value)], file)
    _require_text([text for tensor in graph.initializer for text in _tensor_texts(tensor)], file)
    names = [tensor.name for tensor in graph.initializer]
    if "" in names:
        raise ModelError("an initialiser has no name", where=file)
    _unique(names, "initialiser", file)
    inputs = [value.name for value in graph.input]
    _unique(inputs, "graph input", file)
    _unique([value.name for value in graph.output], "graph output", file)
    for node in graph.node:
        _check_node(node, file, depth)
    _check_names(file, {*names, *inputs}, graph.node)


def _unique(names: Sequence[str], what: str, file: str) -> None:
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ModelError(f"two {what}s are called '{printable(name)}'", where=file)
        seen.add(name)


def _check_node(node: Any, file: str, depth: int) -> None:
    _require_text(_node_texts(node), node_place(file, node))
    names = [attribute.name for attribute in node.attribute]
    if len(set(names)) != len(names) or "" in names:
        raise ModelError("two attributes of one name, or one without", where=node_place(file, node))
    if not node.op_type:
        raise ModelError("a node has no operator", where=node_place(file, node))
    for graph in subgraphs(node):
        _check_graph(graph, file, depth + 1)


def _check_names(where: str, known: Iterable[str], nodes: Sequence[Any]) -> None:
    """Every value is defined once."""
    defined = set(known)
    for node in nodes:
        for name in node.output:
            if name and name in defined:
                raise ModelError(
                    f"value '{printable(name)}' is defined twice", where=node_place(where, node)
                )
            defined.add(name)


def _check_calls(graph: Any, functions: dict[FunctionKey, Any], file: str) -> None:
    """Functions must not call themselves, and the model must stay below MAX_NODES once they are
    inlined.
    """
    sizes: dict[FunctionKey, int] = {}
    bodies = {key: list(all_nodes(proto.node)) for key, proto in functions.items()}
    for root in functions:
        stack = [root]
        active = {root} if root not in sizes else set()
        while stack and active:
            key = stack[-1]
            calls = [call_key(n) for n in bodies[key] if call_key(n) in functions]
            waiting = next((call for call in calls if call not in sizes), None)
            if waiting is None:
                sizes[key] = len(bodies[key]) + sum(sizes[call] for call in calls)
                active.discard(key)
                stack.pop()
            elif waiting in active:
                name = printable(waiting[1])
                raise ModelError(
                    f"function '{name}' calls itself", where=f"{file}: function '{name}'"
                )
            else:
                active.add(waiting)
                stack.append(waiting)
    total = sum(1 + sizes.get(call_key(node), 0) for node in all_nodes(graph.node))
    if total > MAX_NODES:
        raise ModelError(f"{total} nodes after inlining; at most {MAX_NODES}", where=file)


def all_nodes(nodes: Iterable[Any]) -> Iterable[Any]:
    """The nodes and those of their subgraphs (nesting is already checked)."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        for graph in subgraphs(node):
            stack.extend(graph.node)


def ordered(nodes: Sequence[Any], known: Iterable[str], file: str) -> list[Any]:
    """The nodes in their own order if each only reads what stands before it, else sorted.

    ModelError for a value that nothing defines and for a cycle.
    """
    seen = set(known)
    if all(_readable(node, seen) for node in nodes):
        return list(nodes)
    return _sorted(nodes, set(known), file)


def _readable(node: Any, seen: set[str]) -> bool:
    good = all(name in seen for name in _reads(node))
    seen.update(name for name in node.output if name)
    return good


def _reads(node: Any) -> list[str]:
    """Names a node needs: its inputs, and what its subgraphs capture."""
    names = [name for name in node.input if name]
    for graph in subgraphs(node):
        names.extend(_captures(graph))
    return names


def _captures(graph: Any) -> list[str]:
    inside = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    for node in graph.node:
        inside.update(node.output)
    names = [name for node in graph.node for name in _reads(node)]
    names.extend(value.name for value in graph.output)
    return [name for name in names if name not in inside]


def _sorted(nodes: Sequence[Any], known: set[str], file: str) -> list[Any]:
    maker = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    waits: list[int] = []
    readers: dict[int, list[int]] = {}
    for place, node in enumerate(nodes):
        needed = {name for name in _reads(node) if name not in known}
        for name in needed:
            if name not in maker:
                raise ModelError(
                    f"reads '{printable(name)}', which nothing defines",
                    where=node_place(file, node),
                )
            readers.setdefault(maker[name], []).append(place)
        waits.append(len(needed))
    ready = [place for place, count in enumerate(waits) if count == 0]
    result: list[Any] = []
    while ready:
        place = ready.pop()
        result.append(nodes[place])
        for reader in readers.get(place, ()):
            waits[reader] -= 1
            if waits[reader] == 0:
                ready.append(reader)
    if len(result) != len(nodes):
        stuck = next(node for node, count in zip(nodes, waits, strict=True) if count)
        raise ModelError("the graph has a cycle", where=node_place(file, stuck))
    return result
