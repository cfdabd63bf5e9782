"""`athena verify`: the chip's results against onnxruntime's.

In:  a model, inputs or a seed, precisions. Out: tables or JSON; exit code 1 outside tolerance.
Raises: AthenaError.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from athena.cli import options, output

if TYPE_CHECKING:
    from athena.api import Verification

SCHEMA = "athena-cli-verify/1"


def verify(
    model: options.ModelPath,
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="IN.npz", help="Input arrays; default: seeded ones."),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="One or more of fp32, bf16, int8, with commas.")
    ] = "bf16",
    chip: options.ChipName = "athena",
    settings: options.Settings = None,
    dim: options.Dims = None,
    calibrate: options.Calibrate = None,
    per_node: Annotated[
        bool, typer.Option("--per-node", help="Compare the value of every node.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the inputs.")] = 0,
    snr_limit: Annotated[
        float | None, typer.Option("--snr-limit", metavar="DB", help="A limit of your own.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare every output with onnxruntime; exit 1 outside tolerance."""
    from athena import api
    from athena.ort import OrtSession

    target = options.chip_of(chip, settings)
    loaded = api.load_model(model, options.dims_of(dim))
    names = [name.strip() for name in precision.split(",")]
    results: list[Verification] = []
    with OrtSession() as session:
        for name in names:
            with output.step(f"verify {loaded.name} in {name}"):
                results.append(
                    api.verify(
                        loaded,
                        chip=target,
                        precision=name,
                        inputs=inputs,
                        calibration=calibrate if name == "int8" else None,
                        per_node=per_node,
                        seed=seed,
                        snr_limit_db=snr_limit,
                        session=session,
                    )
                )
    passed = all(result.passed for result in results)
    if as_json:
        output.emit_json(SCHEMA, {"passed": passed, "results": [_facts(r) for r in results]})
    else:
        _print(results)
    if not passed:
        raise typer.Exit(1)


def _facts(result: Verification) -> dict[str, Any]:
    from dataclasses import asdict

    nodes = result.nodes
    return {
        **asdict(result.report),
        "passed": result.passed,
        "per_node": None
        if nodes is None
        else {
            **asdict(nodes),
            "largest_drop": None if nodes.largest_drop is None else asdict(nodes.largest_drop),
        },
    }


def _print(results: list[Verification]) -> None:
    from athena.report.tables import per_node_table, verify_table

    for result in results:
        output.show(verify_table(result.report))
        if result.nodes is not None:
            output.show(per_node_table(result.nodes))
        rows = result.report.rows
        good = sum(row.passed for row in rows)
        text = f"{good} of {len(rows)} outputs within tolerance, {result.report.precision}"
        if not result.report.limited:
            text += ": no limit applies to this precision without labelled data"
        output.show(text)
        for note in result.report.notes:
            if note.startswith("calibration"):
                output.remark(note)
