"""ONNX Attention (opset 23 on) and RotaryEmbedding: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`, and `attend`, `rotate`, `split_heads`, `join_heads`,
which the fused operators share.
Raises: RuleError (head counts, operand shapes).   Heads are [batch, heads, sequence, size] inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.graph.types import Array, Value
from compiler.ops import attrs as a
from compiler.ops.arithmetic import narrow, widen
from compiler.ops.operands import (
    allocatable,
    array,
    broadcast,
    checked,
    maybe_array,
    operand,
    optional,
    same_dtype,
)
from compiler.ops.types import Arrays, Operands, OpRow, RuleError, Types


def split_heads(x: Array, heads: int) -> Array:
    """[batch, sequence, heads·size] as [batch, heads, sequence, size]."""
    if heads < 1 or x.shape[2] % heads:
        raise RuleError(f"{x.shape[2]} features cannot be split over {heads} heads")
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(0, 2, 1, 3)


def join_heads(x: Array) -> Array:
    """[batch, heads, sequence, size] as [batch, sequence, heads·size]."""
    batch, heads, sequence, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, sequence, heads * size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What `attend` returns: the output and the scores at four stages (ONNX's qk_matmul_output_mode
    order).
    """

    output: Array
    stages: tuple[Array, Array, Array, Array]


def attend(
    q: Array, k: Array, v: Array, bias: Array | None, scale: float, softcap: float = 0.0
) -> Scores:
    """softmax(softcap(scale·q·kᵀ) + bias)·v on float arrays; kv heads are repeated over query
    heads.

    A row whose every key has bias −inf gives zeros.
    """
    if k.shape[1] < 1 or q.shape[1] % k.shape[1] or k.shape[1] != v.shape[1]:
        raise RuleError(f"{q.shape[1]} query heads over {k.shape[1]} key heads")
    repeat = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeat, axis=1), np.repeat(v, repeat, axis=1)
    allocatable((*q.shape[:3], k.shape[2]), 8)
    raw = np.matmul(q, k.transpose(0, 1, 3, 2)) * q.dtype.type(scale)
    capped = np.tanh(raw / q.dtype.type(softcap)) * q.dtype.type(softcap) if softcap > 0 else raw
    biased = capped if bias is None else capped + bias
    weights = _masked_softmax(biased)
    return Scores(output=np.matmul(weights, v), stages=(raw, capped, biased, weights))


def _masked_softmax(scores: Array) -> Array:
    if scores.size == 0:
        return scores
    with np.errstate(all="ignore"):
        top = scores.max(axis=-1, keepdims=True)
        powers = np.exp(scores - np.where(np.isneginf(top), 0, top))
        total = powers.sum(axis=-1, keepdims=True)
        return np.asarray(powers / np.where(total == 0, 1, total), dtype=scores.dtype)


def causal_bias(rows: int, columns: int, offset: Any, dtype: Any) -> Array:
    """0 where key j ≤ query i + offset, −inf elsewhere; `offset` one number or one per batch
    ([batch, 1, rows, columns]).
    """
    reach = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    shift = np.asarray(offset)
    allowed = reach <= (shift.reshape(-1, 1, 1, 1) if shift.ndim else shift)
    return np.asarray(np.where(allowed, dtype.type(0), dtype.type(-np.inf)))


def _heads_of(attrs: a.AttentionAttrs, value: Value, *, query: bool) -> tuple[int, int, int, int]:
    """[batch, heads, sequence, size] of a 3-D or 4-D operand."""
    shape = value.shape
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    heads = attrs.q_num_heads if query else attrs.kv_num_heads
    if len(shape) != 3 or not heads or heads < 1 or shape[2] % heads:
        raise RuleError(f"{list(shape)} cannot be split over {heads} heads")
    return shape[0], heads, shape[1], shape[2] // heads


