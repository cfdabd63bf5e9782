"""Canonical forms of elementwise ONNX operators: one Elementwise step each, so that fusion
patterns see single steps.

In:  a Builder standing for the ONNX node.   Out: None, or the reason for leaving it to the host.
Raises: nothing.
"""

from __future__ import annotations

import math
from typing import cast

from compiler.graph.chip_ops import COMMUTATIVE_FNS, POW_EXPONENTS, ElementwiseAttrs, Fn, Op, Step
from compiler.graph.types import DType
from compiler.ops import attrs as onnx_attrs
from compiler.passes.build import Builder
from compiler.passes.canon.types import Canon


def scalar(b: Builder, name: str) -> float | None:
    """The number that a one-element constant holds."""
    array = b.const(name)
    return float(array.ravel()[0]) if array is not None and array.size == 1 else None


def operand_step(b: Builder, fn: Fn, other: str, *, swap: bool = False) -> tuple[list[str], Step]:
    """The extra inputs and the step for a second operand at input position 1."""
    number = scalar(b, other)
    if number is not None:
        return [], Step(fn=fn, const=number, swap=swap)
    return [other], Step(fn=fn, operand=1, swap=swap)


def finish_steps(b: Builder, inputs: list[str], *steps: Step) -> None:
    """The node's output as one Elementwise node."""
    b.finish(Op.ELEMENTWISE, inputs, ElementwiseAttrs(steps=steps))


def unary(fn: Fn) -> Canon:
    """An operator that is one function of one input."""

    def canon(b: Builder) -> str | None:
        finish_steps(b, [b.node.inputs[0]], Step(fn=fn))
        return None

    return canon


def binary(fn: Fn) -> Canon:
    """An operator of two inputs; t is the larger operand, never a scalar constant."""

    def canon(b: Builder) -> str | None:
        left, right = b.node.inputs
        full = b.shape(b.node.outputs[0])
        small = scalar(b, left) is not None and scalar(b, right) is None
        if small or (b.shape(left) != full and b.shape(right) == full):
            swap = fn not in COMMUTATIVE_FNS
            extra, step = operand_step(b, fn, left, swap=swap)
            finish_steps(b, [right, *extra], step)
        else:
            extra, step = operand_step(b, fn, right)
            finish_steps(b, [left, *extra], step)
        return None

    return canon


def variadic(fn: Fn, *, mean: bool = False) -> Canon:
    """Sum, Max, Min, Mean of any number of inputs."""

    def canon(b: Builder) -> str | None:
        inputs = list(b.node.inputs)
        scale = (Step(fn=Fn.MUL, const=1.0 / len(inputs)),) if mean else ()
        if len(inputs) == 1:
            b.finish(Op.VIEW, inputs)
            return None
        if len(inputs) == 2 and not mean:
            return binary(fn)(b)
        total = inputs[0]
        for other in inputs[1:-1]:
            total = b.binary(fn, total, other)
        finish_steps(b, [total, inputs[-1]], Step(fn=fn, operand=1), *scale)
        return None

    return canon


def chain(*steps: Step) -> Canon:
    """An operator that is a fixed chain of steps."""

    def canon(b: Builder) -> str | None:
        finish_steps(b, [b.node.inputs[0]], *steps)
        return None

    return canon


def power(b: Builder) -> str | None:
    """Pow with a constant exponent of the chip's list, or of a positive constant base."""
    base, exponent = b.node.inputs
    number, root = scalar(b, exponent), scalar(b, base)
    if number in POW_EXPONENTS:
        finish_steps(b, [base], Step(fn=Fn.POW, const=number))
    elif number == 1.0:
        b.finish(Op.VIEW, [base])
    elif number == 4.0:
        finish_steps(b, [base], Step(fn=Fn.POW, const=2.0), Step(fn=Fn.POW, const=2.0))
    elif root is not None and root > 0.0 and b.dtype(base).is_float:
        finish_steps(b, [exponent], Step(fn=Fn.MUL, const=math.log(root)), Step(fn=Fn.EXP))
    else:
        return f"Pow by {number if number is not None else 'a tensor'}"
    return None


def where(b: Builder) -> str | None:
    """Where: t is the condition."""
    condition, yes, no = b.node.inputs
    inputs: list[str] = [condition]
    found: list[tuple[int | None, float | None]] = []
    for name in (yes, no):
        number = scalar(b, name)
        if number is None:
            inputs.append(name)
        found.append((None, number) if number is not None else (len(inputs) - 1, None))
    (operand, const), (operand2, const2) = found
    step = Step(fn=Fn.SELECT, operand=operand, const=const, operand2=operand2, const2=const2)
    finish_steps(b, inputs, step)
    return None


