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
    from athena.report import RunSummary

SCHEMA = "athena-cli-quickstart/1"
LIMITS = (
    "A model this small shows that compiling, numbers and accounting are right; it cannot show the "
    "chip's speed: it fills a sliver of 64 cores, so its use and joules per token say nothing "
    "about a real deployment. Beside it stands one layer of real size (of 32; its tokens/s and "
    "J are for that layer alone; no weights, so costed and not verified)."
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
    run, scores = found.run.summary, found.accuracy
    check = found.verification.report.rows[0]
    verdict = "ok" if check.passed else f"FAILED: {check.reason}"
    if check.metrics is not None:
        verdict += f": SNR {check.metrics.snr_db:.1f} dB, limit {check.limit}"
    numerics = f"{verdict}, against {found.verification.report.reference}"
    accuracy = (
        f"onnxruntime {scores.onnxruntime:.1%}, bf16 {scores.bf16:.1%}, int8 {scores.int8:.1%} "
        f"({scores.examples} of {scores.held_out} held-out sums)"
    )
    beside = [layer.summary for layer in found.layers]
    rows = [
        ("numerics", numerics, *("not verified: no weights" for _ in beside)),
        ("task accuracy", accuracy, *("" for _ in beside)),
        *zip(LABELS, *(_figures(each) for each in (run, *beside)), strict=True),
    ]
    columns = ["", f"quickstart model: {run.workload.task}", *(each.name for each in found.layers)]
    place = f"{run.provenance.chip}, a {run.evidence} chip; {run.precision}"
    output.table(f"{place}; energies with low and high", columns, rows)
    output.show(LIMITS, *(f"wrote {path}" for path in found.files))
    output.show("next: athena inspect MODEL.onnx  |  athena chips list  |  athena --help")


LABELS = (
    *("time of one execution", "tokens/s per chip", "J per token, chip", "energy, chip"),
    *("MFU", "HBM utilisation", "bound by", "nodes costed", "host share of time"),
)


def _figures(summary: RunSummary) -> tuple[str, ...]:
    """Text for `LABELS`."""
    from athena.report.figures import percent, seconds, spread
    from athena.report.rounding import plain

    tokens, work = summary.tokens, summary.work
    return (
        f"{seconds(summary.seconds)} ({summary.cycles:,} cycles)",
        f"{plain(tokens.per_chip_s)} {tokens.kind} tokens" if tokens else "n/a",
        spread(tokens.j_per_token, "J") if tokens else "n/a",
        spread(summary.energy.chip_j, "J"),
        percent(work.mfu),
        percent(work.hbm_utilisation),
        work.bound_by.value,
        f"{work.nodes_costed} of {work.nodes_total}",
        percent(summary.host_share),
    )
