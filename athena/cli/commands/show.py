"""`athena report` and `athena view`: a run as files, and as one page in the browser.

In:  a run folder, model or program. Out: a report folder, a page.
Raises: AthenaError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from athena.cli import options, output

REPORT_SCHEMA = "athena-cli-report/1"
VIEW_SCHEMA = "athena-cli-view/1"


def report(
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN|MODEL.onnx|PROGRAM.athena", help="Run folder, or what to run."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.")
    ] = Path("report"),
    executions: Annotated[
        int, typer.Option("--executions", min=1, help="How often the task runs the program.")
    ] = 1,
    description: Annotated[
        str, typer.Option("--description", help="What the task is, as the form asks.")
    ] = "",
    pue: Annotated[
        float | None, typer.Option("--pue", min=1.0, help="Power usage effectiveness of the site.")
    ] = None,
    pue_source: Annotated[str, typer.Option("--pue-source", help="Where the PUE is from.")] = "",
    chip: options.OptionalChip = None,
    precision: options.PrecisionName = "bf16",
    dim: options.Dims = None,
    calibrate: options.Calibrate = None,
    as_json: options.AsJson = False,
) -> None:
    """Write report.json, report.md and report.html: figures, form draft, energy annex."""
    from athena.api.reported import JSON_FILE

    options.check_folder(out, JSON_FILE)
    from athena import api

    summary: object = source
    if not source.is_dir():
        program = options.executable(source, chip, precision, dim, calibrate)
        with output.step("simulate"):
            summary = api.simulate(program, chip=chip if api.is_program(source) else None)
    made = api.report(
        summary,  # type: ignore[arg-type]
        executions=executions,
        description=description,
        pue=pue,
        pue_source=pue_source,
    )
    paths = made.save(out)
    if as_json:
        output.emit_json(REPORT_SCHEMA, {"report": made, "written": [str(p) for p in paths]})
        return
    from athena.report.tables import annex_table, form_table, summary_table

    output.show(summary_table(made.summary))
    if made.form is not None:
        output.show(form_table(made.form))
    output.show(annex_table(made.annex))
    output.show("wrote " + "  ".join(map(str, paths)))


def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="PAGE.html", help="Page to write.")
    ] = Path("athena-view.html"),
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write one page with tables, roofline, units and energy of a run."""
    from athena.files import check_output, write_file

    check_output(out, run / "run.json", run / "nodes.csv", run / "trace.perfetto.json")
    from athena.report import read_run, report_page

    write_file(out, report_page(read_run(run).summary).encode())
    if open_page:
        import webbrowser

        webbrowser.open(out.resolve().as_uri())
    if as_json:
        output.emit_json(VIEW_SCHEMA, {"written": str(out)})
        return
    output.show(f"wrote {out}")
