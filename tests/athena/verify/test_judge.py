"""The verdict: each precision's limit from both sides, rows, special values, integers."""

import math

import numpy as np
import pytest

from athena.errors import InputError, UsageError
from athena.verify import Comparison, VerifyReport, tolerance, verify

RNG = np.random.default_rng(3)
REF = RNG.normal(size=(8, 128))
NOISE = RNG.normal(size=(8, 128))


def noisy(snr_db: float, ref=REF):
    """Noise scaled so that the centred SNR of the whole is exactly `snr_db`."""
    signal = ((ref - ref.mean()) ** 2).sum()
    return ref + NOISE * math.sqrt(signal / (NOISE**2).sum() / 10 ** (snr_db / 10))


def judge(ref, act, precision="bf16", name="h", **more) -> VerifyReport:
    return verify({name: ref}, {name: act}, Comparison(precision=precision, **more))


@pytest.mark.parametrize(
    ("precision", "layers", "snr", "passed"),
    [
        ("bf16", 4, 35.1, True),
        ("bf16", 4, 34.9, False),
        ("fp16", 5, 30.1, True),
        ("fp16", 5, 29.9, False),
        ("bf16", 5, 34.9, True),
        ("int8", 1, 3.0, True),
        ("mx6", 1, 3.0, True),
    ],
)
def test_snr_limit(precision, layers, snr, passed):
    report = judge(REF, noisy(snr), precision, layers=layers)
    assert report.passed is passed
    assert report.rows[0].metrics.snr_db == pytest.approx(snr, abs=1e-6)
    assert report.limited is (precision not in ("int8", "mx6"))
    assert bool(report.rows[0].reason) is not passed


def test_own_limit_for_int8():
    assert judge(REF, noisy(21), "int8", snr_limit_db=20).passed
    assert not judge(REF, noisy(19), "int8", snr_limit_db=20).passed
    assert judge(REF, noisy(19), "int8").rows[0].limit == "no limit"


@pytest.mark.parametrize(("share", "passed"), [(0.99e-4, True), (1.01e-4, False)])
def test_fp32_limit(share, passed):
    act = REF.copy()
    act[0, 0] += share * (REF.max() - REF.min())
    assert judge(REF, act, "fp32").passed is passed


def test_fp32_needs_every_best_element():
    ref = np.array([[1.0, 1.0 + 1e-7, 0.0]])
    act = np.array([[1.0 + 2e-7, 1.0, 0.0]])
    assert not judge(ref, act, "fp32", "logits").passed
    assert judge(ref, act, "fp32", "hidden").passed
    assert not judge(ref, act, "fp32", "hidden", scores=("hidden",)).passed


def test_one_bad_row_fails_though_the_output_passes():
    ref = REF.copy()
    ref[0] *= 1000  # an outlier that hides the rest
    act = ref.copy()
    act[3] += 0.1 * NOISE[3]
    report = judge(ref, act)
    row = report.rows[0]
    assert row.metrics.snr_db > 60
    assert not report.passed
    assert (row.rows_failed, row.worst_row) == (1, 3)
    assert "row 3" in row.reason


@pytest.mark.parametrize(("share", "passed"), [(0.9e-2, True), (1.1e-2, False)])
def test_flat_rows_are_judged_by_absolute_error(share, passed):
    ref = REF.copy()
    ref[2] = 0.5
    act = ref.copy()
    act[2, 7] += share * (ref.max() - ref.min())
    assert judge(ref, act, "bf16").passed is passed


def test_rows_of_one_element():
    ref = REF[:, :1]
    assert judge(ref, ref * (1 + 1e-3)).passed
    assert not judge(ref, ref + 0.2 * NOISE[:, :1]).passed


def test_constant_output():
    ref = np.full((2, 4), 3.0)
    assert judge(ref, ref + 0.01).passed
    assert not judge(ref, ref + 0.1).passed


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_special_values_must_agree_in_every_precision(precision, value):
    act = REF.copy()
    act[1, 1] = value
    report = judge(REF, act, precision)
    assert not report.passed
    assert "NaN or infinite" in report.rows[0].reason
    assert judge(act, act, precision).passed


@pytest.mark.parametrize("dtype", ["i8", "i4", "u1", "?"])
def test_integers_are_exact(dtype):
    ref = np.array([0, 1, 1, 0]).astype(dtype)
    assert judge(ref, ref, "bf16").rows[0].limit == "exact"
    act = ref.copy()
    act[2] = 0
    report = judge(ref, act, "int8")
    assert "1 of 4 elements differ" in report.rows[0].reason
    assert not judge(ref, ref.astype("f"), "bf16").passed


def test_shape_missing_and_unknown():
    report = judge(REF, REF[:, :5])
    assert not report.passed
    assert "shape (8, 5) instead of (8, 128)" in report.rows[0].reason
    with pytest.raises(InputError, match="'y' was not computed; there are x"):
        verify({"y": REF}, {"x": REF}, Comparison(precision="bf16"))
    with pytest.raises(UsageError, match="fp64"):
        tolerance("fp64", 1)
    assert not verify({}, {}, Comparison(precision="bf16")).passed


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf])
def test_a_limit_is_a_finite_number(limit):
    with pytest.raises(UsageError, match="a limit of"):
        tolerance("bf16", 2, limit)


@pytest.mark.parametrize(
    ("act", "passed"),
    [
        (noisy(3), True),
        (REF * 1.9, True),
        (REF * 4, False),
        (REF / 4, False),
        (-REF, False),
        (REF * 0, False),
        (NOISE, False),
    ],
)
def test_without_a_limit_on_noise_a_wrong_scale_still_fails(act, passed):
    row = judge(REF, act, "int8").rows[0]
    assert row.passed is passed
    assert ("x the reference" in row.reason) is not passed


def test_a_constant_reference_has_no_scale():
    ref = np.full((4, 8), 3.0)
    assert judge(ref, ref + 1e-3, "int8").passed
