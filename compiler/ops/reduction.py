"""Operators that reduce or accumulate along axes: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError (axes, empty axis where the result
would be undefined).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.graph.types import Array, DType
from compiler.ops import attrs as a
from compiler.ops.arithmetic import divide_toward_zero, is_float, narrow, widen
from compiler.ops.operands import (
    array,
    axes_of,
    axis_of,
    checked,
    constant_ints,
    maybe_array,
    operand,
    optional_ints,
    scalar,
    to_ints,
)
from compiler.ops.types import Arrays, Operands, OpRow, Place, RuleError, Types

_Reducer = Callable[[Array, tuple[int, ...]], Any]


def _chosen(attrs: a.ReduceAttrs, axes: tuple[int, ...] | None, rank: int) -> tuple[int, ...]:
    """Axes to reduce; none given means all, or nothing where `noop_with_empty_axes`."""
    if axes:
        return axes_of(axes, rank)
    return () if attrs.noop_with_empty_axes else tuple(range(rank))


def _reduce_type(attrs: a.ReduceAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    axes = _chosen(attrs, optional_ints(operands, 1, "axes"), len(data.shape))
    dims = (
        1 if axis in axes else dim
        for axis, dim in enumerate(data.shape)
        if attrs.keepdims or axis not in axes
    )
    return (checked(data.dtype, dims),)


def _reference(function: _Reducer) -> Callable[[Any, Arrays], tuple[Array, ...]]:
    def reference(attrs: a.ReduceAttrs, arrays: Arrays) -> tuple[Array, ...]:
        data, given = array(arrays, 0), maybe_array(arrays, 1)
        axes = _chosen(attrs, None if given is None else to_ints(given, "axes"), data.ndim)
        with np.errstate(all="ignore"):
            result = np.asarray(function(widen(data), axes))
        dims = [
            1 if axis in axes else dim
            for axis, dim in enumerate(data.shape)
            if attrs.keepdims or axis not in axes
        ]
        return (narrow(result, data.dtype).reshape(dims),)

    return reference


def _mean(x: Array, axes: tuple[int, ...]) -> Any:
    if is_float(x.dtype):
        return x.mean(axis=axes, dtype=x.dtype)
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    if count == 0:
        raise RuleError("the mean of no integers is undefined")
    return divide_toward_zero(x.sum(axis=axes, dtype=x.dtype), np.asarray(count, dtype=x.dtype))


def _extreme(function: Any, *, largest: bool) -> _Reducer:
    """Maximum or minimum; of nothing: the least or greatest number of the type."""

    def reduce(x: Array, axes: tuple[int, ...]) -> Any:
        if is_float(x.dtype):
            bound: Any = -np.inf if largest else np.inf
        elif x.dtype.kind == "b":
            bound = not largest
        else:
            bound = np.iinfo(x.dtype).min if largest else np.iinfo(x.dtype).max
        return function(x, axis=axes, initial=x.dtype.type(bound))

    return reduce


def _log_sum_exp(x: Array, axes: tuple[int, ...]) -> Any:
    if not axes:
        return x
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0)
    return np.log(np.exp(x - shift).sum(axis=axes)) + np.squeeze(shift, axis=axes)


_REDUCERS: dict[str, _Reducer] = {
    "ReduceSum": lambda x, axes: x.sum(axis=axes, dtype=x.dtype),
    "ReduceMean": _mean,
    "ReduceMax": _extreme(np.max, largest=True),
    "ReduceMin": _extreme(np.min, largest=False),
    "ReduceProd": lambda x, axes: x.prod(axis=axes, dtype=x.dtype),
    "ReduceL1": lambda x, axes: np.abs(x).sum(axis=axes, dtype=x.dtype),
    "ReduceL2": lambda x, axes: np.sqrt((x * x).sum(axis=axes, dtype=x.dtype)),
    "ReduceLogSum": lambda x, axes: np.log(x.sum(axis=axes, dtype=x.dtype)),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceSumSquare": lambda x, axes: (x * x).sum(axis=axes, dtype=x.dtype),
}


def _arg_type(attrs: a.ArgAttrs, operands: Operands) -> Types:
    shape = operand(operands, 0).shape
    chosen = axis_of(attrs.axis, len(shape))
    if shape[chosen] == 0:
        raise RuleError("the position of an extreme of nothing is undefined")
    dims = (
        1 if axis == chosen else dim
        for axis, dim in enumerate(shape)
        if attrs.keepdims or axis != chosen
    )
    return (checked(DType.I64, dims),)


def _arg(function: Any) -> Callable[[Any, Arrays], tuple[Array, ...]]:
    def reference(attrs: a.ArgAttrs, arrays: Arrays) -> tuple[Array, ...]:
        data = widen(array(arrays, 0))
        axis = axis_of(attrs.axis, data.ndim)
        if attrs.select_last_index:
            found = data.shape[axis] - 1 - function(np.flip(data, axis), axis=axis)
        else:
            found = function(data, axis=axis)
        result = np.asarray(found, dtype=np.int64)
        return (np.expand_dims(result, axis) if attrs.keepdims else result,)

    return reference


def _cum_sum_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    axes = constant_ints(operands, 1, "axis")
    if len(axes) != 1:
        raise RuleError(f"axis must be one number, not {len(axes)}")
    axis_of(axes[0], len(data.shape))
    return (checked(data.dtype, data.shape),)


def _cum_sum(attrs: a.CumSumAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    axis = axis_of(scalar(array(arrays, 1), "axis"), data.ndim)
    steps = np.flip(widen(data), axis) if attrs.reverse else widen(data)
    sums = np.cumsum(steps, axis=axis, dtype=steps.dtype)
    if attrs.exclusive and sums.shape[axis]:
        sums = np.roll(sums, 1, axis=axis)
        np.moveaxis(sums, axis, 0)[0] = 0
    return (narrow(np.flip(sums, axis) if attrs.reverse else sums, data.dtype),)


_ON_CHIP = frozenset({"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"})

ROWS: tuple[OpRow, ...] = (
    *(
        OpRow(name=name, since=13, attrs=a.ReduceAttrs, inputs=(1, 2), shape=_reduce_type,
              reference=_reference(function),
              canon="Reduce" if name in _ON_CHIP else "Elementwise, Reduce")
        for name, function in _REDUCERS.items()
    ),
    OpRow(name="ArgMax", attrs=a.ArgAttrs, shape=_arg_type, reference=_arg(np.argmax),
          place=Place.HOST),
    OpRow(name="ArgMin", attrs=a.ArgAttrs, shape=_arg_type, reference=_arg(np.argmin),
          place=Place.HOST),
    OpRow(name="CumSum", since=11, attrs=a.CumSumAttrs, inputs=(2, 2), shape=_cum_sum_type,
          reference=_cum_sum, place=Place.HOST),
)  # fmt: skip
"""One row per operator."""
