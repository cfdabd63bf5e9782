"""onnxruntime's fused operators (com.microsoft): activations, products, block-quantised weights;
rows and references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError.
Source: onnxruntime docs/ContribOperators.md; the CPU kernels where that is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.graph.types import Array, DType
from compiler.ops import attrs_microsoft as m
from compiler.ops.arithmetic import gelu, gelu_tanh, in_float32, narrow, sigmoid, widen
from compiler.ops.linear import gemm, gemm_type, matmul_shape
from compiler.ops.operands import (
    array,
    checked,
    like,
    maybe_array,
    operand,
    optional,
    same_dtype,
    takes_floats,
)
from compiler.ops.types import Arrays, Operands, OpRow, RuleError, Types

_MS = "com.microsoft"


def _bias_type(_attrs: Any, operands: Operands) -> Types:
    data, bias = operand(operands, 0), optional(operands, 1)
    if bias is not None and bias.shape != data.shape[-1:]:
        raise RuleError(f"bias {list(bias.shape)} does not fit {list(data.shape)}")
    return (checked(same_dtype([data, bias]), data.shape),)


def _biased(function: Callable[[Array], Array]) -> Callable[[Any, Arrays], tuple[Array, ...]]:
    """function(x + bias), the bias being optional."""

    def reference(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
        data, bias = array(arrays, 0), maybe_array(arrays, 1)
        total = widen(data) if bias is None else widen(data) + widen(bias)
        return (narrow(function(total), data.dtype),)

    return reference


def _quick_gelu(attrs: m.QuickGeluAttrs, arrays: Arrays) -> tuple[Array, ...]:
    return (in_float32(lambda x: x * sigmoid(attrs.alpha * x))(array(arrays, 0)),)


def _turn(shape: tuple[int, ...], trans: int, batch: int) -> tuple[int, ...]:
    """Axis order of one FusedMatMul operand: the batch move, then the swap of the last two."""
    order = list(range(len(shape)))
    if batch and len(order) > 2:
        order = [*order[1:-1], order[0], order[-1]]
    if trans and len(order) > 1:
        order[-1], order[-2] = order[-2], order[-1]
    return tuple(order)


def _fused_orders(attrs: m.FusedMatMulAttrs, left: Any, right: Any) -> tuple[Any, Any]:
    return (
        _turn(left, attrs.trans_a, attrs.trans_batch_a),
        _turn(right, attrs.trans_b, attrs.trans_batch_b),
    )


def _fused_matmul_type(attrs: m.FusedMatMulAttrs, operands: Operands) -> Types:
    left, right = operand(operands, 0), operand(operands, 1)
    rows, columns = _fused_orders(attrs, left.shape, right.shape)
    shape = matmul_shape(
        tuple(left.shape[axis] for axis in rows), tuple(right.shape[axis] for axis in columns)
    )
    return (checked(same_dtype([left, right]), shape),)


def _fused_matmul(attrs: m.FusedMatMulAttrs, arrays: Arrays) -> tuple[Array, ...]:
    left, right = array(arrays, 0), array(arrays, 1)
    rows, columns = _fused_orders(attrs, left.shape, right.shape)
    product = np.matmul(widen(left).transpose(rows), widen(right).transpose(columns))
    return (narrow(product * product.dtype.type(attrs.alpha), left.dtype),)


def _leaky(attrs: m.FusedGemmAttrs) -> Callable[[Array], Any]:
    slope = 0.01 if attrs.activation_alpha is None else attrs.activation_alpha
    return lambda x: np.where(x < 0, slope * x, x)


_ACTIVATIONS: dict[str, Callable[[m.FusedGemmAttrs], Callable[[Array], Any]]] = {
    "": lambda _attrs: lambda x: x,
    "Relu": lambda _attrs: lambda x: np.maximum(x, 0),
    "Tanh": lambda _attrs: np.tanh,
    "Sigmoid": lambda _attrs: sigmoid,
    "LeakyRelu": _leaky,
}


def _known_activation(attrs: m.FusedGemmAttrs, _operands: Operands) -> bool:
    """Activation must be Relu, Tanh, Sigmoid or LeakyRelu."""
    return attrs.activation in _ACTIVATIONS


def _fused_gemm(attrs: m.FusedGemmAttrs, arrays: Arrays) -> tuple[Array, ...]:
    result = _ACTIVATIONS[attrs.activation](attrs)(gemm(attrs, arrays))
    return (narrow(result, array(arrays, 0).dtype),)


def unpack(packed: Array, bits: int) -> Array:
    """uint8 bytes as numbers of `bits` bits along the last axis, lowest bits first."""
    per_byte = 8 // bits
    shifts = (np.arange(per_byte) * bits).astype(np.uint8)
    fields = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return fields.reshape(*packed.shape[:-1], packed.shape[-1] * per_byte)


def _blocks(attrs: m.MatMulNBitsAttrs) -> int:
    return -(-attrs.k // attrs.block_size)


def _n_bits_type(attrs: m.MatMulNBitsAttrs, operands: Operands) -> Types:
    data, weights, scales = (operand(operands, index) for index in range(3))
    blocks = _blocks(attrs)
    blob = attrs.block_size * attrs.bits // 8
    if not data.shape or data.shape[-1] != attrs.k or weights.dtype is not DType.U8:
        raise RuleError(f"A {list(data.shape)} does not end in K = {attrs.k}, or B is not uint8")
    if weights.elems != attrs.n * blocks * blob or scales.elems != attrs.n * blocks:
        raise RuleError(
            f"B {list(weights.shape)} or scales {list(scales.shape)} do not hold "
            f"{attrs.n} rows of {blocks} blocks of {attrs.block_size}"
        )
    return (checked(data.dtype, (*data.shape[:-1], attrs.n)),)


def n_bits_weights(attrs: m.MatMulNBitsAttrs, arrays: Arrays) -> Array:
    """The [N, K] float32 weights of MatMulNBits: (q − zero)·scale; default zero 2^(bits−1)."""
    blocks, n = _blocks(attrs), attrs.n
    fields = unpack(array(arrays, 1).reshape(n, blocks, -1), attrs.bits).astype(np.float32)
    scales = widen(array(arrays, 2)).reshape(n, blocks, 1)
    zeros = maybe_array(arrays, 3)
    if zeros is None:
        shift: Any = np.float32(1 << (attrs.bits - 1))
    elif zeros.dtype == np.uint8:
        shift = unpack(zeros.reshape(n, -1), attrs.bits)[:, :blocks, None].astype(np.float32)
    else:
        shift = widen(zeros).reshape(n, blocks, 1)
    weights = (fields - shift) * scales
    return np.asarray(weights.reshape(n, -1)[:, : attrs.k], dtype=np.float32)


def _n_bits(attrs: m.MatMulNBitsAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, bias = array(arrays, 0), maybe_array(arrays, 5)
    product = np.matmul(widen(data), n_bits_weights(attrs, arrays).T)
    return (narrow(product if bias is None else product + widen(bias), data.dtype),)


def _plain_blocks(attrs: m.MatMulNBitsAttrs, operands: Operands) -> bool:
    """Bits must be 2, 4 or 8, block_size a power of two from 16 on, and neither g_idx nor prepacked
    weights used.
    """
    size = attrs.block_size
    plain = optional(operands, 4) is None and not attrs.weight_prepacked
    return attrs.bits in (2, 4, 8) and size >= 16 and not size & (size - 1) and plain


def _rows_type(attrs: m.GatherBlockQuantizedAttrs, operands: Operands) -> Types:
    data, indices, scales = (operand(operands, index) for index in range(3))
    width = data.shape[1] * (8 // attrs.bits if data.dtype is DType.U8 else 1)
    if scales.shape != (data.shape[0], -(-width // attrs.block_size)):
        raise RuleError(f"scales {list(scales.shape)} do not fit data {list(data.shape)}")
    return (checked(scales.dtype, (*indices.shape, width)),)


def _rows(attrs: m.GatherBlockQuantizedAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, indices, scales = (array(arrays, index) for index in range(3))
    zeros = maybe_array(arrays, 3)
    if indices.size and (indices.min() < -data.shape[0] or indices.max() >= data.shape[0]):
        raise RuleError(f"an index is outside a table of {data.shape[0]} rows")
    packed = data.dtype == np.uint8
    fields = (unpack(data[indices], attrs.bits) if packed else data[indices]).astype(np.float32)
    shift: Any = np.float32(1 << (attrs.bits - 1)) if packed else np.float32(0)
    if zeros is not None:
        rows = unpack(zeros[indices], attrs.bits) if packed else zeros[indices]
        shift = _repeat(rows[..., : scales.shape[1]].astype(np.float32), attrs, fields.shape[-1])
    spread = _repeat(widen(scales)[indices], attrs, fields.shape[-1])
    return (narrow((fields - shift) * spread, scales.dtype),)


def _repeat(values: Array, attrs: m.GatherBlockQuantizedAttrs, width: int) -> Array:
    return np.repeat(values, attrs.block_size, axis=-1)[..., :width]


def _plain_rows(attrs: m.GatherBlockQuantizedAttrs, operands: Operands) -> bool:
    """Data must be a matrix gathered by rows and quantised along them, 4 or 8 bits."""
    shape = operand(operands, 0).shape
    axes = len(shape) == 2 and attrs.gather_axis == 0 and attrs.quantize_axis in (1, -1)
    return axes and attrs.bits in (4, 8) and attrs.block_size >= 16


_SAME = like()
_FLOATS = (takes_floats(0, 1),)

ROWS: tuple[OpRow, ...] = (
    OpRow(name="Gelu", domain=_MS,
          limits=_FLOATS,
          shape=_SAME, reference=_biased(gelu), canon="Elementwise"),
    OpRow(name="BiasGelu", domain=_MS, inputs=(2, 2),
          limits=_FLOATS,
          shape=_bias_type, reference=_biased(gelu),
          canon="Elementwise"),
    OpRow(name="FastGelu", domain=_MS, inputs=(1, 2), limits=_FLOATS, shape=_bias_type,
          reference=_biased(gelu_tanh), canon="Elementwise"),
    OpRow(name="QuickGelu", domain=_MS, attrs=m.QuickGeluAttrs, limits=_FLOATS, shape=_SAME,
          reference=_quick_gelu, canon="Elementwise"),
    OpRow(name="FusedMatMul", domain=_MS, attrs=m.FusedMatMulAttrs, inputs=(2, 2), limits=_FLOATS,
          shape=_fused_matmul_type, reference=_fused_matmul, canon="Gemm"),
    OpRow(name="FusedGemm", domain=_MS, attrs=m.FusedGemmAttrs, inputs=(2, 3), shape=gemm_type,
          limits=(*_FLOATS, _known_activation), reference=_fused_gemm, canon="Gemm"),
    OpRow(name="MatMulNBits", domain=_MS, attrs=m.MatMulNBitsAttrs, inputs=(3, 6),
          shape=_n_bits_type,
          limits=(takes_floats(0, 2, 5), _plain_blocks),
          reference=_n_bits, canon="Gemm"),
    OpRow(name="GatherBlockQuantized", domain=_MS, attrs=m.GatherBlockQuantizedAttrs,
          inputs=(3, 4), shape=_rows_type, limits=(takes_floats(2), _plain_rows), reference=_rows,
          canon="Gather"),
)  # fmt: skip
"""One row per operator."""
