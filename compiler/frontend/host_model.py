"""A single ONNX node as a model of its own, for the host to execute.

In:  the `HostAttrs` of a node, names, dtypes and shapes of what goes in and out, its constants.
Out: serialised ModelProto.
Raises: UnsupportedOpError for a node that was not read from a file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, ValueInfoProto, helper, numpy_helper

from athena.errors import UnsupportedOpError
from compiler.frontend.tensors import CODES
from compiler.graph.chip_ops import HostAttrs
from compiler.graph.types import Array, DType, Value

IR_VERSION = 10


def host_model(
    attrs: HostAttrs, inputs: Sequence[tuple[str, Value | None]], outputs: Sequence[str]
) -> bytes:
    """The model of one node. `inputs`: for each input its name ("" if absent) and its value;
    constants become initialisers.

    Names are those of the program's tensors; element types are the ones that ONNX expects.
    """
    if not attrs.node_proto:
        raise UnsupportedOpError(
            f"'{attrs.onnx_op}' has no serialised node for the host", where=attrs.onnx_op
        )
    node = NodeProto()
    node.ParseFromString(attrs.node_proto)
    del node.input[:], node.output[:]
    node.input.extend(name for name, _ in inputs)
    node.output.extend(outputs)
    fed, constants = [], []
    for (name, value), dtype in zip(inputs, attrs.input_dtypes, strict=True):
        if value is None or not name or dtype is None:
            continue
        if value.const is not None:
            constants.append(numpy_helper.from_array(_converted(value.const, dtype), name))
        else:
            fed.append(helper.make_tensor_value_info(name, CODES[dtype], value.shape))
    made = [ValueInfoProto(name=name) for name in outputs if name]
    graph = helper.make_graph([node], "host", fed, made, constants)
    imports = [helper.make_opsetid(attrs.onnx_domain, attrs.opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


def _converted(data: Array, dtype: DType) -> Array:
    return np.ascontiguousarray(data.astype(dtype.numpy))
