"""Bind the symbolic dimensions of a model's inputs to numbers.

In:  value infos of graph inputs (untrusted), `dims` given by the user.   Out: static shapes.
Raises: DimError (unbound, unknown or out of range), ModelError (an input without shape).
A dimension may be a name, or an expression of names (`past + seq`), as optimum writes them; either
the names or the whole text can be bound. A dimension without name is called `input.axis`.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from athena.errors import DimError, ModelError, UnsupportedOpError, printable

MAX_DIM = (1 << 31) - 1
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
_EXPRESSION = re.compile(r"[A-Za-z0-9_.\s+*/()-]{1,200}")


def dim_names(value: Any) -> tuple[int | str, ...]:
    """Dimensions of a value info: numbers, and names for symbolic ones (`input.axis` where the file
    gives none).
    """
    result: list[int | str] = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        kind = dim.WhichOneof("value")
        if kind == "dim_value" and dim.dim_value >= 0:
            result.append(int(dim.dim_value))
        elif kind == "dim_param" and dim.dim_param:
            result.append(str(dim.dim_param))
        else:
            result.append(f"{value.name}.{axis}")
    return tuple(result)


def symbols(text: str) -> tuple[str, ...]:
    """Names in a dimension's text: itself, or the names of its expression."""
    tree = _parsed(text)
    if tree is None:
        return (text,)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return tuple(sorted(names)) or (text,)


def _parsed(text: str) -> ast.expr | None:
    """The expression, if the text is one of + − * // on names and numbers."""
    if not _EXPRESSION.fullmatch(text):
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    allowed = (ast.BinOp, ast.Name, ast.Constant, ast.Load, *_OPERATORS)
    nodes = list(ast.walk(tree))
    good = all(isinstance(node, allowed) for node in nodes)
    numbers = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return tree if good and all(type(number) is int for number in numbers) else None


def _value(tree: ast.expr, dims: Mapping[str, int]) -> int | None:
    """Value of an expression; None if a name is unbound."""
    if isinstance(tree, ast.Constant):
        return int(tree.value)  # type: ignore[arg-type]
    if isinstance(tree, ast.Name):
        return dims.get(tree.id)
    if not isinstance(tree, ast.BinOp):
        return None
    left, right = _value(tree.left, dims), _value(tree.right, dims)
    if left is None or right is None or (isinstance(tree.op, ast.FloorDiv) and right == 0):
        return None
    return _OPERATORS[type(tree.op)](left, right)


def resolve(text: str, dims: Mapping[str, int]) -> int | None:
    """Number of a symbolic dimension; None if it is not bound. The whole text counts before its
    names.
    """
    if text in dims:
        return dims[text]
    tree = _parsed(text)
    return None if tree is None else _value(tree, dims)


def bind(
    inputs: Sequence[Any], others: Sequence[Any], dims: Mapping[str, int], file: str
) -> dict[str, tuple[int, ...]]:
    """Static shape of every input. `others`: further value infos whose names are known, though
    nothing needs them.
    """
    shapes = {value.name: _dims_of(value, file) for value in inputs}
    known = {text for shape in shapes.values() for text in shape if isinstance(text, str)}
    spare = {text for value in others for text in dim_names(value) if isinstance(text, str)}
    names = known | spare | {name for text in known | spare for name in symbols(text)}
    _check_given(dims, names, known, file)
    unbound = sorted(
        {
            name
            for text in known
            if resolve(text, dims) is None
            for name in symbols(text)
            if name not in dims
        }
    )
    if unbound:
        example = " ".join(f"--dim {_quoted(name)}={_example(name)}" for name in unbound)
        raise DimError(
            f"no value for {', '.join(printable(name) for name in unbound)}",
            where=f"{file}: {_users(shapes, unbound)}",
            hint=f"bind {'it' if len(unbound) == 1 else 'them'}, for example: {example}",
        )
    return {
        name: tuple(_number(dim, dims, name, file) for dim in shape)
        for name, shape in shapes.items()
    }


def _dims_of(value: Any, file: str) -> tuple[int | str, ...]:
    place = f"{file}: input '{printable(value.name)}'"
    if value.type.WhichOneof("value") != "tensor_type":
        raise UnsupportedOpError("only tensors are supported as graph inputs", where=place)
    if not value.type.tensor_type.HasField("shape"):
        raise ModelError("the input has no shape, not even a number of dimensions", where=place)
    return dim_names(value)


def _check_given(dims: Mapping[str, int], names: set[str], needed: set[str], file: str) -> None:
    for name, number in dims.items():
        if name not in names:
            close = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
            listed = ", ".join(printable(known) for known in sorted(needed)) or "none"
            hint = f"did you mean '{printable(close[0])}'? " if close else ""
            raise DimError(
                f"the model has no dimension '{printable(name)}'",
                where=file,
                hint=f"{hint}its dimensions are: {listed}",
            )
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_DIM:
            raise DimError(
                f"dimension '{printable(name)}' is {number}; allowed are 0 to {MAX_DIM}", where=file
            )


def _number(dim: int | str, dims: Mapping[str, int], name: str, file: str) -> int:
    number = dim if isinstance(dim, int) else resolve(dim, dims)
    if number is None or not 0 <= number <= MAX_DIM:
        raise DimError(
            f"dimension '{printable(dim)}' becomes {number}; allowed are 0 to {MAX_DIM}",
            where=f"{file}: input '{printable(name)}'",
        )
    return number


def _users(shapes: Mapping[str, tuple[int | str, ...]], unbound: Sequence[str]) -> str:
    for name, shape in shapes.items():
        for dim in shape:
            if isinstance(dim, str) and set(symbols(dim)) & set(unbound):
                dims = ", ".join(printable(part) for part in shape)
                return f"input '{printable(name)}' [{dims}]"
    return "inputs"


def _quoted(name: str) -> str:
    shown = printable(name)
    return shown if re.fullmatch(r"[\w.+-]+", shown) else f"'{shown}'"


def _example(name: str) -> int:
    return 1 if "batch" in name.lower() else 128
