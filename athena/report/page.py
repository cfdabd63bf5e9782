"""The report as one self-contained HTML page.

In:  `RunSummary`; on request the form draft and the energy annex. Out: text of a page without
scripts and without anything from elsewhere.   Raises: nothing.

All text goes through Jinja2's autoescape, after `printable`; a content security policy in the page
forbids scripts and requests as a second wall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from athena.errors import printable
from athena.report import figures
from athena.report.annex import EnergyAnnex
from athena.report.charts import charts
from athena.report.form import FormDraft
from athena.report.rounding import plain
from athena.report.summary import RunSummary

NODE_LIMIT = 200
TEXT_LIMIT_CHARS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTable:
    """A table of a section; cells are text."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    style: str = ""


_Sections = list[tuple[str, list[PageTable]]]


def report_page(
    summary: RunSummary, *, form: FormDraft | None = None, annex: EnergyAnnex | None = None
) -> str:
    """The page."""
    place, work = summary.provenance, summary.workload
    extra: _Sections = []
    if form is not None:
        extra.append((f"{form.form}: draft answers", _form_tables(form)))
    if annex is not None:
        extra.append(("Energy annex (not part of the form; simulated)", _annex_tables(annex)))
    return page_template().render(
        title=printable(f"{place.model} on {work.chips} x {place.chip}", 200),
        subtitle=printable(
            f"{work.task}. Precision {summary.precision}. {place.chip_description}.", 600
        ),
        banner=_banner(summary),
        headline=figures.headline(summary),
        charts=charts(summary),
        sections=[*_sections(summary), *extra, *_provenance(summary)],
        notes=dict.fromkeys((*summary.notes, *(annex.notes if annex else ()))),
    )


def _banner(summary: RunSummary) -> str:
    if summary.verify is not None and not summary.verify.passed:
        return "Outputs are NOT within tolerance of the reference: see Verification."
    if summary.work.nodes_costed < summary.work.nodes_total:
        missing = summary.work.nodes_total - summary.work.nodes_costed
        return f"{missing} nodes are not costed: time and energy are too low."
    return ""


def _sections(summary: RunSummary) -> _Sections:
    shown = figures.heaviest(summary, NODE_LIMIT)
    verify = figures.verify_rows(summary)
    sections: _Sections = [
        (
            "Units",
            [
                PageTable(
                    caption="shares of all cycles",
                    columns=figures.UNIT_COLUMNS,
                    rows=figures.unit_rows(summary),
                )
            ],
        ),
        (
            "Energy by component",
            [
                PageTable(
                    caption="joules of one execution",
                    columns=figures.ENERGY_COLUMNS,
                    rows=figures.energy_rows(summary),
                )
            ],
        ),
        (
            "Nodes",
            [
                PageTable(
                    caption=f"{len(shown)} of {len(summary.nodes)} nodes, longest first",
                    columns=figures.NODE_COLUMNS,
                    rows=[figures.node_cells(row) for row in shown],
                )
            ],
        ),
    ]
    if verify:
        table = PageTable(caption="by output", columns=figures.VERIFY_COLUMNS, rows=verify)
        sections.append(("Verification", [table]))
    return sections


def _provenance(summary: RunSummary) -> _Sections:
    place = summary.provenance
    entries = [
        (e.key, f"{plain(e.low)} / {plain(e.central)} / {plain(e.high)}", e.unit, e.kind, e.source)
        for e in summary.energy.entries
    ]
    return [
        (
            "Energy table",
            [
                PageTable(
                    caption=f"entries of '{place.energy_table}' that were used",
                    columns=("entry", "low / central / high", "unit", "kind", "source"),
                    rows=entries,
                )
            ],
        ),
        (
            "Provenance",
            [
                PageTable(
                    caption="SHA-256",
                    columns=("what", "hash"),
                    rows=list(place.hashes.items()),
                    style="hash",
                ),
                PageTable(
                    caption="versions and notes of the compiler",
                    columns=("what", "value"),
                    rows=[*place.versions.items(), *place.notes.items()],
                ),
            ],
        ),
    ]


def _form_tables(draft: FormDraft) -> list[PageTable]:
    return [
        PageTable(
            caption=draft.notice,
            columns=("field", "asks for", "answer", "goes to", "filled by"),
            rows=[
                (v.id, v.label, f"{v.value} {v.unit}".strip(), ", ".join(v.recipients), v.filled_by)
                for v in draft.values
            ],
        ),
        PageTable(
            caption=f"operations behind the figure; {draft.rounding}",
            columns=("phase", "kind", "operations", "exact"),
            rows=[(i.phase, i.kind, i.text, str(i.flop)) for i in draft.items],
        ),
    ]


def _annex_tables(annex: EnergyAnnex) -> list[PageTable]:
    lines = [
        (
            line.name,
            line.boundary,
            figures.spread(line.energy_j, "J") if line.energy_j else "open",
            line.what,
        )
        for line in annex.lines
    ]
    totals = [
        (
            total.boundary,
            figures.spread(total.energy_j, "J"),
            figures.spread(total.j_per_output_token, "J") if total.j_per_output_token else "n/a",
            figures.spread(total.wh_per_1000_tokens, "Wh") if total.wh_per_1000_tokens else "n/a",
        )
        for total in annex.totals
    ]
    return [
        PageTable(
            caption=f"{annex.description}; {annex.hardware}; evidence: {annex.evidence}",
            columns=("line", "boundary", "central (low to high)", "what"),
            rows=lines,
        ),
        PageTable(
            caption="totals by boundary",
            columns=("boundary", "energy", "per output token", "per 1,000 tokens"),
            rows=totals,
        ),
    ]


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates of this package, with autoescape."""
    folder = resources.files("athena.report")
    made = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=True,
    )
    made.filters["shown"] = lambda value: printable(value, TEXT_LIMIT_CHARS)
    made.filters["px"] = lambda value: f"{value:.2f}".rstrip("0").rstrip(".")
    return made


def page_template() -> Template:
    """The page; see `report_page` for what it shows."""
    return environment().get_template("page.html.j2")