def _attention_type(attrs: a.AttentionAttrs, operands: Operands) -> Types:
    q, k, v = (operand(operands, index) for index in range(3))
    dtype = same_dtype([q, k])
    batch, heads, rows, size = _heads_of(attrs, q, query=True)
    key, value = _heads_of(attrs, k, query=False), _heads_of(attrs, v, query=False)
    if key[0] != batch or value[:3] != key[:3] or key[3] != size or key[1] < 1 or heads % key[1]:
        raise RuleError(f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)} do not fit")
    past = _past(operands, key, value)
    total = past + key[2]
    mask = optional(operands, 3)
    if mask is not None:
        wanted = (batch, heads, rows, max(total, mask.shape[-1] if mask.shape else 0))
        padded = (*mask.shape[:-1], wanted[3]) if mask.shape else ()
        if mask.shape[-1:] > (total,) or broadcast(padded, wanted) != wanted:
            raise RuleError(f"mask {list(mask.shape)} does not fit {list(wanted)}")
    output = (
        (batch, rows, heads * value[3]) if len(q.shape) == 3 else (batch, heads, rows, value[3])
    )
    return (
        checked(dtype, output),
        checked(k.dtype, (batch, key[1], total, size)),
        checked(v.dtype, (batch, key[1], total, value[3])),
        checked(dtype, (batch, heads, rows, total)),
    )


def _past(operands: Operands, key: tuple[int, ...], value: tuple[int, ...]) -> int:
    past_k, past_v = optional(operands, 4), optional(operands, 5)
    if (past_k is None) != (past_v is None):
        raise RuleError("past_key and past_value come together")
    if past_k is None or past_v is None:
        return 0
    length = past_k.shape[2] if len(past_k.shape) == 4 else -1
    if past_k.shape != (key[0], key[1], length, key[3]):
        raise RuleError(f"past_key {list(past_k.shape)} does not fit {list(key)}")
    if past_v.shape != (value[0], value[1], length, value[3]):
        raise RuleError(f"past_value {list(past_v.shape)} does not fit {list(value)}")
    return length


def _bias(attrs: a.AttentionAttrs, arrays: Arrays, q: Array, total: int) -> Array:
    """Mask, causality, window and padding as one additive array."""
    mask, past, lengths = (maybe_array(arrays, index) for index in (3, 4, 6))
    rows, kind = q.shape[2], q.dtype
    bias = np.zeros((rows, total), dtype=kind)
    if mask is not None:
        if mask.dtype == np.bool_:
            mask = np.where(mask, kind.type(0), kind.type(-np.inf))
        short = total - mask.shape[-1]
        grow = [(0, 0)] * (mask.ndim - 1) + [(0, short)]
        bias = bias + np.pad(widen(mask), grow, constant_values=-np.inf)
    offset: Any = past.shape[2] if past is not None else 0
    if past is None and lengths is not None:
        offset = lengths.reshape(-1) - rows
    if attrs.is_causal:
        bias = bias + causal_bias(rows, total, offset, kind)
    if attrs.left_window_size >= 0 or attrs.right_window_size >= 0:
        bias = bias + _window(attrs, rows, total, np.asarray(offset))
    if lengths is not None:
        inside = np.arange(total)[None, :] < lengths.reshape(-1, 1)
        bias = bias + np.where(inside, 0, -np.inf)[:, None, None, :]
    return bias.astype(kind)


def _window(attrs: a.AttentionAttrs, rows: int, columns: int, offset: Array) -> Array:
    """0 for keys at most `left` before and `right` after a query's own position, −inf elsewhere."""
    reach = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    ahead = reach - (offset.reshape(-1, 1, 1, 1) if offset.ndim else offset)
    near = np.ones(ahead.shape, dtype=np.bool_)
    if attrs.left_window_size >= 0:
        near &= -ahead <= attrs.left_window_size
    if attrs.right_window_size >= 0:
        near &= ahead <= attrs.right_window_size
    return np.where(near, np.float32(0), np.float32(-np.inf))


def _attention(attrs: a.AttentionAttrs, arrays: Arrays) -> tuple[Array, ...]:
    q, k, v = (array(arrays, index) for index in range(3))
    flat, dtype = q.ndim == 3, q.dtype
    if flat:
        q = split_heads(q, attrs.q_num_heads or 0)
        k, v = (split_heads(x, attrs.kv_num_heads or 0) for x in (k, v))
    past_k, past_v = maybe_array(arrays, 4), maybe_array(arrays, 5)
    k = k if past_k is None else np.concatenate([past_k, k], axis=2)
    v = v if past_v is None else np.concatenate([past_v, v], axis=2)
    scale = q.shape[3] ** -0.5 if attrs.scale is None else attrs.scale
    wide = widen(q)
    bias = _bias(attrs, arrays, wide, k.shape[2])
    scores = attend(wide, widen(k), widen(v), bias, scale, attrs.softcap)
    output = join_heads(scores.output) if flat else scores.output
    stage = scores.stages[attrs.qk_matmul_output_mode]
    return narrow(output, dtype), k, v, narrow(stage, dtype)


