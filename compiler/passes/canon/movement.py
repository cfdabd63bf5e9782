"""Canonical forms of the ONNX operators that only move elements: View, Permute, Slice, Expand,
Concat, Pad, Gather.

In:  a Builder standing for the ONNX node (already taken out of the graph).   Out: None, or the
reason for leaving it to the host.
Raises: nothing. Sizes and indices must be constants, which constant folding has made them wherever
they can be.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from compiler.graph.chip_ops import ConcatAttrs, Fn, Op, PadAttrs, PermuteAttrs, SliceAttrs, Step
from compiler.graph.chip_ops import ElementwiseAttrs as Chain
from compiler.graph.types import Array, DType
from compiler.ops import attrs as onnx_attrs
from compiler.passes.build import Builder
from compiler.passes.canon.types import DYNAMIC_INDEX, Canon

INT64_MAX = np.iinfo(np.int64).max


def view(b: Builder) -> str | None:
    """Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout: the shape inference has found the
    output shape.
    """
    b.finish(Op.VIEW, b.node.inputs[:1])
    return None


def transpose(b: Builder) -> str | None:
    """Transpose."""
    x = b.node.inputs[0]
    perm = cast(onnx_attrs.TransposeAttrs, b.node.attrs).perm
    full = tuple(range(len(b.shape(x))))[::-1] if perm is None else tuple(perm)
    b.finish(Op.PERMUTE, [x], PermuteAttrs(perm=full))
    return None


def concat(b: Builder) -> str | None:
    """Concat; operands without elements (an empty cache) are left out."""
    rank = len(b.shape(b.node.outputs[0]))
    axis = cast(onnx_attrs.ConcatAttrs, b.node.attrs).axis % rank
    parts = [x for x in b.node.inputs if b.shape(x)[axis]] or list(b.node.inputs[:1])
    b.finish(Op.CONCAT, parts, ConcatAttrs(axis=axis))
    return None


def split(b: Builder) -> str | None:
    """Split: one Slice for each output that is used."""
    x = b.node.inputs[0]
    rank = len(b.shape(x))
    axis = cast(onnx_attrs.SplitAttrs, b.node.attrs).axis % rank
    start = 0
    for index, output in enumerate(b.node.outputs):
        if not output:
            return "an unnamed output of Split"
        starts = tuple(start if i == axis else 0 for i in range(rank))
        b.finish(Op.SLICE, [x], SliceAttrs(starts=starts, steps=(1,) * rank), index=index)
        start += b.shape(output)[axis]
    return None


def slice_(b: Builder) -> str | None:
    """Slice with constant bounds."""
    numbers = [None if not name else b.const(name) for name in b.node.inputs[1:]]
    given = [name for name in b.node.inputs[1:] if name]
    if len([n for n in numbers if n is not None]) != len(given):
        return DYNAMIC_INDEX
    shape = b.shape(b.node.inputs[0])
    begin = _ints(numbers[0])
    axes = _ints(numbers[2]) if len(numbers) > 2 and numbers[2] is not None else range(len(begin))
    jumps = _ints(numbers[3]) if len(numbers) > 3 and numbers[3] is not None else [1] * len(begin)
    starts, steps = [0] * len(shape), [1] * len(shape)
    for start, axis, step in zip(begin, axes, jumps, strict=True):
        dim = shape[axis]
        first = start + dim if start < 0 else start
        starts[axis] = min(max(first, 0), dim if step > 0 else max(dim - 1, 0))
        steps[axis] = step
    b.finish(Op.SLICE, b.node.inputs[:1], SliceAttrs(starts=tuple(starts), steps=tuple(steps)))
    return None


def _ints(array: Array | None) -> list[int]:
    return [] if array is None else [int(number) for number in array.ravel()]


def expand(b: Builder) -> str | None:
    """Expand: the output may have more axes than the input."""
    b.finish(Op.EXPAND, b.node.inputs[:1])
    return None


def tile(b: Builder) -> str | None:
    """Tile: a new axis before each repeated one, broadcast."""
    x, shape, out = b.node.inputs[0], b.shape(b.node.inputs[0]), b.shape(b.node.outputs[0])
    repeats = [new // old if old else 1 for old, new in zip(shape, out, strict=True)]
    spread = [n for dim in shape for n in (1, dim)]
    wide = [n for repeat, dim in zip(repeats, shape, strict=True) for n in (repeat, dim)]
    b.finish(Op.VIEW, [b.expand(b.view(x, spread), wide)])
    return None


def pad(b: Builder) -> str | None:
    """Pad with a constant; negative pads become a Slice."""
    node = b.node
    if cast(onnx_attrs.PadAttrs, node.attrs).mode != "constant":
        return f"Pad mode '{cast(onnx_attrs.PadAttrs, node.attrs).mode}'"
    pads, rank = b.const(node.inputs[1]), len(b.shape(node.inputs[0]))
    value = b.const(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if pads is None or (value is None and len(node.inputs) > 2 and node.inputs[2]):
        return DYNAMIC_INDEX
    axes = (
        _ints(b.const(node.inputs[3])) if len(node.inputs) > 3 and node.inputs[3] else range(rank)
    )
    before, after = [0] * rank, [0] * rank
    numbers = _ints(pads)
    for index, axis in enumerate(axes):
        before[axis], after[axis] = numbers[index], numbers[len(numbers) // 2 + index]
    x = node.inputs[0]
    for axis in range(rank):
        drop = max(-before[axis], 0), max(-after[axis], 0)
        if any(drop):
            x = b.slice_axis(x, axis, drop[0], b.shape(x)[axis] - sum(drop))
    pads_kept = tuple(max(n, 0) for n in (*before, *after))
    number = 0.0 if value is None else float(value.ravel()[0])
    b.finish(Op.PAD, [x], PadAttrs(pads=pads_kept, value=number))
    return None


def gather(b: Builder) -> str | None:
    """Gather: constant regular indices are a Slice, others rows of the table with `axis` in
    front.
    """
    table, ids = b.node.inputs
    shape = b.shape(table)
    axis = cast(onnx_attrs.AxisAttrs, b.node.attrs).axis % len(shape)
    known = b.const(ids)
    if known is not None:
        wrapped = np.where(known < 0, known + shape[axis], known)
        block = affine_block(wrapped)
        if block is not None:
            _finish_block(b, table, axis, block, known.shape)
            return None
    rank, ids_rank = len(shape), len(b.shape(ids))
    order = [axis, *(i for i in range(rank) if i != axis)]
    front = b.permute(table, order)
    if axis == 0:
        b.finish(Op.GATHER, [front, ids])
        return None
    rest = [shape[i] for i in order[1:]]
    rows = b.emit(Op.GATHER, [front, ids], shape=[*b.shape(ids), *rest])
    perm = [
        *range(ids_rank, ids_rank + axis),
        *range(ids_rank),
        *range(ids_rank + axis, ids_rank + rank - 1),
    ]
    b.finish(Op.PERMUTE, [rows], PermuteAttrs(perm=tuple(perm)))
    return None


def affine_block(ids: Array) -> tuple[int, int, int, tuple[int, ...]] | None:
    """(start, step, count, kept shape) where the indices, taken once along axes they do not vary
    in, are start + i·step.
    """
    if ids.size == 0:
        return None
    core = ids
    for axis in range(ids.ndim):
        if core.shape[axis] > 1 and bool(np.all(core == np.take(core, [0], axis=axis))):
            core = np.take(core, [0], axis=axis)
    flat = core.ravel().astype(np.int64)
    step = int(flat[1] - flat[0]) if flat.size > 1 else 1
    if step == 0 or not np.array_equal(flat, flat[0] + step * np.arange(flat.size)):
        return None
    return int(flat[0]), step, flat.size, core.shape


def _finish_block(
    b: Builder,
    x: str,
    axis: int,
    block: tuple[int, int, int, tuple[int, ...]],
    ids: tuple[int, ...],
) -> None:
    start, step, count, kept = block
    shape = b.shape(x)
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    steps = tuple(step if i == axis else 1 for i in range(len(shape)))
    cut = [count if i == axis else dim for i, dim in enumerate(shape)]
    y = b.emit(Op.SLICE, [x], SliceAttrs(starts=starts, steps=steps), shape=cut)
    if kept != ids:
        y = b.expand(
            b.view(y, [*shape[:axis], *kept, *shape[axis + 1 :]]),
            [*shape[:axis], *ids, *shape[axis + 1 :]],
        )
    b.finish(Op.VIEW, [y])


def gather_nd(b: Builder) -> str | None:
    """GatherND with constant indices: rows of the table whose indexed axes are made one."""
    table, ids = b.node.inputs
    known = b.const(ids)
    if known is None or cast(onnx_attrs.GatherNDAttrs, b.node.attrs).batch_dims:
        return DYNAMIC_INDEX
    shape = b.shape(table)
    depth = known.shape[-1]
    dims = np.asarray(shape[:depth], np.int64)
    wrapped = np.where(known < 0, known + dims, known)
    weights = np.asarray([math.prod(shape[i + 1 : depth]) for i in range(depth)], np.int64)
    rows = (wrapped * weights).sum(axis=-1)
    flat = b.view(table, [math.prod(shape[:depth]), *shape[depth:]])
    block = affine_block(rows)
    if block is not None:
        _finish_block(b, flat, 0, block, rows.shape)
    else:
        b.finish(Op.GATHER, [flat, b.constant(rows.astype(np.int32), "rows")])
    return None


def gather_elements(b: Builder) -> str | None:
    """GatherElements: rows of one element of the flattened table; a table of one number is that
    number.
    """
    table, ids = b.node.inputs
    data, shape, out = b.const(table), b.shape(table), b.shape(b.node.outputs[0])
    if data is not None and data.size and bool((data == data.ravel()[0]).all()):
        number = b.constant(np.ascontiguousarray(data.ravel()[:1].reshape((1,) * len(out))))
        b.finish(Op.EXPAND, [number])
        return None
    axis = cast(onnx_attrs.AxisAttrs, b.node.attrs).axis % len(shape)
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    places = np.indices(out, sparse=True)
    start = np.zeros(out, np.int32)
    for index, grid in enumerate(places):
        start = start + (grid * (0 if index == axis else strides[index])).astype(np.int32)
    below = b.steps([ids], [Step(fn=Fn.LT, const=0.0)], DType.BOOL)
    shift = Step(fn=Fn.SELECT, const=float(shape[axis]), const2=0.0)
    wrapped = b.binary(Fn.ADD, ids, b.steps([below], [shift], b.dtype(ids)))
    scaled = [Step(fn=Fn.MUL, const=float(strides[axis])), Step(fn=Fn.ADD, operand=1)]
    rows = b.steps([wrapped, b.constant(start, "start")], scaled)
    b.finish(Op.GATHER, [b.view(table, (math.prod(shape),)), rows])
    return None


def trilu(b: Builder) -> str | None:
    """Trilu with a constant diagonal: a selection by a constant triangle."""
    x = b.node.inputs[0]
    has_k = len(b.node.inputs) > 1 and b.node.inputs[1]
    k = b.const(b.node.inputs[1]) if has_k else np.zeros((), np.int64)
    if k is None:
        return DYNAMIC_INDEX
    upper = cast(onnx_attrs.TriluAttrs, b.node.attrs).upper
    ones = np.ones(b.shape(x)[-2:], np.bool_)
    diagonal = int(k.ravel()[0])
    triangle = b.constant(np.triu(ones, diagonal) if upper else np.tril(ones, diagonal), "triangle")
    step = Step(fn=Fn.SELECT, operand=1, const2=0.0)
    b.finish(Op.ELEMENTWISE, [triangle, x], Chain(steps=(step,)))
    return None


def depth_to_space(b: Builder) -> str | None:
    """DepthToSpace in both modes."""
    spec = cast(onnx_attrs.DepthAttrs, b.node.attrs)
    n, c, h, w = b.shape(b.node.inputs[0])
    size = spec.blocksize
    first, perm = (
        ([n, size, size, c // size**2, h, w], [0, 3, 4, 1, 5, 2])
        if spec.mode == "DCR"
        else ([n, c // size**2, size, size, h, w], [0, 1, 4, 2, 5, 3])
    )
    b.finish(Op.VIEW, [b.permute(b.view(b.node.inputs[0], first), perm)])
    return None


def space_to_depth(b: Builder) -> str | None:
    """SpaceToDepth."""
    size = cast(onnx_attrs.DepthAttrs, b.node.attrs).blocksize
    n, c, h, w = b.shape(b.node.inputs[0])
    blocks = b.view(b.node.inputs[0], [n, c, h // size, size, w // size, size])
    b.finish(Op.VIEW, [b.permute(blocks, [0, 3, 5, 1, 2, 4])])
    return None


ROWS: dict[str, Canon] = {
    "Reshape": view,
    "Flatten": view,
    "Squeeze": view,
    "Unsqueeze": view,
    "Identity": view,
    "Transpose": transpose,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Expand": expand,
    "Tile": tile,
    "Pad": pad,
    "Gather": gather,
    "GatherND": gather_nd,
    "GatherElements": gather_elements,
    "Trilu": trilu,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
