"""Reference semantics of elementwise steps in numpy: slow, plain, the meaning of a chain.

In:  the node's input arrays (any dtype) and its steps.   Out: the last t, float32 or int64 or
bool, before conversion.
Raises: InternalError for an exponent that POW does not have.

Inside a node floats are float32 (each step rounds once) and integers int64; a float operand makes
t float.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from athena.errors import InternalError
from compiler.graph.chip_ops import LOGIC_FNS, POW_EXPONENTS, Fn, Step
from compiler.graph.types import Array

_INT_LIMIT = float(1 << 31)
_ERF_STEP = 1.0 / 256.0
_ERF_LIMIT = 6.0  # erf is 1 to double precision beyond
_ERF_NODES = np.array([math.erf(i * _ERF_STEP) for i in range(int(_ERF_LIMIT / _ERF_STEP) + 2)])


def erf(x: Array) -> Array:
    """The error function in float64: fifth-order Taylor series around the nearest of 1,538 nodes
    (error below 1e-15).
    """
    size = np.minimum(np.abs(x.astype(np.float64)), _ERF_LIMIT)
    index = np.rint(np.nan_to_num(size) / _ERF_STEP).astype(np.int64)
    z = index * _ERF_STEP
    d = size - z
    z2 = z * z
    series = 1 + d * (
        -z
        + d * ((2 * z2 - 1) / 3 + d * (z * (3 - 2 * z2) / 6 + d * (4 * z2 * z2 - 12 * z2 + 3) / 30))
    )
    result: Array = _ERF_NODES[index] + 2 / math.sqrt(math.pi) * np.exp(-z2) * d * series
    return np.copysign(result, x)


def _gelu(x: Array) -> Array:
    return x * (0.5 * (1.0 + erf(x / math.sqrt(2.0))))


def _gelu_tanh(x: Array) -> Array:
    wide = x.astype(np.float64)
    inner = math.sqrt(2.0 / math.pi) * (wide + 0.044715 * wide**3)
    result: Array = 0.5 * wide * (1.0 + np.tanh(inner))
    return result


def _sigmoid(x: Array) -> Array:
    wide = x.astype(np.float64)
    return np.where(wide >= 0, 1.0, np.exp(-np.abs(wide))) / (1.0 + np.exp(-np.abs(wide)))


_FLOAT_UNARY: dict[Fn, Callable[[Array], Array]] = {
    Fn.EXP: np.exp,
    Fn.LOG: np.log,
    Fn.RECIP: np.reciprocal,
    Fn.RSQRT: lambda x: 1.0 / np.sqrt(x.astype(np.float64)),
    Fn.SQRT: np.sqrt,
    Fn.TANH: np.tanh,
    Fn.ERF: erf,
    Fn.GELU: _gelu,
    Fn.GELU_TANH: _gelu_tanh,
    Fn.SIGMOID: _sigmoid,
    Fn.SILU: lambda x: x * _sigmoid(x),
    Fn.SIN: np.sin,
    Fn.COS: np.cos,
}
_ANY_UNARY: dict[Fn, Callable[[Array], Array]] = {
    Fn.ABS: np.abs,
    Fn.NEG: np.negative,
    Fn.FLOOR: np.floor,
    Fn.ROUND: np.rint,
    Fn.CEIL: np.ceil,
    Fn.RELU: lambda x: np.maximum(x, 0),
    Fn.SIGN: np.sign,
}
_BINARY: dict[Fn, Callable[[Array, Array], Array]] = {
    Fn.ADD: np.add,
    Fn.SUB: np.subtract,
    Fn.MUL: np.multiply,
    Fn.MAX: np.maximum,
    Fn.MIN: np.minimum,
    Fn.EQ: np.equal,
    Fn.NE: np.not_equal,
    Fn.LT: np.less,
    Fn.LE: np.less_equal,
    Fn.GT: np.greater,
    Fn.GE: np.greater_equal,
}
_POW: dict[float, Callable[[Array], Array]] = {
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    0.5: np.sqrt,
    -0.5: lambda x: 1.0 / np.sqrt(x),
    -1.0: lambda x: 1.0 / x,
}


def internal(array: Array) -> Array:
    """The array in a node's own number format: float32 for floats, int64 for integers and
    booleans.
    """
    if array.dtype == np.float32 or array.dtype == np.int64:
        return array
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    return array.astype(np.float32)


def run_steps(t: Array, steps: Sequence[Step], arrays: Sequence[Array | None]) -> Array:
    """Apply the chain; `arrays` are all inputs of the node, of which steps read by index."""
    t = internal(t)
    with np.errstate(all="ignore"):
        for step in steps:
            t = _step(t, step, arrays)
    return t


def _operand(
    index: int | None, const: float | None, arrays: Sequence[Array | None], *, whole: bool
) -> Array:
    """An operand; a number is an integer only beside integers (`whole`) and if it is one."""
    if index is None:
        number = 0.0 if const is None else const
        whole = whole and float(number).is_integer() and abs(number) < _INT_LIMIT
        return np.asarray(number, np.int64 if whole else np.float32)
    array = arrays[index]
    if array is None:
        raise InternalError("a step reads an absent input", where=f"operand {index}")
    return internal(array)


def _step(t: Array, step: Step, arrays: Sequence[Array | None]) -> Array:
    fn = step.fn
    if fn is Fn.CAST:
        return _cast(t, step)
    if fn in _FLOAT_UNARY:
        return _FLOAT_UNARY[fn](t.astype(np.float32)).astype(np.float32)
    if fn in _ANY_UNARY:
        return internal(_ANY_UNARY[fn](t).astype(t.dtype))
    if fn in LOGIC_FNS:
        return _logic(t, step, arrays)
    if fn is Fn.SELECT:
        return _select(t, step, arrays)
    if fn is Fn.POW:
        return _power(t, step)
    left, right = _common(t, _operand(step.operand, step.const, arrays, whole=t.dtype == np.int64))
    if step.swap:
        left, right = right, left
    return _divide(left, right) if fn is Fn.DIV else internal(_BINARY[fn](left, right))


def _select(t: Array, step: Step, arrays: Sequence[Array | None]) -> Array:
    chosen = [arrays[index] for index in step.operands]
    whole = bool(chosen) and all(a is not None and a.dtype.kind in "iub" for a in chosen)
    yes = _operand(step.operand, step.const, arrays, whole=whole)
    no = _operand(step.operand2, step.const2, arrays, whole=whole)
    yes, no = _common(yes, no)
    return np.where(t != 0, yes, no)


def _common(left: Array, right: Array) -> tuple[Array, Array]:
    if left.dtype == right.dtype:
        return left, right
    return left.astype(np.float32), right.astype(np.float32)


def _divide(left: Array, right: Array) -> Array:
    if left.dtype != np.int64:
        result: Array = left / right
        return result
    safe = np.where(right == 0, 1, right)
    quotient: Array = np.sign(left) * np.sign(safe) * (np.abs(left) // np.abs(safe))
    return quotient


def _power(t: Array, step: Step) -> Array:
    if step.const is None or step.const not in POW_EXPONENTS:
        raise InternalError(f"POW by {step.const}", where="elementwise step")
    exponent = float(step.const)
    result: Array = _POW[exponent](t if exponent > 1 else t.astype(np.float32))
    return result


def _logic(t: Array, step: Step, arrays: Sequence[Array | None]) -> Array:
    if step.fn is Fn.NOT:
        return internal(np.equal(t, 0))
    other = _operand(step.operand, step.const, arrays, whole=True) != 0
    result: Array = (t != 0) & other if step.fn is Fn.AND else (t != 0) | other
    return result.astype(np.int64)


def _cast(t: Array, step: Step) -> Array:
    if step.to is None:
        raise InternalError("a cast step without target", where="elementwise step")
    return internal(convert(t, step.to.numpy))


def convert(array: Array, dtype: np.dtype[np.generic]) -> Array:
    """Conversion as ONNX Cast: floats round to nearest even, float to integer truncates, anything
    but 0 is True.
    """
    if array.dtype == dtype:
        return array
    if dtype == np.bool_:
        return np.not_equal(array, 0)
    with np.errstate(all="ignore"):
        return array.astype(dtype)
