"""Hypothesis strategies shared by tests: random small ONNX models.

`models()` draws (ModelProto, inputs): a chain of products, elementwise functions, normalisations,
softmax, transposes and reshapes on odd sizes. The model passes onnx's own checks; inputs are
float32 arrays by name. Values stay moderate (no overflow).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

SIZES = (1, 3, 17, 129)
OPSET = 17
MAX_ELEMS = 20_000
UNARY = ("Relu", "Tanh", "Sigmoid", "Neg", "Abs", "Erf", "Identity")
BINARY = ("Add", "Sub", "Mul")


@dataclass
class Sketch:
    """A model under construction: the current tensor and everything made so far."""

    name: str
    shape: tuple[int, ...]
    random: np.random.Generator
    nodes: list = field(default_factory=list)
    weights: list = field(default_factory=list)
    older: list = field(default_factory=list)

    def weight(self, shape: tuple[int, ...], scale: float = 1.0) -> str:
        name = f"w{len(self.weights)}"
        data = (self.random.standard_normal(shape) * scale).astype(np.float32)
        self.weights.append(numpy_helper.from_array(data, name))
        return name

    def integers(self, numbers: tuple[int, ...]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(numbers, np.int64), name))
        return name

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attrs: object) -> None:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"n_{output}", **attrs))
        self.older.append((self.name, self.shape))
        self.name, self.shape = output, tuple(shape)


def _matmul(draw: st.DrawFn, s: Sketch) -> None:
    columns = draw(st.sampled_from(SIZES))
    lead, inner = s.shape[:-1], s.shape[-1]
    weight = s.weight((inner, columns), inner**-0.5)
    s.add("MatMul", [s.name, weight], (*lead, columns))
    if draw(st.booleans()):
        s.add("Add", [s.name, s.weight((columns,))], s.shape)


def _gemm(draw: st.DrawFn, s: Sketch) -> None:
    if len(s.shape) != 2:
        return
    columns, trans = draw(st.sampled_from(SIZES)), draw(st.booleans())
    inner = s.shape[1]
    shape = (columns, inner) if trans else (inner, columns)
    inputs = [s.name, s.weight(shape, inner**-0.5), s.weight((columns,))]
    alpha = draw(st.sampled_from((1.0, 0.5)))
    s.add("Gemm", inputs, (s.shape[0], columns), transB=int(trans), alpha=alpha)


def _unary(draw: st.DrawFn, s: Sketch) -> None:
    s.add(draw(st.sampled_from(UNARY)), [s.name], s.shape)


def _binary(draw: st.DrawFn, s: Sketch) -> None:
    op = draw(st.sampled_from(BINARY))
    kept = [name for name, shape in s.older if shape == s.shape]
    choice = draw(st.integers(0, 3))
    if kept and choice == 0:
        other = draw(st.sampled_from(kept))
    else:
        shape = {1: (), 2: s.shape[-1:]}.get(choice, s.shape)
        other = s.weight(shape, 0.5)
    inputs = [s.name, other] if draw(st.booleans()) else [other, s.name]
    s.add(op, inputs, s.shape)


def _layer_norm(draw: st.DrawFn, s: Sketch) -> None:
    size = s.shape[-1]
    inputs = [s.name, s.weight((size,)), s.weight((size,))]
    s.add("LayerNormalization", inputs, s.shape, axis=-1, epsilon=1e-3)


def _softmax(draw: st.DrawFn, s: Sketch) -> None:
    axis = draw(st.integers(-len(s.shape), len(s.shape) - 1))
    s.add("Softmax", [s.name], s.shape, axis=axis)


def _transpose(draw: st.DrawFn, s: Sketch) -> None:
    perm = draw(st.permutations(range(len(s.shape))))
    s.add("Transpose", [s.name], tuple(s.shape[axis] for axis in perm), perm=perm)


def _reshape(draw: st.DrawFn, s: Sketch) -> None:
    total = int(np.prod(s.shape))
    if len(s.shape) == 2:
        shapes = [(s.shape[0], 1, s.shape[1]), (1, *s.shape)]
    else:
        shapes = [(total // s.shape[-1], s.shape[-1]), (s.shape[0], total // s.shape[0])]
    shape = draw(st.sampled_from(shapes))
    s.add("Reshape", [s.name, s.integers(shape)], shape)


STEPS = (_matmul, _gemm, _unary, _binary, _layer_norm, _softmax, _transpose, _reshape)


@st.composite
def models(draw: st.DrawFn, *, max_nodes: int = 8) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A random model with one float input "x" and one or two outputs, and inputs for it."""
    rank = draw(st.integers(2, 3))
    shape = tuple(draw(st.sampled_from(SIZES[:3])) for _ in range(rank - 1))
    shape = (*shape, draw(st.sampled_from(SIZES)))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    sketch = Sketch("x", shape, random)
    for _ in range(draw(st.integers(1, max_nodes))):
        if int(np.prod(sketch.shape)) <= MAX_ELEMS:
            draw(st.sampled_from(STEPS))(draw, sketch)
    if not sketch.nodes:
        _unary(draw, sketch)
    outputs = [(sketch.name, sketch.shape)]
    middle = [tensor for tensor in sketch.older if tensor[0] != "x"]
    if middle and draw(st.booleans()):
        outputs.append(draw(st.sampled_from(middle)))
    inputs = {"x": random.standard_normal(shape).astype(np.float32)}
    return _model(sketch, shape, outputs), inputs


def _model(
    sketch: Sketch, shape: tuple[int, ...], outputs: list[tuple[str, tuple[int, ...]]]
) -> ModelProto:
    graph = helper.make_graph(
        sketch.nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        sketch.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
