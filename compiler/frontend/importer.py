"""Walk a checked model and build the graph: inline, upgrade, type, fold.

In:  a ModelProto that `structure.check_model` has passed, bound shapes, fixed inputs.   Out: Graph at ONNX level.
Raises: ModelError, ShapeError, UnsupportedOpError, ExternalDataError; each names file and node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from athena.errors import AthenaError, ModelError, ShapeError, UnsupportedOpError, printable
from compiler.frontend import attributes, opaque, structure
from compiler.frontend.files import ExternalFiles
from compiler.frontend.fold import Folder
from compiler.frontend.tensors import Tensor, dtype_of, read_tensor
from compiler.frontend.upgrade import Draft, upgrade
from compiler.graph.graph import Graph
from compiler.graph.types import Array, DType, Node, Value
from compiler.ops import lookup
from compiler.ops.types import Operands, OpRow, Place, RuleError, TensorType

_SAFE_NIBBLE_READERS = frozenset({"DequantizeLinear", "GatherBlockQuantized"})


@dataclass(slots=True)
class Frame:
    """One level of inlining: nodes still to read, how their names translate, what to do about outputs at the end."""

    nodes: Iterator[Any]
    names: dict[str, str]
    opsets: Mapping[str, int]
    bindings: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    results: tuple[tuple[str, str], ...] = ()  # (name inside, name outside) still to connect
    outer: Frame | None = None  # lexical scope of a subgraph

    def find(self, name: str) -> str | None:
        """Graph-wide name of a value that this scope can see."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.names:
                return frame.names[name]
            frame = frame.outer
        return None


