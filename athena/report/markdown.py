"""The report as Markdown: the same figures as the page and the terminal.

In:  `RunSummary`; `FormDraft` and `EnergyAnnex` for the disclosure. Out: text.   Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from athena.report import figures
from athena.report.annex import AnnexTotal, EnergyAnnex
from athena.report.form import FormDraft
from athena.report.rounding import plain
from athena.report.summary import RunSummary
from athena.report.text import markdown

NODE_LIMIT = 50
LONG = 4000


def report_markdown(summary: RunSummary) -> str:
    """The whole report."""
    place, work = summary.provenance, summary.workload
    parts = [
        f"# {markdown(place.model)} on {work.chips} x {markdown(place.chip)}",
        f"{markdown(work.task)}. Precision {markdown(summary.precision)}. "
        f"{markdown(place.chip_description)}.",
        _table(("", "figure", "meaning"), figures.headline(summary)),
        "## Units",
        _table(figures.UNIT_COLUMNS, figures.unit_rows(summary)),
        "## Energy",
        _table(figures.ENERGY_COLUMNS, figures.energy_rows(summary)),
        "## Nodes",
        _table(
            figures.NODE_COLUMNS,
            map(figures.node_cells, figures.heaviest(summary, NODE_LIMIT)),
        ),
        *_verify(summary),
        "## Model FLOPs",
        _table(("kind", "FLOPs"), ((k, plain(v, 4)) for k, v in summary.work.model_flops.items())),
        "## Energy table: entries used",
        _table(
            ("entry", "low", "central", "high", "unit", "kind", "source"),
            (
                (e.key, plain(e.low), plain(e.central), plain(e.high), e.unit, e.kind, e.source)
                for e in summary.energy.entries
            ),
        ),
        "## Notes",
        _list(summary.notes),
        "## Provenance",
        _table(
            ("what", "value"),
            (*place.hashes.items(), *place.versions.items(), *place.notes.items()),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def form_markdown(draft: FormDraft) -> str:
    """The form's fields, and the items behind the figure."""
    parts = [
        f"# {markdown(draft.form)}: draft answers",
        markdown(draft.notice, LONG),
        _table(
            ("field", "asks for", "answer", "unit", "goes to", "filled by"),
            (
                (v.id, v.label, v.value, v.unit, ", ".join(v.recipients), v.filled_by)
                for v in draft.values
            ),
        ),
        "## Operations behind the figure",
        _table(
            ("phase", "kind", "operations", "exact"),
            ((i.phase, i.kind, i.text, str(i.flop)) for i in draft.items),
        ),
        f"Exact total: {draft.flop}. With the whole attention matrix: {draft.flop_full_attention}.",
        f"Rounding: {markdown(draft.rounding)}.",
    ]
    return "\n\n".join(parts) + "\n"


def annex_markdown(annex: EnergyAnnex) -> str:
    """The energy annex."""
    lines = (
        (
            line.name,
            line.boundary,
            *(map(plain, line.energy_j.as_tuple()) if line.energy_j else ("open",) * 3),
            line.what,
        )
        for line in annex.lines
    )
    columns = ("line", "boundary", "low J", "central J", "high J", "what")
    parts = [
        "# Energy annex (not part of the form; simulated)",
        f"{markdown(annex.description)}. {markdown(annex.hardware)}, evidence: "
        f"{markdown(annex.evidence)}.",
        _table(columns, lines),
        "## Totals",
        _table(
            ("boundary", "J", "J per output token", "Wh per 1,000 tokens"),
            map(_total_cells, annex.totals),
        ),
        "## Notes",
        _list(annex.notes),
    ]
    return "\n\n".join(parts) + "\n"


def _total_cells(total: AnnexTotal) -> tuple[str, ...]:
    each, wh = total.j_per_output_token, total.wh_per_1000_tokens
    return (
        total.boundary,
        figures.spread(total.energy_j, "J"),
        figures.spread(each, "J") if each else "n/a",
        figures.spread(wh, "Wh") if wh else "n/a",
    )


def _verify(summary: RunSummary) -> list[str]:
    rows = figures.verify_rows(summary)
    return ["## Verification", _table(figures.VERIFY_COLUMNS, rows)] if rows else []


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(markdown(cell, LONG) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {markdown(item, LONG)}" for item in items)
