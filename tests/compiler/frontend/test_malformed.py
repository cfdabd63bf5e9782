"""Any bytes in: one of our errors out, which says what is wrong."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from athena.errors import (
    AthenaError,
    DimError,
    ModelError,
    ModelFileError,
    ShapeError,
    UnsupportedOpError,
)
from compiler.frontend import inspect_model, load_model
from tests.compiler.frontend.models import (
    BOOL,
    INT64,
    chain,
    constant,
    end,
    model,
    port,
    with_weight,
    write,
)

FILES = [
    (b"", "empty"),
    (b"PK\x03\x04" + b"\0" * 50, "zip archive"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "LFS pointer"),
    (b"<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
    (b"  \n<HTML>", "HTML page"),
    (b"\x1f\x8b\x08\0", "gzip"),
    (b"GGUF\x03\0\0\0", "GGUF"),
    (b"\x80\x04\x95", "pickle"),
    (b"\x10\0\0\0TFL3", "TensorFlow Lite"),
    (b'\x10\0\0\0\0\0\0\0{"a":1}', "safetensors"),
    (b'{"model": 1}', "JSON"),
    (bytes(range(256)) * 4, "not a complete ONNX model"),
    (b"hello world, this is plain text", "not a complete ONNX model"),
    (b"\x08\x07", "no graph"),
]


@pytest.mark.parametrize(("data", "words"), FILES, ids=[words for _, words in FILES])
def test_a_file_of_another_kind_is_named(tmp_path, data, words):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=words):
        load_model(path, dims={})


def test_a_missing_file_a_folder_and_a_pipe_are_named(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        load_model(tmp_path / "absent.onnx", dims={})
    with pytest.raises(ModelFileError, match="folder"):
        load_model(tmp_path, dims={})
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelFileError, match="pipe"):
        load_model(tmp_path / "pipe.onnx", dims={})
    with pytest.raises(ModelFileError):
        load_model("nul\0byte.onnx", dims={})


def test_a_truncated_model_is_called_truncated(tmp_path):
    data = with_weight(constant("w", np.ones((2, 3), dtype=np.float32))).SerializeToString()
    path = tmp_path / "m.onnx"
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        try:
            load_model(path, dims={})
        except ModelFileError as exc:
            if length > 40:
                assert "truncated" in str(exc) or "no graph" in str(exc)
        except AthenaError:
            pass


def node(op: str, inputs: list[str], outputs: list[str], **attrs):
    return helper.make_node(op, inputs, outputs, name=f"the_{op}", **attrs)


def sized(dims: tuple[int, ...]) -> TensorProto:
    return TensorProto(name="w", data_type=1, dims=dims, raw_data=b"\0" * 4)


X = port("x", 2, 3)
ONES = np.ones(3, dtype=np.float32)
SHAPE = constant("s", np.array([2, -5], dtype=np.int64))
MODELS = {
    "cycle": (
        model([node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"])], [X], ["b"]),
        ModelError, "cycle",
    ),
    "no outputs": (model([node("Neg", ["x"], ["y"])], [X], []), ModelError, "no outputs"),
    "gather constant": (
        model([node("Gather", ["x", "i"], ["y"])], [X], ["y"],
              [numpy_helper.from_array(np.array([0, 99]), "i")]),
        ShapeError, "index 99 is outside",
    ),
    "scale 0": (
        model([node("QuantizeLinear", ["x", "s"], ["y"])], [X], ["y"],
              [numpy_helper.from_array(np.float32(0), "s")]),
        ShapeError, "a scale of 0",
    ),
    "undefined": (model([node("Add", ["x", "q"], ["y"])], [X], ["y"]), ModelError, "nothing def"),
    "output undefined": (model([node("Neg", ["x"], ["y"])], [X], ["z"]), ModelError, "nothing def"),
    "defined twice": (
        model([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])], [X], ["y"]),
        ModelError, "defined twice",
    ),
    "redefines input": (model([node("Neg", ["x"], ["x"])], [X], ["x"]), ModelError, "twice"),
    "two initialisers": (
        model([node("Add", ["x", "w"], ["y"])], [X], ["y"], [constant("w", ONES)] * 2),
        ModelError, "initialisers are called 'w'",
    ),
    "two inputs": (model([node("Neg", ["x"], ["y"])], [X, X], ["y"]), ModelError, "inputs are"),
    "opset 999": (model([node("Neg", ["x"], ["y"])], [X], ["y"], opset=999), ModelError, "999"),
    "opset 5": (
        model([node("Add", ["x", "x"], ["y"])], [X], ["y"], opset=5), UnsupportedOpError, "opset 5",
    ),
    "unknown op": (model([node("Magic", ["x"], ["y"])], [X], ["y"]), UnsupportedOpError, "Magic"),
    "unknown domain": (
        model([node("Foo", ["x"], ["y"], domain="x.y")], [X], ["y"]), ModelError, "not imported",
    ),
    "ml domain": (
        model([node("Scaler", ["x"], ["y"], domain="ai.onnx.ml")], [X], ["y"],
              domains=("ai.onnx.ml",)),
        UnsupportedOpError, "ai.onnx.ml::Scaler",
    ),
    "unknown attribute": (
        model([node("Neg", ["x"], ["y"], colour=3)], [X], ["y"]), UnsupportedOpError, "colour",
    ),
    "attribute of a later opset": (
        model([node("Gelu", ["x"], ["y"], speed="fast")], [X], ["y"], opset=20),
        UnsupportedOpError, "speed",
    ),
    "attribute type": (
        model([node("Softmax", ["x"], ["y"], axis="last")], [X], ["y"]), ModelError, "axis",
    ),
    "attribute missing": (model([node("Concat", ["x"], ["y"])], [X], ["y"]), ModelError, "axis"),
    "attribute not finite": (
        model([node("Elu", ["x"], ["y"], alpha=float("nan"))], [X], ["y"]), ModelError, "nan",
    ),
    "too many inputs": (model([node("Neg", ["x", "x"], ["y"])], [X], ["y"]), ModelError, "2 inp"),
    "too few inputs": (model([node("Add", ["x"], ["y"])], [X], ["y"]), ModelError, "1 inputs"),
    "absent input": (model([node("Add", ["x", ""], ["y"])], [X], ["y"]), ShapeError, "missing"),
    "axis range": (
        model([node("Softmax", ["x"], ["y"], axis=7)], [X], ["y"]), ShapeError, "axis 7",
    ),
    "matmul shapes": (model([node("MatMul", ["x", "x"], ["y"])], [X], ["y"]), ShapeError, "inner"),
    "conv channels": (
        model([node("Conv", ["x", "w"], ["y"])], [port("x", 1, 3, 8, 8)], ["y"],
              [constant("w", np.ones((4, 2, 3, 3), dtype=np.float32))]),
        ShapeError, "channels",
    ),
    "broadcast": (
        model([node("Add", ["x", "w"], ["y"])], [X], ["y"],
              [constant("w", np.ones(4, dtype=np.float32))]),
        ShapeError, "broadcast",
    ),
    "mixed types": (
        model([node("Add", ["x", "w"], ["y"])], [X], ["y"], [constant("w", np.ones(3))]),
        ShapeError, "one type",
    ),
    "reshape": (
        model([node("Reshape", ["x", "s"], ["y"])], [X], ["y"], [SHAPE]), ShapeError, "-5",
    ),
    "reshape by a computed shape": (
        model([node("Reshape", ["x", "s"], ["y"])], [X, port("s", 2, kind=INT64)], ["y"]),
        ShapeError, "compile time",
    ),
    "index out of range": (
        model([node("Gather", ["w", "i"], ["z"]), node("Add", ["x", "z"], ["y"])], [X], ["y"],
              [constant("w", ONES), constant("i", np.array(9))]),
        ShapeError, "index 9",
    ),
    "division by zero": (
        model([node("Div", ["a", "b"], ["y"])], [], ["y"],
              [constant("a", np.array(1)), constant("b", np.array(0))]),
        ShapeError, "division by zero",
    ),
    "division overflow": (
        model([node("Div", ["a", "b"], ["y"])], [], ["y"],
              [constant("a", np.array(-(2**63))), constant("b", np.array(-1))]),
        ShapeError, "smallest number",
    ),
    "huge initialiser": (with_weight(sized((2**40, 2**40))), ShapeError, "2\\^48"),
    "wrapping dims": (with_weight(sized((2**32, 2**32, 2))), ShapeError, "2\\^48"),
    "negative dims": (with_weight(sized((-1, 3))), ShapeError, "negative"),
    "short data": (with_weight(sized((2, 3))), ShapeError, "holds 4 bytes"),
    "huge input": (
        model([node("Neg", ["x"], ["y"])], [port("x", 2**30, 2**30)], ["y"]), ShapeError, "2\\^48",
    ),
    "huge constant": (
        model([node("ConstantOfShape", ["s"], ["y"])], [], ["y"],
              [constant("s", np.array([2**30, 2**10]))]),
        UnsupportedOpError, "too large",
    ),
    "huge expand": (
        model([node("Expand", ["x", "s"], ["y"])], [X], ["y"],
              [constant("s", np.array([2**62, 2, 3]))]),
        ShapeError, "2\\^48",
    ),
    "huge tile": (
        model([node("Tile", ["x", "s"], ["y"])], [X], ["y"],
              [constant("s", np.array([2**62, 2**62]))]),
        ShapeError, "2\\^48",
    ),
    "huge range": (
        model([node("Range", ["a", "b", "c"], ["y"])], [], ["y"],
              [constant("a", np.float64(0)), constant("b", np.float64(1e300)),
               constant("c", np.float64(1e-300))]),
        ShapeError, "infinity",
    ),
    "huge split": (
        model([node("Split", ["x"], ["y"], num_outputs=2**30)], [port("x", 2**30)], ["y"],
              opset=18),
        ShapeError, "num_outputs",
    ),
    "string input": (
        model([node("Identity", ["x"], ["y"])], [port("x", 1, kind=TensorProto.STRING)], ["y"]),
        UnsupportedOpError, "string",
    ),
    "sparse": (
        helper.make_model(helper.make_graph(
            [node("Neg", ["x"], ["y"])], "g", [X], [end("y")],
            sparse_initializer=[helper.make_sparse_tensor(
                constant("v", ONES), constant("i", np.arange(3)), [9])])),
        UnsupportedOpError, "sparse",
    ),
    "control characters": (
        model([node("Neg", ["x\x1b[31m\u202e"], ["y"])], [X], ["y"]), ModelError, r"\\x1b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_malformed_model_gets_one_clear_error(tmp_path, name):
    proto, kind, words = MODELS[name]
    with pytest.raises(kind, match=words) as caught:
        load_model(write(tmp_path, proto), dims={})
    assert "\x1b" not in str(caught.value)
    assert "m.onnx" in str(caught.value)


def body(name: str, *nodes):
    return helper.make_function(
        "local", name, ["a"], ["b"], list(nodes),
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
    )  # fmt: skip


def call(name: str, source: str, target: str):
    return helper.make_node(name, [source], [target], domain="local", name=f"call_{target}")


def with_functions(functions: list):
    nodes = [helper.make_node("F0", ["x"], ["y"], domain="local", name="start")]
    return model(nodes, [X], ["y"], functions=functions, domains=("local",))


def test_functions_that_call_themselves_are_refused(tmp_path):
    for functions in (
        [body("F0", call("F0", "a", "b"))],
        [body("F0", call("F1", "a", "b")), body("F1", call("F0", "a", "b"))],
    ):
        with pytest.raises(ModelError, match="calls itself"):
            load_model(write(tmp_path, with_functions(functions)), dims={})


def test_functions_that_explode_are_refused_before_they_are_inlined(tmp_path):
    functions = []
    for level in range(40):
        callee = f"F{level + 1}" if level < 39 else None
        last = helper.make_node("Neg", ["m"], ["b"]) if callee is None else call(callee, "m", "b")
        first = helper.make_node("Neg", ["a"], ["m"]) if callee is None else call(callee, "a", "m")
        functions.append(body(f"F{level}", first, last))
    with pytest.raises(ModelError, match="nodes after inlining"):
        load_model(write(tmp_path, with_functions(functions)), dims={})


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    length, size = len(data), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + data


@pytest.mark.parametrize("depth", [33, 40, 500])
def test_deep_nesting_is_refused(tmp_path, depth):
    graph = b""
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph)
        graph = field(1, field(4, b"If") + field(2, b"y") + field(5, attribute))
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x07" + field(7, graph) + field(8, b"\x10\x11"))
    with pytest.raises(AthenaError, match="nested"):
        load_model(path, dims={})


def test_loops_and_undecided_branches_are_refused_with_a_hint(tmp_path):
    graph = helper.make_graph([node("Neg", ["x"], ["z"])], "g", [], [end("z")])
    branch = node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
    proto = model([branch], [X, port("c", kind=BOOL)], ["y"])
    with pytest.raises(UnsupportedOpError, match="use_cache_branch"):
        load_model(write(tmp_path, proto), dims={})
    loop = node("Loop", ["", "c", "x"], ["y"], body=graph)
    proto = model([loop], [X, port("c", kind=BOOL)], ["y"])
    with pytest.raises(UnsupportedOpError, match="Loop"):
        load_model(write(tmp_path, proto), dims={})


def outcome(function) -> None:
    """The function returns or raises one of our errors; anything else fails the test."""
    try:
        function()
    except AthenaError as exc:
        assert exc.exit_code == 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_random_bytes_never_raise_anything_else(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random.onnx"
    path.write_bytes(data)
    outcome(lambda: load_model(path, dims={}))
    outcome(lambda: inspect_model(path))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_damaged_models_never_raise_anything_else(tmp_path_factory, data):
    names = sorted(set(MODELS) - {"huge input"})
    name = data.draw(st.sampled_from(names))
    whole = bytearray(MODELS[name][0].SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(bytes(whole))
    outcome(lambda: load_model(path, dims={}))
    outcome(lambda: inspect_model(path))


def test_an_unbound_dimension_is_named_with_an_example(tmp_path):
    proto = model([node("Neg", ["x"], ["y"])], [port("x", "batch", "seq", None)], ["y"])
    with pytest.raises(DimError, match=r"batch, seq, x\.2") as caught:
        load_model(write(tmp_path, proto), dims={})
    assert "--dim batch=1" in str(caught.value)
    assert "--dim x.2=128" in str(caught.value)


def test_a_chain_loads(tmp_path):
    assert len(load_model(write(tmp_path, chain("Neg", "Exp")), dims={}).nodes) == 2
