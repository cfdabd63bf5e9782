"""Run folders: what `simulate -o run/` writes and what `report`, `view` and `compare` read.

In:  a `RunSummary`, the canonical command line, further files. Out: a folder that appears whole.
Raises: OutputError when writing fails; RunError for a folder that is not exactly a run.

`run.json` holds the summary, the command and the SHA-256 of every other file; `nodes.csv` has one
row a node. Nothing in a run folder depends on time, place or user.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from athena.errors import InternalError, RunError, printable
from athena.files import read_regular, write_folder
from athena.report.document import dump, json_schema, load
from athena.report.summary import SCHEMA, NodeRow, RunSummary
from athena.report.text import csv_cell

RUN_FILE = "run.json"
NODE_FILE = "nodes.csv"
RUN_LIMIT_BYTES = 256 << 20
FILE_LIMIT_BYTES = 1 << 30
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder's content: command line without output paths, file hashes, summary."""

    command: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    summary: RunSummary


def write_run(
    folder: str | Path,
    summary: RunSummary,
    *,
    command: tuple[str, ...] = (),
    extra: Mapping[str, bytes] | None = None,
) -> Run:
    """Write a run folder in one step; `extra` are further files {name: bytes}, e.g. the trace.

    An existing run folder of ours is replaced, a foreign folder never touched.
    """
    content = {NODE_FILE: nodes_csv(summary), **(extra or {})}
    for name in content:
        if not _NAME.fullmatch(name) or name == RUN_FILE:
            raise InternalError(f"'{printable(name)}' is no name for a file", where="run folder")
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(content.items())}
    run = Run(command=command, files=digests, summary=summary)
    with write_folder(folder, marker=RUN_FILE) as temporary:
        for name, data in content.items():
            (temporary / name).write_bytes(data)
        (temporary / RUN_FILE).write_bytes(dump(SCHEMA, run))
    return run


def read_run(folder: str | Path) -> Run:
    """Read and check a run folder: schema, every key and type, the hash of every file."""
    path = Path(folder)
    where = printable(path / RUN_FILE)
    data = read_regular(path / RUN_FILE, limit_bytes=RUN_LIMIT_BYTES, error=RunError)
    run = load(data, SCHEMA, Run, where=where)
    for name, digest in run.files.items():
        if not _NAME.fullmatch(name) or not _SHA256.fullmatch(digest):
            raise RunError("not a file's name and SHA-256", where=f"{where}: files")
        content = read_regular(path / name, limit_bytes=FILE_LIMIT_BYTES, error=RunError)
        if hashlib.sha256(content).hexdigest() != digest:
            raise RunError(
                "the file was changed after the run was written",
                where=printable(path / name),
                hint="run the simulation again",
            )
    return run


def run_schema() -> dict[str, Any]:
    """JSON Schema of `run.json`; shipped as `athena-report-1.schema.json`."""
    return json_schema(SCHEMA, Run)


def nodes_csv(summary: RunSummary) -> bytes:
    """One row a node, columns as the fields of `NodeRow`; text cannot become a formula."""
    names = [part.name for part in fields(NodeRow)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in summary.nodes:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float) and not isinstance(value, str):
        return repr(value)
    if isinstance(value, tuple):
        return csv_cell(" ".join(str(item) for item in value))
    return csv_cell(value)
