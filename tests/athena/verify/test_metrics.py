"""Metrics against formulas written out a second time, and the handling of NaN and infinity."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.verify import measure, measure_rows, top_agreement

NAN, INF = math.nan, math.inf


def test_written_out():
    ref = np.array([1.0, 2.0, -3.0, 1e-9])
    act = np.array([1.1, 2.0, -3.3, 0.0])
    got = measure(ref, act)
    mean = (1 + 2 - 3 + 1e-9) / 4
    signal = sum((x - mean) ** 2 for x in ref)
    noise = 0.1**2 + 0.3**2 + 1e-18
    assert got.max_abs == pytest.approx(0.3)
    assert got.max_rel == pytest.approx(0.1)  # the tiny element takes no part
    assert got.snr_db == pytest.approx(10 * math.log10(signal / noise))
    dot = 1.1 + 4 + 9.9
    assert got.cosine == pytest.approx(dot / math.sqrt((1 + 4 + 9) * (1.21 + 4 + 10.89)), rel=1e-9)
    assert got.range == pytest.approx(5.0)
    assert (got.elements, got.special, got.special_differ) == (4, 0, 0)


@pytest.mark.parametrize(
    ("ref", "act", "special", "differ"),
    [
        ([NAN, 1], [NAN, 1], 1, 0),
        ([NAN, 1], [1, 1], 1, 1),
        ([INF, 1], [INF, 1], 1, 0),
        ([INF, 1], [-INF, 1], 1, 1),
        ([INF, 1], [NAN, 1], 1, 1),
        ([3e38, 1], [INF, 1], 1, 1),
        ([-3.4028235e38, NAN, 1], [-INF, NAN, 1], 2, 0),  # a mask's lowest float32, in bfloat16
        ([-3.4028235e38, 1], [INF, 1], 1, 1),
        ([-INF, NAN], [-INF, NAN], 2, 0),
    ],
)
def test_special_values(ref, act, special, differ):
    got = measure(np.array(ref, "f"), np.array(act, "f"))
    assert (got.special, got.special_differ) == (special, differ)
    assert got.max_abs == 0.0
    assert math.isfinite(got.cosine)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ml_dtypes.bfloat16, "i8", "?"])
def test_no_error(dtype):
    array = np.array([[1, 0, 2], [0, 1, 1]]).astype(dtype)
    got = measure(array, array)
    assert (got.max_abs, got.max_rel, got.snr_db) == (0, 0, INF)
    assert got.cosine == pytest.approx(1)


@pytest.mark.parametrize(
    ("ref", "spread"), [([2.0, 2.0], 2.0), ([0.0, 0.0], 1.0), ([], 1.0), ([-1.0, 3.0], 4.0)]
)
def test_range(ref, spread):
    assert measure(np.array(ref), np.array(ref)).range == spread


@given(st.integers(0, 1000), st.floats(1e-6, 0.3), st.floats(-50, 50))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_snr_knows_no_offset_and_no_scale(seed, noise, offset):
    rng = np.random.default_rng(seed)
    ref, error = rng.normal(size=200), noise * rng.normal(size=200)
    base = measure(ref, ref + error).snr_db
    assert measure(ref + offset, ref + offset + error).snr_db == pytest.approx(base, abs=1e-4)
    assert measure(7 * ref, 7 * (ref + error)).snr_db == pytest.approx(base, abs=1e-6)
    assert base == pytest.approx(-20 * math.log10(noise), abs=2)


def test_rows_are_measured_alone():
    rng = np.random.default_rng(1)
    ref = rng.normal(size=(2, 3, 64))
    act = ref.copy()
    act[1, 2] += 0.1 * rng.normal(size=64)
    act[0, 0, 5] = NAN
    got = measure_rows(ref, act)
    assert got.snr_db.shape == (6,)
    assert np.isinf(got.snr_db[:5]).all()
    assert 15 < got.snr_db[5] < 25
    for row in range(1, 6):
        assert got.centred_rms[row] == pytest.approx(ref.reshape(6, 64)[row].std())


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (4, 1)])
def test_odd_shapes(shape):
    array = np.ones(shape)
    assert measure(array, array).snr_db == INF
    rows = measure_rows(array, array + 1)
    assert (rows.max_abs == 1).all()


@pytest.mark.parametrize(
    ("ref", "act", "top1", "top5"),
    [
        ([[1, 2, 3]], [[1, 2, 3]], 1, 1),
        ([[1, 2, 3]], [[1, 3, 2]], 0, 1),
        ([[1, 3, 3]], [[1, 3, 2]], 1, 1),  # either of two equal best
        (
            [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]],
            [[9, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]],
            0.5,
            0.9,
        ),
        ([[NAN, 1]], [[NAN, 1]], 1, 1),
    ],
)
def test_best_elements(ref, act, top1, top5):
    assert top_agreement(np.array(ref, float), np.array(act, float)) == (top1, top5)
