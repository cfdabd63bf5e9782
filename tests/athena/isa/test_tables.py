"""Look-up tables.

Documented errors, special values, and the compiled form equal to the definition to the bit.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from athena.isa import tables
from athena.isa.fields import Lut
from athena.isa.tables import coefficients, errors, evaluate

_erf, _erfc = np.vectorize(math.erf), np.vectorize(math.erfc)
INF = float("inf")
EXACT = {
    Lut.EXP: np.exp,
    Lut.LOG: np.log,
    Lut.RECIP: lambda x: 1 / x,
    Lut.RSQRT: lambda x: 1 / np.sqrt(x),
    Lut.SQRT: np.sqrt,
    Lut.TANH: np.tanh,
    Lut.ERF: _erf,
    Lut.GELU: lambda x: 0.5 * x * _erfc(-x / math.sqrt(2)),
    Lut.GELU_TANH: lambda x: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    Lut.SIGMOID: lambda x: 1 / (1 + np.exp(-x)),
    Lut.SILU: lambda x: x / (1 + np.exp(-x)),
    Lut.SIN: np.sin,
    Lut.COS: np.cos,
}


def samples(low: float, high: float) -> np.ndarray:
    """Arguments over the whole range, dense near 0 and 1, and every node of the grids."""
    rng = np.random.default_rng(0)
    if low > 0:
        x = np.exp(rng.uniform(math.log(low), math.log(high), 60_000))
        x = np.concatenate([x, rng.uniform(0.4, 4, 60_000), 1 + np.linspace(-1e-4, 1e-4, 2000)])
    else:
        parts = [
            rng.uniform(low, high, 60_000),
            rng.uniform(-6, 6, 60_000),
            rng.normal(size=2000) * 1e-3,
        ]
        x = np.concatenate([*parts, rng.normal(size=500) * 1e-20, np.arange(-400, 400) / 64])
    return np.unique(np.clip(x, low, high).astype(np.float32))


@pytest.mark.parametrize("row", errors(), ids=lambda r: r.lut.name)
def test_documented_error_holds(row):
    x = samples(row.low, row.high)
    exact = EXACT[row.lut](x.astype(np.float64))
    error = np.abs(evaluate(row.lut, x) - exact)
    scale = np.where(exact == 0, 1.0, np.abs(exact)) if row.relative else 1.0
    worst = float(np.max(error / scale))
    assert worst <= row.bound
    assert worst > row.bound / 20, "the documented bound is far too loose"


def test_every_table_function_has_a_documented_error():
    assert [row.lut for row in errors()] == [lut for lut in Lut if Lut.EXP <= lut <= Lut.COS]


@pytest.mark.parametrize(
    "lut,pairs",
    [
        (Lut.EXP, ((0.0, 1.0), (-INF, 0.0), (INF, INF), (100.0, INF), (-200.0, 0.0))),
        (Lut.LOG, ((1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, math.nan))),
        (
            Lut.RECIP,
            (
                (4.0, 0.25),
                (-0.5, -2.0),
                (0.0, INF),
                (-0.0, -INF),
                (INF, 0.0),
                (-INF, -0.0),
                (1e-40, INF),
            ),
        ),
        (Lut.RSQRT, ((4.0, 0.5), (0.0, INF), (-0.0, -INF), (INF, 0.0), (-1.0, math.nan))),
        (
            Lut.SQRT,
            ((4.0, 2.0), (0.25, 0.5), (0.0, 0.0), (-0.0, -0.0), (INF, INF), (-1.0, math.nan)),
        ),
        (Lut.TANH, ((0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (20.0, 1.0))),
        (Lut.ERF, ((0.0, 0.0), (INF, 1.0), (-INF, -1.0), (5.0, 1.0))),
        (Lut.GELU, ((0.0, 0.0), (INF, INF), (-INF, -0.0), (-7.0, -0.0), (7.0, 7.0))),
        (Lut.GELU_TANH, ((0.0, 0.0), (INF, INF), (-INF, -0.0), (-7.0, -0.0), (7.0, 7.0))),
        (Lut.SIGMOID, ((0.0, 0.5), (INF, 1.0), (-INF, 0.0))),
        (Lut.SILU, ((0.0, 0.0), (INF, INF), (-INF, -0.0), (30.0, 30.0))),
        (Lut.SIN, ((0.0, 0.0), (INF, math.nan), (300000.0, math.nan))),
        (Lut.COS, ((0.0, 1.0), (INF, math.nan), (-300000.0, math.nan))),
    ],
)
def test_special_values(lut, pairs):
    x, want = np.array([*pairs, (math.nan, math.nan)], np.float32).T.copy()
    want = np.where(np.isnan(want), np.uint32(0x7FC00000), want.view(np.uint32))
    np.testing.assert_array_equal(evaluate(lut, x).view(np.uint32), want)


def test_subnormal_arguments_and_results():
    x = np.array([1e-40, 3e-44], np.float32)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(evaluate(Lut.LOG, x), np.log(exact), rtol=4e-7)
    np.testing.assert_allclose(evaluate(Lut.SQRT, x), np.sqrt(exact), rtol=2e-7)
    np.testing.assert_allclose(evaluate(Lut.RSQRT, x), 1 / np.sqrt(exact), rtol=2e-7)
    cold = np.array([-90.0, -100.0, -103.9], np.float32)
    assert np.all(np.abs(evaluate(Lut.EXP, cold) - np.exp(cold.astype(np.float64))) < 2.0**-149)
    huge = np.array([2.0**127], np.float32)
    assert float(evaluate(Lut.RECIP, huge)[0]) == 2.0**-127


def test_results_never_pass_their_limits():
    x = np.linspace(-12, 12, 300_001).astype(np.float32)
    for lut in (Lut.TANH, Lut.ERF):
        assert np.max(np.abs(evaluate(lut, x))) == 1.0
    assert np.min(evaluate(Lut.SIGMOID, x)) >= 0 and np.max(evaluate(Lut.SIGMOID, x)) <= 1
    assert np.min(evaluate(Lut.EXP, x)) > 0


def test_tables_are_one_read_only_array_filled_to_the_end():
    table = coefficients()
    assert table is coefficients()
    assert table.shape == (3, tables.TABLE_SIZE) and np.isfinite(table).all()
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 1
    starts = [
        tables.EXP_AT,
        tables.LOG_AT,
        tables.RECIP_AT,
        tables.RSQRT_AT,
        tables.SQRT_AT,
        tables.TANH_AT,
    ]
    starts += [
        tables.ERF_AT,
        tables.GELU_AT,
        tables.GELU_TANH_AT,
        tables.SIGMOID_AT,
        tables.SIN_AT,
        tables.TABLE_SIZE,
    ]
    sizes = [
        tables.EXP_SIZE,
        tables.LOG_SIZE,
        tables.RECIP_SIZE,
        tables.RSQRT_SIZE,
        tables.SQRT_SIZE,
    ]
    sizes += [
        tables.TANH_SIZE,
        tables.ERF_SIZE,
        tables.GELU_SIZE,
        tables.GELU_TANH_SIZE,
        tables.SIGMOID_SIZE,
    ]
    assert np.diff(starts).tolist() == [*sizes, tables.SIN_SIZE]


def test_a_step_without_a_table_is_refused():
    with pytest.raises(ValueError, match="FLOOR"):
        evaluate(Lut.FLOOR, np.zeros(1, np.float32))
