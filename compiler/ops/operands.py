"""Reading operands and joining shapes: the words in which shape rules and references are written.

In:  operands (typed values, or arrays) of one node.   Out: checked operands, axes, broadcast
shapes, constants as Python ints.
Raises: RuleError with the value met and the value allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from compiler.graph.types import Array, DType, Value
from compiler.ops.types import Arrays, Operands, RuleError, TensorType, Types

MAX_TENSOR_ELEMS = 1 << 48
"""Cap on the elements of any tensor a model may define; nothing of this size is ever allocated."""

MAX_RANK = 32

MAX_RESULT_BYTES = 1 << 33
"""Cap on what one reference may allocate (8 GiB)."""


def operand(operands: Operands, index: int) -> Value:
    """The operand at `index`; RuleError if the node leaves it out."""
    found = optional(operands, index)
    if found is None:
        raise RuleError(f"input {index} is missing")
    return found


def optional(operands: Operands, index: int) -> Value | None:
    """The operand at `index`, or None."""
    return operands[index] if index < len(operands) else None


def array(arrays: Arrays, index: int) -> Array:
    """The array at `index`; RuleError if the node leaves it out."""
    found = maybe_array(arrays, index)
    if found is None:
        raise RuleError(f"input {index} is missing")
    return found


def maybe_array(arrays: Arrays, index: int) -> Array | None:
    """The array at `index`, or None."""
    return arrays[index] if index < len(arrays) else None


def constant(operands: Operands, index: int, what: str) -> Array:
    """The data of the constant operand at `index`."""
    value = operand(operands, index)
    if value.const is None:
        raise RuleError(f"{what} (input {index}) must be known at compile time, but is computed")
    return value.const


def constant_ints(operands: Operands, index: int, what: str) -> tuple[int, ...]:
    """The constant integers at `index`, flattened."""
    return to_ints(constant(operands, index, what), what)


def optional_ints(operands: Operands, index: int, what: str) -> tuple[int, ...] | None:
    """The constant integers at `index`, or None if the node leaves the operand out."""
    return None if optional(operands, index) is None else constant_ints(operands, index, what)


def to_ints(values: Array, what: str) -> tuple[int, ...]:
    """An integer array as a flat tuple of Python ints."""
    if values.dtype.kind not in "iub":
        raise RuleError(f"{what} must be integers, not {values.dtype}")
    return tuple(int(value) for value in values.ravel())


def maybe_ints(arrays: Arrays, index: int, what: str) -> tuple[int, ...] | None:
    """The integers of the array at `index`, flattened; None if the node leaves it out."""
    values = maybe_array(arrays, index)
    return None if values is None else to_ints(values, what)


def axis_of(axis: int, rank: int) -> int:
    """`axis` as a number from 0 to rank − 1."""
    if not -rank <= axis < rank:
        raise RuleError(f"axis {axis} is outside a tensor of {rank} dimensions")
    return axis % rank


def axes_of(axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """Distinct axes as sorted numbers from 0 to rank − 1."""
    found = [axis_of(axis, rank) for axis in axes]
    if len(set(found)) != len(found):
        raise RuleError(f"axes {tuple(axes)} name one axis twice")
    return tuple(sorted(found))


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The numpy broadcast of shapes."""
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    result = []
    for dims in zip(*padded, strict=True):
        wide = {dim for dim in dims if dim != 1}
        if len(wide) > 1:
            raise RuleError(
                f"shapes {' and '.join(str(list(shape)) for shape in shapes)} do not broadcast"
            )
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def checked(dtype: DType, shape: Iterable[int]) -> TensorType:
    """A tensor type whose dimensions are in range: none negative, element count below the cap."""
    dims = tuple(int(dim) for dim in shape)
    if any(dim < 0 for dim in dims):
        raise RuleError(f"shape {list(dims)} has a negative dimension")
    if len(dims) > MAX_RANK:
        raise RuleError(f"{len(dims)} dimensions, at most {MAX_RANK} are allowed")
    if math.prod(dims) > MAX_TENSOR_ELEMS:
        raise RuleError(f"shape {list(dims)} has more than 2^48 elements")
    return TensorType(dtype=dtype, shape=dims)


def like(index: int = 0) -> Any:
    """Shape rule: one output, of the type of the operand at `index`."""

    def rule(_attrs: Any, operands: Operands) -> Types:
        value = operand(operands, index)
        return (TensorType(dtype=value.dtype, shape=value.shape),)

    return rule


def same_dtype(operands: Sequence[Value | None]) -> DType:
    """The one element type that all operands have."""
    kinds = {value.dtype for value in operands if value is not None}
    if len(kinds) != 1:
        raise RuleError(f"operands must have one type, not {sorted(kind.value for kind in kinds)}")
    return kinds.pop()


def allocatable(shape: Sequence[int], itemsize: int = 8) -> None:
    """RuleError if an array of this shape is more than one reference may allocate."""
    if math.prod(int(dim) for dim in shape) * itemsize > MAX_RESULT_BYTES:
        raise RuleError(f"shape {[int(dim) for dim in shape]} needs more than 8 GiB")


def scalar(values: Array, what: str) -> int:
    """A one-element integer array as a Python int."""
    if values.size != 1:
        raise RuleError(f"{what} must be one number, not {values.size}")
    return int(np.asarray(values).reshape(-1)[0])


def takes_floats(*indices: int) -> Any:
    """Limit: the operands at `indices`, where given, must be floating-point."""

    def limit(_attrs: Any, operands: Operands) -> bool:
        chosen = [optional(operands, index) for index in indices]
        return all(value is None or value.dtype.is_float for value in chosen)

    which = ", ".join(str(index) for index in indices)
    limit.__doc__ = f"Input {which} must be floating-point."
    return limit
