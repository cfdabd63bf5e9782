"""Fusion of decomposed rotary position embeddings.

In:  Elementwise, Concat and Permute roots.   Out: rewrites for the engine.   Raises: nothing.

Forms: x·cos + rotate(x)·sin with halves or interleaved neighbours; concat(x1·cos − x2·sin, x2·cos
+ x1·sin); a rotated first part joined to an unchanged rest. A Rope moves behind the Permute that
brings heads forward, to stand on [B,H,S,D].
"""

from __future__ import annotations

from typing import cast

from compiler.graph.chip_ops import ConcatAttrs, Fn, Op, PermuteAttrs, RopeAttrs, SliceAttrs
from compiler.graph.graph import GraphEdit
from compiler.graph.types import Node
from compiler.passes.build import Builder, Operand
from compiler.passes.engine import Rewrite
from compiler.passes.match import binary, either, is_private, made_by, skip_views, unary
from compiler.passes.simplify import edit_out, joined


def rotate_add(edit: GraphEdit, node: Node) -> bool:
    """x·cos + rotate(x)·sin."""
    for plain, turned in either(edit, node.outputs[0], Fn.ADD):
        for x, cos in either(edit, plain, Fn.MUL):
            for rotated, sin in either(edit, turned, Fn.MUL):
                interleaved = _rotation(edit, rotated, x)
                if interleaved is not None and _is_table(edit, x, cos, sin):
                    return _replace(edit, node, (x, cos, sin), interleaved=interleaved)
    return False


def _is_table(edit: GraphEdit, x: Operand, cos: Operand, sin: Operand) -> bool:
    if not (isinstance(x, str) and isinstance(cos, str) and isinstance(sin, str)):
        return False
    width = edit.value(x).shape[-1]
    rank = len(edit.value(x).shape)
    return all(
        edit.value(name).shape[-1:] == (width,) and len(edit.value(name).shape) <= rank
        for name in (cos, sin)
    )


def _rotation(edit: GraphEdit, name: Operand, x: Operand) -> bool | None:
    """False where the value is concat(−x2, x1) of halves, True of interleaved neighbours; None for
    anything else.
    """
    if not isinstance(x, str):
        return None
    concat = made_by(edit, skip_views(edit, name), Op.CONCAT)
    if concat is None or len(concat.inputs) != 2:
        return None
    axis = cast(ConcatAttrs, concat.attrs).axis
    if axis != len(edit.value(concat.outputs[0]).shape) - 1:
        return None
    negative = unary(edit, skip_views(edit, concat.inputs[0]), Fn.NEG)
    if negative is None:
        return None
    parts = [_part(edit, negative, x), _part(edit, concat.inputs[1], x)]
    half = edit.value(x).shape[-1] // 2
    if parts == [(half, 1, half), (0, 1, half)]:
        return False
    return True if parts == [(1, 2, half), (0, 2, half)] else None


def _part(edit: GraphEdit, name: Operand, x: str) -> tuple[int, int, int] | None:
    """(start, step, size) along x's last axis where the value is a Slice of x there only."""
    part, whole = _cut(edit, skip_views(edit, name)), _cut(edit, x)
    if part is None or whole is None or part[0] != whole[0] or name == x:
        return None
    _, start, step, size = part
    _, first, stride, _ = whole
    if (start - first) % stride or step % stride:
        return None
    return (start - first) // stride, step // stride, size


def _cut(edit: GraphEdit, name: Operand) -> tuple[object, int, int, int] | None:
    """What a value is a Slice of (source and other axes), and its start, step, size of the last."""
    if not isinstance(name, str):
        return None
    shape = edit.value(name).shape
    if not shape:
        return None
    node = made_by(edit, name, Op.SLICE)
    if node is None:
        return (name, (0,) * (len(shape) - 1), shape[:-1]), 0, 1, shape[-1]
    attrs = cast(SliceAttrs, node.attrs)
    if any(step != 1 for step in attrs.steps[:-1]) or attrs.steps[-1] < 1:
        return None
    source = (node.inputs[0], attrs.starts[:-1], shape[:-1])
    return source, attrs.starts[-1], attrs.steps[-1], shape[-1]


def _replace(
    edit: GraphEdit, node: Node, operands: tuple[Operand, Operand, Operand], *, interleaved: bool
) -> bool:
    names = [cast(str, operand) for operand in operands]
    width = edit.value(names[0]).shape[-1]
    b = Builder(edit, edit_out(edit, node))
    b.finish(Op.ROPE, names, RopeAttrs(interleaved=interleaved, rotary_dim=width))
    return True


