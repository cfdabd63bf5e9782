"""How far an array is from its reference.

In:  two arrays of the same shape. Out: `Metrics` (frozen) and per-row SNR.   Raises: nothing.

SNR = 10 log10(Σ (r - mean r)² / Σ (a - r)²) in dB: the signal is centred, so that a constant
offset of the reference does not pass for signal. Sums run over elements that are finite in both.
What bfloat16 cannot hold (above 3.39e38, e.g. the lowest float32, which exporters write into masks)
counts as infinite, in the reference as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float = NDArray[np.float64]
REL_FLOOR = 1e-6  # elements below this share of the largest take no part in the relative error
TOP_K = 5
BF16_OVERFLOW = float.fromhex("0x1.ffp127")  # from here bfloat16 rounds to infinity


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Error of one array against its reference.

    `max_rel` is over elements above 1e-6 of the reference's largest magnitude. `range` is
    max - min of the reference, or its magnitude where it is constant (1 where it is all zero).
    `special_differ` counts elements where NaN, +inf or -inf stand in one array only.
    """

    elements: int
    max_abs: float
    max_rel: float
    snr_db: float
    cosine: float
    range: float
    special: int
    special_differ: int


def to_float(array: Array) -> Float:
    """Any numeric array, bfloat16 and float16 included, as float64; huge values as infinity."""
    values = np.asarray(array).astype(np.float64)
    if np.max(np.abs(values), initial=0.0, where=np.isfinite(values)) < BF16_OVERFLOW:
        return values
    huge = np.abs(values) >= BF16_OVERFLOW
    return np.where(huge, np.copysign(np.inf, values), values)


def measure(reference: Array, actual: Array) -> Metrics:
    """Metrics of `actual` against `reference`, arrays of one shape."""
    ref, act = to_float(reference), to_float(actual)
    finite = np.isfinite(ref) & np.isfinite(act)
    differ = int(np.count_nonzero(~finite & ~_same_special(ref, act)))
    r, a = ref[finite], act[finite]
    error = np.abs(a - r)
    large = np.abs(r) > REL_FLOOR * np.max(np.abs(r), initial=0.0)
    return Metrics(
        elements=ref.size,
        max_abs=float(np.max(error, initial=0.0)),
        max_rel=float(np.max(error[large] / np.abs(r[large]), initial=0.0)),
        snr_db=snr_db(r, a),
        cosine=_cosine(r, a),
        range=value_range(r),
        special=int(np.count_nonzero(~finite)),
        special_differ=differ,
    )


def value_range(values: Float) -> float:
    """Spread (max - min); the magnitude of a constant; 1 for zeros only or nothing at all."""
    if values.size == 0:
        return 1.0
    spread = float(values.max() - values.min())
    return spread or float(np.abs(values).max()) or 1.0


def snr_db(reference: Float, actual: Float) -> float:
    """Centred SNR of finite values; +inf without error, -inf for an error on a constant."""
    noise = float(np.sum((actual - reference) ** 2))
    if noise == 0.0:
        return math.inf
    signal = float(np.sum((reference - reference.mean()) ** 2))
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowMetrics:
    """Per row (last axis): centred SNR in dB, centred RMS, largest error; float64 [rows] each."""

    snr_db: Float
    centred_rms: Float
    max_abs: Float


def measure_rows(reference: Array, actual: Array) -> RowMetrics:
    """Rows are vectors along the last axis; elements not finite in both take no part."""
    ref, act = _rows(to_float(reference)), _rows(to_float(actual))
    finite = np.isfinite(ref) & np.isfinite(act)
    count = np.maximum(finite.sum(axis=1), 1)
    r = np.where(finite, ref, 0.0)
    error = np.where(finite, act, 0.0) - r
    mean = r.sum(axis=1) / count
    signal = (np.where(finite, r - mean[:, None], 0.0) ** 2).sum(axis=1)
    noise = (error**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = 10.0 * np.log10(signal / noise)
    snr = np.where(noise == 0.0, np.inf, snr)
    return RowMetrics(
        snr_db=snr,
        centred_rms=np.sqrt(signal / count),
        max_abs=np.abs(error).max(axis=1, initial=0.0),
    )


def top_agreement(reference: Array, actual: Array) -> tuple[float, float]:
    """Share of rows (last axis) whose best element agrees, and mean overlap of the best five.

    Where the reference has equal best elements, any of them agrees.
    """
    ref, act = _rows(to_float(reference)), _rows(to_float(actual))
    if ref.size == 0:
        return 1.0, 1.0
    ref = np.where(np.isnan(ref), -np.inf, ref)
    act = np.where(np.isnan(act), -np.inf, act)
    chosen = np.take_along_axis(ref, act.argmax(axis=1)[:, None], axis=1)[:, 0]
    top1 = float(np.mean(chosen == ref.max(axis=1)))
    k = min(TOP_K, ref.shape[1])
    best = np.argpartition(-act, k - 1, axis=1)[:, :k]
    kth = -np.partition(-ref, k - 1, axis=1)[:, k - 1 : k]
    inside = np.take_along_axis(ref, best, axis=1) >= kth
    return top1, float(inside.mean())


def _rows(array: Float) -> Float:
    if array.ndim == 0:
        return array.reshape(1, 1)
    last = array.shape[-1]
    return array.reshape(-1, last) if last else array.reshape(0, 1)


def _same_special(ref: Float, act: Float) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (np.isnan(ref) & np.isnan(act)) | ((ref == act) & np.isinf(ref))
    return same


def _cosine(r: Float, a: Float) -> float:
    scale_r, scale_a = np.max(np.abs(r), initial=0.0), np.max(np.abs(a), initial=0.0)
    if scale_r == 0.0 or scale_a == 0.0:
        return 1.0 if scale_r == scale_a else 0.0
    r, a = r / scale_r, a / scale_a
    return float(np.dot(r, a) / math.sqrt(float(np.dot(r, r)) * float(np.dot(a, a))))
