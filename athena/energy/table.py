"""The table of energies per action: package data or a user's file of the same form.

In:  the name of a table that comes with the package, or a YAML path.
Out: `EnergyTable` (frozen) with its hash.
Raises: ChipError naming file and key, also where an entry is asked for that the table lacks:
        nothing is ever taken as zero.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from athena.energy.range import Range, exactly
from athena.errors import ChipError, printable
from athena.files import read_regular

SCHEMA = "athena-energy-table/1"
DEFAULT_TABLE = "n5-2026"
FILE_LIMIT_BYTES = 1 << 20
EXTRAPOLATE_UP_TO = 4  # × the largest capacity in the table; beyond that a figure means nothing
_KEY = r"^[a-z][a-z0-9_]*\.[A-Za-z0-9_]+$"
_SIZE = re.compile(r"sram\.([0-9]+)(KiB|MiB)")
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}


class Kind(StrEnum):
    """How far an entry's source goes."""

    PUBLISHED = "published"
    DERIVED = "derived"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One energy (or factor) of the table with its unit and source."""

    key: str
    range: Range
    unit: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTable:
    """All entries, and the factors of other processes; `sha256` is over the canonical content."""

    name: str
    date: str
    process_nm: float
    entries: Mapping[str, Entry]
    scaling: Mapping[str, Range]
    scaling_source: str
    sha256: str

    def entry(self, key: str) -> Entry:
        """The entry; ChipError with the nearest key where there is none."""
        if key not in self.entries:
            close = difflib.get_close_matches(key, self.entries, n=1)
            raise ChipError(
                f"no energy for '{printable(key)}'",
                where=f"energy table '{printable(self.name)}'",
                hint=f"add the entry (the nearest is '{close[0]}')" if close else "add the entry",
            )
        return self.entries[key]

    def sram(self, capacity_bytes: int) -> tuple[Range, tuple[str, ...]]:
        """Energy in pJ to read a byte of an SRAM of that capacity, and the entries it rests on.

        A power law between the two neighbouring sizes; the smallest size's figure below it; the law
        of the last two sizes beyond the largest, up to four times that.
        """
        points = sorted(
            (int(match[1]) * _UNITS[match[2]], key)
            for key in self.entries
            if (match := _SIZE.fullmatch(key))
        )
        if not points:
            self.entry("sram.8KiB")
        if capacity_bytes > points[-1][0] * EXTRAPOLATE_UP_TO:
            raise ChipError(
                f"an SRAM of {capacity_bytes} bytes is more than {EXTRAPOLATE_UP_TO} x the largest "
                f"entry ({points[-1][1]})",
                where=f"energy table '{printable(self.name)}'",
                hint="add an entry for that size",
            )
        if capacity_bytes <= points[0][0] or len(points) == 1:
            return self.entries[points[0][1]].range, (points[0][1],)
        upper = next((i for i, p in enumerate(points) if p[0] >= capacity_bytes), len(points) - 1)
        small, large = points[upper - 1], points[upper]
        share = math.log(capacity_bytes / small[0]) / math.log(large[0] / small[0])
        ends = zip(
            self.entries[small[1]].range.as_tuple(),
            self.entries[large[1]].range.as_tuple(),
            strict=True,
        )
        return Range(*(a ** (1 - share) * b**share for a, b in ends)), (small[1], large[1])

    def process_factor(self, process_nm: float) -> Range:
        """Energy of logic, SRAM and wires at `process_nm` as a share of the table's process."""
        if process_nm == self.process_nm:
            return exactly(1.0)
        factor = self.scaling.get(f"{process_nm:g}")
        if factor is None:
            raise ChipError(
                f"no published ratio from {self.process_nm:g} nm to {process_nm:g} nm",
                where=f"energy table '{printable(self.name)}': node_scaling",
                hint=f"process_nm may be {', '.join(self.scaling)}; or give a table of your own",
            )
        return factor


_Triple = tuple[
    Annotated[float, Field(ge=0, lt=1e9, allow_inf_nan=False)],
    Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)],
    Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)],
]


class _EntryFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    range: _Triple
    unit: Annotated[str, Field(min_length=1, max_length=40)]
    kind: Kind
    source: Annotated[str, Field(min_length=1, max_length=1000)]


class _TableFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_: Annotated[Literal["athena-energy-table/1"], Field(alias="schema")]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    process_nm: Annotated[float, Field(gt=0, le=100)]
    entries: dict[Annotated[str, Field(pattern=_KEY)], _EntryFile]
    node_scaling: dict[str, str | _Triple]


def table_names() -> tuple[str, ...]:
    """Names of the tables that come with the package."""
    folder = resources.files("athena.energy") / "tables"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml")))


def load_table(source: str | Path = DEFAULT_TABLE) -> EnergyTable:
    """A table by name or path."""
    where = f"energy table {printable(source)}"
    if isinstance(source, str) and source in table_names():
        path = resources.files("athena.energy") / "tables" / f"{source}.yaml"
        data = path.read_bytes()
    else:
        data = read_regular(source, limit_bytes=FILE_LIMIT_BYTES, error=ChipError)
    try:
        file = _TableFile.model_validate(yaml.load(data, Loader=_Loader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ChipError(f"not valid YAML: {printable(error)}", where=where) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = printable(".".join(str(part) for part in first["loc"]))
        raise ChipError(printable(first["msg"]), where=f"{where}: {key}") from None
    return _table(file, where)


def _table(file: _TableFile, where: str) -> EnergyTable:
    scaling: dict[str, Range] = {}
    source = ""
    for key, value in file.node_scaling.items():
        if isinstance(value, str):
            source = value if key == "source" else source
        else:
            scaling[key] = _range(value, f"{where}: node_scaling.{printable(key)}")
    entries = {
        key: Entry(
            key=key,
            range=_range(entry.range, f"{where}: {printable(key)}"),
            unit=entry.unit,
            kind=entry.kind,
            source=entry.source,
        )
        for key, entry in file.entries.items()
    }
    canonical = json.dumps(file.model_dump(mode="json"), sort_keys=True).encode()
    return EnergyTable(
        name=file.name,
        date=file.date,
        process_nm=file.process_nm,
        entries=entries,
        scaling=scaling,
        scaling_source=source,
        sha256=hashlib.sha256(canonical).hexdigest(),
    )


def _range(values: tuple[float, float, float], where: str) -> Range:
    try:
        return Range(*values)
    except ValueError:
        raise ChipError(
            f"{list(values)} is not in the order low, central, high", where=where
        ) from None


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses aliases and duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - signature of SafeLoader
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(keys) != len(node.value) or len(set(keys)) != len(keys):
            raise yaml.YAMLError("a key is not plain text or appears twice")
        return super().construct_mapping(node, deep=deep)
