"""The Python API on a small export: each call, its table, and that each check can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import athena
from athena.api import read_npz, write_npz
from athena.api.models import Model
from athena.errors import AthenaError, ProgramError, UnsupportedOpError, UsageError
from athena.workload.export import build_preset

DATA = Path(__file__).parents[2] / "data"
DIMS = {"batch": 1, "seq": 16}


@pytest.fixture(scope="module")
def model() -> Model:
    return athena.load_model(DATA / "gpt2_dynamo.onnx", DIMS)


@pytest.fixture(scope="module")
def compiled(model):
    return athena.compile(model)


@pytest.fixture(scope="module")
def run(compiled):
    return athena.simulate(compiled, trace=True)


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 500, (1, 16))


def test_import_costs_nothing_and_subpackages_do_not_hide_functions():
    code = (
        "import athena, sys; assert 'numpy' not in sys.modules\n"
        "import athena.verify, athena.report\n"
        "from athena.verify import Metrics\n"
        "assert athena.verify.__name__ == 'verify' and callable(athena.report)\n"
        "print('good')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout == "good\n", done.stderr


def test_compiled_model_explains_every_node(compiled, model):
    table = compiled.explain
    assert len(table) == len(compiled.program.nodes)
    assert set(table.column("place")) == {"chip"}
    gemms = [row for row in table if row[1] == "Gemm"]
    assert gemms and all(row[table.columns.index("mapping")] for row in gemms)
    assert compiled.program.notes["model_sha256"] == model.sha256
    assert compiled.program.notes["dims"] == "batch=1 seq=16"
    assert list(compiled.to_pandas()["node"]) == list(table.column("node"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"precision": "fp4"}, "one of fp32, bf16, int8"),
        ({"calibration": {}}, "needs no calibration"),
        ({"dims": {"batch": 2, "seq": 16}}, "when a model is loaded"),
    ],
)
def test_options_that_make_no_sense(model, options, text):
    with pytest.raises(UsageError, match=text):
        athena.compile(model, **options)


def test_verification_passes_and_can_fail(compiled):
    good = athena.verify(compiled)
    assert good.passed and good.report.inputs == "seeded random inputs (seed 0)"
    assert [row[0] for row in good.outputs] == ["logits"]
    assert good.to_pandas()["passed"].tolist() == [True]
    strict = athena.verify(compiled, snr_limit_db=120.0)
    assert not strict.passed and "below 120 dB" in strict.report.rows[0].reason


def test_per_node_blames_the_first_quantised_product(model):
    coarse = athena.compile(model, precision="int8", int8_scale_factor=60.0)
    fine = athena.compile(model, precision="int8")
    assert fine.program.notes["calibration"].startswith("calibrated on random inputs")
    blamed = athena.verify(coarse, per_node=True).nodes
    cleared = athena.verify(fine, per_node=True).nodes
    assert blamed.first is not None and cleared.first is None
    gemms = [row.node for row in blamed.rows if row.op == "Gemm"]
    assert blamed.first.node == gemms[0]


def test_run_gives_what_the_program_file_gives(compiled, ids, tmp_path):
    path = tmp_path / "m.athena"
    compiled.save(path)
    write_npz(tmp_path / "in.npz", {"input_ids": ids})
    first = athena.run(compiled, {"input_ids": ids})
    again = athena.run(path, tmp_path / "in.npz")
    assert first["logits"].dtype == np.float32 and first["logits"].shape == (1, 16, 500)
    np.testing.assert_array_equal(first["logits"], again["logits"])
    assert athena.simulate(path).cycles == athena.simulate(compiled).cycles


def test_a_damaged_program_file_is_refused(compiled, tmp_path):
    path = tmp_path / "m.athena"
    compiled.save(path)
    data = bytearray(path.read_bytes())
    data[-70] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ProgramError):
        athena.run(path, {})


def test_simulation_adds_up(run, compiled):
    assert run.seconds == pytest.approx(run.cycles / compiled.chip.clock_hz)
    assert len(run.nodes) == len(compiled.program.nodes)
    for row in run.units:
        shares = row[run.units.columns.index("busy") :]
        assert sum(shares) == pytest.approx(1.0, abs=1e-6)
    assert run.summary.work.nodes_costed == run.summary.work.nodes_total
    low, central, high = run.energy.total_j.as_tuple()
    assert 0 < low < central < high
    assert set(run.to_pandas()["name"]) == {node.name for node in compiled.program.nodes}


def test_the_trace_holds_every_word_inside_the_run(run):
    events = json.loads(run.trace_json())["traceEvents"]
    words = [event for event in events if event["ph"] == "X"]
    assert len(words) == run.summary.units[0].words + sum(u.words for u in run.summary.units[1:])
    end_us = run.seconds * 1e6
    assert all(e["ts"] >= 0 and e["ts"] + e["dur"] <= end_us * 1.000001 for e in words)


def test_report_is_written_whole_and_read_back(run, tmp_path):
    run.save(tmp_path / "run")
    made = athena.report(tmp_path / "run", executions=7, pue=1.2, pue_source="the site")
    paths = made.save(tmp_path / "report")
    document = json.loads(paths[0].read_bytes())
    assert document["schema"] == "athena-report-document/1"
    assert document["form"]["flop"] == 7 * run.summary.work.flops
    assert made.annex.totals[-1].boundary == "facility"
    assert [p.name for p in paths] == ["report.json", "report.md", "report.html"]
    assert "<script" not in made.html


def test_same_input_same_bytes(compiled, tmp_path):
    for name in ("a", "b"):
        athena.simulate(compiled, trace=True).save(tmp_path / name)
    for file in ("run.json", "nodes.csv", "trace.perfetto.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_weightless_model_is_costed_and_never_executed(tmp_path):
    path = tmp_path / "layer.onnx"
    path.write_bytes(
        build_preset("matmul", sizes=(64, 96, 128), weightless=True).SerializeToString()
    )
    compiled = athena.compile(path)
    assert athena.simulate(compiled).summary.weightless
    for call in (athena.verify, lambda c: athena.run(c, {"x": np.zeros((64, 96), "f4")})):
        with pytest.raises(UsageError, match="no weights"):
            call(compiled)


@pytest.fixture
def with_host(tmp_path) -> Path:
    """A product, whose best column the host finds."""
    weights = np.random.default_rng(0).standard_normal((32, 16)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("ArgMax", ["m"], ["y"], name="best", axis=1, keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 32])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [4])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "host.onnx"
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


def test_nodes_of_the_host_run_and_are_costed(with_host):
    compiled = athena.compile(with_host)
    assert compiled.explain.column("place") == ("chip", "host")
    assert athena.verify(compiled).passed
    summary = athena.simulate(compiled).summary
    low, central, high = summary.host_s.as_tuple()
    assert 0 < low < central < high and 0 < summary.host_share < 1
    assert summary.energy.host_j.central > 0
    with pytest.raises(UnsupportedOpError, match="node 'best' "):
        athena.compile(with_host, strict=True)


def test_another_chip_or_a_small_one(tmp_path):
    path = tmp_path / "mm.onnx"
    path.write_bytes(build_preset("matmul", sizes=(40, 96, 64)).SerializeToString())
    chip = athena.load_chip("athena", overrides={"mesh.rows": 2, "mesh.cols": 2})
    wide, narrow = athena.compile(path), athena.compile(path, chip=chip)
    assert athena.verify(narrow, per_node=False).passed
    assert athena.simulate(narrow).cycles != athena.simulate(wide).cycles
    with pytest.raises(UsageError, match="another chip"):
        athena.simulate(narrow, chip="athena")


def test_results_show_as_tables(compiled, run):
    for result in (compiled.model, compiled, run, athena.report(run)):
        page = result._repr_html_()
        assert page.startswith("<table>") and "<script" not in page
        assert len(repr(result)) < 20_000


@pytest.mark.parametrize("call", [athena.load_model, athena.simulate, athena.report])
def test_a_missing_file_is_one_clear_error(call, tmp_path):
    with pytest.raises(AthenaError, match="nothing"):
        call(tmp_path / "nothing")


def test_arrays_come_back_as_written(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(2.5, np.float32), "c/d": np.ones(0)}
    write_npz(tmp_path / "x.npz", arrays)
    back = read_npz(tmp_path / "x.npz")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


@pytest.mark.parametrize("pue", [0.99, float("inf"), float("nan"), 1e9])
def test_a_pue_is_1_to_100(run, pue):
    with pytest.raises(UsageError, match="PUE"):
        athena.report(run, pue=pue)


@pytest.mark.parametrize("executions", [0, -1, 10**400])
def test_executions_have_bounds(run, executions):
    with pytest.raises(UsageError, match="execution"):
        athena.report(run, executions=executions)
