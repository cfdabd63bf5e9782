"""Canonical forms of matrix products, reductions, normalisations and softmax.

In:  a Builder standing for the ONNX node.   Out: None, or the reason for leaving it to the host.
Raises: nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from compiler.graph.chip_ops import (
    Fn,
    GemmAttrs,
    NormAttrs,
    NormKind,
    Op,
    PermuteAttrs,
    ReduceKind,
    SoftmaxAttrs,
    Step,
)
from compiler.graph.types import DType
from compiler.ops import attrs as onnx_attrs
from compiler.passes.build import Builder
from compiler.passes.canon.elementwise import finish_steps
from compiler.passes.canon.types import DYNAMIC_INDEX, Canon


def swap_last(b: Builder, x: str) -> str:
    """X with its last two axes exchanged."""
    rank = len(b.shape(x))
    return b.permute(x, [*range(rank - 2), rank - 1, rank - 2])


def finish_product(b: Builder, x: str, y: str, attrs: GemmAttrs, bias: str = "") -> None:
    """The node's output as x @ y, with NumPy's rules for ranks and batch axes."""
    out = b.shape(b.node.outputs[0])
    x_shape, y_shape = b.shape(x), b.shape(y)
    vector = len(x_shape) == 1, len(y_shape) == 1
    x = b.view(x, [1, *x_shape]) if vector[0] else x
    y = b.view(y, [*y_shape, 1]) if vector[1] else y
    rows, columns = b.shape(x)[-2], b.shape(y)[-2 if attrs.trans_b and not vector[1] else -1]
    batch = np.broadcast_shapes(b.shape(x)[:-2], b.shape(y)[:-2])
    x = b.expand(x, [*batch, *b.shape(x)[-2:]])
    if math.prod(b.shape(y)[:-2]) == 1:
        y = b.view(y, b.shape(y)[-2:])
    elif batch:
        y = b.expand(y, [*batch, *b.shape(y)[-2:]])
    inputs = [x, y, bias] if bias else [x, y]
    full = (*batch, rows, columns)
    if full == out:
        b.finish(Op.GEMM, inputs, attrs)
    else:
        product = b.emit(Op.GEMM, inputs, attrs, shape=full, dtype=b.dtype(b.node.outputs[0]))
        b.finish(Op.VIEW, [product])


def matmul(b: Builder) -> str | None:
    """MatMul."""
    if b.dtype(b.node.outputs[0]).is_integer:
        return "an integer MatMul without scales"
    x, y = b.node.inputs
    finish_product(b, x, y, GemmAttrs())
    return None


def gemm(b: Builder) -> str | None:
    """Gemm: alpha·(A @ B) + beta·C."""
    spec = cast(onnx_attrs.GemmAttrs, b.node.attrs)
    a, weight = b.node.inputs[:2]
    c = b.node.inputs[2] if len(b.node.inputs) > 2 and spec.beta != 0.0 else ""
    a = swap_last(b, a) if spec.trans_a else a
    attrs = GemmAttrs(trans_b=bool(spec.trans_b), alpha=spec.alpha)
    out = b.shape(b.node.outputs[0])
    if c and spec.beta != 1.0:
        c = b.binary(Fn.MUL, c, spec.beta)
    if c and b.edit.value(c).elems == out[-1] and b.shape(c)[-1:] == out[-1:]:
        c = b.view(c, out[-1:])
    if not c or b.shape(c) == out[-1:]:
        b.finish(Op.GEMM, [a, weight, c] if c else [a, weight], attrs)
    else:
        product = b.emit(Op.GEMM, [a, weight], attrs, shape=out)
        finish_steps(b, [product, c], Step(fn=Fn.ADD, operand=1))
    return None


def einsum(b: Builder) -> str | None:
    """Einsum of two operands without repeated or lone summed letters: permuted, made batched
    matrices, multiplied.
    """
    equation = cast(onnx_attrs.EinsumAttrs, b.node.attrs).equation.replace(" ", "")
    left, _, out = equation.partition("->")
    terms = left.split(",")
    if len(terms) != 2 or "." in equation or "->" not in equation:
        return f"Einsum '{equation}'"
    one, two = terms
    if any(len(set(term)) != len(term) for term in (one, two, out)):
        return f"Einsum '{equation}'"
    batch = [c for c in out if c in one and c in two]
    rows = [c for c in out if c in one and c not in two]
    columns = [c for c in out if c in two and c not in one]
    summed = [c for c in one if c in two and c not in out]
    if len(batch + rows + summed) != len(one) or len(batch + columns + summed) != len(two):
        return f"Einsum '{equation}'"
    size = dict(zip(one + two, b.shape(b.node.inputs[0]) + b.shape(b.node.inputs[1]), strict=True))

    def dims(letters: Sequence[str]) -> list[int]:
        return [size[c] for c in letters]

    def matrix(name: str, term: str, first: list[str], last: list[str]) -> str:
        turned = b.permute(name, [term.index(c) for c in batch + first + last])
        return b.view(turned, [*dims(batch), math.prod(dims(first)), math.prod(dims(last))])

    x = matrix(b.node.inputs[0], one, rows, summed)
    y = matrix(b.node.inputs[1], two, summed, columns)
    flat = [*dims(batch), math.prod(dims(rows)), math.prod(dims(columns))]
    product = b.emit(Op.GEMM, [x, y], GemmAttrs(), shape=flat)
    order = batch + rows + columns
    spread = b.view(product, dims(order))
    b.finish(Op.PERMUTE, [spread], PermuteAttrs(perm=tuple(order.index(c) for c in out)))
    return None


def _reduced_axes(b: Builder) -> tuple[int, ...] | None:
    """Axes of a Reduce node; None where they are not constant."""
    rank = len(b.shape(b.node.inputs[0]))
    spec = cast(onnx_attrs.ReduceAttrs, b.node.attrs)
    name = b.node.inputs[1] if len(b.node.inputs) > 1 else ""
    if name:
        data = b.const(name)
        if data is None:
            return None
        axes = tuple(sorted({int(axis) % rank for axis in data.ravel()}))
    else:
        axes = ()
    if axes:
        return axes
    return () if spec.noop_with_empty_axes else tuple(range(rank))


def reduce_(kind: ReduceKind, before: Fn | None = None, after: Fn | None = None) -> Canon:
    """ReduceX: the reduced axes go last and become one; `before` and `after` are functions of
    elements and result.
    """

    def canon(b: Builder) -> str | None:
        axes = _reduced_axes(b)
        if axes is None:
            return DYNAMIC_INDEX
        x = b.node.inputs[0]
        if before is Fn.POW:
            x = b.steps([x], [Step(fn=Fn.POW, const=2.0)])
        elif before is not None:
            x = b.unary(before, x)
        result = _reduce_axes(b, kind, x, axes) if axes else x
        if after is not None:
            result = b.unary(after, result)
        b.finish(Op.VIEW, [result])
        return None

    return canon


def _reduce_axes(b: Builder, kind: ReduceKind, x: str, axes: tuple[int, ...]) -> str:
    shape = b.shape(x)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    turned = b.permute(x, [*kept, *axes])
    flat = b.view(turned, [*(shape[i] for i in kept), math.prod(shape[i] for i in axes)])
    y = b.reduce_last(kind, flat, keep=False)
    return b.view(y, [1 if i in axes else dim for i, dim in enumerate(shape)])


def reduce_log_sum_exp(b: Builder) -> str | None:
    """Log Σ exp(x) as max + log Σ exp(x − max)."""
    axes = _reduced_axes(b)
    if axes is None:
        return DYNAMIC_INDEX
    x = b.node.inputs[0]
    top = _reduce_axes(b, ReduceKind.MAX, x, axes)
    total = _reduce_axes(b, ReduceKind.SUM, b.unary(Fn.EXP, b.binary(Fn.SUB, x, top)), axes)
    b.finish(Op.VIEW, [b.binary(Fn.ADD, b.unary(Fn.LOG, total), top)])
    return None


def softmax(b: Builder) -> str | None:
    """Softmax of any axis."""
    x = b.node.inputs[0]
    rank = len(b.shape(x))
    axis = cast(onnx_attrs.LastAxisAttrs, b.node.attrs).axis % rank
    if axis == rank - 1:
        b.finish(Op.SOFTMAX, [x], SoftmaxAttrs())
        return None
    perm = [*(i for i in range(rank) if i != axis), axis]
    turned = b.permute(x, perm)
    y = b.emit(Op.SOFTMAX, [turned], SoftmaxAttrs(), shape=b.shape(turned))
    b.finish(Op.PERMUTE, [y], PermuteAttrs(perm=tuple(perm.index(i) for i in range(rank))))
    return None


def log_softmax(b: Builder) -> str | None:
    """X − max − log Σ exp(x − max)."""
    x = b.node.inputs[0]
    axes = (cast(onnx_attrs.LastAxisAttrs, b.node.attrs).axis % len(b.shape(x)),)
    shifted = b.binary(Fn.SUB, x, _reduce_axes(b, ReduceKind.MAX, x, axes))
    total = _reduce_axes(b, ReduceKind.SUM, b.unary(Fn.EXP, shifted), axes)
    finish_steps(b, [shifted, b.unary(Fn.LOG, total)], Step(fn=Fn.SUB, operand=1))
    return None


def gamma_row(b: Builder, gamma: str, size: int) -> str:
    """Gamma as one row of `size` elements; ones where it is absent."""
    if not gamma:
        return b.constant(np.ones(size, np.float32), "ones")
    row = b.view(gamma, [b.edit.value(gamma).elems])
    return b.expand(row, [size])


def finish_norm(b: Builder, kind: NormKind, eps: float, x: str, gamma: str, beta: str) -> None:
    """The node's output 0 as a Norm over all axes that gamma covers, made one."""
    shape = b.shape(x)
    size = b.edit.value(gamma).elems if gamma else shape[-1]
    flat = _last_axes_as_one(b, x, size)
    inputs = [flat, gamma_row(b, gamma, size), *([gamma_row(b, beta, size)] if beta else [])]
    attrs = NormAttrs(kind=kind, eps=eps)
    if b.shape(flat) == shape:
        b.finish(Op.NORM, inputs, attrs)
    else:
        y = b.emit(Op.NORM, inputs, attrs, shape=b.shape(flat))
        b.finish(Op.VIEW, [y])


