"""Operand streams of the cells; with Yosys (slow) toggles of the gates beside the energy table."""

import numpy as np
import pytest

from athena.energy.table import load_table
from rtl_sim import activity, yosys
from rtl_sim.activity import ALONE, SHARED, ratio, report, stream


@pytest.fixture(scope="module")
def found(ci_chip):
    if yosys.missing():
        pytest.skip(f"Yosys is missing: {yosys.missing()}")
    return report(ci_chip)


def columns(ci_chip, given):
    """Values as [column, row, tile, m]."""
    rows = ci_chip.core.matrix.rows
    shape = (activity.COLUMNS, rows, activity.TILES, 2 * rows)
    return {name: value.reshape(shape) for name, value in given.values.items()}


def test_int8_sums_are_the_product(ci_chip):
    got = columns(ci_chip, stream(ci_chip, floats=False))
    a, w = (got[name].astype(np.int16).astype(np.int64) for name in ("a_i", "used"))
    sums = got["sum_i"].astype(np.int32)
    assert np.abs(a).max() == np.abs(w).max() == 127
    expected = np.einsum("crtm,crt->ctm", a[:, :-1], w[:, :-1, :, 1])  # the last row's inputs
    assert np.array_equal(sums[:, -1], expected)


def test_bf16_sums_are_the_product_nearly(ci_chip):
    got = columns(ci_chip, stream(ci_chip, floats=True))
    a, w = ((got[name] << 16).astype(np.uint32).view(np.float32) for name in ("a_i", "used"))
    sums = got["sum_i"].astype(np.uint32).view(np.float32)
    expected = np.einsum("crtm,crt->ctm", a[:, :-1], w[:, :-1, :, 1])
    assert np.allclose(sums[:, -1], expected, atol=1e-5)


@pytest.mark.slow
def test_the_ratio_of_types_lies_in_the_range_of_the_energy_table(found):
    """Nearer to its low end: no glitches, and both types' operand registers are the same."""
    table = load_table("n5-2026")
    stated = table.entry("mac.bf16").range / table.entry("mac.int8").range
    for cells in (SHARED, ALONE):
        assert stated.low < ratio(found, cells) < stated.central


@pytest.mark.slow
def test_the_other_half_of_a_cell_stays_quiet(found):
    """Operand isolation: a cell with both types switches little more than one with one."""
    for dtype, alone in (("int8", activity.Cell.INT8), ("bf16", activity.Cell.BF16)):
        assert found[activity.Cell.BOTH, dtype].weighted < 1.3 * found[alone, dtype].weighted
