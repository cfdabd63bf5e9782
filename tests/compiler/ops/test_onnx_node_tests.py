"""ONNX's own node tests whose operators have rows: types exactly, values to their tolerance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from athena.errors import AthenaError
from compiler import ops
from compiler.frontend import load_model
from compiler.graph.interpret import interpret

# onnx computes these with 16-bit steps inside; this project and onnxruntime round once, at the end.
STEPWISE = "16-bit Attention"


def node_tests() -> list:
    loader = pytest.importorskip("onnx.backend.test.loader")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = loader.load_model_tests(kind="node")
        except TypeError:
            return []
    return [test for test in found if getattr(test, "model", None) is not None]


def has_rows(model) -> bool:
    opset = max((o.version for o in model.opset_import if o.domain == ""), default=0)
    kinds = {(node.domain, node.op_type) for node in model.graph.node}
    return opset > 0 and all(
        op in ("Constant", "If")
        or (row := ops.lookup(domain, op, max(opset, 13))) is not None
        and row.reference is not None
        for domain, op in kinds
    )


def bound(model, feeds: dict, chosen) -> tuple:
    """The model with the chosen inputs as initialisers, the others' dimensions bound."""
    copy = ModelProto()
    copy.CopyFrom(model)
    rest, dims = {}, {}
    for port in list(copy.graph.input):
        array = feeds[port.name]
        if chosen(array):
            copy.graph.initializer.append(numpy_helper.from_array(array, port.name))
            copy.graph.input.remove(port)
            continue
        rest[port.name] = array
        for axis, dim in enumerate(port.type.tensor_type.shape.dim):
            if dim.WhichOneof("value") != "dim_value":
                dims[dim.dim_param or f"{port.name}.{axis}"] = array.shape[axis]
    return copy, rest, dims


CHOICES = (
    lambda array: False,
    lambda array: array.dtype.kind in "iub" and array.ndim <= 1,
    lambda array: array.dtype.kind in "iub",
    lambda array: True,
)


def run(model, feeds: dict, path) -> dict:
    """Outputs with as few inputs made constant as the operators need."""
    fault = None
    for chosen in CHOICES:
        copy, rest, dims = bound(model, feeds, chosen)
        path.write_bytes(copy.SerializeToString())
        try:
            return interpret(load_model(path, dims=dims), rest)
        except AthenaError as exc:
            fault = exc
    raise AssertionError(f"refused: {fault}")


def fault_of(test, path) -> str:
    """What differs from the expected outputs; empty if nothing, None where the test is not ours."""
    names = [port.name for port in test.model.graph.input]
    for inputs, expected in test.data_sets:
        feeds = dict(zip(names, map(np.asarray, inputs), strict=True))
        found = run(test.model, feeds, path)
        for port, wanted in zip(test.model.graph.output, expected, strict=True):
            mine, wanted = found[port.name], np.asarray(wanted)
            if mine.dtype != wanted.dtype or mine.shape != wanted.shape:
                return f"{mine.dtype}{mine.shape} instead of {wanted.dtype}{wanted.shape}"
            if wanted.dtype.kind == "b":
                same = bool((mine == wanted).all())
            else:
                left, right = mine.astype(np.float64), wanted.astype(np.float64)
                same = np.allclose(left, right, rtol=test.rtol, atol=test.atol, equal_nan=True)
            if not same:
                return "values differ"
    return ""


def usable(test) -> bool:
    arrays = [x for pair in test.data_sets for part in pair for x in part]
    plain = all(
        isinstance(x, np.ndarray | np.generic) and x.dtype.kind not in "OUS" for x in arrays
    )
    return plain and len(test.data_sets[0][0]) == len(test.model.graph.input)


def is_stepwise(test) -> bool:
    return test.name.startswith("test_attention") and ("bf16" in test.name or "fp16" in test.name)


def test_references_pass_onnx_node_tests(tmp_path):
    chosen = [test for test in node_tests() if usable(test) and has_rows(test.model)]
    if not chosen:
        pytest.skip("this onnx does not generate node tests in code")
    faults = {}
    for test in chosen:
        if is_stepwise(test) or "training_mode" in test.name:
            continue
        try:
            fault = fault_of(test, tmp_path / "node.onnx")
        except (AssertionError, AthenaError, ValueError) as exc:
            fault = str(exc)[:200]
        if fault:
            faults[test.name] = fault
    assert len(chosen) > 1000
    assert faults == {}