def _last_axes_as_one(b: Builder, x: str, size: int) -> str:
    shape = list(b.shape(x))
    last = 1
    while shape and last < size:
        last *= shape.pop()
    return b.view(x, [*shape, last]) if last == size else x


def norm(kind: NormKind) -> Canon:
    """LayerNormalization and RMSNormalization without their optional statistics outputs."""

    def canon(b: Builder) -> str | None:
        spec = cast(onnx_attrs.NormAttrs, b.node.attrs)
        x, gamma, beta = (*b.node.inputs, "", "")[:3]
        if any(output and _used(b, output) for output in b.node.outputs[1:]):
            return "the statistics outputs of a normalisation"
        shape = b.shape(x)
        axis = spec.axis % len(shape)
        size = math.prod(shape[axis:])
        if gamma and b.edit.value(gamma).elems != size:
            gamma = b.view(b.expand(gamma, shape[axis:]), [size])
        if beta and b.edit.value(beta).elems != size:
            beta = b.view(b.expand(beta, shape[axis:]), [size])
        finish_norm(b, kind, spec.epsilon, x, gamma, beta)
        return None

    return canon


def _used(b: Builder, name: str) -> bool:
    return bool(b.edit.consumers(name)) or name in b.edit.outputs


def instance_norm(b: Builder) -> str | None:
    """InstanceNormalization: a Norm over all positions, then scale and bias per channel."""
    x, scale, bias = b.node.inputs
    n, c, *rest = b.shape(x)
    size = math.prod(rest)
    flat = b.view(x, [n, c, size])
    eps = cast(onnx_attrs.InstanceNormAttrs, b.node.attrs).epsilon
    ones = b.constant(np.ones(size, np.float32), "ones")
    attrs = NormAttrs(kind=NormKind.LAYER, eps=eps)
    y = b.emit(Op.NORM, [flat, ones], attrs, shape=[n, c, size])
    _finish_channels(b, b.view(y, [n, c, *rest]), scale, bias)
    return None


