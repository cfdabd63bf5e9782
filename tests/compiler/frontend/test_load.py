"""Loading: binding, folding, inlining, upgrading, external data, weightless models."""

from __future__ import annotations

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import yaml
from onnx import NodeProto, TensorProto, helper

from athena.errors import DimError, ExternalDataError, ModelError, ShapeError, UnsupportedOpError
from compiler.frontend import bind_roles, inspect_model, load_model
from compiler.graph.interpret import interpret
from compiler.graph.types import DType
from tests.compiler.frontend.models import (
    BOOL,
    INT64,
    constant,
    end,
    external,
    model,
    port,
    with_weight,
    write,
)

DATA = Path("tests/data")
MANIFEST = yaml.safe_load((DATA / "manifest.yaml").read_text())["files"]
SHAPE_OPS = {"Shape", "Size", "Range", "ConstantOfShape", "Constant", "If"}


def feeds_for(graph, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        value = graph.value(name)
        if value.dtype.is_float:
            feeds[name] = rng.standard_normal(value.shape).astype(np.float32)
        elif "mask" in name:
            feeds[name] = np.ones(value.shape, dtype=np.int64)
        elif "position" in name:
            feeds[name] = np.tile(np.arange(12, 12 + value.shape[1]), (value.shape[0], 1))
        else:
            feeds[name] = rng.integers(0, 2, value.shape)
    return feeds


@pytest.mark.parametrize("name", MANIFEST)
def test_an_exported_transformer_loads_and_computes_what_onnxruntime_computes(name):
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    graph = load_model(DATA / name, dims=MANIFEST[name]["dims"])
    assert not {node.op for node in graph.nodes} & SHAPE_OPS
    feeds = feeds_for(graph, 3)
    session = onnxruntime.InferenceSession(DATA / name, providers=["CPUExecutionProvider"])
    expected = session.run(list(graph.outputs), feeds)
    found = interpret(graph, feeds)
    for output, wanted in zip(graph.outputs, expected, strict=True):
        assert graph.value(output).shape == wanted.shape
        np.testing.assert_allclose(found[output], wanted, rtol=1e-3, atol=2e-4)


def test_roles_bind_an_exported_decoder_with_cache():
    info = inspect_model(DATA / "gpt2_kv_ts.onnx")
    dims = bind_roles(info, batch=2, tokens=3, cached=5)
    graph = load_model(DATA / "gpt2_kv_ts.onnx", dims=dims)
    assert graph.value("attention_mask").shape == (2, 8)
    assert graph.value("past_key_values.0.key").shape[2] == 5
    assert graph.value("present.1.value").shape[2] == 8


def test_inspect_describes_a_model_without_binding_it():
    info = inspect_model(DATA / "gpt2_kv_ts.onnx")
    assert info.opsets[0] == ("ai.onnx", 17)
    assert info.producer.startswith("pytorch")
    assert info.dims == ("batch_size", "sequence_length", "past_sequence_length")
    assert [(p.past, p.present) for p in info.cache_pairs][1] == (
        "past_key_values.0.value",
        "present.0.value",
    )
    assert dict(info.ops)["LayerNormalization"] == 5
    assert info.parameter_bytes == 4 * info.parameter_count > 0


def shaped() -> object:
    """y = x reshaped to [batch, -1] by the chain that exporters write."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["b"]),
        helper.make_node("Unsqueeze", ["b", "axes"], ["b1"]),
        helper.make_node("Concat", ["b1", "minus"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"], name="reshape"),
    ]
    inits = [
        constant("zero", np.array(0)),
        constant("axes", np.array([0])),
        constant("minus", np.array([-1])),
    ]
    return model(nodes, [port("x", "batch", "past + seq", 4)], ["y"], inits)


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        ({"batch": 2, "past": 3, "seq": 1}, (2, 16)),
        ({"batch": 2, "past": 0, "seq": 1}, (2, 4)),
        ({"batch": 2, "past + seq": 5}, (2, 20)),
        ({"batch": 1, "past": 0, "seq": 0}, (1, 0)),
    ],
)
def test_shape_chains_fold_away_once_dimensions_are_bound(tmp_path, dims, shape):
    graph = load_model(write(tmp_path, shaped()), dims=dims)
    assert [node.op for node in graph.nodes] == ["Reshape"]
    assert graph.value("y").shape == shape
    assert graph.value(graph.nodes[0].inputs[1]).const is not None


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ({"batch": 1}, "no value for past, seq"),
        ({"batch": 1, "past": 1, "sq": 1}, "did you mean 'seq'"),
        ({"batch": -1, "past": 1, "seq": 1}, "allowed are 0 to"),
        ({"batch": 2**31, "past": 1, "seq": 1}, "allowed are 0 to"),
        ({"batch": True, "past": 1, "seq": 1}, "allowed are 0 to"),
    ],
)
def test_wrong_bindings_are_explained(tmp_path, dims, words):
    with pytest.raises(DimError, match=words):
        load_model(write(tmp_path, shaped()), dims=dims)


def test_an_expression_that_goes_negative_is_refused(tmp_path):
    proto = model([helper.make_node("Neg", ["x"], ["y"])], [port("x", "a - b")], ["y"])
    with pytest.raises(DimError, match="becomes -1"):
        load_model(write(tmp_path, proto), dims={"a": 1, "b": 2})


def branch(name: str, op: str) -> object:
    weight = constant("w", np.full(3, 2, dtype=np.float32))
    nodes = [helper.make_node(op, ["x", "w"], ["t"]), helper.make_node("Neg", ["t"], ["z"])]
    return helper.make_graph(nodes, name, [], [end("z")], [weight])


def test_a_decided_if_is_inlined_with_its_own_names(tmp_path):
    choose = helper.make_node(
        "If", ["c"], ["u"], then_branch=branch("a", "Add"), else_branch=branch("b", "Mul")
    )
    again = helper.make_node(
        "If", ["d"], ["y"], then_branch=branch("a", "Add"), else_branch=branch("b", "Mul")
    )
    proto = model(
        [choose, again],
        [port("x", 2, 3), port("c", kind=BOOL), port("d", kind=BOOL)],
        ["u", "y"],
    )
    path = write(tmp_path, proto)
    graph = load_model(path, dims={}, fixed_inputs={"c": True, "d": False})
    assert graph.inputs == ("x",)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = interpret(graph, {"x": x})
    np.testing.assert_array_equal(found["u"], -(x + 2))
    np.testing.assert_array_equal(found["y"], -(x * 2))
    with pytest.raises(UnsupportedOpError, match="not known at compile time"):
        load_model(path, dims={}, fixed_inputs={"c": True})
    with pytest.raises(ModelError, match="no input 'q'"):
        load_model(path, dims={}, fixed_inputs={"q": True})


def test_a_branch_that_passes_an_outer_value_through(tmp_path):
    graph = helper.make_graph([], "g", [], [end("x")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
    proto = model([node], [port("x", 3)], ["y"], [constant("c", np.array(True))])
    x = np.arange(3, dtype=np.float32)
    found = interpret(load_model(write(tmp_path, proto), dims={}), {"x": x})
    np.testing.assert_array_equal(found["y"], x)


def test_nested_functions_with_attributes_are_inlined(tmp_path):
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(helper.make_attribute("alpha", 0.0))
    leaky.attribute[0].Clear()
    leaky.attribute[0].name, leaky.attribute[0].ref_attr_name = "alpha", "slope"
    leaky.attribute[0].type = 1
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    inner = helper.make_function("local", "Inner", ["a"], ["b"], [leaky], imports, ["slope"])
    calls = [
        helper.make_node("Inner", ["p"], ["t"], domain="local", name="one", slope=0.5),
        helper.make_node("Inner", ["t"], ["q"], domain="local", name="two", slope=0.1),
    ]
    outer = helper.make_function("local", "Outer", ["p"], ["q"], calls, imports)
    top = helper.make_node("Outer", ["x"], ["y"], domain="local", name="top")
    proto = model([top], [port("x", 3)], ["y"], functions=[inner, outer], domains=("local",))
    graph = load_model(write(tmp_path, proto), dims={})
    assert [node.sources for node in graph.nodes] == [
        ("top/one/LeakyRelu",),
        ("top/two/LeakyRelu",),
    ]
    x = np.array([-2, 0, 4], dtype=np.float32)
    found = interpret(graph, {"x": x})
    np.testing.assert_allclose(found["y"], np.where(x < 0, x * 0.05, x), rtol=1e-6)


def test_unsorted_nodes_are_sorted(tmp_path):
    nodes = [helper.make_node("Neg", ["t"], ["y"]), helper.make_node("Exp", ["x"], ["t"])]
    graph = load_model(write(tmp_path, model(nodes, [port("x", 2)], ["y"])), dims={})
    assert [node.op for node in graph.nodes] == ["Exp", "Neg"]


def test_every_node_carries_a_proto_in_the_graphs_own_form(tmp_path):
    node = helper.make_node("ReduceMean", ["x"], ["y"], name="mean", axes=[1], keepdims=0)
    graph = load_model(write(tmp_path, model([node], [port("x", 2, 3)], ["y"], opset=11)), dims={})
    (mean,) = graph.nodes
    proto = NodeProto.FromString(mean.proto)
    assert tuple(proto.input) == mean.inputs
    assert graph.value(mean.inputs[1]).const.tolist() == [1]
    assert "axes" not in [attribute.name for attribute in proto.attribute]
    assert mean.opset >= 18


def test_operators_without_a_row_stay_for_the_host(tmp_path):
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    graph = load_model(write(tmp_path, model([node], [port("x", 1, 3, 8, 8)], ["y"])), dims={})
    assert graph.value("y").shape == (1, 3, 4, 4)
    assert type(graph.nodes[0].attrs).__name__ == "OpaqueAttrs"


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_weights_of_other_float_types_keep_their_type(tmp_path, kind):
    weight = np.arange(6).reshape(2, 3).astype(kind)
    code = {2: 10, 8: 11}[weight.itemsize] if kind is not ml_dtypes.bfloat16 else 16
    tensor = helper.make_tensor("w", code, (2, 3), weight.tobytes(), raw=True)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = load_model(
        write(tmp_path, model([node], [port("x", 2, 3, kind=code)], ["y"], [tensor])), dims={}
    )
    value = graph.value("w")
    assert value.dtype is DType.from_numpy(kind)
    np.testing.assert_array_equal(value.const.astype(np.float64), np.arange(6).reshape(2, 3))


def test_four_bit_weights_are_unpacked(tmp_path):
    tensor = helper.make_tensor("w", TensorProto.INT4, (3,), [-8, 7, -1])
    node = helper.make_node("DequantizeLinear", ["w", "s"], ["y"])
    inits = [tensor, constant("s", np.float32(0.5))]
    graph = load_model(write(tmp_path, model([node], [], ["y"], inits, opset=21)), dims={})
    assert graph.value("w").const.tolist() == [-8, 7, -1]
    assert graph.value("w").dtype is DType.I8
    other = helper.make_node("Neg", ["w"], ["y"])
    with pytest.raises(UnsupportedOpError, match="4-bit"):
        load_model(write(tmp_path, model([other], [], ["y"], [tensor], opset=21)), dims={})


def test_a_weightless_initialiser_needs_the_models_word(tmp_path):
    proto = with_weight(TensorProto(name="w", data_type=1, dims=(2, 3)))
    with pytest.raises(ShapeError, match="holds 0 numbers"):
        load_model(write(tmp_path, proto), dims={})
    entry = proto.metadata_props.add()
    entry.key, entry.value = "weightless", "1"
    value = load_model(write(tmp_path, proto), dims={}).value("w")
    assert value.weightless
    assert value.is_const
    assert value.const is None
    assert inspect_model(tmp_path / "m.onnx").weightless


# ---- external data ----


def data_file(folder: Path, name: str = "w.bin", count: int = 6) -> None:
    (folder / name).write_bytes(np.arange(count, dtype=np.float32).tobytes())


def test_external_data_is_read_from_beside_the_model(tmp_path):
    (tmp_path / "sub").mkdir()
    data_file(tmp_path / "sub", count=8)
    proto = with_weight(external("w", "sub/w.bin", (2, 3), offset=8, length=24))
    value = load_model(write(tmp_path, proto), dims={}).value("w")
    assert value.const.ravel().tolist() == [2, 3, 4, 5, 6, 7]
    assert inspect_model(tmp_path / "m.onnx").external_bytes == 32


LOCATIONS = [
    ("/etc/passwd", "plain path"),
    ("../w.bin", "plain path"),
    ("sub/../../w.bin", "plain path"),
    ("..\\w.bin", "plain path"),
    ("", "plain path"),
    ("file:///etc/passwd", "plain path"),
    ("*/_ORT_MEM_ADDR_/*", "plain path"),
    ("w\0.bin", "plain path"),
    ("absent.bin", "no such file"),
    ("folder", "not a regular file"),
    ("pipe", "not a regular file"),
    ("link", "outside the model's folder"),
    ("linked_folder/w.bin", "outside the model's folder"),
]


@pytest.mark.parametrize(("location", "words"), LOCATIONS)
def test_external_data_cannot_leave_the_models_folder(tmp_path, location, words):
    home = tmp_path / "home"
    home.mkdir()
    (home / "folder").mkdir()
    os.mkfifo(home / "pipe")
    data_file(tmp_path)
    (home / "link").symlink_to(tmp_path / "w.bin")
    (home / "linked_folder").symlink_to(tmp_path)
    path = write(home, with_weight(external("w", location, (2, 3))))
    with pytest.raises(ExternalDataError, match=words):
        load_model(path, dims={})


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"offset": 4}, "outside 'w.bin'"),
        ({"offset": 2**62}, "outside 'w.bin'"),
        ({"length": 23}, "length 23 is not the 24 bytes"),
        ({"offset": -4}, "not a number"),
        ({"length": "x"}, "not a number"),
    ],
)
def test_external_ranges_are_checked(tmp_path, numbers, words):
    data_file(tmp_path)
    path = write(tmp_path, with_weight(external("w", "w.bin", (2, 3), **numbers)))
    with pytest.raises(ModelError, match=words):
        load_model(path, dims={})


def test_a_hub_cache_of_symlinks_into_a_blob_folder_is_read(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    data_file(blobs, "d41d8")
    write(blobs, with_weight(external("w", "model.onnx_data", (2, 3))), "c0ffee")
    (snapshot / "model.onnx").symlink_to("../../blobs/c0ffee")
    (snapshot / "model.onnx_data").symlink_to("../../blobs/d41d8")
    value = load_model(snapshot / "model.onnx", dims={}).value("w")
    assert value.const.sum() == 15


def test_large_masks_fold_and_large_weights_stay(tmp_path):
    """A causal mask of 4096 positions is computed at import; transposing a large weight is not."""
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["m"]),
        helper.make_node("Trilu", ["m"], ["mask"], upper=1),
        helper.make_node("Transpose", ["w"], ["wt"], name="transpose"),
        helper.make_node("Add", ["x", "mask"], ["y"]),
        helper.make_node("MatMul", ["x", "wt"], ["z"]),
    ]
    weight = TensorProto(name="w", data_type=1, dims=(2048, 4096))
    inits = [constant("s", np.array([4096, 4096])), weight]
    proto = model(nodes, [port("x", 4096, 4096)], ["y", "z"], inits)
    weight_bytes = np.zeros((2048, 4096), dtype=np.float32).tobytes()
    proto.graph.initializer[1].raw_data = weight_bytes
    graph = load_model(write(tmp_path, proto), dims={})
    assert graph.value("mask").const is not None
    assert [node.op for node in graph.nodes] == ["Transpose", "Add", "MatMul"]


def test_a_bool_input_kind_is_kept(tmp_path):
    node = helper.make_node("Not", ["x"], ["y"])
    graph = load_model(write(tmp_path, model([node], [port("x", 2, kind=BOOL)], ["y"])), dims={})
    assert graph.value("y").dtype is DType.BOOL
    ids = helper.make_node("Identity", ["x"], ["y"])
    graph = load_model(write(tmp_path, model([ids], [port("x", 2, kind=INT64)], ["y"])), dims={})
    assert graph.value("y").dtype is DType.I64


def test_nodes_of_one_name_are_numbered_past_the_names_that_are_taken(tmp_path):
    names = ["", "", "Neg.1", "", "Neg"]
    ends = ["x", "a", "b", "c", "d", "y"]
    nodes = [
        helper.make_node("Neg", [start], [end], name=name)
        for name, start, end in zip(names, ends, ends[1:], strict=False)
    ]
    graph = load_model(write(tmp_path, model(nodes, [port("x", 4)], ["y"])), dims={})
    assert [node.name for node in graph.nodes] == ["Neg", "Neg.1", "Neg.1.1", "Neg.2", "Neg.3"]
