"""Reference semantics of the chip-level ops in numpy: what each node kind means, independent of how
the chip computes it.

In:  a chip node, its input arrays and its output values.   Out: output arrays in each output
value's dtype and shape.
Raises: InternalError for a node kind that has no meaning here.

Rounding points: floats are float32 inside a node and are rounded once, to the output value's dtype
(bf16 to nearest even). Attention on BF16 values: scores in float32; the unnormalised P = exp(S −
max S), max S rounded up to a multiple of 2·ln 2, is rounded to bf16 before P·V, its row sum is
taken in float32 of the unrounded P, the quotient is rounded to the output's dtype. int8 Gemm: exact
integer sum, converted to float32, times float32 a_scale·w_scale. Quantize multiplies by
float32(1/scale), as the vector unit does, so that its codes are the chip's to the bit (a division
may differ by one code at ties).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from athena.errors import InternalError
from compiler.graph.chip_ops import (
    AttentionAttrs,
    ConcatAttrs,
    ElementwiseAttrs,
    GemmAttrs,
    NormAttrs,
    NormKind,
    Op,
    PadAttrs,
    PermuteAttrs,
    QuantAttrs,
    QuantizeAttrs,
    ReduceAttrs,
    ReduceKind,
    RopeAttrs,
    SliceAttrs,
)
from compiler.graph.elementwise_reference import convert, internal, run_steps
from compiler.graph.types import Array, Attrs, DType, Node, Value

_Inputs = Sequence[Array | None]
_F32 = np.float32


def run_chip_node(node: Node, arrays: _Inputs, output: Value) -> Array:
    """The value of a chip node's only output, converted to its dtype."""
    meaning = _MEANING.get(node.op)
    if meaning is None:
        raise InternalError(f"no reference semantics for chip op '{node.op}'", where=node.name)
    with np.errstate(all="ignore"):
        result = meaning(node.attrs, arrays, output)
    return np.ascontiguousarray(convert(result, output.dtype.numpy)).reshape(output.shape)


def _need(arrays: _Inputs, index: int) -> Array:
    array = arrays[index]
    if array is None:
        raise InternalError("an absent input is needed", where=f"input {index}")
    return array


def _optional(arrays: _Inputs, index: int) -> Array | None:
    return arrays[index] if index < len(arrays) else None


def _f32(array: Array) -> Array:
    return array.astype(_F32, copy=False)


