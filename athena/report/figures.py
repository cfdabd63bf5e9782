"""The rows of label and text that every view of a summary shows, in one place.

In:  `RunSummary`. Out: tuples of text; names in them are not yet escaped.   Raises: nothing.
"""

from __future__ import annotations

from athena.energy import Range
from athena.report.request import RequestSummary
from athena.report.rounding import plain
from athena.report.summary import NodeRow, RunSummary

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
EVIDENCE = {
    "validated": "checked against measurements of the real chip",
    "datasheet": "from public figures of a real chip, not checked against measurements",
    "hypothetical": "a design that was never built or measured",
}


def seconds(value: float) -> str:
    """A time with a fitting unit."""
    for size, unit in _SECONDS:
        if value >= size:
            return f"{plain(value / size)} {unit}"
    return "0 s" if value == 0 else f"{plain(value * 1e9)} ns"


def data_bytes(value: int) -> str:
    """An amount of bytes with a fitting binary unit."""
    for size, unit in _BYTES:
        if value >= size:
            return f"{plain(value / size)} {unit}"
    return f"{value} B"


def percent(value: float | None) -> str:
    """A share in percent, "n/a" where it does not apply."""
    if value is None:
        return "n/a"
    if 0 < value < 1e-4:
        return "<0.01 %"
    if 0.9995 <= value < 1:
        return ">99.9 %"
    return f"{plain(100 * value)} %"


def spread(value: Range, unit: str) -> str:
    """Central (low to high) with unit."""
    return f"{plain(value.central)} {unit} ({plain(value.low)} to {plain(value.high)})"


def headline(summary: RunSummary) -> tuple[tuple[str, str, str], ...]:
    """Label, figure, and what the figure means."""
    rows = [
        ("Time", seconds(summary.seconds), f"{summary.cycles} cycles at {_clock(summary)}"),
        *_token_rows(summary),
        (
            "MFU",
            percent(summary.work.mfu),
            f"model FLOPs on the chip over {summary.work.peaks.dtype} peak x time",
        ),
        (
            "HBM utilisation",
            percent(summary.work.hbm_utilisation),
            f"bytes moved over peak x time; memory busy {percent(summary.work.hbm_busy)}",
        ),
        ("Bound by", summary.work.bound_by.value, f"least time {seconds(summary.work.bound_s)}"),
        ("Energy, chip", spread(summary.energy.chip_j, "J"), "one execution; low to high"),
        (
            "Average power, chip",
            spread(summary.energy.chip_w, "W"),
            f"design power {summary.energy.tdp_w:g} W",
        ),
        (
            "Nodes costed",
            f"{summary.work.nodes_costed} of {summary.work.nodes_total}",
            f"{percent(summary.work.flops_on_chip_share)} of FLOPs on the chip",
        ),
        ("Host share of time", percent(summary.host_share), _host(summary)),
        ("Evidence", summary.evidence, EVIDENCE.get(summary.evidence, "")),
        ("Numerics", *_verdict(summary)),
    ]
    return tuple(rows)


def _token_rows(summary: RunSummary) -> list[tuple[str, str, str]]:
    tokens = summary.tokens
    if tokens is None:
        return []
    per_system = f"{plain(tokens.per_system_s)} per system"
    rows = [
        (
            f"{tokens.kind.capitalize()} tokens/s",
            f"{plain(tokens.per_chip_s)} per chip",
            f"{plain(tokens.per_sequence_s)} per sequence, {per_system}, "
            f"batch {summary.workload.batch}",
        ),
        (
            f"J per {tokens.kind} token",
            spread(tokens.j_per_token, "J"),
            "boundary: chip (package with its memory); this execution only",
        ),
    ]
    if summary.energy.host_j.central > 0:
        text = spread(tokens.j_per_token_with_host, "J")
        meaning = "boundary: chip and calls to the host"
        rows.append((f"J per {tokens.kind} token, with host", text, meaning))
    return rows


def _clock(summary: RunSummary) -> str:
    return f"{plain(summary.clock_hz / 1e9, 4)} GHz"


def _host(summary: RunSummary) -> str:
    if summary.host_s.high == 0:
        return "no node runs on the host"
    low, central, high = (seconds(value) for value in summary.host_s.as_tuple())
    return f"{central} ({low} to {high}) by the host model"