def _known_mode(attrs: a.AttentionAttrs, _operands: Operands) -> bool:
    """qk_matmul_output_mode must be 0, 1, 2 or 3, softcap not negative."""
    return attrs.qk_matmul_output_mode in (0, 1, 2, 3) and attrs.softcap >= 0


def rotate(x: Array, cos: Array, sin: Array, *, interleaved: bool) -> Array:
    """Rotary embedding of the first 2·cos.shape[-1] elements; cos and sin broadcast to [batch,
    heads, sequence, half].
    """
    half = cos.shape[-1]
    if 2 * half > x.shape[-1]:
        raise RuleError(f"rotary dimension {2 * half} is larger than the head size {x.shape[-1]}")
    head, tail = x[..., : 2 * half], x[..., 2 * half :]
    first, second = (head[..., ::2], head[..., 1::2]) if interleaved else np.split(head, 2, axis=-1)
    real, imaginary = cos * first - sin * second, sin * first + cos * second
    if interleaved:
        turned = np.stack([real, imaginary], axis=-1).reshape(head.shape)
    else:
        turned = np.concatenate([real, imaginary], axis=-1)
    return np.concatenate([turned, tail], axis=-1)


def _rotary_type(attrs: a.RotaryAttrs, operands: Operands) -> Types:
    x, cos, sin = (operand(operands, index) for index in range(3))
    places = optional(operands, 3)
    heads = attrs.num_heads
    if len(x.shape) not in (3, 4) or (len(x.shape) == 3 and (heads < 1 or x.shape[2] % heads)):
        raise RuleError(f"{list(x.shape)} cannot be split over {heads} heads")
    size = x.shape[3] if len(x.shape) == 4 else x.shape[2] // heads
    rotary = attrs.rotary_embedding_dim or size
    if cos.shape != sin.shape or not cos.shape or 2 * cos.shape[-1] != rotary or rotary > size:
        raise RuleError(f"caches {list(cos.shape)} and {list(sin.shape)} do not fit {rotary}")
    if len(cos.shape) != (3 if places is None else 2):
        raise RuleError(f"caches {list(cos.shape)} have the wrong number of dimensions")
    return (checked(x.dtype, x.shape),)


def _rotary(attrs: a.RotaryAttrs, arrays: Arrays) -> tuple[Array, ...]:
    x, cos, sin = (array(arrays, index) for index in range(3))
    places = maybe_array(arrays, 3)
    if places is not None:
        cos, sin = (at_positions(table, places) for table in (cos, sin))
    flat = x.ndim == 3
    heads = split_heads(x, attrs.num_heads) if flat else x
    cos, sin = (widen(table)[:, None] for table in (cos, sin))
    turned = rotate(widen(heads), cos, sin, interleaved=bool(attrs.interleaved))
    return (narrow(join_heads(turned) if flat else turned, x.dtype),)


def at_positions(table: Array, places: Array) -> Array:
    """Rows of a cosine or sine cache; RuleError for a position outside it."""
    if places.size and (places.min() < 0 or places.max() >= table.shape[0]):
        raise RuleError(f"a position is outside a cache of {table.shape[0]} rows")
    return np.asarray(table[places])


ROWS: tuple[OpRow, ...] = (
    OpRow(name="Attention", since=23, attrs=a.AttentionAttrs, inputs=(3, 7), outputs=(1, 4),
          limits=(_known_mode,), shape=_attention_type, reference=_attention, canon="Attention"),
    OpRow(name="RotaryEmbedding", since=23, attrs=a.RotaryAttrs, inputs=(3, 4),
          shape=_rotary_type, reference=_rotary, canon="Rope"),
)  # fmt: skip
"""One row per operator."""
