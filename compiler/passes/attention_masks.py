"""Attention masks: as additive values, as the causal flag where they are exactly causal.

In:  masks found by the attention pattern, or Attention roots.   Out: values, offsets, a rewrite.
Raises: nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np

from compiler.graph.chip_ops import AttentionAttrs, ElementwiseAttrs, Fn, Op, Step
from compiler.graph.graph import GraphEdit
from compiler.graph.types import Array, DType, Node
from compiler.passes.build import Builder
from compiler.passes.match import either, made_by, single_step, skip_views
from compiler.passes.simplify import edit_out

MASKED_BELOW = -1e4
"""Added to a score, numbers from here down leave no weight (exp(−10000) is 0 in fp32)."""

HUGE = -1e30
"""Masks of −float32 max and the like, beside which scores vanish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """Added to the scores: a value, or (`fills`) numbers where a condition is true and false.

    `flat`: the scores were [B·H, S, S] where it was added.
    """

    value: str
    flat: bool
    fills: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dims:
    """Sizes of the scores."""

    batch: int
    heads: int
    queries: int
    keys: int


def const_mask(edit: GraphEdit, mask: Mask) -> Array | None:
    """The additive form of a mask that is known at compile time."""
    data = edit.value(cast(str, skip_views(edit, mask.value))).const
    if data is None:
        return None
    data = data.reshape(edit.value(mask.value).shape)
    if mask.fills is None:
        return data
    return np.where(data, np.float32(mask.fills[0]), np.float32(mask.fills[1]))


def causal_offset_of(mask: Array | None, dims: Dims) -> int | None:
    """The offset where the mask is 0 for j ≤ i + offset and shuts out the rest, the same for every
    head and batch.
    """
    if mask is None:
        return None
    if not mask.any():
        return dims.keys - 1
    if mask.shape[-2:] != (dims.queries, dims.keys):
        return None
    planes = mask.reshape(-1, dims.queries, dims.keys)
    if not bool((planes == planes[:1]).all()):
        return None
    shut = planes[0] <= MASKED_BELOW
    offset = int(dims.keys - shut[0].sum()) - 1
    rows, columns = np.indices(shut.shape, sparse=True)
    exact = np.array_equal(shut, columns > rows + offset) and bool((planes[0][~shut] == 0).all())
    return offset if exact and offset >= 0 else None


def mask_value(b: Builder, mask: Mask, dims: Dims) -> str:
    """The additive mask with at most four axes, broadcastable to the scores."""
    name = mask.value
    if mask.fills is not None:
        step = Step(fn=Fn.SELECT, const=mask.fills[0], const2=mask.fills[1])
        shape = b.shape(name)
        attrs = ElementwiseAttrs(steps=(step,))
        name = b.emit(Op.ELEMENTWISE, [name], attrs, shape=shape, dtype=DType.F32)
    shape = b.shape(name)
    if not mask.flat or len(shape) != 3 or shape[0] == 1:
        return name
    return b.view(name, (dims.batch, dims.heads, *shape[1:]))


def split_infinite_mask(edit: GraphEdit, node: Node) -> bool:
    """−inf outside (causal and padding): the causal flag and a mask of the padding only."""
    return _split_mask(edit, node, -math.inf)


def split_finite_mask(edit: GraphEdit, node: Node) -> bool:
    """As for −inf, which changes queries that see no key: they had the mean of every value."""
    return _split_mask(edit, node, HUGE)


def _split_mask(edit: GraphEdit, node: Node, limit: float) -> bool:
    attrs = cast(AttentionAttrs, node.attrs)
    if len(node.inputs) < 4 or attrs.causal:
        return False
    found = single_step(edit, node.inputs[3])
    if found is None or found[1].fn is not Fn.SELECT:
        return False
    maker, step = found
    if step.const != 0.0 or step.const2 is None or step.const2 > limit:
        return False
    q, k = (edit.value(name).shape for name in node.inputs[:2])
    dims = Dims(batch=q[0], heads=q[1], queries=q[2], keys=k[2])
    for left, right in either(edit, maker.inputs[0], Fn.AND):
        if not isinstance(left, str) or not isinstance(right, str):
            continue
        known = const_mask(edit, Mask(value=left, flat=False, fills=(0.0, -math.inf)))
        offset = causal_offset_of(known, dims)
        if offset is None or offset >= dims.keys - 1:
            continue
        b = Builder(edit, edit_out(edit, node), node.sources)
        rest = made_by(edit, right, Op.EXPAND)
        condition = rest.inputs[0] if rest is not None else right
        shape = b.shape(condition)
        mask = b.emit(Op.ELEMENTWISE, [condition], maker.attrs, shape=shape, dtype=DType.F32)
        made = AttentionAttrs(
            scale=attrs.scale, causal=True, causal_offset=offset, softcap=attrs.softcap
        )
        b.finish(Op.ATTENTION, [*node.inputs[:3], mask], made)
        return True
    return False
