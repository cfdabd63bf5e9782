"""Operators that make tensors from sizes or positions: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError (sizes above the cap, operands
that must be constant).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.graph.types import Array, DType
from compiler.ops import attrs as a
from compiler.ops.arithmetic import cast, is_float, widen
from compiler.ops.operands import (
    allocatable,
    array,
    axis_of,
    checked,
    constant,
    constant_ints,
    operand,
    same_dtype,
    scalar,
    to_ints,
)
from compiler.ops.types import Arrays, Operands, OpRow, Place, RuleError, Types


def _fill(attrs: a.ConstantOfShapeAttrs) -> Array:
    value = np.zeros(1, dtype=np.float32) if attrs.value is None else attrs.value
    if value.size != 1:
        raise RuleError(f"value must be one number, not {value.size}")
    return value.reshape(())


def _constant_type(attrs: a.ConstantOfShapeAttrs, operands: Operands) -> Types:
    dtype = DType.from_numpy(_fill(attrs).dtype)
    return (checked(dtype, constant_ints(operands, 0, "shape")),)


def _constant(attrs: a.ConstantOfShapeAttrs, arrays: Arrays) -> tuple[Array, ...]:
    value, shape = _fill(attrs), to_ints(array(arrays, 0), "shape")
    allocatable(shape, value.itemsize)
    return (np.full(shape, value),)


def _range_length(start: Array, limit: Array, delta: Array) -> int:
    """max(ceil((limit − start) / delta), 0), with Python integers for integers."""
    first, last, step = (widen(x).reshape(-1)[0].item() for x in (start, limit, delta))
    if step == 0 or not all(np.isfinite(x) for x in (first, last, step)):
        raise RuleError(f"Range from {first} to {last} needs a finite step that is not 0")
    if isinstance(step, int):
        return max(-((int(first) - int(last)) // step), 0)
    return int(max(np.ceil((last - first) / step), 0))


def _range_type(_attrs: Any, operands: Operands) -> Types:
    dtype = same_dtype([operand(operands, index) for index in range(3)])
    names = ("start", "limit", "delta")
    parts = [constant(operands, index, name) for index, name in enumerate(names)]
    if any(part.size != 1 for part in parts):
        raise RuleError("start, limit and delta must be one number each")
    return (checked(dtype, (_range_length(*parts),)),)


def _range(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    start, limit, delta = (array(arrays, index) for index in range(3))
    count = _range_length(start, limit, delta)
    allocatable((count,))
    first, step = start.reshape(-1)[0], delta.reshape(-1)[0]
    with np.errstate(all="ignore"):
        steps = np.arange(count, dtype=np.float64 if is_float(start.dtype) else np.int64)
        return ((widen(np.asarray(first)) + steps * widen(np.asarray(step))).astype(start.dtype),)


def _one_hot_type(attrs: a.OneHotAttrs, operands: Operands) -> Types:
    indices, values = operand(operands, 0), operand(operands, 2)
    depth = _depth(constant(operands, 1, "depth"))
    axis = axis_of(attrs.axis, len(indices.shape) + 1)
    return (checked(values.dtype, (*indices.shape[:axis], depth, *indices.shape[axis:])),)


def _depth(values: Array) -> int:
    depth = scalar(cast(values, np.int64), "depth")
    if depth < 0:
        raise RuleError(f"depth must not be negative, not {depth}")
    return depth


def _one_hot(attrs: a.OneHotAttrs, arrays: Arrays) -> tuple[Array, ...]:
    """Indices outside −depth … depth−1 give a row of off values."""
    indices, values = array(arrays, 0), array(arrays, 2)
    if values.shape != (2,):
        raise RuleError(f"values must be [off, on], not {list(values.shape)}")
    depth = _depth(array(arrays, 1))
    axis = axis_of(attrs.axis, indices.ndim + 1)
    allocatable((*indices.shape, depth))
    whole = np.expand_dims(cast(indices, np.int64), axis)
    whole = np.where(whole < 0, whole + depth, whole)
    steps = np.arange(depth).reshape([-1 if dim == axis else 1 for dim in range(whole.ndim)])
    return (np.where(whole == steps, values[1], values[0]).astype(values.dtype),)


def _eye_type(attrs: a.EyeLikeAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    if len(data.shape) != 2:
        raise RuleError(f"EyeLike needs a matrix, not {list(data.shape)}")
    return (checked(attrs.dtype or data.dtype, data.shape),)


def _eye(attrs: a.EyeLikeAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    dtype = data.dtype if attrs.dtype is None else attrs.dtype.numpy
    return (np.eye(data.shape[0], data.shape[1], k=attrs.k).astype(dtype),)


def _eye_known(attrs: a.EyeLikeAttrs, operands: Operands) -> tuple[Array, ...]:
    data = _eye_type(attrs, operands)[0]
    allocatable(data.shape)
    return (np.eye(data.shape[0], data.shape[1], k=attrs.k).astype(data.dtype.numpy),)


def _non_zero_type(_attrs: Any, operands: Operands) -> Types:
    data = constant(operands, 0, "the tensor whose non-zero elements are listed")
    return (checked(DType.I64, np.array(np.nonzero(data)).shape),)


def _non_zero(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    return (np.array(np.nonzero(np.atleast_1d(data)), dtype=np.int64)[: max(data.ndim, 0) or None],)


ROWS: tuple[OpRow, ...] = (
    OpRow(name="ConstantOfShape", since=9, attrs=a.ConstantOfShapeAttrs, shape=_constant_type,
          reference=_constant, place=Place.FOLDED),
    OpRow(name="Range", since=11, attrs=a.RangeAttrs, inputs=(3, 3), shape=_range_type,
          reference=_range,
          place=Place.FOLDED),
    OpRow(name="OneHot", since=9, attrs=a.OneHotAttrs, inputs=(3, 3), shape=_one_hot_type,
          reference=_one_hot, place=Place.HOST),
    OpRow(name="EyeLike", since=9, attrs=a.EyeLikeAttrs, shape=_eye_type, reference=_eye,
          from_types=_eye_known, place=Place.FOLDED),
    OpRow(name="NonZero", since=9, shape=_non_zero_type, reference=_non_zero,
          place=Place.FOLDED),
)  # fmt: skip
"""One row per operator."""
