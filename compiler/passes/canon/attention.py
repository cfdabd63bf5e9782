"""Canonical forms of ONNX Attention and RotaryEmbedding, and the parts that the com.microsoft
operators share.

In:  a Builder standing for the ONNX node.   Out: None, or the reason for leaving it to the host.
Raises: nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from compiler.graph.chip_ops import (
    AttentionAttrs,
    ConcatAttrs,
    Fn,
    Op,
    PadAttrs,
    RopeAttrs,
    Step,
)
from compiler.graph.types import DType
from compiler.ops import attrs as onnx_attrs
from compiler.passes.build import Builder
from compiler.passes.canon.types import Canon

_INF = math.inf
HEADS_FIRST = (0, 2, 1, 3)


@dataclass(slots=True, kw_only=True)
class Parts:
    """q, k, v as [batch, heads, sequence, size]; additive masks; numbers of the attention."""

    q: str
    k: str
    v: str
    scale: float
    masks: list[str] = field(default_factory=list)
    causal_offset: int | None = None
    softcap: float | None = None


def optional(b: Builder, index: int) -> str:
    """The name of input `index`; "" where it is absent."""
    return b.node.inputs[index] if index < len(b.node.inputs) else ""


def is_used(b: Builder, index: int) -> bool:
    """Whether anything reads output `index`."""
    name = b.node.outputs[index] if index < len(b.node.outputs) else ""
    return bool(name) and (bool(b.edit.consumers(name)) or name in b.edit.outputs)


def split_heads(b: Builder, x: str, heads: int) -> str:
    """[batch, sequence, heads·size] as [batch, heads, sequence, size]; rank 4 as it is."""
    shape = b.shape(x)
    if len(shape) == 4:
        return x
    return b.permute(b.view(x, (*shape[:2], heads, shape[2] // heads)), HEADS_FIRST)


def finish_attention(b: Builder, parts: Parts) -> None:
    """Output 0, with heads joined where it has rank 3."""
    mask = parts.masks[0] if parts.masks else ""
    for other in parts.masks[1:]:
        mask = b.binary(Fn.ADD, mask, other)
    offset, keys = parts.causal_offset, b.shape(parts.k)[2]
    causal = offset is not None and offset < keys - 1
    attrs = AttentionAttrs(
        scale=parts.scale,
        causal=causal,
        causal_offset=offset if causal and offset is not None else 0,
        softcap=parts.softcap,
    )
    inputs = [parts.q, parts.k, parts.v, *([mask] if mask else [])]
    if len(b.shape(b.node.outputs[0])) == 4:
        b.finish(Op.ATTENTION, inputs, attrs)
        return
    shape = (*b.shape(parts.q)[:3], b.shape(parts.v)[3])
    heads = b.emit(Op.ATTENTION, inputs, attrs, shape=shape)
    b.finish(Op.VIEW, [b.permute(heads, HEADS_FIRST)])


def append_cache(b: Builder, past: str, new: str, index: int) -> str:
    """Past and new keys or values joined, as output `index` if that is used."""
    used = is_used(b, index)
    if not past:
        if used:
            b.finish(Op.VIEW, [new], index=index)
            return b.node.outputs[index]
        return new
    attrs = ConcatAttrs(axis=2)
    if used:
        return b.finish(Op.CONCAT, [past, new], attrs, index=index)
    shape = list(b.shape(new))
    shape[2] += b.shape(past)[2]
    return b.emit(Op.CONCAT, [past, new], attrs, shape=shape)


def select_mask(b: Builder, keep: str, fill: float = -_INF) -> str:
    """0 where `keep` is not 0, else `fill`."""
    step = Step(fn=Fn.SELECT, const=0.0, const2=fill)
    return b.steps([keep], [step], DType.F32)


def compare(b: Builder, fn: Fn, x: str, other: str) -> str:
    """fn(x, other) as BOOL, broadcast."""
    return b.steps([x, other], [Step(fn=fn, operand=1)], DType.BOOL)


def reach(b: Builder, rows: int, columns: int) -> str:
    """The constant j − i of every key j and query i."""
    table = np.arange(columns, dtype=np.int32)[None, :] - np.arange(rows, dtype=np.int32)[:, None]
    return b.constant(table.reshape(1, 1, rows, columns), "reach")


def _user_mask(b: Builder, name: str, keys: int) -> str:
    """The operator's mask as additive numbers over all keys; missing keys are shut out."""
    mask = select_mask(b, name) if b.dtype(name) is DType.BOOL else name
    shape = b.shape(mask)
    short = keys - shape[-1]
    if not short:
        return mask
    pads = (*([0] * (2 * len(shape) - 1)), short)
    wide = (*shape[:-1], keys)
    return b.emit(Op.PAD, [mask], PadAttrs(pads=pads, value=-_INF), shape=wide, dtype=DType.F32)


