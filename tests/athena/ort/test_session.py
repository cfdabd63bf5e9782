"""onnxruntime's child: right answers, limits, crashes, restarts."""

import os
import signal
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from athena.errors import InputError, ModelError, ModelFileError, RuntimeLimitError
from athena.ort import OrtLimits, OrtSession

DATA = Path(__file__).parents[2] / "data"


def info(name, kind=TensorProto.FLOAT, shape=("m", "n")):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def add_relu(initializers=()):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    inputs = [info("x")] if initializers else [info("x"), info("w")]
    return model(nodes, inputs, [info("y")], initializers)


def divide() -> bytes:
    node = helper.make_node("Div", ["a", "b"], ["y"])
    ints = [info(name, TensorProto.INT32, ("n",)) for name in "aby"]
    return model([node], ints[:2], ints[2:]).SerializeToString()


def endless(limit: int) -> bytes:
    """A loop that counts to `limit`: hours of work in a few hundred bytes."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond"], ["cond_out"]),
            helper.make_node("Add", ["v", "v"], ["v_out"]),
        ],
        "body",
        [
            info("i", TensorProto.INT64, ()),
            info("cond", TensorProto.BOOL, ()),
            info("v", TensorProto.FLOAT, (1,)),
        ],
        [info("cond_out", TensorProto.BOOL, ()), info("v_out", TensorProto.FLOAT, (1,))],
    )
    trip = numpy_helper.from_array(np.array(limit, np.int64), "trip")
    node = helper.make_node("Loop", ["trip", "", "x"], ["y"], body=body)
    one = TensorProto.FLOAT, (1,)
    return model([node], [info("x", *one)], [info("y", *one)], [trip]).SerializeToString()


@pytest.fixture(scope="module")
def session():
    with OrtSession() as made:
        yield made


RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4)).astype("f")
W = RNG.normal(size=(4, 5)).astype("f")


def test_result_and_intermediate(session):
    data = add_relu().SerializeToString()
    out = session.run(data, {"x": X, "w": W}, intermediate=("h", "y"))
    assert list(out) == ["y", "h"]
    assert np.allclose(out["h"], X @ W, atol=1e-6)
    assert np.array_equal(out["y"], np.maximum(out["h"], 0))
    assert list(session.run(data, {"x": X, "w": W}, ("y",))) == ["y"]
    assert list(session.run(data, {"x": X, "w": W}, (), intermediate=("h",))) == ["h"]


def test_path_and_exported_model(session):
    ids = np.arange(6, dtype=np.int64)[None] % 500
    out = session.run(DATA / "gpt2_dynamo.onnx", {"input_ids": ids})
    assert out["logits"].shape == (1, 6, 500)


def test_external_data_behind_links(session, tmp_path):
    """The layout of hub caches: links in one folder, files under other names in another."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir(), snapshot.mkdir()
    proto = add_relu([numpy_helper.from_array(W, "w")])
    onnx.save(proto, blobs / "a", save_as_external_data=True, location="m.data", size_threshold=0)
    (blobs / "m.data").rename(blobs / "b")
    (snapshot / "m.onnx").symlink_to("../blobs/a")
    (snapshot / "m.data").symlink_to("../blobs/b")
    plain = session.run(snapshot / "m.onnx", {"x": X})
    edited = session.run(snapshot / "m.onnx", {"x": X}, intermediate=("h",))
    assert np.array_equal(plain["y"], edited["y"])
    assert np.allclose(edited["h"], X @ W, atol=1e-6)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_external_data_outside_is_refused(session, tmp_path, location):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(W.tobytes())
    proto = add_relu([numpy_helper.from_array(W, "w")])
    onnx.save(proto, folder / "m.onnx", save_as_external_data=True, location="d", size_threshold=0)
    proto = onnx.load(folder / "m.onnx", load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = location
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="folder|external|External"):
        session.run(folder / "m.onnx", {"x": X}, intermediate=("h",))


def test_changed_file_is_read_again(session, tmp_path):
    path = tmp_path / "m.onnx"
    for scale in (1, 2):
        proto = add_relu([numpy_helper.from_array(W * scale, "w")])
        path.write_bytes(proto.SerializeToString())
        os.utime(path, ns=(scale, scale))
        out = session.run(path, {"x": X}, intermediate=("h",))
        assert np.allclose(out["h"], X @ W * scale, atol=1e-5)


