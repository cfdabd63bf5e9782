"""Run folders: round trip, byte equality, and a clear RunError for anything malformed."""

import dataclasses
import json
import math
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.errors import InternalError, OutputError, RunError
from athena.report import read_run, summarise, write_run
from athena.report.document import load
from athena.report.runs import Run, run_schema
from athena.report.summary import SCHEMA

COMMAND = ("athena", "simulate", "gpt.onnx", "--dim", "seq=512")


@pytest.fixture
def folder(summary, tmp_path):
    write_run(tmp_path / "run", summary, command=COMMAND, extra={"trace.json": b"[]"})
    return tmp_path / "run"


def edit(folder, change):
    data = json.loads((folder / "run.json").read_text())
    change(data)
    (folder / "run.json").write_text(json.dumps(data))


def test_round_trip(folder, summary):
    run = read_run(folder)
    assert run.summary == summary
    assert run.command == COMMAND
    assert set(run.files) == {"nodes.csv", "trace.json"}
    assert sorted(path.name for path in folder.iterdir()) == ["nodes.csv", "run.json", "trace.json"]


def test_same_run_same_bytes(folder, summary, tmp_path):
    write_run(tmp_path / "again", summary, command=COMMAND, extra={"trace.json": b"[]"})
    for name in ("run.json", "nodes.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_infinite_snr_survives(make, tmp_path):
    summary = summarise(make())
    assert math.isinf(summary.verify.rows[1].snr_db)
    write_run(tmp_path / "run", summary)
    assert math.isinf(read_run(tmp_path / "run").summary.verify.rows[1].snr_db)
    json.loads((tmp_path / "run" / "run.json").read_text(), parse_constant=pytest.fail)


def test_nothing_of_time_place_or_user(folder, tmp_path):
    text = (folder / "run.json").read_text()
    assert str(tmp_path) not in text and "/home" not in text and "/root" not in text


def test_replaces_own_folder_never_a_foreign_one(folder, summary, tmp_path):
    write_run(folder, summary)
    assert read_run(folder).command == ()
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "a.jpg").write_bytes(b"x")
    with pytest.raises(OutputError):
        write_run(foreign, summary)
    assert (foreign / "a.jpg").read_bytes() == b"x"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "run.json", "", "x" * 80])
def test_names_of_files_are_ours(summary, tmp_path, name):
    with pytest.raises(InternalError):
        write_run(tmp_path / "run", summary, extra={name: b""})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema="athena-report/2"), "athena-report/2"),
        (lambda d: d.pop("schema"), "None"),
        (lambda d: d.update(more=1), "more"),
        (lambda d: d["summary"].update(more=1), "summary.more"),
        (lambda d: d["summary"]["nodes"][3].update(more=1), r"nodes\.3\.more"),
        (lambda d: d["summary"].pop("cycles"), "summary.cycles"),
        (lambda d: d["summary"].update(cycles="12"), "cycles"),
        (lambda d: d["summary"].update(cycles=1.5), "cycles"),
        (lambda d: d["summary"].update(exact=1), "exact"),
        (lambda d: d["summary"].update(nodes={}), "nodes"),
        (lambda d: d["summary"]["work"].update(bound_by="magic"), "bound_by"),
        (lambda d: d["summary"]["energy"]["chip_w"].update(low=1e9), "chip_w"),
        (lambda d: d["files"].update({"../../etc/passwd": "0" * 64}), "files"),
        (lambda d: d["files"].update({"nodes.csv": "xyz"}), "files"),
        (lambda d: d["files"].update({"gone.csv": "0" * 64}), "gone.csv"),
        (lambda d: d["files"].update({"nodes.csv": "0" * 64}), "changed after"),
    ],
)
def test_malformed_documents(folder, change, message):
    edit(folder, change)
    with pytest.raises(RunError, match=message):
        read_run(folder)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "null", '{"schema": 1, "schema": 2}', "[" * 5000, "NaN", '"\\ud800"', "\xff"],
)
def test_not_json(folder, text):
    (folder / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError):
        read_run(folder)


def test_missing_folder_and_link(tmp_path):
    with pytest.raises(RunError):
        read_run(tmp_path / "none")
    (tmp_path / "dir" / "run.json").mkdir(parents=True)
    with pytest.raises(RunError, match="folder"):
        read_run(tmp_path / "dir")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_any_json(value):
    body = {"schema": SCHEMA, "command": [], "files": {}, "summary": value}
    for data in (value, body):
        with pytest.raises(RunError):
            load(json.dumps(data).encode(), SCHEMA, Run, where="x")


def test_schema_is_the_shipped_one():
    """A change of the schema needs a new version, or the shipped file written again on purpose."""
    path = resources.files("athena.report") / "athena-report-1.schema.json"
    assert json.loads(path.read_text()) == json.loads(json.dumps(run_schema()))


def test_schema_names_every_key(summary):
    definitions = run_schema()["$defs"]
    fields = {f.name for f in dataclasses.fields(summary)}
    assert set(definitions["RunSummary"]["properties"]) == fields
    assert definitions["RunSummary"]["additionalProperties"] is False
    assert set(definitions["RunSummary"]["required"]) == fields
