"""Judge outputs of the chip against onnxruntime's, with a tolerance for each precision.

In:  {name: array} of both, the precision, the number of layers. Out: `VerifyReport` (frozen).
Raises: InputError where an output was not computed, UsageError for an unknown precision.

Rules (docs/numerics.md): fp32 within 1e-4 of the output's range and all best elements equal;
bf16, fp16 SNR of 35 dB for models up to 4 layers and 30 dB beyond, and each row within 6 dB of
that (a row whose centred RMS is below 1e-3 of the output's: error within 1e-2 of the range);
int8 and smaller: reported without a limit on noise, unless the caller has one from labelled data
(an output of another scale than the reference fails all the same); integers
and booleans exact; NaN and infinities in the same places.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.errors import InputError, UsageError, printable
from athena.verify.metrics import Metrics, measure, measure_rows, to_float, top_agreement

Array = NDArray[Any]
FP32_SHARE_OF_RANGE = 1e-4
HALF_SNR_DB = 35.0
HALF_DEEP_SNR_DB = 30.0
SHALLOW_LAYERS = 4
ROW_MARGIN_DB = 6.0
FLAT_ROW_SHARE = 1e-3
FLAT_ROW_ERROR = 1e-2
HALF = ("bf16", "fp16")
GAIN_LIMITS = (0.5, 2.0)
GAIN_ELEMENTS = 8
"""Rounding is noise about the reference and leaves its scale; a wrong scale factor does not."""
UNLIMITED = ("int8", "fp8", "int4", "mx9", "mx6", "mx4")
PRECISIONS = ("fp32", *HALF, *UNLIMITED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCheck:
    """One output: its figures, the limit that applied and the verdict.

    `limit` is text such as "30 dB", "exact" or "no limit"; `reason` says why it failed. `top1` and
    `top5` (shares) are None where the output is no vector of scores. `worst_row` and
    `worst_row_snr_db` name the row (last axis) with the least SNR among those judged by it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    metrics: Metrics | None
    top1: float | None
    top5: float | None
    rows_failed: int
    worst_row: int | None
    worst_row_snr_db: float | None
    limit: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """Verdict on all outputs. `reference` and `inputs` say what was compared on what."""

    precision: str
    layers: int
    reference: str
    inputs: str
    rows: tuple[OutputCheck, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every output is within its limit (there being at least one)."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    @property
    def limited(self) -> bool:
        """Whether any output had a limit at all."""
        return any(row.limit != "no limit" for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What an output of floating type has to meet; None: not judged."""

    share_of_range: float | None = None
    snr_db: float | None = None
    top1: float | None = None

    @property
    def text(self) -> str:
        """As printed in the column "limit"."""
        if self.snr_db is not None:
            return f"{self.snr_db:g} dB"
        return "no limit" if self.share_of_range is None else f"{self.share_of_range:g} of range"


def tolerance(precision: str, layers: int, snr_limit_db: float | None = None) -> Tolerance:
    """The tolerance of a precision; `snr_limit_db` is a limit of the caller's own."""
    if precision not in PRECISIONS:
        raise UsageError(
            f"precision '{printable(precision)}' has no tolerance",
            where="verify",
            hint=f"one of {', '.join(PRECISIONS)}",
        )
    if snr_limit_db is not None:
        if not math.isfinite(snr_limit_db):
            raise UsageError(
                f"a limit of {snr_limit_db} dB", where="snr limit", hint="give a finite number"
            )
        return Tolerance(snr_db=snr_limit_db)
    if precision == "fp32":
        return Tolerance(share_of_range=FP32_SHARE_OF_RANGE, top1=1.0)
    if precision in HALF:
        return Tolerance(snr_db=HALF_SNR_DB if layers <= SHALLOW_LAYERS else HALF_DEEP_SNR_DB)
    return Tolerance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is known beside the arrays: precision, layers, which outputs are scores, labels.

    `scores` names outputs whose best elements matter; None: those with "logits" in their name.
    """

    precision: str
    layers: int = 1
    scores: Collection[str] | None = None
    snr_limit_db: float | None = None
    reference: str = "onnxruntime"
    inputs: str = ""
    notes: tuple[str, ...] = ()

    def is_score(self, name: str) -> bool:
        """Whether the output is a vector of scores along its last axis."""
        return "logits" in name.lower() if self.scores is None else name in self.scores


def verify(
    reference: Mapping[str, Array], actual: Mapping[str, Array], how: Comparison
) -> VerifyReport:
    """Compare every output of `reference`."""
    limit = tolerance(how.precision, how.layers, how.snr_limit_db)
    missing = [name for name in reference if name not in actual]
    if missing:
        raise InputError(
            f"output '{printable(missing[0])}' was not computed; there are "
            f"{', '.join(printable(name) for name in actual) or 'none'}",
            where="verify",
        )
    rows = tuple(_check(name, ref, actual[name], limit, how) for name, ref in reference.items())
    return VerifyReport(
        precision=how.precision,
        layers=how.layers,
        reference=how.reference,
        inputs=how.inputs,
        rows=rows,
        notes=how.notes,
    )


def _check(
    name: str, reference: Array, actual: Array, limit: Tolerance, how: Comparison
) -> OutputCheck:
    if reference.shape != actual.shape:
        return _failed(name, reference, f"shape {actual.shape} instead of {reference.shape}")
    if reference.dtype.kind in "iub":
        return _check_exact(name, reference, actual)
    metrics = measure(reference, actual)
    top1, top5 = top_agreement(reference, actual) if how.is_score(name) else (None, None)
    rows = _RowVerdict.of(reference, actual, metrics, limit)
    reasons = [
        text
        for text in (
            _special_reason(metrics),
            _limit_reason(metrics, limit),
            _gain_reason(reference, actual, limit),
            rows.reason(),
            _top_reason(top1, limit),
        )
        if text
    ]
    return OutputCheck(
        name=name,
        dtype=reference.dtype.name,
        shape=reference.shape,
        metrics=metrics,
        top1=top1,
        top5=top5,
        rows_failed=rows.failed,
        worst_row=rows.worst,
        worst_row_snr_db=rows.worst_snr_db,
        limit=limit.text,
        passed=not reasons,
        reason="; ".join(reasons),
    )


def _check_exact(name: str, reference: Array, actual: Array) -> OutputCheck:
    differ = int(np.count_nonzero(reference != actual))
    wrong_type = actual.dtype.kind not in "iub"
    reason = f"{differ} of {reference.size} elements differ" if differ else ""
    if wrong_type:
        reason = f"{actual.dtype.name} instead of {reference.dtype.name}"
    return OutputCheck(
        name=name,
        dtype=reference.dtype.name,
        shape=reference.shape,
        metrics=measure(reference, actual),
        top1=None,
        top5=None,
        rows_failed=0,
        worst_row=None,
        worst_row_snr_db=None,
        limit="exact",
        passed=not reason,
        reason=reason,
    )


def _failed(name: str, reference: Array, reason: str) -> OutputCheck:
    return OutputCheck(
        name=name,
        dtype=reference.dtype.name,
        shape=reference.shape,
        metrics=None,
        top1=None,
        top5=None,
        rows_failed=0,
        worst_row=None,
        worst_row_snr_db=None,
        limit="same shape",
        passed=False,
        reason=reason,
    )


def _special_reason(metrics: Metrics) -> str:
    if not metrics.special_differ:
        return ""
    return f"{metrics.special_differ} elements are NaN or infinite in one of the two only"


def _limit_reason(metrics: Metrics, limit: Tolerance) -> str:
    share = metrics.max_abs / metrics.range
    if limit.share_of_range is not None and share > limit.share_of_range:
        return f"max error is {share:.3g} of the range, above {limit.share_of_range:g}"
    if limit.snr_db is None or metrics.snr_db >= limit.snr_db:
        return ""
    if metrics.snr_db == -math.inf and share <= FLAT_ROW_ERROR:
        return ""  # a constant output has no signal: judged as a flat row is
    return f"SNR {metrics.snr_db:.1f} dB, below {limit.snr_db:g} dB"


def _gain_reason(reference: Array, actual: Array, limit: Tolerance) -> str:
    """Where no limit on noise applies: whether the output is the reference times something else."""
    if limit.snr_db is not None or limit.share_of_range is not None:
        return ""
    ref, act = to_float(reference).ravel(), to_float(actual).ravel()
    finite = np.isfinite(ref) & np.isfinite(act)
    ref, act = ref[finite], act[finite]
    centred = ref - ref.mean() if ref.size else ref
    power = float(centred @ centred)
    if ref.size < GAIN_ELEMENTS or power <= (FLAT_ROW_SHARE**2) * float(ref @ ref):
        return ""
    gain = float(centred @ act) / power
    if GAIN_LIMITS[0] <= gain <= GAIN_LIMITS[1]:
        return ""
    return f"the output is {gain:.3g} x the reference: no rounding does that"


def _top_reason(top1: float | None, limit: Tolerance) -> str:
    if top1 is None or limit.top1 is None or top1 >= limit.top1:
        return ""
    return f"best element agrees in {top1:.2%} of rows, below {limit.top1:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowVerdict:
    """How many rows fail, and the row with the least SNR among those that have a signal."""

    failed: int
    worst: int | None
    worst_snr_db: float | None
    limit_db: float | None

    @staticmethod
    def of(reference: Array, actual: Array, metrics: Metrics, limit: Tolerance) -> _RowVerdict:
        rows = measure_rows(reference, actual)
        values = to_float(reference)
        values = values[np.isfinite(values)]
        flat = rows.centred_rms <= FLAT_ROW_SHARE * (float(values.std()) if values.size else 0.0)
        if bool(np.all(flat)):
            worst, worst_snr = None, None
        else:
            worst = int(np.argmin(np.where(flat, np.inf, rows.snr_db)))
            worst_snr = float(rows.snr_db[worst])
        if limit.snr_db is None:
            return _RowVerdict(failed=0, worst=worst, worst_snr_db=worst_snr, limit_db=None)
        row_limit = limit.snr_db - ROW_MARGIN_DB
        good = np.where(
            flat, rows.max_abs <= FLAT_ROW_ERROR * metrics.range, rows.snr_db >= row_limit
        )
        failed = int(np.count_nonzero(~good))
        return _RowVerdict(failed=failed, worst=worst, worst_snr_db=worst_snr, limit_db=row_limit)

    def reason(self) -> str:
        if not self.failed:
            return ""
        worst = (
            "" if self.worst is None else f"; worst row {self.worst}: {self.worst_snr_db:.1f} dB"
        )
        return f"{self.failed} rows below {self.limit_db:g} dB or off by over 1e-2 of range{worst}"