def group_norm(b: Builder) -> str | None:
    """GroupNormalization: a Norm over each group, then scale and bias per channel."""
    x, scale, bias = b.node.inputs
    spec = cast(onnx_attrs.GroupNormAttrs, b.node.attrs)
    shape = b.shape(x)
    size = math.prod(shape[1:]) // spec.num_groups
    flat = b.view(x, [shape[0], spec.num_groups, size])
    ones = b.constant(np.ones(size, np.float32), "ones")
    attrs = NormAttrs(kind=NormKind.LAYER, eps=spec.epsilon)
    y = b.emit(Op.NORM, [flat, ones], attrs, shape=b.shape(flat))
    _finish_channels(b, b.view(y, shape), scale, bias)
    return None


def _finish_channels(b: Builder, y: str, scale: str, bias: str) -> None:
    shape = b.shape(y)
    column = [shape[1], *([1] * (len(shape) - 2))]
    inputs = [y, b.view(scale, column), b.view(bias, column)]
    finish_steps(b, inputs, Step(fn=Fn.MUL, operand=1), Step(fn=Fn.ADD, operand=2))


def batch_norm(b: Builder) -> str | None:
    """BatchNormalization at inference: one factor and one offset per channel."""
    x, scale, bias, mean, variance = b.node.inputs
    spec = cast(onnx_attrs.BatchNormAttrs, b.node.attrs)
    if spec.training_mode:
        return "BatchNormalization in training mode"
    factor = b.steps(
        [variance, scale],
        [Step(fn=Fn.ADD, const=spec.epsilon), Step(fn=Fn.RSQRT), Step(fn=Fn.MUL, operand=1)],
    )
    offset = b.steps(
        [mean, factor, bias], [Step(fn=Fn.MUL, operand=1), Step(fn=Fn.SUB, operand=2, swap=True)]
    )
    _finish_channels(b, x, factor, offset)
    return None


