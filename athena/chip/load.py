"""Read a chip description: a preset's name or a YAML file, with `extends:` and overrides.

In:  a preset name or a path; overrides {"core.matrix.rows": 128}.
Out: `Chip`.   Raises: ChipError naming file and key, with the nearest legal key.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from athena.chip.model import Chip
from athena.errors import ChipError, printable
from athena.files import describe_content, read_regular

FILE_LIMIT_BYTES = 1 << 20
DEPTH_LIMIT = 12
EXTENDS_LIMIT = 8
# PyYAML's constructors raise more than YAMLError, for example IndexError for `!!int ""`.
_YAML_FAULTS = (yaml.YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError)


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases and without duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.YAMLError("a key is plain text")
        if key.value in seen:
            raise yaml.YAMLError(f"key '{printable(key.value)}' appears twice")
        seen.add(key.value)
    loader.flatten_mapping(node)
    return {
        loader.construct_object(k, deep=True): loader.construct_object(v, deep=True)
        for k, v in node.value
    }


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def preset_names() -> tuple[str, ...]:
    """Names of the chips that come with the package."""
    folder = resources.files("athena.chip") / "presets"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml")))


def load_chip(source: str | Path | Chip, *, overrides: Mapping[str, Any] | None = None) -> Chip:
    """A `Chip` from a preset name, a YAML path, or another chip, with dotted-key overrides.

    Raises: ChipError for a missing file, an unknown key or preset, or a figure out of range.
    """
    if isinstance(source, Chip):
        data, where = source.model_dump(mode="python"), f"chip '{source.name}'"
    else:
        where = printable(source)
        data = _read(source, depth=0)
    for key, value in (overrides or {}).items():
        _assign(data, key, value, where)
    try:
        return Chip.model_validate(data)
    except ValidationError as error:
        raise _explain(error, where) from None


def chip_hash(chip: Chip) -> str:
    """SHA-256 over the canonical JSON of the description."""
    text = json.dumps(chip.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _read(source: str | Path, depth: int) -> dict[str, Any]:
    if depth > EXTENDS_LIMIT:
        raise ChipError(
            "'extends' chain is longer than 8 files",
            where=printable(source),
            hint="remove the cycle",
        )
    text = _text(source)
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except _YAML_FAULTS as error:
        reason = printable((str(error) or type(error).__name__).splitlines()[0])
        raise ChipError(f"not readable as YAML: {reason}", where=printable(source)) from None
    if not isinstance(data, dict):
        raise ChipError(
            "a chip file is a mapping of keys",
            where=printable(source),
            hint="start from `athena chips show athena`",
        )
    if "extends" not in data:
        return data
    parent = data.pop("extends")
    if not isinstance(parent, str):
        raise ChipError(
            "'extends' must be a preset name or a path", where=f"{printable(source)}: extends"
        )
    base = parent if parent in preset_names() else str(Path(source).parent / parent)
    return _merge(_read(base, depth + 1), data)


def _text(source: str | Path) -> str:
    name = str(source)
    if name in preset_names():
        return (resources.files("athena.chip") / "presets" / f"{name}.yaml").read_text(
            encoding="utf-8"
        )
    if "\0" in name or not os.path.lexists(name):
        close = difflib.get_close_matches(name, preset_names(), n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ChipError(
            "no such chip preset or file",
            where=printable(name),
            hint=f"{hint}presets: {', '.join(preset_names())}",
        )
    data = read_regular(name, limit_bytes=FILE_LIMIT_BYTES, error=ChipError)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        kind = describe_content(data) or printable(error)
        raise ChipError(f"not UTF-8 text: {kind}", where=printable(name)) from None


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _assign(data: dict[str, Any], key: str, value: Any, where: str) -> None:
    at = data
    *path, last = key.split(".")
    if len(path) > DEPTH_LIMIT:
        raise ChipError(f"override key '{printable(key)}' is nested too deeply", where=where)
    for part in path:
        child = at.get(part)
        if not isinstance(child, dict):
            raise ChipError(_unknown(key), where=f"{where}: {printable(key)}", hint=_nearest(key))
        at[part] = dict(child)
        at = at[part]
    at[last] = value


def _legal_keys(model: type[BaseModel] = Chip, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _legal_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _unknown(key: str) -> str:
    return f"unknown key '{printable(key)}'"


def _nearest(key: str) -> str:
    close = difflib.get_close_matches(key, _legal_keys(), n=1, cutoff=0.5)
    return (
        f"did you mean '{close[0]}'?"
        if close
        else "see `athena chips show athena` for the legal keys"
    )


def _explain(error: ValidationError, where: str) -> ChipError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return ChipError(_unknown(key), where=f"{where}: {printable(key)}", hint=_nearest(key))
    if first["type"] == "missing":
        return ChipError(
            f"key '{key}' is missing", where=where, hint="add it, or start with `extends: athena`"
        )
    met = f" (met {printable(first['input'], 40)})" if key else ""
    return ChipError(f"{first['msg']}{met}", where=f"{where}: {printable(key)}" if key else where)
