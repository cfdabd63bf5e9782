"""Real exports: fully fused, nothing on the host, equal to onnxruntime; each pass by meaning and
idempotent.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from compiler.frontend import load_model
from compiler.graph.chip_ops import Op
from compiler.graph.flops import graph_flops
from compiler.graph.graph import Graph
from compiler.graph.interpret import interpret
from compiler.graph.types import DType
from compiler.passes import Precision, calibrate, run
from compiler.passes.pipeline import chip_passes, run_passes
from tests.compiler.passes.onnx_text import assert_close, kinds, run_ort

DATA = Path(__file__).parents[2] / "data"
MANIFEST = yaml.safe_load((DATA / "manifest.yaml").read_text())["files"]
FILES = sorted(MANIFEST)
LAYERS = 2
GEMMS = {"gpt2": 4, "bert": 6, "llama": 7}


@cache
def _graph(name: str) -> Graph:
    return load_model(DATA / name, dims=MANIFEST[name]["dims"])


def _inputs(graph: Graph, seed: int = 0, *, padding: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    inputs = {}
    for name in graph.inputs:
        value = graph.value(name)
        shape, dtype = value.shape, value.dtype.numpy
        if name == "attention_mask":
            array = np.ones(shape, dtype)
            array[:, shape[1] - padding :] = 0
        elif name == "position_ids":
            array = np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype)
        elif value.dtype.is_float:
            array = random.standard_normal(shape).astype(dtype)
        else:
            array = random.integers(0, 2 if name == "token_type_ids" else 400, shape).astype(dtype)
        inputs[name] = array
    return inputs


@pytest.mark.parametrize("name", FILES)
def test_export_is_fully_fused_and_equals_onnxruntime(name):
    graph = _graph(name)
    final = run(graph, precision=Precision.FP32)
    count = kinds(final)
    assert count[Op.HOST] == 0
    assert count[Op.ATTENTION] == LAYERS
    assert count[Op.NORM] == 2 * LAYERS + 1
    assert count[Op.SOFTMAX] == count[Op.REDUCE] == 0
    assert count[Op.ROPE] == (2 * LAYERS if name.startswith("llama") else 0)
    per_layer = next(gemms for family, gemms in GEMMS.items() if name.startswith(family))
    assert count[Op.GEMM] == per_layer * LAYERS + (not name.startswith("bert"))
    inputs = _inputs(graph)
    assert_close(list(interpret(final, inputs).values()), run_ort(str(DATA / name), inputs))


@pytest.mark.parametrize("name", FILES)
def test_keys_are_read_as_stored(name):
    final = run(_graph(name), precision=Precision.FP32)
    for node in final.nodes:
        if node.op != Op.PERMUTE:
            continue
        assert node.attrs.perm == (0, 2, 1, 3), f"{node.name} is not a split or join of heads"


@pytest.mark.parametrize("name", [n for n in FILES if "attention_mask" in MANIFEST[n]["inputs"]])
def test_padding_on_the_right_is_masked(name):
    graph = _graph(name)
    inputs = _inputs(graph, 3, padding=2)
    final = run(graph, precision=Precision.FP32)
    assert_close(list(interpret(final, inputs).values()), run_ort(str(DATA / name), inputs))


@pytest.mark.parametrize("name", FILES)
def test_every_pass_keeps_the_meaning_and_run_twice_is_run_once(name):
    graph = _graph(name)
    inputs = _inputs(graph, 1)
    wanted = list(interpret(graph, inputs).values())
    for step in chip_passes():
        result = step(graph)
        if result is not graph:
            assert_close(list(interpret(result, inputs).values()), wanted)
            assert step(result) is result, step
        graph = result
    assert run_passes(graph, chip_passes()) is graph


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("bert")])
def test_causality_is_a_flag_where_no_row_changes(name, exact):
    graph = _graph(name)
    final = run(graph, precision=Precision.FP32, exact_masked_rows=exact)
    nodes = [node for node in final.nodes if node.op == Op.ATTENTION]
    dims = MANIFEST[name]["dims"]
    past = dims.get("past_sequence_length", dims.get("past", 0))
    infinite = name in ("llama_kv_ts.onnx", "gpt2_kv_ts.onnx", "gpt2_dynamo.onnx")
    for node in nodes:
        assert node.attrs.causal == (infinite or not exact)
        assert node.attrs.causal_offset == (past if node.attrs.causal else 0)
    inputs = _inputs(graph, 4)
    assert_close(list(interpret(final, inputs).values()), run_ort(str(DATA / name), inputs))


@pytest.mark.parametrize("name", FILES)
def test_precisions(name):
    graph = _graph(name)
    inputs = _inputs(graph, 2)
    wanted = run_ort(str(DATA / name), inputs)[0]
    calibration = calibrate(graph, [_inputs(graph, seed) for seed in range(5, 13)])
    snr = {}
    for factor, precision in ((1.0, Precision.BF16), (1.0, Precision.INT8), (4.0, Precision.INT8)):
        final = run(graph, precision=precision, calibration=calibration, int8_scale_factor=factor)
        assert run(final, precision=precision, calibration=calibration) is final
        got = interpret(final, inputs)[final.outputs[0]]
        snr[precision, factor] = _snr_db(got, wanted)
    assert snr[Precision.BF16, 1.0] > 38
    assert snr[Precision.INT8, 1.0] > 20
    assert snr[Precision.INT8, 4.0] < snr[Precision.BF16, 1.0] - 12


@pytest.mark.parametrize("name", FILES)
def test_every_onnx_node_belongs_to_a_chip_node(name):
    graph = _graph(name)
    final = run(graph, precision=Precision.FP32)
    wanted = {source for node in graph.nodes for source in node.sources}
    found = {source for node in final.nodes for source in node.sources}
    assert wanted <= found
    attention = next(node for node in final.nodes if node.op == Op.ATTENTION)
    assert len(attention.sources) >= 4  # two products, the scale or mask, the softmax


def test_masks_and_rotary_tables_stay_f32_and_caches_are_bf16():
    final = run(_graph("llama_kv_dynamo.onnx"), precision=Precision.BF16)
    for node in final.nodes:
        dtypes = [value.dtype for value in final.input_values(node) if value]
        if node.op == Op.ATTENTION:
            assert dtypes == [DType.BF16] * 3 + [DType.F32]
        if node.op == Op.ROPE:
            assert dtypes == [DType.BF16, DType.F32, DType.F32]
    types = {final.value(name).dtype for name in (*final.inputs, *final.outputs) if "key" in name}
    assert types == {DType.BF16}
    assert final.value("logits").dtype is DType.F32


def test_flops_of_gpt2_are_those_of_the_formula():
    final = run(_graph("gpt2_ts.onnx"), precision=Precision.BF16)
    rows, hidden, vocabulary = 16, 96, 500
    flops = graph_flops(final)
    assert flops.matmul == 2 * rows * (12 * hidden**2 * LAYERS + hidden * vocabulary)
    assert flops.attention_full == LAYERS * 4 * rows * rows * hidden
    assert flops.norm == 7 * rows * hidden * (2 * LAYERS + 1)


def _snr_db(got: np.ndarray, wanted: np.ndarray) -> float:
    noise = np.mean((got.astype(np.float64) - wanted) ** 2)
    return float(10 * np.log10(np.var(wanted) / noise))


def test_names_do_not_depend_on_the_run():
    first, second = (
        str(run(load_model(DATA / FILES[0], dims=MANIFEST[FILES[0]]["dims"]), precision=p))
        for p in (Precision.BF16, Precision.BF16)
    )
    assert first == second


@pytest.mark.parametrize(("seq", "past"), [(8, 0), (1, 15), (5, 7)])
@pytest.mark.parametrize("name", [n for n in FILES if "_kv_" in n])
def test_caches_of_any_length(name, seq, past):
    """Prefill (no past), decode (one row), and a chunk in between, with two sequences."""
    sizes = {"seq": seq, "sequence_length": seq, "past": past, "past_sequence_length": past}
    dims = {
        key: 2 if key.startswith("batch") else sizes.get(key, seq + past)
        for key in MANIFEST[name]["dims"]
    }
    graph = load_model(DATA / name, dims=dims)
    final = run(graph, precision=Precision.FP32)
    count = kinds(final)
    assert (count[Op.HOST], count[Op.ATTENTION]) == (0, LAYERS)
    inputs = _inputs(graph, 6)
    assert_close(list(interpret(final, inputs).values()), run_ort(str(DATA / name), inputs))