class Importer:
    """Builds one graph; used once."""

    def __init__(self, files: ExternalFiles, file: str, *, weightless: bool, fold_limit: int) -> None:
        self._files = files
        self._file = file
        self._weightless = weightless
        self._folder = Folder(fold_limit)
        self._functions: Mapping[structure.FunctionKey, Any] = {}
        self._values: dict[str, Value] = {}
        self._nodes: list[Node] = []
        self._node_names: set[str] = set()
        self._nibbles: set[str] = set()
        self._counters: dict[str, int] = {}
        self._protos: dict[str, Any] = {}

    def run(
        self,
        model: Any,
        functions: Mapping[structure.FunctionKey, Any],
        shapes: Mapping[str, tuple[int, ...]],
        fixed: Mapping[str, Array],
    ) -> Graph:
        """The graph of `model`. `shapes`: of its inputs; `fixed`: inputs that become constants."""
        self._functions = functions
        graph = model.graph
        for proto in graph.initializer:
            self._add_tensor(proto.name, proto)
        inputs = self._add_inputs(graph, shapes, fixed)
        nodes = structure.ordered(graph.node, self._values, self._file)
        opsets = structure.opsets_of(model.opset_import, self._file)
        names = {name: name for name in self._values}
        names |= {name: name for node in nodes for name in node.output if name}
        self._walk(Frame(nodes=iter(nodes), names=names, opsets=opsets))
        outputs = tuple(value.name for value in graph.output)
        self._check_outputs(graph)
        return self._built(graph.name or "graph", inputs, outputs)

    # ---- what upgrade() may ask (its Scope) ----

    def operand(self, name: str) -> Value | None:
        """The value called `name`; None for an absent one."""
        return self._values[name] if name else None

    def constant(self, hint: str, data: Array) -> str:
        """Name of a new constant."""
        name = self.fresh(hint)
        dtype = DType.from_numpy(data.dtype)
        self._values[name] = Value(name=name, dtype=dtype, shape=data.shape, const=data)
        return name

    def fresh(self, hint: str) -> str:
        """A value name not yet in use; it stays reserved."""
        name, count = hint, self._counters.get(hint, 0)
        while name in self._values or name in self._protos:
            count += 1
            name = f"{hint}.{count}"
        self._counters[hint] = count
        self._protos[name] = None
        return name

    # ---- values of the file ----

    def _add_tensor(self, name: str, proto: Any) -> None:
        where = f"{self._file}: initialiser '{printable(name)}'"
        self._add_constant(name, read_tensor(proto, self._files, where, weightless=self._weightless))

    def _add_constant(self, name: str, tensor: Tensor) -> None:
        self._values[name] = Value(
            name=name,
            dtype=tensor.dtype,
            shape=tensor.shape,
            const=tensor.array,
            weightless=tensor.array is None,
        )
        if tensor.nibbles:
            self._nibbles.add(name)

    def _add_inputs(
        self, graph: Any, shapes: Mapping[str, tuple[int, ...]], fixed: Mapping[str, Array]
    ) -> tuple[str, ...]:
        names = []
        for info in graph.input:
            if info.name in self._values:
                continue  # an initialiser is the default of this input; it stays a constant
            place = f"{self._file}: input '{printable(info.name)}'"
            dtype = dtype_of(info.type.tensor_type.elem_type, place)
            value = Value(name=info.name, dtype=dtype, shape=shapes[info.name])
            data = fixed.get(info.name)
            if data is not None:
                value = replace(value, const=np.broadcast_to(data, value.shape).astype(dtype.numpy))
            else:
                names.append(info.name)
            self._values[info.name] = value
        return tuple(names)

    # ---- the walk ----

    def _walk(self, first: Frame) -> None:
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
        """Import one node, or open the frame of what it stands for."""
        where = structure.node_place(self._file, proto)
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
        self._import(frame, proto, inputs, where)
        return None

    def _found(self, frame: Frame, name: str, where: str) -> str:
        if not name:
            return ""
        found = frame.find(name)
        if found is None or found not in self._values:
            raise ModelError(f"reads '{printable(name)}', which nothing defines before", where=where)
        return found

    def _outputs(self, frame: Frame, proto: Any) -> tuple[str, ...]:
        """Graph-wide names of a node's outputs; those of an inlined body get the call's prefix."""
        names = []
        for name in proto.output:
            if name and name not in frame.names:
                frame.names[name] = self.fresh(f"{frame.prefix}{name}")
            names.append(frame.names[name] if name else "")
        return tuple(names)

    def _call(self, frame: Frame, proto: Any, inputs: tuple[str, ...], body: Any) -> Frame:
        """Open a model-local function: formal names stand for the call's."""
        where = structure.node_place(self._file, proto)
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
        inner = Frame(iter(nodes), names, opsets, bindings, prefix)
        return self._connected(inner, nodes, pairs)

    def _connected(
        self, inner: Frame, nodes: list[Any], pairs: tuple[tuple[str, str], ...]
    ) -> Frame:
        """Let the body write straight to the caller's names; what it only passes through is copied at the end."""
        made = {name for node in nodes for name in node.output if name}
        rest = []
        for inside, outside in pairs:
            if inside in made and inside not in inner.names:
                inner.names[inside] = outside
            else:
                rest.append((inside, outside))
        inner.results = tuple(rest)
        return inner

    def _branch(
        self, frame: Frame, proto: Any, inputs: tuple[str, ...], where: str
    ) -> Frame:
        """Open the branch of an If whose condition is known."""
        condition = self._values[inputs[0]].const if inputs and inputs[0] else None
        if condition is None or condition.size != 1:
            raise UnsupportedOpError(
                f"the condition of an If, '{printable(proto.input[0] if proto.input else '')}', "
                "is not known at compile time",
                where=where,
                hint="fix the input that decides it (a merged decoder: use_cache_branch), "
                "or export the branches as two files",
            )
        wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
        graph = next((a.g for a in proto.attribute if a.name == wanted and a.HasField("g")), None)
        if graph is None or len(graph.output) < len(proto.output):
            raise ModelError(f"If has no {wanted} with {len(proto.output)} outputs", where=where)
        prefix = f"{frame.prefix}{proto.name or 'If'}/"
        outputs = self._outputs(frame, proto)
        inner = Frame(iter(()), {}, frame.opsets, frame.bindings, prefix, outer=frame)
        for tensor in graph.initializer:
            inner.names[tensor.name] = self.fresh(f"{prefix}{tensor.name}")
            self._add_tensor(inner.names[tensor.name], tensor)
        nodes = list(graph.node)
        inner.nodes = iter(nodes)
        results = [value.name for value in graph.output]
        pairs = tuple((a, b) for a, b in zip(results, outputs, strict=False) if b)
        return self._connected(inner, nodes, pairs)

    def _finish(self, frame: Frame) -> None:
        """Copy the outputs that a body only passes through."""
        for inside, outside in frame.results:
            where = f"{self._file}: '{printable(frame.prefix)}'"
            source = self._found(frame, inside, where)
            name = f"{frame.prefix}{inside}.out"
            draft = Draft(
                name=name, op="Identity", domain="", opset=13, inputs=(source,),
                outputs=(outside,), attrs={}, sources=(name,), changed=True,
            )  # fmt: skip
            self._add(draft, None, where)

    # ---- one node ----

    def _import(self, frame: Frame, proto: Any, inputs: tuple[str, ...], where: str) -> None:
        domain = structure.domain_of(proto.domain)
        if domain not in frame.opsets and not (domain == "com.microsoft"):
            raise ModelError(f"domain '{printable(domain)}' is not imported", where=where)
        opset = frame.opsets.get(domain, 1)
        values = attributes.decode_all(proto, frame.bindings, self._files, where)
        outputs = self._outputs(frame, proto)
        if domain == "" and proto.op_type == "Constant":
            self._constant_node(proto, values, outputs, where)
            return
        values = attributes.with_defaults(values, domain, proto.op_type, opset, where)
        attributes.finite(values, where)
        name = f"{frame.prefix}{proto.name or proto.op_type}"
        draft = Draft(
            name=name, op=proto.op_type, domain=domain, opset=opset, inputs=inputs,
            outputs=outputs, attrs=values, sources=(name,), changed=bool(frame.bindings),
        )  # fmt: skip
        try:
            drafts = upgrade(draft, self)
        except RuleError as exc:
            raise ShapeError(str(exc), where=where) from exc
        for done in drafts:
            self._add(done, proto, where)

    def _constant_node(
        self, proto: Any, values: dict[str, Any], outputs: tuple[str, ...], where: str
    ) -> None:
        if len(values) != 1 or len(outputs) != 1:
            raise UnsupportedOpError("a Constant needs exactly one dense value", where=where)
        kind, value = next(iter(values.items()))
        dtype = {
            "value": None, "value_int": np.int64, "value_ints": np.int64,
            "value_float": np.float32, "value_floats": np.float32,
        }.get(kind, str)  # fmt: skip
        if dtype is str:
            raise UnsupportedOpError(f"a Constant of kind '{printable(kind)}'", where=where)
        if kind == "value":
            attribute = next((a for a in proto.attribute if a.HasField("t")), None)
            if attribute is not None:
                self._add_constant(outputs[0], read_tensor(attribute.t, self._files, where))
                return
        data = np.asarray(value, dtype=dtype)
        kind_of = DType.from_numpy(data.dtype)
        self._values[outputs[0]] = Value(
            name=outputs[0], dtype=kind_of, shape=data.shape, const=data
        )

    def _add(self, draft: Draft, proto: Any, where: str) -> None:
        """Type one draft in newest form; fold it or make it a node."""
        operands = [self.operand(name) for name in draft.inputs]
        self._check_nibbles(draft, where)
        row = lookup(draft.domain, draft.op, draft.opset)
        if row is None:
            self._add_opaque(draft, operands, where)
            return
        attrs = attributes.typed(row.attrs, draft.attrs, where)
        _check_arity(row, draft, where)
        try:
            for limit in row.limits:
                if not limit(attrs, operands):
                    raise UnsupportedOpError((limit.__doc__ or "").strip(), where=where)
            types = row.shape(attrs, operands)
        except RuleError as exc:
            raise _rule_error(exc, where, row) from exc
        if len(draft.outputs) > len(types):
            raise UnsupportedOpError(f"{draft.op} has no output {len(types)}", where=where)
        folded = self._folder.fold(row, attrs, operands, types, where)
        node = Node(
            name=draft.name, op=draft.op, inputs=draft.inputs, outputs=draft.outputs, attrs=attrs,
            sources=draft.sources, domain=draft.domain, opset=draft.opset,
        )  # fmt: skip
        if folded is None and row.place is Place.FOLDED:
            raise UnsupportedOpError(
                f"{draft.op} must be known at compile time, but its operands are computed",
                where=where,
            )
        self._define(draft.outputs, types, folded)
        if folded is None:
            self._append(node, draft, proto)

    def _define(
        self, names: tuple[str, ...], types: tuple[TensorType, ...], data: tuple[Array, ...] | None
    ) -> None:
        for place, name in enumerate(names):
            if not name:
                continue
            const = None if data is None or place >= len(data) else data[place]
            kind = types[place]
            self._values[name] = Value(name=name, dtype=kind.dtype, shape=kind.shape, const=const)

    def _append(self, node: Node, draft: Draft, proto: Any) -> None:
        name, count = node.name, 0
        while name in self._node_names:
            count += 1
            name = f"{node.name}.{count}"
        self._node_names.add(name)
        node = replace(node, name=name)
        self._nodes.append(replace(node, proto=opaque.node_proto(node, draft, proto)))

    def _add_opaque(self, draft: Draft, operands: Operands, where: str) -> None:
        """An operator without a row: kept for the host if onnx can type it."""
        types = opaque.infer(draft, operands, where)
        node = Node(
            name=draft.name, op=draft.op, inputs=draft.inputs, outputs=draft.outputs,
            attrs=opaque.ATTRS, sources=draft.sources, domain=draft.domain, opset=draft.opset,
        )  # fmt: skip
        self._define(draft.outputs, types, None)
        self._append(node, draft, None)

    def _check_nibbles(self, draft: Draft, where: str) -> None:
        if self._nibbles.intersection(draft.inputs) and draft.op not in _SAFE_NIBBLE_READERS:
            raise UnsupportedOpError(f"{draft.op} of 4-bit integers is not supported", where=where)

    # ---- the end ----

    def _check_outputs(self, graph: Any) -> None:
        for info in graph.output:
            value = self._values.get(info.name)
            place = f"{self._file}: output '{printable(info.name)}'"
            if value is None:
                raise ModelError("nothing defines this graph output", where=place)
            kind = info.type.tensor_type.elem_type
            if kind and dtype_of(kind, place) is not value.dtype:
                raise ShapeError(
                    f"is declared {dtype_of(kind, place).value}, but computed as "
                    f"{value.dtype.value}",
                    where=place,
                )

    def _built(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Graph:
        edit = Graph(name).edit()
        for value in self._values.values():
            edit.set_value(value)
        for place, node in enumerate(self._nodes):
            edit.add_node(node, position=place)
        edit.set_interface(inputs=inputs, outputs=outputs)
        return edit.freeze()


def _check_arity(row: OpRow, draft: Draft, where: str) -> None:
    met = len(draft.inputs)
    low, high = row.inputs
    if not low <= met <= high:
        allowed = str(low) if low == high else f"{low} to {high}"
        raise ModelError(f"has {met} inputs; {draft.op} takes {allowed}", where=where)
    if not draft.outputs or not any(draft.outputs):
        raise ModelError("has no output", where=where)


def _rule_error(exc: RuleError, where: str, row: OpRow) -> AthenaError:
    hint = ""
    if "compile time" in str(exc):
        hint = "fix the input it depends on, or export the model with static shapes"
    return ShapeError(f"{row.name}: {exc}", where=where, hint=hint)
