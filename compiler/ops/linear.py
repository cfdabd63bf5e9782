"""Matrix products and convolution: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`, and the shared `matmul`, `matmul_shape`, `gemm`,
`convolve`.
Raises: RuleError (inner dimensions, kernels that do not fit).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compiler.graph.types import Array
from compiler.ops import attrs as a
from compiler.ops.arithmetic import narrow, widen
from compiler.ops.operands import (
    allocatable,
    array,
    broadcast,
    checked,
    maybe_array,
    operand,
    optional,
    same_dtype,
)
from compiler.ops.types import Arrays, Operands, OpRow, RuleError, Types

Shape = tuple[int, ...]


def matmul_shape(left: Shape, right: Shape) -> Shape:
    """Result shape of numpy's matmul: 1-D operands are a row on the left, a column on the right."""
    if not left or not right:
        raise RuleError("MatMul needs operands of at least one dimension")
    rows = left if len(left) > 1 else (1, *left)
    columns = right if len(right) > 1 else (*right, 1)
    if rows[-1] != columns[-2]:
        raise RuleError(f"inner dimensions of {list(left)} and {list(right)} differ")
    batch = broadcast(rows[:-2], columns[:-2])
    return (
        *batch,
        *(rows[-2:-1] if len(left) > 1 else ()),
        *(columns[-1:] if len(right) > 1 else ()),
    )


def matmul(left: Array, right: Array) -> Array:
    """Matrix product in the operands' dtype (16-bit floats: float32 inside, rounded once; integers
    wrap).
    """
    allocatable(matmul_shape(left.shape, right.shape), left.itemsize)
    return narrow(np.matmul(widen(left), widen(right)), left.dtype)


def _matmul_type(_attrs: Any, operands: Operands) -> Types:
    left, right = operand(operands, 0), operand(operands, 1)
    return (checked(same_dtype([left, right]), matmul_shape(left.shape, right.shape)),)


def gemm_type(attrs: Any, operands: Operands) -> Types:
    """Shape rule of Gemm and its relatives: A and B matrices, C broadcasts to the result."""
    left, right, bias = operand(operands, 0), operand(operands, 1), optional(operands, 2)
    if len(left.shape) != 2 or len(right.shape) != 2:
        raise RuleError(f"needs matrices, not {list(left.shape)} and {list(right.shape)}")
    rows = left.shape[::-1] if attrs.trans_a else left.shape
    columns = right.shape[::-1] if attrs.trans_b else right.shape
    result = matmul_shape(rows, columns)
    if bias is not None and broadcast(bias.shape, result) != result:
        raise RuleError(f"C {list(bias.shape)} does not broadcast to {list(result)}")
    return (checked(same_dtype([left, right, bias]), result),)


def gemm(attrs: Any, arrays: Arrays) -> Array:
    """alpha·A'·B' + beta·C, not yet rounded to 16 bits."""
    left, right, bias = widen(array(arrays, 0)), widen(array(arrays, 1)), maybe_array(arrays, 2)
    product = np.matmul(left.T if attrs.trans_a else left, right.T if attrs.trans_b else right)
    if attrs.alpha != 1.0:
        product = product * product.dtype.type(attrs.alpha)
    if bias is not None:
        product = product + product.dtype.type(attrs.beta) * widen(bias)
    return np.asarray(product)


def _gemm(attrs: a.GemmAttrs, arrays: Arrays) -> tuple[Array, ...]:
    return (narrow(gemm(attrs, arrays), array(arrays, 0).dtype),)


