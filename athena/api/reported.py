"""Everything that is shown of a run as files: JSON, Markdown, one page; form draft and annex.

In:  a run, a run folder. Out: `Report` (frozen), which writes itself.
Raises: RunError for a folder that is no run, OutputError when writing fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from athena.api.tables import Table
from athena.api.timed import Run
from athena.energy import exactly
from athena.errors import UsageError
from athena.files import write_folder
from athena.report import (
    AnnexPhase,
    AnnexTask,
    EnergyAnnex,
    FormDraft,
    RunSummary,
    annex_markdown,
    dump,
    energy_annex,
    fill_form,
    form_markdown,
    phase_of,
    read_run,
    report_markdown,
    report_page,
    task_of,
)

SCHEMA = "athena-report-document/1"
JSON_FILE, MARKDOWN_FILE, HTML_FILE = "report.json", "report.md", "report.html"


EXECUTIONS_LIMIT = 10**15
PUE_LIMIT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Report:
    """The figures of one execution, the form's inference fields for a task, the energy annex.

    `form` is None where the model has no operations to count.
    """

    summary: RunSummary
    form: FormDraft | None
    annex: EnergyAnnex

    @property
    def json(self) -> bytes:
        """The document with schema `athena-report-document/1`."""
        return dump(SCHEMA, self)

    @property
    def markdown(self) -> str:
        """The report as Markdown."""
        parts = [report_markdown(self.summary)]
        if self.form is not None:
            parts.append(form_markdown(self.form))
        return "\n".join([*parts, annex_markdown(self.annex)])

    @property
    def html(self) -> str:
        """One self-contained page without scripts."""
        return report_page(self.summary, form=self.form, annex=self.annex)

    @property
    def fields(self) -> Table:
        """The form's fields as drafted."""
        values = self.form.values if self.form else ()
        return Table(
            title=f"{self.form.form} (draft)" if self.form else "no operations",
            columns=("field", "asks for", "answer", "unit", "filled by"),
            rows=tuple((v.id, v.label, v.value, v.unit, v.filled_by) for v in values),
        )

    def save(self, folder: str | Path) -> tuple[Path, ...]:
        """Write the three files as one folder and return their paths. Raises: OutputError."""
        content = {
            JSON_FILE: self.json,
            MARKDOWN_FILE: self.markdown.encode(),
            HTML_FILE: self.html.encode(),
        }
        with write_folder(folder, marker=JSON_FILE) as temporary:
            for name, data in content.items():
                (temporary / name).write_bytes(data)
        return tuple(Path(folder) / name for name in content)

    def to_pandas(self) -> Any:
        """The form's fields as a DataFrame."""
        return self.fields.to_pandas()

    def __repr__(self) -> str:
        return f"Report({self.annex.description})"

    def _repr_html_(self) -> str:
        return self.fields._repr_html_()


def report(
    run: Run | RunSummary | str | Path,
    *,
    executions: int = 1,
    description: str = "",
    pue: float | None = None,
    pue_source: str = "",
) -> Report:
    """The report of a run (or run folder) for a task of `executions` executions.

    `description` says what the task is, as the form asks for it. `pue` (≥ 1) is the site's power
    usage effectiveness; without it the facility's line stays open.
    """
    if not 1 <= executions <= EXECUTIONS_LIMIT:
        few = "less than one execution" if executions < 1 else "too many executions"
        raise UsageError(few, where="executions", hint="give 1 to 10^15")
    if pue is not None and not 1.0 <= pue <= PUE_LIMIT:
        raise UsageError(f"a PUE of {pue:g}", where="pue", hint="give 1.0 to 100")
    summary = _summary(run)
    said = description or f"{executions} x ({summary.workload.task})"
    phase = phase_of(summary, executions)
    counted = any(count for count in summary.work.model_flops.values())
    annex = energy_annex(
        (AnnexPhase(summary=summary, executions=executions),),
        AnnexTask(
            description=said,
            output_tokens=summary.workload.output_tokens * executions,
            pue=None if pue is None else exactly(pue),
            pue_source=pue_source,
        ),
    )
    form = fill_form((phase,), task_of(summary, description=said)) if counted else None
    return Report(summary=summary, form=form, annex=annex)


def _summary(run: Run | RunSummary | str | Path) -> RunSummary:
    if isinstance(run, RunSummary):
        return run
    return run.summary if isinstance(run, Run) else read_run(run).summary
