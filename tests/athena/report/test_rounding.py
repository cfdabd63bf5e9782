"""Rounding: the form's examples, half to even, and powers of ten taken after rounding."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.report.rounding import plain, scientific


@pytest.mark.parametrize(
    ("value", "figures", "text"),
    [
        (510_000_000_000_000_000, 2, "5.1x10^17"),
        (514_900_000_000_000_000, 3, "5.15x10^17"),
        (99_960_000_000_000_000_000_000, 3, "1.00x10^23"),
        (125, 2, "1.2x10^2"),  # half to even
        (135, 2, "1.4x10^2"),
        (1, 3, "1.00x10^0"),
        (0, 3, "0"),
        (2**200, 3, "1.61x10^60"),
        (12.5e18, 2, "1.2x10^19"),
    ],
)
def test_scientific(value, figures, text):
    assert scientific(value, figures) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (999.6, "1000"),
        (123456, "123000"),
        (1_234_567, "1.23e6"),
        (0.00123, "0.00123"),
        (0.000123, "1.23e-4"),
        (-0.05, "-0.0500"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "undefined"),
    ],
)
def test_plain(value, text):
    assert plain(value) == text


@given(st.integers(1, 10**40), st.integers(1, 12))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_within_half_a_unit_of_the_last_figure(value, figures):
    mantissa, exponent = scientific(value, figures).split("x10^")
    assert 1 <= Decimal(mantissa) < 10
    error = abs(Decimal(mantissa) * Decimal(10) ** int(exponent) - value)
    assert error <= Decimal(10) ** (int(exponent) - figures + 1) / 2


@pytest.mark.parametrize(("value", "figures"), [(1, 0), (float("nan"), 3), (float("inf"), 3)])
def test_impossible(value, figures):
    with pytest.raises(ValueError):
        scientific(value, figures)
