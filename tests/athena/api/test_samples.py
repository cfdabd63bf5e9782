"""Inputs for verification and calibration: bounds from the graph, samples along the first axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import athena
from athena.api.samples import calibration_samples, input_specs, random_inputs
from athena.errors import InputError

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def compiled():
    return athena.compile(athena.load_model(DATA / "gpt2_dynamo.onnx", {"batch": 2, "seq": 5}))


def test_token_ids_stay_below_the_vocabulary(compiled):
    (spec,) = input_specs(compiled.model, compiled.graph)
    assert (spec.name, spec.shape, spec.upper) == ("input_ids", (2, 5), 500)
    ids = random_inputs(compiled.model, compiled.graph, 0)["input_ids"]
    assert ids.shape == (2, 5) and ids.min() >= 0 and ids.max() < 500
    assert not np.array_equal(ids, random_inputs(compiled.model, compiled.graph, 1)["input_ids"])


@pytest.mark.parametrize(
    ("shape", "count"), [((3, 2, 5), 3), ((4, 5), 2), ((5, 5), 3), ((1, 5), 1)]
)
def test_samples_are_whole_inputs_or_rows(compiled, shape, count):
    ids = np.arange(np.prod(shape)).reshape(shape)
    samples = calibration_samples(compiled.model, {"input_ids": ids})
    assert len(samples) == count
    assert all(sample["input_ids"].shape == (2, 5) for sample in samples)
    seen = np.concatenate([sample["input_ids"].ravel() for sample in samples])
    assert set(ids.ravel()) == set(seen)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"ids": np.zeros((2, 5))},
        {"input_ids": np.zeros((2, 6))},
        {"input_ids": np.zeros((0, 5))},
        {"input_ids": np.zeros(5)},
    ],
)
def test_arrays_that_are_no_samples(compiled, arrays):
    with pytest.raises(InputError, match="input_ids"):
        calibration_samples(compiled.model, arrays)
