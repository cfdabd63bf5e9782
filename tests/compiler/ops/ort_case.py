"""One operator, several ways to run it: onnxruntime, as a node, folded at import."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnx import ValueInfoProto, helper, numpy_helper

from compiler.frontend import load_model
from compiler.graph.interpret import interpret

_IR = 10


@dataclass(frozen=True)
class Case:
    """`consts`: positions of inputs that are initialisers when the operator runs as a node."""

    id: str
    op: str
    inputs: tuple[Any, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    opset: int = 17
    domain: str = ""
    outputs: int = 1
    consts: tuple[int, ...] = ()
    rtol: float = 1e-5
    atol: float = 1e-6
    steps: int = 0  # integers may differ by this much


def model_of(case: Case, consts: set[int]) -> Any:
    """A model with the one node; inputs in `consts` are initialisers."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(case.inputs)]
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, outputs, name="n", domain=case.domain, **case.attrs)
    inits, ports = [], []
    for index, x in enumerate(case.inputs):
        if x is None:
            continue
        if index in consts:
            inits.append(numpy_helper.from_array(np.asarray(x), names[index]))
        else:
            kind = helper.np_dtype_to_tensor_dtype(np.asarray(x).dtype)
            ports.append(helper.make_tensor_value_info(names[index], kind, np.shape(x)))
    ends = [ValueInfoProto(name=o) for o in outputs]
    imports = [helper.make_opsetid("", case.opset), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "g", ports, ends, inits)
    return helper.make_model(graph, opset_imports=imports, ir_version=_IR)


def run_onnxruntime(case: Case) -> list[np.ndarray]:
    """onnxruntime's outputs, its optimiser switched off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    model = model_of(case, set(case.consts)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {
        f"x{i}": np.asarray(x)
        for i, x in enumerate(case.inputs)
        if x is not None and i not in case.consts
    }
    return session.run(None, feeds)


def run_ours(case: Case, folder: Path, *, folded: bool) -> list[np.ndarray]:
    """The same through load_model and interpret; `folded`: with every input a constant."""
    every = {i for i, x in enumerate(case.inputs) if x is not None}
    consts = every if folded else set(case.consts)
    path = folder / "case.onnx"
    path.write_bytes(model_of(case, consts).SerializeToString())
    graph = load_model(path, dims={})
    if not folded:
        assert graph.nodes or case.op == "Shape", "the operator was folded although its inputs vary"
    feeds = {f"x{i}": np.asarray(case.inputs[i]) for i in every - consts}
    found = interpret(graph, feeds)
    return [found[name] for name in graph.outputs]


def assert_same(ours: list[np.ndarray], theirs: list[np.ndarray], case: Case) -> None:
    """Types and shapes exactly, integers exactly, floats within the case's tolerance."""
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        if mine.dtype.kind == "f":
            np.testing.assert_allclose(
                mine.astype(np.float64), other.astype(np.float64), rtol=case.rtol, atol=case.atol
            )
        else:
            apart = np.abs(mine.astype(np.int64) - other.astype(np.int64))
            assert apart.max(initial=0) <= case.steps