def clip(b: Builder) -> str | None:
    """Clip: MAX then MIN, each with a number or a tensor; an absent bound has no step."""
    inputs, steps = [b.node.inputs[0]], []
    bounds = (*b.node.inputs[1:], "", "")[:2]
    for fn, name in zip((Fn.MAX, Fn.MIN), bounds, strict=True):
        if not name:
            continue
        number = scalar(b, name)
        if number is None:
            inputs.append(name)
            steps.append(Step(fn=fn, operand=len(inputs) - 1))
        else:
            steps.append(Step(fn=fn, const=number))
    finish_steps(b, inputs, *steps)
    return None


def cast_(b: Builder) -> str | None:
    """Cast: conversion to the output's dtype; to BOOL is a comparison with 0."""
    target = b.dtype(b.node.outputs[0])
    source = b.dtype(b.node.inputs[0])
    same = target is source or (target.is_float and source.is_float)
    if same or {target, source} <= {DType.I32, DType.I64}:
        b.finish(Op.VIEW, b.node.inputs[:1])
    elif target is DType.BOOL:
        finish_steps(b, [b.node.inputs[0]], Step(fn=Fn.NE, const=0.0))
    else:
        finish_steps(b, [b.node.inputs[0]])
    return None


def gelu(b: Builder) -> str | None:
    """Gelu, exact or by tanh."""
    approximate = cast(onnx_attrs.GeluAttrs, b.node.attrs).approximate
    return unary(Fn.GELU_TANH if approximate == "tanh" else Fn.GELU)(b)


def _alpha(b: Builder) -> float:
    return cast(onnx_attrs.AlphaAttrs, b.node.attrs).alpha


def leaky_relu(b: Builder) -> str | None:
    """X where x > 0, else alpha·x."""
    x = b.node.inputs[0]
    slope = b.binary(Fn.MUL, x, _alpha(b))
    positive = b.steps([x], [Step(fn=Fn.GT, const=0.0)], DType.BOOL)
    finish_steps(b, [positive, x, slope], Step(fn=Fn.SELECT, operand=1, operand2=2))
    return None


def thresholded_relu(b: Builder) -> str | None:
    """X where x > alpha, else 0."""
    x = b.node.inputs[0]
    above = b.steps([x], [Step(fn=Fn.GT, const=_alpha(b))], DType.BOOL)
    finish_steps(b, [above, x], Step(fn=Fn.SELECT, operand=1, const2=0.0))
    return None


def prelu(b: Builder) -> str | None:
    """X where x > 0, else slope·x."""
    x, slope = b.node.inputs
    below = b.binary(Fn.MUL, x, slope)
    positive = b.steps([x], [Step(fn=Fn.GT, const=0.0)], DType.BOOL)
    finish_steps(b, [positive, x, below], Step(fn=Fn.SELECT, operand=1, operand2=2))
    return None


def _exponential(b: Builder, alpha: float, inner: float, gamma: float) -> str | None:
    """gamma·x where x > 0, else gamma·alpha·(exp(x/inner) − 1), with exp of min(x, 0) only."""
    x = b.node.inputs[0]
    low = b.steps(
        [x],
        [
            Step(fn=Fn.MIN, const=0.0),
            Step(fn=Fn.MUL, const=1.0 / inner),
            Step(fn=Fn.EXP),
            Step(fn=Fn.SUB, const=1.0),
            Step(fn=Fn.MUL, const=alpha * gamma),
        ],
    )
    high = b.steps([x], [Step(fn=Fn.RELU), Step(fn=Fn.MUL, const=gamma)])
    finish_steps(b, [low, high], Step(fn=Fn.ADD, operand=1))
    return None


def elu(b: Builder) -> str | None:
    """Elu."""
    return _exponential(b, _alpha(b), 1.0, 1.0)


def celu(b: Builder) -> str | None:
    """Celu."""
    return _exponential(b, _alpha(b), _alpha(b), 1.0)


def selu(b: Builder) -> str | None:
    """Selu."""
    spec = cast(onnx_attrs.SeluAttrs, b.node.attrs)
    return _exponential(b, spec.alpha, 1.0, spec.gamma)


def hard_sigmoid(b: Builder) -> str | None:
    """HardSigmoid."""
    spec = cast(onnx_attrs.HardSigmoidAttrs, b.node.attrs)
    return chain(
        Step(fn=Fn.MUL, const=spec.alpha),
        Step(fn=Fn.ADD, const=spec.beta),
        Step(fn=Fn.MAX, const=0.0),
        Step(fn=Fn.MIN, const=1.0),
    )(b)


def hard_swish(b: Builder) -> str | None:
    """x·clip(x/6 + 1/2, 0, 1)."""
    steps = (
        Step(fn=Fn.MUL, const=1.0 / 6.0),
        Step(fn=Fn.ADD, const=0.5),
        Step(fn=Fn.MAX, const=0.0),
        Step(fn=Fn.MIN, const=1.0),
        Step(fn=Fn.MUL, operand=1),
    )
    finish_steps(b, [b.node.inputs[0]] * 2, *steps)
    return None


