"""Fusion of decomposed attention: softmax(scale·q·kᵀ + masks)·v, as the exporters of GPT-2, BERT,
Llama … write it.

In:  Gemm roots (the product with v).   Out: rewrites for the engine.   Raises: nothing.

Absorbed: the transpose of k, scales before or after q·kᵀ, added masks, Where masks (as additive
values), softcap, repeated kv heads, NaN guards after the softmax, and reshapes between [B·H, S, S]
and [B, H, S, S]. Masks known at compile time that are exactly causal become a flag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from compiler.graph.chip_ops import (
    AttentionAttrs,
    ElementwiseAttrs,
    Fn,
    GemmAttrs,
    Op,
    PermuteAttrs,
    Step,
)
from compiler.graph.graph import GraphEdit
from compiler.graph.types import Array, DType, Node
from compiler.passes.build import Builder, Operand
from compiler.passes.canon.linear import swap_last
from compiler.passes.engine import Rewrite
from compiler.passes.match import (
    binary,
    either,
    is_private,
    made_by,
    single_step,
    skip_views,
    unary,
)
from compiler.passes.simplify import edit_out

MASKED_BELOW = -1e4
"""Added to a score, numbers from here down leave no weight (exp(−10000) is 0 in fp32)."""


@dataclass(slots=True)
class _Scores:
    """What was found between the softmax and the product of q and k."""

    product: Node | None = None
    scale: float = 1.0
    softcap: float | None = None
    masks: list[tuple[str, bool, float, float]] = field(default_factory=list)
    shape: tuple[int, ...] | None = None  # of rank 4, if the scores had one anywhere


def attention(edit: GraphEdit, node: Node) -> bool:
    """The pattern's root is the Gemm that multiplies the probabilities with v."""
    attrs = cast(GemmAttrs, node.attrs)
    if attrs.steps or attrs.alpha != 1.0 or len(node.inputs) != 2:
        return False
    softmax = _softmax_behind(edit, node.inputs[0])
    if softmax is None:
        return False
    scores = _Scores()
    if not _walk(edit, softmax.inputs[0], scores, 12) or scores.product is None:
        return False
    dims = _dims(edit, node, scores)
    if dims is None:
        return False
    return _replace(edit, node, scores, dims)


def _softmax_behind(edit: GraphEdit, name: str) -> Node | None:
    """The Softmax that makes the probabilities, behind Views and a NaN guard; they must serve
    nothing else.
    """
    inner = _skip_private_views(edit, name)
    found = single_step(edit, inner) if inner is not None else None
    if found is not None and found[1].fn is Fn.SELECT:
        guard, step = found
        if step.const != 0.0 or step.operand2 is None:
            return None
        inner = guard.inputs[step.operand2]
        test = edit.producer(guard.inputs[0])
        if binary(edit, guard.inputs[0], Fn.NE) != (inner, inner) or test is None:
            return None
        if not is_private(edit, guard.inputs[0]) or inner in edit.outputs:
            return None
        if {user.name for user in edit.consumers(inner)} != {guard.name, test.name}:
            return None
        maker = made_by(edit, inner, Op.VIEW)
        inner = inner if maker is None else _skip_private_views(edit, maker.inputs[0])
    return made_by(edit, inner, Op.SOFTMAX) if inner is not None else None


def _skip_private_views(edit: GraphEdit, name: str) -> str | None:
    """The value behind Views, None if it or one of them has other readers."""
    while is_private(edit, name):
        view = made_by(edit, name, Op.VIEW)
        if view is None:
            return name
        name = view.inputs[0]
    return None


def _walk(edit: GraphEdit, name: Operand, scores: _Scores, depth: int) -> bool:
    """Follow the scores back to the product of q and k, gathering what happens on the way."""
    if not isinstance(name, str) or not depth or not is_private(edit, name):
        return False
    shape = edit.value(name).shape
    if len(shape) == 4 and scores.shape is None:
        scores.shape = shape
    if (view := made_by(edit, name, Op.VIEW)) is not None:
        return _walk(edit, view.inputs[0], scores, depth - 1)
    if (gemm := made_by(edit, name, Op.GEMM)) is not None:
        attrs = cast(GemmAttrs, gemm.attrs)
        scores.product = gemm
        scores.scale *= attrs.alpha
        return len(gemm.inputs) == 2 and not attrs.steps
    return (
        _walk_softcap(edit, name, scores, depth)
        or _walk_scale(edit, name, scores, depth)
        or _walk_mask(edit, name, scores, depth)
        or _walk_where(edit, name, scores, depth)
    )


def _walk_softcap(edit: GraphEdit, name: str, scores: _Scores, depth: int) -> bool:
    for left, cap in either(edit, name, Fn.MUL):
        inner = unary(edit, left, Fn.TANH)
        if inner is None or not isinstance(cap, float) or scores.softcap is not None:
            continue
        if scores.scale != 1.0 or not is_private(edit, cast(str, left)):
            continue
        scores.softcap = cap
        if not _walk(edit, inner, scores, depth - 1):
            return False
        scores.scale *= cap
        return True
    return False