def test_bfloat16_in_and_out(session):
    bf16 = TensorProto.BFLOAT16
    nodes = [
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x"], ["z"], to=bf16),
    ]
    data = model(nodes, [info("x"), info("b", bf16)], [info("y"), info("z", bf16)])
    values = X.astype(ml_dtypes.bfloat16)
    out = session.run(data.SerializeToString(), {"x": X, "b": values})
    assert out["z"].dtype == ml_dtypes.bfloat16
    assert np.array_equal(out["z"], values)
    assert np.array_equal(out["y"], values.astype("f"))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": X}, "input 'w' .* is missing"),
        ({"x": X, "w": W, "v": W}, "no input 'v'; it has x, w"),
        ({"x": X, "w": W.astype("f8")}, "refuses the inputs"),
        ({"x": X, "w": W[0]}, "refuses the inputs"),
        ({"x": X, "w": np.array(["a"])}, "not carried"),
    ],
)
def test_inputs_that_do_not_fit(session, inputs, message):
    with pytest.raises(InputError, match=message):
        session.run(add_relu().SerializeToString(), inputs)


def test_models_that_onnxruntime_refuses(session, tmp_path):
    with pytest.raises(ModelError, match="refuses the model"):
        session.run(b"garbage", {})
    with pytest.raises(ModelError, match="no node gives a value named 'w'"):
        session.run(add_relu().SerializeToString(), {"x": X, "w": W}, intermediate=("w",))
    with pytest.raises(ModelError, match="no output named 'h'"):
        session.run(add_relu().SerializeToString(), {"x": X, "w": W}, ("h",))
    with pytest.raises(ModelFileError):
        session.run(tmp_path / "none.onnx", {})


def test_hostile_name_is_escaped(session):
    node = helper.make_node("Relu\x1b[31m\u202e" + "a" * 5000, ["x"], ["y"])
    with pytest.raises(ModelError) as caught:
        session.run(model([node], [info("x")], [info("y")]).SerializeToString(), {"x": X})
    assert "\x1b" not in str(caught.value) and "\u202e" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_crash_is_an_error_and_the_next_model_runs(session):
    low = np.array([np.iinfo(np.int32).min], np.int32)
    with pytest.raises(ModelError, match="crashed.*SIGFPE"):
        session.run(divide(), {"a": low, "b": np.array([-1], np.int32)})
    six = session.run(divide(), {"a": np.array([18], "i4"), "b": np.array([3], "i4")})
    assert six["y"].tolist() == [6]


def test_endless_loop_is_stopped():
    with OrtSession(OrtLimits(wall_s=1.5)) as session:
        session.versions()
        started = time.monotonic()
        with pytest.raises(RuntimeLimitError, match="1.5 s"):
            session.run(endless(1 << 60), {"x": np.ones(1, "f")})
        assert time.monotonic() - started < 10
        assert session.run(endless(3), {"x": np.ones(1, "f")})["y"].tolist() == [8.0]


def test_memory_limit():
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    shape = numpy_helper.from_array(np.array([1 << 28], np.int64), "shape")
    data = model([node], [info("x", shape=(1,))], [info("y", shape=("n",))], [shape])
    with OrtSession(OrtLimits(memory_bytes=768 << 20)) as session:
        with pytest.raises(RuntimeLimitError, match="768 MiB"):
            session.run(data.SerializeToString(), {"x": np.ones(1, "f")})
        out = session.run(add_relu().SerializeToString(), {"x": X, "w": W})
        assert out["y"].shape == (3, 5)


def test_replaced_after_so_many_models_and_after_kill():
    data = add_relu().SerializeToString()
    with OrtSession(OrtLimits(models=2)) as session:
        pids = []
        for i in range(4):
            session.run(data, {"x": X, "w": W}, intermediate=("h",) if i % 2 else ())
            pids.append(session._process.pid)
        assert pids[0] == pids[1] != pids[2] == pids[3]
        os.kill(pids[3], signal.SIGKILL)
        assert session.run(data, {"x": X, "w": W})["y"].shape == (3, 5)
        session.run(data, {"x": X, "w": W})
        assert session._sessions == 1, "the same model again is not a new session"


def test_no_core_file_and_no_telemetry(session):
    session.versions()
    limits = Path(f"/proc/{session._process.pid}/limits").read_text()
    assert any(
        line.split()[:6] == ["Max", "core", "file", "size", "0", "0"]
        for line in limits.splitlines()
    )
    environ = Path(f"/proc/{session._process.pid}/environ").read_bytes()
    assert b"ORT_DISABLE_TELEMETRY=1" in environ.split(b"\0")
