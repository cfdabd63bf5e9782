"""Turn the results of a simulation into a `RunSummary`.

In:  `Program`, `Timeline`, `EnergyBreakdown`, `Chip`, `EnergyTable`, `Workload`, and the verdict.
Out: `RunSummary`.   Raises: InternalError where results do not belong together.

The program's node table is the only source of model FLOPs and compulsory bytes: both are totals
over all instances of a node in the program, as the times of `Timeline.nodes` are.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field

from athena import __version__
from athena.chip.load import chip_hash
from athena.chip.model import Chip
from athena.energy import EnergyBreakdown, EnergyTable, Entry, Group, Range
from athena.errors import InternalError
from athena.isa.container import program_hash
from athena.isa.program import NodeInfo, Program
from athena.report.roofline import flops_of, node_rows, peaks_of, whole_bound
from athena.report.summary import (
    EnergyRow,
    EnergySummary,
    EntryRow,
    NodeRow,
    Phase,
    Provenance,
    RunSummary,
    Tokens,
    UnitRow,
    VerifyRow,
    VerifySummary,
    Work,
    Workload,
)
from athena.timing.result import Timeline
from athena.verify import VerifyReport

DELIVERY = ("delivery.vr_efficiency", "delivery.psu_efficiency")
_PACKAGES = ("numpy", "numba", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What one simulation left behind; `hashes` may add to those computed here (model, inputs)."""

    program: Program
    timeline: Timeline
    energy: EnergyBreakdown
    chip: Chip
    table: EnergyTable
    workload: Workload
    verify: VerifyReport | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)


def summarise(results: Results) -> RunSummary:
    """All figures of one execution."""
    _check(results)
    program, timeline, chip = results.program, results.timeline, results.chip
    rows = node_rows(program, timeline, chip)
    return RunSummary(
        workload=results.workload,
        provenance=_provenance(results),
        evidence=chip.evidence,
        precision=program.precision,
        weightless=program.weightless,
        exact=timeline.exact,
        cycles=timeline.cycles,
        clock_hz=timeline.clock_hz,
        seconds=timeline.seconds,
        host_s=Range(*timeline.host_s),
        host_share=timeline.host_s[1] / timeline.seconds if timeline.cycles else 0.0,
        work=_work(results, rows),
        tokens=_tokens(results),
        energy=_energy(results),
        units=_units(timeline),
        nodes=rows,
        verify=_verify(results.verify),
        notes=(*results.energy.notes, *_notes(results, rows)),
    )


def _work(results: Results, rows: tuple[NodeRow, ...]) -> Work:
    program, timeline, chip = results.program, results.timeline, results.chip
    counted = [node for node in program.nodes if node.place != "folded"]
    flops = sum(map(flops_of, counted))
    on_chip = sum(flops_of(node) for node in counted if node.place == "chip")
    peaks = peaks_of(chip, program.precision)
    peak, seconds = peaks.matrix_flop_per_s, timeline.seconds
    moved = timeline.counts.hbm_read_bytes + timeline.counts.hbm_write_bytes
    bound_by, bound_s = whole_bound(program, timeline, chip)
    return Work(
        model_flops=_flops_by_kind(counted),
        flops=flops,
        flops_on_chip_share=on_chip / flops if flops else 1.0,
        nodes_costed=sum(map(_costed, rows)),
        nodes_total=len(rows),
        peaks=peaks,
        mfu=on_chip / (peak * seconds) if peak and seconds else None,
        hbm_utilisation=moved / (peaks.memory_bytes_per_s * seconds) if seconds else 0.0,
        hbm_busy=timeline.hbm_busy_fraction,
        bound_by=bound_by,
        bound_s=bound_s,
    )


def _energy(results: Results) -> EnergySummary:
    breakdown = results.energy
    return EnergySummary(
        parts=tuple(
            EnergyRow(
                name=part.name,
                group=part.group.value,
                energy_j=part.energy_j,
                count=part.count,
                unit=part.unit,
                entries=part.entries,
            )
            for part in breakdown.parts
        ),
        chip_dynamic_j=breakdown.of(Group.CHIP_DYNAMIC),
        chip_static_j=breakdown.of(Group.CHIP_STATIC),
        host_j=breakdown.of(Group.HOST),
        chip_w=breakdown.chip_w,
        tdp_w=results.chip.power.tdp_w,
        entries=tuple(map(_entry, breakdown.entries)),
        delivery=tuple(_entry(results.table.entry(key)) for key in DELIVERY),
    )


