"""Canonical forms of onnxruntime's fused operators (com.microsoft), as its optimizer and optimum
write them.

In:  a Builder standing for the node.   Out: None, or the reason for leaving it to the host.
Raises: nothing.
Source: onnxruntime docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from compiler.graph.chip_ops import (
    ConcatAttrs,
    ElementwiseAttrs,
    Fn,
    GemmAttrs,
    NormKind,
    Op,
    ReduceKind,
    Step,
)
from compiler.graph.types import DType
from compiler.ops import attrs_microsoft as ms
from compiler.ops.microsoft import n_bits_weights
from compiler.passes.build import Builder
from compiler.passes.canon.attention import (
    Parts,
    append_cache,
    compare,
    cut,
    finish_attention,
    finish_rope,
    is_used,
    optional,
    reach,
    rope,
    select_mask,
    split_heads,
    table_rows,
)
from compiler.passes.canon.elementwise import finish_steps, swish
from compiler.passes.canon.linear import finish_norm, finish_product, gemm, swap_last
from compiler.passes.canon.types import DYNAMIC_INDEX, Canon


def biased_gelu(fn: Fn) -> Canon:
    """Gelu of x plus an optional bias."""

    def canon(b: Builder) -> str | None:
        x, bias = b.node.inputs[0], optional(b, 1)
        total = b.binary(Fn.ADD, x, bias) if bias else x
        finish_steps(b, [total], Step(fn=fn))
        return None

    return canon


def quick_gelu(b: Builder) -> str | None:
    """x·sigmoid(alpha·x)."""
    return swish(cast(ms.QuickGeluAttrs, b.node.attrs).alpha)(b)


def fused_matmul(b: Builder) -> str | None:
    """alpha·(A @ B) with transposed operands."""
    spec = cast(ms.FusedMatMulAttrs, b.node.attrs)
    x, y = b.node.inputs
    x = _turned(b, x, trans=spec.trans_a, batch=spec.trans_batch_a)
    y = _turned(b, y, trans=spec.trans_b, batch=spec.trans_batch_b)
    finish_product(b, x, y, GemmAttrs(alpha=spec.alpha))
    return None


def _turned(b: Builder, x: str, *, trans: int, batch: int) -> str:
    rank = len(b.shape(x))
    if batch and rank > 2:
        x = b.permute(x, [*range(1, rank - 1), 0, rank - 1])
    return swap_last(b, x) if trans and rank > 1 else x


def fused_gemm(b: Builder) -> str | None:
    """Gemm and an activation."""
    spec = cast(ms.FusedGemmAttrs, b.node.attrs)
    steps = {"Relu": Fn.RELU, "Tanh": Fn.TANH, "Sigmoid": Fn.SIGMOID}
    if spec.activation not in ("", *steps):
        return f"FusedGemm with {spec.activation}"
    if not spec.activation:
        return gemm(b)
    a, weight = b.node.inputs[:2]
    c = optional(b, 2) if spec.beta != 0.0 else ""
    a = swap_last(b, a) if spec.trans_a else a
    attrs = GemmAttrs(trans_b=bool(spec.trans_b), alpha=spec.alpha)
    product = b.emit(Op.GEMM, [a, weight], attrs, shape=b.shape(b.node.outputs[0]))
    if c:
        c = b.binary(Fn.MUL, c, spec.beta) if spec.beta != 1.0 else c
        product = b.binary(Fn.ADD, product, c)
    finish_steps(b, [product], Step(fn=steps[spec.activation]))
    return None


def skip_norm(kind: NormKind, *, bias_index: int) -> Canon:
    """Norm of x + skip (+ bias); the sum is an output of its own."""

    def canon(b: Builder) -> str | None:
        if is_used(b, 1) or is_used(b, 2):
            return "the statistics outputs of a normalisation"
        x, skip, gamma = b.node.inputs[:3]
        beta = optional(b, 3) if kind is NormKind.LAYER else ""
        bias = optional(b, bias_index)
        inputs = [x, skip, *([bias] if bias else [])]
        steps = tuple(Step(fn=Fn.ADD, operand=i) for i in range(1, len(inputs)))
        if is_used(b, 3):
            total = b.finish(Op.ELEMENTWISE, inputs, ElementwiseAttrs(steps=steps), index=3)
        else:
            total = b.steps(inputs, steps)
        eps = cast(ms.SkipNormAttrs, b.node.attrs).epsilon
        finish_norm(b, kind, eps, total, gamma, beta)
        return None

    return canon


def embed_norm(b: Builder) -> str | None:
    """Word, position and segment embeddings, summed and normalised."""
    ids, segments, words, positions, segment_table, gamma, beta = b.node.inputs[:7]
    rows = b.shape(ids)[1]
    total = table_rows(b, words, ids)
    places = optional(b, 8)
    if places:
        spread = b.expand(places, b.shape(ids))
        total = b.binary(Fn.ADD, total, table_rows(b, positions, spread))
    else:
        total = b.binary(Fn.ADD, total, b.slice_axis(positions, 0, 0, rows))
    if segments:
        total = b.binary(Fn.ADD, total, table_rows(b, segment_table, segments))
    if is_used(b, 1):
        _finish_lengths(b, optional(b, 7))
    if is_used(b, 2):
        b.finish(Op.VIEW, [total], index=2)
    finish_norm(
        b, NormKind.LAYER, cast(ms.EmbedNormAttrs, b.node.attrs).epsilon, total, gamma, beta
    )
    return None


def _finish_lengths(b: Builder, mask: str) -> None:
    """Output 1: how many mask entries are 1 in each row."""
    out = b.node.outputs[1]
    if not mask:
        zeros = b.constant(np.zeros(b.shape(out), np.int32), "zeros")
        b.finish(Op.VIEW, [zeros], index=1)
        return
    steps = [Step(fn=Fn.EQ, const=1.0)]
    ones = b.steps([b.steps([mask], steps, DType.BOOL)], (), DType.F32)
    total = b.reduce_last(ReduceKind.SUM, ones, keep=False)
    b.finish(Op.ELEMENTWISE, [total], ElementwiseAttrs(), index=1)


def key_mask(b: Builder, mask: str, keys: int, fill: float) -> str | None:
    """The additive form of a key mask: lengths, [B,T], [B,S,T]; None for other forms."""
    shape, batch = b.shape(mask), b.shape(mask)[0]
    if len(shape) == 1:
        places = b.constant(np.arange(keys, dtype=np.int32).reshape(1, 1, 1, keys), "places")
        return select_mask(b, compare(b, Fn.LT, places, b.view(mask, (batch, 1, 1, 1))), fill)
    views = {2: (batch, 1, 1, shape[-1]), 3: (batch, 1, *shape[1:])}
    if len(shape) not in views or shape[-1] != keys:
        return None
    kept = b.steps([mask], [Step(fn=Fn.GT, const=0.0)], DType.BOOL)
    return select_mask(b, b.view(kept, views[len(shape)]), fill)


def _masked_parts(b: Builder, parts: Parts, masks: tuple[str, str], fill: float) -> str | None:
    """Add a key mask and an additive bias to the parts; the reason where the mask has no additive
    form.
    """
    mask, extra = masks
    keys = b.shape(parts.k)[2]
    if mask:
        form = b.shape(mask)
        if len(form) == 1 and form[0] != b.shape(parts.q)[0]:
            return "a key mask of starts and ends"
        added = key_mask(b, mask, keys, fill)
        if added is None:
            return f"a key mask of shape {b.shape(mask)}"
        parts.masks.append(added)
    if extra:
        parts.masks.append(extra)
    return None


def multi_head(b: Builder) -> str | None:
    """MultiHeadAttention with separate query, key and value."""
    spec = cast(ms.MultiHeadAttentionAttrs, b.node.attrs)
    if is_used(b, 3):
        return "the scores output of MultiHeadAttention"
    names = list(b.node.inputs[:3])
    if optional(b, 3):
        flat = [i for i, name in enumerate(names) if len(b.shape(name)) == 3]
        pieces = cut(b, optional(b, 3), 0, [b.shape(names[i])[2] for i in flat])
        for index, piece in zip(flat, pieces, strict=True):
            names[index] = b.binary(Fn.ADD, names[index], piece)
    q, k, v = (split_heads(b, name, spec.num_heads) for name in names)
    past_k, past_v = optional(b, 6), optional(b, 7)
    k, v = append_cache(b, past_k, k, 1), append_cache(b, past_v, v, 2)
    parts = Parts(q=q, k=k, v=v, scale=_scale(spec.scale, b.shape(q)[3]))
    if spec.unidirectional:
        parts.causal_offset = b.shape(past_k)[2] if past_k else 0
    reason = _masked_parts(b, parts, (optional(b, 4), optional(b, 5)), spec.mask_filter_value)
    if reason is None:
        finish_attention(b, parts)
    return reason


def _scale(scale: float, size: int) -> float:
    return scale if scale else size**-0.5


def packed_attention(b: Builder) -> str | None:
    """Attention with one weight matrix for query, key and value."""
    spec = cast(ms.MsAttentionAttrs, b.node.attrs)
    data, weights, bias = b.node.inputs[0], b.node.inputs[1], optional(b, 2)
    width = b.shape(weights)[1]
    sizes = spec.qkv_hidden_sizes or (width // 3,) * 3
    shape = (*b.shape(data)[:2], width)
    product = b.emit(Op.GEMM, [data, weights, *([bias] if bias else [])], GemmAttrs(), shape=shape)
    q, k, v = (split_heads(b, part, spec.num_heads) for part in cut(b, product, 2, sizes))
    past = optional(b, 4)
    offset = b.shape(past)[3] if past else 0
    if past:
        k, v = (_after_past(b, past, which, x) for which, x in enumerate((k, v)))
    if is_used(b, 1):
        _finish_present(b, k, v)
    parts = Parts(q=q, k=k, v=v, scale=_scale(spec.scale, b.shape(q)[3]))
    if spec.unidirectional:
        parts.causal_offset = offset
    reason = _masked_parts(b, parts, (optional(b, 3), optional(b, 5)), spec.mask_filter_value)
    if reason is None:
        finish_attention(b, parts)
    return reason


def _after_past(b: Builder, past: str, which: int, new: str) -> str:
    shape = b.shape(past)
    old = b.view(b.slice_axis(past, 0, which, 1), shape[1:])
    size = list(b.shape(new))
    size[2] += shape[3]
    return b.emit(Op.CONCAT, [old, new], ConcatAttrs(axis=2), shape=size)


def _finish_present(b: Builder, k: str, v: str) -> None:
    both = [b.view(x, (1, *b.shape(x))) for x in (k, v)]
    b.finish(Op.CONCAT, both, ConcatAttrs(axis=0), index=1)


def grouped_query(b: Builder) -> str | None:
    """GroupQueryAttention whose cache holds exactly the past: keys grow by the new rows."""
    spec = cast(ms.GroupQueryAttentionAttrs, b.node.attrs)
    q, k, v = _grouped_parts(b, spec)
    past_k, past_v = optional(b, 3), optional(b, 4)
    total = b.const(b.node.inputs[6])
    rows, before = b.shape(q)[2], b.shape(past_k)[2] if past_k else 0
    if total is None:
        return DYNAMIC_INDEX
    keys = before + rows
    if int(total.ravel()[0]) != keys:
        return f"a cache of {before} rows for {int(total.ravel()[0])} keys, {rows} of them new"
    if spec.do_rotary:
        places = optional(b, 9)
        if not places:
            spread = np.arange(before, keys, dtype=np.int32)
            places = b.constant(np.tile(spread, (b.shape(q)[0], 1)), "places")
        tables = [table_rows(b, b.node.inputs[index], places) for index in (7, 8)]
        turn = bool(spec.rotary_interleaved)
        q, k = (rope(b, x, tables, interleaved=turn) for x in (q, k))
    k, v = append_cache(b, past_k, k, 1), append_cache(b, past_v, v, 2)
    parts = Parts(q=q, k=k, v=v, scale=_scale(spec.scale, b.shape(q)[3]))
    parts.causal_offset, parts.softcap = before, spec.softcap or None
    parts.masks.append(_valid_keys(b, optional(b, 5), keys))
    if spec.local_window_size >= 0:
        parts.masks.append(_local_mask(b, (rows, keys), before - spec.local_window_size))
    if optional(b, 10):
        parts.masks.append(optional(b, 10))
    finish_attention(b, parts)
    return None


def _grouped_parts(b: Builder, spec: ms.GroupQueryAttentionAttrs) -> tuple[str, str, str]:
    query, key, value = (optional(b, index) for index in range(3))
    kv = spec.kv_num_heads
    if key:
        heads = ((query, spec.num_heads), (key, kv), (value, kv))
        q, k, v = (split_heads(b, x, count) for x, count in heads)
        return q, k, v
    whole = split_heads(b, query, spec.num_heads + 2 * kv)
    q, k, v = cut(b, whole, 1, [spec.num_heads, kv, kv])
    return q, k, v


def _valid_keys(b: Builder, last: str, keys: int) -> str:
    """Keys up to each entry's last one only (seqlens_k holds length − 1)."""
    places = b.constant(np.arange(keys, dtype=np.int32).reshape(1, 1, 1, keys), "places")
    column = b.view(last, (b.edit.value(last).elems, 1, 1, 1))
    return select_mask(b, compare(b, Fn.LE, places, column))


