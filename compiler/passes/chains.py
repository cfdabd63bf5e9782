"""Arithmetic on elementwise chains: start them at another input, append one to another, know their
number format.

In:  steps and input names.   Out: new steps and input names, None where the chain has no such
form.   Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compiler.graph.chip_ops import (
    COMMUTATIVE_FNS,
    COMPARE_FNS,
    LOGIC_FNS,
    Fn,
    Step,
)
from compiler.graph.types import DType

Chain = tuple[tuple[Step, ...], tuple[str, ...]]
"""Steps and the names of all inputs; t starts as the first."""

_KEEP_FORMAT = frozenset({Fn.ABS, Fn.NEG, Fn.FLOOR, Fn.ROUND, Fn.CEIL, Fn.RELU, Fn.SIGN})
INT32_LIMIT = float(1 << 31)


def rooted_at(steps: Sequence[Step], inputs: Sequence[str], name: str) -> Chain | None:
    """The same chain with t starting as `name`, which must be read exactly once."""
    reads = [inputs[0], *(inputs[i] for step in steps for i in step.operands)]
    if reads.count(name) != 1:
        return None
    if inputs[0] == name:
        return tuple(steps), tuple(inputs)
    first = steps[0]
    if first.fn is Fn.SELECT or first.operand is None or inputs[first.operand] != name:
        return None
    swap = False if first.fn in COMMUTATIVE_FNS else not first.swap
    order = list(inputs)
    order[0], order[first.operand] = order[first.operand], order[0]
    return (replace(first, swap=swap), *steps[1:]), tuple(order)


def append(first: Chain, second: Chain, between: Sequence[Step] = ()) -> Chain:
    """`first`, then `between`, then `second`, whose t is the result of `first`."""
    names = list(first[1])
    position: dict[int, int] = {}
    for index, name in enumerate(second[1]):
        if index:
            if name not in names[1:]:
                names.append(name)
            position[index] = names.index(name, 1)
    moved = tuple(moved_step(step, position) for step in second[0])
    return (*first[0], *between, *moved), tuple(names)


def moved_step(step: Step, position: dict[int, int]) -> Step:
    """The step with operand numbers translated."""
    operand = None if step.operand is None else position[step.operand]
    operand2 = None if step.operand2 is None else position[step.operand2]
    return replace(step, operand=operand, operand2=operand2)


def is_whole(number: float | None) -> bool:
    """Whether a step constant counts as an integer when t is one."""
    value = 0.0 if number is None else number
    return float(value).is_integer() and abs(value) < INT32_LIMIT


def float_after(steps: Sequence[Step], dtypes: Sequence[DType]) -> bool:
    """Whether t is a float at the end of the chain, given the dtypes of all inputs."""
    is_float = dtypes[0].is_float
    for step in steps:
        is_float = _float_after_step(step, dtypes, before=is_float)
    return is_float


def _float_after_step(step: Step, dtypes: Sequence[DType], *, before: bool) -> bool:
    fn = step.fn
    if fn is Fn.CAST:
        return step.to is not None and step.to.is_float
    if fn in COMPARE_FNS or fn in LOGIC_FNS:
        return False
    if fn is Fn.SELECT:
        if not step.operands:
            return True
        numbers = [n for n in (step.const, step.const2) if n is not None]
        return any(dtypes[i].is_float for i in step.operands) or not all(map(is_whole, numbers))
    if fn in _KEEP_FORMAT:
        return before
    if fn.arity == 0:
        return True
    if step.operand is not None:
        return before or dtypes[step.operand].is_float
    return before or not is_whole(step.const)


def conversion(steps: Sequence[Step], dtypes: Sequence[DType], written: DType) -> tuple[Step, ...]:
    """The CAST step that stands for writing t as `written` and reading it again; none if that
    changes nothing.
    """
    is_float = float_after(steps, dtypes)
    if is_float == written.is_float:
        return ()
    last = steps[-1].fn if steps else None
    if written is DType.BOOL and (last in COMPARE_FNS or last in LOGIC_FNS):
        return ()
    return (Step(fn=Fn.CAST, to=DType.F32 if written.is_float else written),)
