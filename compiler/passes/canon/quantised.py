"""Canonical forms of quantised ONNX operators: Quantize and Dequantize around float forms, which
fusion then makes int8 Gemms.

In:  a Builder standing for the ONNX node.   Out: None, or the reason for leaving it to the host.
Raises: nothing. Codes of 8 bits and their differences are exact in bf16, sums in fp32 up to 2^24.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from compiler.graph.chip_ops import (
    ConcatAttrs,
    ElementwiseAttrs,
    Fn,
    GemmAttrs,
    Op,
    QuantizeAttrs,
    ReduceKind,
    SoftmaxAttrs,
    Step,
)
from compiler.graph.types import Array, DType
from compiler.ops import attrs as onnx_attrs
from compiler.ops import attrs_microsoft as ms
from compiler.ops.table import lookup
from compiler.passes.build import Builder
from compiler.passes.canon.attention import optional
from compiler.passes.canon.elementwise import finish_steps
from compiler.passes.canon.linear import swap_last
from compiler.passes.canon.types import Canon

DYNAMIC_SCALE = "a scale or zero point that is not constant"
_EIGHT_BITS = (DType.I8, DType.U8)
_INTEGERS = (*_EIGHT_BITS, DType.I32)


def quantize_attrs(
    b: Builder, scale: str, zero: str, axis: int | None = None
) -> QuantizeAttrs | None:
    """Attributes from constant scales and zero points; None where they are not constant."""
    scales = b.const(scale)
    zeros = b.const(zero) if zero else np.zeros(1, np.int32)
    if scales is None or zeros is None:
        return None
    values = np.broadcast_to(zeros.astype(np.int64).ravel(), scales.size)
    return QuantizeAttrs(
        scale=tuple(float(s) for s in scales.astype(np.float32).ravel()),
        zero_point=tuple(int(z) for z in values),
        axis=axis if scales.size > 1 else None,
    )


def quantize(b: Builder) -> str | None:
    """QuantizeLinear to 8 bits."""
    spec = cast(onnx_attrs.QuantizeAttrs, b.node.attrs)
    x = b.node.inputs[0]
    target = b.dtype(b.node.outputs[0])
    if target not in _EIGHT_BITS or spec.block_size:
        return f"quantisation to {target.value}{' in blocks' if spec.block_size else ''}"
    axis = spec.axis % max(len(b.shape(x)), 1)
    attrs = quantize_attrs(b, b.node.inputs[1], optional(b, 2), axis)
    if attrs is None:
        return DYNAMIC_SCALE
    b.finish(Op.QUANTIZE, [x], attrs)
    return None


def dequantize(b: Builder) -> str | None:
    """DequantizeLinear of 8-bit or 32-bit codes."""
    spec = cast(onnx_attrs.DequantizeAttrs, b.node.attrs)
    x = b.node.inputs[0]
    if b.dtype(x) not in _INTEGERS or spec.block_size:
        table = _decoded_table(b, [b.const(name) if name else None for name in b.node.inputs])
        if table is not None:
            b.finish(Op.VIEW, [table])
            return None
    if b.dtype(x) not in _INTEGERS or spec.block_size:
        return f"dequantisation of {b.dtype(x).value}{' in blocks' if spec.block_size else ''}"
    axis = spec.axis % max(len(b.shape(x)), 1)
    attrs = quantize_attrs(b, b.node.inputs[1], optional(b, 2), axis)
    if attrs is None:
        return DYNAMIC_SCALE
    b.finish(Op.DEQUANTIZE, [x], attrs)
    return None


def _decoded_table(b: Builder, arrays: Sequence[Array | None]) -> str | None:
    """Constant codes decoded at compile time; None where they are not constant."""
    row = lookup(b.node.domain, b.node.op, b.node.opset)
    if row is None or row.reference is None or arrays[0] is None or arrays[1] is None:
        return None
    (table,) = row.reference(b.node.attrs, arrays)
    return b.constant(table, "decoded")


def gather_block_quantised(b: Builder) -> str | None:
    """GatherBlockQuantized: the table is decoded at compile time."""
    data, ids, scales, zeros = (*b.node.inputs, "")[:4]
    codes = b.const(data)
    if codes is None:
        return DYNAMIC_SCALE
    every = np.arange(codes.shape[0], dtype=np.int64)
    known = [codes, every, b.const(scales), b.const(zeros) if zeros else None]
    if known[2] is None or (zeros and known[3] is None):
        return DYNAMIC_SCALE
    table = _decoded_table(b, known)
    if table is None:
        return DYNAMIC_SCALE
    b.finish(Op.GATHER, [table, ids])
    return None


def decoded(b: Builder, operand: Sequence[str], axis: int | None = None) -> str | None:
    """`operand` (codes, scale, zero point) as F32 numbers; None where the scale is not constant."""
    x, scale, zero = operand
    attrs = quantize_attrs(b, scale, zero, axis)
    if attrs is None:
        return None
    return b.emit(Op.DEQUANTIZE, [x], attrs, shape=b.shape(x), dtype=DType.F32)


def dynamic_quantize(b: Builder) -> str | None:
    """DynamicQuantizeLinear: range, scale and zero point by elementwise steps on one-element
    values.
    """
    x = b.node.inputs[0]
    flat = b.view(x, (b.edit.value(x).elems,))
    low = b.reduce_last(ReduceKind.MIN, flat, keep=False)
    high = b.reduce_last(ReduceKind.MAX, flat, keep=False)
    low = b.steps([low], [Step(fn=Fn.MIN, const=0.0)])
    span = b.steps([high, low], [Step(fn=Fn.MAX, const=0.0), Step(fn=Fn.SUB, operand=1)])
    empty = b.steps([span], [Step(fn=Fn.GT, const=0.0)], DType.BOOL)
    scaled = b.binary(Fn.DIV, span, 255.0)
    select = Step(fn=Fn.SELECT, operand=1, const2=1.0)
    scale = b.finish(Op.ELEMENTWISE, [empty, scaled], ElementwiseAttrs(steps=(select,)), index=1)
    zero = b.steps(
        [low, scale],
        [
            Step(fn=Fn.DIV, operand=1),
            Step(fn=Fn.NEG),
            Step(fn=Fn.ROUND),
            Step(fn=Fn.MAX, const=0.0),
            Step(fn=Fn.MIN, const=255.0),
        ],
    )
    b.finish(Op.ELEMENTWISE, [zero], ElementwiseAttrs(), index=2)
    codes = [
        Step(fn=Fn.DIV, operand=1),
        Step(fn=Fn.ROUND),
        Step(fn=Fn.ADD, operand=2),
        Step(fn=Fn.MAX, const=0.0),
        Step(fn=Fn.MIN, const=255.0),
    ]
    finish_steps(b, [x, scale, zero], *codes)
    return None


def _shifted(b: Builder, codes: str, zero: str, *, rows: bool) -> str:
    """Codes − zero point as F32; a vector has an entry for each row or column."""
    floats = b.steps([codes], (), DType.F32)
    if not zero:
        return floats
    shift = b.steps([zero], (), DType.F32)
    if b.edit.value(shift).elems == 1:
        shift = b.view(shift, ())
    elif rows:
        shift = b.view(shift, (*b.shape(shift), 1))
    return b.binary(Fn.SUB, floats, shift)


def matmul_integer(b: Builder) -> str | None:
    """MatMulInteger as a product of shifted codes, converted to int32."""
    if len(b.shape(b.node.inputs[1])) != 2 or len(b.shape(b.node.inputs[0])) < 2:
        return "MatMulInteger of other ranks"
    x = _shifted(b, b.node.inputs[0], optional(b, 2), rows=True)
    y = _shifted(b, b.node.inputs[1], optional(b, 3), rows=False)
    out = b.shape(b.node.outputs[0])
    product = b.emit(Op.GEMM, [x, y], GemmAttrs(), shape=out, dtype=DType.F32)
    finish_steps(b, [product], Step(fn=Fn.ROUND))
    return None


def _finish_quantized(b: Builder, y: str, scale: str, zero: str) -> str | None:
    attrs = quantize_attrs(b, scale, zero)
    if attrs is None:
        return DYNAMIC_SCALE
    b.finish(Op.QUANTIZE, [y], attrs)
    return None


def q_matmul(b: Builder) -> str | None:
    """QLinearMatMul with one scale per tensor, or one per column of b."""
    names = b.node.inputs
    x = decoded(b, names[:3])
    y = decoded(b, names[3:6], len(b.shape(names[3])) - 1)
    if x is None or y is None or b.edit.value(names[1]).elems != 1:
        return DYNAMIC_SCALE
    if len(b.shape(x)) < 2 or len(b.shape(y)) != 2:
        return "QLinearMatMul of other ranks"
    out = b.shape(b.node.outputs[0])
    product = b.emit(Op.GEMM, [x, y], GemmAttrs(), shape=out, dtype=DType.F32)
    return _finish_quantized(b, product, names[6], names[7])


def q_gemm(b: Builder) -> str | None:
    """QGemm: C has the product's scale; without an output scale the result is float."""
    spec = cast(ms.QGemmAttrs, b.node.attrs)
    names = b.node.inputs
    x = decoded(b, names[:3])
    y = decoded(b, names[3:6], 0 if spec.trans_b else 1)
    a_scale, b_scale = b.const(names[1]), b.const(names[4])
    if x is None or y is None or a_scale is None or b_scale is None or a_scale.size != 1:
        return DYNAMIC_SCALE
    x = swap_last(b, x) if spec.trans_a else x
    attrs = GemmAttrs(trans_b=bool(spec.trans_b), alpha=spec.alpha)
    out = b.shape(b.node.outputs[0])
    product = b.emit(Op.GEMM, [x, y], attrs, shape=out, dtype=DType.F32)
    if optional(b, 6):
        unit = b.constant((a_scale.ravel() * b_scale.ravel() * spec.alpha).astype(np.float32))
        offset = b.binary(Fn.MUL, b.steps([names[6]], (), DType.F32), unit)
        product = b.binary(Fn.ADD, product, offset)
    if optional(b, 7):
        return _finish_quantized(b, product, optional(b, 7), optional(b, 8))
    b.finish(Op.VIEW, [product])
    return None


