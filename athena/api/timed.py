"""Execute a program in time: cycles, use of units, joules, one summary.

In:  a compiled model, program or program file. Out: `Run` (frozen).
Raises: ProgramError, FaultError, DeadlockError, RuntimeLimitError, ChipError, OutputError.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from athena.api.execute import Executable, resolve
from athena.api.tables import Table
from athena.api.trace import perfetto
from athena.api.workload import workload_of
from athena.chip import Chip
from athena.energy import EnergyBreakdown, EnergyTable, energy, load_table
from athena.errors import UsageError
from athena.isa.program import Program
from athena.report import Results, RunSummary, Workload, summarise, write_run
from athena.report.figures import headline
from athena.report.summary import NodeRow, UnitRow
from athena.timing import Timeline
from athena.timing import simulate as _simulate
from athena.verify import VerifyReport

TRACE_FILE = "trace.perfetto.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One simulated execution. `energy` has low, central and high for every component."""

    program: Program
    chip: Chip
    timeline: Timeline
    energy: EnergyBreakdown
    summary: RunSummary

    @property
    def cycles(self) -> int:
        """Clock cycles from the first word to the last."""
        return self.timeline.cycles

    @property
    def seconds(self) -> float:
        """Simulated time."""
        return self.timeline.seconds

    @property
    def evidence(self) -> str:
        """How far the chip's figures were checked: validated, datasheet or hypothetical."""
        return self.summary.evidence

    @property
    def figures(self) -> Table:
        """The headline figures with what they mean."""
        title = f"{self.summary.provenance.model} on {self.chip.name}, {self.summary.precision}"
        return Table(
            title=f"{title}: {self.summary.workload.task}",
            columns=("figure", "value", "meaning"),
            rows=headline(self.summary),
        )

    @property
    def nodes(self) -> Table:
        """One row a node: time, bound, operations, bytes."""
        columns = tuple(part.name for part in fields(NodeRow))
        rows = tuple(tuple(getattr(row, name) for name in columns) for row in self.summary.nodes)
        return Table(title="nodes", columns=columns, rows=rows)

    @property
    def units(self) -> Table:
        """Use and waiting of every kind of unit, as shares of all cycles."""
        columns = tuple(part.name for part in fields(UnitRow))
        return Table(
            title="units", columns=columns, rows=tuple(astuple(row) for row in self.summary.units)
        )

    def to_pandas(self) -> Any:
        """The table `nodes` as a DataFrame."""
        return self.nodes.to_pandas()

    def save(self, folder: str | Path, *, command: tuple[str, ...] = ()) -> None:
        """Write the run folder, with the trace where one was kept. Raises: OutputError."""
        extra = {} if self.timeline.trace is None else {TRACE_FILE: self.trace_json()}
        write_run(folder, self.summary, command=command, extra=extra)

    def trace_json(self) -> bytes:
        """Every executed word as a Perfetto / Chrome trace. Raises: UsageError without a trace."""
        if self.timeline.trace is None:
            raise UsageError(
                "this run kept no trace", where="trace", hint="simulate with trace=True"
            )
        return perfetto(self.program, self.timeline)

    def __repr__(self) -> str:
        return f"Run({self.figures.title}: {self.cycles} cycles, {self.evidence} chip)"

    def _repr_html_(self) -> str:
        return self.figures._repr_html_()


def simulate(  # noqa: PLR0913 - the public call: one option each
    source: Executable,
    *,
    chip: str | Path | Chip | None = None,
    trace: bool = False,
    exact: bool = True,
    workload: Workload | None = None,
    verified: VerifyReport | None = None,
    table: str | Path | EnergyTable = "n5-2026",
) -> Run:
    """Cycles, use of units and energy of one execution.

    `trace` keeps every word's times. `exact` False allows steady loops to be fast-forwarded.
    `workload` replaces what is read off the program's tensors; `verified` is a verdict to carry
    along; `table` holds the energies per action.
    """
    program, target = resolve(source, chip)
    prices = table if isinstance(table, EnergyTable) else load_table(table)
    timeline = _simulate(program, target, trace=trace, exact=exact)
    joules = energy(timeline.counts, timeline.seconds, target, prices, host_s=timeline.host_s)
    digest = program.notes.get("model_sha256")
    summary = summarise(
        Results(
            program=program,
            timeline=timeline,
            energy=joules,
            chip=target,
            table=prices,
            workload=workload or workload_of(program),
            verify=verified,
            hashes={"model": digest} if digest else {},
        )
    )
    return Run(program=program, chip=target, timeline=timeline, energy=joules, summary=summary)
