"""The graph builder and the transformer parts that models are put together from.

In:  names of values, weights' names and sizes.
Out: names of values; the Builder holds nodes and initialisers and makes the onnx.ModelProto.
Raises: ValueError when the weights of a model with data exceed protobuf's 2 GiB.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 9
PROTOBUF_LIMIT_BYTES = 2**31 - 1
MASKED = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Shape of a transformer; `vocab` 0 means embeddings in, hidden states out, no head."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    positions: int = 0
    theta: float = 0.0

    @property
    def head_dim(self) -> int:
        """Width of one head, in elements."""
        return self.hidden // self.heads


class Builder:
    """Collects nodes and initialisers of one graph; every method returns the name of a value."""

    def __init__(self, *, seed: int, weightless: bool) -> None:
        self.random = np.random.default_rng(seed)
        self.weightless = weightless
        self.weight_bytes = 0
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> str:
        """Declare a graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, value: str, shape: Sequence[int | str]) -> None:
        """Make `value` the fp32 graph output `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"output/{name}"))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output."""
        return self.split(kind, 1, *inputs, **attributes)[0]

    def split(self, kind: str, count: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """Append a node with `count` outputs."""
        name = f"{kind}_{len(self.nodes)}"
        outputs = [f"{name}_output_{n}" for n in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return tuple(outputs)

    def constant(self, value: NDArray[Any] | np.generic | Sequence[int] | float) -> str:
        """Return an initialiser with data: fp32 for a float, int64 for a list, else as given."""
        plain = isinstance(value, float) and not isinstance(value, np.generic)
        array = np.asarray(np.float32(value) if plain else value)  # type: ignore[arg-type]
        label = array.tolist() if array.size <= 4 else f"{zlib.crc32(array.tobytes()):08x}"
        name = f"constant_{array.dtype}_{array.ndim}d_{label}"
        self.tensors.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, shape: tuple[int, ...], std: float, mean: float = 0.0) -> str:
        """Return a parameter of normal noise, or one without data in a weightless model."""
        self.weight_bytes += 4 * math.prod(shape)
        if self.weightless:
            tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
        elif self.weight_bytes > PROTOBUF_LIMIT_BYTES:
            raise ValueError(
                "weights exceed the 2 GiB of one file; ask for fewer layers/weightless"
            )
        else:
            noise = self.random.standard_normal(shape, dtype=np.float32)
            tensor = numpy_helper.from_array(noise * np.float32(std) + np.float32(mean), name)
        self.tensors[name] = tensor
        return name

    def model(self, name: str) -> onnx.ModelProto:
        """Return the finished model."""
        graph = helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, list(self.tensors.values())
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="athena", opset_imports=opsets)
        model.ir_version = IR_VERSION
        if self.weightless:
            helper.set_model_props(model, {"weightless": "1"})
        return model


# --- parts ------------------------------------------------------------------------------------


def linear(b: Builder, x: str, name: str, sizes: tuple[int, int], scale: float = 1.0) -> str:
    """MatMul with a weight [inputs, outputs], then the bias; no bias below a Llama name."""
    product = b.op("MatMul", x, b.weight(f"{name}.weight", sizes, scale / sizes[0] ** 0.5))
    if name.startswith("llama"):
        return product
    return b.op("Add", b.weight(f"{name}.bias", sizes[1:], 0.02), product)


def layer_norm(b: Builder, x: str, name: str, hidden: int) -> str:
    """LayerNormalization over the last axis."""
    gain, bias = (
        b.weight(f"{name}.weight", (hidden,), 0.1, 1.0),
        b.weight(f"{name}.bias", (hidden,), 0.02),
    )
    return b.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=1e-5)


def rms_norm(b: Builder, x: str, name: str, hidden: int) -> str:
    """Root-mean-square norm as torch decomposes it."""
    square = b.op("ReduceMean", b.op("Pow", x, b.constant(2.0)), axes=[-1], keepdims=1)
    root = b.op("Sqrt", b.op("Add", square, b.constant(1e-5)))
    scaled = b.op("Mul", x, b.op("Reciprocal", root))
    return b.op("Mul", b.weight(f"{name}.weight", (hidden,), 0.1, 1.0), scaled)


def gelu_erf(b: Builder, x: str) -> str:
    """Exact GELU: x (1 + erf(x / sqrt 2)) / 2."""
    erf = b.op("Erf", b.op("Div", x, b.constant(math.sqrt(2.0))))
    return b.op("Mul", b.op("Mul", x, b.op("Add", erf, b.constant(1.0))), b.constant(0.5))