def q_binary(fn: Fn) -> Canon:
    """QLinearAdd, QLinearMul."""

    def canon(b: Builder) -> str | None:
        names = (*b.node.inputs, "")[:8]
        x, y = decoded(b, names[:3]), decoded(b, names[3:6])
        if x is None or y is None:
            return DYNAMIC_SCALE
        return _finish_quantized(b, b.binary(fn, x, y), names[6], names[7])

    return canon


def q_unary(function: Callable[[Builder, str], str]) -> Canon:
    """QLinearSigmoid, QLinearSoftmax: a function between decoding and coding."""

    def canon(b: Builder) -> str | None:
        names = (*b.node.inputs, "")[:5]
        x = decoded(b, names[:3])
        return DYNAMIC_SCALE if x is None else _finish_quantized(b, function(b, x), *names[3:])

    return canon


def _sigmoid(b: Builder, x: str) -> str:
    return b.unary(Fn.SIGMOID, x)


def q_softmax(b: Builder) -> str | None:
    """QLinearSoftmax of the last axis, or of all from `axis` on below opset 13."""
    spec = cast(ms.QLinearSoftmaxAttrs, b.node.attrs)
    shape = b.shape(b.node.inputs[0])
    axis = spec.axis % len(shape)
    if axis != len(shape) - 1:
        return f"QLinearSoftmax of axis {axis} of {len(shape)}"
    return q_unary(_softmax)(b)


