"""Make models of real shapes with onnx alone: BERT, GPT-2, Llama-3, GEMM, attention.

In:  a preset's name, options (layers, sizes, seed, weightless).
Out: an onnx.ModelProto (fp32, opset 17, batch and sequence symbolic), nodes as torch writes them.
Raises: ValueError for an unknown preset, a wrong number of sizes, or a file above protobuf's 2 GiB.

Weights are seeded noise of the scale trained ones have (1/sqrt(inputs); projections back into the
residual stream smaller by sqrt(2 layers)), so activations neither vanish nor explode.  A weightless
model has initialisers with dims and type but no data, and says so in its metadata (weightless = 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import onnx
from onnx import TensorProto

from athena.workload.export import parts as part
from athena.workload.export.parts import Builder, Sizes

BERT_BASE = Sizes(
    layers=12, hidden=768, heads=12, kv_heads=12, ffn=3072, vocab=30522, positions=512
)
GPT2_SMALL = Sizes(
    layers=12, hidden=768, heads=12, kv_heads=12, ffn=3072, vocab=50257, positions=1024
)
LLAMA3_8B = Sizes(
    layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, vocab=128256, theta=500000.0
)
LLAMA3_8B_LAYER = replace(LLAMA3_8B, layers=1, vocab=0)


# --- models -----------------------------------------------------------------------------------


def encoder(b: Builder, sizes: Sizes) -> None:
    """BERT: LayerNorm after each sum, erf-GELU; returns last_hidden_state."""
    hidden = sizes.hidden
    ids, mask, types = (
        b.input(name, ["batch", "seq"], TensorProto.INT64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    kinds = b.op("Gather", b.weight("type.weight", (2, hidden), 0.02), types)
    x = part.layer_norm(b, b.op("Add", part.embed(b, ids, sizes), kinds), "embedding.norm", hidden)
    bias = part.padding_bias(b, mask)
    for n in range(sizes.layers):
        at = f"layer.{n}"
        query, key, value = (
            part.split_heads(
                b, part.linear(b, x, f"{at}.{p}", (hidden, hidden)), sizes.heads, sizes.head_dim
            )
            for p in ("query", "key", "value")
        )
        mixed = part.join_heads(
            b, part.attend(b, (query, key, value), bias, sizes.head_dim), hidden
        )
        x = b.op("Add", part.linear(b, mixed, f"{at}.mix", (hidden, hidden)), x)
        x = part.layer_norm(b, x, f"{at}.norm1", hidden)
        wide = part.gelu_erf(b, part.linear(b, x, f"{at}.widen", (hidden, sizes.ffn)))
        x = b.op("Add", part.linear(b, wide, f"{at}.narrow", (sizes.ffn, hidden)), x)
        x = part.layer_norm(b, x, f"{at}.norm2", hidden)
    b.output("last_hidden_state", x, ["batch", "seq", hidden])


def decoder(b: Builder, sizes: Sizes) -> None:
    """GPT-2: LayerNorm before each part, tanh-GELU, causal, head tied to the embedding."""
    hidden, back = sizes.hidden, 1 / math.sqrt(2 * sizes.layers)
    ids = b.input("input_ids", ["batch", "seq"], TensorProto.INT64)
    x, bias = part.embed(b, ids, sizes), part.causal_bias(b, part.dim(b, ids, 1), None, None)
    for n in range(sizes.layers):
        at = f"layer.{n}"
        normed = part.layer_norm(b, x, f"{at}.norm1", hidden)
        joint = part.linear(b, normed, f"{at}.query_key_value", (hidden, 3 * hidden))
        parts = b.split("Split", 3, joint, b.constant([hidden] * 3), axis=2)
        query, key, value = (part.split_heads(b, p, sizes.heads, sizes.head_dim) for p in parts)
        mixed = part.join_heads(
            b, part.attend(b, (query, key, value), bias, sizes.head_dim), hidden
        )
        x = b.op("Add", x, part.linear(b, mixed, f"{at}.mix", (hidden, hidden), back))
        normed = part.layer_norm(b, x, f"{at}.norm2", hidden)
        wide = part.gelu_tanh(b, part.linear(b, normed, f"{at}.widen", (hidden, sizes.ffn)))
        x = b.op("Add", x, part.linear(b, wide, f"{at}.narrow", (sizes.ffn, hidden), back))
    head = b.op("Transpose", "token.weight", perm=[1, 0])
    logits = b.op("MatMul", part.layer_norm(b, x, "final.norm", hidden), head)
    b.output("logits", logits, ["batch", "seq", sizes.vocab])


def llama(b: Builder, sizes: Sizes, *, cached: bool) -> None:
    """Llama: RMSNorm, rotary positions, grouped-query attention, SwiGLU; KV cache if `cached`.

    Without a vocabulary the model takes `inputs_embeds` and returns the residual stream
    `hidden_states`: neither final norm nor head.
    """
    total = "past + seq" if cached else "seq"
    kv_shape: list[int | str] = ["batch", sizes.kv_heads, "past", sizes.head_dim]
    if sizes.vocab:
        ids = b.input("input_ids", ["batch", "seq"], TensorProto.INT64)
        x = b.op("Gather", b.weight("llama.token.weight", (sizes.vocab, sizes.hidden), 0.5), ids)
    else:
        x = b.input("inputs_embeds", ["batch", "seq", sizes.hidden])
    mask = b.input("attention_mask", ["batch", total], TensorProto.INT64)
    places = b.input("position_ids", ["batch", "seq"], TensorProto.INT64)
    pairs = [
        tuple(b.input(f"past_key_values.{n}.{p}", kv_shape) for p in ("key", "value"))
        for n in range(sizes.layers if cached else 0)
    ]
    past = part.dim(b, pairs[0][0], 2) if cached else None
    bias = part.causal_bias(b, part.dim(b, places, 1), past, mask)
    tables = part.rotary_tables(b, places, sizes)
    present = []
    for n in range(sizes.layers):
        x, key, value = llama_layer(b, x, sizes, n, (bias, tables, pairs[n] if cached else None))
        present.append((key, value))
    if sizes.vocab:
        x = part.rms_norm(b, x, "llama.final.norm", sizes.hidden)
        x = part.linear(b, x, "llama.head", (sizes.hidden, sizes.vocab))
    name = "logits" if sizes.vocab else "hidden_states"
    b.output(name, x, ["batch", "seq", sizes.vocab or sizes.hidden])
    for n, pair in enumerate(present if cached else ()):
        for label, tensor in zip(("key", "value"), pair, strict=True):
            b.output(f"present.{n}.{label}", tensor, [*kv_shape[:2], total, sizes.head_dim])


def llama_layer(
    b: Builder,
    x: str,
    sizes: Sizes,
    n: int,
    context: tuple[str, tuple[str, str], tuple[str, ...] | None],
) -> tuple[str, str, str]:
    """Return the residual stream after layer `n`, and its key and value with the past before."""
    bias, tables, past = context
    at, hidden, head_dim = f"llama.layer.{n}", sizes.hidden, sizes.head_dim
    back = 1 / math.sqrt(2 * sizes.layers)
    normed = part.rms_norm(b, x, f"{at}.norm1", hidden)
    query, key, value = (
        part.split_heads(
            b, part.linear(b, normed, f"{at}.{p}", (hidden, heads * head_dim)), heads, head_dim
        )
        for p, heads in (
            ("query", sizes.heads),
            ("key", sizes.kv_heads),
            ("value", sizes.kv_heads),
        )
    )
    query, key = (part.rotate(b, t, tables, head_dim) for t in (query, key))
    if past is not None:
        key = b.op("Concat", past[0], key, axis=2)
        value = b.op("Concat", past[1], value, axis=2)
    qkv = (query, part.repeat_heads(b, key, sizes), part.repeat_heads(b, value, sizes))
    mixed = part.join_heads(b, part.attend(b, qkv, bias, head_dim), hidden)
    x = b.op("Add", x, part.linear(b, mixed, f"{at}.mix", (hidden, hidden), back))
    normed = part.rms_norm(b, x, f"{at}.norm2", hidden)
    gate, up = (part.linear(b, normed, f"{at}.{p}", (hidden, sizes.ffn)) for p in ("gate", "up"))
    wide = b.op("Mul", part.silu(b, gate), up)
    down = part.linear(b, wide, f"{at}.down", (sizes.ffn, hidden), back)
    return b.op("Add", x, down), key, value


def matmul(b: Builder, rows: int, inner: int, columns: int) -> None:
    """Product of an input [rows, inner] and a weight [inner, columns]."""
    weight = b.weight("weight", (inner, columns), inner**-0.5)
    product = b.op("MatMul", b.input("x", [rows, inner]), weight)
    b.output("y", product, [rows, columns])


def attention(b: Builder, heads: int, seq: int, head_dim: int) -> None:
    """Causal attention of one sequence: inputs and output [1, heads, seq, head_dim]."""
    shape = [1, heads, seq, head_dim]
    query, key, value = (b.input(name, shape) for name in ("query", "key", "value"))
    bias = part.causal_bias(b, b.constant([seq]), None, None)
    b.output("y", part.attend(b, (query, key, value), bias, head_dim), shape)


# --- presets ----------------------------------------------------------------------------------

TRANSFORMERS: dict[str, tuple[Sizes, Callable[[Builder, Sizes], None]]] = {
    "bert-base": (BERT_BASE, encoder),
    "gpt2": (GPT2_SMALL, decoder),
    "llama3-8b": (LLAMA3_8B, partial(llama, cached=False)),
    "llama3-8b-kv": (LLAMA3_8B, partial(llama, cached=True)),
    "llama3-8b-layer": (LLAMA3_8B_LAYER, partial(llama, cached=False)),
    "llama3-8b-layer-kv": (LLAMA3_8B_LAYER, partial(llama, cached=True)),
}
KERNELS: dict[str, tuple[tuple[int, int, int], Callable[[Builder, int, int, int], None]]] = {
    "matmul": ((512, 4096, 4096), matmul),
    "attention": ((32, 2048, 128), attention),
}


def build_transformer(
    build: Callable[[Builder, Sizes], None],
    sizes: Sizes,
    *,
    weightless: bool = False,
    seed: int = 0,
) -> onnx.ModelProto:
    """Return one of the transformers above at any sizes."""
    builder = Builder(seed=seed, weightless=weightless)
    build(builder, sizes)
    return builder.model("transformer")


def preset_names() -> tuple[str, ...]:
    """Names that `build_preset` takes."""
    return (*TRANSFORMERS, *KERNELS)


def build_preset(
    name: str,
    *,
    layers: int | None = None,
    sizes: Sequence[int] | None = None,
    weightless: bool = False,
    seed: int = 0,
) -> onnx.ModelProto:
    """Return the preset `name`.

    `layers` replaces a transformer's depth; `sizes` are (rows, inner, columns) of `matmul` and
    (heads, seq, head_dim) of `attention`.  ValueError for an unknown name or wrong sizes.
    """
    if name in TRANSFORMERS:
        if sizes is not None:
            raise ValueError(f"{name} takes layers, not sizes")
        shape, build = TRANSFORMERS[name]
        shape = shape if layers is None else replace(shape, layers=layers)
        return build_transformer(build, shape, weightless=weightless, seed=seed)
    if name not in KERNELS:
        raise ValueError(
            f"unknown preset {name!r}; known are {', '.join((*TRANSFORMERS, *KERNELS))}"
        )
    default, kernel = KERNELS[name]
    chosen = tuple(default if sizes is None else sizes)
    if len(chosen) != 3 or min(chosen) < 1 or layers is not None:
        raise ValueError(f"{name} takes three sizes above zero and no layers")
    builder = Builder(seed=seed, weightless=weightless)
    kernel(builder, *chosen)
    return builder.model(name)
