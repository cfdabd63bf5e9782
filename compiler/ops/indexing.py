"""Operators that read or write at computed positions: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError (an index out of range, shapes
that do not fit).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.graph.types import Array, DType, Value
from compiler.ops import attrs as a
from compiler.ops.arithmetic import narrow, widen
from compiler.ops.operands import (
    allocatable,
    array,
    axis_of,
    checked,
    constant,
    maybe_array,
    operand,
    same_dtype,
    scalar,
)
from compiler.ops.types import Arrays, Operands, OpRow, Place, RuleError, Types

_REDUCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _indices_type(value: Value) -> None:
    if value.dtype not in (DType.I32, DType.I64):
        raise RuleError(f"indices must be int32 or int64, not {value.dtype.value}")


def _in_range(indices: Array, dim: int) -> Array:
    """Indices from 0 to dim − 1; negative ones count from the end."""
    if indices.size and (indices.min() < -dim or indices.max() >= dim):
        bad = indices[(indices < -dim) | (indices >= dim)].flat[0]
        raise RuleError(f"index {int(bad)} is outside a dimension of {dim}")
    return np.where(indices < 0, indices + dim, indices)


def _constant_in_range(indices: Value, dim: int) -> None:
    if indices.const is not None:
        _in_range(indices.const, dim)


def _gather_type(attrs: a.AxisAttrs, operands: Operands) -> Types:
    data, indices = operand(operands, 0), operand(operands, 1)
    _indices_type(indices)
    axis = axis_of(attrs.axis, len(data.shape))
    _constant_in_range(indices, data.shape[axis])
    dims = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    return (checked(data.dtype, dims),)


def _gather(attrs: a.AxisAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, indices = array(arrays, 0), array(arrays, 1)
    axis = axis_of(attrs.axis, data.ndim)
    dims = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    allocatable(dims, data.itemsize)
    return (np.take(data, _in_range(indices, data.shape[axis]), axis=axis),)


def _gather_elements_type(attrs: a.AxisAttrs, operands: Operands) -> Types:
    data, indices = operand(operands, 0), operand(operands, 1)
    _indices_type(indices)
    axis = axis_of(attrs.axis, len(data.shape))
    _constant_in_range(indices, data.shape[axis])
    if len(indices.shape) != len(data.shape) or any(
        wanted > given
        for dim, (wanted, given) in enumerate(zip(indices.shape, data.shape, strict=True))
        if dim != axis
    ):
        raise RuleError(f"indices {list(indices.shape)} do not fit data {list(data.shape)}")
    return (checked(data.dtype, indices.shape),)


def _gather_elements(attrs: a.AxisAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, indices = array(arrays, 0), array(arrays, 1)
    axis = axis_of(attrs.axis, data.ndim)
    return (data[_element_index(_in_range(indices, data.shape[axis]), axis)],)


def _element_index(indices: Array, axis: int) -> tuple[Array, ...]:
    """Full index arrays: the position itself on every axis but `axis`."""
    grid = list(np.ogrid[tuple(slice(dim) for dim in indices.shape)])
    grid[axis] = indices
    return tuple(grid)


def _gather_nd_type(attrs: a.GatherNDAttrs, operands: Operands) -> Types:
    data, indices = operand(operands, 0), operand(operands, 1)
    if indices.dtype is not DType.I64:
        raise RuleError(f"indices must be int64, not {indices.dtype.value}")
    batch = attrs.batch_dims
    depth = indices.shape[-1] if indices.shape else 0
    if not 0 <= batch < min(len(data.shape), len(indices.shape)):
        raise RuleError(f"batch_dims {batch} is out of range")
    if not 1 <= depth <= len(data.shape) - batch or indices.shape[:batch] != data.shape[:batch]:
        raise RuleError(f"indices {list(indices.shape)} do not fit data {list(data.shape)}")
    return (checked(data.dtype, (*indices.shape[:-1], *data.shape[batch + depth :])),)


def _gather_nd(attrs: a.GatherNDAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, indices = array(arrays, 0), array(arrays, 1)
    batch, depth = attrs.batch_dims, indices.shape[-1]
    columns = [_in_range(indices[..., part], data.shape[batch + part]) for part in range(depth)]
    grid = np.ogrid[tuple(slice(dim) for dim in indices.shape[:batch])] if batch else []
    trailing = indices.ndim - 1 - batch
    lead = [np.asarray(g).reshape(np.asarray(g).shape + (1,) * trailing) for g in grid]
    dims = (*indices.shape[:-1], *data.shape[batch + depth :])
    allocatable(dims, data.itemsize)
    return (data[tuple([*lead, *columns])].reshape(dims),)


def _scatter_elements_type(attrs: a.ScatterAttrs, operands: Operands) -> Types:
    data, indices, updates = (operand(operands, index) for index in range(3))
    _indices_type(indices)
    _reduction(attrs.reduction)
    axis_of(attrs.axis, len(data.shape))
    same_dtype([data, updates])
    if indices.shape != updates.shape or len(indices.shape) != len(data.shape):
        raise RuleError(f"indices {list(indices.shape)} and updates {list(updates.shape)} differ")
    return (checked(data.dtype, data.shape),)


def _reduction(name: str) -> Any:
    if name != "none" and name not in _REDUCTIONS:
        raise RuleError(f"reduction must be none, add, mul, max or min, not '{name}'")
    return _REDUCTIONS.get(name)


def _write(data: Array, index: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    """A copy of `data` with updates written (or reduced, in order) at `index`."""
    function = _reduction(reduction)
    if function is None:
        result = data.copy()
        result[index] = updates
        return result
    wide = widen(data).copy() if widen(data) is data else widen(data)
    with np.errstate(all="ignore"):
        function.at(wide, index, widen(updates))
    return narrow(wide, data.dtype)


def _scatter_elements(attrs: a.ScatterAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, indices, updates = (array(arrays, index) for index in range(3))
    axis = axis_of(attrs.axis, data.ndim)
    index = _element_index(_in_range(indices, data.shape[axis]), axis)
    return (_write(data, index, updates, attrs.reduction),)


def _scatter_nd_type(attrs: a.ScatterNDAttrs, operands: Operands) -> Types:
    data, indices, updates = (operand(operands, index) for index in range(3))
    _reduction(attrs.reduction)
    same_dtype([data, updates])
    depth = indices.shape[-1] if indices.shape else 0
    if indices.dtype is not DType.I64 or not 1 <= depth <= len(data.shape):
        raise RuleError(f"indices {list(indices.shape)} do not fit data {list(data.shape)}")
    wanted = (*indices.shape[:-1], *data.shape[depth:])
    if updates.shape != wanted:
        raise RuleError(f"updates must be {list(wanted)}, not {list(updates.shape)}")
    return (checked(data.dtype, data.shape),)


def _scatter_nd(attrs: a.ScatterNDAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, indices, updates = (array(arrays, index) for index in range(3))
    columns = tuple(
        _in_range(indices[..., part], data.shape[part]) for part in range(indices.shape[-1])
    )
    return (_write(data, columns, updates, attrs.reduction),)


def _tensor_scatter_type(attrs: a.TensorScatterAttrs, operands: Operands) -> Types:
    cache, update = operand(operands, 0), operand(operands, 1)
    same_dtype([cache, update])
    axis = axis_of(attrs.axis, len(cache.shape))
    rest = [dim for place, dim in enumerate(cache.shape) if place != axis]
    if len(update.shape) != len(cache.shape) or axis == 0:
        raise RuleError(f"update {list(update.shape)} does not fit cache {list(cache.shape)}")
    if rest != [dim for place, dim in enumerate(update.shape) if place != axis]:
        raise RuleError(f"update {list(update.shape)} does not fit cache {list(cache.shape)}")
    if update.shape[axis] > cache.shape[axis] or attrs.mode not in ("linear", "circular"):
        raise RuleError(f"update {list(update.shape)} is longer than {list(cache.shape)}")
    return (checked(cache.dtype, cache.shape),)


def _tensor_scatter(attrs: a.TensorScatterAttrs, arrays: Arrays) -> tuple[Array, ...]:
    """Each batch entry's update is written from its own position on."""
    cache, update, starts = array(arrays, 0).copy(), array(arrays, 1), maybe_array(arrays, 2)
    axis = axis_of(attrs.axis, cache.ndim)
    for entry in range(cache.shape[0]):
        first = 0 if starts is None else int(starts[entry])
        places = first + np.arange(update.shape[axis])
        if attrs.mode == "circular":
            places = places % cache.shape[axis]
        elif first < 0 or first + update.shape[axis] > cache.shape[axis]:
            raise RuleError(f"write position {first} leaves the cache of {cache.shape[axis]}")
        target = np.moveaxis(cache[entry], axis - 1, 0)
        target[places] = np.moveaxis(update[entry], axis - 1, 0)
    return (cache,)


