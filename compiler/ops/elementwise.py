"""Operators that work element by element, with broadcasting: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError (shapes that do not broadcast,
integer division by zero).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.graph.types import Array, Attrs, DType
from compiler.ops import attrs as a
from compiler.ops.arithmetic import (
    cast,
    divide_toward_zero,
    erf,
    gelu,
    gelu_tanh,
    in_float32,
    is_float,
    narrow,
    sigmoid,
    widen,
)
from compiler.ops.operands import array, broadcast, checked, like, maybe_array, operand, same_dtype
from compiler.ops.types import UNBOUNDED, Arrays, Operands, OpRow, Place, RuleError, Types

_SAME = like()


def _unary(function: Callable[[Array], Any]) -> Callable[[Any, Arrays], tuple[Array, ...]]:
    wide = in_float32(function)
    return lambda _attrs, arrays: (wide(array(arrays, 0)),)


def _with_attrs(
    function: Callable[[Any, Array], Any],
) -> Callable[[Any, Arrays], tuple[Array, ...]]:
    def reference(attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
        return (in_float32(lambda x: function(attrs, x))(array(arrays, 0)),)

    return reference


def _joined(_attrs: Any, operands: Operands) -> Types:
    """Broadcast shape, the one dtype of all operands."""
    values = [operand(operands, index) for index in range(len(operands))]
    return (checked(same_dtype(values), broadcast(*(value.shape for value in values))),)


def _truth(attrs: Any, operands: Operands) -> Types:
    """Broadcast shape, BOOL."""
    return (checked(DType.BOOL, _joined(attrs, operands)[0].shape),)


def _bool_like(_attrs: Any, operands: Operands) -> Types:
    return (checked(DType.BOOL, operand(operands, 0).shape),)


def _fold_left(function: Callable[[Any, Any], Any]) -> Callable[[Any, Arrays], tuple[Array, ...]]:
    """Variadic: ((x0 ∘ x1) ∘ x2) …"""

    def reference(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
        first = array(arrays, 0)
        total: Any = widen(first)
        with np.errstate(all="ignore"):
            for index in range(1, len(arrays)):
                total = function(total, widen(array(arrays, index)))
        return (narrow(total, first.dtype),)

    return reference


def _compare(function: Callable[[Any, Any], Any]) -> Callable[[Any, Arrays], tuple[Array, ...]]:
    return lambda _attrs, arrays: (
        np.asarray(function(widen(array(arrays, 0)), widen(array(arrays, 1)))),
    )


def _divide(left: Any, right: Any) -> Any:
    if is_float(left.dtype):
        return left / right
    if np.any(right == 0):
        raise RuleError("integer division by zero")
    if left.dtype.kind == "i" and np.any((right == -1) & (left == np.iinfo(left.dtype).min)):
        raise RuleError("integer division of the smallest number by -1")
    return divide_toward_zero(left, right)


def _mod(attrs: a.ModAttrs, arrays: Arrays) -> tuple[Array, ...]:
    left, right = array(arrays, 0), array(arrays, 1)
    if not is_float(left.dtype) and np.any(right == 0):
        raise RuleError("integer remainder of a division by zero")
    function = np.fmod if attrs.fmod else np.mod
    return (in_float32(function)(left, right),)


def _mean(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    total = _fold_left(np.add)(_attrs, [widen(array(arrays, i)) for i in range(len(arrays))])[0]
    return (narrow(total / len(arrays), array(arrays, 0).dtype),)


def _pow_type(_attrs: Any, operands: Operands) -> Types:
    base, exponent = operand(operands, 0), operand(operands, 1)
    return (checked(base.dtype, broadcast(base.shape, exponent.shape)),)


def _pow(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    """Result in the base's type. Integers with integer exponents stay exact; a negative exponent
    gives the truncated quotient.
    """
    base, exponent = widen(array(arrays, 0)), widen(array(arrays, 1))
    with np.errstate(all="ignore"):
        if is_float(base.dtype):
            powers: Any = np.power(base, exponent.astype(base.dtype))
        elif is_float(exponent.dtype) or np.any(exponent < 0):
            powers = cast(
                np.power(base.astype(np.float64), exponent.astype(np.float64)), base.dtype
            )
        else:
            powers = np.power(base.astype(np.int64), exponent.astype(np.int64))
    return (narrow(powers, array(arrays, 0).dtype),)


def _where_type(_attrs: Any, operands: Operands) -> Types:
    condition, left, right = (operand(operands, index) for index in range(3))
    if condition.dtype is not DType.BOOL:
        raise RuleError(f"the condition must be bool, not {condition.dtype.value}")
    shape = broadcast(condition.shape, left.shape, right.shape)
    return (checked(same_dtype([left, right]), shape),)


def _where(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    return (np.where(array(arrays, 0), array(arrays, 1), array(arrays, 2)),)


def _clip(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    """min(max(x, low), high): where low > high the result is high. NaN stays."""
    values = array(arrays, 0)
    low, high = maybe_array(arrays, 1), maybe_array(arrays, 2)
    result = widen(values)
    if low is not None:
        result = np.maximum(result, widen(low).reshape(()))
    if high is not None:
        result = np.minimum(result, widen(high).reshape(()))
    return (narrow(result, values.dtype),)


def _cast_type(attrs: a.CastAttrs, operands: Operands) -> Types:
    return (checked(attrs.to, operand(operands, 0).shape),)


def _cast(attrs: a.CastAttrs, arrays: Arrays) -> tuple[Array, ...]:
    return (cast(array(arrays, 0), attrs.to.numpy),)


def _cast_like_type(_attrs: Any, operands: Operands) -> Types:
    return (checked(operand(operands, 1).dtype, operand(operands, 0).shape),)


def _cast_like(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    return (cast(array(arrays, 0), array(arrays, 1).dtype),)


def _is_inf(attrs: a.IsInfAttrs, arrays: Arrays) -> tuple[Array, ...]:
    values = widen(array(arrays, 0))
    found = np.isposinf(values) & bool(attrs.detect_positive)
    return (np.asarray(found | (np.isneginf(values) & bool(attrs.detect_negative))),)


def _bit_shift(attrs: a.BitShiftAttrs, arrays: Arrays) -> tuple[Array, ...]:
    left = attrs.direction == "LEFT"
    if not left and attrs.direction != "RIGHT":
        raise RuleError(f"direction must be LEFT or RIGHT, not '{attrs.direction}'")
    shift = np.left_shift if left else np.right_shift
    return (np.asarray(shift(array(arrays, 0), array(arrays, 1))),)


def _gelu(attrs: a.GeluAttrs, x: Array) -> Array:
    if attrs.approximate not in ("none", "tanh"):
        raise RuleError(f"approximate must be none or tanh, not '{attrs.approximate}'")
    return gelu_tanh(x) if attrs.approximate == "tanh" else gelu(x)


def _softplus(x: Array) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _prelu_type(_attrs: Any, operands: Operands) -> Types:
    x, slope = operand(operands, 0), operand(operands, 1)
    if broadcast(x.shape, slope.shape) != x.shape:
        raise RuleError(f"slope {list(slope.shape)} does not broadcast to {list(x.shape)}")
    return (checked(same_dtype([x, slope]), x.shape),)


def _prelu(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    function = in_float32(lambda x, slope: np.where(x < 0, slope * x, x))
    return (function(array(arrays, 0), array(arrays, 1)),)


_UNARY: dict[str, Callable[[Array], Any]] = {
    "Abs": np.abs, "Neg": np.negative, "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log,
    "Reciprocal": lambda x: 1 / x, "Tanh": np.tanh, "Sigmoid": sigmoid, "Erf": erf,
    "Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos,
    "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh, "Asinh": np.arcsinh,
    "Acosh": np.arccosh, "Atanh": np.arctanh, "Ceil": np.ceil, "Floor": np.floor,
    "Round": np.rint, "Sign": np.sign, "Relu": lambda x: np.maximum(x, 0),
    "Softplus": _softplus, "Softsign": lambda x: x / (1 + np.abs(x)),
    "Not": np.logical_not, "BitwiseNot": np.invert, "Identity": lambda x: x,
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * np.tanh(_softplus(x)),
}  # fmt: skip
_HOST_UNARY = frozenset(
    {"Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "BitwiseNot"}
)
_PARAMETRIC: tuple[tuple[str, type[Attrs], Callable[[Any, Array], Any]], ...] = (
    ("Elu", a.AlphaAttrs, lambda p, x: np.where(x < 0, p.alpha * np.expm1(x), x)),
    ("Celu", a.AlphaAttrs, lambda p, x: np.maximum(x, 0)
     + np.minimum(0, p.alpha * np.expm1(x / p.alpha))),
    ("Selu", a.SeluAttrs, lambda p, x: p.gamma * np.where(x <= 0, p.alpha * np.expm1(x), x)),
    ("LeakyRelu", a.AlphaAttrs, lambda p, x: np.where(x < 0, p.alpha * x, x)),
    ("ThresholdedRelu", a.AlphaAttrs, lambda p, x: np.where(x > p.alpha, x, 0)),
    ("Swish", a.AlphaAttrs, lambda p, x: x * sigmoid(p.alpha * x)),
    ("HardSigmoid", a.HardSigmoidAttrs, lambda p, x: np.clip(p.alpha * x + p.beta, 0, 1)),
    ("Gelu", a.GeluAttrs, _gelu),
)  # fmt: skip
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide,
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip
_HOST_BINARY = frozenset({"BitwiseAnd", "BitwiseOr", "BitwiseXor"})
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
}  # fmt: skip


def _unary_rows() -> tuple[OpRow, ...]:
    plain = tuple(
        OpRow(
            name=name,
            shape=_SAME,
            reference=_unary(function),
            place=Place.HOST if name in _HOST_UNARY else Place.ON_CHIP,
            canon="View" if name == "Identity" else "Elementwise",
        )
        for name, function in _UNARY.items()
    )
    parametric = tuple(
        OpRow(
            name=name,
            attrs=kind,
            shape=_SAME,
            reference=_with_attrs(function),
            canon="Elementwise",
        )
        for name, kind, function in _PARAMETRIC
    )
    return plain + parametric


def _binary_rows() -> tuple[OpRow, ...]:
    arithmetic = tuple(
        OpRow(
            name=name,
            inputs=(2, 2),
            shape=_joined,
            reference=_fold_left(function),
            place=Place.HOST if name in _HOST_BINARY else Place.ON_CHIP,
            canon="Elementwise",
        )
        for name, function in _BINARY.items()
    )
    variadic = tuple(
        OpRow(
            name=name,
            inputs=(1, UNBOUNDED),
            shape=_joined,
            reference=_mean if function is None else _fold_left(function),
            canon="Elementwise",
        )
        for name, function in (
            ("Max", np.maximum),
            ("Min", np.minimum),
            ("Sum", np.add),
            ("Mean", None),
        )
    )
    compare = tuple(
        OpRow(
            name=name,
            inputs=(2, 2),
            shape=_truth,
            reference=_compare(function),
            canon="Elementwise",
        )
        for name, function in _COMPARE.items()
    )
    return arithmetic + variadic + compare


ROWS: tuple[OpRow, ...] = (
    *_unary_rows(),
    *_binary_rows(),
    OpRow(name="Mod", attrs=a.ModAttrs, inputs=(2, 2), shape=_joined, reference=_mod,
          place=Place.HOST),
    OpRow(name="BitShift", attrs=a.BitShiftAttrs, inputs=(2, 2), shape=_joined,
          reference=_bit_shift, place=Place.HOST),
    OpRow(name="Pow", inputs=(2, 2), shape=_pow_type, reference=_pow, canon="Elementwise"),
    OpRow(name="Where", inputs=(3, 3), shape=_where_type, reference=_where, canon="Elementwise"),
    OpRow(name="Clip", since=11, inputs=(1, 3), shape=_SAME, reference=_clip, canon="Elementwise"),
    OpRow(name="PRelu", inputs=(2, 2), shape=_prelu_type, canon="Elementwise",
          reference=_prelu),
    OpRow(name="Cast", attrs=a.CastAttrs, shape=_cast_type, reference=_cast, canon="Elementwise"),
    OpRow(name="CastLike", attrs=a.CastLikeAttrs, inputs=(2, 2), shape=_cast_like_type,
          reference=_cast_like, canon="Elementwise"),
    OpRow(name="IsNaN", shape=_bool_like, canon="Elementwise",
          reference=lambda _p, xs: (np.asarray(np.isnan(widen(array(xs, 0)))),)),
    OpRow(name="IsInf", attrs=a.IsInfAttrs, shape=_bool_like, reference=_is_inf,
          place=Place.HOST),
)  # fmt: skip
"""One row per operator."""
