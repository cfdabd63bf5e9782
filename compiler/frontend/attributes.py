"""Read a node's attributes: from AttributeProto to plain values, and from these to an op's typed
class.

In:  NodeProto attributes (untrusted), the enclosing function call's bindings, onnx's schema.   Out:
dict of values, then `Attrs`.
Raises: UnsupportedOpError (an attribute that the row or the opset does not know), ModelError (wrong
type, missing).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import AttributeProto, defs

from athena.errors import ModelError, UnsupportedOpError, printable
from compiler.frontend.files import ExternalFiles
from compiler.frontend.tensors import dtype_of, read_tensor
from compiler.graph.types import Array, Attrs, DType
from compiler.ops.types import OLDEST_OPSET

Plain = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Array
"""A decoded attribute; graphs stay protos and are read by the importer."""


def decode(attribute: Any, files: ExternalFiles, where: str) -> Plain | None:
    """Value of one attribute; None for graphs. Strings must be UTF-8."""
    kind = attribute.type
    name = printable(attribute.name)
    try:
        if kind == AttributeProto.STRING:
            return str(attribute.s.decode("utf-8"))
        if kind == AttributeProto.STRINGS:
            return tuple(text.decode("utf-8") for text in attribute.strings)
    except UnicodeDecodeError as exc:
        raise ModelError(f"attribute '{name}' is not UTF-8 text", where=where) from exc
    if kind == AttributeProto.TENSOR:
        tensor = read_tensor(attribute.t, files, f"{where}: attribute '{name}'")
        return tensor.array
    if kind in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
        return None
    simple = _SIMPLE.get(kind)
    if simple is None:
        raise UnsupportedOpError(f"attribute '{name}' has an unsupported type", where=where)
    value: Plain = simple(attribute)
    return value


_SIMPLE: dict[int, Any] = {
    AttributeProto.INT: lambda a: int(a.i),
    AttributeProto.FLOAT: lambda a: float(a.f),
    AttributeProto.INTS: lambda a: tuple(int(x) for x in a.ints),
    AttributeProto.FLOATS: lambda a: tuple(float(x) for x in a.floats),
}


def decode_all(
    node: Any, bindings: Mapping[str, Any], files: ExternalFiles, where: str
) -> dict[str, Plain]:
    """All attributes of a node; those that refer to the enclosing function's attributes take the
    call's value, or none.
    """
    values: dict[str, Plain] = {}
    for attribute in node.attribute:
        source = attribute
        if attribute.ref_attr_name:
            source = bindings.get(attribute.ref_attr_name)
            if source is None:
                continue
        value = decode(source, files, where)
        if value is not None:
            values[attribute.name] = value
    return values


@functools.cache
def schema_of(domain: str, op: str, opset: int) -> Any:
    """Onnx's own description of an operator at an opset; None where it has none."""
    try:
        return defs.get_schema(op, opset, domain)
    except defs.SchemaError:
        return None


@functools.cache
def _schema_defaults(domain: str, op: str, opset: int) -> dict[str, Plain]:
    """Defaults that the operator's schema gives its attributes."""
    schema = schema_of(domain, op, opset)
    if schema is None:
        return {}
    values = {}
    for name, attribute in schema.attributes.items():
        proto = attribute.default_value
        if proto.type in _SIMPLE:
            values[name] = _SIMPLE[proto.type](proto)
        elif proto.type == AttributeProto.STRING:
            values[name] = proto.s.decode("utf-8")
    return values


def check_version(op: str, domain: str, opset: int, where: str) -> None:
    """UnsupportedOpError for an operator of an opset below OLDEST_OPSET whose definition changed
    since.
    """
    if domain or opset >= OLDEST_OPSET:
        return
    old, known = schema_of("", op, opset), schema_of("", op, OLDEST_OPSET)
    if old is None or known is None or old.since_version != known.since_version:
        raise UnsupportedOpError(
            f"{printable(op)} of opset {opset}; supported from {OLDEST_OPSET} on",
            where=where,
            hint="convert the model with onnx.version_converter",
        )


def with_defaults(
    values: Mapping[str, Plain], kind: tuple[str, str, int], where: str
) -> dict[str, Plain]:
    """The attributes with the opset's defaults; an attribute that this opset does not have is
    refused.
    """
    op, domain, opset = kind
    schema = schema_of(domain, op, opset)
    if schema is None:
        return dict(values)
    for name in values:
        if name not in schema.attributes:
            raise UnsupportedOpError(
                f"attribute '{printable(name)}' is unknown to {op} of opset {opset}",
                where=where,
                hint=f"known are: {', '.join(sorted(schema.attributes)) or 'none'}",
            )
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in values:
            raise ModelError(f"attribute '{name}' is missing", where=where)
    return {**_schema_defaults(domain, op, opset), **values}


@functools.cache
def _fields(kind: type[Attrs]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _snake(name: str) -> str:
    return re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower()


def typed(kind: type[Attrs], values: Mapping[str, Plain], where: str) -> Attrs:
    """The op's attribute class with these values."""
    fields = _fields(kind)  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in values.items():
        field = _snake(name)
        if field not in fields:
            raise UnsupportedOpError(
                f"attribute '{printable(name)}' is not supported",
                where=where,
                hint=f"supported are: {', '.join(sorted(fields)) or 'none'}",
            )
        given[field] = _converted(value, fields[field], name, where)
    for slot in dataclasses.fields(kind):
        if slot.default is dataclasses.MISSING and slot.name not in given:
            raise ModelError(f"attribute '{slot.name}' is missing", where=where)
    return kind(**given)


def _converted(value: Plain, hint: Any, name: str, where: str) -> Any:
    """`value` checked against the annotation: int, float, str, DType, Array or a tuple, each
    possibly optional.
    """
    wanted = _without_none(hint)
    if wanted is DType and isinstance(value, int):
        unset = value == 0 and wanted is not hint  # 0 is ONNX's "undefined"
        return None if unset else dtype_of(value, f"{where}: attribute '{name}'")
    if wanted is float and isinstance(value, float):
        return value
    good = {
        int: isinstance(value, int),
        str: isinstance(value, str),
    }.get(wanted)
    if good is None:
        good = (
            _fits_tuple(value, wanted)
            if typing.get_origin(wanted) is tuple
            else (isinstance(value, np.ndarray))
        )
    if not good:
        shown = getattr(wanted, "__name__", str(wanted))
        raise ModelError(f"attribute '{printable(name)}' is not of type {shown}", where=where)
    return value


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        rest = [part for part in typing.get_args(hint) if part is not type(None)]
        return rest[0]
    return hint


def _fits_tuple(value: Plain, wanted: Any) -> bool:
    inner = typing.get_args(wanted)[0]
    return isinstance(value, tuple) and all(isinstance(part, inner) for part in value)


def finite(values: Mapping[str, Plain], where: str) -> None:
    """ModelError where a float attribute is NaN or infinite."""
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ModelError(f"attribute '{printable(name)}' is {value}", where=where)
