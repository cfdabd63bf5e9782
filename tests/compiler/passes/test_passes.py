"""Folding, cleaning, the rewrite engine, chains, precision, int8 and the verifier, one by one."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from athena.errors import InternalError, UnsupportedOpError, UsageError
from compiler.graph import chip_ops as c
from compiler.graph.graph import Graph
from compiler.graph.interpret import interpret
from compiler.graph.types import NO_ATTRS, DType, Node, Value
from compiler.ops import attrs as onnx_attrs
from compiler.passes import Calibration, Precision, calibrate, run
from compiler.passes.canonicalise import Canonicalise
from compiler.passes.chains import append, conversion, float_after, rooted_at
from compiler.passes.clean import RemoveDead, ShareCommon
from compiler.passes.engine import Rewrite, RewritePass
from compiler.passes.fold import FoldConstants
from compiler.passes.int8 import activation_code
from compiler.passes.verify import verify
from tests.compiler.passes.onnx_text import Model, assert_close, floats, ints, kinds, loaded


class Sketch:
    """A graph by hand."""

    def __init__(self) -> None:
        self.edit = Graph("sketch").edit()
        self.inputs: list[str] = []

    def input(self, name: str, shape: tuple, dtype: DType = DType.F32) -> str:
        self.edit.set_value(Value(name=name, dtype=dtype, shape=shape))
        self.inputs.append(name)
        return name

    def const(self, name: str, array: np.ndarray) -> str:
        dtype = DType.from_numpy(array.dtype)
        self.edit.set_value(Value(name=name, dtype=dtype, shape=array.shape, const=array))
        return name

    def weightless(self, name: str, shape: tuple) -> str:
        self.edit.set_value(Value(name=name, dtype=DType.F32, shape=shape, weightless=True))
        return name

    def node(
        self,
        op: str,
        inputs: list,
        output: str,
        shape: tuple,
        attrs=NO_ATTRS,
        dtype=DType.F32,
        domain="chip",
    ):
        self.edit.set_value(Value(name=output, dtype=dtype, shape=shape))
        opset = 0 if domain == "chip" else 18
        made = Node(
            name=f"n_{output}",
            op=op,
            inputs=tuple(inputs),
            outputs=(output,),
            attrs=attrs,
            domain=domain,
            opset=opset,
        )
        self.edit.add_node(made)
        return output

    def graph(self, *outputs: str) -> Graph:
        self.edit.set_interface(inputs=self.inputs, outputs=outputs)
        return self.edit.freeze()


def steps(*made: c.Step) -> c.ElementwiseAttrs:
    return c.ElementwiseAttrs(steps=made)


def test_folding_computes_chains_and_stops_at_inputs():
    s = Sketch()
    x, w = s.input("x", (3,)), s.const("w", floats(3))
    a = s.node("Elementwise", [w], "a", (3,), steps(c.Step(fn=c.Fn.NEG)))
    b = s.node("Elementwise", [a], "b", (3,), steps(c.Step(fn=c.Fn.EXP)))
    s.node("Elementwise", [x, b], "y", (3,), steps(c.Step(fn=c.Fn.ADD, operand=1)))
    graph = s.graph("y")
    folded = FoldConstants()(graph)
    assert [n.outputs[0] for n in folded.nodes] == ["y"]
    np.testing.assert_allclose(folded.value("b").const, np.exp(-graph.value("w").const), rtol=1e-6)
    assert FoldConstants()(folded) is folded


def test_folding_has_a_size_limit_and_leaves_large_transposes():
    s = Sketch()
    one, w = s.const("one", floats(1)), s.const("w", floats(200, 200))
    s.node("Expand", [one], "big", (300,))
    s.node("Permute", [w], "turned", (200, 200), c.PermuteAttrs(perm=(1, 0)))
    s.input("x", (3,))
    s.node("View", ["x"], "y", (3,))
    s.node("View", ["big"], "z", (300,))
    s.node("View", ["turned"], "t", (40000,))
    graph = s.graph("y", "z", "t")
    kept = FoldConstants(limit_bytes=100)(graph)
    assert kept is graph
    assert FoldConstants(weights=True)(graph).value("turned").is_const


def test_folding_keeps_weightless_values_weightless():
    s = Sketch()
    w = s.weightless("w", (4, 3))
    s.node("Permute", [w], "t", (3, 4), c.PermuteAttrs(perm=(1, 0)))
    s.node("Gemm", [s.input("x", (2, 3)), "t"], "y", (2, 4), c.GemmAttrs())
    folded = FoldConstants(weights=True)(s.graph("y"))
    assert folded.value("t").weightless and folded.value("t").const is None


def test_dead_nodes_and_values_go():
    s = Sketch()
    x = s.input("x", (3,))
    s.node("Elementwise", [x], "y", (3,), steps(c.Step(fn=c.Fn.ABS)))
    s.node(
        "Elementwise",
        [x, s.const("w", floats(3))],
        "unused",
        (3,),
        steps(c.Step(fn=c.Fn.ADD, operand=1)),
    )
    graph = RemoveDead()(s.graph("y"))
    assert set(graph.values) == {"x", "y"}
    assert RemoveDead()(graph) is graph


def test_equal_nodes_and_constants_are_shared_but_not_outputs():
    s = Sketch()
    x = s.input("x", (3,))
    for i in (1, 2):
        w = s.const(f"w{i}", np.ones(3, np.float32))
        s.node("Elementwise", [x, w], f"a{i}", (3,), steps(c.Step(fn=c.Fn.ADD, operand=1)))
        s.node("Elementwise", [f"a{i}"], f"b{i}", (3,), steps(c.Step(fn=c.Fn.EXP)))
    graph = s.graph("b1", "b2")
    shared = ShareCommon()(graph)
    assert sorted(n.outputs[0] for n in shared.nodes) == ["a1", "b1", "b2"]
    assert_close(
        list(interpret(shared, {"x": floats(3)}).values()),
        list(interpret(graph, {"x": floats(3)}).values()),
    )
    assert ShareCommon()(shared) is shared


def test_different_large_constants_are_not_shared():
    s = Sketch()
    s.input("x", (2, 100))
    for i in (1, 2):
        s.const(f"w{i}", floats(100, 100, seed=i))
        s.node("Gemm", ["x", f"w{i}"], f"y{i}", (2, 100), c.GemmAttrs())
    graph = s.graph("y1", "y2")
    assert ShareCommon()(graph) is graph


def test_an_endless_rewrite_is_an_error():
    def grow(edit, node):
        edit.replace_node(replace(node, sources=(*node.sources, "again")[-3:]))
        return True

    s = Sketch()
    s.node("View", [s.input("x", (3,))], "y", (3,))
    endless = RewritePass(
        name="endless", rewrites=(Rewrite(name="grow", pattern=("View",), apply=grow),)
    )
    with pytest.raises(InternalError, match="end"):
        endless(s.graph("y"))


def test_chains_can_start_at_another_operand():
    add = c.Step(fn=c.Fn.ADD, operand=1)
    sub = c.Step(fn=c.Fn.SUB, operand=1)
    assert rooted_at((add,), ("a", "b"), "b") == ((add,), ("b", "a"))
    assert rooted_at((sub,), ("a", "b"), "b") == ((replace(sub, swap=True),), ("b", "a"))
    assert rooted_at((add,), ("a", "a"), "a") is None
    later = (c.Step(fn=c.Fn.EXP), add)
    assert rooted_at(later, ("a", "b"), "b") is None
    select = c.Step(fn=c.Fn.SELECT, operand=1, const2=0.0)
    assert rooted_at((select,), ("a", "b"), "b") is None


def test_appending_shares_inputs():
    first = ((c.Step(fn=c.Fn.MUL, operand=1),), ("x", "w"))
    second = ((c.Step(fn=c.Fn.ADD, operand=1), c.Step(fn=c.Fn.SUB, operand=2)), ("t", "w", "v"))
    made, names = append(first, second)
    assert names == ("x", "w", "v")
    assert [step.operand for step in made] == [1, 1, 2]


def test_number_formats_of_chains():
    div = c.Step(fn=c.Fn.DIV, const=2.0)
    assert not float_after((div,), (DType.I32,))
    assert float_after((c.Step(fn=c.Fn.DIV, const=2.5),), (DType.I32,))
    assert float_after((c.Step(fn=c.Fn.EXP),), (DType.I32,))
    assert not float_after((c.Step(fn=c.Fn.GT, const=0.0),), (DType.F32,))
    assert conversion((div,), (DType.I32,), DType.F32) == (c.Step(fn=c.Fn.CAST, to=DType.F32),)
    assert conversion((c.Step(fn=c.Fn.GT, const=0.0),), (DType.F32,), DType.BOOL) == ()


def test_wide_integers_become_32_bits_and_too_large_ones_are_refused():
    m = Model()
    m.output(m.node("Add", m.input("x", ints(3)), np.asarray([1, 2, 3], np.int64)))
    graph = Canonicalise()(loaded(m.proto()))
    assert {v.dtype for v in graph.values.values()} == {DType.I32}
    m = Model()
    m.output(m.node("Add", m.input("x", ints(2)), np.asarray([1 << 40, 2], np.int64)))
    with pytest.raises(UnsupportedOpError, match="32 bits"):
        Canonicalise()(loaded(m.proto()))


def test_host_nodes_say_why_and_what_they_expect():
    m = Model()
    values, places = m.node(
        "TopK", m.input("x", floats(2, 9)), np.asarray([3], np.int64), outputs=2
    )
    graph = run(loaded(m.output(values, places).proto()), precision=Precision.BF16)
    (node,) = graph.nodes
    attrs = node.attrs
    assert (attrs.onnx_op, attrs.onnx_domain) == ("TopK", "")
    assert "no unit" in attrs.reason
    assert attrs.input_dtypes == (DType.F32, DType.I64)
    assert attrs.node_proto
    got = interpret(graph, m.inputs)
    wanted = np.sort(m.inputs["x"], axis=1)[:, ::-1][:, :3]
    np.testing.assert_allclose(got[str(values)], wanted, rtol=1e-2)


def _mlp() -> tuple[Model, Graph]:
    m = Model()
    x = m.input("x", floats(4, 16))
    h = m.node("Relu", m.node("Gemm", x, floats(16, 32, seed=1), floats(32, seed=2)))
    m.output(m.node("MatMul", h, floats(32, 8, seed=3)))
    return m, loaded(m.proto())


def test_bf16_stores_activations_and_weights_but_not_biases_and_outputs():
    _, graph = _mlp()
    final = run(graph, precision=Precision.BF16)
    first, second = final.nodes
    dtypes = [final.value(name).dtype for name in (*first.inputs, *first.outputs)]
    assert dtypes == [DType.BF16, DType.BF16, DType.F32, DType.BF16]
    assert final.value(second.outputs[0]).dtype is DType.F32
    assert final.value(first.inputs[1]).const.dtype == ml_dtypes.bfloat16


def test_int8_codes_and_scales():
    m, graph = _mlp()
    calibration = calibrate(graph, [m.inputs], origin="test")
    assert (calibration.samples, calibration.origin) == (1, "test")
    final = run(graph, precision=Precision.INT8, calibration=calibration)
    assert kinds(final) == {"Quantize": 2, "Gemm": 2}
    gemm = next(node for node in final.nodes if node.op == c.Op.GEMM)
    weights, quant = final.value(gemm.inputs[1]).const, gemm.attrs.quant
    original = floats(16, 32, seed=1)
    limits = np.abs(original).max(axis=0)
    np.testing.assert_allclose(quant.w_scale, limits / 127, rtol=1e-6)
    assert weights.dtype == np.int8 and np.abs(weights).max() == 127
    np.testing.assert_allclose(
        weights * np.asarray(quant.w_scale), original, atol=limits.max() / 254 * 1.01
    )
    low, high = m.inputs["x"].min(), m.inputs["x"].max()
    assert quant.a_scale == pytest.approx((high - low) / 255, rel=1e-6)
    for edge in (low, high):
        code = np.rint(edge / quant.a_scale) + quant.a_zero_point
        assert -128 <= code <= 127


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (2.0, 3.0), (-3.0, -2.0), (0.0, 0.0)])
def test_activation_codes_hold_zero_and_both_ends(low, high):
    scale, zero = activation_code(low, high)
    assert scale > 0 and -128 <= zero <= 127
    for edge in (low, 0.0, high):
        assert -128.5 <= edge / scale + zero <= 127.5


def test_int8_needs_a_calibration_of_this_graph():
    _, graph = _mlp()
    with pytest.raises(UsageError, match="calibration"):
        run(graph, precision=Precision.INT8)
    with pytest.raises(UsageError, match="range of value"):
        run(graph, precision=Precision.INT8, calibration=Calibration())
    with pytest.raises(UsageError, match="sample"):
        calibrate(graph, [])


def test_coarser_scales_are_worse():
    m, graph = _mlp()
    wanted = interpret(graph, m.inputs)
    calibration = calibrate(graph, [m.inputs])
    errors = []
    for factor in (1.0, 4.0):
        final = run(
            graph, precision=Precision.INT8, calibration=calibration, int8_scale_factor=factor
        )
        got = interpret(final, m.inputs)
        errors.append(max(float(np.std(got[n].astype(float) - wanted[n])) for n in wanted))
    assert errors[1] > 2.5 * errors[0]


def test_weightless_models_go_through_every_precision():
    s = Sketch()
    x, w = s.input("x", (2, 300)), s.weightless("w", (400, 300))
    turned = s.node(
        "Transpose", [w], "t", (300, 400), onnx_attrs.TransposeAttrs(perm=(1, 0)), domain=""
    )
    s.node("MatMul", [x, turned], "y", (2, 400), domain="")
    graph = s.graph("y")
    for precision in Precision:
        final = run(graph, precision=precision, calibration=Calibration())
        gemm = next(node for node in final.nodes if node.op == c.Op.GEMM)
        assert gemm.attrs.trans_b and final.value(gemm.inputs[1]).weightless


BAD = {
    "view": ("View", [(2, 3)], (5,), NO_ATTRS, "elements"),
    "perm": ("Permute", [(2, 3)], (3, 2), c.PermuteAttrs(perm=(0, 0)), "perm"),
    "slice": ("Slice", [(5,)], (3,), c.SliceAttrs(starts=(3,), steps=(1,)), "3 elements from 3"),
    "gemm": ("Gemm", [(2, 3), (4, 5)], (2, 5), c.GemmAttrs(), "gives"),
    "bias": ("Gemm", [(2, 3), (3, 5), (4,)], (2, 5), c.GemmAttrs(), "bias"),
    "attrs": ("Softmax", [(2, 3)], (2, 3), NO_ATTRS, "class NoAttrs"),
    "steps": ("Elementwise", [(2,)], (2,), steps(*[c.Step(fn=c.Fn.ABS)] * 7), "7 steps"),
    "operand": (
        "Elementwise",
        [(2,)],
        (2,),
        steps(c.Step(fn=c.Fn.ADD, operand=1)),
        "reads no operand",
    ),
    "number": ("Elementwise", [(2,)], (2,), steps(c.Step(fn=c.Fn.ADD)), "operand or a number"),
    "power": ("Elementwise", [(2,)], (2,), steps(c.Step(fn=c.Fn.POW, const=7.0)), "pow"),
    "norm": ("Norm", [(2, 3), (2,)], (2, 3), c.NormAttrs(kind=c.NormKind.RMS, eps=0.1), "rows"),
    "heads": (
        "Attention",
        [(1, 3, 2, 4), (1, 2, 2, 4), (1, 2, 2, 4)],
        (1, 3, 2, 4),
        c.AttentionAttrs(scale=1.0),
        "2, 4",
    ),
    "rope": (
        "Rope",
        [(2, 8), (2, 3), (2, 3)],
        (2, 8),
        c.RopeAttrs(interleaved=False, rotary_dim=8),
        "table",
    ),
    "reduce": ("Reduce", [(2, 3)], (2, 1), c.ReduceAttrs(kind=c.ReduceKind.SUM), "to"),
    "unknown": ("Nothing", [(2,)], (2,), NO_ATTRS, "no chip-level op"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_verifier_names_what_is_wrong(name):
    op, shapes, out, attrs, text = BAD[name]
    s = Sketch()
    names = [s.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    s.node(op, names, "y", out, attrs)
    with pytest.raises(InternalError, match=text):
        verify(s.graph("y"))


def test_the_verifier_checks_constants():
    s = Sketch()
    s.node("View", [s.const("w", floats(3))], "y", (3,))
    s.edit.set_value(Value(name="w", dtype=DType.F32, shape=(3,), const=np.ones(3, np.int8)))
    with pytest.raises(InternalError, match="unlike its type"):
        verify(s.graph("y"))
