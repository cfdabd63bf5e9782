"""Operators that only move elements: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError (element counts, axes, bounds).
Operands that decide a shape (Reshape's shape, Slice's starts …) must be constants for the shape
rules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.graph.types import Array, DType
from compiler.ops import attrs as a
from compiler.ops.operands import (
    allocatable,
    array,
    axes_of,
    axis_of,
    broadcast,
    checked,
    constant_ints,
    maybe_array,
    operand,
    optional,
    optional_ints,
    same_dtype,
    to_ints,
)
from compiler.ops.types import UNBOUNDED, Arrays, Operands, OpRow, Place, RuleError, Types


def _ints(arrays: Arrays, index: int, what: str) -> tuple[int, ...] | None:
    values = maybe_array(arrays, index)
    return None if values is None else to_ints(values, what)


def _reshaped(
    shape: tuple[int, ...], wanted: tuple[int, ...], *, allowzero: bool
) -> tuple[int, ...]:
    dims = list(wanted)
    for axis, dim in enumerate(dims):
        if dim < -1:
            raise RuleError(f"shape {list(wanted)} has the dimension {dim}")
        if dim == 0 and not allowzero:
            if axis >= len(shape):
                raise RuleError(f"shape {list(wanted)} copies dimension {axis} of {list(shape)}")
            dims[axis] = shape[axis]
    if dims.count(-1) > 1 or (allowzero and -1 in dims and 0 in dims):
        raise RuleError(f"shape {list(wanted)} does not determine its dimension -1")
    count = math.prod(shape)
    if -1 in dims:
        known = math.prod(dim for dim in dims if dim != -1)
        dims[dims.index(-1)] = count // known if known else 0
    if math.prod(dims) != count:
        raise RuleError(f"{list(shape)} has {count} elements and cannot become {list(wanted)}")
    return tuple(dims)


def _reshape_type(attrs: a.ReshapeAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    wanted = constant_ints(operands, 1, "shape")
    return (checked(data.dtype, _reshaped(data.shape, wanted, allowzero=bool(attrs.allowzero))),)


def _reshape(attrs: a.ReshapeAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    wanted = to_ints(array(arrays, 1), "shape")
    return (data.reshape(_reshaped(data.shape, wanted, allowzero=bool(attrs.allowzero))),)


def _flat(attrs: a.FlattenAttrs, shape: tuple[int, ...]) -> tuple[int, int]:
    axis = attrs.axis if attrs.axis == len(shape) else axis_of(attrs.axis, max(len(shape), 1))
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def _flatten_type(attrs: a.FlattenAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, _flat(attrs, data.shape)),)


def _flatten(attrs: a.FlattenAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    return (data.reshape(_flat(attrs, data.shape)),)


def _squeezed(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    if axes is None:
        return tuple(dim for dim in shape if dim != 1)
    chosen = axes_of(axes, len(shape))
    for axis in chosen:
        if shape[axis] != 1:
            raise RuleError(f"axis {axis} of {list(shape)} is not 1 and cannot be squeezed")
    return tuple(dim for axis, dim in enumerate(shape) if axis not in chosen)


def _squeeze_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, _squeezed(data.shape, optional_ints(operands, 1, "axes"))),)


def _squeeze(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    return (data.reshape(_squeezed(data.shape, _ints(arrays, 1, "axes"))),)


def _unsqueezed(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    dims = list(shape)
    for axis in axes_of(axes, len(shape) + len(axes)):
        dims.insert(axis, 1)
    return tuple(dims)


def _unsqueeze_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, _unsqueezed(data.shape, constant_ints(operands, 1, "axes"))),)


def _unsqueeze(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    return (data.reshape(_unsqueezed(data.shape, to_ints(array(arrays, 1), "axes"))),)


def _perm(attrs: a.TransposeAttrs, rank: int) -> tuple[int, ...]:
    if attrs.perm is None:
        return tuple(reversed(range(rank)))
    perm = tuple(axis_of(axis, rank) for axis in attrs.perm) if rank else attrs.perm
    if sorted(perm) != list(range(rank)):
        raise RuleError(f"perm {list(attrs.perm)} does not reorder {rank} axes")
    return perm


def _transpose_type(attrs: a.TransposeAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, (data.shape[axis] for axis in _perm(attrs, len(data.shape)))),)


def _transpose(attrs: a.TransposeAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    return (np.ascontiguousarray(data.transpose(_perm(attrs, data.ndim))),)


def _concat_type(attrs: a.ConcatAttrs, operands: Operands) -> Types:
    values = [operand(operands, index) for index in range(len(operands))]
    first = values[0].shape
    axis = axis_of(attrs.axis, len(first))
    for value in values:
        rest = [*value.shape[:axis], *value.shape[axis + 1 :]]
        if len(value.shape) != len(first) or rest != [*first[:axis], *first[axis + 1 :]]:
            raise RuleError(f"{list(first)} and {list(value.shape)} do not join along axis {axis}")
    dims = list(first)
    dims[axis] = sum(value.shape[axis] for value in values)
    return (checked(same_dtype(values), dims),)


def _concat(attrs: a.ConcatAttrs, arrays: Arrays) -> tuple[Array, ...]:
    return (np.concatenate([array(arrays, i) for i in range(len(arrays))], axis=attrs.axis),)


def _sizes(attrs: a.SplitAttrs, dim: int, given: tuple[int, ...] | None) -> tuple[int, ...]:
    if given is not None:
        if sum(given) != dim or min(given, default=0) < 0:
            raise RuleError(f"sizes {list(given)} do not split {dim}")
        return given
    parts = attrs.num_outputs
    if parts is None or parts < 1:
        raise RuleError(f"Split without sizes needs num_outputs above 0, not {parts}")
    size = -(-dim // parts)
    last = dim - size * (parts - 1)
    if last < 0:
        raise RuleError(f"{dim} cannot be split into {parts} parts of {size}")
    return (*(size,) * (parts - 1), last)


def _split_type(attrs: a.SplitAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    axis = axis_of(attrs.axis, len(data.shape))
    sizes = _sizes(attrs, data.shape[axis], optional_ints(operands, 1, "split"))
    head, tail = data.shape[:axis], data.shape[axis + 1 :]
    return tuple(checked(data.dtype, (*head, size, *tail)) for size in sizes)


def _split(attrs: a.SplitAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    axis = axis_of(attrs.axis, data.ndim)
    sizes = _sizes(attrs, data.shape[axis], _ints(arrays, 1, "split"))
    return tuple(np.split(data, np.cumsum(sizes)[:-1], axis=axis))


def _slices(shape: Sequence[int], parts: Sequence[tuple[int, ...] | None]) -> tuple[slice, ...]:
    """One slice per axis, with ONNX's clamping of starts and ends."""
    starts, ends, axes, steps = parts
    if starts is None or ends is None or len(starts) != len(ends):
        raise RuleError("starts and ends must have the same length")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if len(axes) != len(starts) or len(steps) != len(starts):
        raise RuleError("starts, ends, axes and steps must have the same length")
    axes_of(axes, len(shape))
    result = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise RuleError("a step must not be 0")
        # Python clamps bounds that are out of range exactly as ONNX does.
        result[axis_of(axis, len(shape))] = slice(start, end, step)
    return tuple(result)


