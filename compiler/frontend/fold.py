"""Evaluate, while importing, what depends only on constants and shapes.

In:  a row, attributes and typed operands of one node.   Out: the arrays of its outputs, or None
where it must stay a node.
Raises: ShapeError (a reference refuses its operands), InternalError (reference and shape rule
disagree: our bug). Work is bounded: per node by operand and result sizes, in total by
MAX_TOTAL_ELEMS.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from athena.errors import InternalError, ShapeError
from compiler.graph.types import Array
from compiler.ops.types import Operands, OpRow, RuleError, Types

DEFAULT_LIMIT_ELEMS = 1 << 22
MAX_TOTAL_ELEMS = 1 << 29
_MATRIX_LIMIT_ELEMS = 1 << 18
_READ_LIMIT_ELEMS = 1 << 28
_KEPT = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "MatMulNBits", "GatherBlockQuantized", "Einsum"}
)
"""Quantised weights must stay visible to the passes; an Einsum's work is not bounded by its
operands.
"""
_MATRIX_WORDS = ("Gemm", "Attention")


class Folder:
    """Folds nodes until MAX_TOTAL_ELEMS results have been computed."""

    def __init__(self, limit_elems: int = DEFAULT_LIMIT_ELEMS) -> None:
        self._limit = limit_elems
        self._left = MAX_TOTAL_ELEMS

    def fold(
        self, row: OpRow, attrs: Any, operands: Operands, types: Types, where: str
    ) -> tuple[Array, ...] | None:
        """Outputs of the node if it depends on nothing that is computed, and is small enough."""
        if row.from_types is not None:
            return _checked(row.from_types(attrs, operands), types, where)
        if row.reference is None or row.name in _KEPT or not self._admits(row, operands, types):
            return None
        arrays = [None if value is None else value.const for value in operands]
        self._left -= sum(kind.elems for kind in types)
        try:
            with np.errstate(all="ignore"):
                results = row.reference(attrs, arrays)
        except (RuleError, ValueError, IndexError, ArithmeticError, MemoryError) as exc:
            raise ShapeError(f"{row.name} of constants fails: {exc}", where=where) from exc
        return _checked(results, types, where)

    def _admits(self, row: OpRow, operands: Operands, types: Types) -> bool:
        if any(value is not None and value.const is None for value in operands):
            return False
        matrix = any(word in row.canon for word in _MATRIX_WORDS) or row.name.startswith("Conv")
        limit = min(self._limit, _MATRIX_LIMIT_ELEMS) if matrix else self._limit
        read = sum(value.elems for value in operands if value is not None)
        written = sum(kind.elems for kind in types)
        # Slicing a large table is cheap: what is written counts, except for products.
        return written <= min(limit, self._left) and (
            read <= limit if matrix else read <= _READ_LIMIT_ELEMS
        )


def _checked(results: tuple[Array, ...], types: Types, where: str) -> tuple[Array, ...]:
    done = []
    for array, kind in zip(results, types, strict=False):
        if array.shape != kind.shape or array.dtype != kind.dtype.numpy:
            raise InternalError(
                f"reference gives {array.dtype}{list(array.shape)}, shape rule "
                f"{kind.dtype.value}{list(kind.shape)}",
                where=where,
            )
        done.append(array)
    return tuple(done)