def _verdict(summary: RunSummary) -> tuple[str, str]:
    verify = summary.verify
    if verify is None:
        return "not verified", "no weights" if summary.weightless else "not compared in this run"
    good = sum(row.passed for row in verify.rows)
    text = f"{good} of {len(verify.rows)} outputs within tolerance"
    return text, f"{verify.precision} against {verify.reference}; inputs: {verify.inputs or 'n/a'}"


def request_rows(request: RequestSummary) -> tuple[tuple[str, str, str], ...]:
    """Label, figure and meaning for a whole request."""
    rows = [
        (
            "Request",
            f"{request.prompt_tokens} prompt + {request.new_tokens} new tokens",
            f"batch {request.batch}, {request.chips} chips, evidence: {request.evidence}",
        ),
        ("TTFT", f"{plain(request.ttft_ms)} ms", "time to first token, no queueing"),
    ]
    if request.tpot_ms is not None:
        rate = request.output_tokens_per_s_per_chip or 0.0
        user = request.output_tokens_per_s_per_sequence or 0.0
        rows += [
            ("TPOT", f"{plain(request.tpot_ms)} ms", "time per output token in steady decode"),
            ("Output tokens/s", f"{plain(rate)} per chip", f"{plain(user)} per sequence"),
        ]
    rows += [
        (
            "Whole request",
            seconds(request.request_s),
            f"{plain(request.request_tokens_per_s)} output tokens/s per system",
        ),
        (
            "J per output token",
            spread(request.j_per_output_token, "J"),
            "boundary: chip; prefill included",
        ),
    ]
    return tuple(rows)


def heaviest(summary: RunSummary, limit: int) -> tuple[NodeRow, ...]:
    """The nodes that take most time, longest first (equal ones in program order)."""
    return tuple(sorted(summary.nodes, key=lambda row: (-row.span_s, row.index))[:limit])


NODE_COLUMNS = (
    *("node", "op", "place", "dtype", "time", "share", "bound by", "achieved"),
    *("FLOPs", "HBM", "traffic"),
)


def node_cells(row: NodeRow) -> tuple[str, ...]:
    """Text for `NODE_COLUMNS`."""
    return (
        row.name,
        row.op,
        row.place,
        row.dtype,
        seconds(row.span_s),
        percent(row.share),
        row.bound_by.value,
        percent(row.achieved),
        plain(row.flops),
        data_bytes(row.hbm_bytes),
        "n/a" if row.traffic is None else plain(row.traffic),
    )


UNIT_COLUMNS = (
    *("unit", "queues", "words", "busy", "waits: semaphore", "waits: port", "waits: memory"),
    *("waits: fetch", "idle"),
)


def unit_rows(summary: RunSummary) -> tuple[tuple[str, ...], ...]:
    """Text for `UNIT_COLUMNS`."""
    return tuple(
        (
            row.name,
            str(row.units),
            str(row.words),
            *(
                percent(value)
                for value in (
                    row.busy,
                    row.wait_semaphore,
                    row.wait_port,
                    row.wait_memory,
                    row.wait_fetch,
                    row.idle,
                )
            ),
        )
        for row in summary.units
    )


ENERGY_COLUMNS = ("component", "group", "low J", "central J", "high J", "share", "count")


def energy_rows(summary: RunSummary) -> tuple[tuple[str, ...], ...]:
    """Text for `ENERGY_COLUMNS`, largest first, and the total as the last row."""
    whole = summary.energy.total_j
    rows = sorted(summary.energy.parts, key=lambda row: -row.energy_j.central)
    return (
        *(
            (
                row.name,
                row.group,
                *(plain(value) for value in row.energy_j.as_tuple()),
                percent(row.energy_j.central / whole.central if whole.central else 0.0),
                f"{plain(row.count)} {row.unit}",
            )
            for row in rows
        ),
        ("total", "", *(plain(value) for value in whole.as_tuple()), "100 %", ""),
    )


VERIFY_COLUMNS = ("output", "max abs", "SNR dB", "cosine", "top-1", "limit", "result")


def verify_rows(summary: RunSummary) -> tuple[tuple[str, ...], ...]:
    """Text for `VERIFY_COLUMNS`; no rows where nothing was verified."""
    rows = summary.verify.rows if summary.verify else ()
    return tuple(
        (
            row.output,
            _optional(row.max_abs),
            _optional(row.snr_db),
            _optional(row.cosine, 6),
            percent(row.top1),
            row.limit,
            "ok" if row.passed else f"FAILED: {row.reason}",
        )
        for row in rows
    )


def _optional(value: float | None, figures: int = 3) -> str:
    return "n/a" if value is None else plain(value, figures)
