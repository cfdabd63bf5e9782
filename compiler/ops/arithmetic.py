"""Number rules shared by references: width of the inner computation, casts, erf.

In:  numpy arrays.   Out: numpy arrays of the same shape.
Raises: nothing. 16-bit floats are computed in float32 and rounded once at the end (nearest even),
as onnxruntime does on a CPU. Where ONNX leaves a result undefined, this project defines it: float
to integer saturates and NaN becomes 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from compiler.graph.types import Array

_HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether a numpy dtype is a floating-point type (bfloat16 is one, though numpy says 'V')."""
    return dtype.kind == "f" or dtype in _HALF


def widen(values: Array) -> Array:
    """float16 and bfloat16 as float32; anything else unchanged."""
    return values.astype(np.float32) if values.dtype in _HALF else values


def narrow(values: Any, dtype: npt.DTypeLike) -> Array:
    """`values` as an array of `dtype`, without a copy where it already is."""
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(dtype, copy=False)


def in_float32(function: Callable[..., Any]) -> Callable[..., Array]:
    """`function` of arrays of one dtype, computed in float32 where that dtype has 16 bits; result
    in the first one's dtype.
    """

    def wide(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            result = function(*(widen(values) for values in arrays))
        return narrow(result, arrays[0].dtype)

    return wide


def cast(values: Array, dtype: npt.DTypeLike) -> Array:
    """ONNX Cast: float to integer truncates toward zero and saturates, NaN becomes 0; integers
    wrap; non-zero is True.
    """
    target = np.dtype(dtype)
    if values.dtype == target:
        return values
    if target.kind == "b":
        return np.asarray(widen(values) != 0)
    if target.kind in "iu" and is_float(values.dtype):
        return _truncate(values, target)
    with np.errstate(all="ignore"):
        return values.astype(target)


def _truncate(values: Array, target: np.dtype[Any]) -> Array:
    """float64 holds every bound but those of 64-bit integers, which the comparisons restore."""
    limits = np.iinfo(target)
    exact = np.trunc(values.astype(np.float64))
    with np.errstate(all="ignore"):
        result = np.nan_to_num(exact, nan=0.0).clip(-(2.0**62), 2.0**62).astype(np.int64)
        if target.itemsize == 8:
            result = np.nan_to_num(exact, nan=0.0).astype(target)
        else:
            result = result.clip(limits.min, limits.max).astype(target)
    result = np.where(exact >= float(limits.max), target.type(limits.max), result)
    return np.asarray(np.where(exact <= float(limits.min), target.type(limits.min), result))


def erf(values: Array) -> Array:
    """The error function, in double precision element by element (the standard library's), as the
    dtype of `values`.
    """
    flat = values.astype(np.float64).ravel()
    result = np.fromiter(map(math.erf, flat.tolist()), dtype=np.float64, count=flat.size)
    return result.reshape(values.shape).astype(values.dtype)


def gelu(values: Array) -> Array:
    """x/2 · (1 + erf(x/√2))."""
    half = values.dtype.type(0.5)
    return np.asarray(half * values * (1 + erf(values * values.dtype.type(math.sqrt(0.5)))))


def gelu_tanh(values: Array) -> Array:
    """x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    kind = values.dtype.type
    inner = kind(math.sqrt(2 / math.pi)) * (values + kind(0.044715) * values * values * values)
    return np.asarray(kind(0.5) * values * (1 + np.tanh(inner)))


def sigmoid(values: Array) -> Array:
    """1/(1 + e^−x) without overflow."""
    with np.errstate(all="ignore"):
        small = np.exp(-np.abs(values))
        return np.asarray(np.where(values >= 0, 1 / (1 + small), small / (1 + small)))


def softmax(values: Array, axis: int = -1) -> Array:
    """Softmax over `axis`; an empty axis gives an empty result."""
    if values.size == 0:
        return values
    with np.errstate(all="ignore"):
        powers = np.exp(values - values.max(axis=axis, keepdims=True))
        return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def divide_toward_zero(left: Array, right: Array) -> Array:
    """Integer division as in C; the caller has excluded 0 and INT_MIN / −1."""
    quotient = left // right
    inexact = (quotient * right != left) & ((left < 0) != (right < 0))
    return np.asarray(quotient + inexact.astype(quotient.dtype))
