"""`athena quickstart`: a tiny trained model through everything, in seconds.

In:  nothing but a folder's name. Out: one table and the paths of files, or JSON.
Raises: AthenaError.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from athena.cli import options, output

if TYPE_CHECKING:
    from athena.api.quickstart import Quickstart

SCHEMA = "athena-cli-quickstart/1"
LIMITS = (
    "A model this small shows that compiling, numbers and accounting are right; it cannot show the "
    "chip's speed: it fills a sliver of 64 cores, so its use and joules per token say nothing "
    "about a real deployment. The layer of real size beside it does (no weights: costed, not "
    "verified)."
)


def quickstart(
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")
    ] = Path("athena-quickstart"),
    as_json: options.AsJson = False,
) -> None:
    """Take a tiny trained model through compile, verify, simulate and report."""
    options.check_folder(out, "report.json")
    from athena.api.quickstart import quickstart as start

    found = start(out, output.step)
    if as_json:
        output.emit_json(SCHEMA, _facts(found))
    else:
        _print(found)
    if not found.verification.passed:
        raise typer.Exit(1)


def _facts(found: Quickstart) -> dict[str, Any]:
    return {
        "passed": found.verification.passed,
        "accuracy": found.accuracy,
        "summary": found.run.summary,
        "layers": found.layers,
        "written": [str(path) for path in found.files],
    }


def _print(found: Quickstart) -> None:
    from athena.report import figures

    run, scores = found.run.summary, found.accuracy
    check = found.verification.report.rows[0]
    names = ("Numerics", "Task accuracy")
    shown = {label: f"{value}  ({meaning})" for label, value, meaning in figures.headline(run)}
    first = [
        (
            names[0],
            f"{shown['Numerics']}; SNR {check.metrics.snr_db:.1f} dB, limit {check.limit}"
            if check.metrics
            else shown["Numerics"],
        ),
        (
            names[1],
            f"onnxruntime {scores.onnxruntime:.1%}, bf16 {scores.bf16:.1%}, int8 {scores.int8:.1%}"
            f"  ({scores.examples} of {scores.held_out} held-out sums)",
        ),
    ]
    rows = [*first, *((label, text) for label, text in shown.items() if label not in names)]
    columns = ["", "quickstart model", *(layer.name for layer in found.layers)]
    beside = [
        {a: f"{b} ({c})" if a == "Numerics" else b for a, b, c in figures.headline(x.summary)}
        for x in found.layers
    ]
    body = [(label, text, *(_beside(label, each) for each in beside)) for label, text in rows]
    output.table(f"{run.workload.task} on {run.provenance.chip}, {run.precision}", columns, body)
    output.show(LIMITS, "wrote " + "  ".join(str(path) for path in found.files))
    output.show("next: athena inspect MODEL.onnx  |  athena chips list  |  athena --help")


def _beside(label: str, headline: dict[str, str]) -> str:
    """The same figure of the layer; decode counts output tokens, a forward pass input tokens."""
    other = label.replace("Input", "Output").replace("input", "output")
    return headline.get(label, headline.get(other, ""))
