"""Questions that fusion patterns ask about a graph: what computes this value, and is it used only
here?

In:  a GraphEdit and value names.   Out: operands (a value name, or a number for a scalar
constant), None where not matched.
Raises: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np

from compiler.graph.chip_ops import (
    COMMUTATIVE_FNS,
    ElementwiseAttrs,
    Fn,
    Op,
    ReduceAttrs,
    ReduceKind,
    Step,
)
from compiler.graph.graph import GraphEdit
from compiler.graph.types import CHIP_DOMAIN, Array, Node
from compiler.passes.build import Operand


def made_by(edit: GraphEdit, name: Operand, op: str) -> Node | None:
    """The chip node of kind `op` that computes the value."""
    if not isinstance(name, str) or not name:
        return None
    node = edit.producer(name)
    return node if node is not None and node.domain == CHIP_DOMAIN and node.op == op else None


def is_private(edit: GraphEdit, name: str) -> bool:
    """Whether exactly one node reads the value and it is no graph output: only then may its
    producer be fused away.
    """
    return len(edit.consumers(name)) == 1 and name not in edit.outputs


def single_step(edit: GraphEdit, name: Operand) -> tuple[Node, Step] | None:
    """The Elementwise node of exactly one step that computes the value."""
    node = made_by(edit, name, Op.ELEMENTWISE)
    if node is None:
        return None
    steps = cast(ElementwiseAttrs, node.attrs).steps
    return (node, steps[0]) if len(steps) == 1 else None


def unary(edit: GraphEdit, name: Operand, fn: Fn) -> str | None:
    """X where the value is fn(x)."""
    found = single_step(edit, name)
    return found[0].inputs[0] if found and found[1].fn is fn else None


def binary(edit: GraphEdit, name: Operand, fn: Fn) -> tuple[Operand, Operand] | None:
    """(left, right) where the value is fn(left, right)."""
    found = single_step(edit, name)
    if found is None or found[1].fn is not fn:
        return None
    node, step = found
    first: Operand = node.inputs[0]
    second: Operand = node.inputs[step.operand] if step.operand is not None else step.const or 0.0
    return (second, first) if step.swap else (first, second)


def either(edit: GraphEdit, name: Operand, fn: Fn) -> tuple[tuple[Operand, Operand], ...]:
    """Both orders of a commutative function's operands, none where not matched."""
    pair = binary(edit, name, fn)
    if pair is None:
        return ()
    return (pair, pair[::-1]) if fn in COMMUTATIVE_FNS else (pair,)


def plus_const(edit: GraphEdit, name: Operand) -> tuple[str, float] | None:
    """(x, c) where the value is x + c."""
    for left, right in either(edit, name, Fn.ADD):
        if isinstance(left, str) and isinstance(right, float):
            return left, right
    return None


def power(edit: GraphEdit, name: Operand) -> tuple[str, float] | None:
    """(x, p) where the value is x to the power p, also written x·x, sqrt, 1/x …"""
    found = single_step(edit, name)
    if found is None:
        return None
    node, step = found
    x = node.inputs[0]
    simple = {Fn.SQRT: 0.5, Fn.RSQRT: -0.5, Fn.RECIP: -1.0}
    if step.fn in simple:
        return x, simple[step.fn]
    if step.fn is Fn.POW and step.const is not None:
        return x, step.const
    if step.fn is Fn.MUL and step.operand is not None and node.inputs[step.operand] == x:
        return x, 2.0
    if step.fn is Fn.DIV and step.swap and step.const == 1.0:
        return x, -1.0
    return None


def inverse_sqrt(edit: GraphEdit, name: Operand) -> str | None:
    """X where the value is 1/sqrt(x), in one or two steps."""
    first = power(edit, name)
    if first is None:
        return None
    if first[1] == -0.5:
        return first[0]
    second = power(edit, first[0])
    return second[0] if second is not None and first[1] * second[1] == -0.5 else None


def skip_views(edit: GraphEdit, name: Operand) -> Operand:
    """The value behind any Views."""
    while (node := made_by(edit, name, Op.VIEW)) is not None:
        name = node.inputs[0]
    return name


def reduced(edit: GraphEdit, name: Operand, kind: ReduceKind) -> str | None:
    """X where the value is the reduction of x's last axis, kept with size 1."""
    if not isinstance(name, str):
        return None
    node = made_by(edit, skip_views(edit, name), Op.REDUCE)
    if node is None or cast(ReduceAttrs, node.attrs).kind is not kind:
        return None
    x = node.inputs[0]
    return x if edit.value(name).shape == (*edit.value(x).shape[:-1], 1) else None


@dataclass(slots=True)
class Product:
    """A flattened product: coefficient times factors (names, repeated as often as they occur)."""

    coefficient: float = 1.0
    factors: list[str] = field(default_factory=list)


def product(edit: GraphEdit, name: Operand, depth: int = 4) -> Product:
    """The value as a product, looking through private MUL, DIV by a number, POW 2 and 3, NEG."""
    result = Product()
    _multiply(edit, name, result, depth, root=True)
    return result


def _multiply(edit: GraphEdit, name: Operand, into: Product, depth: int, *, root: bool) -> None:
    if not isinstance(name, str):
        into.coefficient *= name
        return
    if depth and (root or is_private(edit, name)) and _expand(edit, name, into, depth - 1):
        return
    into.factors.append(name)


def _expand(edit: GraphEdit, name: str, into: Product, depth: int) -> bool:
    pair = binary(edit, name, Fn.MUL)
    if pair is not None:
        for operand in pair:
            _multiply(edit, operand, into, depth, root=operand == name)
        return True
    quotient = binary(edit, name, Fn.DIV)
    if quotient is not None and isinstance(quotient[1], float) and quotient[1] != 0.0:
        into.coefficient /= quotient[1]
        _multiply(edit, quotient[0], into, depth, root=False)
        return True
    raised = power(edit, name)
    if raised is not None and raised[1] in (2.0, 3.0):
        into.factors += [raised[0]] * int(raised[1])
        return True
    negated = unary(edit, name, Fn.NEG)
    if negated is not None:
        into.coefficient = -into.coefficient
        _multiply(edit, negated, into, depth, root=False)
        return True
    return False


def close(value: float, target: float, tolerance: float = 1e-3) -> bool:
    """Whether two numbers agree to a relative `tolerance` (exported constants are rounded)."""
    return abs(value - target) <= tolerance * abs(target)


def const_data(edit: GraphEdit, name: Operand) -> Array | None:
    """The data of a constant value, or the number as an array."""
    if not isinstance(name, str):
        return np.asarray(name, np.float32)
    return edit.value(name).const if name else None