def _local_mask(b: Builder, size: tuple[int, int], limit: int) -> str:
    """Keys after i + limit only."""
    near = b.steps([reach(b, *size)], [Step(fn=Fn.GT, const=float(limit))], DType.BOOL)
    return select_mask(b, near)


def rotary(b: Builder) -> str | None:
    """RotaryEmbedding with caches looked up at position_ids [B, S] or from one first position."""
    spec = cast(ms.MsRotaryAttrs, b.node.attrs)
    x, places, cos, sin = b.node.inputs
    shape = b.shape(x)
    rows = shape[1] if len(shape) == 3 else shape[2]
    size = shape[-1] if len(shape) == 4 else _head_size(b, spec, shape[2])
    if len(b.shape(places)) < 2:
        steps = b.constant(np.arange(rows, dtype=np.int32).reshape(1, rows), "steps")
        places = b.binary(Fn.ADD, steps, b.view(places, (1, 1)))
    tables = [table_rows(b, table, places) for table in (cos, sin)]
    heads = shape[2] // size if len(shape) == 3 else 0
    finish_rope(b, x, tables, interleaved=bool(spec.interleaved), heads=heads)
    return None


def _head_size(b: Builder, spec: ms.MsRotaryAttrs, hidden: int) -> int:
    return hidden // spec.num_heads if spec.num_heads else 2 * b.shape(b.node.inputs[2])[1]


