"""onnxruntime's attention operators (com.microsoft): rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError (packed or ragged forms that the
project does not take).
Source: onnxruntime docs/ContribOperators.md; the CPU kernels where that is silent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.graph.types import Array, Value
from compiler.ops import attrs_microsoft as m
from compiler.ops.arithmetic import narrow, widen
from compiler.ops.attention import (
    at_positions,
    attend,
    causal_bias,
    join_heads,
    rotate,
    split_heads,
)
from compiler.ops.operands import (
    array,
    checked,
    constant,
    maybe_array,
    operand,
    optional,
    same_dtype,
    scalar,
    takes_floats,
)
from compiler.ops.types import Arrays, Operands, OpRow, RuleError, Types

_MS = "com.microsoft"


def _key_bias(mask: Array, shape: tuple[int, int, int], filler: float) -> Array:
    """Additive bias of a key mask: lengths [B] (or ends then starts [2B]), [B,T], [B,S,T] or
    [B,1,S,T]; shape (B, S, T).
    """
    batch, _, total = shape
    if mask.ndim == 1 and mask.size in (batch, 2 * batch):
        places = np.arange(total)[None, :]
        keep = places < mask[:batch, None]
        if mask.size == 2 * batch:
            keep &= places >= mask[batch:, None]
        keep = keep[:, None, None, :]
    elif mask.ndim == 2:
        keep = (mask > 0)[:, None, None, :]
    elif mask.ndim == 3:
        keep = (mask > 0)[:, None, :, :]
    else:
        raise RuleError(f"a mask of shape {list(mask.shape)} is not supported")
    if keep.shape[-1] != total:
        raise RuleError(f"mask {list(mask.shape)} does not cover {total} keys")
    return np.where(keep, np.float32(0), np.float32(filler))


def _scale(scale: float, size: int) -> float:
    return scale if scale else size**-0.5


def _heads3(value: Value, heads: int) -> tuple[int, int, int]:
    """Batch, sequence, head size of a [batch, sequence, hidden] operand."""
    if len(value.shape) != 3 or heads < 1 or value.shape[2] % heads:
        raise RuleError(f"{list(value.shape)} cannot be split over {heads} heads")
    return value.shape[0], value.shape[1], value.shape[2] // heads


def _multi_head_type(attrs: m.MultiHeadAttentionAttrs, operands: Operands) -> Types:
    """Query, key and value as [B,S,hidden]; key and value may be [B,heads,T,size] instead."""
    query, key, value = (operand(operands, index) for index in range(3))
    batch, rows, size = _heads3(query, attrs.num_heads)
    shapes = []
    for name, part in (("key", key), ("value", value)):
        if len(part.shape) == 4:
            shapes.append((part.shape[0], part.shape[2], part.shape[3]))
        elif len(part.shape) == 3:
            shapes.append(_heads3(part, attrs.num_heads))
        else:
            raise RuleError(f"packed {name} {list(part.shape)} is not supported")
    total = shapes[0][1] + _past_length(attrs, operands, batch, (size, shapes[1][2]))
    if shapes[0] != (batch, shapes[1][1], size) or shapes[1][0] != batch:
        raise RuleError(f"{list(query.shape)}, {list(key.shape)}, {list(value.shape)} do not fit")
    dtype, heads = same_dtype([query, key, value]), attrs.num_heads
    return (
        checked(dtype, (batch, rows, heads * shapes[1][2])),
        checked(dtype, (batch, heads, total, size)),
        checked(dtype, (batch, heads, total, shapes[1][2])),
        checked(dtype, (batch, heads, rows, total)),
    )


def _past_length(
    attrs: m.MultiHeadAttentionAttrs, operands: Operands, batch: int, sizes: tuple[int, int]
) -> int:
    """Rows of past_key and past_value [batch, heads, past, size], 0 without them."""
    length = 0
    for index, size in zip((6, 7), sizes, strict=True):
        past = optional(operands, index)
        if (past is None) != (optional(operands, 6) is None):
            raise RuleError("past_key and past_value come together")
        if past is None:
            continue
        length = past.shape[2] if index == 6 and len(past.shape) == 4 else length
        if past.shape != (batch, attrs.num_heads, length, size):
            raise RuleError(f"input {index} {list(past.shape)} does not fit")
    return length


def _multi_head(attrs: m.MultiHeadAttentionAttrs, arrays: Arrays) -> tuple[Array, ...]:
    query, key, value, bias = (maybe_array(arrays, index) for index in range(4))
    if query is None or key is None or value is None:
        raise RuleError("query, key and value must be separate")
    dtype, heads = query.dtype, attrs.num_heads
    parts = [widen(x) for x in (query, key, value)]
    if bias is not None:
        cuts = np.cumsum([x.shape[-1] for x in parts if x.ndim == 3])[:-1]
        pieces = np.split(widen(bias), cuts)
        parts = [x + b for x, b in zip(parts, pieces, strict=True)]
    q, k, v = (split_heads(x, heads) if x.ndim == 3 else x for x in parts)
    past_k, past_v = maybe_array(arrays, 6), maybe_array(arrays, 7)
    past = 0 if past_k is None else past_k.shape[2]
    if past_k is not None and past_v is not None:
        k = np.concatenate([widen(past_k), k], axis=2)
        v = np.concatenate([widen(past_v), v], axis=2)
    masks = (maybe_array(arrays, 4), maybe_array(arrays, 5))
    total = _bias(attrs, masks, (q.shape[0], q.shape[2], k.shape[2]), past)
    scores = attend(q, k, v, total, _scale(attrs.scale, q.shape[3]))
    output = join_heads(scores.output)
    return tuple(narrow(x, dtype) for x in (output, k, v, scores.stages[0]))


def _bias(
    attrs: Any, masks: tuple[Array | None, Array | None], shape: tuple[int, int, int], past: int
) -> Array | None:
    """Key mask, additive bias and causality (finite, as onnxruntime: a fully masked row stays a
    mean).
    """
    mask, extra = masks
    total: Array | None = None if extra is None else widen(extra)
    if mask is not None:
        keys = _key_bias(mask, shape, attrs.mask_filter_value)
        total = keys if total is None else total + keys
    if attrs.unidirectional:
        causal = causal_bias(shape[1], shape[2], past, np.dtype(np.float32))
        total = causal if total is None else total + causal
    return total


def _no_ring(_attrs: Any, operands: Operands) -> bool:
    """past_sequence_length and cache_indirection (shared cache buffers, beams) must be absent."""
    return optional(operands, 8) is None and optional(operands, 9) is None


def _packed_sizes(attrs: m.MsAttentionAttrs, width: int) -> tuple[int, int, int]:
    if attrs.qkv_hidden_sizes:
        sizes = attrs.qkv_hidden_sizes
        if len(sizes) != 3 or sum(sizes) != width or min(sizes) < 1 or sizes[0] != sizes[1]:
            raise RuleError(f"qkv_hidden_sizes {list(sizes)} do not divide {width}")
        return sizes[0], sizes[1], sizes[2]
    if width % 3:
        raise RuleError(f"{width} weight columns are not three equal parts")
    return width // 3, width // 3, width // 3


def _packed_type(attrs: m.MsAttentionAttrs, operands: Operands) -> Types:
    data, weights, past = operand(operands, 0), operand(operands, 1), optional(operands, 4)
    if len(data.shape) != 3 or len(weights.shape) != 2 or weights.shape[0] != data.shape[2]:
        raise RuleError(f"{list(data.shape)} does not multiply {list(weights.shape)}")
    hidden, _, hidden_v = _packed_sizes(attrs, weights.shape[1])
    if attrs.num_heads < 1 or hidden % attrs.num_heads or hidden_v % attrs.num_heads:
        raise RuleError(f"{hidden} features cannot be split over {attrs.num_heads} heads")
    batch, rows, size = data.shape[0], data.shape[1], hidden // attrs.num_heads
    before = 0
    if past is not None:
        before = past.shape[3] if len(past.shape) == 5 else -1
        if past.shape != (2, batch, attrs.num_heads, before, size):
            raise RuleError(f"past {list(past.shape)} does not fit")
    dtype = same_dtype([data, weights])
    return (
        checked(dtype, (batch, rows, hidden_v)),
        checked(dtype, (2, batch, attrs.num_heads, before + rows, size)),
    )


def _packed(attrs: m.MsAttentionAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, weights, bias = array(arrays, 0), array(arrays, 1), maybe_array(arrays, 2)
    product = np.matmul(widen(data), widen(weights))
    if bias is not None:
        product = product + widen(bias)
    sizes = _packed_sizes(attrs, weights.shape[1])
    parts = np.split(product, np.cumsum(sizes)[:-1], axis=-1)
    q, k, v = (split_heads(part, attrs.num_heads) for part in parts)
    past, before = maybe_array(arrays, 4), 0
    if past is not None:
        before = past.shape[3]
        k = np.concatenate([widen(past[0]), k], axis=2)
        v = np.concatenate([widen(past[1]), v], axis=2)
    masks = (maybe_array(arrays, 3), maybe_array(arrays, 5))
    total = _bias(attrs, masks, (q.shape[0], q.shape[2], k.shape[2]), before)
    scores = attend(q, k, v, total, _scale(attrs.scale, q.shape[3]))
    output = narrow(join_heads(scores.output), data.dtype)
    if k.shape != v.shape:
        return (output,)
    return output, narrow(np.stack([k, v]), data.dtype)


def _plain_packed(attrs: m.MsAttentionAttrs, operands: Operands) -> bool:
    """do_rotary and past_present_share_buffer must be 0, past_sequence_length absent."""
    shared = attrs.past_present_share_buffer or optional(operands, 6) is not None
    return not attrs.do_rotary and not shared


def _grouped_sizes(attrs: m.GroupQueryAttentionAttrs, operands: Operands) -> tuple[int, int, int]:
    """Batch, query rows, head size."""
    query, key = operand(operands, 0), optional(operands, 1)
    packed = key is None
    heads = attrs.num_heads + (2 * attrs.kv_num_heads if packed else 0)
    if attrs.kv_num_heads < 1 or attrs.num_heads % attrs.kv_num_heads:
        raise RuleError(f"{attrs.num_heads} query heads over {attrs.kv_num_heads} key heads")
    batch, rows, size = _heads3(query, heads)
    for index in (1, 2):
        part = optional(operands, index)
        if packed == (part is not None):
            raise RuleError("key and value come together")
        if part is not None and part.shape != (batch, rows, attrs.kv_num_heads * size):
            raise RuleError(f"input {index} {list(part.shape)} does not fit {list(query.shape)}")
    return batch, rows, size


def _grouped_type(attrs: m.GroupQueryAttentionAttrs, operands: Operands) -> Types:
    """The cache grows to total_sequence_length, which must be constant, or keeps its capacity if
    that is larger.
    """
    batch, rows, size = _grouped_sizes(attrs, operands)
    past = optional(operands, 3)
    total = scalar(constant(operands, 6, "total_sequence_length"), "total_sequence_length")
    capacity = 0
    if past is not None:
        capacity = past.shape[2] if len(past.shape) == 4 else -1
        if past.shape != (batch, attrs.kv_num_heads, capacity, size):
            raise RuleError(f"past_key {list(past.shape)} does not fit")
        if operand(operands, 4).shape != past.shape:
            raise RuleError("past_key and past_value differ in shape")
    cache = (batch, attrs.kv_num_heads, max(total, capacity), size)
    dtype = operand(operands, 0).dtype
    return (
        checked(dtype, (batch, rows, attrs.num_heads * size)),
        checked(dtype, cache),
        checked(dtype, cache),
    )


def _grouped_parts(attrs: m.GroupQueryAttentionAttrs, arrays: Arrays) -> list[Array]:
    query, key, value = (maybe_array(arrays, index) for index in range(3))
    if query is None:
        raise RuleError("query is missing")
    if key is None or value is None:
        whole = split_heads(widen(query), attrs.num_heads + 2 * attrs.kv_num_heads)
        cuts = [attrs.num_heads, attrs.num_heads + attrs.kv_num_heads]
        return np.split(whole, cuts, axis=1)
    kv = attrs.kv_num_heads
    return [split_heads(widen(x), n) for x, n in ((query, attrs.num_heads), (key, kv), (value, kv))]


def _grouped(attrs: m.GroupQueryAttentionAttrs, arrays: Arrays) -> tuple[Array, ...]:
    """Every batch entry has its own length seqlens_k + 1; its new keys follow its past ones."""
    q, k, v = _grouped_parts(attrs, arrays)
    lengths = array(arrays, 5).reshape(-1).astype(np.int64) + 1
    total, rows = scalar(array(arrays, 6), "total_sequence_length"), q.shape[2]
    first = rows == total
    starts = np.zeros_like(lengths) if first else lengths - rows
    past_k, past_v = maybe_array(arrays, 3), maybe_array(arrays, 4)
    if attrs.do_rotary:
        q, k = (_turned(attrs, arrays, x, starts) for x in (q, k))
    room = max(total, 0 if past_k is None else past_k.shape[2])
    if starts.min(initial=0) < 0 or (starts + rows).max(initial=0) > room:
        raise RuleError(f"seqlens_k {lengths.tolist()} does not fit {rows} rows and {room} keys")
    keys, values = (_appended(p, x, starts, room) for p, x in ((past_k, k), (past_v, v)))
    bias = causal_bias(rows, room, starts, np.dtype(np.float32))
    if attrs.local_window_size >= 0:
        reach = np.arange(room)[None, :] - np.arange(rows)[:, None]
        near = reach[None, None] > starts.reshape(-1, 1, 1, 1) - attrs.local_window_size
        bias = np.where(near, bias, np.float32(-np.inf))
    extra = maybe_array(arrays, 10)
    if extra is not None:
        pad = [(0, 0)] * (extra.ndim - 1) + [(0, room - extra.shape[-1])]
        bias = bias + np.pad(widen(extra), pad)
    scale = _scale(attrs.scale, q.shape[3])
    scores = attend(q, keys, values, bias, scale, attrs.softcap)
    dtype = array(arrays, 0).dtype
    return tuple(narrow(x, dtype) for x in (join_heads(scores.output), keys, values))


def _appended(past: Array | None, new: Array, starts: Array, room: int) -> Array:
    cache = np.zeros((*new.shape[:2], room, new.shape[3]), dtype=new.dtype)
    for entry, start in enumerate(starts.tolist()):
        if past is not None:
            kept = min(start, past.shape[2])
            cache[entry, :, :kept] = widen(past[entry, :, :kept])
        cache[entry, :, start : start + new.shape[2]] = new[entry]
    return cache


def _turned(attrs: m.GroupQueryAttentionAttrs, arrays: Arrays, x: Array, starts: Array) -> Array:
    given = maybe_array(arrays, 9)
    places = starts[:, None] + np.arange(x.shape[2])[None, :] if given is None else given
    cos, sin = (widen(at_positions(array(arrays, i), places))[:, None] for i in (7, 8))
    return rotate(x, cos, sin, interleaved=bool(attrs.rotary_interleaved))


def _plain_grouped(attrs: m.GroupQueryAttentionAttrs, operands: Operands) -> bool:
    """A plain causal float cache: neither sinks, quantised or sliding caches, norms of q and k, nor
    ragged queries.
    """
    plain = attrs.k_quant_type == attrs.v_quant_type == "NONE" and not attrs.kv_cache_bit_width
    flags = attrs.smooth_softmax or attrs.qk_output or attrs.sliding_window_cache
    extras = any(optional(operands, index) is not None for index in range(11, 17))
    return plain and not flags and not extras and attrs.causal == 1


def _ms_rotary_type(attrs: m.MsRotaryAttrs, operands: Operands) -> Types:
    data, cos = operand(operands, 0), operand(operands, 2)
    if len(data.shape) not in (3, 4) or len(cos.shape) != 2:
        raise RuleError(f"needs 3 or 4 dimensions and a cache matrix, not {list(data.shape)}")
    if len(data.shape) == 3 and data.shape[2] % _ms_head_size(attrs, data.shape[2], cos.shape[1]):
        raise RuleError(f"{data.shape[2]} features are not whole heads")
    return (checked(data.dtype, data.shape),)


def _ms_head_size(attrs: m.MsRotaryAttrs, hidden: int, half: int) -> int:
    """Head size: hidden over num_heads for partial rotation, else twice the cache's width."""
    size = hidden // attrs.num_heads if attrs.num_heads > 0 else 2 * half
    if size < 1:
        raise RuleError("the head size is 0")
    return size


