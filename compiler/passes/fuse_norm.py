"""Fusion of decomposed LayerNorm, RMSNorm, softmax, GELU, SiLU and sigmoid.

In:  chip-level roots of one elementwise step each.   Out: rewrites for the engine.   Raises:
nothing.

A match only looks at values; nodes that become unused are removed as dead code, so a shared mean
or square stays for others.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from compiler.graph.chip_ops import (
    ElementwiseAttrs,
    Fn,
    NormAttrs,
    NormKind,
    Op,
    ReduceKind,
    SoftmaxAttrs,
    Step,
)
from compiler.graph.graph import GraphEdit
from compiler.graph.types import Node
from compiler.passes.build import Builder, Operand
from compiler.passes.engine import Rewrite
from compiler.passes.match import (
    binary,
    close,
    either,
    inverse_sqrt,
    is_private,
    made_by,
    plus_const,
    power,
    product,
    reduced,
    unary,
)
from compiler.passes.simplify import edit_out, joined

_SQRT_2 = math.sqrt(2.0)
_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


def normalisation(edit: GraphEdit, node: Node) -> bool:
    """x·rsqrt(mean(x²) + eps) is a Norm with gamma of ones; x = y − mean(y) makes it a layer norm
    of y.
    """
    found = _normalised(edit, node.outputs[0])
    if found is None:
        return False
    x, eps = found
    kind, source = NormKind.RMS, x
    difference = binary(edit, x, Fn.SUB)
    if difference is not None and isinstance(difference[0], str):
        y, mean = difference
        if reduced(edit, mean, ReduceKind.MEAN) == y:
            kind, source = NormKind.LAYER, difference[0]
    shape = edit.value(node.outputs[0]).shape
    if edit.value(source).shape != shape or not edit.value(source).dtype.is_float:
        return False
    b = Builder(edit, edit_out(edit, node))
    ones = b.constant(np.ones(shape[-1], np.float32), "ones")
    b.finish(Op.NORM, [source, ones], NormAttrs(kind=kind, eps=eps))
    return True


def _normalised(edit: GraphEdit, name: str) -> tuple[str, float] | None:
    """(x, eps) where the value is x / sqrt(mean(x²) + eps), as a product or a quotient."""
    candidates: list[tuple[Operand, str | None]] = [
        (left, inverse_sqrt(edit, right)) for left, right in either(edit, name, Fn.MUL)
    ]
    quotient = binary(edit, name, Fn.DIV)
    if quotient is not None:
        root = power(edit, quotient[1])
        candidates.append((quotient[0], root[0] if root is not None and root[1] == 0.5 else None))
    for x, inside in candidates:
        if inside is None or not isinstance(x, str):
            continue
        variance = plus_const(edit, inside)
        if variance is None:
            continue
        square = reduced(edit, variance[0], ReduceKind.MEAN)
        raised = power(edit, square) if square is not None else None
        if raised is not None and raised[1] == 2.0 and _same(edit, raised[0], x):
            return x, variance[1]
    return None


def _same(edit: GraphEdit, one: str, other: str) -> bool:
    """Equal values, or both y − mean(y) of the same y written twice."""
    if one == other:
        return True
    pairs = binary(edit, one, Fn.SUB), binary(edit, other, Fn.SUB)
    if pairs[0] is None or pairs[1] is None or pairs[0][0] != pairs[1][0]:
        return False
    y = pairs[0][0]
    return all(reduced(edit, pair[1], ReduceKind.MEAN) == y for pair in pairs if pair is not None)


def norm_gamma(edit: GraphEdit, node: Node) -> bool:
    """A constant row that multiplies a Norm with gamma of ones is its gamma."""
    for left, right in either(edit, node.outputs[0], Fn.MUL):
        norm = made_by(edit, left, Op.NORM)
        if norm is None or not _is_row(edit, right, norm) or not is_private(edit, norm.outputs[0]):
            continue
        gamma = edit.value(norm.inputs[1]).const
        if len(norm.inputs) > 2 or gamma is None or not bool((gamma == 1.0).all()):
            continue
        return _extend_norm(edit, node, norm, [norm.inputs[0], cast(str, right)])
    return False


def norm_beta(edit: GraphEdit, node: Node) -> bool:
    """A constant row added to a layer Norm is its beta."""
    for left, right in either(edit, node.outputs[0], Fn.ADD):
        norm = made_by(edit, left, Op.NORM)
        if norm is None or not _is_row(edit, right, norm) or not is_private(edit, norm.outputs[0]):
            continue
        if len(norm.inputs) == 2:
            return _extend_norm(edit, node, norm, [*norm.inputs, cast(str, right)])
    return False


def _is_row(edit: GraphEdit, name: Operand, norm: Node) -> bool:
    if not isinstance(name, str):
        return False
    value = edit.value(name)
    size = edit.value(norm.outputs[0]).shape[-1]
    return value.is_const and value.elems == size and value.shape[-1:] == (size,)


def _extend_norm(edit: GraphEdit, node: Node, norm: Node, inputs: list[str]) -> bool:
    edit_out(edit, node)
    edit.remove_node(norm.name)
    b = Builder(edit, node, joined(norm, node))
    size = edit.value(norm.outputs[0]).shape[-1:]
    b.finish(Op.NORM, [inputs[0], *(b.view(row, size) for row in inputs[1:])], norm.attrs)
    return True


def gelu(edit: GraphEdit, node: Node) -> bool:
    """x·(1 + erf(x/√2))/2 and its tanh form, in any order of factors."""
    terms = product(edit, node.outputs[0])
    if len(terms.factors) != 2 or not close(terms.coefficient, 0.5):
        return False
    for x, gate in (terms.factors, terms.factors[::-1]):
        inner = plus_const(edit, gate)
        if inner is None or inner[1] != 1.0:
            continue
        erf_of, tanh_of = unary(edit, inner[0], Fn.ERF), unary(edit, inner[0], Fn.TANH)
        if erf_of is not None and _is_scaled(edit, erf_of, x, 1.0 / _SQRT_2):
            return _replace_unary(edit, node, x, Fn.GELU)
        if tanh_of is not None and _is_gelu_argument(edit, tanh_of, x):
            return _replace_unary(edit, node, x, Fn.GELU_TANH)
    return False


def _is_scaled(edit: GraphEdit, name: str, x: str, factor: float) -> bool:
    terms = product(edit, name)
    return terms.factors == [x] and close(terms.coefficient, factor)


def _is_gelu_argument(edit: GraphEdit, name: str, x: str) -> bool:
    """√(2/π)·(x + 0.044715·x³), also written √(2/π)·x·(1 + 0.044715·x²)."""
    terms = product(edit, name)
    if not close(terms.coefficient, _SQRT_2_OVER_PI):
        return False
    if len(terms.factors) == 1:
        for left, right in either(edit, terms.factors[0], Fn.ADD):
            cubic = product(edit, right)
            if left == x and cubic.factors == [x] * 3 and close(cubic.coefficient, _CUBIC):
                return True
    if len(terms.factors) == 2 and x in terms.factors:
        other = terms.factors[1] if terms.factors[0] == x else terms.factors[0]
        inner = plus_const(edit, other)
        if inner is not None and inner[1] == 1.0:
            square = product(edit, inner[0])
            return square.factors == [x] * 2 and close(square.coefficient, _CUBIC)
    return False


def silu(edit: GraphEdit, node: Node) -> bool:
    """x·sigmoid(x)."""
    for left, right in either(edit, node.outputs[0], Fn.MUL):
        if isinstance(left, str) and unary(edit, right, Fn.SIGMOID) == left:
            return _replace_unary(edit, node, left, Fn.SILU)
    return False


def sigmoid(edit: GraphEdit, node: Node) -> bool:
    """1/(1 + exp(−x))."""
    raised = power(edit, node.outputs[0])
    if raised is None or raised[1] != -1.0:
        return False
    total = plus_const(edit, raised[0])
    if total is None or total[1] != 1.0:
        return False
    exponent = unary(edit, total[0], Fn.EXP)
    x = unary(edit, exponent, Fn.NEG) if exponent is not None else None
    return x is not None and _replace_unary(edit, node, x, Fn.SIGMOID)


def _replace_unary(edit: GraphEdit, node: Node, x: str, fn: Fn) -> bool:
    b = Builder(edit, edit_out(edit, node))
    b.finish(Op.ELEMENTWISE, [x], ElementwiseAttrs(steps=(Step(fn=fn),)))
    return True


def softmax(edit: GraphEdit, node: Node) -> bool:
    """exp(x − max x)/Σ exp(x − max x) over the last axis."""
    quotient = binary(edit, node.outputs[0], Fn.DIV)
    if quotient is None or not isinstance(quotient[0], str):
        return False
    numerator, total = quotient
    if reduced(edit, total, ReduceKind.SUM) != numerator:
        return False
    shifted = unary(edit, numerator, Fn.EXP)
    difference = binary(edit, shifted, Fn.SUB) if shifted is not None else None
    if difference is None or not isinstance(difference[0], str):
        return False
    if reduced(edit, difference[1], ReduceKind.MAX) != difference[0]:
        return False
    Builder(edit, edit_out(edit, node)).finish(Op.SOFTMAX, [difference[0]], SoftmaxAttrs())
    return True


REWRITES = tuple(
    Rewrite(name=apply.__name__.replace("_", "-"), pattern=(Op.ELEMENTWISE,), apply=apply)
    for apply in (normalisation, norm_gamma, norm_beta, gelu, silu, sigmoid, softmax)
)