def gelu_tanh(b: Builder, x: str) -> str:
    """GPT-2's GELU: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    cube = b.op("Mul", b.op("Pow", x, b.constant(3.0)), b.constant(0.044715))
    inner = b.op("Mul", b.op("Add", x, cube), b.constant(math.sqrt(2.0 / math.pi)))
    outer = b.op("Add", b.op("Tanh", inner), b.constant(1.0))
    return b.op("Mul", b.op("Mul", x, b.constant(0.5)), outer)


def silu(b: Builder, x: str) -> str:
    """Return x times its sigmoid."""
    return b.op("Mul", x, b.op("Sigmoid", x))


def dim(b: Builder, x: str, axis: int) -> str:
    """Length of one axis as int64 [1]."""
    return b.op("Shape", x, start=axis, end=axis + 1)


def split_heads(b: Builder, x: str, heads: int, head_dim: int) -> str:
    """[batch, seq, heads * head_dim] to [batch, heads, seq, head_dim]."""
    shape = b.op("Concat", b.op("Shape", x, end=2), b.constant([heads, head_dim]), axis=0)
    return b.op("Transpose", b.op("Reshape", x, shape), perm=[0, 2, 1, 3])


def join_heads(b: Builder, x: str, hidden: int) -> str:
    """[batch, heads, seq, head_dim] to [batch, seq, hidden]."""
    rows = b.op("Transpose", x, perm=[0, 2, 1, 3])
    shape = b.op("Concat", b.op("Shape", rows, end=2), b.constant([hidden]), axis=0)
    return b.op("Reshape", rows, shape)


def attend(b: Builder, qkv: tuple[str, str, str], bias: str, head_dim: int) -> str:
    """Softmax(q k^T / sqrt d + bias) v."""
    query, key, value = qkv
    scores = b.op("MatMul", query, b.op("Transpose", key, perm=[0, 1, 3, 2]))
    scores = b.op("Add", b.op("Div", scores, b.constant(math.sqrt(head_dim))), bias)
    return b.op("MatMul", b.op("Softmax", scores, axis=-1), value)


def padding_bias(b: Builder, mask: str) -> str:
    """[batch, keys] of 0 and 1 to additive [batch, 1, 1, keys]."""
    wide = b.op("Cast", b.op("Unsqueeze", mask, b.constant([1, 2])), to=TensorProto.FLOAT)
    return b.op("Mul", b.op("Sub", b.constant(1.0), wide), b.constant(MASKED))


def causal_bias(b: Builder, seq: str, past: str | None, mask: str | None) -> str:
    """Additive [1 or batch, 1, seq, keys] from lengths int64 [1] and an optional key mask."""
    zero, one = b.constant(np.int64(0)), b.constant(np.int64(1))
    total = seq if past is None else b.op("Add", past, seq)
    keys = b.op("Range", zero, b.op("Squeeze", total), one)
    rows = b.op("Range", zero, b.op("Squeeze", seq), one)
    rows = rows if past is None else b.op("Add", rows, past)
    seen = b.op("LessOrEqual", keys, b.op("Unsqueeze", rows, b.constant([1])))
    seen = b.op("Unsqueeze", seen, b.constant([0, 1]))
    if mask is not None:
        wide = b.op("Unsqueeze", b.op("Cast", mask, to=TensorProto.BOOL), b.constant([1, 2]))
        seen = b.op("And", seen, wide)
    return b.op("Where", seen, b.constant(0.0), b.constant(MASKED))


def rotary_tables(b: Builder, positions: str, sizes: Sizes) -> tuple[str, str]:
    """Cosine and sine [batch, 1, seq, head_dim] of position_ids [batch, seq]."""
    exponents = np.arange(0, sizes.head_dim, 2, dtype=np.float64) / sizes.head_dim
    frequencies = (sizes.theta**-exponents).astype(np.float32)[None, None, :]
    column = b.op("Unsqueeze", b.op("Cast", positions, to=TensorProto.FLOAT), b.constant([2]))
    half = b.op("MatMul", column, b.constant(frequencies))
    angles = b.op("Concat", half, half, axis=-1)
    axis = b.constant([1])
    return (
        b.op("Unsqueeze", b.op("Cos", angles), axis),
        b.op("Unsqueeze", b.op("Sin", angles), axis),
    )


def rotate(b: Builder, x: str, tables: tuple[str, str], head_dim: int) -> str:
    """Rotary position embedding, halves swapped as Llama does."""
    middle, axis = b.constant([head_dim // 2]), b.constant([3])
    low = b.op("Slice", x, b.constant([0]), middle, axis)
    high = b.op("Slice", x, middle, b.constant([head_dim]), axis)
    swapped = b.op("Concat", b.op("Neg", high), low, axis=-1)
    return b.op("Add", b.op("Mul", x, tables[0]), b.op("Mul", swapped, tables[1]))


def repeat_heads(b: Builder, x: str, sizes: Sizes) -> str:
    """[batch, kv_heads, keys, head_dim] to [batch, heads, keys, head_dim]."""
    groups, head_dim = sizes.heads // sizes.kv_heads, sizes.head_dim
    batch, keys = dim(b, x, 0), dim(b, x, 2)
    head, group = b.constant([sizes.kv_heads]), b.constant([groups])
    wide = b.op("Concat", batch, head, group, keys, b.constant([head_dim]), axis=0)
    copies = b.op("Expand", b.op("Unsqueeze", x, b.constant([2])), wide)
    flat = b.op("Concat", batch, b.constant([sizes.heads]), keys, b.constant([head_dim]), axis=0)
    return b.op("Reshape", copies, flat)


def embed(b: Builder, ids: str, sizes: Sizes) -> str:
    """Token plus learnt position embedding, [batch, seq, hidden]."""
    token = b.op("Gather", b.weight("token.weight", (sizes.vocab, sizes.hidden), 0.04), ids)
    places = b.constant(np.arange(sizes.positions, dtype=np.int64)[None, :])
    here = b.op("Slice", places, b.constant([0]), dim(b, ids, 1), b.constant([1]))
    table = b.weight("position.weight", (sizes.positions, sizes.hidden), 0.02)
    return b.op("Add", token, b.op("Gather", table, here))