def attention(b: Builder) -> str | None:
    """Attention: cache append, masks and windows as additive numbers, causality as a flag."""
    spec = cast(onnx_attrs.AttentionAttrs, b.node.attrs)
    if is_used(b, 3):
        return "the scores output of Attention"
    past_k, past_v, lengths = (optional(b, index) for index in (4, 5, 6))
    window = spec.left_window_size, spec.right_window_size
    if lengths and max(window) >= 0:
        return "a window that moves with the number of valid keys"
    q = split_heads(b, b.node.inputs[0], spec.q_num_heads or 0)
    k, v = (split_heads(b, x, spec.kv_num_heads or 0) for x in b.node.inputs[1:3])
    k, v = append_cache(b, past_k, k, 1), append_cache(b, past_v, v, 2)
    rows, keys, size = b.shape(q)[2], b.shape(k)[2], b.shape(q)[3]
    scale = size**-0.5 if spec.scale is None else spec.scale
    parts = Parts(q=q, k=k, v=v, scale=scale, softcap=spec.softcap or None)
    if optional(b, 3):
        parts.masks.append(_user_mask(b, optional(b, 3), keys))
    offset = b.shape(past_k)[2] if past_k else 0
    moving = bool(lengths) and not past_k
    if spec.is_causal and not moving:
        parts.causal_offset = offset
    if max(window) >= 0:
        parts.masks.append(_window_mask(b, (rows, keys), offset, window))
    if lengths:
        parts.masks += _length_masks(b, lengths, (rows, keys), causal=spec.is_causal and moving)
    finish_attention(b, parts)
    return None


def _window_mask(b: Builder, size: tuple[int, int], offset: int, window: tuple[int, int]) -> str:
    ahead = np.arange(size[1])[None, :] - np.arange(size[0])[:, None] - offset
    near = np.ones(ahead.shape, np.bool_)
    if window[0] >= 0:
        near &= -ahead <= window[0]
    if window[1] >= 0:
        near &= ahead <= window[1]
    return b.constant(np.where(near, np.float32(0), np.float32(-_INF)), "window")


def _length_masks(
    b: Builder, lengths: str, size: tuple[int, int], *, causal: bool | int
) -> list[str]:
    """Keys below each entry's length only; causality counted from its end where asked for."""
    rows, keys = size
    column = b.view(lengths, (b.edit.value(lengths).elems, 1, 1, 1))
    places = b.constant(np.arange(keys, dtype=np.int32).reshape(1, 1, 1, keys), "places")
    masks = [select_mask(b, compare(b, Fn.LT, places, column))]
    if causal:
        offsets = b.steps([column], [Step(fn=Fn.SUB, const=float(rows))])
        masks.append(select_mask(b, compare(b, Fn.LE, reach(b, rows, keys), offsets)))
    return masks


def finish_rope(
    b: Builder, x: str, tables: Sequence[str], *, interleaved: bool, heads: int
) -> None:
    """Output 0 as x rotated; `tables` are [batch or 1, sequence, half]."""
    flat = len(b.shape(x)) == 3
    split = split_heads(b, x, heads)
    turned = rope(b, split, tables, interleaved=interleaved)
    if flat:
        b.finish(Op.VIEW, [b.permute(turned, HEADS_FIRST)])
    else:
        b.finish(Op.VIEW, [turned])


def rope(b: Builder, x: str, tables: Sequence[str], *, interleaved: bool) -> str:
    """X [batch, heads, sequence, size] rotated by tables [batch or 1, sequence, half]."""
    shapes = [b.shape(table) for table in tables]
    inputs = [b.view(t, (s[0], 1, *s[1:])) for t, s in zip(tables, shapes, strict=True)]
    attrs = RopeAttrs(interleaved=interleaved, rotary_dim=2 * shapes[0][-1])
    return b.emit(Op.ROPE, [x, *inputs], attrs, shape=b.shape(x))


def table_rows(b: Builder, table: str, ids: str) -> str:
    """Rows of a cosine or sine cache at positions [batch, sequence]."""
    shape = (*b.shape(ids), *b.shape(table)[1:])
    return b.emit(Op.GATHER, [table, ids], shape=shape)


def rotary(b: Builder) -> str | None:
    """RotaryEmbedding, with caches looked up at positions where they are given."""
    spec = cast(onnx_attrs.RotaryAttrs, b.node.attrs)
    tables = list(b.node.inputs[1:3])
    if optional(b, 3):
        tables = [table_rows(b, table, optional(b, 3)) for table in tables]
    x = b.node.inputs[0]
    finish_rope(b, x, tables, interleaved=bool(spec.interleaved), heads=spec.num_heads)
    return None


def cut(b: Builder, x: str, axis: int, sizes: Sequence[int]) -> list[str]:
    """X in pieces along an axis."""
    starts = np.cumsum([0, *sizes[:-1]])
    pairs = zip(starts.tolist(), sizes, strict=True)
    return [b.slice_axis(x, axis, start, size) for start, size in pairs]


ROWS: dict[str, Canon] = {"Attention": attention, "RotaryEmbedding": rotary}
