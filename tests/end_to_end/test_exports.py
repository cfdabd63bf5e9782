"""Every export of tests/data on the functional machine: against onnxruntime, the program verifier,
other orders of the queues.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from athena.isa.check import check_program
from athena.verify import Comparison, verify
from compiler.frontend import load_model
from compiler.graph.graph import Graph
from compiler.passes import Precision, calibrate
from tests.compiler.passes.onnx_text import run_ort
from tests.end_to_end.lab import (
    DATA,
    EXPORTS,
    LAYERS,
    MANIFEST,
    Built,
    build,
    chip_named,
    past_of,
    random_inputs,
)

CHIPS = ("athena-edge", "athena", "seven")
KV_EXPORTS = [name for name in EXPORTS if "_kv_" in name]
INT8_SNR_DB = 20.0


@cache
def _graph(name: str) -> Graph:
    return load_model(DATA / name, dims=MANIFEST[name]["dims"])


@cache
def _reference(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    graph = _graph(name)
    inputs = random_inputs(graph, past=past_of(name))
    outputs = run_ort(str(DATA / name), inputs)
    return inputs, dict(zip(graph.outputs, outputs, strict=True))


@cache
def _built(name: str, chip_name: str, precision: Precision) -> Built:
    calibration = None
    if precision is Precision.INT8:
        samples = [random_inputs(_graph(name), s, past=past_of(name)) for s in range(5, 13)]
        calibration = calibrate(_graph(name), samples)
    return build(_graph(name), chip_named(chip_name), precision, calibration=calibration)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize("chip_name", CHIPS)
@pytest.mark.parametrize("name", EXPORTS)
def test_export_is_within_tolerance(name, chip_name, precision):
    inputs, wanted = _reference(name)
    got = _built(name, chip_name, precision).run(inputs)
    report = verify(wanted, got, Comparison(precision=precision.value, layers=LAYERS))
    assert report.passed, [row.reason for row in report.rows if row.reason]
    assert report.limited


@pytest.mark.parametrize("name", EXPORTS)
def test_int8_runs_and_stays_near(name):
    inputs, wanted = _reference(name)
    got = _built(name, "athena-edge-ci", Precision.INT8).run(inputs)
    report = verify(
        wanted, got, Comparison(precision="int8", layers=LAYERS, snr_limit_db=INT8_SNR_DB)
    )
    assert report.passed, [row.reason for row in report.rows if row.reason]


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("name", ["bert_ts.onnx", "llama_kv_ts.onnx", "gpt2_kv_dynamo.onnx"])
def test_program_passes_the_verifier(name, precision):
    built = _built(name, "seven", precision)
    result = check_program(built.program, built.chip, races=True)
    assert result.accesses > 0


@pytest.mark.parametrize("name", ["bert_dynamo.onnx", "llama_kv_ts.onnx"])
@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
def test_any_legal_order_gives_the_same_bits(name, precision):
    inputs, _ = _reference(name)
    built = _built(name, "seven", precision)
    wanted = built.run(inputs)
    for seed in range(4):
        got = built.run(inputs, order_seed=seed)
        for output, array in wanted.items():
            np.testing.assert_array_equal(got[output], array)


@pytest.mark.parametrize("name", KV_EXPORTS)
def test_cache_grows_in_place(name):
    """The past's rows are not copied: input and output of a cache share their bytes."""
    built = _built(name, "athena-edge", Precision.BF16)
    places = {t.name: (t.segment, t.offset, t.strides) for t in built.program.tensors}
    pairs = [(n, n.replace("past_key_values", "present")) for n in places if n.startswith("past")]
    assert pairs
    for past, present in pairs:
        assert places[past] == places[present]