def _walk_scale(edit: GraphEdit, name: str, scores: _Scores, depth: int) -> bool:
    factor = scale_step(edit, name)
    if factor is None:
        return False
    scores.scale *= factor[1]
    return _walk(edit, factor[0], scores, depth - 1)


def scale_step(edit: GraphEdit, name: str) -> tuple[str, float] | None:
    """(x, c) where the value is x·c with a number c."""
    for left, right in either(edit, name, Fn.MUL):
        if isinstance(left, str) and isinstance(right, float):
            return left, right
    quotient = binary(edit, name, Fn.DIV)
    if quotient and isinstance(quotient[0], str) and isinstance(quotient[1], float):
        return (quotient[0], 1.0 / quotient[1]) if quotient[1] else None
    return None


def _walk_mask(edit: GraphEdit, name: str, scores: _Scores, depth: int) -> bool:
    """Scores + mask. Which of the two the scores are shows where the walk arrives."""
    if scores.scale != 1.0 or scores.softcap is not None:
        return False
    for left, mask in either(edit, name, Fn.ADD):
        if not isinstance(mask, str) or not isinstance(left, str):
            continue
        if edit.value(left).shape != edit.value(name).shape:
            continue
        count = len(scores.masks)
        scores.masks.append((mask, False, 0.0, 0.0))
        if _walk(edit, left, scores, depth - 1):
            return True
        del scores.masks[count:]
    return False


