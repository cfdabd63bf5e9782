"""Small models for the frontend's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def port(name: str, *dims: int | str | None, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(dims))


def end(name: str) -> Any:
    return ValueInfoProto(name=name)


def constant(name: str, array: Any) -> Any:
    return numpy_helper.from_array(np.asarray(array), name)


def model(
    nodes: list,
    inputs: list,
    outputs: list[str],
    inits: list | None = None,
    *,
    opset: int = 17,
    functions: list | None = None,
    domains: tuple[str, ...] = ("com.microsoft",),
) -> Any:
    """A ModelProto, not checked by anything."""
    graph = helper.make_graph(nodes, "g", inputs, [end(name) for name in outputs], inits or [])
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, functions=functions or [], ir_version=10)


def write(folder: Any, proto: Any, name: str = "m.onnx") -> Any:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def chain(*ops: str) -> Any:
    """x → op → op … → y, float [2, 3]."""
    names = ["x", *(f"t{i}" for i in range(len(ops) - 1)), "y"]
    nodes = [
        helper.make_node(op, [names[i]], [names[i + 1]], name=f"n{i}") for i, op in enumerate(ops)
    ]
    return model(nodes, [port("x", 2, 3)], ["y"])


def external(name: str, location: str, dims: tuple[int, ...], **numbers: int) -> Any:
    """A float tensor stored in another file."""
    tensor = TensorProto(name=name, data_type=FLOAT, dims=dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **numbers}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def with_weight(tensor: Any) -> Any:
    """y = x + w, w being the given tensor."""
    node = helper.make_node("Add", ["x", tensor.name], ["y"], name="add")
    return model([node], [port("x", 2, 3)], ["y"], [tensor])
