"""The trained quickstart model: int8 keeps its task accuracy, and the check can fail."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
import pytest

from compiler.frontend import load_model
from compiler.passes import Precision, calibrate
from tests.compiler.passes.onnx_text import run_ort
from tests.end_to_end.lab import Built, build, chip_named

FOLDER = resources.files("athena.data") / "quickstart"
BATCH = 512
EXAMPLES = 2560
POINT = 0.01


@cache
def _heldout() -> tuple[np.ndarray, np.ndarray]:
    with np.load(str(FOLDER / "heldout.npz")) as data:
        return data["input_ids"], data["answers"]


def _right(logits: np.ndarray, answers: np.ndarray) -> float:
    predicted = logits[:, 7:11].argmax(axis=-1)
    return float((predicted == answers).all(axis=1).mean())


@cache
def _built(scale_factor: float) -> Built:
    path = str(FOLDER / "model.onnx")
    with np.load(str(FOLDER / "calibration.npz")) as data:
        rows = data["input_ids"]
    calibration = calibrate(load_model(path, dims={"batch": len(rows)}), [{"input_ids": rows}])
    source = load_model(path, dims={"batch": BATCH})
    return build(
        source,
        chip_named("athena"),
        Precision.INT8,
        calibration=calibration,
        scale_factor=scale_factor,
    )


def _accuracy(scale_factor: float) -> float:
    ids, answers = _heldout()
    machine = _built(scale_factor)
    logits = [
        machine.run({"input_ids": ids[at : at + BATCH]})["logits"]
        for at in range(0, EXAMPLES, BATCH)
    ]
    return _right(np.concatenate(logits), answers[:EXAMPLES])


@cache
def _reference() -> float:
    ids, answers = _heldout()
    logits = run_ort(str(FOLDER / "model.onnx"), {"input_ids": ids[:EXAMPLES]})[0]
    return _right(logits, answers[:EXAMPLES])


def test_reference_is_the_documented_accuracy():
    assert _reference() == pytest.approx(0.8254, abs=5e-4)


def test_int8_keeps_accuracy_within_a_point():
    assert abs(_accuracy(1.0) - _reference()) <= POINT


def test_four_times_the_scale_is_noticed():
    assert abs(_accuracy(4.0) - _reference()) > POINT
