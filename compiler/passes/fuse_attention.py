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

from compiler.graph.chip_ops import (
    AttentionAttrs,
    Fn,
    GemmAttrs,
    Op,
    PermuteAttrs,
)
from compiler.graph.graph import GraphEdit
from compiler.graph.types import Node
from compiler.passes.attention_masks import (
    MASKED_BELOW,
    Dims,
    Mask,
    causal_offset_of,
    const_mask,
    mask_value,
    split_finite_mask,
    split_infinite_mask,
)
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


@dataclass(slots=True)
class _Scores:
    """What was found between the softmax and the product of q and k."""

    product: Node | None = None
    scale: float = 1.0
    softcap: float | None = None
    masks: list[Mask] = field(default_factory=list)
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


def _is_flat(edit: GraphEdit, name: str) -> bool:
    return len(edit.value(name).shape) == 3


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
        scores.masks.append(Mask(value=mask, flat=_is_flat(edit, name)))
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
    made = Mask(value=node.inputs[0], flat=_is_flat(edit, name), fills=(yes, no))
    scores.masks.append(made)
    return _walk(edit, node.inputs[inside], scores, depth - 1)


def _dims(edit: GraphEdit, node: Node, scores: _Scores) -> Dims | None:
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
    return Dims(batch=full[0], heads=full[1], queries=full[2], keys=full[3])


def _replace(edit: GraphEdit, node: Node, scores: _Scores, dims: Dims) -> bool:
    product = cast(Node, scores.product)
    masks = [const_mask(edit, mask) for mask in scores.masks]
    offsets = [causal_offset_of(array, dims) for array in masks]
    b = Builder(edit, edit_out(edit, node), _sources(edit, node, product))
    causal = [offset for offset in offsets if offset is not None and offset < dims.keys - 1]
    pairs = zip(scores.masks, offsets, strict=True)
    others = [mask_value(b, mask, dims) for mask, offset in pairs if offset is None]
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


def _query_and_key(b: Builder, product: Node, dims: Dims) -> tuple[str, str, float]:
    edit, scale = b.edit, 1.0
    q, k = product.inputs
    stored_as_rows = cast(GemmAttrs, product.attrs).trans_b
    while (found := scale_step(edit, q)) is not None and is_private(edit, q):
        q, scale = found[0], scale * found[1]
    spread: tuple[int, ...] = ()
    while True:
        if (found := scale_step(edit, k)) is not None:
            k, scale = found[0], scale * found[1]
            continue
        grown = made_by(edit, k, Op.EXPAND)
        if grown is not None and not spread and _grows_heads(edit, grown):
            k, spread = grown.inputs[0], edit.value(k).shape[:-2]
            continue
        turn = made_by(edit, k, Op.PERMUTE)
        rank = len(edit.value(k).shape)
        swap = (*range(rank - 2), rank - 1, rank - 2)
        if turn is None or stored_as_rows or cast(PermuteAttrs, turn.attrs).perm != swap:
            break
        k, stored_as_rows = turn.inputs[0], True
    if not stored_as_rows:
        k = swap_last(b, k)
    k = b.expand(k, (*spread, *b.shape(k)[-2:])) if spread else k
    return b.view(q, (dims.batch, dims.heads, *b.shape(q)[-2:])), k, scale


def _grows_heads(edit: GraphEdit, expand: Node) -> bool:
    """Whether an Expand repeats whole matrices only, without new axes."""
    small, large = edit.value(expand.inputs[0]).shape, edit.value(expand.outputs[0]).shape
    return len(small) == len(large) and small[-2:] == large[-2:]


def _shared_heads(b: Builder, k: str, v: str, dims: Dims) -> tuple[str, str]:
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


def _kv_heads(shape: tuple[int, ...], dims: Dims) -> int:
    return math.prod(shape[:-2]) // dims.batch


def _unrepeated(b: Builder, x: str, dims: Dims) -> str | None:
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


REWRITES = (
    Rewrite(name="attention", pattern=(Op.GEMM,), apply=attention),
    Rewrite(name="split-infinite-mask", pattern=(Op.ATTENTION,), apply=split_infinite_mask),
)
SPLIT_FINITE = Rewrite(name="split-finite-mask", pattern=(Op.ATTENTION,), apply=split_finite_mask)
