"""The exported test models and the quickstart model are what their manifests and READMEs say."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml

DATA = Path(__file__).parents[1] / "data"
QUICKSTART = Path(__file__).parents[2] / "athena" / "data" / "quickstart"
FILES = yaml.safe_load((DATA / "manifest.yaml").read_text())["files"]
TYPES = {"int64": np.int64, "float": np.float32}


def feeds_of(entry, overrides=None):
    """Seeded inputs for a manifest entry, positions after the cache, nothing masked."""
    dims = entry["dims"] | (overrides or {})
    random = np.random.default_rng(0)
    feeds = {}
    for name, (kind, shape) in entry["inputs"].items():
        sizes = [dims.get(d, d) for d in shape]
        if name == "attention_mask":
            feeds[name] = np.ones(sizes, np.int64)
        elif name == "position_ids":
            start = feeds["attention_mask"].shape[1] - sizes[1]
            feeds[name] = np.tile(np.arange(start, start + sizes[1]), (sizes[0], 1))
        elif kind == "int64":
            feeds[name] = random.integers(0, 2 if name == "token_type_ids" else 500, sizes)
        else:
            feeds[name] = random.standard_normal(sizes, dtype=TYPES[kind])
    return feeds


@cache
def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_manifest_lists_every_file():
    assert sorted(FILES) == sorted(path.name for path in DATA.glob("*.onnx"))


@pytest.mark.parametrize("name", FILES)
def test_file_is_small_self_contained_and_free_of_local_paths(name):
    data = (DATA / name).read_bytes()
    model = onnx.load_from_string(data)
    assert len(data) <= 4 * 2**20
    assert not any(t.data_location for t in model.graph.initializer)
    assert b"site-packages" not in data and b"/tmp/" not in data
    assert {i.name for i in model.graph.input} == set(FILES[name]["inputs"])


@pytest.mark.parametrize("name", FILES)
def test_file_runs_at_its_default_dims_and_logits_have_spread(name):
    entry = FILES[name]
    session = session_of(DATA / name)
    outputs = session.run(None, feeds_of(entry))
    for value, array in zip(session.get_outputs(), outputs, strict=True):
        kind, shape = entry["outputs"][value.name]
        assert array.dtype == TYPES[kind] and len(array.shape) == len(shape)
        known = [(d, n) for d, n in zip(shape, array.shape, strict=True) if d in entry["dims"]]
        assert all(entry["dims"][d] == n for d, n in known)
        assert np.isfinite(array).all()
        assert 0.3 < array.std() < 10


@pytest.mark.parametrize("name", [n for n in FILES if not FILES[n]["kv_cache"]])
def test_batch_and_sequence_are_free(name):
    shape = (
        session_of(DATA / name).run(None, feeds_of(FILES[name], {"batch": 3, "seq": 5}))[0].shape
    )
    assert shape[:2] == (3, 5)


@pytest.mark.parametrize("name", [n for n in FILES if FILES[n]["kv_cache"]])
def test_cache_carries_a_sequence_on(name):
    entry, session = FILES[name], session_of(DATA / name)
    batch, seq, past, total = entry["dims"]
    whole = feeds_of(entry, {batch: 2, seq: 9, past: 0, total: 9})
    expected = dict(zip(entry["outputs"], session.run(None, whole), strict=True))
    cut = {k: v[:, :6] for k, v in whole.items() if not k.startswith("past")}
    empty = {k: v for k, v in whole.items() if k.startswith("past")}
    first = dict(zip(entry["outputs"], session.run(None, cut | empty), strict=True))
    rest = {k: v[:, 6:] for k, v in whole.items() if not k.startswith("past")}
    rest["attention_mask"] = whole["attention_mask"]
    filled = {k: first[k.replace("past_key_values", "present")] for k in empty}
    second = dict(zip(entry["outputs"], session.run(None, rest | filled), strict=True))
    np.testing.assert_allclose(second["logits"], expected["logits"][:, 6:], atol=1e-4)
    np.testing.assert_allclose(second["present.1.key"], expected["present.1.key"], atol=1e-4)


def test_quickstart_accuracy_is_the_one_its_readme_states():
    text = (QUICKSTART / "README.md").read_text()
    stated = float(re.search(r"right answers.*\*\*([0-9.]+)\*\*", text).group(1))
    with np.load(QUICKSTART / "heldout.npz") as file:
        ids, answers = file["input_ids"], file["answers"]
    (logits,) = session_of(QUICKSTART / "model.onnx").run(None, {"input_ids": ids})
    predicted = logits[:, -answers.shape[1] :].argmax(axis=-1)
    assert (predicted == answers).all(axis=1).mean() == pytest.approx(stated, abs=0.001)
    assert 0.6 < stated < 0.97
    assert len(ids) >= 2000


def test_quickstart_answers_are_sums_and_differences_and_sets_do_not_overlap():
    with np.load(QUICKSTART / "heldout.npz") as file:
        ids, answers = file["input_ids"], file["answers"]
    with np.load(QUICKSTART / "calibration.npz") as file:
        calibration = file["input_ids"]
    prompts = ["".join("0123456789+-="[t] for t in row[: row.tolist().index(12)]) for row in ids]
    for prompt, row in zip(prompts, answers, strict=True):
        left, sign, right = re.fullmatch(r"(\d+)([+-])(\d+)", prompt).groups()
        result = int(left) + (1 if sign == "+" else -1) * int(right)
        assert "".join("0123456789+-="[t] for t in row) == f"{result:0{len(row)}d}"
    np.testing.assert_array_equal(ids[:, 1 - answers.shape[1] :], answers[:, :-1])
    assert len(set(prompts)) == len(prompts)
    assert not {tuple(r) for r in calibration} & {tuple(r) for r in ids}


def test_quickstart_files_fit_in_the_package():
    assert sum(path.stat().st_size for path in QUICKSTART.iterdir()) <= 5 * 2**20
