"""The energy annex: simulated energy of inference by line and boundary. Not part of the form.

In:  phases of a task (how often each simulated execution runs), output tokens, PUE if known.
Out: `EnergyAnnex` (frozen): lines that sum to the total of the widest boundary that is known.
Raises: UsageError for a PUE below 1, or phases on different chips.

Boundaries grow: `chip` is the package with its memory; `server` adds the host's share and the
losses of voltage regulators and power supply; `facility` multiplies by the PUE, and exists only
where the user gives one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from athena.energy import Range, exactly, total
from athena.errors import UsageError
from athena.report.summary import RunSummary
from athena.units import J_PER_KWH

ANNEX_SCHEMA = "athena-annex/1"
WH_PER_KWH = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnexPhase:
    """A simulated execution and how often the task needs it."""

    summary: RunSummary
    executions: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnexTask:
    """What the energy is for. `pue` with its source comes from the user."""

    description: str
    output_tokens: int = 0
    pue: Range | None = None
    pue_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnexLine:
    """One line in joules for the whole task; None where a fact of the user is missing."""

    name: str
    boundary: str
    energy_j: Range | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnexTotal:
    """The sum at one boundary, also per output token and in Wh per 1,000 tokens."""

    boundary: str
    energy_j: Range
    j_per_output_token: Range | None
    wh_per_1000_tokens: Range | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyAnnex:
    """All lines, totals by boundary, and what is simulated, assumed or missing."""

    description: str
    hardware: str
    evidence: str
    output_tokens: int
    lines: tuple[AnnexLine, ...]
    totals: tuple[AnnexTotal, ...]
    notes: tuple[str, ...]


def energy_annex(phases: Sequence[AnnexPhase], task: AnnexTask) -> EnergyAnnex:
    """The annex of a task made of `phases` (all on the same chip)."""
    _check(phases, task)
    first = phases[0].summary
    lines, totals = _chip_and_server(phases, task)
    server = totals[-1].energy_j
    if task.pue is None:
        lines.append(_line("facility (PUE)", "facility", None, "open: give the site's PUE"))
    else:
        facility = server * task.pue
        what = f"cooling and distribution, PUE {task.pue.central:g} ({task.pue_source or 'given'})"
        lines.append(_line("facility (PUE)", "facility", _less(facility, server), what))
        totals.append(_total("facility", facility, task))
    return EnergyAnnex(
        description=task.description,
        hardware=f"{first.workload.chips} x {first.provenance.chip}",
        evidence=first.evidence,
        output_tokens=task.output_tokens,
        lines=tuple(lines),
        totals=tuple(totals),
        notes=_notes(phases),
    )


def _chip_and_server(
    phases: Sequence[AnnexPhase], task: AnnexTask
) -> tuple[list[AnnexLine], list[AnnexTotal]]:
    chips = float(phases[0].summary.workload.chips)
    dynamic = total(p.summary.energy.chip_dynamic_j * (p.executions * chips) for p in phases)
    static = total(p.summary.energy.chip_static_j * (p.executions * chips) for p in phases)
    host = total(p.summary.energy.host_j * float(p.executions) for p in phases)
    rows = {row.key: row for row in phases[0].summary.energy.delivery}
    vr, psu = (
        Range(row.low, row.central, row.high)
        for row in (rows["delivery.vr_efficiency"], rows["delivery.psu_efficiency"])
    )
    server = ((dynamic + static) / vr + host) / psu
    lost = _less(server, dynamic + static + host)
    lines = [
        _line("chip dynamic", "chip", dynamic, "switching of the chip and its memory, simulated"),
        _line("chip static", "chip", static, "idle power of the whole chip x time, simulated"),
        _line("host", "server", host, "calls to the host and its link, by a declared host model"),
        _line("power delivery", "server", lost, "losses of regulators and supply, as published"),
    ]
    return lines, [_total("chip", dynamic + static, task), _total("server", server, task)]


def _check(phases: Sequence[AnnexPhase], task: AnnexTask) -> None:
    if not phases:
        raise UsageError("a task without phases", where="energy annex")
    chips = {(p.summary.provenance.hashes.get("chip"), p.summary.workload.chips) for p in phases}
    if len(chips) > 1:
        raise UsageError("the phases ran on different chips", where="energy annex")
    if task.pue is not None and task.pue.low < 1.0:
        raise UsageError(
            f"a PUE of {task.pue.low:g} is below 1",
            where="deployment: pue",
            hint="give 1.0 or more",
        )


def _notes(phases: Sequence[AnnexPhase]) -> tuple[str, ...]:
    own = (
        "These figures are simulated, not measured. They are no answer to any field of the form.",
        "Not included: the server's other idle power (processors, memory, fans) beyond host calls, "
        "networks, storage, users' devices, training, and the making of the hardware.",
    )
    seen = dict.fromkeys(note for phase in phases for note in phase.summary.notes)
    return (*own, *seen)


def _line(name: str, boundary: str, energy_j: Range | None, what: str) -> AnnexLine:
    return AnnexLine(name=name, boundary=boundary, energy_j=energy_j, what=what)


def _less(whole: Range, part: Range) -> Range:
    """What `whole` has beyond `part`, end by end (both grow from low to high, whole faster)."""
    ends = zip(whole.as_tuple(), part.as_tuple(), strict=True)
    return Range(*sorted(max(0.0, a - b) for a, b in ends))


def _total(boundary: str, energy_j: Range, task: AnnexTask) -> AnnexTotal:
    each = energy_j / float(task.output_tokens) if task.output_tokens else None
    return AnnexTotal(
        boundary=boundary,
        energy_j=energy_j,
        j_per_output_token=each,
        wh_per_1000_tokens=each * exactly(1000.0 * WH_PER_KWH / J_PER_KWH) if each else None,
    )
