"""A whole request of a language model, from the summaries of its prefill and decode executions.

In:  a prefill summary and decode summaries with the number of steps that each stands for.
Out: `RequestSummary` (frozen): time to first token, time per token, rates, joules per output token.
Raises: UsageError where phases do not fit together.

The first new token comes from the prefill; n new tokens need n - 1 decode steps. Sequences of a
batch run together, without queueing or other requests beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from athena.energy import Range, exactly, total
from athena.errors import UsageError
from athena.report.annex import AnnexPhase
from athena.report.form import PhaseWork, phase_of
from athena.report.summary import Phase, RunSummary

REQUEST_SCHEMA = "athena-request/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSteps:
    """`steps` decode steps that take what `summary` says, e.g. one bucket of context lengths."""

    summary: RunSummary
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSummary:
    """Figures of one request (of each of `batch` sequences).

    `output_tokens_per_s` are in steady decode: per sequence, per chip and per system. `tpot_ms` and
    they are None for a single new token. `request_tokens_per_s` is over the whole request, prefill
    included, per system. `j_per_output_token` has the prefill's energy in it, boundary `chip`;
    `j_per_output_token_with_host` adds the host's calls.
    """

    batch: int
    prompt_tokens: int
    new_tokens: int
    chips: int
    ttft_ms: float
    tpot_ms: float | None
    request_s: float
    output_tokens_per_s_per_sequence: float | None
    output_tokens_per_s_per_chip: float | None
    output_tokens_per_s_per_system: float | None
    request_tokens_per_s: float
    energy_j: Range
    j_per_output_token: Range
    j_per_output_token_with_host: Range
    evidence: str


def summarise_request(prefill: RunSummary, decode: Sequence[DecodeSteps]) -> RequestSummary:
    """Figures of the request that `prefill` starts and `decode` continues."""
    _check(prefill, decode)
    work = prefill.workload
    steps = sum(part.steps for part in decode)
    decode_s = sum(part.steps * part.summary.seconds for part in decode)
    tpot_s = decode_s / steps if steps else None
    tokens = work.batch * (steps + 1)
    request_s = prefill.seconds + decode_s
    phases = annex_phases(prefill, decode)
    chip = total(p.summary.energy.chip_j * float(p.executions * work.chips) for p in phases)
    host = total(p.summary.energy.host_j * float(p.executions) for p in phases)
    return RequestSummary(
        batch=work.batch,
        prompt_tokens=work.input_tokens // work.batch,
        new_tokens=steps + 1,
        chips=work.chips,
        ttft_ms=prefill.seconds * 1e3,
        tpot_ms=None if tpot_s is None else tpot_s * 1e3,
        request_s=request_s,
        output_tokens_per_s_per_sequence=1 / tpot_s if tpot_s else None,
        output_tokens_per_s_per_chip=work.batch / tpot_s / work.chips if tpot_s else None,
        output_tokens_per_s_per_system=work.batch / tpot_s if tpot_s else None,
        request_tokens_per_s=tokens / request_s if request_s else 0.0,
        energy_j=chip,
        j_per_output_token=chip / exactly(tokens),
        j_per_output_token_with_host=(chip + host) / exactly(tokens),
        evidence=prefill.evidence,
    )


def annex_phases(prefill: RunSummary, decode: Sequence[DecodeSteps]) -> tuple[AnnexPhase, ...]:
    """The executions of one request, for the energy annex."""
    return (
        AnnexPhase(summary=prefill),
        *(AnnexPhase(summary=part.summary, executions=part.steps) for part in decode),
    )


def form_phases(
    prefill: RunSummary, decode: Sequence[DecodeSteps], *, requests: int = 1
) -> tuple[PhaseWork, ...]:
    """The executions of `requests` requests, for the form."""
    return (
        phase_of(prefill, requests),
        *(phase_of(part.summary, requests * part.steps) for part in decode),
    )


def _check(prefill: RunSummary, decode: Sequence[DecodeSteps]) -> None:
    if prefill.workload.phase is not Phase.PREFILL:
        raise UsageError("a request starts with a prefill", where="request")
    for part in decode:
        work, first = part.summary.workload, prefill.workload
        if work.phase is not Phase.DECODE or part.steps < 1:
            raise UsageError("a request goes on with decode steps", where="request")
        same_chip = part.summary.provenance.hashes.get("chip") == prefill.provenance.hashes.get(
            "chip"
        )
        if (work.batch, work.chips) != (first.batch, first.chips) or not same_chip:
            raise UsageError(
                "prefill and decode differ in batch or chips",
                where="request",
                hint="simulate both with the same --batch, --chip and --chips",
            )
