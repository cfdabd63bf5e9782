"""`athena run`: execute a model or program on arrays, bit for bit as the chip computes.

In:  a model or program file, an `.npz` of inputs. Out: an `.npz` of outputs.
Raises: AthenaError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from athena.cli import options, output

SCHEMA = "athena-cli-run/1"


def run(
    source: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx|PROGRAM.athena", help="What to execute.")
    ],
    inputs: Annotated[
        Path, typer.Option("--inputs", metavar="IN.npz", help="Input arrays by name.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.npz", help="Output arrays by name.")
    ],
    chip: options.OptionalChip = None,
    precision: options.PrecisionName = "bf16",
    dim: options.Dims = None,
    calibrate: options.Calibrate = None,
    as_json: options.AsJson = False,
) -> None:
    """Execute a model or program on inputs from an .npz file."""
    from athena.files import check_output

    check_output(out, source, inputs, calibrate, chip)
    from athena import api

    arrays = api.read_npz(inputs)
    program = options.executable(source, chip, precision, dim, calibrate)
    with output.step("execute"):
        results = api.run(program, arrays, chip=chip)
    api.write_npz(out, results)
    rows = [(name, str(array.dtype), list(array.shape)) for name, array in results.items()]
    if as_json:
        named = [{"name": name, "dtype": kind, "shape": shape} for name, kind, shape in rows]
        output.emit_json(SCHEMA, {"outputs": named, "written": str(out)})
        return
    output.table(f"outputs in {out}", ("output", "dtype", "shape"), rows)
