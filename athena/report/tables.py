"""Tables for the terminal, from the same figures as every other view.

In:  `RunSummary`, `VerifyReport`, `NodeComparison`, `FormDraft`, `EnergyAnnex`.
Out: `rich.table.Table`; nothing is printed here.   Raises: nothing.

Every cell is a `Text`, never markup, and passes through `printable`: a name in a model cannot
colour, link or clear anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from athena.errors import printable
from athena.report import figures
from athena.report.annex import EnergyAnnex
from athena.report.form import FormDraft
from athena.report.request import RequestSummary
from athena.report.rounding import plain
from athena.report.summary import RunSummary
from athena.verify import NodeComparison, OutputCheck, VerifyReport


def summary_table(summary: RunSummary) -> Table:
    """The headline figures."""
    place, work = summary.provenance, summary.workload
    title = f"{place.model} on {work.chips} x {place.chip}, {summary.precision}: {work.task}"
    return _table(title, ("", "figure", "meaning"), figures.headline(summary))


def request_table(request: RequestSummary) -> Table:
    """TTFT, TPOT, rates and energy of a whole request."""
    return _table("request", ("", "figure", "meaning"), figures.request_rows(request))


def node_table(summary: RunSummary, limit: int = 20) -> Table:
    """The nodes that take most time."""
    rows = figures.heaviest(summary, limit)
    title = f"nodes by time ({len(rows)} of {len(summary.nodes)}; nodes overlap)"
    return _table(title, figures.NODE_COLUMNS, map(figures.node_cells, rows))


def unit_table(summary: RunSummary) -> Table:
    """Use and waiting of every unit."""
    return _table("units", figures.UNIT_COLUMNS, figures.unit_rows(summary))


def energy_table(summary: RunSummary) -> Table:
    """Energy by component."""
    title = f"energy of one execution (table {summary.provenance.energy_table})"
    return _table(title, figures.ENERGY_COLUMNS, figures.energy_rows(summary))


def verify_table(report: VerifyReport) -> Table:
    """The verdict on every output."""
    title = f"{report.precision} against {report.reference} {report.inputs}".rstrip()
    return _table(title, figures.VERIFY_COLUMNS, map(_check_cells, report.rows))


def per_node_table(comparison: NodeComparison, limit: int = 40) -> Table:
    """SNR along the nodes; the first to blame is marked, rows beyond `limit` keep only it."""
    rows = [row for i, row in enumerate(comparison.rows) if i < limit or row is comparison.first]
    return _table(
        f"values in order ({len(rows)} of {len(comparison.rows)}; limit "
        f"{comparison.limit_db:g} dB)",
        ("node", "op", "value", "SNR dB", "worst input dB", ""),
        (
            (
                row.node,
                row.op,
                row.value,
                plain(row.snr_db),
                plain(row.input_snr_db),
                "<- first to blame" if row is comparison.first else row.reason,
            )
            for row in rows
        ),
    )


def form_table(draft: FormDraft) -> Table:
    """The form's fields as drafted."""
    rows = ((v.id, v.label, f"{v.value} {v.unit}".strip(), v.filled_by) for v in draft.values)
    return _table(f"{draft.form} (draft)", ("field", "asks for", "answer", "from"), rows, 2000)


def annex_table(annex: EnergyAnnex) -> Table:
    """The energy annex: lines, then totals by boundary."""
    lines = [
        (
            line.name,
            line.boundary,
            *(map(plain, line.energy_j.as_tuple()) if line.energy_j else ("open", "open", "open")),
            line.what,
        )
        for line in annex.lines
    ]
    totals = [
        (f"total, {t.boundary}", t.boundary, *map(plain, t.energy_j.as_tuple()), "")
        for t in annex.totals
    ]
    each = [
        (
            "J per output token",
            t.boundary,
            *map(plain, t.j_per_output_token.as_tuple()),
            f"{annex.output_tokens} tokens",
        )
        for t in annex.totals
        if t.j_per_output_token
    ]
    columns = ("line", "boundary", "low J", "central J", "high J", "what")
    title = "energy annex (NOT part of the form; simulated)"
    return _table(title, columns, [*lines, *totals, *each])


def _check_cells(row: OutputCheck) -> tuple[str, ...]:
    metrics = row.metrics
    return (
        row.name,
        plain(metrics.max_abs) if metrics else "n/a",
        plain(metrics.snr_db) if metrics else "n/a",
        plain(metrics.cosine, 6) if metrics else "n/a",
        figures.percent(row.top1),
        row.limit,
        "ok" if row.passed else f"FAILED: {row.reason}",
    )


def _table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], limit: int = 200
) -> Table:
    table = Table(title=Text(printable(title, 200)), title_justify="left")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell, limit)) for cell in row))
    return table