def softplus(b: Builder, x: str) -> str:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(−|x|)), which does not overflow."""
    steps = [Step(fn=Fn.ABS), Step(fn=Fn.NEG), Step(fn=Fn.EXP), Step(fn=Fn.ADD, const=1.0)]
    tail = b.steps([x], [*steps, Step(fn=Fn.LOG)])
    return b.steps([x, tail], [Step(fn=Fn.RELU), Step(fn=Fn.ADD, operand=1)])


def softplus_(b: Builder) -> str | None:
    """Softplus."""
    b.finish(Op.VIEW, [softplus(b, b.node.inputs[0])])
    return None


def mish(b: Builder) -> str | None:
    """x·tanh(softplus(x))."""
    x = b.node.inputs[0]
    steps = (Step(fn=Fn.TANH), Step(fn=Fn.MUL, operand=1))
    finish_steps(b, [softplus(b, x), x], *steps)
    return None


def swish(alpha: float | None = None) -> Canon:
    """x·sigmoid(alpha·x); alpha from the attribute unless given."""

    def canon(b: Builder) -> str | None:
        factor = _alpha(b) if alpha is None else alpha
        if factor == 1.0:
            return unary(Fn.SILU)(b)
        steps = (Step(fn=Fn.MUL, const=factor), Step(fn=Fn.SIGMOID), Step(fn=Fn.MUL, operand=1))
        finish_steps(b, [b.node.inputs[0]] * 2, *steps)
        return None

    return canon


def is_nan(b: Builder) -> str | None:
    """A NaN is what differs from itself."""
    finish_steps(b, [b.node.inputs[0]] * 2, Step(fn=Fn.NE, operand=1))
    return None


def is_inf(b: Builder) -> str | None:
    """IsInf of the signs asked for."""
    spec = cast(onnx_attrs.IsInfAttrs, b.node.attrs)
    steps = [Step(fn=Fn.EQ, const=math.inf)]
    if spec.detect_negative and spec.detect_positive:
        steps.insert(0, Step(fn=Fn.ABS))
    elif spec.detect_negative:
        steps = [Step(fn=Fn.EQ, const=-math.inf)]
    finish_steps(b, [b.node.inputs[0]], *steps)
    return None


def softsign(b: Builder) -> str | None:
    """x/(1 + |x|)."""
    steps = (Step(fn=Fn.ABS), Step(fn=Fn.ADD, const=1.0), Step(fn=Fn.DIV, operand=1, swap=True))
    finish_steps(b, [b.node.inputs[0]] * 2, *steps)
    return None


_UNARY = {
    "Abs": Fn.ABS, "Neg": Fn.NEG, "Exp": Fn.EXP, "Log": Fn.LOG, "Reciprocal": Fn.RECIP,
    "Sqrt": Fn.SQRT, "Tanh": Fn.TANH, "Erf": Fn.ERF, "Sigmoid": Fn.SIGMOID, "Sin": Fn.SIN,
    "Cos": Fn.COS, "Floor": Fn.FLOOR, "Ceil": Fn.CEIL, "Round": Fn.ROUND, "Relu": Fn.RELU,
    "Not": Fn.NOT, "Sign": Fn.SIGN,
}  # fmt: skip
_BINARY = {
    "Add": Fn.ADD, "Sub": Fn.SUB, "Mul": Fn.MUL, "Div": Fn.DIV, "And": Fn.AND, "Or": Fn.OR,
    "Equal": Fn.EQ, "Less": Fn.LT, "LessOrEqual": Fn.LE, "Greater": Fn.GT,
    "GreaterOrEqual": Fn.GE, "Xor": Fn.NE,
}  # fmt: skip

ROWS: dict[str, Canon] = {
    **{name: unary(fn) for name, fn in _UNARY.items()},
    **{name: binary(fn) for name, fn in _BINARY.items()},
    "Sum": variadic(Fn.ADD),
    "Max": variadic(Fn.MAX),
    "Min": variadic(Fn.MIN),
    "Mean": variadic(Fn.ADD, mean=True),
    "Pow": power,
    "Where": where,
    "Clip": clip,
    "Cast": cast_,
    "CastLike": cast_,
    "Gelu": gelu,
    "LeakyRelu": leaky_relu,
    "ThresholdedRelu": thresholded_relu,
    "PRelu": prelu,
    "Elu": elu,
    "Celu": celu,
    "Selu": selu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Softplus": softplus_,
    "Softsign": softsign,
    "Mish": mish,
    "Swish": swish(),
    "IsNaN": is_nan,
    "IsInf": is_inf,
}
