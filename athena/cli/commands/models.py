"""`athena models`: models of real shapes, with seeded weights or none.

In:  a preset's name. Out: a list, or an ONNX file.   Raises: AthenaError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from athena.cli import options, output

app = typer.Typer(help="Models of real shapes: list, export.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: options.AsJson = False) -> None:
    """List the presets."""
    from athena.workload.export import preset_names

    if as_json:
        output.emit_json("athena-cli-models-list/1", {"models": list(preset_names())})
    else:
        output.show("\n".join(preset_names()))


@app.command("export")
def export(
    name: Annotated[str, typer.Argument(metavar="PRESET", help="A name of `models list`.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.onnx", help="File to write.")],
    weightless: Annotated[
        bool, typer.Option("--weightless", help="Leave the weights' data out: a small file.")
    ] = False,
    layers: Annotated[
        int | None, typer.Option("--layers", min=1, help="Depth of a transformer.")
    ] = None,
    sizes: Annotated[
        str,
        typer.Option(
            "--sizes",
            metavar="A,B,C",
            help="matmul: rows, inner, columns; attention: heads, tokens, size of a head.",
        ),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the weights.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Write a preset as an ONNX file with symbolic batch and sequence."""
    from athena.errors import UsageError, printable
    from athena.files import check_output, write_file

    check_output(out)
    from athena.workload.export import build_preset

    try:
        with output.step(f"build {name}"):
            model = build_preset(
                name, weightless=weightless, layers=layers, sizes=_sizes(sizes), seed=seed
            )
    except ValueError as fault:
        raise UsageError(
            printable(fault, 300), where="athena models export", hint="athena models list"
        ) from None
    data = model.SerializeToString()
    write_file(out, data)
    facts = {"written": str(out), "nodes": len(model.graph.node), "bytes": len(data)}
    if as_json:
        output.emit_json("athena-cli-models-export/1", facts)
    else:
        output.show(f"wrote {out}: {facts['nodes']} nodes, {facts['bytes']} bytes")


def _sizes(text: str) -> tuple[int, ...] | None:
    """`"16,64,32"` as numbers; ValueError for anything else."""
    return tuple(int(part) for part in text.split(",")) if text else None