def _walk_where(edit: GraphEdit, name: str, scores: _Scores, depth: int) -> bool:
    """Where(mask, scores, −inf) or Where(mask, −inf, scores)."""
    found = single_step(edit, name)
    if found is None or found[1].fn is not Fn.SELECT or scores.scale != 1.0 or scores.softcap:
        return False
    node, step = found
    kept_where_true = step.operand is not None
    inside = step.operand if kept_where_true else step.operand2
    fill = step.const2 if kept_where_true else step.const
    if inside is None or fill is None or fill > MASKED_BELOW:
        return False
    yes, no = (0.0, fill) if kept_where_true else (fill, 0.0)
    scores.masks.append((node.inputs[0], True, yes, no))
    return _walk(edit, node.inputs[inside], scores, depth - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dims:
    batch: int
    heads: int
    queries: int
    keys: int


def _dims(edit: GraphEdit, node: Node, scores: _Scores) -> _Dims | None:
    """Batch and heads, from the rank-4 form of the scores; rank 3 alone has its rows as heads of
    one batch.
    """
    shape = edit.value(cast(Node, scores.product).outputs[0]).shape
    full = scores.shape
    if full is None:
        if len(shape) != 3:
            return None
        full = (1, *shape)
    if math.prod(full) != math.prod(shape) or full[2:] != shape[-2:]:
        return None
    if len(edit.value(node.inputs[1]).shape) < 3:
        return None
    return _Dims(batch=full[0], heads=full[1], queries=full[2], keys=full[3])


def _replace(edit: GraphEdit, node: Node, scores: _Scores, dims: _Dims) -> bool:
    product = cast(Node, scores.product)
    masks = [_const_mask(edit, mask) for mask in scores.masks]
    offsets = [_causal_offset(array, dims) for array in masks]
    b = Builder(edit, edit_out(edit, node), _sources(edit, node, product))
    causal = [offset for offset in offsets if offset is not None and offset < dims.keys - 1]
    pairs = zip(scores.masks, offsets, strict=True)
    others = [_mask_value(b, mask, dims) for mask, offset in pairs if offset is None]
    mask = others[0] if others else ""
    for other in others[1:]:
        mask = b.binary(Fn.ADD, mask, other)
    q, k, scale = _query_and_key(b, product, dims)
    v = node.inputs[1]
    if cast(GemmAttrs, node.attrs).trans_b:
        v = swap_last(b, v)
    k, v = _shared_heads(b, k, v, dims)
    attrs = AttentionAttrs(
        scale=scores.scale * scale,
        causal=bool(causal),
        causal_offset=min(causal, default=0),
        softcap=scores.softcap,
    )
    out = (*b.shape(q)[:3], b.shape(v)[3])
    inputs = [q, k, v, mask] if mask else [q, k, v]
    if out == b.shape(node.outputs[0]):
        b.finish(Op.ATTENTION, inputs, attrs)
    else:
        b.finish(Op.VIEW, [b.emit(Op.ATTENTION, inputs, attrs, shape=out)])
    return True


def _sources(edit: GraphEdit, node: Node, product: Node) -> tuple[str, ...]:
    """Sources of every node between the two products, first to last."""
    found: dict[str, None] = {}
    stack, seen = [node], set()
    while stack:
        current = stack.pop()
        if current.name in seen:
            continue
        seen.add(current.name)
        found.update(dict.fromkeys(current.sources))
        if current.name == product.name:
            continue
        maker = edit.producer(current.inputs[0])
        names = [current.inputs[0]] if maker is not None else []
        if current.op == Op.ELEMENTWISE:
            names = list(current.inputs)
        for name in names:
            maker = edit.producer(name) if name else None
            if maker is not None and is_private(edit, name) and len(seen) < 24:
                stack.append(maker)
    return tuple(found)


def _query_and_key(b: Builder, product: Node, dims: _Dims) -> tuple[str, str, float]:
    edit, scale = b.edit, 1.0
    q, k = product.inputs
    stored_as_rows = cast(GemmAttrs, product.attrs).trans_b
    while (found := scale_step(edit, q)) is not None and is_private(edit, q):
        q, scale = found[0], scale * found[1]
    while True:
        if (found := scale_step(edit, k)) is not None:
            k, scale = found[0], scale * found[1]
            continue
        turn = made_by(edit, k, Op.PERMUTE)
        rank = len(edit.value(k).shape)
        swap = (*range(rank - 2), rank - 1, rank - 2)
        if turn is None or stored_as_rows or cast(PermuteAttrs, turn.attrs).perm != swap:
            break
        k, stored_as_rows = turn.inputs[0], True
    if not stored_as_rows:
        k = swap_last(b, k)
    return b.view(q, (dims.batch, dims.heads, *b.shape(q)[-2:])), k, scale


def _shared_heads(b: Builder, k: str, v: str, dims: _Dims) -> tuple[str, str]:
    """K and v as [B, Hkv, S, D], without the repetition of kv heads if both have it."""
    sources = _unrepeated(b, k, dims), _unrepeated(b, v, dims)
    shapes = [b.shape(name) for name in sources if name is not None]
    if len(shapes) == 2 and _kv_heads(shapes[0], dims) == _kv_heads(shapes[1], dims):
        k, v = cast(str, sources[0]), cast(str, sources[1])
        heads = _kv_heads(shapes[0], dims)
    else:
        heads = dims.heads
    return (
        b.view(k, (dims.batch, heads, *b.shape(k)[-2:])),
        b.view(v, (dims.batch, heads, *b.shape(v)[-2:])),
    )


def _kv_heads(shape: tuple[int, ...], dims: _Dims) -> int:
    return math.prod(shape[:-2]) // dims.batch


def _unrepeated(b: Builder, x: str, dims: _Dims) -> str | None:
    """What an Expand repeats for every query head: an axis of 1 beside the kv heads, or the only
    kv head.
    """
    expand = made_by(b.edit, skip_views(b.edit, x), Op.EXPAND)
    if expand is None:
        return None
    small, large = b.shape(expand.inputs[0]), b.shape(expand.outputs[0])
    fits = large[0] == dims.batch and math.prod(large[1:-2]) == dims.heads
    repeated = (*large[: len(large) - 3], 1, *large[-2:])
    same_rows = large[-2:] == b.shape(x)[-2:]
    return expand.inputs[0] if fits and same_rows and small == repeated else None


def _const_mask(edit: GraphEdit, mask: tuple[str, bool, float, float]) -> Array | None:
    name, is_condition, yes, no = mask
    data = edit.value(cast(str, skip_views(edit, name))).const
    if data is None:
        return None
    data = data.reshape(edit.value(name).shape)
    return np.where(data, np.float32(yes), np.float32(no)) if is_condition else data


def _causal_offset(mask: Array | None, dims: _Dims) -> int | None:
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


def _mask_value(b: Builder, mask: tuple[str, bool, float, float], dims: _Dims) -> str:
    """The additive mask with at most four axes, broadcastable to the scores."""
    name, is_condition, yes, no = mask
    if is_condition:
        step = Step(fn=Fn.SELECT, const=yes, const2=no)
        shape = b.shape(name)
        attrs = ElementwiseAttrs(steps=(step,))
        name = b.emit(Op.ELEMENTWISE, [name], attrs, shape=shape, dtype=DType.F32)
    shape = b.shape(name)
    if len(shape) != 3 or shape[0] == 1:
        return name
    return b.view(name, (dims.batch, dims.heads, *shape[1:]))


def split_causal_mask(edit: GraphEdit, node: Node) -> bool:
    """A mask of −inf outside (causal and padding) is the causal flag and a mask of the padding
    only.
    """
    attrs = cast(AttentionAttrs, node.attrs)
    if len(node.inputs) < 4 or attrs.causal:
        return False
    found = single_step(edit, node.inputs[3])
    if found is None or found[1].fn is not Fn.SELECT:
        return False
    maker, step = found
    if (step.const, step.const2) != (0.0, -math.inf):
        return False
    q, k = (edit.value(name).shape for name in node.inputs[:2])
    dims = _Dims(batch=q[0], heads=q[1], queries=q[2], keys=k[2])
    for left, right in either(edit, maker.inputs[0], Fn.AND):
        if not isinstance(left, str) or not isinstance(right, str):
            continue
        known = _const_mask(edit, (left, True, 0.0, -math.inf))
        offset = _causal_offset(known, dims)
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


REWRITES = (
    Rewrite(name="attention", pattern=(Op.GEMM,), apply=attention),
    Rewrite(name="split-causal-mask", pattern=(Op.ATTENTION,), apply=split_causal_mask),
)
