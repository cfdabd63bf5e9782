"""One chip's share of a large Llama under tensor parallelism: an ONNX model without weights.

In:  `Share`: the model's hidden width, the chip's heads, key heads and part of the feed-forward.
Out: an onnx.ModelProto.

The sums over chips that follow the two projections back into the residual stream are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from athena.workload.export import parts as part
from athena.workload.export.parts import Builder, Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Shape of the share; `vocab` rows of the head (0: none) see the last position only."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int = 0
    theta: float = 500000.0


LLAMA_405B_16 = Share(
    layers=126, hidden=16384, heads=8, kv_heads=1, head_dim=128, ffn=3328, vocab=8016
)


def build_share(share: Share) -> onnx.ModelProto:
    """Prefill: token numbers in, the last position's logits out; dims `batch`, `seq`."""
    b = Builder(seed=0, weightless=True)
    # what `parts` reads of the sizes are heads, theta and the width of a head
    sizes = Sizes(
        layers=share.layers,
        hidden=share.heads * share.head_dim,
        heads=share.heads,
        kv_heads=share.kv_heads,
        ffn=share.ffn,
        vocab=0,
        theta=share.theta,
    )
    ids = b.input("input_ids", ["batch", "seq"], TensorProto.INT64)
    places = b.input("position_ids", ["batch", "seq"], TensorProto.INT64)
    x = b.op("Gather", b.weight("llama.token.weight", (128256, share.hidden), 0.5), ids)
    bias = part.causal_bias(b, part.dim(b, places, 1), None, None)
    tables = part.rotary_tables(b, places, sizes)
    for n in range(share.layers):
        x = _layer(b, x, (share, sizes), f"llama.layer.{n}", (bias, tables))
    last = b.op("Slice", x, b.constant([-1]), b.constant([2**31 - 1]), b.constant([1]))
    last = part.rms_norm(b, last, "llama.final.norm", share.hidden)
    if share.vocab:
        last = part.linear(b, last, "llama.head", (share.hidden, share.vocab))
    b.output("logits", last, ["batch", 1, share.vocab or share.hidden])
    return b.model("llama-share")


def _layer(
    b: Builder,
    x: str,
    of: tuple[Share, Sizes],
    at: str,
    context: tuple[str, tuple[str, str]],
) -> str:
    (share, sizes), (bias, tables), width = of, context, of[1].hidden
    normed = part.rms_norm(b, x, f"{at}.norm1", share.hidden)
    query, key, value = (
        part.split_heads(
            b,
            part.linear(b, normed, f"{at}.{p}", (share.hidden, heads * share.head_dim)),
            heads,
            share.head_dim,
        )
        for p, heads in (
            ("query", share.heads),
            ("key", share.kv_heads),
            ("value", share.kv_heads),
        )
    )
    query, key = (part.rotate(b, t, tables, share.head_dim) for t in (query, key))
    qkv = (query, part.repeat_heads(b, key, sizes), part.repeat_heads(b, value, sizes))
    mixed = part.join_heads(b, part.attend(b, qkv, bias, share.head_dim), width)
    x = b.op("Add", x, part.linear(b, mixed, f"{at}.mix", (width, share.hidden)))
    normed = part.rms_norm(b, x, f"{at}.norm2", share.hidden)
    gate, up = (
        part.linear(b, normed, f"{at}.{p}", (share.hidden, share.ffn)) for p in ("gate", "up")
    )
    down = part.linear(
        b, b.op("Mul", part.silu(b, gate), up), f"{at}.down", (share.ffn, share.hidden)
    )
    return b.op("Add", x, down)
