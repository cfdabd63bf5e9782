"""Add chip-level nodes to a graph under change, with their output values.

In:  a GraphEdit and the node that is being replaced (it gives names and sources).   Out: names of
the new values.
Raises: KeyError for unknown values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from compiler.graph.chip_ops import (
    ElementwiseAttrs,
    Fn,
    Op,
    PermuteAttrs,
    ReduceAttrs,
    ReduceKind,
    SliceAttrs,
    Step,
)
from compiler.graph.graph import GraphEdit
from compiler.graph.types import CHIP_DOMAIN, NO_ATTRS, Array, Attrs, DType, Node, Value

Operand = str | float


@dataclass(slots=True)
class Builder:
    """Emits chip nodes in place of `node`. Every method returns the name of the value it made."""

    edit: GraphEdit
    node: Node
    sources: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.sources:
            self.sources = self.node.sources or (self.node.name,)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a value."""
        return self.edit.value(name).shape

    def dtype(self, name: str) -> DType:
        """Element type of a value."""
        return self.edit.value(name).dtype

    def const(self, name: str) -> Array | None:
        """Data of a constant; None for anything else and for weightless ones."""
        return self.edit.value(name).const if name else None

    def constant(self, array: Array, hint: str = "const") -> str:
        """A new constant value."""
        name = self.edit.fresh(f"{self.node.name}.{hint}")
        dtype = DType.from_numpy(array.dtype)
        self.edit.set_value(Value(name=name, dtype=dtype, shape=array.shape, const=array))
        return name

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: Attrs = NO_ATTRS,
        *,
        shape: Sequence[int],
        dtype: DType | None = None,
    ) -> str:
        """A node with a new output value; its dtype is input 0's unless given."""
        name = self.edit.fresh(f"{self.node.name}.{op.lower()}")
        made = Value(name=name, dtype=dtype or self.dtype(inputs[0]), shape=tuple(shape))
        self.edit.set_value(made)
        self._add(op, inputs, name, attrs)
        return name

    def finish(
        self, op: str, inputs: Sequence[str], attrs: Attrs = NO_ATTRS, *, index: int = 0
    ) -> str:
        """A node whose output is the replaced node's output `index` (which has no producer any
        more).
        """
        return self._add(op, inputs, self.node.outputs[index], attrs)

    def _add(self, op: str, inputs: Sequence[str], output: str, attrs: Attrs) -> str:
        name = self.edit.fresh(f"{output}:{op}")
        node = Node(
            name=name,
            op=op,
            inputs=tuple(inputs),
            outputs=(output,),
            attrs=attrs,
            sources=self.sources,
            domain=CHIP_DOMAIN,
        )
        self.edit.add_node(node)
        return output

    def view(self, x: str, shape: Sequence[int]) -> str:
        """X in another shape; x itself if that is its shape."""
        return x if self.shape(x) == tuple(shape) else self.emit(Op.VIEW, [x], shape=shape)

    def permute(self, x: str, perm: Sequence[int]) -> str:
        """X with axes reordered; x itself if they stay."""
        if tuple(perm) == tuple(range(len(perm))):
            return x
        old = self.shape(x)
        attrs = PermuteAttrs(perm=tuple(perm))
        return self.emit(Op.PERMUTE, [x], attrs, shape=[old[axis] for axis in perm])

    def slice_axis(self, x: str, axis: int, start: int, size: int) -> str:
        """Elements start … start + size of one axis."""
        old = self.shape(x)
        starts = tuple(start if i == axis else 0 for i in range(len(old)))
        attrs = SliceAttrs(starts=starts, steps=(1,) * len(old))
        shape = [size if i == axis else dim for i, dim in enumerate(old)]
        return x if tuple(shape) == old else self.emit(Op.SLICE, [x], attrs, shape=shape)

    def expand(self, x: str, shape: Sequence[int]) -> str:
        """X broadcast to `shape`; x itself if that is its shape."""
        return x if self.shape(x) == tuple(shape) else self.emit(Op.EXPAND, [x], shape=shape)

    def unary(self, fn: Fn, x: str) -> str:
        """fn(x)."""
        return self.steps([x], [Step(fn=fn)])

    def binary(self, fn: Fn, x: str, other: Operand) -> str:
        """fn(x, other), broadcast; the dtype is x's (BOOL for comparisons is the caller's
        business).
        """
        if isinstance(other, str):
            return self.steps([x, other], [Step(fn=fn, operand=1)])
        return self.steps([x], [Step(fn=fn, const=float(other))])

    def steps(
        self, inputs: Sequence[str], steps: Sequence[Step], dtype: DType | None = None
    ) -> str:
        """An Elementwise node."""
        shape = np.broadcast_shapes(*(self.shape(name) for name in inputs))
        attrs = ElementwiseAttrs(steps=tuple(steps))
        return self.emit(Op.ELEMENTWISE, inputs, attrs, shape=shape, dtype=dtype)

    def reduce_last(self, kind: ReduceKind, x: str, *, keep: bool = True) -> str:
        """Reduction of the last axis, which stays with size 1 if `keep`."""
        lead = self.shape(x)[:-1]
        y = self.emit(Op.REDUCE, [x], ReduceAttrs(kind=kind), shape=lead)
        return self.view(y, (*lead, 1)) if keep else y


def collapse(shape: Sequence[int], first: int, last: int) -> tuple[int, ...]:
    """The shape with axes first … last − 1 made one."""
    return (*shape[:first], math.prod(shape[first:last]), *shape[last:])
