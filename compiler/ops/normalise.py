"""Softmax and normalisations, ONNX's and onnxruntime's fused ones: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError (shapes of scale and bias, axes).
Statistics are computed in float32 (float64 for doubles), as onnxruntime does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.graph.types import Array, DType, Value
from compiler.ops import attrs as a
from compiler.ops import attrs_microsoft as m
from compiler.ops.arithmetic import in_float32, narrow, softmax, widen
from compiler.ops.operands import (
    array,
    axis_of,
    broadcast,
    checked,
    maybe_array,
    operand,
    optional,
    takes_floats,
)
from compiler.ops.types import Arrays, Operands, OpRow, Place, RuleError, Types


def _axis_type(attrs: a.LastAxisAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    axis_of(attrs.axis, len(data.shape))
    return (checked(data.dtype, data.shape),)


def _softmax(attrs: a.LastAxisAttrs, arrays: Arrays) -> tuple[Array, ...]:
    return (in_float32(lambda x: softmax(x, attrs.axis))(array(arrays, 0)),)


def _log_softmax(attrs: a.LastAxisAttrs, arrays: Arrays) -> tuple[Array, ...]:
    def function(x: Array) -> Any:
        if x.size == 0:
            return x
        low = x - x.max(axis=attrs.axis, keepdims=True)
        return low - np.log(np.exp(low).sum(axis=attrs.axis, keepdims=True))

    return (in_float32(function)(array(arrays, 0)),)


def _hardmax(attrs: a.LastAxisAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = widen(array(arrays, 0))
    axis = axis_of(attrs.axis, data.ndim)
    first = np.expand_dims(data.argmax(axis=axis), axis)
    shape = [-1 if dim == axis else 1 for dim in range(data.ndim)]
    return (narrow(np.arange(data.shape[axis]).reshape(shape) == first, array(arrays, 0).dtype),)


def _statistics(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *(1,) * (len(shape) - axis))


def _affine(data: Value, operands: Operands, *indices: int) -> None:
    for index in indices:
        value = optional(operands, index)
        if value is not None and broadcast(value.shape, data.shape) != data.shape:
            raise RuleError(f"input {index} {list(value.shape)} is not below {list(data.shape)}")


def _stash(attrs: a.NormAttrs, dtype: DType) -> DType:
    """Type of the statistics: float32 unless the operands are doubles."""
    return DType.F64 if dtype is DType.F64 else DType.F32


def _layer_type(attrs: a.NormAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    axis = axis_of(attrs.axis, len(data.shape))
    _affine(data, operands, 1, 2)
    side = checked(_stash(attrs, data.dtype), _statistics(data.shape, axis))
    return (checked(data.dtype, data.shape), side, side)


def layer_norm(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """(x − mean)/√(var + ε) over `axes`, mean, 1/√(var + ε); population variance."""
    with np.errstate(all="ignore"):
        mean = x.mean(axis=axes, keepdims=True, dtype=x.dtype)
        centred = x - mean
        variance = (centred * centred).mean(axis=axes, keepdims=True, dtype=x.dtype)
        inverse = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    return centred * inverse, mean, inverse


def rms_norm(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array]:
    """x/√(mean(x²) + ε) over `axes`, and 1/√(mean(x²) + ε)."""
    with np.errstate(all="ignore"):
        square = (x * x).mean(axis=axes, keepdims=True, dtype=x.dtype)
        inverse = 1 / np.sqrt(square + x.dtype.type(epsilon))
    return x * inverse, inverse


def _scaled(x: Array, scale: Array | None, bias: Array | None) -> Array:
    scaled = x if scale is None else x * widen(scale)
    return scaled if bias is None else scaled + widen(bias)


def _layer(attrs: a.NormAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    axes = tuple(range(axis_of(attrs.axis, data.ndim), data.ndim))
    unit, mean, inverse = layer_norm(widen(data), axes, attrs.epsilon)
    result = _scaled(unit, array(arrays, 1), maybe_array(arrays, 2))
    return narrow(result, data.dtype), mean, inverse


def _rms_type(attrs: a.NormAttrs, operands: Operands) -> Types:
    data, scale = operand(operands, 0), operand(operands, 1)
    axis = axis_of(attrs.axis, len(data.shape))
    _affine(data, operands, 1)
    side = checked(_stash(attrs, data.dtype), _statistics(data.shape, axis))
    return (checked(scale.dtype, data.shape), side)


def _rms(attrs: a.NormAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, scale = array(arrays, 0), array(arrays, 1)
    axes = tuple(range(axis_of(attrs.axis, data.ndim), data.ndim))
    unit, inverse = rms_norm(widen(data), axes, attrs.epsilon)
    return narrow(_scaled(unit, scale, None), scale.dtype), inverse


def _channels(data: Value, operands: Operands, *indices: int) -> None:
    if len(data.shape) < 2:
        raise RuleError(f"needs [N, C, …], not {list(data.shape)}")
    for index in indices:
        if operand(operands, index).shape != (data.shape[1],):
            raise RuleError(f"input {index} must be [{data.shape[1]}]")


def _per_channel(values: Array, rank: int) -> Array:
    return widen(values).reshape(-1, *(1,) * (rank - 2))


def _instance_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    _channels(data, operands, 1, 2)
    return (checked(data.dtype, data.shape),)


def _instance(attrs: a.InstanceNormAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    unit = layer_norm(widen(data), tuple(range(2, data.ndim)), attrs.epsilon)[0]
    scale, bias = (_per_channel(array(arrays, index), data.ndim) for index in (1, 2))
    return (narrow(unit * scale + bias, data.dtype),)


def _group_type(attrs: a.GroupNormAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    _channels(data, operands, 1, 2)
    if attrs.num_groups < 1 or data.shape[1] % attrs.num_groups:
        raise RuleError(f"num_groups {attrs.num_groups} does not divide {data.shape[1]} channels")
    return (checked(data.dtype, data.shape),)


def _group(attrs: a.GroupNormAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    groups = widen(data).reshape(data.shape[0], attrs.num_groups, -1)
    unit = layer_norm(groups, (2,), attrs.epsilon)[0].reshape(data.shape)
    scale, bias = (_per_channel(array(arrays, index), data.ndim) for index in (1, 2))
    return (narrow(unit * scale + bias, data.dtype),)


def _batch_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    _channels(data, operands, 1, 2, 3, 4)
    return (checked(data.dtype, data.shape),)


def _batch(attrs: a.BatchNormAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    scale, bias, mean, variance = (
        _per_channel(array(arrays, index), data.ndim) for index in range(1, 5)
    )
    with np.errstate(all="ignore"):
        unit = (widen(data) - mean) / np.sqrt(variance + np.float32(attrs.epsilon))
    return (narrow(unit * scale + bias, data.dtype),)


def _inference(attrs: a.BatchNormAttrs, _operands: Operands) -> bool:
    """training_mode must be 0."""
    return not attrs.training_mode


def _skip_type(_attrs: Any, operands: Operands) -> Types:
    """Outputs: result, mean, inverse deviation, sum of input, skip and bias."""
    data, skip = operand(operands, 0), operand(operands, 1)
    if broadcast(data.shape, skip.shape) != data.shape:
        raise RuleError(f"skip {list(skip.shape)} is not below {list(data.shape)}")
    _affine(data, operands, 2, 3, 4)
    whole = checked(data.dtype, data.shape)
    side = checked(DType.F32, _statistics(data.shape, len(data.shape) - 1))
    return (whole, side, side, whole)


def _skip_layer(attrs: m.SkipNormAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, bias = array(arrays, 0), maybe_array(arrays, 4)
    total = _scaled(widen(data) + widen(array(arrays, 1)), None, bias)
    unit, mean, inverse = layer_norm(total, (-1,), attrs.epsilon)
    result = _scaled(unit, array(arrays, 2), maybe_array(arrays, 3))
    return narrow(result, data.dtype), mean, inverse, narrow(total, data.dtype)


def _skip_rms(attrs: m.SkipNormAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, bias = array(arrays, 0), maybe_array(arrays, 3)
    total = _scaled(widen(data) + widen(array(arrays, 1)), None, bias)
    unit, inverse = rms_norm(total, (-1,), attrs.epsilon)
    result = narrow(_scaled(unit, array(arrays, 2), None), data.dtype)
    return result, np.zeros_like(inverse), inverse, narrow(total, data.dtype)


def _embed_type(_attrs: Any, operands: Operands) -> Types:
    """Outputs: normalised sum, mask lengths, sum of embeddings."""
    ids, words = operand(operands, 0), operand(operands, 2)
    if len(ids.shape) != 2 or len(words.shape) != 2:
        raise RuleError("needs input_ids [batch, sequence] and a table [words, hidden]")
    whole = checked(words.dtype, (*ids.shape, words.shape[1]))
    return (whole, checked(DType.I32, ids.shape[:1]), whole)


def _rows(table: Array, ids: Array) -> Array:
    if ids.size and (ids.min() < 0 or ids.max() >= table.shape[0]):
        raise RuleError(f"an id is outside a table of {table.shape[0]} rows")
    return widen(table)[ids]


def _embed(attrs: m.EmbedNormAttrs, arrays: Arrays) -> tuple[Array, ...]:
    """Inputs: ids, segment ids, three tables, gamma, beta, mask, position ids."""
    ids, segments, words = array(arrays, 0), maybe_array(arrays, 1), array(arrays, 2)
    mask, places = maybe_array(arrays, 7), maybe_array(arrays, 8)
    steps = np.arange(ids.shape[1])[None, :] if places is None else places
    total = _rows(words, ids) + _rows(array(arrays, 3), steps)
    if segments is not None:
        total = total + _rows(array(arrays, 4), segments)
    unit = layer_norm(total, (-1,), attrs.epsilon)[0]
    lengths = np.zeros(ids.shape[:1]) if mask is None else (mask == 1).sum(axis=1)
    result = narrow(_scaled(unit, array(arrays, 5), array(arrays, 6)), words.dtype)
    return result, lengths.astype(np.int32), narrow(total, words.dtype)


_SKIP_FLOATS = takes_floats(0, 1, 2, 3, 4)

ROWS: tuple[OpRow, ...] = (
    OpRow(name="Softmax", since=13, attrs=a.LastAxisAttrs, shape=_axis_type, reference=_softmax,
          canon="Softmax"),
    OpRow(name="LogSoftmax", since=13, attrs=a.LastAxisAttrs, shape=_axis_type,
          reference=_log_softmax, canon="Softmax, Elementwise"),
    OpRow(name="Hardmax", since=13, attrs=a.LastAxisAttrs, shape=_axis_type, reference=_hardmax,
          place=Place.HOST),
    OpRow(name="LayerNormalization", since=17, attrs=a.NormAttrs, inputs=(2, 3), outputs=(1, 3),
          shape=_layer_type, reference=_layer, canon="Norm"),
    OpRow(name="RMSNormalization", since=23, attrs=a.NormAttrs, inputs=(2, 2), shape=_rms_type,
          reference=_rms, canon="Norm"),
    OpRow(name="SimplifiedLayerNormalization", attrs=a.NormAttrs,
          limits=(takes_floats(0, 1),),
          inputs=(2, 2), outputs=(1, 2),
          shape=_rms_type, reference=_rms, canon="Norm"),
    OpRow(name="InstanceNormalization", attrs=a.InstanceNormAttrs, inputs=(3, 3),
          shape=_instance_type, reference=_instance, place=Place.HOST),
    OpRow(name="GroupNormalization", since=21, attrs=a.GroupNormAttrs, inputs=(3, 3),
          shape=_group_type, reference=_group, place=Place.HOST),
    OpRow(name="BatchNormalization", attrs=a.BatchNormAttrs, inputs=(5, 5), shape=_batch_type,
          limits=(_inference,), reference=_batch, canon="Elementwise"),
    OpRow(name="SkipLayerNormalization", domain="com.microsoft",
          limits=(_SKIP_FLOATS,),
          attrs=m.SkipNormAttrs,
          inputs=(3, 5), outputs=(1, 4), shape=_skip_type, reference=_skip_layer,
          canon="Elementwise, Norm"),
    OpRow(name="SkipSimplifiedLayerNormalization", domain="com.microsoft",
          limits=(_SKIP_FLOATS,),
          attrs=m.SkipNormAttrs,
          inputs=(3, 4), outputs=(1, 4), shape=_skip_type, reference=_skip_rms,
          canon="Elementwise, Norm"),
    OpRow(name="EmbedLayerNormalization", domain="com.microsoft",
          limits=(takes_floats(2, 3, 4, 5, 6),),
          attrs=m.EmbedNormAttrs,
          inputs=(7, 9), outputs=(1, 3), shape=_embed_type, reference=_embed,
          canon="Gather, Elementwise, Norm"),
)  # fmt: skip
"""One row per operator."""
