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
    maybe_ints,
    operand,
    optional_ints,
    same_dtype,
    to_ints,
)
from compiler.ops.types import UNBOUNDED, Arrays, Operands, OpRow, Place, RuleError, Types


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
    return (data.reshape(_squeezed(data.shape, maybe_ints(arrays, 1, "axes"))),)


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
    sizes = _sizes(attrs, data.shape[axis], maybe_ints(arrays, 1, "split"))
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
    parts = [maybe_ints(arrays, index + 1, name) for index, name in enumerate(names)]
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
    OpRow(name="Shape", attrs=a.ShapeAttrs, shape=_shape_type, reference=_shape,
          from_types=_shape_known, place=Place.FOLDED),
    OpRow(name="Size", shape=_size_type, reference=_size, from_types=_size_known,
          place=Place.FOLDED),
)  # fmt: skip
"""One row per operator."""
