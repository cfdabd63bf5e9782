"""Check operand types against onnx's schema of the operator.

In:  operator, domain, opset, typed operands.   Out: nothing.
Raises: ModelError (number of operands), UnsupportedOpError (an element type the operator does not
take), ShapeError (operands that must share a type and do not).
The newest version's types count as well: newer versions only admit more, and every floating type is
admitted where one is.
"""

from __future__ import annotations

import functools
from typing import Any

from athena.errors import ModelError, ShapeError, UnsupportedOpError
from compiler.frontend.attributes import schema_of
from compiler.frontend.tensors import CODES, type_name
from compiler.graph.types import DType, Value
from compiler.ops.types import MAX_OPSET, Operands

_TEXTS = {dtype: f"tensor({type_name(code)})" for dtype, code in CODES.items()}
_FLOATS = frozenset(dtype for dtype in CODES if dtype.is_float)


@functools.cache
def _admitted(domain: str, op: str, opset: int) -> dict[str, frozenset[DType]]:
    """Element types of every type variable (or concrete type) of an operator's inputs."""
    schema = schema_of(domain, op, opset)
    if schema is None:
        return {}
    texts = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    result = {}
    for formal in schema.inputs:
        allowed = texts.get(formal.type_str, {formal.type_str})
        kinds = frozenset(dtype for dtype, text in _TEXTS.items() if text in allowed)
        result[formal.type_str] = kinds | (_FLOATS if kinds & _FLOATS else frozenset())
    return result


def check_types(op: str, domain: str, opset: int, operands: Operands, where: str) -> None:
    """The operands of a node as it stands in the file."""
    schema = schema_of(domain, op, opset)
    if schema is None:
        return
    if not schema.min_input <= len(operands) <= schema.max_input:
        raise ModelError(
            f"has {len(operands)} inputs; {op} of opset {opset} takes {schema.min_input} to "
            f"{schema.max_input}",
            where=where,
        )
    now, newest = _admitted(domain, op, opset), _admitted(domain, op, MAX_OPSET)
    shared: dict[str, DType] = {}
    for index, value in enumerate(operands):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if value is None:
            continue
        kinds = now.get(formal.type_str, frozenset()) | newest.get(formal.type_str, frozenset())
        if value.dtype not in kinds:
            raise UnsupportedOpError(
                f"input {index} is {value.dtype.value}; {op} takes "
                f"{', '.join(sorted(kind.value for kind in kinds)) or 'none of our types'}",
                where=where,
            )
        if _is_shared(formal) and shared.setdefault(formal.type_str, value.dtype) != value.dtype:
            raise _mixed(formal.type_str, shared[formal.type_str], value, where)


def _is_shared(formal: Any) -> bool:
    return bool(formal.is_homogeneous) and not formal.type_str.startswith("tensor(")


def _mixed(variable: str, known: DType, value: Value, where: str) -> ShapeError:
    return ShapeError(
        f"operands of type {variable} must have one type, not {known.value} and "
        f"{value.dtype.value}",
        where=where,
    )