def cumsum(b: Builder) -> str | None:
    """CumSum as sums over a constant triangle, in fp32: exact for integers below 2^24."""
    x, axis_name = b.node.inputs
    axis_data = b.const(axis_name)
    shape = b.shape(x)
    if axis_data is None:
        return DYNAMIC_INDEX
    axis = int(axis_data.ravel()[0]) % len(shape)
    size = shape[axis]
    if size > MAX_CUMSUM:
        return f"CumSum over {size} elements (limit {MAX_CUMSUM})"
    spec = cast(onnx_attrs.CumSumAttrs, b.node.attrs)
    keep = np.tril(np.ones((size, size), np.bool_), -1 if spec.exclusive else 0)
    triangle = b.constant(np.ascontiguousarray(keep.T) if spec.reverse else keep, "triangle")
    perm = [*(i for i in range(len(shape)) if i != axis), axis]
    turned = b.permute(x, perm)
    floats = turned if b.dtype(x).is_float else b.steps([turned], (), DType.F32)
    wide = b.view(floats, [*b.shape(turned)[:-1], 1, size])
    parts = b.steps([triangle, wide], [Step(fn=Fn.SELECT, operand=1, const2=0.0)], DType.F32)
    sums = b.reduce_last(ReduceKind.SUM, parts, keep=False)
    finish_steps(b, [b.permute(sums, [perm.index(i) for i in range(len(shape))])])
    return None


MAX_CUMSUM = 4096

ROWS: dict[str, Canon] = {
    "MatMul": matmul,
    "Gemm": gemm,
    "Einsum": einsum,
    "ReduceSum": reduce_(ReduceKind.SUM),
    "ReduceMean": reduce_(ReduceKind.MEAN),
    "ReduceMax": reduce_(ReduceKind.MAX),
    "ReduceMin": reduce_(ReduceKind.MIN),
    "ReduceProd": reduce_(ReduceKind.PROD),
    "ReduceL1": reduce_(ReduceKind.SUM, before=Fn.ABS),
    "ReduceL2": reduce_(ReduceKind.SUM, before=Fn.POW, after=Fn.SQRT),
    "ReduceSumSquare": reduce_(ReduceKind.SUM, before=Fn.POW),
    "ReduceLogSum": reduce_(ReduceKind.SUM, after=Fn.LOG),
    "ReduceLogSumExp": reduce_log_sum_exp,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "LayerNormalization": norm(NormKind.LAYER),
    "RMSNormalization": norm(NormKind.RMS),
    "SimplifiedLayerNormalization": norm(NormKind.RMS),
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "BatchNormalization": batch_norm,
    "CumSum": cumsum,
}
