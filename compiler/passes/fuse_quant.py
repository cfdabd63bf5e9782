"""Fusion of imported quantisation: a product of dequantised operands is an int8 Gemm.

In:  Gemm roots.   Out: rewrites for the engine.   Raises: nothing.

The activation needs one scale, the constant weights symmetric codes (zero point 0, or uint8 around
128) with one scale or one per column; other forms stay decoded, which is right but not int8.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from compiler.graph.chip_ops import GemmAttrs, Op, QuantAttrs, QuantizeAttrs
from compiler.graph.graph import GraphEdit
from compiler.graph.types import Array, DType, Node, Value
from compiler.passes.build import Builder
from compiler.passes.engine import Rewrite
from compiler.passes.match import made_by

_SHIFT = 128


def int8_gemm(edit: GraphEdit, node: Node) -> bool:
    """Gemm(Dequantize(Quantize(x)), Dequantize(weights)) reads the codes."""
    attrs = cast(GemmAttrs, node.attrs)
    codes = _activation(edit, node.inputs[0])
    weights = _weights(edit, node.inputs[1], channel_axis=0 if attrs.trans_b else 1)
    if codes is None or weights is None or attrs.quant is not None:
        return False
    b = Builder(edit, node)
    coded = _as_int8(b, codes)
    stored, scales = weights
    if stored.dtype is DType.U8:
        shifted = (cast(Array, stored.const).astype(np.int16) - _SHIFT).astype(np.int8)
        weight = b.constant(shifted, "int8")
    else:
        weight = stored.name
    spec = cast(QuantizeAttrs, codes.attrs)
    zero = spec.zero_point[0] - (_SHIFT if _is_unsigned(edit, codes) else 0)
    quant = QuantAttrs(a_scale=spec.scale[0], a_zero_point=zero, w_scale=scales)
    inputs = (coded, weight, *node.inputs[2:])
    edit.replace_node(replace(node, inputs=inputs, attrs=replace(attrs, quant=quant)))
    return True


def _activation(edit: GraphEdit, name: str) -> Node | None:
    """The Quantize that codes the activation with one scale."""
    decode = made_by(edit, name, Op.DEQUANTIZE)
    code = made_by(edit, decode.inputs[0], Op.QUANTIZE) if decode is not None else None
    if code is None or decode is None or code.attrs != decode.attrs:
        return None
    return code if len(cast(QuantizeAttrs, code.attrs).scale) == 1 else None


def _weights(
    edit: GraphEdit, name: str, *, channel_axis: int
) -> tuple[Value, tuple[float, ...]] | None:
    """The constant codes and their scales."""
    decode = made_by(edit, name, Op.DEQUANTIZE)
    if decode is None:
        return None
    value = edit.value(decode.inputs[0])
    attrs = cast(QuantizeAttrs, decode.attrs)
    centre = {DType.I8: 0, DType.U8: _SHIFT}.get(value.dtype)
    if value.const is None or len(value.shape) != 2 or set(attrs.zero_point) != {centre}:
        return None
    if attrs.axis is not None and attrs.axis != channel_axis:
        return None
    return value, attrs.scale


def _is_unsigned(edit: GraphEdit, code: Node) -> bool:
    return edit.value(code.outputs[0]).dtype is DType.U8


def _as_int8(b: Builder, code: Node) -> str:
    """The codes in −128 … 127: the same steps, 128 lower where they were unsigned."""
    if not _is_unsigned(b.edit, code):
        return code.outputs[0]
    attrs = cast(QuantizeAttrs, code.attrs)
    shifted = replace(attrs, zero_point=(attrs.zero_point[0] - _SHIFT,))
    shape = b.shape(code.inputs[0])
    return b.emit(Op.QUANTIZE, [code.inputs[0]], shifted, shape=shape, dtype=DType.I8)


REWRITES = (Rewrite(name="int8-gemm", pattern=(Op.GEMM,), apply=int8_gemm),)
