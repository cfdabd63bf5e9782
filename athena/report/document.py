"""The JSON form of our frozen dataclasses, with versioned schemas: write, read, describe.

In:  a dataclass such as `RunSummary`, or bytes of unknown origin.
Out: bytes, a dataclass, a JSON schema.
Raises: RunError naming file and key, for anything that is not exactly the schema.

Infinite and undefined floats (the SNR of equal arrays is infinite) are the strings "Infinity",
"-Infinity" and "NaN". Equal values give equal bytes.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from athena.errors import RunError, printable

T = TypeVar("T")
_NOT_FINITE = ("Infinity", "-Infinity", "NaN")


def dump(schema: str, value: object) -> bytes:
    """The document {"schema": …, …fields of `value`}, ending in a line feed."""
    text = json.dumps({"schema": schema, **_plain(value)}, indent=1, allow_nan=False)
    return (text + "\n").encode()


def load(data: bytes, schema: str, kind: type[T], *, where: str) -> T:
    """The dataclass in a document; unknown, missing or mistyped keys are errors."""
    raw = _parse(data, where)
    met = raw.pop("schema", None)
    if met != schema:
        raise RunError(
            f"schema is {printable(repr(met))}; this version reads '{schema}'",
            where=f"{where}: schema",
            hint="run the simulation again with this version",
        )
    try:
        value = _adapter(kind).validate_python(raw)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise RunError(printable(first["msg"]), where=f"{where}: {printable(key)}") from None
    differs = _difference(raw, _plain(value), "")
    if differs is not None:
        raise RunError("unknown key, or a value of another type", where=f"{where}: {differs}")
    return value  # type: ignore[no-any-return]


def json_schema(schema: str, kind: type[Any]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a document."""
    body = _strict(_adapter(kind).json_schema())  # type: ignore[arg-type]
    body["properties"] = {"schema": {"const": schema}, **body["properties"]}
    body["required"] = ["schema", *body["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": schema, **body}


def _strict(part: Any) -> Any:
    """No further keys, and the three strings that stand for floats JSON cannot write."""
    if isinstance(part, list):
        return [_strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: _strict(value) for key, value in part.items()}
    if made.get("type") == "number":
        rest = {key: value for key, value in made.items() if key != "type"}
        return {**rest, "anyOf": [{"type": "number"}, {"enum": list(_NOT_FINITE)}]}
    if made.get("type") == "object" and "properties" in made:
        made["additionalProperties"] = False
    return made


@lru_cache(maxsize=16)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        raw = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise RunError(f"not valid JSON: {printable(error)}", where=where) from None
    if not isinstance(raw, dict):
        raise RunError("the document is not a JSON object", where=where)
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key appears twice")
    return keys


def _plain(value: object) -> Any:
    """JSON values only; floats that JSON lacks as strings."""
    return _finite(to_jsonable_python(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_FINITE[2] if math.isnan(value) else _NOT_FINITE[0 if value > 0 else 1]
    return value


def _difference(raw: Any, plain: Any, path: str) -> str | None:
    """Where what was read says more than, or something else than, what was understood."""
    if isinstance(raw, dict) and isinstance(plain, dict):
        for key in raw:
            at = f"{path}.{printable(key)}" if path else printable(key)
            found = at if key not in plain else _difference(raw[key], plain[key], at)
            if found is not None:
                return found
        return None
    if isinstance(raw, list) and isinstance(plain, list) and len(raw) == len(plain):
        found_in = (
            _difference(a, b, f"{path}.{i}")
            for i, (a, b) in enumerate(zip(raw, plain, strict=True))
        )
        return next((found for found in found_in if found is not None), None)
    same_type = isinstance(raw, bool) == isinstance(plain, bool)
    return None if raw == plain and same_type else path