def _top_k_type(attrs: a.TopKAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    axis = axis_of(attrs.axis, len(data.shape))
    count = scalar(constant(operands, 1, "k"), "k")
    if not 0 <= count <= data.shape[axis]:
        raise RuleError(f"k = {count} is outside 0 … {data.shape[axis]}")
    dims = (*data.shape[:axis], count, *data.shape[axis + 1 :])
    return (checked(data.dtype, dims), checked(DType.I64, dims))


def _top_k(attrs: a.TopKAttrs, arrays: Arrays) -> tuple[Array, ...]:
    """Ties go to the lower index. Unsorted results come sorted: ONNX leaves their order open."""
    data = array(arrays, 0)
    axis = axis_of(attrs.axis, data.ndim)
    count = scalar(array(arrays, 1), "k")
    keys = widen(data)
    if attrs.largest:
        flipped = np.flip(keys, axis=axis)
        order = np.flip(np.argsort(flipped, axis=axis, kind="stable"), axis=axis)
        order = data.shape[axis] - 1 - order
    else:
        order = np.argsort(keys, axis=axis, kind="stable")
    chosen = np.take(order, np.arange(count), axis=axis)
    return (np.take_along_axis(data, chosen, axis=axis), chosen.astype(np.int64))


ROWS: tuple[OpRow, ...] = (
    OpRow(name="Gather", attrs=a.AxisAttrs, inputs=(2, 2), shape=_gather_type, reference=_gather,
          canon="Gather, Slice"),
    OpRow(name="GatherElements", since=11, attrs=a.AxisAttrs, inputs=(2, 2),
          shape=_gather_elements_type, reference=_gather_elements, place=Place.HOST),
    OpRow(name="GatherND", since=11, attrs=a.GatherNDAttrs, inputs=(2, 2), shape=_gather_nd_type,
          reference=_gather_nd, place=Place.HOST),
    OpRow(name="ScatterElements", since=11, attrs=a.ScatterAttrs, inputs=(3, 3),
          shape=_scatter_elements_type, reference=_scatter_elements, place=Place.HOST),
    OpRow(name="ScatterND", since=11, attrs=a.ScatterNDAttrs, inputs=(3, 3),
          shape=_scatter_nd_type, reference=_scatter_nd, place=Place.HOST),
    OpRow(name="TensorScatter", since=24, attrs=a.TensorScatterAttrs, inputs=(2, 3),
          shape=_tensor_scatter_type, reference=_tensor_scatter, place=Place.HOST),
    OpRow(name="TopK", since=11, attrs=a.TopKAttrs, inputs=(2, 2), outputs=(2, 2),
          shape=_top_k_type, reference=_top_k, place=Place.HOST),
)  # fmt: skip
"""One row per operator."""