def _softmax(b: Builder, x: str) -> str:
    return b.emit(Op.SOFTMAX, [x], SoftmaxAttrs(), shape=b.shape(x))


def q_concat(b: Builder) -> str | None:
    """QLinearConcat."""
    names = b.node.inputs
    groups = [names[i : i + 3] for i in range(2, len(names), 3)]
    parts = [decoded(b, group) for group in groups]
    if any(part is None for part in parts):
        return DYNAMIC_SCALE
    out = b.shape(b.node.outputs[0])
    axis = cast(onnx_attrs.ConcatAttrs, b.node.attrs).axis % len(out)
    known = [part for part in parts if part is not None]
    joined = b.emit(Op.CONCAT, known, ConcatAttrs(axis=axis), shape=out)
    return _finish_quantized(b, joined, names[0], names[1])


ROWS: dict[str, Canon] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic_quantize,
    "MatMulInteger": matmul_integer,
    "QLinearMatMul": q_matmul,
}
MICROSOFT_ROWS: dict[str, Canon] = {
    "GatherBlockQuantized": gather_block_quantised,
    "QGemm": q_gemm,
    "QLinearAdd": q_binary(Fn.ADD),
    "QLinearMul": q_binary(Fn.MUL),
    "QLinearSigmoid": q_unary(_sigmoid),
    "QLinearSoftmax": q_softmax,
    "QLinearConcat": q_concat,
}
