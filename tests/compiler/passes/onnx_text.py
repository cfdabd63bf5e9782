"""Small ONNX models for pass tests: built from node tuples, loaded through the frontend, judged by
onnxruntime.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from compiler.frontend import load_model
from compiler.graph.chip_ops import Op
from compiler.graph.graph import Graph
from compiler.graph.interpret import interpret
from compiler.passes import Precision, run

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort  # noqa: E402

Arrays = Mapping[str, np.ndarray]


class Model:
    """`node(op, inputs, **attrs)` gives the output's name; arrays among the inputs become
    initialisers.
    """

    def __init__(self, *, opset: int = 18) -> None:
        self.opset = opset
        self.nodes: list = []
        self.weights: list = []
        self.inputs: dict[str, np.ndarray] = {}
        self.outputs: list[str] = []

    def input(self, name: str, array: np.ndarray) -> str:
        self.inputs[name] = array
        return name

    def const(self, data: object) -> str:
        array = np.asarray(data)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return f"w{len(self.weights) - 1}"

    def node(self, op: str, *inputs: object, outputs: int = 1, **attrs: object) -> object:
        domain = str(attrs.pop("domain", ""))
        names = [x if isinstance(x, str) else self.const(x) for x in inputs]
        made = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(op, names, made, name=f"{op}_{len(self.nodes)}", domain=domain)
        for key, value in attrs.items():
            if value is not None:
                node.attribute.append(helper.make_attribute(key, value))
        self.nodes.append(node)
        return made[0] if outputs == 1 else made

    def output(self, *names: object) -> Model:
        self.outputs += [str(name) for name in names]
        return self

    def proto(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "test",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
                )
                for name, array in self.inputs.items()
            ],
            [ValueInfoProto(name=name) for name in self.outputs],
            self.weights,
        )
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)


def loaded(model: ModelProto, **options: int) -> Graph:
    """The ONNX-level graph of a model; `options` are the frontend's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return load_model(path, **options)


def run_ort(model: ModelProto | str, inputs: Arrays) -> list[np.ndarray]:
    """What onnxruntime computes, node by node."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    source = model if isinstance(model, str) else model.SerializeToString()
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))


def kinds(graph: Graph) -> Counter:
    """How often each op occurs."""
    return Counter(node.op for node in graph.nodes)


def assert_close(
    got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], tolerance: float = 1e-4
) -> None:
    """Equal up to `tolerance` times each wanted array's range; NaN where NaN."""
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        assert one.shape == other.shape
        one, other = one.astype(np.float64), other.astype(np.float64)
        scale = max(float(np.ptp(other)) if other.size else 0.0, 1.0)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*shape: int, high: int = 5, seed: int = 0) -> np.ndarray:
    """Integers from 0 to high − 1."""
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.int64)


def check(model: Model, *, host: int = 0, tolerance: float = 2e-5) -> None:
    """Run the pipeline; compare with onnxruntime; count Host nodes; run twice = run once."""
    proto = model.proto()
    graph = loaded(proto)
    final = run(graph, precision=Precision.FP32)
    assert kinds(final)[Op.HOST] == host, str(final)
    got = list(interpret(final, model.inputs).values())
    assert_close(got, run_ort(proto, model.inputs), tolerance)
    assert run(final, precision=Precision.FP32) is final
    run(graph, precision=Precision.BF16)


def one(op: str, x: np.ndarray, *others: object, opset: int = 18, **attrs: object) -> Model:
    """A model of one node with input x."""
    m = Model(opset=opset)
    return m.output(m.node(op, m.input("x", x), *others, **attrs))
