"""Quantisation and integer arithmetic: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`, and the shared `quantise`, `dequantise`.
Raises: RuleError (a scale of 0, shapes of scales and zero points).   int4 operands arrive unpacked,
one per int8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.graph.types import Array, DType
from compiler.ops import attrs as a
from compiler.ops import attrs_microsoft as m
from compiler.ops.arithmetic import narrow, sigmoid, softmax, widen
from compiler.ops.linear import convolution_shape, convolve, matmul_shape
from compiler.ops.operands import (
    array,
    axis_of,
    broadcast,
    checked,
    maybe_array,
    operand,
    optional,
    same_dtype,
    takes_floats,
)
from compiler.ops.types import UNBOUNDED, Arrays, Operands, OpRow, Place, RuleError, Types

_MS = "com.microsoft"


def _spread(values: Array, shape: tuple[int, ...], axis: int, block: int) -> Array:
    """Scales or zero points (one, one per index of `axis`, or one per block of it) broadcastable to
    `shape`.
    """
    if values.size == 1 and not block:
        return values.reshape(())
    axis = axis_of(axis, len(shape))
    if block:
        if values.ndim != len(shape):
            raise RuleError(f"blocked scales need {len(shape)} dimensions, not {values.ndim}")
        return np.repeat(values, block, axis=axis)[tuple(slice(dim) for dim in shape)]
    if values.shape != (shape[axis],):
        raise RuleError(f"scale {list(values.shape)} does not fit axis {axis} of {list(shape)}")
    return values.reshape([-1 if place == axis else 1 for place in range(len(shape))])


def quantise(x: Array, scale: Array, zero: Array | None, dtype: npt.DTypeLike) -> Array:
    """saturate(round_half_even(x/scale) + zero) as `dtype`; NaN becomes the zero point."""
    if np.any(scale == 0):
        raise RuleError("a scale of 0 has no defined result")
    with np.errstate(all="ignore"):
        steps = np.rint(widen(x) / widen(scale)).astype(np.float64)
    steps = np.nan_to_num(steps, nan=0.0, posinf=2.0**40, neginf=-(2.0**40))
    limits = np.iinfo(np.dtype(dtype))
    whole = steps if zero is None else steps + zero.astype(np.float64)
    return whole.clip(limits.min, limits.max).astype(dtype)


def dequantise(x: Array, scale: Array, zero: Array | None, dtype: npt.DTypeLike) -> Array:
    """(x − zero)·scale, computed in float32, as `dtype`."""
    whole = x.astype(np.int64) if zero is None else x.astype(np.int64) - zero.astype(np.int64)
    return narrow(whole.astype(np.float32) * widen(scale), dtype)


def _quantise_type(attrs: a.QuantizeAttrs, operands: Operands) -> Types:
    data, zero = operand(operands, 0), optional(operands, 2)
    dtype = zero.dtype if zero is not None else attrs.output_dtype or DType.U8
    if attrs.output_dtype not in (None, dtype):
        raise RuleError(f"output_dtype differs from the zero point's {dtype.value}")
    _check_scales(attrs, operands)
    scale = operand(operands, 1).const
    if scale is not None and not np.all(np.isfinite(scale) & (scale != 0)):
        raise RuleError("a scale of 0, infinity or NaN: the result is undefined")
    return (checked(dtype, data.shape),)


def _check_scales(attrs: Any, operands: Operands) -> None:
    data, scale, zero = operand(operands, 0), operand(operands, 1), optional(operands, 2)
    if zero is not None and zero.shape != scale.shape and zero.elems != 1 != scale.elems:
        raise RuleError(f"scale {list(scale.shape)} and zero point {list(zero.shape)} differ")
    if scale.elems != 1 and not attrs.block_size:
        dim = data.shape[axis_of(attrs.axis, len(data.shape))]
        if scale.shape != (dim,):
            raise RuleError(f"scale {list(scale.shape)} does not fit {list(data.shape)}")


def _integer_target(attrs: a.QuantizeAttrs, operands: Operands) -> bool:
    """The result must be an integer of 8 or 16 bits, computed in float32."""
    zero = optional(operands, 2)
    dtype = zero.dtype if zero is not None else attrs.output_dtype or DType.U8
    return dtype in (DType.I8, DType.U8, DType.I16, DType.U16) and attrs.precision in (0, 1)


def _quantise(attrs: a.QuantizeAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, zero = array(arrays, 0), maybe_array(arrays, 2)
    dtype = zero.dtype if zero is not None else (attrs.output_dtype or DType.U8).numpy
    scale = _spread(array(arrays, 1), data.shape, attrs.axis, attrs.block_size)
    if zero is not None:
        zero = _spread(zero, data.shape, attrs.axis, attrs.block_size)
    return (quantise(data, scale, zero, dtype),)


def _dequantise_type(attrs: a.DequantizeAttrs, operands: Operands) -> Types:
    data, scale = operand(operands, 0), operand(operands, 1)
    _check_scales(attrs, operands)
    return (checked(attrs.output_dtype or scale.dtype, data.shape),)


def _dequantise(attrs: a.DequantizeAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, given, zero = array(arrays, 0), array(arrays, 1), maybe_array(arrays, 2)
    scale = _spread(given, data.shape, attrs.axis, attrs.block_size)
    if zero is not None:
        zero = _spread(zero, data.shape, attrs.axis, attrs.block_size)
    dtype = given.dtype if attrs.output_dtype is None else attrs.output_dtype.numpy
    return (dequantise(data, scale, zero, dtype),)


def _dynamic_type(_attrs: Any, operands: Operands) -> Types:
    return (
        checked(DType.U8, operand(operands, 0).shape),
        checked(DType.F32, ()),
        checked(DType.U8, ()),
    )


def _dynamic(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    """Scale (max − min)/255 over a range that includes 0; 1 where all is 0."""
    data = array(arrays, 0)
    low = np.minimum(data.min(initial=0), np.float32(0))
    high = np.maximum(data.max(initial=0), np.float32(0))
    scale = np.float32(1) if low == high else np.float32((high - low) / np.float32(255))
    zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
    one = np.asarray(zero)
    return quantise(data, np.asarray(scale), one, np.uint8), np.asarray(scale), one


def _shifted(values: Array, zero: Array | None, *, rows: bool) -> Array:
    """Values − zero point as float64 (exact); a vector has one entry per row or per column."""
    if zero is None:
        return values.astype(np.float64)
    if zero.ndim == 1 and zero.size > 1 and rows:
        zero = zero[:, None]
    return values.astype(np.float64) - zero.astype(np.float64)


def _integer_matmul_type(_attrs: Any, operands: Operands) -> Types:
    left, right = operand(operands, 0), operand(operands, 1)
    return (checked(DType.I32, matmul_shape(left.shape, right.shape)),)


def _wrap_int32(values: Array) -> Array:
    """Exact float64 integers as int32, wrapping as hardware does."""
    return values.astype(np.int64).astype(np.int32)


def _integer_matmul(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    left = _shifted(array(arrays, 0), maybe_array(arrays, 2), rows=True)
    right = _shifted(array(arrays, 1), maybe_array(arrays, 3), rows=False)
    return (_wrap_int32(np.matmul(left, right)),)


def _q_matmul_type(_attrs: Any, operands: Operands) -> Types:
    left, right, zero = operand(operands, 0), operand(operands, 3), operand(operands, 7)
    return (checked(zero.dtype, matmul_shape(left.shape, right.shape)),)


def _q_matmul(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    left = _shifted(array(arrays, 0), array(arrays, 2), rows=True)
    right = _shifted(array(arrays, 3), array(arrays, 5), rows=False)
    factor = widen(array(arrays, 1)) * widen(array(arrays, 4))
    zero = array(arrays, 7)
    product = np.matmul(left, right).astype(np.float32) * factor
    return (quantise(product, array(arrays, 6), zero, zero.dtype),)


def _q_gemm_type(attrs: m.QGemmAttrs, operands: Operands) -> Types:
    left, right, zero = operand(operands, 0), operand(operands, 3), optional(operands, 8)
    rows = left.shape[::-1] if attrs.trans_a else left.shape
    columns = right.shape[::-1] if attrs.trans_b else right.shape
    dtype = DType.F32 if zero is None else zero.dtype
    return (checked(dtype, matmul_shape(rows, columns)),)


def _q_gemm(attrs: m.QGemmAttrs, arrays: Arrays) -> tuple[Array, ...]:
    """C is an int32 bias in units of the product's scale; without output scale the result is
    float32.
    """
    left = array(arrays, 0).astype(np.float64) - array(arrays, 2).astype(np.float64)
    weights, zeros = array(arrays, 3), array(arrays, 5).astype(np.float64)
    right = (weights.T if attrs.trans_b else weights).astype(np.float64) - zeros
    total = np.matmul(left.T if attrs.trans_a else left, right)
    bias, scale, zero = (maybe_array(arrays, index) for index in (6, 7, 8))
    if bias is not None:
        total = total + bias
    factor = np.float32(attrs.alpha) * widen(array(arrays, 1)) * widen(array(arrays, 4))
    result = total.astype(np.float32) * factor
    if scale is None or zero is None:
        return (result,)
    return (quantise(result, scale, zero, zero.dtype),)


def _conv_integer_type(attrs: a.ConvAttrs, operands: Operands) -> Types:
    data, weights = operand(operands, 0), operand(operands, 1)
    return (checked(DType.I32, convolution_shape(attrs, data.shape, weights.shape)),)


def _filters(weights: Array, zero: Array | None) -> Array:
    if zero is None:
        return weights.astype(np.float64)
    return weights.astype(np.float64) - zero.astype(np.float64).reshape(
        -1, *(1,) * (weights.ndim - 1)
    )


def _conv_integer(attrs: a.ConvAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, zero = array(arrays, 0), maybe_array(arrays, 2)
    shifted = data.astype(np.float64) - (0.0 if zero is None else float(zero.reshape(-1)[0]))
    product = convolve(attrs, shifted, _filters(array(arrays, 1), maybe_array(arrays, 3)))
    return (_wrap_int32(product),)


def _q_conv_type(attrs: a.ConvAttrs, operands: Operands) -> Types:
    data, weights, zero = operand(operands, 0), operand(operands, 3), operand(operands, 7)
    return (checked(zero.dtype, convolution_shape(attrs, data.shape, weights.shape)),)


def _q_conv(attrs: a.ConvAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0).astype(np.float64) - float(array(arrays, 2).reshape(-1)[0])
    total = convolve(attrs, data, _filters(array(arrays, 3), array(arrays, 5)))
    bias, zero = maybe_array(arrays, 8), array(arrays, 7)
    ones = (1,) * (total.ndim - 2)
    if bias is not None:
        total = total + bias.reshape(-1, *ones)
    factor = (widen(array(arrays, 1)) * widen(array(arrays, 4))).reshape(-1, *ones)
    return (quantise(total.astype(np.float32) * factor, array(arrays, 6), zero, zero.dtype),)


def _q_binary_type(_attrs: Any, operands: Operands) -> Types:
    left, right = operand(operands, 0), operand(operands, 3)
    return (checked(same_dtype([left, right]), broadcast(left.shape, right.shape)),)


def _q_binary(function: Callable[[Any, Any], Any]) -> Callable[[Any, Arrays], tuple[Array, ...]]:
    def reference(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
        left = dequantise(array(arrays, 0), array(arrays, 1), maybe_array(arrays, 2), np.float32)
        right = dequantise(array(arrays, 3), array(arrays, 4), maybe_array(arrays, 5), np.float32)
        kind = array(arrays, 0).dtype
        result = function(left, right)
        return (quantise(result, array(arrays, 6), maybe_array(arrays, 7), kind),)

    return reference


def _q_like(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, data.shape),)


def _q_softmax(attrs: m.QLinearSoftmaxAttrs, arrays: Arrays) -> tuple[Array, ...]:
    """Before opset 13 the axes from `axis` on are one."""
    data = array(arrays, 0)
    real = dequantise(data, array(arrays, 1), maybe_array(arrays, 2), np.float32)
    axis = axis_of(attrs.axis, data.ndim)
    if attrs.opset < 13:
        rows = int(np.prod(data.shape[:axis], dtype=np.int64))
        result = softmax(real.reshape(rows, -1)).reshape(data.shape)
    else:
        result = softmax(real, axis)
    return (quantise(result, array(arrays, 3), array(arrays, 4), data.dtype),)


def _q_sigmoid(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    real = dequantise(data, array(arrays, 1), maybe_array(arrays, 2), np.float32)
    return (quantise(sigmoid(real), array(arrays, 3), maybe_array(arrays, 4), data.dtype),)


def _q_concat_type(attrs: a.ConcatAttrs, operands: Operands) -> Types:
    parts = [operand(operands, index) for index in range(2, len(operands), 3)]
    axis = axis_of(attrs.axis, len(parts[0].shape))
    dims = list(parts[0].shape)
    for part in parts[1:]:
        rest = [*part.shape[:axis], *part.shape[axis + 1 :]]
        if rest != [*dims[:axis], *dims[axis + 1 :]]:
            raise RuleError(f"{dims} and {list(part.shape)} do not join along axis {axis}")
    dims[axis] = sum(part.shape[axis] for part in parts)
    return (checked(operand(operands, 1).dtype, dims),)


def _q_concat(attrs: a.ConcatAttrs, arrays: Arrays) -> tuple[Array, ...]:
    parts = [
        dequantise(array(arrays, i), array(arrays, i + 1), array(arrays, i + 2), np.float32)
        for i in range(2, len(arrays), 3)
    ]
    zero = array(arrays, 1)
    joined = np.concatenate(parts, axis=attrs.axis)
    return (quantise(joined, array(arrays, 0), zero, zero.dtype),)


def _bytes_and_scales(*scales: int) -> Any:
    """Operand 0 must be int8 or uint8, the scales floating-point."""
    floats = takes_floats(*scales)

    def limit(attrs: Any, operands: Operands) -> bool:
        """Quantised operands must be int8 or uint8 and their scales floating-point."""
        return operand(operands, 0).dtype in (DType.I8, DType.U8) and floats(attrs, operands)

    return limit


def _concat_kinds(_attrs: Any, operands: Operands) -> bool:
    """Operands must come in threes: int8 or uint8 data, its scale, its zero point."""
    parts = [operand(operands, index) for index in range(2, len(operands), 3)]
    return len(operands) % 3 == 2 and all(p.dtype in (DType.I8, DType.U8) for p in parts)


def _plain_integer(_attrs: Any, operands: Operands) -> bool:
    """Operands must be int8 or uint8."""
    kinds = (DType.I8, DType.U8)
    return all(operand(operands, index).dtype in kinds for index in (0, 1))


ROWS: tuple[OpRow, ...] = (
    OpRow(name="QuantizeLinear", since=10, attrs=a.QuantizeAttrs, inputs=(2, 3),
          limits=(_integer_target,), shape=_quantise_type, reference=_quantise, canon="Quantize"),
    OpRow(name="DequantizeLinear", since=10, attrs=a.DequantizeAttrs, inputs=(2, 3),
          shape=_dequantise_type, reference=_dequantise, canon="Dequantize"),
    OpRow(name="DynamicQuantizeLinear", since=11, outputs=(3, 3), shape=_dynamic_type,
          reference=_dynamic, canon="Reduce, Elementwise, Quantize"),
    OpRow(name="MatMulInteger", since=10, inputs=(2, 4), shape=_integer_matmul_type,
          limits=(_plain_integer,), reference=_integer_matmul, canon="Gemm"),
    OpRow(name="QLinearMatMul", since=10, inputs=(8, 8), shape=_q_matmul_type,
          reference=_q_matmul, canon="Gemm, Quantize"),
    OpRow(name="ConvInteger", since=10, attrs=a.ConvAttrs, inputs=(2, 4),
          shape=_conv_integer_type, reference=_conv_integer, place=Place.HOST),
    OpRow(name="QLinearConv", since=10, attrs=a.ConvAttrs, inputs=(8, 9), shape=_q_conv_type,
          reference=_q_conv, place=Place.HOST),
    OpRow(name="QGemm", domain=_MS, attrs=m.QGemmAttrs, inputs=(6, 9),
          limits=(_bytes_and_scales(1, 4, 7),),
          shape=_q_gemm_type,
          reference=_q_gemm, canon="Gemm, Quantize"),
    OpRow(name="QLinearAdd", domain=_MS, inputs=(7, 8),
          limits=(_bytes_and_scales(1, 4, 6),),
          shape=_q_binary_type,
          reference=_q_binary(np.add), canon="Dequantize, Elementwise, Quantize"),
    OpRow(name="QLinearMul", domain=_MS, inputs=(7, 8),
          limits=(_bytes_and_scales(1, 4, 6),),
          shape=_q_binary_type,
          reference=_q_binary(np.multiply), canon="Dequantize, Elementwise, Quantize"),
    OpRow(name="QLinearSoftmax", domain=_MS, attrs=m.QLinearSoftmaxAttrs, inputs=(5, 5),
          limits=(_bytes_and_scales(1, 3),),
          shape=_q_like, reference=_q_softmax, canon="Dequantize, Softmax, Quantize"),
    OpRow(name="QLinearSigmoid", domain=_MS, inputs=(4, 5),
          limits=(_bytes_and_scales(1, 3),),
          shape=_q_like, reference=_q_sigmoid,
          canon="Dequantize, Elementwise, Quantize"),
    OpRow(name="QLinearConcat", domain=_MS, attrs=a.ConcatAttrs, inputs=(5, UNBOUNDED),
          limits=(_concat_kinds,),
          shape=_q_concat_type, reference=_q_concat, canon="Dequantize, Concat, Quantize"),
)  # fmt: skip
"""One row per operator."""