def _slice_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    starts, ends = constant_ints(operands, 1, "starts"), constant_ints(operands, 2, "ends")
    axes, steps = optional_ints(operands, 3, "axes"), optional_ints(operands, 4, "steps")
    cuts = _slices(data.shape, (starts, ends, axes, steps))
    dims = [len(range(*cut.indices(dim))) for cut, dim in zip(cuts, data.shape, strict=True)]
    return (checked(data.dtype, dims),)


def _slice(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    names = ("starts", "ends", "axes", "steps")
    parts = [_ints(arrays, index + 1, name) for index, name in enumerate(names)]
    return (data[_slices(data.shape, parts)],)


def _expand_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    wanted = checked(data.dtype, constant_ints(operands, 1, "shape")).shape
    return (checked(data.dtype, broadcast(data.shape, wanted)),)


def _expand(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    shape = broadcast(data.shape, to_ints(array(arrays, 1), "shape"))
    allocatable(shape, data.itemsize)
    return (np.broadcast_to(data, shape).copy(),)


def _repeats(repeats: tuple[int, ...], rank: int) -> tuple[int, ...]:
    if len(repeats) != rank or min(repeats, default=0) < 0:
        raise RuleError(f"repeats {list(repeats)} must be {rank} numbers, none negative")
    return repeats


def _tile_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    repeats = _repeats(constant_ints(operands, 1, "repeats"), len(data.shape))
    dims = (dim * times for dim, times in zip(data.shape, repeats, strict=True))
    return (checked(data.dtype, dims),)


def _tile(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    repeats = _repeats(to_ints(array(arrays, 1), "repeats"), data.ndim)
    allocatable(
        [dim * times for dim, times in zip(data.shape, repeats, strict=True)], data.itemsize
    )
    return (np.tile(data, repeats),)


def _pads(
    pads: tuple[int, ...], axes: tuple[int, ...] | None, rank: int
) -> tuple[tuple[int, int], ...]:
    chosen = tuple(range(rank)) if axes is None else tuple(axis_of(axis, rank) for axis in axes)
    if len(pads) != 2 * len(chosen):
        raise RuleError(f"pads must be {2 * len(chosen)} numbers, not {len(pads)}")
    result = [(0, 0)] * rank
    for index, axis in enumerate(chosen):
        result[axis] = (pads[index], pads[index + len(chosen)])
    return tuple(result)


def _pad_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    axes = optional_ints(operands, 3, "axes")
    pads = _pads(constant_ints(operands, 1, "pads"), axes, len(data.shape))
    dims = (dim + sum(pad) for dim, pad in zip(data.shape, pads, strict=True))
    return (checked(data.dtype, dims),)


def _pad(attrs: a.PadAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    pads = _pads(to_ints(array(arrays, 1), "pads"), _ints(arrays, 3, "axes"), data.ndim)
    cuts = tuple(
        slice(max(0, -low), dim - max(0, -high))
        for dim, (low, high) in zip(data.shape, pads, strict=True)
    )
    grown = [(max(0, low), max(0, high)) for low, high in pads]
    allocatable([dim + sum(pad) for dim, pad in zip(data.shape, grown, strict=True)], data.itemsize)
    if attrs.mode == "constant":
        fill = maybe_array(arrays, 2)
        value = data.dtype.type(0) if fill is None else fill.reshape(()).astype(data.dtype)
        return (np.pad(data[cuts], grown, constant_values=value),)
    if attrs.mode not in ("reflect", "edge", "wrap"):
        raise RuleError(f"mode must be constant, reflect, edge or wrap, not '{attrs.mode}'")
    return (np.pad(data[cuts], grown, mode=attrs.mode),)  # type: ignore[call-overload]


def _span(attrs: a.ShapeAttrs, rank: int) -> slice:
    return slice(*slice(attrs.start, attrs.end).indices(rank)[:2])


def _shape_type(attrs: a.ShapeAttrs, operands: Operands) -> Types:
    dims = operand(operands, 0).shape
    return (checked(DType.I64, (len(dims[_span(attrs, len(dims))]),)),)


def _shape(attrs: a.ShapeAttrs, arrays: Arrays) -> tuple[Array, ...]:
    dims = array(arrays, 0).shape
    return (np.array(dims[_span(attrs, len(dims))], dtype=np.int64),)


def _shape_known(attrs: a.ShapeAttrs, operands: Operands) -> tuple[Array, ...]:
    dims = operand(operands, 0).shape
    return (np.array(dims[_span(attrs, len(dims))], dtype=np.int64),)


def _size_known(_attrs: Any, operands: Operands) -> tuple[Array, ...]:
    return (np.array(math.prod(operand(operands, 0).shape), dtype=np.int64),)


def _size_type(_attrs: Any, _operands: Operands) -> Types:
    return (checked(DType.I64, ()),)


def _size(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    return (np.array(array(arrays, 0).size, dtype=np.int64),)


def _trilu_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    if len(data.shape) < 2:
        raise RuleError(f"Trilu needs a matrix, not {list(data.shape)}")
    if optional(operands, 1) is not None and operand(operands, 1).elems != 1:
        raise RuleError("k must be one number")
    return (checked(data.dtype, data.shape),)


def _trilu(attrs: a.TriluAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, k = array(arrays, 0), maybe_array(arrays, 1)
    offset = 0 if k is None else max(-(1 << 40), min(1 << 40, int(k.reshape(-1)[0])))
    rows, columns = data.shape[-2:]
    distance = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    keep = distance >= offset if attrs.upper else distance <= offset
    return (np.where(keep, data, np.zeros((), dtype=data.dtype)),)


def _blocks(attrs: a.DepthAttrs, shape: tuple[int, ...], *, grow: bool) -> tuple[int, ...]:
    if attrs.mode not in ("DCR", "CRD"):
        raise RuleError(f"mode must be DCR or CRD, not '{attrs.mode}'")
    if len(shape) != 4 or attrs.blocksize < 1:
        raise RuleError(f"needs 4 dimensions and a positive blocksize, not {list(shape)}")
    n, c, h, w = shape
    size = attrs.blocksize
    if (c % (size * size)) if grow else (h % size or w % size):
        raise RuleError(f"blocksize {size} does not divide {list(shape)}")
    if grow:
        return (n, c // (size * size), h * size, w * size)
    return (n, c * size * size, h // size, w // size)


def _depth_type(attrs: a.DepthAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, _blocks(attrs, data.shape, grow=True)),)


def _depth(attrs: a.DepthAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, size = array(arrays, 0), attrs.blocksize
    shape = _blocks(attrs, data.shape, grow=True)
    n, c, h, w = data.shape
    if attrs.mode == "DCR":
        cube = data.reshape(n, size, size, shape[1], h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        cube = data.reshape(n, shape[1], size, size, h, w).transpose(0, 1, 4, 2, 5, 3)
    return (np.ascontiguousarray(cube).reshape(shape),)


def _space_type(attrs: a.DepthAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, _blocks(attrs, data.shape, grow=False)),)


def _space(attrs: a.DepthAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, size = array(arrays, 0), attrs.blocksize
    shape = _blocks(attrs, data.shape, grow=False)
    n, c = data.shape[:2]
    order = (0, 3, 5, 1, 2, 4) if attrs.mode == "DCR" else (0, 1, 3, 5, 2, 4)
    cube = data.reshape(n, c, shape[2], size, shape[3], size).transpose(order)
    return (np.ascontiguousarray(cube).reshape(shape),)


ROWS: tuple[OpRow, ...] = (
    OpRow(name="Reshape", since=5, attrs=a.ReshapeAttrs, inputs=(2, 2), shape=_reshape_type,
          reference=_reshape, canon="View"),
    OpRow(name="Flatten", attrs=a.FlattenAttrs, shape=_flatten_type, reference=_flatten,
          canon="View"),
    OpRow(name="Squeeze", since=13, inputs=(1, 2), shape=_squeeze_type, reference=_squeeze,
          canon="View"),
    OpRow(name="Unsqueeze", since=13, inputs=(2, 2), shape=_unsqueeze_type, reference=_unsqueeze,
          canon="View"),
    OpRow(name="Transpose", attrs=a.TransposeAttrs, shape=_transpose_type, reference=_transpose,
          canon="Permute"),
    OpRow(name="Concat", attrs=a.ConcatAttrs, inputs=(1, UNBOUNDED), shape=_concat_type,
          reference=_concat, canon="Concat"),
    OpRow(name="Split", since=13, attrs=a.SplitAttrs, inputs=(1, 2), outputs=(1, UNBOUNDED),
          shape=_split_type, reference=_split, canon="Slice"),
    OpRow(name="Slice", since=10, inputs=(3, 5), shape=_slice_type, reference=_slice,
          canon="Slice"),
    OpRow(name="Expand", since=8, inputs=(2, 2), shape=_expand_type, reference=_expand,
          canon="Expand"),
    OpRow(name="Tile", since=6, inputs=(2, 2), shape=_tile_type, reference=_tile,
          canon="View, Expand"),
    OpRow(name="Pad", since=11, attrs=a.PadAttrs, inputs=(2, 4), shape=_pad_type, reference=_pad,
          canon="Pad"),
    OpRow(name="Shape", attrs=a.ShapeAttrs, shape=_shape_type, reference=_shape,
          from_types=_shape_known, place=Place.FOLDED),
    OpRow(name="Size", shape=_size_type, reference=_size, from_types=_size_known,
          place=Place.FOLDED),
    OpRow(name="Trilu", since=14, attrs=a.TriluAttrs, inputs=(1, 2), shape=_trilu_type,
          reference=_trilu, canon="Elementwise"),
    OpRow(name="DepthToSpace", attrs=a.DepthAttrs, shape=_depth_type, reference=_depth,
          canon="View, Permute"),
    OpRow(name="SpaceToDepth", attrs=a.DepthAttrs, shape=_space_type, reference=_space,
          canon="View, Permute"),
)  # fmt: skip
"""One row per operator."""
