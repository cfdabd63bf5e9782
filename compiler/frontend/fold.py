"""Evaluate, while importing, what depends only on constants and shapes.

In:  a row, attributes and typed operands of one node.
Out: the arrays of its outputs, or None where it must stay a node.
Raises: ShapeError (a reference refuses its operands), InternalError (reference and shape rule
disagree: our bug).
Work is bounded: per node by operand and result sizes, in total by MAX_TOTAL_ELEMS.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from athena.errors import InternalError, ShapeError
from compiler.graph.types import Array
from compiler.ops.types import Operands, OpRow, RuleError, Types

DEFAULT_LIMIT_ELEMS = 1 << 22
MAX_TOTAL_ELEMS = 1 << 28
_DERIVED_LIMIT_ELEMS = 1 << 26
_MATRIX_LIMIT_ELEMS = 1 << 18
_READ_LIMIT_ELEMS = 1 << 28
_KEPT = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "MatMulNBits", "GatherBlockQuantized", "Einsum"}
)
"""Quantised weights must stay visible to the passes; an Einsum's work is not bounded by its size.
"""
_MATRIX_WORDS = ("Gemm", "Attention")
FAULTS = (RuleError, ValueError, IndexError, TypeError, ArithmeticError, MemoryError)
"""What a rule or reference may raise on operands that numpy or the rule refuses."""


class Folder:
    """Folds nodes until MAX_TOTAL_ELEMS results have been computed.

    Results above `limit_elems` are computed only from folded values (masks of long sequences), not
    from tensors of the file: transposing large weights is a decision of the passes.
    """

    def __init__(self, limit_elems: int = DEFAULT_LIMIT_ELEMS) -> None:
        self._limit = limit_elems
        self._left = MAX_TOTAL_ELEMS
        self._derived: set[str] = set()

    def note(self, names: Iterable[str]) -> None:
        """Remember values as results of folding."""
        self._derived.update(names)

    def fold(
        self, row: OpRow, attrs: Any, operands: Operands, types: Types, where: str
    ) -> tuple[Array, ...] | None:
        """Outputs of the node if it depends on nothing that is computed, and is small enough."""
        if row.from_types is not None and sum(kind.elems for kind in types) <= self._limit:
            return _checked(row.from_types(attrs, operands), types, where)
        if row.reference is None or row.name in _KEPT or not self._admits(row, operands, types):
            return None
        arrays = [None if value is None else value.const for value in operands]
        self._left -= sum(kind.elems for kind in types)
        try:
            with np.errstate(all="ignore"):
                results = row.reference(attrs, arrays)
        except FAULTS as exc:
            raise ShapeError(f"{row.name} of constants fails: {exc}", where=where) from exc
        return _checked(results, types, where)

    def _admits(self, row: OpRow, operands: Operands, types: Types) -> bool:
        given = [value for value in operands if value is not None]
        if any(value.const is None for value in given):
            return False
        read = sum(value.elems for value in given)
        written = sum(kind.elems for kind in types)
        if any(word in row.canon for word in _MATRIX_WORDS) or "Conv" in row.name:
            return read + written <= min(self._limit, self._left, _MATRIX_LIMIT_ELEMS)
        if written <= min(self._limit, self._left) and read <= _READ_LIMIT_ELEMS:
            return True  # slicing a large table is cheap
        large = [value.name for value in given if value.elems > self._limit]
        derived = self._derived.issuperset(large) and self._limit >= DEFAULT_LIMIT_ELEMS
        return derived and written <= min(_DERIVED_LIMIT_ELEMS, self._left)


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