def _view(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    return _need(arrays, 0).reshape(output.shape)


def _permute(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    return _need(arrays, 0).transpose(cast(PermuteAttrs, attrs).perm)


def _slice(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    block = cast(SliceAttrs, attrs)
    index = []
    for start, step, size in zip(block.starts, block.steps, output.shape, strict=True):
        stop = start + step * size
        index.append(slice(start, None if stop < 0 else stop, step) if size else slice(0, 0))
    return _need(arrays, 0)[tuple(index)]


def _expand(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    return np.broadcast_to(_need(arrays, 0), output.shape)


def _concat(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    parts = [_need(arrays, index) for index in range(len(arrays))]
    return np.concatenate(parts, axis=cast(ConcatAttrs, attrs).axis)


def _pad(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    pad = cast(PadAttrs, attrs)
    rank = len(pad.pads) // 2
    widths = [(pad.pads[axis], pad.pads[rank + axis]) for axis in range(rank)]
    return np.pad(_need(arrays, 0), widths, constant_values=pad.value)


def _gemm(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    gemm = cast(GemmAttrs, attrs)
    a, b = _need(arrays, 0), _need(arrays, 1)
    b = b.swapaxes(-1, -2) if gemm.trans_b else b
    t = _f32(a) @ _f32(b) if gemm.quant is None else _int8_product(a, b, gemm.quant)
    if gemm.alpha != 1.0:
        t = t * _F32(gemm.alpha)
    bias = _optional(arrays, 2)
    if bias is not None:
        t = t + _f32(bias)
    return run_steps(t, gemm.steps, arrays)


def _int8_product(a: Array, b: Array, quant: QuantAttrs) -> Array:
    """Exact integer sums (they fit float64's 53 bits for K below 2^37), then one float32 scale per
    column.
    """
    sums = (a.astype(np.float64) - quant.a_zero_point) @ b.astype(np.float64)
    scale = _F32(quant.a_scale) * np.asarray(quant.w_scale, _F32)
    result: Array = sums.astype(_F32) * scale
    return result


def _elementwise(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    t = run_steps(_need(arrays, 0), cast(ElementwiseAttrs, attrs).steps, arrays)
    return np.broadcast_to(t, output.shape)


def _norm(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    norm = cast(NormAttrs, attrs)
    x = _f32(_need(arrays, 0))
    if norm.kind is NormKind.LAYER:
        x = x - x.mean(axis=-1, keepdims=True, dtype=_F32)
    square = np.mean(x * x, axis=-1, keepdims=True, dtype=_F32)
    y = x * (_F32(1.0) / np.sqrt(square + _F32(norm.eps))) * _f32(_need(arrays, 1))
    beta = _optional(arrays, 2)
    result: Array = y if beta is None else y + _f32(beta)
    return result


def _softmax(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    x = _f32(_need(arrays, 0))
    p = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Array = p / p.sum(axis=-1, keepdims=True, dtype=_F32)
    return result


def _reduce(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    x = internal(_need(arrays, 0))
    kind = cast(ReduceAttrs, attrs).kind
    if kind is ReduceKind.MEAN and x.dtype == np.int64:
        total: Array = x.sum(axis=-1)
        return np.floor_divide(total, x.shape[-1])
    functions: dict[ReduceKind, Callable[..., Array]] = {
        ReduceKind.SUM: np.sum,
        ReduceKind.MEAN: np.mean,
        ReduceKind.MAX: np.max,
        ReduceKind.MIN: np.min,
        ReduceKind.PROD: np.prod,
    }
    return functions[kind](x, axis=-1)


def _attention(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    attention = cast(AttentionAttrs, attrs)
    q, k, v = _need(arrays, 0), _need(arrays, 1), _need(arrays, 2)
    repeats = q.shape[1] // k.shape[1]
    rounding = DType.BF16.numpy if v.dtype == DType.BF16.numpy else None
    k, v = np.repeat(_f32(k), repeats, axis=1), np.repeat(_f32(v), repeats, axis=1)
    scores = (_f32(q) @ k.swapaxes(-1, -2)) * _F32(attention.scale)
    if attention.softcap is not None:
        scores = _F32(attention.softcap) * np.tanh(scores / _F32(attention.softcap))
    mask = _optional(arrays, 3)
    if mask is not None:
        scores = scores + _f32(mask)
    if attention.causal:
        rows = np.arange(scores.shape[-2])[:, None]
        scores = np.where(
            np.arange(scores.shape[-1]) <= rows + attention.causal_offset, scores, _F32(-np.inf)
        )
    top = scores.max(axis=-1, keepdims=True)
    if rounding is not None:
        top = _round_up(top)
    p = np.exp(scores - np.where(np.isneginf(top), _F32(0), top))
    total = p.sum(axis=-1, keepdims=True, dtype=_F32)
    if rounding is not None:
        p = _f32(p.astype(rounding))
    result: Array = (p @ v) / np.where(total == 0, _F32(1), total)
    return result


def _round_up(top: Array) -> Array:
    """Row maxima rounded up to multiples of 2·ln 2, so that P's rounding is the same for any
    reference that differs by a power of four; rows that see only values near the lowest float keep
    theirs.
    """
    step = _F32(2 * np.log(2.0))
    rounded = np.ceil(top * _F32(1 / (2 * np.log(2.0)))) * step
    return np.where(top > _F32(-1e30), rounded, top)


def _rope(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    rope = cast(RopeAttrs, attrs)
    x, cos, sin = (_f32(_need(arrays, index)) for index in range(3))
    width, half = rope.rotary_dim, rope.rotary_dim // 2
    cos, sin = (_full_width(table, rope) for table in (cos, sin))
    head, tail = x[..., :width], x[..., width:]
    turned = np.empty_like(head)
    if rope.interleaved:
        turned[..., 0::2], turned[..., 1::2] = -head[..., 1::2], head[..., 0::2]
    else:
        turned[..., :half], turned[..., half:] = -head[..., half:], head[..., :half]
    return np.concatenate([head * cos + turned * sin, tail], axis=-1)


def _full_width(table: Array, rope: RopeAttrs) -> Array:
    if table.shape[-1] == rope.rotary_dim:
        return table
    return np.repeat(table, 2, axis=-1) if rope.interleaved else np.concatenate([table, table], -1)


def _gather(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    table, ids = _need(arrays, 0), _need(arrays, 1)
    return np.take(table, np.where(ids < 0, ids + table.shape[0], ids), axis=0)


def _along(numbers: Sequence[float], axis: int | None, rank: int) -> Array:
    array = np.asarray(numbers, _F32)
    if axis is None or len(numbers) == 1:
        return array.reshape(())
    return array.reshape([-1 if index == axis else 1 for index in range(rank)])


def _quantize(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    quantize = cast(QuantizeAttrs, attrs)
    x = _f32(_need(arrays, 0))
    limits = np.iinfo(output.dtype.numpy)
    q = np.rint(x * (_F32(1.0) / _along(quantize.scale, quantize.axis, x.ndim)))
    q = q + _along(quantize.zero_point, quantize.axis, x.ndim)
    return np.clip(q, limits.min, limits.max)


def _dequantize(attrs: Attrs, arrays: _Inputs, output: Value) -> Array:
    quantize = cast(QuantizeAttrs, attrs)
    x = _f32(_need(arrays, 0))
    shifted = x - _along(quantize.zero_point, quantize.axis, x.ndim)
    result: Array = shifted * _along(quantize.scale, quantize.axis, x.ndim)
    return result


_MEANING: dict[str, Callable[[Attrs, _Inputs, Value], Array]] = {
    Op.VIEW: _view,
    Op.PERMUTE: _permute,
    Op.SLICE: _slice,
    Op.EXPAND: _expand,
    Op.CONCAT: _concat,
    Op.PAD: _pad,
    Op.GEMM: _gemm,
    Op.ELEMENTWISE: _elementwise,
    Op.NORM: _norm,
    Op.SOFTMAX: _softmax,
    Op.REDUCE: _reduce,
    Op.ATTENTION: _attention,
    Op.ROPE: _rope,
    Op.GATHER: _gather,
    Op.QUANTIZE: _quantize,
    Op.DEQUANTIZE: _dequantize,
}
