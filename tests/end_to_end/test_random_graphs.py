"""Random small models on odd core counts: fp32 on the functional machine equals onnxruntime, and
every program passes the verifier.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from athena.isa.check import check_program
from tests.compiler.passes.onnx_text import loaded, run_ort
from tests.end_to_end.lab import build, chip_named
from tests.strategies import models

CHIPS = ("athena-edge-ci", "seven", "sixty")
SHARE_OF_RANGE = 1e-4


def _check(drawn, chip_name: str) -> None:
    model, inputs = drawn
    built = build(loaded(model), chip_named(chip_name))
    check_program(built.program, built.chip, races=True)
    got = built.run(inputs)
    wanted = dict(zip([o.name for o in model.graph.output], run_ort(model, inputs), strict=True))
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        assert got[name].shape == array.shape
        scale = max(float(np.ptp(array)), 1.0)
        np.testing.assert_allclose(got[name], array, rtol=0, atol=SHARE_OF_RANGE * scale)


def _settings(examples: int, *, derandomize: bool = True) -> settings:
    return settings(
        deadline=None,
        derandomize=derandomize,
        max_examples=examples,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("chip_name", CHIPS)
@_settings(12)
@given(models())
def test_equal_to_onnxruntime(chip_name, drawn):
    _check(drawn, chip_name)


@pytest.mark.slow
@pytest.mark.parametrize("chip_name", CHIPS)
@_settings(250, derandomize=False)
@given(models(max_nodes=12))
def test_equal_to_onnxruntime_on_many(chip_name, drawn):
    _check(drawn, chip_name)