def _ms_rotary(attrs: m.MsRotaryAttrs, arrays: Arrays) -> tuple[Array, ...]:
    """position_ids is [batch, sequence], or one number: the position of the first row."""
    data, places, cos = array(arrays, 0), array(arrays, 1), array(arrays, 2)
    flat = data.ndim == 3
    heads = 0 if not flat else data.shape[2] // _ms_head_size(attrs, data.shape[2], cos.shape[1])
    x = widen(split_heads(data, heads) if flat else data)
    if places.size == 1 and places.ndim < 2:
        places = (int(places.reshape(-1)[0]) + np.arange(x.shape[2]))[None, :]
    tables = (widen(at_positions(array(arrays, i), places))[:, None] for i in (2, 3))
    turned = rotate(x, *tables, interleaved=bool(attrs.interleaved))
    return (narrow(join_heads(turned) if flat else turned, data.dtype),)


def _plain_rotary(attrs: m.MsRotaryAttrs, _operands: Operands) -> bool:
    """is_packed_batching must be 0 and scale 1."""
    return not attrs.is_packed_batching and attrs.scale == 1.0


ROWS: tuple[OpRow, ...] = (
    OpRow(name="MultiHeadAttention", domain=_MS, attrs=m.MultiHeadAttentionAttrs, inputs=(3, 10),
          outputs=(1, 4),
          limits=(takes_floats(0, 1, 2, 3, 5, 6, 7), _no_ring),
          shape=_multi_head_type, reference=_multi_head,
          canon="Attention"),
    OpRow(name="Attention", domain=_MS, attrs=m.MsAttentionAttrs, inputs=(2, 7), outputs=(1, 2),

          limits=(takes_floats(0, 1, 2, 4, 5), _plain_packed),
          shape=_packed_type, reference=_packed,
          canon="Gemm, Attention"),
    OpRow(name="GroupQueryAttention", domain=_MS, attrs=m.GroupQueryAttentionAttrs,
          inputs=(7, 17), outputs=(1, 3),
          limits=(takes_floats(0, 1, 2, 3, 4, 7, 8, 10), _plain_grouped),
          shape=_grouped_type,
          reference=_grouped, canon="Rope, Attention"),
    OpRow(name="RotaryEmbedding", domain=_MS, attrs=m.MsRotaryAttrs, inputs=(4, 4),

          limits=(takes_floats(0, 2, 3), _plain_rotary),
          shape=_ms_rotary_type, reference=_ms_rotary, canon="Rope"),
)  # fmt: skip
"""One row per operator."""