def matmul_n_bits(b: Builder) -> str | None:
    """MatMulNBits: the weights are decoded at compile time."""
    spec = cast(ms.MatMulNBitsAttrs, b.node.attrs)
    parts = [b.const(name) if name else None for name in b.node.inputs]
    if parts[1] is None or parts[2] is None:
        return "block-quantised weights that are not constant"
    weights = b.constant(n_bits_weights(spec, parts), "weights")
    bias = optional(b, 5)
    x = b.node.inputs[0]
    b.finish(Op.GEMM, [x, weights, *([bias] if bias else [])], GemmAttrs(trans_b=True))
    return None


ROWS: dict[str, Canon] = {
    "Gelu": biased_gelu(Fn.GELU),
    "BiasGelu": biased_gelu(Fn.GELU),
    "FastGelu": biased_gelu(Fn.GELU_TANH),
    "QuickGelu": quick_gelu,
    "FusedMatMul": fused_matmul,
    "FusedGemm": fused_gemm,
    "SkipLayerNormalization": skip_norm(NormKind.LAYER, bias_index=4),
    "SkipSimplifiedLayerNormalization": skip_norm(NormKind.RMS, bias_index=3),
    "EmbedLayerNormalization": embed_norm,
    "MultiHeadAttention": multi_head,
    "Attention": packed_attention,
    "GroupQueryAttention": grouped_query,
    "RotaryEmbedding": rotary,
    "MatMulNBits": matmul_n_bits,
}
