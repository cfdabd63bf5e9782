"""`athena compile`: a model to a program file, and why each mapping was chosen.

In:  a model, chip, precision, dimensions. Out: a table or JSON; the program file where asked for.
Raises: AthenaError.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from athena.cli import options, output

if TYPE_CHECKING:
    from athena.api import CompiledModel

SCHEMA = "athena-cli-compile/1"


def compile_model(
    model: options.ModelPath,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT.athena", help="Program file.")
    ] = None,
    chip: options.ChipName = "athena",
    settings: options.Settings = None,
    precision: options.PrecisionName = "bf16",
    dim: options.Dims = None,
    calibrate: options.Calibrate = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse nodes that the host would run.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the mapping of every node.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Compile a model to a program of the chip."""
    from athena.files import check_output

    if out is not None:
        check_output(out, model, calibrate, chip)
    from athena import api

    with output.step(f"compile {model.name}"):
        compiled = api.compile(
            model,
            chip=options.chip_of(chip, settings),
            precision=precision,
            dims=options.dims_of(dim),
            calibration=calibrate,
            strict=strict,
        )
    if out is not None:
        with output.step(f"write {out}"):
            compiled.save(out)
    if as_json:
        output.emit_json(SCHEMA, _facts(compiled, out, explain=explain))
        return
    facts = _facts(compiled, out, explain=False)
    output.table(f"compiled {compiled.model.name}", ("", ""), _rows(facts))
    if explain:
        rows = compiled.explain
        output.table(rows.title, rows.columns[:-1], (row[:-1] for row in rows))


def _facts(compiled: CompiledModel, out: Path | None, *, explain: bool) -> dict[str, Any]:
    from athena.isa.fields import Seg

    program = compiled.program
    places = [node.place for node in program.nodes]
    facts: dict[str, Any] = {
        "model": compiled.model.name,
        "chip": compiled.chip.name,
        "precision": compiled.precision,
        "nodes": len(places),
        "nodes_on_chip": places.count("chip"),
        "nodes_on_host": places.count("host"),
        "words": program.static_words,
        "memory_bytes": {
            Seg(i).name: count for i, count in enumerate(program.segment_bytes) if count
        },
        "notes": dict(sorted(program.notes.items())),
        "program_sha256": compiled.sha256,
        "written": None if out is None else str(out),
    }
    if explain:
        facts["mappings"] = [
            dict(zip(compiled.explain.columns, row, strict=True)) for row in compiled.explain
        ]
    return facts


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from athena.report.figures import data_bytes

    memory = ", ".join(
        f"{name} {data_bytes(count)}" for name, count in facts["memory_bytes"].items()
    )
    rows = [
        ("chip", facts["chip"]),
        ("precision", facts["precision"]),
        (
            "nodes",
            f"{facts['nodes_on_chip']} of {facts['nodes']} on the chip, "
            f"{facts['nodes_on_host']} on the host",
        ),
        ("words", str(facts["words"])),
        ("memory", memory or "none"),
        *sorted(facts["notes"].items()),
        ("program SHA-256", facts["program_sha256"]),
    ]
    if facts["written"]:
        rows.append(("wrote", facts["written"]))
    return rows