def _einsum_terms(equation: str, shapes: list[Shape]) -> tuple[list[str], str, str]:
    """Operand terms with the ellipsis spelled as upper-case letters, and the output term."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    letters = set(equation) - set("->,. ")
    if len(terms) != len(shapes) or not all(c.isascii() and c.isalpha() for c in letters):
        raise RuleError(f"equation '{equation}' does not fit {len(shapes)} operands")
    depths = [len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True)]
    depth = max((d for t, d in zip(terms, depths, strict=True) if "..." in t), default=0)
    spare = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in letters][:depth]
    if min(depths) < 0 or len(spare) < depth:
        raise RuleError(f"equation '{equation}' does not fit the operands' dimensions")
    full = "".join(spare)
    spelled = [t.replace("...", full[len(full) - d :]) for t, d in zip(terms, depths, strict=True)]
    if not arrow:
        every = "".join(terms).replace(".", "")
        right = full + "".join(sorted(c for c in set(every) if every.count(c) == 1))
    return spelled, right.replace("...", full), full


def _einsum_type(attrs: a.EinsumAttrs, operands: Operands) -> Types:
    values = [operand(operands, index) for index in range(len(operands))]
    terms, output, ellipsis = _einsum_terms(attrs.equation, [v.shape for v in values])
    sizes: dict[str, int] = {}
    for term, value in zip(terms, values, strict=True):
        if len(term) != len(value.shape):
            raise RuleError(f"'{term}' does not name the dimensions of {list(value.shape)}")
        for letter, dim in zip(term, value.shape, strict=True):
            known = sizes.get(letter, 1)
            if known not in (1, dim) and dim != 1:
                raise RuleError(f"index '{letter}' is both {known} and {dim}")
            sizes[letter] = dim if dim != 1 else known
    if any(letter not in sizes for letter in output):
        raise RuleError(f"equation '{attrs.equation}' has an unknown output index {ellipsis}")
    return (checked(same_dtype(values), (sizes[letter] for letter in output)),)


def _einsum(attrs: a.EinsumAttrs, arrays: Arrays) -> tuple[Array, ...]:
    values = [array(arrays, index) for index in range(len(arrays))]
    terms, output, _ = _einsum_terms(attrs.equation, [v.shape for v in values])
    equation = f"{','.join(terms)}->{output}"
    result = np.einsum(equation, *(widen(v) for v in values), optimize=True)
    return (narrow(result, values[0].dtype),)


def _pads(attrs: a.ConvAttrs, sizes: Shape, kernel: Shape) -> tuple[tuple[int, int], ...]:
    rank = len(sizes)
    strides, dilations = attrs.strides or (1,) * rank, attrs.dilations or (1,) * rank
    if attrs.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        result = []
        for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
            reach = (width - 1) * dilation + 1
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            small, large = total // 2, total - total // 2
            result.append((small, large) if attrs.auto_pad == "SAME_UPPER" else (large, small))
        return tuple(result)
    if attrs.auto_pad not in ("NOTSET", "VALID", ""):
        raise RuleError(f"auto_pad '{attrs.auto_pad}' is unknown")
    pads = attrs.pads if attrs.pads and attrs.auto_pad != "VALID" else (0,) * (2 * rank)
    if len(pads) != 2 * rank or min(pads) < 0:
        raise RuleError(f"pads {list(pads)} must be {2 * rank} numbers, none negative")
    return tuple((pads[axis], pads[axis + rank]) for axis in range(rank))


def convolution_shape(attrs: a.ConvAttrs, data: Shape, weights: Shape) -> Shape:
    """[N, M, spatial …] of a convolution of [N, C, …] with [M, C/group, kernel …]."""
    kernel, sizes = weights[2:], data[2:]
    if len(data) < 3 or len(weights) != len(data) or attrs.group < 1:
        raise RuleError(f"cannot convolve {list(data)} with {list(weights)}")
    if data[1] != weights[1] * attrs.group or weights[0] % attrs.group:
        raise RuleError(f"channels of {list(data)} and {list(weights)} differ")
    if attrs.kernel_shape is not None and attrs.kernel_shape != kernel:
        raise RuleError(f"kernel_shape {list(attrs.kernel_shape)} is not {list(kernel)}")
    rank = len(sizes)
    strides, dilations = attrs.strides or (1,) * rank, attrs.dilations or (1,) * rank
    if len(strides) != rank or len(dilations) != rank or min(*strides, *dilations) < 1:
        raise RuleError(f"strides and dilations must be {rank} positive numbers")
    spatial = []
    for axis, (low, high) in enumerate(_pads(attrs, sizes, kernel)):
        room = sizes[axis] + low + high - (kernel[axis] - 1) * dilations[axis] - 1
        if room < 0:
            raise RuleError(f"kernel {list(kernel)} is larger than the padded {list(sizes)}")
        spatial.append(room // strides[axis] + 1)
    return (data[0], weights[0], *spatial)


def convolve(attrs: a.ConvAttrs, data: Array, weights: Array, pad: Any = 0) -> Array:
    """The convolution itself, in the dtype of `data` (no rounding, no bias)."""
    shape = convolution_shape(attrs, data.shape, weights.shape)
    rank, kernel, groups = len(shape) - 2, weights.shape[2:], attrs.group
    strides, dilations = attrs.strides or (1,) * rank, attrs.dilations or (1,) * rank
    pads = _pads(attrs, data.shape[2:], kernel)
    padded = np.pad(data, ((0, 0), (0, 0), *pads), constant_values=pad)
    allocatable((math.prod(shape), data.shape[1], *kernel), data.itemsize)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, tuple(range(2, rank + 2)))
    thinned: tuple[Any, ...] = (..., *(slice(None, None, d) for d in dilations))
    windows = windows[thinned]
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
    columns = np.moveaxis(windows, 1, rank + 1).reshape(shape[0], math.prod(shape[2:]), groups, -1)
    filters = weights.reshape(groups, weights.shape[0] // groups, -1)
    product = np.matmul(columns.transpose(0, 2, 1, 3), filters.transpose(0, 2, 1))
    return np.asarray(product.transpose(0, 1, 3, 2).reshape(shape))


def _conv_type(attrs: a.ConvAttrs, operands: Operands) -> Types:
    data, weights, bias = operand(operands, 0), operand(operands, 1), optional(operands, 2)
    shape = convolution_shape(attrs, data.shape, weights.shape)
    if bias is not None and bias.shape != (shape[1],):
        raise RuleError(f"bias must be [{shape[1]}], not {list(bias.shape)}")
    return (checked(same_dtype([data, weights, bias]), shape),)


def _conv(attrs: a.ConvAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, bias = array(arrays, 0), maybe_array(arrays, 2)
    result = convolve(attrs, widen(data), widen(array(arrays, 1)))
    if bias is not None:
        result = result + widen(bias).reshape(-1, *(1,) * (result.ndim - 2))
    return (narrow(result, data.dtype),)


ROWS: tuple[OpRow, ...] = (
    OpRow(name="MatMul", inputs=(2, 2), shape=_matmul_type, canon="Gemm",
          reference=lambda _p, xs: (matmul(array(xs, 0), array(xs, 1)),)),
    OpRow(name="Gemm", since=7, attrs=a.GemmAttrs, inputs=(2, 3), shape=gemm_type, reference=_gemm,
          canon="Gemm"),
    OpRow(name="Einsum", since=12, attrs=a.EinsumAttrs, inputs=(1, 1 << 20), shape=_einsum_type,
          reference=_einsum, canon="Permute, Gemm"),
    OpRow(name="Conv", attrs=a.ConvAttrs, inputs=(2, 3), shape=_conv_type, reference=_conv,
          canon="Gemm"),
)  # fmt: skip
"""One row per operator."""
