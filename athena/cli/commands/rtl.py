"""`athena rtl`: a program on the RTL of the core, beside the simulators' answer.

In:  a program file or model, inputs. Out: a table or JSON; exit code 1 where they differ.
Raises: AthenaError; ToolError where Verilator or a C++ compiler is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from athena.cli import options, output

app = typer.Typer(help="Run programs on the RTL of the core.", no_args_is_help=True)
SCHEMA = "athena-cli-rtl-run/1"


@app.callback()
def _root() -> None:
    """Programs on the RTL of the core (Verilator), beside the simulators."""


@app.command("run")
def run(
    source: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx|PROGRAM.athena", help="What to execute.")
    ],
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="IN.npz", help="Input arrays (a program needs them)."),
    ] = None,
    chip: Annotated[
        str, typer.Option("--chip", help="A chip with one core that the RTL implements.")
    ] = "athena-edge-ci",
    precision: options.PrecisionName = "int8",
    dim: options.Dims = None,
    calibrate: options.Calibrate = None,
    as_json: options.AsJson = False,
) -> None:
    """Execute on the RTL; outputs must equal the functional simulator's bit for bit."""
    from athena.api.rtl import compare

    program = options.executable(source, chip, precision, dim, calibrate)
    with output.step("build and run the RTL"):
        result = compare(program, chip, inputs)
    if as_json:
        output.emit_json(SCHEMA, result)
    else:
        rows = [
            ("outputs", "equal, bit for bit" if result.equal else f"DIFFER: {result.differs}"),
            ("cycles, RTL", f"{result.rtl_cycles:,}"),
            ("cycles, timing model", f"{result.model_cycles:,}"),
            ("difference", f"{result.cycle_error:+.2%}"),
        ]
        output.table(f"{source.name} on the RTL of {chip}", ("", ""), rows)
    if not result.equal:
        raise typer.Exit(1)
