"""Operators that only the host executes: typed by onnx's own inference, carried as serialised
NodeProtos.

In:  a draft without a row, typed operands.   Out: output types; the bytes of a NodeProto for any
node.
Raises: UnsupportedOpError where onnx does not know the operator, or cannot tell its outputs' static
shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, TypeProto, helper, numpy_helper, shape_inference

from athena.errors import UnsupportedOpError, printable
from compiler.frontend.attributes import Plain, schema_of
from compiler.frontend.tensors import CODES, checked_shape, dtype_of
from compiler.frontend.upgrade import Draft
from compiler.graph.types import DType, Node
from compiler.ops import known_names
from compiler.ops.attrs import OpaqueAttrs
from compiler.ops.types import Operands, TensorType, Types

ATTRS = OpaqueAttrs(reason="no unit of the chip and no rule of the compiler covers this operator")
_MAX_DATA_ELEMS = 1 << 16


def infer(draft: Draft, operands: Operands, where: str) -> Types:
    """Static output types of an operator that onnx knows."""
    schema = schema_of(draft.domain, draft.op, draft.opset)
    name = f"{draft.domain}::{draft.op}" if draft.domain else draft.op
    if schema is None or draft.domain:
        raise UnsupportedOpError(
            f"operator {printable(name)} (opset {draft.opset}) is not supported",
            where=where,
            hint=_suggestion(draft),
        )
    node = helper.make_node(
        draft.op, list(draft.inputs), [out or f"_{i}" for i, out in enumerate(draft.outputs)]
    )
    node.attribute.extend(_attribute(key, value) for key, value in draft.attrs.items())
    types = {v.name: _proto_type(v.dtype, v.shape) for v in operands if v is not None}
    data = {
        value.name: numpy_helper.from_array(np.ascontiguousarray(value.const), value.name)
        for value in operands
        if value is not None
        and value.const is not None
        and value.elems <= _MAX_DATA_ELEMS
        and value.dtype is not DType.BF16
    }
    try:
        found = shape_inference.infer_node_outputs(schema, node, types, data)
    except Exception as exc:  # noqa: BLE001  (the C++ binding raises several unrelated types)
        raise UnsupportedOpError(
            f"the outputs of {name} cannot be typed: {printable(exc)}", where=where
        ) from exc
    return tuple(_static(found.get(out), where, name) for out in node.output)


def _suggestion(draft: Draft) -> str:
    if draft.domain not in ("", "com.microsoft"):
        return "only the default ONNX domain, com.microsoft and model-local functions are known"
    same = next((n for n in known_names(draft.domain) if n.lower() == draft.op.lower()), "")
    if same and same != draft.op:
        return f"did you mean {same}?"
    return "`athena ops` lists the operators; export with another opset or without this operator"


def _proto_type(dtype: DType, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_type_proto(CODES[dtype], shape)


def _static(proto: TypeProto | None, where: str, name: str) -> TensorType:
    if proto is None or proto.WhichOneof("value") != "tensor_type":
        raise UnsupportedOpError(f"{name} gives something else than a tensor", where=where)
    kind = proto.tensor_type
    dims = list(kind.shape.dim)
    if not kind.HasField("shape") or any(dim.WhichOneof("value") != "dim_value" for dim in dims):
        raise UnsupportedOpError(
            f"the output shape of {name} depends on computed values", where=where
        )
    shape = checked_shape([dim.dim_value for dim in dims], where)
    return TensorType(dtype=dtype_of(kind.elem_type, where), shape=shape)


def _attribute(name: str, value: Plain) -> Any:
    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, _tensor(value))
    if isinstance(value, tuple) and not value:
        return helper.make_attribute(name, [], attr_type=7)  # INTS: the only empty lists in use
    return helper.make_attribute(name, value)


def _tensor(value: Any) -> TensorProto:
    dtype = DType.from_numpy(value.dtype)
    raw = np.ascontiguousarray(value).tobytes()
    return helper.make_tensor("", CODES[dtype], value.shape, raw, raw=True)


def node_proto(node: Node, draft: Draft, proto: Any) -> bytes:
    """The node as serialised ONNX, in the form, order and value names of `node`."""
    if proto is not None and not draft.changed:
        copy = NodeProto()
        copy.CopyFrom(proto)
        del copy.input[:]
        del copy.output[:]
        copy.input.extend(node.inputs)
        copy.output.extend(node.outputs)
        copy.name = node.name
    else:
        copy = helper.make_node(node.op, list(node.inputs), list(node.outputs), name=node.name)
        copy.attribute.extend(_attribute(key, value) for key, value in draft.attrs.items())
        copy.domain = node.domain
    return bytes(copy.SerializeToString(deterministic=True))