def rotate_halves(edit: GraphEdit, node: Node) -> bool:
    """concat(x1·cos − x2·sin, x2·cos + x1·sin) with half-width tables."""
    axis = cast(ConcatAttrs, node.attrs).axis
    shape = edit.value(node.outputs[0]).shape
    if len(node.inputs) != 2 or axis != len(shape) - 1:
        return False
    difference = binary(edit, node.inputs[0], Fn.SUB)
    if difference is None:
        return False
    for one, cos in either(edit, difference[0], Fn.MUL):
        for two, sin in either(edit, difference[1], Fn.MUL):
            x = _whole(edit, one, two, shape)
            if x is not None and _is_sum(edit, node.inputs[1], (two, cos), (one, sin)):
                return _replace(edit, node, (x, cos, sin), interleaved=False)
    return False


def _whole(edit: GraphEdit, one: Operand, two: Operand, shape: tuple[int, ...]) -> str | None:
    """X where the two values are its halves."""
    first = made_by(edit, one, Op.SLICE)
    if first is None or edit.value(first.inputs[0]).shape != shape:
        return None
    x, half = first.inputs[0], shape[-1] // 2
    parts = [_part(edit, one, x), _part(edit, two, x)]
    return x if parts == [(0, 1, half), (half, 1, half)] else None


def _is_sum(edit: GraphEdit, name: str, *products: tuple[Operand, Operand]) -> bool:
    for left, right in either(edit, name, Fn.ADD):
        pairs = zip((left, right), products, strict=True)
        if all(product in either(edit, side, Fn.MUL) for side, product in pairs):
            return True
    return False


def partial_rope(edit: GraphEdit, node: Node) -> bool:
    """concat(Rope(x[:r]), x[r:]) rotates the first r elements of x."""
    if len(node.inputs) != 2:
        return False
    rope = made_by(edit, node.inputs[0], Op.ROPE)
    if rope is None or not is_private(edit, rope.outputs[0]):
        return False
    head, tail = _cut(edit, rope.inputs[0]), _cut(edit, node.inputs[1])
    if head is None or tail is None or head[0] != tail[0] or (head[2], tail[2]) != (1, 1):
        return False
    if tail[1] != head[1] + head[3] or cast(ConcatAttrs, node.attrs).axis != _last(edit, node):
        return False
    cut = made_by(edit, rope.inputs[0], Op.SLICE)
    if cut is None:
        return False
    edit_out(edit, node)
    edit.remove_node(rope.name)
    b = Builder(edit, node, joined(rope, node))
    shape = b.shape(node.outputs[0])
    x = cut.inputs[0]
    if b.shape(x) != shape:
        x = b.emit(Op.SLICE, [x], cut.attrs, shape=shape)
    b.finish(Op.ROPE, [x, *rope.inputs[1:]], rope.attrs)
    return True


def _last(edit: GraphEdit, node: Node) -> int:
    return len(edit.value(node.outputs[0]).shape) - 1


def rope_behind_permute(edit: GraphEdit, node: Node) -> bool:
    """Permute(Rope(x)) is Rope(Permute(x)) where the last axis stays."""
    rope = made_by(edit, node.inputs[0], Op.ROPE)
    perm = cast(PermuteAttrs, node.attrs).perm
    rank = len(perm)
    if rope is None or not is_private(edit, node.inputs[0]) or perm[-1] != rank - 1:
        return False
    edit_out(edit, node)
    edit.remove_node(rope.name)
    b = Builder(edit, node, joined(rope, node))
    operands = []
    for name in rope.inputs:
        shape = b.shape(name)
        operands.append(b.permute(b.view(name, (1,) * (rank - len(shape)) + shape), perm))
    b.finish(Op.ROPE, operands, rope.attrs)
    return True


REWRITES = (
    Rewrite(name="rotate-add", pattern=(Op.ELEMENTWISE,), apply=rotate_add),
    Rewrite(name="rotate-halves", pattern=(Op.CONCAT,), apply=rotate_halves),
    Rewrite(name="partial-rope", pattern=(Op.CONCAT,), apply=partial_rope),
    Rewrite(name="rope-behind-permute", pattern=(Op.PERMUTE,), apply=rope_behind_permute),
)
