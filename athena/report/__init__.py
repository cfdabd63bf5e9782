"""Everything that is shown of a simulation, from one frozen `RunSummary`.

In:  program, timeline, energy, chip, verdict. Out: JSON, Markdown, HTML, tables, run folders, the
form's inference fields and, apart from them, the energy annex.
Raises: RunError, OutputError, UsageError, InternalError.
"""

from athena.report.annex import AnnexPhase, AnnexTask, EnergyAnnex, energy_annex
from athena.report.build import Results, summarise
from athena.report.document import dump, json_schema, load
from athena.report.form import FormDraft, PhaseWork, Task, fill_form, phase_of, task_of
from athena.report.markdown import annex_markdown, form_markdown, report_markdown
from athena.report.page import report_page
from athena.report.request import (
    DecodeSteps,
    RequestSummary,
    annex_phases,
    form_phases,
    summarise_request,
)
from athena.report.runs import Run, read_run, write_run
from athena.report.summary import SCHEMA, Bound, Phase, RunSummary, Workload

__all__ = [
    "SCHEMA",
    "AnnexPhase",
    "AnnexTask",
    "Bound",
    "DecodeSteps",
    "EnergyAnnex",
    "FormDraft",
    "Phase",
    "PhaseWork",
    "RequestSummary",
    "Results",
    "Run",
    "RunSummary",
    "Task",
    "Workload",
    "annex_markdown",
    "annex_phases",
    "dump",
    "energy_annex",
    "fill_form",
    "form_markdown",
    "form_phases",
    "json_schema",
    "load",
    "phase_of",
    "read_run",
    "report_markdown",
    "report_page",
    "summarise",
    "summarise_request",
    "task_of",
    "write_run",
]
