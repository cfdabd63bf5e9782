"""`athena rtl correlate`: many programs on the RTL, beside the simulators.

In:  program files or folders, else the built-in set. Out: a table, a summary, a plot, or JSON; exit
code 1 where a bound is broken.
Raises: AthenaError; ToolError where Verilator or a C++ compiler is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from athena.cli import options, output
from athena.errors import UsageError, printable

if TYPE_CHECKING:
    from athena.api.correlate import Correlation, ProgramRow, Summary

SCHEMA = "athena-cli-rtl-correlate/1"
ARRAYS = {"16x16": "athena-edge", "8x8": "athena-edge-ci"}
PLOTS = (".svg", ".html")
COLUMNS = ("program", "memory", "words", "RTL cycles", "timing cycles", "error", "bits", "trace")


def correlate(
    programs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PROGRAM.athena|FOLDER]...",
            help="Program files and folders of them. Default: a set of models that comes along.",
            show_default=False,
        ),
    ] = None,
    more: Annotated[
        list[Path] | None,
        typer.Option("--programs", metavar="PATH", help="The same as the argument; repeatable."),
    ] = None,
    chip: Annotated[
        str | None,
        typer.Option(
            "--chip",
            help="A chip with one core. Default: athena-edge; of files the one that they name.",
            show_default=False,
        ),
    ] = None,
    array: Annotated[
        str | None,
        typer.Option("--array", metavar="RxC", help="16x16 or 8x8, instead of --chip."),
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", help="fixed (latency), banks (rows, refresh) or both.")
    ] = "both",
    pattern: Annotated[
        str, typer.Option("--filter", metavar="GLOB", help="Only programs of such a name.")
    ] = "*",
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="OUT.svg|OUT.html", help="Draw timing cycles over RTL cycles."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare RTL and simulators on many programs and memories: bytes, traces, cycles."""
    if plot is not None:
        _check_plot(plot)
    from athena.api import correlate as api
    from athena.api.memories import memories

    name = _chip_name(chip, array)
    paths = [*(programs or ()), *(more or ())]
    with output.step("compile the programs"):
        if paths:
            target = options.chip_of(name) if name else None
            cases = api.file_cases(paths, target, pattern)
        else:
            from athena.workload.export.rtl_set import samples

            cases = api.sample_cases(samples(), options.chip_of(name or "athena-edge"), pattern)
    with output.step(f"build the RTL and run {len(cases)} programs"):
        found = api.correlate(cases, memories(cases[0].chip, memory))
    if plot is not None:
        _draw(plot, found)
    if as_json:
        output.emit_json(SCHEMA, found)
    else:
        _print(found, plot)
    if not found.passed:
        raise typer.Exit(1)


def _chip_name(chip: str | None, array: str | None) -> str | None:
    if array is None:
        return chip
    if chip is not None or array not in ARRAYS:
        raise UsageError(
            f"'{printable(array)}' is no array of a preset, or stands beside --chip",
            where="--array",
            hint=f"one of {', '.join(ARRAYS)}, or --chip FILE.yaml",
        )
    return ARRAYS[array]


def _check_plot(path: Path) -> None:
    from athena.files import check_output

    if path.suffix.lower() not in PLOTS:
        raise UsageError(
            "a plot is an .svg or an .html file", where=printable(path), hint="--plot out.svg"
        )
    check_output(path)


def _cells(row: ProgramRow) -> tuple[str, ...]:
    return (
        row.name,
        row.memory,
        f"{row.words:,}",
        f"{row.rtl_cycles:,}",
        f"{row.timing_cycles:,}",
        f"{row.error_percent:+.2f} %",
        "equal" if row.bits_equal else "DIFFER",
        "equal" if row.trace_equal else "differs",
    )


def _print(found: Correlation, plot: Path | None) -> None:
    from athena.cli.commands.rtl import place_lines

    chips = ", ".join(dict.fromkeys(row.chip for row in found.programs))
    output.table(f"RTL of {chips} against the simulators", COLUMNS, map(_cells, found.programs))
    for row in found.programs:
        if not row.passed:
            output.show(f"{row.name} ({row.memory}): {printable(row.difference, 600)}")
            output.show(*(place_lines(row.first_difference) if row.first_difference else ()))
    names = len({row.name for row in found.programs})
    output.show(f"{names} programs, {len(found.programs)} runs")
    output.show(*(f"  {label}: {text}" for label, text, _ in map(headline, found.summaries)))
    output.show(
        f"  {found.simulated_cycles:,} cycles simulated in {found.run_seconds:.1f} s "
        f"({found.simulated_cycles / found.run_seconds:,.0f} cycles/s, all included); "
        f"build {found.build_seconds:.1f} s"
    )
    if plot is not None:
        output.show(f"wrote {plot}")
    output.show("every bound holds" if found.passed else f"BROKEN: {'; '.join(found.broken)}")


def headline(summary: Summary) -> tuple[str, str, str]:
    """Label, figure and meaning of one kind of memory."""
    equal = f"bits equal {summary.bits_equal} of {summary.runs}"
    traces = f"traces equal {summary.traces_equal} of {summary.runs}"
    errors = (
        f"error mean {summary.mean_error_percent:.2f} %, worst {summary.max_error_percent:.2f} %, "
        f"above 5,000 cycles {summary.max_error_percent_long:.2f} %"
    )
    what = "every word's issue and completion" if summary.memory_kind == "fixed" else "sums only"
    return f"{summary.memory_kind} memory", f"{equal}, {traces}; {errors}", f"compared: {what}"


def _draw(path: Path, found: Correlation) -> None:
    from athena.files import write_file
    from athena.report.correlation import Point, correlation_page, scatter, svg_file

    points = [
        Point(
            name=row.name,
            group=f"{row.memory_kind} memory",
            rtl_cycles=row.rtl_cycles,
            timing_cycles=row.timing_cycles,
        )
        for row in found.programs
    ]
    names = len({row.name for row in found.programs})
    chart = scatter(points, f"{names} programs, {len(points)} runs; on the line both are equal.")
    text = svg_file(chart)
    if path.suffix.lower() == ".html":
        figures = [headline(each) for each in found.summaries]
        rows = [_cells(row) for row in found.programs]
        text = correlation_page(chart, "RTL against timing model", figures, COLUMNS, rows)
    write_file(path, text.encode())
