"""The models on which the RTL of the core is compared with the simulators.

In:  nothing. Out: `Sample`s in a fixed order; each makes its onnx.ModelProto.
Raises: nothing.

Products of many shapes (one row to many, sizes that fill tiles and that do not), elementwise chains
and table functions, softmax, both norms, reductions and moves, attention, and whole layers: BERT's,
and Llama's in decode behind a filled cache and in prefill.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import onnx

from athena.workload.export import models
from athena.workload.export import parts as part
from athena.workload.export.parts import Builder, Sizes

PRECISIONS = ("int8", "bf16")
PRODUCTS = (
    *((1, 64, 64), (1, 256, 256), (1, 128, 512), (2, 300, 50), (4, 128, 128), (8, 32, 16)),
    *((16, 16, 16), (17, 33, 19), (24, 512, 8), (32, 64, 96), (33, 100, 70), (48, 200, 48)),
    *((64, 64, 64), (64, 256, 64), (100, 100, 100), (128, 64, 128), (3, 500, 7), (128, 256, 128)),
)
ROWS = ((8, 64), (33, 100), (64, 256))
ATTENTIONS = ((2, 16, 16), (1, 33, 24), (4, 32, 32), (2, 64, 64), (1, 100, 40))
LAYERS = (64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A model with its precision and the numbers of its symbolic dimensions."""

    name: str
    precision: str
    build: Callable[[Builder], None]
    dims: Mapping[str, int] = field(default_factory=dict)

    def model(self) -> onnx.ModelProto:
        """The model; equal names give equal weights."""
        builder = Builder(seed=zlib.crc32(self.name.encode()), weightless=False)
        self.build(builder)
        return builder.model(self.name)


def samples() -> tuple[Sample, ...]:
    """The whole set."""
    return (*_products(), *_rows(), *_attentions(), *_layers())


def _products() -> Iterator[Sample]:
    for m, k, n in PRODUCTS:
        for precision in PRECISIONS:
            build = partial(models.matmul, rows=m, inner=k, columns=n)
            yield Sample(name=f"gemm-{m}x{k}x{n}.{precision}", precision=precision, build=build)
    for precision in PRECISIONS:
        yield Sample(name=f"gemm-bias-relu.{precision}", precision=precision, build=_dense)


def _dense(b: Builder) -> None:
    """Two products with bias and an activation between them."""
    wide = b.op("Relu", part.linear(b, b.input("x", [24, 72]), "widen", (72, 150)))
    b.output("y", part.linear(b, wide, "narrow", (150, 40)), [24, 40])


def _chain(b: Builder, shape: tuple[int, int], kind: str) -> None:
    """One elementwise operator or chain on rows."""
    x, y = b.input("x", shape), b.input("y", shape)
    made = {
        "add": lambda: b.op("Add", x, y),
        "scale-shift": lambda: b.op("Sub", b.op("Mul", x, b.constant(0.75)), y),
        "relu-max": lambda: b.op("Max", b.op("Relu", x), y),
        "gelu": lambda: b.op("Add", part.gelu_erf(b, x), y),
        "swiglu": lambda: b.op("Mul", part.silu(b, x), y),
        "tanh": lambda: b.op("Tanh", b.op("Add", x, y)),
        "exp-sqrt": lambda: b.op("Sqrt", b.op("Add", b.op("Exp", x), b.op("Mul", y, y))),
        "divide": lambda: b.op("Div", x, b.op("Add", b.op("Abs", y), b.constant(0.5))),
    }[kind]()
    b.output("z", made, shape)


def _reduce(b: Builder, shape: tuple[int, int], kind: str) -> None:
    """One operator over the last axis of rows, or a move of them."""
    x = b.input("x", shape)
    flipped = shape[::-1] if kind == "transpose" else shape
    made = {
        "softmax": lambda: b.op("Softmax", x, axis=-1),
        "layer-norm": lambda: part.layer_norm(b, x, "norm", shape[1]),
        "rms-norm": lambda: part.rms_norm(b, x, "norm", shape[1]),
        "transpose": lambda: b.op("Transpose", x, perm=[1, 0]),
        "mean": lambda: b.op("Sub", x, b.op("ReduceMean", x, axes=[-1], keepdims=1)),
    }[kind]()
    b.output("y", made, flipped)


def _rows() -> Iterator[Sample]:
    chains = ("add", "scale-shift", "relu-max", "gelu", "swiglu", "tanh", "exp-sqrt", "divide")
    for number, kind in enumerate(chains):
        shape = ROWS[number % len(ROWS)]
        name = f"{kind}-{shape[0]}x{shape[1]}"
        yield Sample(name=name, precision="bf16", build=partial(_chain, shape=shape, kind=kind))
    for kind in ("softmax", "layer-norm", "rms-norm", "transpose", "mean"):
        for shape in ROWS:
            name = f"{kind}-{shape[0]}x{shape[1]}"
            build = partial(_reduce, shape=shape, kind=kind)
            yield Sample(name=name, precision="bf16", build=build)


def _attentions() -> Iterator[Sample]:
    for heads, seq, head_dim in ATTENTIONS:
        name = f"attention-{heads}x{seq}x{head_dim}"
        build = partial(models.attention, heads=heads, seq=seq, head_dim=head_dim)
        yield Sample(name=name, precision="bf16", build=build)


def _layers() -> Iterator[Sample]:
    decode, prefill = {"batch": 1, "seq": 1, "past": 31}, {"batch": 1, "seq": 12, "past": 0}
    for hidden in LAYERS:
        for precision in PRECISIONS:
            yield bert_layer(hidden, precision)
            yield llama_layer(hidden, precision, "decode", decode)
    for precision in PRECISIONS:
        yield llama_layer(LAYERS[0], precision, "prefill", prefill)


def bert_layer(hidden: int, precision: str) -> Sample:
    """Embedding and one encoder layer, 16 tokens."""
    sizes = Sizes(
        layers=1, hidden=hidden, heads=hidden // 32, kv_heads=hidden // 32, ffn=4 * hidden,
        vocab=100, positions=32,
    )  # fmt: skip
    return Sample(
        name=f"bert-layer-{hidden}.{precision}",
        precision=precision,
        build=partial(models.encoder, sizes=sizes),
        dims={"batch": 1, "seq": 16},
    )


def llama_layer(hidden: int, precision: str, phase: str, dims: Mapping[str, int]) -> Sample:
    """One decoder layer with grouped queries and a cache."""
    sizes = Sizes(
        layers=1, hidden=hidden, heads=hidden // 16, kv_heads=hidden // 32, ffn=3 * hidden, vocab=0,
        theta=10000.0,
    )  # fmt: skip
    return Sample(
        name=f"llama-{phase}-{hidden}.{precision}",
        precision=precision,
        build=partial(models.llama, sizes=sizes, cached=True),
        dims=dims,
    )
