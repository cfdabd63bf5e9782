"""Small rewrites of data movement: Views, Permutes, Slices and Expands that vanish, merge or move
out of the way.

In:  chip-level roots.   Out: rewrites for the engine.   Raises: nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from compiler.graph.chip_ops import (
    ElementwiseAttrs,
    Fn,
    GemmAttrs,
    Op,
    PermuteAttrs,
    SliceAttrs,
    Step,
)
from compiler.graph.graph import GraphEdit
from compiler.graph.types import Node
from compiler.passes.build import Builder
from compiler.passes.engine import Rewrite
from compiler.passes.match import is_private, made_by


def drop(edit: GraphEdit, node: Node) -> bool:
    """Remove a node whose output equals its input 0 in value, shape and dtype; False if names
    forbid it.
    """
    output = node.outputs[0]
    if not edit.merge_value(output, node.inputs[0]):
        return False
    if edit.has_node(node.name):
        edit.remove_node(node.name)
    return True


def _same_type(edit: GraphEdit, node: Node) -> bool:
    x, y = edit.value(node.inputs[0]), edit.value(node.outputs[0])
    return x.shape == y.shape and x.dtype is y.dtype


def view_of_view(edit: GraphEdit, node: Node) -> bool:
    """View(View(x)) reads x."""
    inner = made_by(edit, node.inputs[0], Op.VIEW)
    if inner is None:
        return False
    edit.replace_node(replace(node, inputs=inner.inputs, sources=joined(inner, node)))
    return True


def joined(*nodes: Node) -> tuple[str, ...]:
    """Sources of all nodes, each once."""
    return tuple(dict.fromkeys(source for node in nodes for source in node.sources))


def same_view(edit: GraphEdit, node: Node) -> bool:
    """A View to the same shape is nothing."""
    return _same_type(edit, node) and drop(edit, node)


def identity_permute(edit: GraphEdit, node: Node) -> bool:
    """A Permute that moves only axes of size 1 is a View."""
    perm = cast(PermuteAttrs, node.attrs).perm
    shape = edit.value(node.inputs[0]).shape
    moved = [axis for axis in perm if shape[axis] != 1]
    if moved != sorted(moved):
        return False
    Builder(edit, edit_out(edit, node)).finish(Op.VIEW, node.inputs)
    return True


def edit_out(edit: GraphEdit, node: Node) -> Node:
    """Take a node out of the graph, to be replaced under a Builder that stands for it."""
    edit.at(node)
    edit.remove_node(node.name)
    return node


def permute_of_permute(edit: GraphEdit, node: Node) -> bool:
    """Two Permutes in a row are one."""
    inner = made_by(edit, node.inputs[0], Op.PERMUTE)
    if inner is None:
        return False
    first, second = cast(PermuteAttrs, inner.attrs).perm, cast(PermuteAttrs, node.attrs).perm
    attrs = PermuteAttrs(perm=tuple(first[axis] for axis in second))
    made = replace(node, inputs=inner.inputs, attrs=attrs, sources=joined(inner, node))
    edit.replace_node(made)
    return True


def full_slice(edit: GraphEdit, node: Node) -> bool:
    """A Slice of everything is nothing."""
    forward = all(step > 0 for step in cast(SliceAttrs, node.attrs).steps)
    return forward and _same_type(edit, node) and drop(edit, node)


def slice_of_slice(edit: GraphEdit, node: Node) -> bool:
    """Slice(Slice(x)) is one Slice of x."""
    inner = made_by(edit, node.inputs[0], Op.SLICE)
    if inner is None:
        return False
    a, b = cast(SliceAttrs, inner.attrs), cast(SliceAttrs, node.attrs)
    pairs = tuple(zip(a.starts, a.steps, b.starts, b.steps, strict=True))
    attrs = SliceAttrs(
        starts=tuple(start + step * start2 for start, step, start2, _ in pairs),
        steps=tuple(step * step2 for _, step, _, step2 in pairs),
    )
    made = replace(node, inputs=inner.inputs, attrs=attrs, sources=joined(inner, node))
    edit.replace_node(made)
    return True


def expand_of_expand(edit: GraphEdit, node: Node) -> bool:
    """Expand(Expand(x)) is one Expand; an Expand to the same shape is nothing; one that only adds
    1s is a View.
    """
    x, y = edit.value(node.inputs[0]), edit.value(node.outputs[0])
    if x.shape == y.shape:
        return drop(edit, node)
    inner = made_by(edit, node.inputs[0], Op.EXPAND)
    if inner is not None:
        made = replace(node, inputs=inner.inputs, sources=joined(inner, node))
        edit.replace_node(made)
        return True
    if x.elems == y.elems:
        Builder(edit, edit_out(edit, node)).finish(Op.VIEW, node.inputs)
        return True
    return False


def single_concat(edit: GraphEdit, node: Node) -> bool:
    """A Concat of one operand is a View."""
    if len(node.inputs) != 1:
        return False
    Builder(edit, edit_out(edit, node)).finish(Op.VIEW, node.inputs)
    return True


def empty_pad(edit: GraphEdit, node: Node) -> bool:
    """A Pad by nothing is nothing."""
    return _same_type(edit, node) and drop(edit, node)


_NEUTRAL = {
    Fn.ADD: 0.0,
    Fn.SUB: 0.0,
    Fn.MUL: 1.0,
    Fn.DIV: 1.0,
    Fn.POW: 1.0,
    Fn.AND: 1.0,
    Fn.OR: 0.0,
}


def neutral_elementwise(edit: GraphEdit, node: Node) -> bool:
    """X + 0, x·1, x and True, a conversion to the same dtype: nothing."""
    steps = cast(ElementwiseAttrs, node.attrs).steps
    if not _same_type(edit, node):
        return False
    left = tuple(step for step in steps if not _is_neutral(edit, node, step))
    if left == steps and steps:
        return False
    if left:
        edit.replace_node(replace(node, attrs=ElementwiseAttrs(steps=left)))
        return True
    return drop(edit, node)


def _is_neutral(edit: GraphEdit, node: Node, step: Step) -> bool:
    if step.fn not in _NEUTRAL or step.swap and step.fn in (Fn.SUB, Fn.DIV, Fn.POW):
        return False
    if step.operand is None:
        return step.const == _NEUTRAL[step.fn]
    data = edit.value(node.inputs[step.operand]).const
    return (
        len(cast(ElementwiseAttrs, node.attrs).steps) == 1
        and data is not None
        and data.size <= 1 << 16
        and bool((data == _NEUTRAL[step.fn]).all())
    )


def absorb_expand(edit: GraphEdit, node: Node) -> bool:
    """Elementwise broadcasts by itself: operands lose their Expand where the output keeps its
    shape.
    """
    inputs = list(node.inputs)
    shape = edit.value(node.outputs[0]).shape
    for index, name in enumerate(inputs):
        maker = made_by(edit, name, Op.EXPAND)
        if maker is None:
            continue
        inputs[index] = maker.inputs[0]
        others = [edit.value(x).shape for x in inputs]
        if _broadcast(others) != shape:
            inputs[index] = name
    if tuple(inputs) == node.inputs:
        return False
    edit.replace_node(replace(node, inputs=tuple(inputs)))
    return True


def _broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(0 if 0 in sizes else max(sizes) for sizes in zip(*padded, strict=True))


def transposed_b(edit: GraphEdit, node: Node) -> bool:
    """A Gemm whose b is permuted in its last two axes reads it as stored, with trans_b the other
    way.
    """
    maker = made_by(edit, node.inputs[1], Op.PERMUTE)
    if maker is None:
        return False
    perm = cast(PermuteAttrs, maker.attrs).perm
    rank = len(perm)
    if rank < 2 or perm[-1] == rank - 1:
        return False
    attrs = cast(GemmAttrs, node.attrs)
    swapped = (*perm[:-2], perm[-1], perm[-2])
    lead_fixed = swapped == tuple(range(rank))
    if not lead_fixed and swapped[-1] != rank - 1:
        return False
    b = maker.inputs[0]
    if not lead_fixed:
        b = Builder(edit, node).permute(b, swapped)
    inputs = (node.inputs[0], b, *node.inputs[2:])
    edit.replace_node(replace(node, inputs=inputs, attrs=replace(attrs, trans_b=not attrs.trans_b)))
    return True


def outer_product(edit: GraphEdit, node: Node) -> bool:
    """A plain product over one element is a broadcast multiplication."""
    attrs = cast(GemmAttrs, node.attrs)
    a, b = (edit.value(name) for name in node.inputs[:2])
    summed = b.shape[-1] if attrs.trans_b else b.shape[-2]
    if summed != 1 or len(node.inputs) > 2 or attrs.steps or a.is_const and b.is_const:
        return False
    build = Builder(edit, edit_out(edit, node))
    row = b.name
    if attrs.trans_b:
        row = build.view(b.name, (*b.shape[:-2], 1, b.shape[-2]))
    factor = (Step(fn=Fn.MUL, const=attrs.alpha),) if attrs.alpha != 1.0 else ()
    steps = (Step(fn=Fn.MUL, operand=1), *factor)
    build.finish(Op.ELEMENTWISE, [a.name, row], ElementwiseAttrs(steps=steps))
    return True


def view_of_gemm(edit: GraphEdit, node: Node) -> bool:
    """A View that only splits or joins a plain Gemm's leading axes moves in front of it: rows are
    rows.
    """
    gemm = made_by(edit, node.inputs[0], Op.GEMM)
    if gemm is None or not is_private(edit, node.inputs[0]):
        return False
    attrs = cast(GemmAttrs, gemm.attrs)
    out, inner = edit.value(node.outputs[0]).shape, edit.value(node.inputs[0]).shape
    if len(out) < 2 or out[-1:] != inner[-1:] or len(edit.value(gemm.inputs[1]).shape) != 2:
        return False
    if attrs.steps or 0 in out:
        return False
    edit_out(edit, node)
    a = gemm.inputs[0]
    reshaped = Builder(edit, node).view(a, [*out[:-1], edit.value(a).shape[-1]])
    edit.remove_node(gemm.name)
    b = Builder(edit, node, joined(gemm, node))
    b.finish(Op.GEMM, [reshaped, *gemm.inputs[1:]], attrs)
    return True


def view_of_elementwise(edit: GraphEdit, node: Node) -> bool:
    """A View of an Elementwise over equal shapes and numbers moves in front of it, towards the
    Gemm that made the operands.
    """
    maker = made_by(edit, node.inputs[0], Op.ELEMENTWISE)
    if maker is None or not is_private(edit, node.inputs[0]):
        return False
    inner, out = edit.value(node.inputs[0]).shape, edit.value(node.outputs[0]).shape
    shapes = [edit.value(name).shape for name in maker.inputs]
    rows = [s for s in shapes if s != inner]
    last_kept = out[-1:] == inner[-1:]
    if not out or any(not last_kept or s != inner[-1:] for s in rows):
        return False
    if not any(made_by(edit, name, Op.VIEW) for name in maker.inputs):
        return False
    edit_out(edit, node)
    edit.remove_node(maker.name)
    b = Builder(edit, node, joined(maker, node))
    inputs = [b.view(x, out) if edit.value(x).shape == inner else x for x in maker.inputs]
    b.finish(Op.ELEMENTWISE, inputs, maker.attrs)
    return True


def view_of_matrix_transpose(edit: GraphEdit, node: Node) -> bool:
    """A View that regroups only the axes before a matrix transpose goes in front of it."""
    maker = made_by(edit, node.inputs[0], Op.PERMUTE)
    if maker is None or not is_private(edit, node.inputs[0]):
        return False
    perm = cast(PermuteAttrs, maker.attrs).perm
    rank = len(perm)
    out, inner = edit.value(node.outputs[0]).shape, edit.value(node.inputs[0]).shape
    if rank < 2 or perm != (*range(rank - 2), rank - 1, rank - 2) or out[-2:] != inner[-2:]:
        return False
    if len(out) < 2 or 0 in out:
        return False
    edit_out(edit, node)
    edit.remove_node(maker.name)
    b = Builder(edit, node, joined(maker, node))
    lead = len(out) - 2
    x = b.view(maker.inputs[0], (*out[:-2], out[-1], out[-2]))
    b.finish(Op.PERMUTE, [x], PermuteAttrs(perm=(*range(lead), lead + 1, lead)))
    return True


def permute_of_unary(edit: GraphEdit, node: Node) -> bool:
    """A Permute of a private chain of numbers only (a scaled key, say) goes in front of it."""
    maker = made_by(edit, node.inputs[0], Op.ELEMENTWISE)
    if maker is None or len(maker.inputs) != 1 or not is_private(edit, node.inputs[0]):
        return False
    if made_by(edit, maker.inputs[0], Op.GEMM) is not None:
        return False
    edit_out(edit, node)
    edit.remove_node(maker.name)
    b = Builder(edit, node, joined(maker, node))
    turned = b.permute(maker.inputs[0], cast(PermuteAttrs, node.attrs).perm)
    b.finish(Op.ELEMENTWISE, [turned], maker.attrs)
    return True


REWRITES = (
    Rewrite(name="view-of-view", pattern=(Op.VIEW,), apply=view_of_view),
    Rewrite(name="same-view", pattern=(Op.VIEW,), apply=same_view),
    Rewrite(name="view-of-gemm", pattern=(Op.VIEW,), apply=view_of_gemm),
    Rewrite(name="view-of-elementwise", pattern=(Op.VIEW,), apply=view_of_elementwise),
    Rewrite(name="view-of-transpose", pattern=(Op.VIEW,), apply=view_of_matrix_transpose),
    Rewrite(name="identity-permute", pattern=(Op.PERMUTE,), apply=identity_permute),
    Rewrite(name="permute-of-permute", pattern=(Op.PERMUTE,), apply=permute_of_permute),
    Rewrite(name="permute-of-unary", pattern=(Op.PERMUTE,), apply=permute_of_unary),
    Rewrite(name="full-slice", pattern=(Op.SLICE,), apply=full_slice),
    Rewrite(name="slice-of-slice", pattern=(Op.SLICE,), apply=slice_of_slice),
    Rewrite(name="expand-of-expand", pattern=(Op.EXPAND,), apply=expand_of_expand),
    Rewrite(name="single-concat", pattern=(Op.CONCAT,), apply=single_concat),
    Rewrite(name="empty-pad", pattern=(Op.PAD,), apply=empty_pad),
    Rewrite(name="neutral-elementwise", pattern=(Op.ELEMENTWISE,), apply=neutral_elementwise),
    Rewrite(name="absorb-expand", pattern=(Op.ELEMENTWISE,), apply=absorb_expand),
    Rewrite(name="outer-product", pattern=(Op.GEMM,), apply=outer_product),
    Rewrite(name="transposed-b", pattern=(Op.GEMM,), apply=transposed_b),
)
