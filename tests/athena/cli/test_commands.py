"""Every command on a small model: tables, JSON with a schema, files, exit codes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from athena.api import read_npz
from athena.isa.container import read_program, write_program
from tests.athena.cli.conftest import DATA


def test_inspect_names_dims_roles_and_places(athena):
    found = athena("inspect", DATA / "llama_kv_ts.onnx", "--json").json
    assert found["schema"] == "athena-cli-inspect/1"
    roles = {dim: role for dim, role, _ in found["roles"]}
    assert roles == {
        "batch_size": "batch",
        "sequence_length": "tokens",
        "past_sequence_length": "cached",
    }
    assert len(found["info"]["cache_pairs"]) == 4
    assert {row["place"] for row in found["ops"]} == {"on chip", "folded"}
    assert found["compiled"] == "" and "host" not in found["places"]


def test_inspect_with_dims_counts_chip_level_nodes(athena, gpt2):
    text = athena("inspect", *gpt2).out
    assert "on the chip, 0 on the host" in text and "yes: weights" in text


def test_compile_writes_and_explains(athena, gpt2, tmp_path):
    out = tmp_path / "m.athena"
    told = athena("compile", *gpt2, "-o", out, "--explain", "--json")
    assert told.code == 0 and out.is_file()
    facts = told.json
    assert facts["nodes"] == facts["nodes_on_chip"] == len(facts["mappings"])
    gemms = [row for row in facts["mappings"] if row["op"] == "Gemm"]
    assert gemms and all("cores" in row["mapping"] for row in gemms)
    table = athena("compile", *gpt2, "--explain").out
    assert "words" in table and "mapping" in table and "\x1b[" not in table


def test_check_a_program_and_a_broken_one(athena, gpt2, tmp_path):
    out = tmp_path / "m.athena"
    athena("compile", *gpt2, "-o", out)
    good = athena("check", out, "--json")
    assert good.code == 0 and good.json["passed"] and good.json["words"] > 0
    program = read_program(out)
    words = program.streams[0].words.copy()
    words["op"][0] = 200
    broken = replace(program.streams[0], words=words)
    write_program(replace(program, streams=(broken, *program.streams[1:])), tmp_path / "bad.athena")
    bad = athena("check", tmp_path / "bad.athena", "--json")
    assert bad.code == 1 and not bad.json["passed"] and "error[E-PROGRAM" in bad.err


def test_run_writes_outputs(athena, gpt2, tmp_path):
    ids = np.random.default_rng(0).integers(0, 500, (1, 16))
    np.savez(tmp_path / "in.npz", input_ids=ids)
    told = athena("run", *gpt2, "--inputs", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert told.code == 0 and "logits" in told.out
    assert read_npz(tmp_path / "out.npz")["logits"].shape == (1, 16, 500)


def test_verify_exits_1_outside_tolerance(athena, gpt2):
    good = athena("verify", *gpt2, "--precision", "bf16,fp32", "--json")
    assert good.code == 0 and [r["precision"] for r in good.json["results"]] == ["bf16", "fp32"]
    bad = athena("verify", *gpt2, "--snr-limit", "150")
    assert bad.code == 1 and "FAILED" in bad.out and "0 of 1 outputs" in bad.out


def test_verify_int8_says_that_no_limit_applies(athena, gpt2):
    told = athena("verify", *gpt2, "--precision", "int8", "--per-node")
    assert told.code == 0
    assert "no limit" in told.out and "calibrated on random inputs" in told.err


def test_simulate_report_and_view(athena, gpt2, tmp_path):
    run, page = tmp_path / "run", tmp_path / "page.html"
    told = athena("simulate", *gpt2, "-o", run, "--trace")
    assert told.code == 0 and "Nodes costed" in told.out
    assert sorted(p.name for p in run.iterdir()) == ["nodes.csv", "run.json", "trace.perfetto.json"]
    command = json.loads((run / "run.json").read_text())["command"]
    assert command[:3] == ["athena", "simulate", "gpt2_dynamo.onnx"]
    assert str(tmp_path) not in (run / "run.json").read_text()
    made = athena("report", run, "-o", tmp_path / "report", "--executions", 5, "--json")
    assert made.code == 0 and made.json["schema"] == "athena-cli-report/1"
    assert (tmp_path / "report" / "report.html").is_file()
    assert athena("view", run, "-o", page).code == 0
    assert "<script" not in page.read_text()


def test_simulate_a_program_file_as_its_model(athena, gpt2, tmp_path):
    athena("compile", *gpt2, "-o", tmp_path / "m.athena")
    one = athena("simulate", *gpt2, "--json").json["summary"]
    two = athena("simulate", tmp_path / "m.athena", "--json").json["summary"]
    assert one["cycles"] == two["cycles"] and one["energy"] == two["energy"]


def test_a_smaller_chip_by_settings(athena, gpt2):
    few = ("--set", "mesh.rows=1", "--set", "mesh.cols=1")
    told = athena("simulate", *gpt2, *few, "--json").json["summary"]
    assert next(u for u in told["units"] if u["name"] == "MATRIX")["units"] == 4


def test_chips(athena, tmp_path):
    names = {chip["name"] for chip in athena("chips", "list", "--json").json["chips"]}
    assert {"athena", "athena-edge"} <= names
    new = tmp_path / "mine.yaml"
    assert athena("chips", "new", new, "--extends", "athena").code == 0
    assert athena("chips", "diff", "athena", new, "--json").json["differences"] == [
        {
            "key": "name",
            "first": "athena",
            "second": "mine",
        },
        {
            "key": "description",
            "first": athena("chips", "check", "athena", "--json").json["description"],
            "second": "after athena",
        },
    ]
    new.write_text(new.read_text() + "core: {matrix: {rows: 32, cols: 32}}\n")
    assert athena("chips", "check", new, "--json").json["peak_bf16"] == pytest.approx(
        2.0e14, rel=0.01
    )
    shown = tmp_path / "whole.yaml"
    shown.write_text(athena("chips", "show", new).out)
    assert athena("chips", "diff", new, shown, "--json").json["differences"] == []
    again = athena("chips", "new", new)
    assert again.code == 2 and "the file exists" in again.err


def test_ops_lists_the_table(athena):
    rows = athena("ops", "--json").json["ops"]
    assert {"MatMul", "LayerNormalization", "Attention"} <= {row["operator"] for row in rows}
    assert {row["operator"] for row in athena("ops", "softmax", "--json").json["ops"]} >= {
        "Softmax"
    }
    assert athena("ops", "nosuch").code == 2


def test_models_are_exported(athena, tmp_path):
    assert "llama3-8b-layer-kv" in athena("models", "list").out
    out = tmp_path / "l.onnx"
    assert athena("models", "export", "matmul", "--weightless", "-o", out).code == 0
    assert athena("simulate", out, "--nodes", 0).code == 0
    assert athena("verify", out).code == 2
    assert athena("models", "export", "nosuch", "-o", out).code == 2


def test_version(athena):
    import athena as package

    assert athena("--version").out == f"athena {package.__version__}\n"
