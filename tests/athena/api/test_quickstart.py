"""The quickstart: everything it says is measured, and it can fail."""

from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import pytest

import athena
from athena.api import quickstart as q
from athena.ort import OrtSession


@pytest.mark.parametrize(
    ("wrong", "share"), [(0, 1.0), (1, 0.75), (4, 0.0)], ids=["all", "one wrong", "none"]
)
def test_score_counts_whole_answers(wrong, share):
    answers = np.array([[0, 1, 2, 3]] * 4, np.uint8)
    logits = np.zeros((4, 11, 13), np.float32)
    for row in range(4):
        for place, digit in enumerate(answers[row]):
            logits[row, 7 + place, (digit + 1) % 13 if row < wrong and place == 2 else digit] = 1
    assert q.score(logits, answers) == share


@pytest.mark.slow
def test_the_quickstart_writes_what_it_says(tmp_path):
    found = q.quickstart(tmp_path / "out", lambda text: nullcontext())
    assert found.verification.passed and found.run.summary.verify is not None
    assert all(path.is_file() for path in found.files)
    document = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert document["summary"]["verify"]["passed"]
    assert [layer.summary.weightless for layer in found.layers] == [True, True]
    decode, prefill = (layer.summary for layer in found.layers)
    assert decode.work.hbm_utilisation > decode.work.mfu
    assert prefill.work.mfu > 0.3


@pytest.mark.slow
def test_accuracy_on_all_held_out_sums():
    with OrtSession() as session:
        found = q.accuracy(q.scored_models(512), session, 2560)
    assert found.examples == found.held_out == 2560
    assert found.onnxruntime == pytest.approx(0.8254, abs=5e-4)
    assert found.bf16 == pytest.approx(found.onnxruntime, abs=0.02)
    assert found.int8 == pytest.approx(found.onnxruntime, abs=0.03)


def test_a_wide_batch_computes_what_onnxruntime_does():
    """704 rows: the products share their operands through L2."""
    model = athena.load_model(q.data_folder() / "model.onnx", {"batch": 64})
    compiled = athena.compile(model, precision="fp32")
    assert any("L2" in mapping for mapping in compiled.explain.column("mapping"))
    assert athena.verify(compiled).passed
