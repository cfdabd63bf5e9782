"""What a row of the op table is: everything the project knows about one ONNX operator.

In:  graph types.   Out: `OpRow`, `Place`, `TensorType`, and the types of shape rules and
references.
Raises: `RuleError` is what rules and references raise; whoever calls them adds file, node and op.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from compiler.graph.types import Array, Attrs, DType, NoAttrs, Value

MAX_OPSET = 28
OLDEST_OPSET = 7
"""Operators are known in their forms from opset 7 to 28; the project is tested on 9 to 26. Older
models are taken where none of their operators has changed since.
"""


class RuleError(ValueError):
    """Operands that the operator does not admit; the caller turns it into a ShapeError that names
    the node.
    """


class Place(Enum):
    """Where an operator is executed when it is not folded away."""

    ON_CHIP = "on chip"
    FOLDED = "folded"  # needs constant operands: it must disappear at compile time
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """Element type and shape (in elements) of an output."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def elems(self) -> int:
        """Number of elements, a Python integer."""
        return math.prod(self.shape)


Operands = Sequence[Value | None]
Types = tuple[TensorType, ...]
Arrays = Sequence[Array | None]
# attrs is an instance of the row's class, which mypy cannot say in a table: hence Any.
ShapeRule = Callable[[Any, Operands], Types]
Reference = Callable[[Any, Arrays], tuple[Array, ...]]
Limit = Callable[[Any, Operands], bool]
UNBOUNDED = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OpRow:
    """All the project knows about one operator from opset `since` on (until a newer row).

    `inputs`, `outputs`: least and most. `limits`: predicates on (attrs, operands) that must hold;
    the docstring of each is the message and the documentation. `shape` gives the types of all
    outputs in order (optional ones too), `reference` their arrays, computed in the operands' dtype
    as onnxruntime does (16-bit floats: in float32, rounded once at the end). `canon`: the
    chip-level ops it becomes, for the documentation. `from_types`: result known from operand types
    alone.
    """

    name: str
    domain: str = ""
    since: int = 1
    attrs: type[Attrs] = NoAttrs
    inputs: tuple[int, int] = (1, 1)
    outputs: tuple[int, int] = (1, 1)
    limits: tuple[Limit, ...] = ()
    shape: ShapeRule
    reference: Reference | None
    place: Place = Place.ON_CHIP
    canon: str = ""
    from_types: Callable[[Any, Operands], tuple[Array, ...]] | None = None