def _check(results: Results) -> None:
    nodes = len(results.program.nodes)
    if any(not 0 <= row.node < nodes for row in results.timeline.nodes):
        raise InternalError(
            "the timeline names a node that the program does not have",
            where=f"program '{results.program.name}'",
        )
    if not math.isclose(results.energy.seconds, results.timeline.seconds, rel_tol=1e-9):
        raise InternalError(
            "energy and timeline are of different executions",
            where=f"program '{results.program.name}'",
        )


def _flops_by_kind(nodes: list[NodeInfo]) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for node in nodes:
        for kind, count in node.flops.items():
            kinds[kind] = kinds.get(kind, 0) + count
    return dict(sorted(kinds.items()))


def _costed(row: NodeRow) -> bool:
    """A node is costed when time was counted for it, or when it has nothing to do."""
    idle = row.flops == 0 and row.compulsory_bytes == 0
    return row.place == "host" or row.span_s > 0 or idle


def _tokens(results: Results) -> Tokens | None:
    """Output tokens where the execution gives any, else input tokens."""
    work, seconds = results.workload, results.timeline.seconds
    kind, count = ("output", work.output_tokens)
    if work.phase is Phase.PREFILL or not count:
        kind, count = ("input", work.input_tokens)
    if not count or not seconds:
        return None
    return Tokens(
        kind=kind,
        per_sequence_s=count / work.batch / seconds,
        per_chip_s=count / seconds / work.chips,
        per_system_s=count / seconds,
        j_per_token=results.energy.chip_j / count * work.chips,
        j_per_token_with_host=results.energy.chip_j / count * work.chips
        + results.energy.of(Group.HOST) / count,
    )


def _units(timeline: Timeline) -> tuple[UnitRow, ...]:
    cycles = timeline.cycles or 1
    return tuple(
        UnitRow(
            name=unit.queue.name,
            units=unit.units,
            words=unit.words,
            busy=unit.busy_cycles / cycles,
            wait_semaphore=unit.wait_semaphore_cycles / cycles,
            wait_port=unit.wait_port_cycles / cycles,
            wait_memory=unit.wait_memory_cycles / cycles,
            wait_fetch=unit.wait_fetch_cycles / cycles,
            idle=unit.idle_cycles / cycles,
        )
        for unit in timeline.units
    )


def _verify(report: VerifyReport | None) -> VerifySummary | None:
    if report is None:
        return None
    rows = tuple(
        VerifyRow(
            output=row.name,
            max_abs=row.metrics.max_abs if row.metrics else None,
            snr_db=row.metrics.snr_db if row.metrics else None,
            cosine=row.metrics.cosine if row.metrics else None,
            top1=row.top1,
            limit=row.limit,
            passed=row.passed,
            reason=row.reason,
        )
        for row in report.rows
    )
    return VerifySummary(
        precision=report.precision,
        reference=report.reference,
        inputs=report.inputs,
        passed=report.passed,
        rows=rows,
    )


def _entry(entry: Entry) -> EntryRow:
    low, central, high = entry.range.as_tuple()
    return EntryRow(
        key=entry.key,
        low=low,
        central=central,
        high=high,
        unit=entry.unit,
        kind=entry.kind.value,
        source=entry.source,
    )


def _provenance(results: Results) -> Provenance:
    program, chip = results.program, results.chip
    hashes = {
        "program": program_hash(program),
        "chip": chip_hash(chip),
        "energy_table": results.energy.table_sha256,
        **results.hashes,
    }
    versions = {"athena": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        versions[package] = importlib.metadata.version(package)
    return Provenance(
        model=program.notes.get("model", program.name),
        program=program.name,
        chip=chip.name,
        chip_description=chip.description,
        energy_table=results.energy.table,
        hashes=dict(sorted(hashes.items())),
        versions=dict(sorted(versions.items())),
        notes=dict(sorted(program.notes.items())),
    )


def _notes(results: Results, rows: tuple[NodeRow, ...]) -> tuple[str, ...]:
    notes = []
    missing = [row.name for row in rows if not _costed(row)]
    if missing:
        notes.append(f"{len(missing)} nodes have no time, first '{missing[0]}': time is too low.")
    host = [row.name for row in rows if row.place == "host"]
    if host:
        notes.append(
            f"{len(host)} nodes run on the host by the chip file's host model, a range of time and "
            f"power, not a measurement: first '{host[0]}'."
        )
    if results.program.weightless:
        notes.append(
            "The model has no weights: numbers cannot be verified, times do not need them."
        )
    elif results.verify is None:
        notes.append("Outputs of this program were not verified in this run.")
    if not results.timeline.exact:
        notes.append("Steady loops were fast-forwarded: cycles within 0.5 % of full simulation.")
    if results.chip.evidence == "hypothetical":
        notes.append("The chip is a hypothetical design: its system was never measured.")
    return tuple(notes)
