"""The inference-compute fields of the EU Model Documentation Form, filled from the graph's FLOPs.

In:  phases of the task (how often each program runs, its FLOPs by kind), what the task is, on what.
Out: `FormDraft` (frozen): field values with their method text, items, and the rules applied.
Raises: UsageError for a task without operations.

The form has no field for energy of inference: that is in `athena.report.annex`, kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from athena.errors import UsageError
from athena.report.rounding import scientific
from athena.report.summary import RunSummary

FORM_SCHEMA = "athena-form/1"
KIND_LABELS: Mapping[str, str] = {
    "matmul": "matrix products",
    "attention": "attention (unmasked part)",
    "elementwise": "element-wise operations",
    "norm": "normalisation",
    "softmax": "softmax",
}
FULL = "attention_full"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rounding(_Part):
    """The rule for figures, with its source and date."""

    method: Literal["half even"]
    significant_figures: Annotated[int, Field(ge=1, le=15)]
    minimum_significant_figures: Annotated[int, Field(ge=1, le=15)]
    source: str
    date: str


class FormField(_Part):
    """One field of the form in our words."""

    id: str
    section: str
    label: str
    unit: str
    recipients: dict[str, bool]
    filled_by: str
    basis: str
    source: str


class Counting(_Part):
    """How operations are counted, sentence by sentence."""

    mac: str
    precision: str
    attention: str
    included: str
    excluded: str
    source: str


class FormData(_Part):
    """What `form.yaml` holds."""

    schema_: Annotated[Literal["athena-form/1"], Field(alias="schema")]
    as_of: str
    form: str
    form_date: str
    notice: str
    rounding: Rounding
    fields: tuple[FormField, ...]
    counting: Counting


@lru_cache(maxsize=1)
def form_data() -> FormData:
    """The form's fields and rules, from the package."""
    text = (resources.files("athena.report") / "form.yaml").read_text(encoding="utf-8")
    return FormData.model_validate(yaml.safe_load(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseWork:
    """A part of the task: `executions` runs of a program with `flops` by kind each."""

    name: str
    executions: int
    flops: Mapping[str, int]

    def total(self, kind: str) -> int:
        """FLOPs of one kind in all executions."""
        return self.executions * self.flops.get(kind, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was benchmarked, where, by what: all of it appears in the method text.

    `description` names the task fully: tokens generated, sequences, prompt length, batch, cache,
    sampling. `date` is the day of the draft, if the caller wants one in the text.
    """

    description: str
    model: str
    hardware: str
    precision: str
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    verified: str
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormItem:
    """A line beside the figure: operations of one kind in one phase."""

    phase: str
    kind: str
    flop: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormValue:
    """One filled field."""

    id: str
    section: str
    label: str
    value: str
    unit: str
    recipients: tuple[str, ...]
    filled_by: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormDraft:
    """The draft answers: `flop` is the exact count behind the rounded field."""

    form: str
    form_date: str
    as_of: str
    notice: str
    flop: int
    flop_full_attention: int
    items: tuple[FormItem, ...]
    values: tuple[FormValue, ...]
    rounding: str


def phase_of(summary: RunSummary, executions: int = 1) -> PhaseWork:
    """The phase that a summary's program is, run `executions` times."""
    return PhaseWork(
        name=summary.workload.phase.value, executions=executions, flops=summary.work.model_flops
    )


def task_of(summary: RunSummary, *, description: str = "", date: str = "") -> Task:
    """The task of one execution, described from the summary itself."""
    verify = summary.verify
    verified = "model outputs were not verified numerically"
    if verify is not None:
        verdict = "within" if verify.passed else "NOT within"
        verified = f"model outputs {verdict} tolerance of {verify.reference} ({verify.precision})"
    place = summary.provenance
    return Task(
        description=description or summary.workload.task,
        model=place.model,
        hardware=f"{summary.workload.chips} x {place.chip} ({summary.evidence}, simulated)",
        precision=summary.precision,
        versions=place.versions,
        hashes=place.hashes,
        verified=verified,
        date=date,
    )


def fill_form(phases: tuple[PhaseWork, ...], task: Task) -> FormDraft:
    """The inference fields for a task made of `phases`."""
    data = form_data()
    items = tuple(_items(phases, data))
    flop = sum(item.flop for item in items)
    if not flop:
        raise UsageError("the task has no operations", where="form: energy.inference_flop")
    full = flop + sum(p.total(FULL) - p.total("attention") for p in phases if FULL in p.flops)
    texts = {
        "energy.inference_flop": scientific(flop, data.rounding.significant_figures),
        "energy.inference_method": _method(phases, task, (flop, full), data),
    }
    values = tuple(
        FormValue(
            id=field.id,
            section=field.section,
            label=field.label,
            value=texts[field.id],
            unit=field.unit,
            recipients=tuple(
                name.replace("_", " ") for name, gets in field.recipients.items() if gets
            ),
            filled_by=field.filled_by,
            source=f"{field.source}; {field.basis}",
        )
        for field in data.fields
    )
    rule = data.rounding
    return FormDraft(
        form=data.form,
        form_date=data.form_date,
        as_of=data.as_of,
        notice=data.notice,
        flop=flop,
        flop_full_attention=full,
        items=items,
        values=values,
        rounding=f"{rule.significant_figures} significant figures, {rule.method}: {rule.source} "
        f"({rule.date})",
    )


def _items(phases: tuple[PhaseWork, ...], data: FormData) -> list[FormItem]:
    figures = data.rounding.significant_figures
    return [
        FormItem(
            phase=phase.name,
            kind=KIND_LABELS.get(kind, kind),
            flop=phase.total(kind),
            text=scientific(phase.total(kind), figures),
        )
        for phase in phases
        for kind in sorted(phase.flops)
        if kind != FULL and phase.total(kind)
    ]


def _method(
    phases: tuple[PhaseWork, ...], task: Task, totals: tuple[int, int], data: FormData
) -> str:
    figures = data.rounding.significant_figures
    flop, full = totals
    by_phase = ", ".join(
        f"{phase.name} {scientific(sum(phase.total(k) for k in phase.flops if k != FULL), figures)}"
        f" in {phase.executions} execution{'s' if phase.executions != 1 else ''}"
        for phase in phases
    )
    counting = data.counting
    sentences = [
        f"Task: {task.description}.",
        f"Hardware: {task.hardware}; number format {task.precision}.",
        f"Quantity: {scientific(flop, figures)} operations, counted from the graph of the ONNX "
        f"model '{task.model}', not measured; there is no statistical interval ({by_phase}).",
        *(
            [f"With the whole attention matrix: {scientific(full, figures)}."]
            if full != flop
            else []
        ),
        counting.mac,
        counting.precision,
        counting.attention,
        counting.included,
        counting.excluded,
        f"Validation: {task.verified}.",
        "Made with "
        + ", ".join(f"{name} {version}" for name, version in task.versions.items())
        + ".",
        "SHA-256: " + ", ".join(f"{name} {digest}" for name, digest in task.hashes.items()) + ".",
        *([f"Date: {task.date}."] if task.date else []),
    ]
    return " ".join(sentences)
