"""`athena simulate`: cycles, use of units and joules of one execution.

In:  a model or program file. Out: tables or JSON; a run folder where asked for.
Raises: AthenaError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from athena.cli import options, output
from athena.errors import UsageError

SCHEMA = "athena-cli-simulate/1"


def simulate(
    source: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx|PROGRAM.athena", help="What to simulate.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="RUN", help="Run folder to write.")
    ] = None,
    chip: options.OptionalChip = None,
    settings: options.Settings = None,
    precision: options.PrecisionName = "bf16",
    dim: options.Dims = None,
    calibrate: options.Calibrate = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Keep every word's times for Perfetto (needs -o).")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact/--fast", help="Fast may extrapolate repeated layers (0.5 %).")
    ] = True,
    nodes: Annotated[int, typer.Option("--nodes", min=0, help="Nodes to list by time.")] = 10,
    as_json: options.AsJson = False,
) -> None:
    """Simulate one execution: cycles, use of units, energy."""
    from athena.report.runs import RUN_FILE

    if out is not None:
        options.check_folder(out, RUN_FILE)
    elif trace:
        raise UsageError("--trace needs a run folder", where="athena simulate", hint="add -o run")
    from athena import api

    program = options.executable(source, chip, precision, dim, calibrate, settings)
    with output.step("simulate"):
        run = api.simulate(
            program,
            chip=chip if api.is_program(source) else None,
            trace=trace,
            exact=exact,
        )
    if out is not None:
        with output.step(f"write {out}"):
            run.save(out, command=_command(source, chip, settings, precision, dim, exact=exact))
    if as_json:
        output.emit_json(SCHEMA, {"summary": run.summary, "written": None if out is None else out})
        return
    from athena.report.tables import energy_table, node_table, summary_table, unit_table

    summary = run.summary
    tables = [summary_table(summary), unit_table(summary), energy_table(summary)]
    if nodes:
        tables.append(node_table(summary, nodes))
    output.show(*tables)
    if out is not None:
        names = [RUN_FILE, "nodes.csv", *(["trace.perfetto.json"] if trace else [])]
        output.show("wrote " + "  ".join(str(out / name) for name in names))


def _command(
    source: Path,
    chip: str | None,
    settings: list[str] | None,
    precision: str,
    dim: list[str] | None,
    *,
    exact: bool,
) -> tuple[str, ...]:
    """What was asked for, without folders: equal work has equal run folders."""
    words = ["athena", "simulate", source.name]
    words += ["--chip", Path(chip).name] if chip else []
    words += [word for text in sorted(settings or ()) for word in ("--set", text)]
    words += ["--precision", precision] if precision != "bf16" else []
    words += [word for text in sorted(dim or ()) for word in ("--dim", text)]
    return (*words, *(() if exact else ("--fast",)))
