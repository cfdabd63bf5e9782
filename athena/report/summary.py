"""All figures of one simulated execution as one frozen value: the source of every view.

In:  built by `athena.report.build`, read back by `athena.report.runs`.
Out: `RunSummary`; its JSON form has the schema `athena-report/1` (`athena.report.document`).
Raises: nothing.

Words are those of the project: `mfu`, `hbm_utilisation`, `bound_by`, `output_tokens_per_s` with its
scope, joules with their boundary. None stands for a figure that does not apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from athena.energy.range import Range

SCHEMA = "athena-report/1"


class Phase(StrEnum):
    """What one execution of the program does."""

    FORWARD = "forward"  # not a language model: one pass
    PREFILL = "prefill"  # all prompt tokens, gives the first output token
    DECODE = "decode"  # one token for each sequence


class Bound(StrEnum):
    """What the shortest possible time is set by."""

    MATRIX = "matrix unit"
    VECTOR = "vector unit"
    MEMORY = "HBM"
    HOST = "host"
    NONE = "nothing"  # neither operations nor bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one execution works on.

    `input_tokens` and `output_tokens` are of one execution, all sequences together; both 0 where
    the model has no tokens. `context_tokens` is the cache length before the execution, a sequence.
    """

    task: str
    phase: Phase = Phase.FORWARD
    batch: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    context_tokens: int = 0
    chips: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node of the program. Times in seconds, summed over its instances.

    `bound_s` is the least time its operations and bytes allow, `achieved` that over `span_s`;
    `traffic` is bytes moved to or from main memory over compulsory bytes.
    """

    index: int
    name: str
    op: str
    sources: tuple[str, ...]
    place: str
    dtype: str
    flops: int
    compulsory_bytes: int
    hbm_bytes: int
    l2_bytes: int
    span_s: float
    share: float
    matrix_busy_s: float
    vector_busy_s: float
    dma_busy_s: float
    bound_by: Bound
    bound_s: float
    achieved: float | None
    traffic: float | None
    intensity_flop_per_byte: float | None
    flop_per_s: float | None
    mapping: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRow:
    """Shares of the execution's cycles of one kind of queue, mean over its units; they sum to 1."""

    name: str
    units: int
    words: int
    busy: float
    wait_semaphore: float
    wait_port: float
    wait_memory: float
    wait_fetch: float
    idle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRow:
    """One component of energy of one execution."""

    name: str
    group: str
    energy_j: Range
    count: float
    unit: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """An entry of the energy table that was used, with its source."""

    key: str
    low: float
    central: float
    high: float
    unit: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Rates and energy for one kind of token ("output" or "input").

    `per_sequence_s` is what one sequence sees, `per_chip_s` all sequences over all chips.
    `j_per_token` is at boundary `chip` (package with its memory); with the host's calls added it is
    `j_per_token_with_host`. Only tokens of this execution count: no prefill in a decode step.
    """

    kind: str
    per_sequence_s: float
    per_chip_s: float
    per_system_s: float
    j_per_token: Range
    j_per_token_with_host: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflinePeaks:
    """The chip's peaks that nodes are held against."""

    matrix_flop_per_s: float
    vector_op_per_s: float
    memory_bytes_per_s: float
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRow:
    """The verdict on one output, as `athena.verify` gave it."""

    output: str
    max_abs: float | None
    snr_db: float | None
    cosine: float | None
    top1: float | None
    limit: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySummary:
    """Whether outputs agree with the reference; absent where nothing was verified."""

    precision: str
    reference: str
    inputs: str
    passed: bool
    rows: tuple[VerifyRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What made the figures: names, SHA-256 of everything read, versions, notes of the compiler."""

    model: str
    program: str
    chip: str
    chip_description: str
    energy_table: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the program does, against what the chip could do.

    `model_flops` is by kind, 1 MAC = 2; `attention` is the unmasked part, `attention_full` the
    whole matrix and in no sum. `mfu` is model FLOPs on the chip over peak × time. `bound_s` is the
    least time that all operations and bytes allow.
    """

    model_flops: Mapping[str, int]
    flops: int
    flops_on_chip_share: float
    nodes_costed: int
    nodes_total: int
    peaks: RooflinePeaks
    mfu: float | None
    hbm_utilisation: float
    hbm_busy: float
    bound_by: Bound
    bound_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySummary:
    """Joules of one execution by component and group, average power, entries of the table used.

    `delivery` holds efficiencies that only the energy annex applies, beyond the chip.
    """

    parts: tuple[EnergyRow, ...]
    chip_dynamic_j: Range
    chip_static_j: Range
    host_j: Range
    chip_w: Range
    tdp_w: float
    entries: tuple[EntryRow, ...]
    delivery: tuple[EntryRow, ...]

    @property
    def chip_j(self) -> Range:
        """Boundary `chip`: package with its memory, dynamic and static."""
        return self.chip_dynamic_j + self.chip_static_j

    @property
    def total_j(self) -> Range:
        """Chip and the host's share."""
        return self.chip_j + self.host_j


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One simulated execution of one program on one chip.

    `evidence` is the chip's class: validated, datasheet or hypothetical. `exact` says that no loop
    was fast-forwarded. `host_share` is of time, `host_s` its seconds (low, central, high).
    """

    workload: Workload
    provenance: Provenance
    evidence: str
    precision: str
    weightless: bool
    exact: bool
    cycles: int
    clock_hz: float
    seconds: float
    host_s: Range
    host_share: float
    work: Work
    tokens: Tokens | None
    energy: EnergySummary
    units: tuple[UnitRow, ...]
    nodes: tuple[NodeRow, ...]
    verify: VerifySummary | None
    notes: tuple[str, ...]
