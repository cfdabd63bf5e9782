"""The hand-written int8 product: legal, equal to numpy to the bit, near the fp32 product."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from athena.chip import load_chip
from athena.functional import Machine
from athena.isa.check import check_program
from tests.athena.functional import oracle

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "row_int8_matmul.py"))
CHIP = load_chip("athena-edge-ci")


@pytest.fixture(scope="module")
def case():
    """Rows from 1 down to 1/1000."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(24, 48)) * np.logspace(0, -3, 24)[:, None]).astype(np.float32)
    w = rng.normal(size=(48, 20)).astype(np.float32)
    weights, scales = EXAMPLE["quantise_columns"](w)
    return x, w, weights, scales, EXAMPLE["build"](len(x), weights, scales, CHIP)


def test_the_program_is_legal(case):
    result = check_program(case[-1], CHIP, races=True)
    assert result.limits == ()


def test_every_bit_is_numpy_s(case):
    x, _, weights, scales, program = case
    q, row_scales = oracle.row_int8(x)
    sums = q.astype(np.int32) @ weights.astype(np.int32)
    want = sums.astype(np.float32) * row_scales[:, None] * scales
    for seed in (None, 1, 2):
        y = Machine(program, CHIP).run({"x": x}, order_seed=seed)["y"]
        np.testing.assert_array_equal(y.view(np.uint32), want.view(np.uint32))


def test_every_row_is_near_the_fp32_product(case):
    x, w, weights, scales, program = case
    reference = x.astype(np.float64) @ w.astype(np.float64)
    y = Machine(program, CHIP).run({"x": x})["y"]
    rows = EXAMPLE["snr_db"](y, reference)
    assert rows.min() > 34
    one_scale = EXAMPLE["snr_db"](EXAMPLE["per_tensor"](x, weights, scales), reference)
    assert one_scale.min() < 1  # rows of a thousandth are lost in it
