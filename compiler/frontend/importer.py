"""Build the graph of a checked model: inline, upgrade, type, fold.

In:  a ModelProto that `structure.check_model` has passed, bound shapes, fixed inputs.
Out: Graph at ONNX level.
Raises: ModelError, ShapeError, UnsupportedOpError, ExternalDataError; each names file and node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from athena.errors import AthenaError, ModelError, ShapeError, UnsupportedOpError, printable
from compiler.frontend import attributes, opaque, structure
from compiler.frontend.fold import FAULTS, Folder
from compiler.frontend.inline import Frame, Inliner, PlainNode
from compiler.frontend.store import ValueStore
from compiler.frontend.tensors import checked_shape, dtype_of, read_tensor
from compiler.frontend.typecheck import check_types
from compiler.frontend.upgrade import Draft, upgrade
from compiler.graph.graph import Graph
from compiler.graph.types import Array, Node, Value
from compiler.ops import lookup
from compiler.ops.types import Operands, OpRow, Place

_NIBBLE_READERS = frozenset({"DequantizeLinear", "GatherBlockQuantized"})
_CONSTANT_DTYPES = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
}


class Importer:
    """Builds one graph; used once."""

    def __init__(self, store: ValueStore, *, fold_limit: int) -> None:
        self._store = store
        self._file = store.file
        self._folder = Folder(fold_limit)
        self._nodes: list[Node] = []
        self._node_names: set[str] = set()
        self._name_counts: dict[str, int] = {}

    def run(
        self,
        model: Any,
        functions: Mapping[structure.FunctionKey, Any],
        shapes: Mapping[str, tuple[int, ...]],
        fixed: Mapping[str, Array],
    ) -> Graph:
        """The graph of `model`. `shapes`: of its inputs; `fixed`: inputs that become constants."""
        graph, store = model.graph, self._store
        for proto in graph.initializer:
            store.add_initialiser(proto.name, proto)
        inputs = self._add_inputs(graph, shapes, fixed)
        nodes = structure.ordered(graph.node, store.values, self._file)
        names = {name: name for name in store.values}
        names |= {name: name for node in nodes for name in node.output if name}
        store.reserve(set(names))
        opsets = structure.opsets_of(model.opset_import, self._file)
        walker = Inliner(store, functions, self._take)
        walker.walk(Frame(nodes=iter(nodes), names=names, opsets=opsets))
        self._check_outputs(graph)
        outputs = tuple(value.name for value in graph.output)
        return self._built(graph.name or "graph", inputs, outputs)

    def _add_inputs(
        self, graph: Any, shapes: Mapping[str, tuple[int, ...]], fixed: Mapping[str, Array]
    ) -> tuple[str, ...]:
        names = []
        for info in graph.input:
            if info.name in self._store.values:
                continue  # an initialiser is the default of this input; it stays a constant
            place = f"{self._file}: input '{printable(info.name)}'"
            dtype = dtype_of(info.type.tensor_type.elem_type, place)
            shape = checked_shape(shapes[info.name], place)
            value = Value(name=info.name, dtype=dtype, shape=shape)
            data = fixed.get(info.name)
            if data is None:
                names.append(info.name)
            else:
                value = replace(value, const=np.broadcast_to(data, value.shape).astype(dtype.numpy))
            self._store.values[info.name] = value
        return tuple(names)

    def _take(self, plain: PlainNode) -> None:
        """One node of the file: read its attributes, bring it to newest form, add it."""
        proto, frame, where = plain.proto, plain.frame, plain.where
        if proto is None:
            name = f"{frame.prefix}{plain.outputs[0]}"
            self._add(_draft(plain, name, ("Identity", "", 13), {}, changed=True), None, where)
            return
        domain = structure.domain_of(proto.domain)
        if domain not in frame.opsets and domain != "com.microsoft":
            raise ModelError(f"domain '{printable(domain)}' is not imported", where=where)
        if domain == "" and proto.op_type == "Constant" and self._plain_constant(plain):
            return
        values = attributes.decode_all(proto, frame.bindings, self._store.files, where)
        if domain == "" and proto.op_type == "Constant":
            self._constant(values, plain)
            return
        kind = (proto.op_type, domain, frame.opsets.get(domain, 1))
        attributes.check_version(*kind, where)
        values = attributes.with_defaults(values, kind, where)
        attributes.finite(values, where)
        operands = [self._store.operand(name) for name in plain.inputs]
        check_types(*kind, operands, where)
        bound = any(attribute.ref_attr_name for attribute in proto.attribute)
        name = f"{frame.prefix}{proto.name or proto.op_type}"
        try:
            drafts = upgrade(_draft(plain, name, kind, values, changed=bound), self._store)
        except FAULTS as exc:
            raise ShapeError(str(exc), where=where) from exc
        for draft in drafts:
            self._add(draft, proto, where)

    def _plain_constant(self, plain: PlainNode) -> bool:
        """A Constant that holds a tensor becomes a value, its data uncopied."""
        attribute = plain.proto.attribute
        if len(attribute) != 1 or not attribute[0].HasField("t") or len(plain.outputs) != 1:
            return False
        tensor = read_tensor(attribute[0].t, self._store.files, plain.where)
        self._store.add_tensor(plain.outputs[0], tensor)
        return True

    def _constant(self, values: Mapping[str, Any], plain: PlainNode) -> None:
        if len(values) != 1 or len(plain.outputs) != 1:
            raise UnsupportedOpError("a Constant needs exactly one dense value", where=plain.where)
        kind, value = next(iter(values.items()))
        if kind != "value" and kind not in _CONSTANT_DTYPES:
            raise UnsupportedOpError(f"a Constant of kind '{printable(kind)}'", where=plain.where)
        self._store.add_array(plain.outputs[0], np.asarray(value, dtype=_CONSTANT_DTYPES.get(kind)))

    def _add(self, draft: Draft, proto: Any, where: str) -> None:
        """Type one draft in newest form; fold it or make it a node."""
        operands = [self._store.operand(name) for name in draft.inputs]
        if self._store.nibbles.intersection(draft.inputs) and draft.op not in _NIBBLE_READERS:
            raise UnsupportedOpError(f"{draft.op} of 4-bit integers is not supported", where=where)
        row = lookup(draft.domain, draft.op, draft.opset)
        if row is None:
            types = opaque.infer(draft, operands, where)
            self._store.define(draft.outputs, types, None)
            self._append(draft, opaque.ATTRS, None)
            return
        attrs = attributes.typed(row.attrs, draft.attrs, where)
        types = _types(row, attrs, operands, draft, where)
        folded = self._folder.fold(row, attrs, operands, types, where)
        if folded is None and row.place is Place.FOLDED:
            raise UnsupportedOpError(
                f"{draft.op} must be known at compile time, but its operands are computed "
                "(or its result is too large)",
                where=where,
            )
        self._store.define(draft.outputs, types, folded)
        if folded is None:
            self._append(draft, attrs, proto)
        else:
            self._folder.note(draft.outputs)

    def _append(self, draft: Draft, attrs: Any, proto: Any) -> None:
        name, count = draft.name, self._name_counts.get(draft.name, 0)
        while name in self._node_names:
            count += 1
            name = f"{draft.name}.{count}"
        self._name_counts[draft.name] = count
        self._node_names.add(name)
        node = Node(
            name=name,
            op=draft.op,
            inputs=draft.inputs,
            outputs=draft.outputs,
            attrs=attrs,
            sources=draft.sources,
            domain=draft.domain,
            opset=draft.opset,
        )
        self._nodes.append(replace(node, proto=opaque.node_proto(node, draft, proto)))

    def _check_outputs(self, graph: Any) -> None:
        for info in graph.output:
            value = self._store.values.get(info.name)
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
        for value in self._store.values.values():
            edit.set_value(value)
        for place, node in enumerate(self._nodes):
            edit.add_node(node, position=place)
        edit.set_interface(inputs=inputs, outputs=outputs)
        return edit.freeze()


def _draft(
    plain: PlainNode,
    name: str,
    kind: tuple[str, str, int],
    values: dict[str, Any],
    *,
    changed: bool,
) -> Draft:
    op, domain, opset = kind
    return Draft(
        name=name,
        op=op,
        domain=domain,
        opset=opset,
        inputs=plain.inputs,
        outputs=plain.outputs,
        attrs=values,
        sources=(name,),
        changed=changed,
    )


def _types(row: OpRow, attrs: Any, operands: Operands, draft: Draft, where: str) -> Any:
    """Output types by the row's rule, once number of operands and limits are checked."""
    low, high = row.inputs
    if not low <= len(operands) <= high:
        allowed = str(low) if low == high else f"{low} to {high}"
        raise ModelError(f"has {len(operands)} inputs; {draft.op} takes {allowed}", where=where)
    if not any(draft.outputs):
        raise ModelError("has no output", where=where)
    try:
        for limit in row.limits:
            if not limit(attrs, operands):
                raise UnsupportedOpError((limit.__doc__ or "").strip(), where=where)
        types = row.shape(attrs, operands)
    except FAULTS as exc:
        raise _rule_error(exc, where, row) from exc
    if len(draft.outputs) > len(types):
        raise UnsupportedOpError(f"{draft.op} has no output {len(types)}", where=where)
    return types


def _rule_error(exc: Exception, where: str, row: OpRow) -> AthenaError:
    hint = ""
    if "compile time" in str(exc):
        hint = "fix the input it depends on, or export the model with static shapes"
    return ShapeError(f"{row.name}: {exc}", where=where, hint=hint)
