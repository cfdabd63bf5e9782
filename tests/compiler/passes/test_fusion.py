"""Decomposed patterns as exporters write them: which node remains, and that it computes the
same.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from compiler.graph.chip_ops import Fn, NormKind, Op
from compiler.graph.graph import Graph
from compiler.graph.interpret import interpret
from compiler.passes import Precision, run
from tests.compiler.passes.onnx_text import Model, assert_close, kinds, loaded, run_ort

F = np.float32
LAST = np.asarray([-1], np.int64)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(F)


def fused(model: Model, *, fold_limit_elems: int = 1 << 22, **wanted: int) -> Graph:
    """Run the pipeline, compare with onnxruntime, check counts of ops (others must not occur)."""
    proto = model.proto()
    graph = loaded(proto, fold_limit_elems=fold_limit_elems)
    final = run(graph, precision=Precision.FP32)
    got = list(interpret(final, model.inputs).values())
    assert_close(got, run_ort(proto, model.inputs), 2e-5)
    free = {Op.VIEW, Op.PERMUTE, Op.SLICE, Op.EXPAND}
    assert {op: n for op, n in kinds(final).items() if op not in free} == wanted, str(final)
    assert run(final, precision=Precision.FP32) is final
    return final


def only(graph: Graph, op: str):
    (node,) = [node for node in graph.nodes if node.op == op]
    return node


def steps_of(graph: Graph) -> list[Fn]:
    return [
        step.fn for node in graph.nodes if hasattr(node.attrs, "steps") for step in node.attrs.steps
    ]


@pytest.mark.parametrize("square", ["pow", "mul"])
@pytest.mark.parametrize("root", ["div-sqrt", "mul-recip", "mul-div1", "mul-pow"])
@pytest.mark.parametrize("kind", list(NormKind))
@pytest.mark.parametrize("twice", [True, False])
def test_normalisation(square, root, kind, twice):
    m = Model()
    x = m.input("x", floats(2, 3, 17))
    inner, again = x, x
    if kind is NormKind.LAYER:
        inner = m.node("Sub", x, m.node("ReduceMean", x, LAST))
        again = m.node("Sub", x, m.node("ReduceMean", x, LAST)) if twice else inner
    power = m.node("Pow", again, F(2)) if square == "pow" else m.node("Mul", again, again)
    total = m.node("Add", m.node("ReduceMean", power, LAST), F(1e-5))
    if root == "div-sqrt":
        y = m.node("Div", inner, m.node("Sqrt", total))
    else:
        scale = {
            "mul-recip": lambda: m.node("Reciprocal", m.node("Sqrt", total)),
            "mul-div1": lambda: m.node("Div", F(1), m.node("Sqrt", total)),
            "mul-pow": lambda: m.node("Pow", total, F(-0.5)),
        }[root]()
        y = m.node("Mul", inner, scale)
    y = m.node("Mul", m.const(floats(17, seed=1)), y)
    if kind is NormKind.LAYER:
        y = m.node("Add", y, floats(17, seed=2))
    node = only(fused(m.output(y), Norm=1), Op.NORM)
    assert (node.attrs.kind, node.attrs.eps) == (kind, pytest.approx(1e-5))
    assert len(node.inputs) == (3 if kind is NormKind.LAYER else 2)


def test_a_shared_norm_keeps_its_rows_apart():
    m = Model()
    x = m.input("x", floats(2, 3, 17))
    total = m.node("Add", m.node("ReduceMean", m.node("Pow", x, F(2)), LAST), F(1e-5))
    unit = m.node("Div", x, m.node("Sqrt", total))
    one, two = (m.node("Mul", unit, floats(17, seed=i)) for i in (1, 2))
    fused(m.output(one, two), Norm=1, Elementwise=2)


def _erf_gelu(m: Model, x: str, order: str) -> object:
    gate = m.node("Add", m.node("Erf", m.node("Div", x, F(math.sqrt(2)))), F(1))
    if order == "half-last":
        return m.node("Mul", m.node("Mul", x, gate), F(0.5))
    if order == "half-first":
        return m.node("Mul", m.node("Mul", x, F(0.5)), gate)
    return m.node("Mul", x, m.node("Mul", gate, F(0.5)))


@pytest.mark.parametrize("order", ["half-last", "half-first", "half-gate"])
def test_gelu_by_erf(order):
    m = Model()
    graph = fused(m.output(_erf_gelu(m, m.input("x", floats(3, 17)), order)), Elementwise=1)
    assert steps_of(graph) == [Fn.GELU]


@pytest.mark.parametrize("cube", ["pow", "mul", "factored"])
def test_gelu_by_tanh(cube):
    m = Model()
    x = m.input("x", floats(3, 17))
    if cube == "factored":
        square = m.node("Mul", m.node("Mul", x, x), F(0.044715))
        inner = m.node("Mul", m.node("Mul", x, m.node("Add", square, F(1))), F(0.7978845608))
    else:
        third = m.node("Pow", x, F(3)) if cube == "pow" else m.node("Mul", m.node("Mul", x, x), x)
        inner = m.node("Mul", m.node("Add", x, m.node("Mul", third, F(0.044715))), F(0.7978845608))
    gate = m.node("Add", m.node("Tanh", inner), F(1))
    graph = fused(m.output(m.node("Mul", m.node("Mul", x, F(0.5)), gate)), Elementwise=1)
    assert steps_of(graph) == [Fn.GELU_TANH]


def test_a_gelu_with_another_constant_is_no_gelu():
    m = Model()
    x = m.input("x", floats(3, 17))
    gate = m.node("Add", m.node("Erf", m.node("Div", x, F(1.7))), F(1))
    m.output(m.node("Mul", m.node("Mul", x, gate), F(0.5)))
    final = run(loaded(m.proto()), precision=Precision.FP32)
    assert Fn.GELU not in steps_of(final)
    assert_close(list(interpret(final, m.inputs).values()), run_ort(m.proto(), m.inputs), 2e-5)


def test_silu_and_sigmoid():
    m = Model()
    x = m.input("x", floats(3, 17))
    plain = m.node("Mul", x, m.node("Sigmoid", x))
    spelled = m.node("Div", F(1), m.node("Add", m.node("Exp", m.node("Neg", x)), F(1)))
    graph = fused(m.output(plain, spelled), Elementwise=2)
    assert sorted(fn.value for fn in steps_of(graph)) == ["sigmoid", "silu"]


def test_softmax():
    m = Model()
    x = m.input("x", floats(3, 17))
    power = m.node("Exp", m.node("Sub", x, m.node("ReduceMax", x, LAST)))
    fused(m.output(m.node("Div", power, m.node("ReduceSum", power, LAST))), Softmax=1)


def _ints(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


def _rotate_half(m: Model, x: object, size: int) -> object:
    first = m.node("Slice", x, _ints(0), _ints(size // 2), _ints(-1))
    second = m.node("Slice", x, _ints(size // 2), _ints(1 << 40), _ints(-1))
    return m.node("Concat", m.node("Neg", second), first, axis=-1)


def _rope(m: Model, x: object, cos: object, sin: object, size: int) -> object:
    return m.node("Add", m.node("Mul", x, cos), m.node("Mul", _rotate_half(m, x, size), sin))


@pytest.mark.parametrize("before", [True, False], ids=["before-transpose", "after-transpose"])
def test_rope(before):
    m = Model()
    x = m.input("x", floats(2, 5, 3 * 8))
    tables = [m.input(n, floats(2, 5, 8, seed=i)) for i, n in ((1, "cos"), (2, "sin"))]
    cos, sin = (m.node("Unsqueeze", t, _ints(2 if before else 1)) for t in tables)
    y = m.node("Reshape", x, _ints(2, 5, 3, 8))
    if before:
        y = m.node("Transpose", _rope(m, y, cos, sin, 8), perm=[0, 2, 1, 3])
    else:
        y = _rope(m, m.node("Transpose", y, perm=[0, 2, 1, 3]), cos, sin, 8)
    graph = fused(m.output(y), Rope=1)
    node = only(graph, Op.ROPE)
    assert graph.value(node.outputs[0]).shape == (2, 3, 5, 8)
    assert (node.attrs.interleaved, node.attrs.rotary_dim) == (False, 8)


def test_rope_of_the_first_elements():
    m = Model()
    x = m.input("x", floats(2, 3, 5, 8))
    tables = [m.input(n, floats(1, 1, 5, 4, seed=i)) for i, n in ((1, "cos"), (2, "sin"))]
    head = m.node("Slice", x, _ints(0), _ints(4), _ints(3))
    tail = m.node("Slice", x, _ints(4), _ints(1 << 40), _ints(3))
    graph = fused(m.output(m.node("Concat", _rope(m, head, *tables, 4), tail, axis=-1)), Rope=1)
    assert only(graph, Op.ROPE).attrs.rotary_dim == 4


def test_rope_of_neighbours():
    m = Model()
    x = m.input("x", floats(2, 3, 5, 8))
    tables = [m.input(n, floats(1, 1, 5, 8, seed=i)) for i, n in ((1, "cos"), (2, "sin"))]
    odd = m.node("Slice", x, _ints(1), _ints(8), _ints(3), _ints(2))
    even = m.node("Slice", x, _ints(0), _ints(8), _ints(3), _ints(2))
    pair = [m.node("Unsqueeze", p, _ints(-1)) for p in (m.node("Neg", odd), even)]
    turned = m.node("Reshape", m.node("Concat", *pair, axis=-1), _ints(2, 3, 5, 8))
    y = m.node("Add", m.node("Mul", x, tables[0]), m.node("Mul", turned, tables[1]))
    assert only(fused(m.output(y), Rope=1), Op.ROPE).attrs.interleaved


def test_rope_by_halves():
    m = Model()
    x = m.input("x", floats(2, 3, 5, 8))
    cos, sin = (m.input(n, floats(1, 1, 5, 4, seed=i)) for i, n in ((1, "cos"), (2, "sin")))
    one = m.node("Slice", x, _ints(0), _ints(4), _ints(3))
    two = m.node("Slice", x, _ints(4), _ints(8), _ints(3))
    first = m.node("Sub", m.node("Mul", one, cos), m.node("Mul", two, sin))
    second = m.node("Add", m.node("Mul", two, cos), m.node("Mul", one, sin))
    fused(m.output(m.node("Concat", first, second, axis=-1)), Rope=1)


def _heads(m: Model, x: str, heads: int, rows: int, size: int, *, perm: tuple) -> object:
    return m.node("Transpose", m.node("Reshape", x, _ints(2, rows, heads, size)), perm=perm)


def _attention(m: Model, scores_of, *, k_perm=(0, 2, 3, 1), q_scale=None, k_scale=None, after=None):
    """Attention with 3 heads of 4 over 5 queries and keys; `scores_of` masks the scores."""
    q, k, v = (m.input(n, floats(2, 5, 12, seed=i)) for i, n in enumerate("qkv"))
    q, v = _heads(m, q, 3, 5, 4, perm=(0, 2, 1, 3)), _heads(m, v, 3, 5, 4, perm=(0, 2, 1, 3))
    k = _heads(m, k, 3, 5, 4, perm=k_perm)
    if k_perm == (0, 2, 1, 3):
        k = m.node("Transpose", k, perm=[0, 1, 3, 2])
    q = q if q_scale is None else m.node("Mul", q, F(q_scale))
    k = k if k_scale is None else m.node("Mul", k, F(k_scale))
    p = m.node("Softmax", scores_of(m.node("MatMul", q, k)), axis=-1)
    p = p if after is None else after(p)
    y = m.node("Transpose", m.node("MatMul", p, v), perm=[0, 2, 1, 3])
    return m.output(m.node("Reshape", y, _ints(2, 5, 12)))


CAUSAL = np.tril(np.ones((1, 1, 5, 5), np.bool_))


@pytest.mark.parametrize("k_perm", [(0, 2, 3, 1), (0, 2, 1, 3)])
@pytest.mark.parametrize("scale", ["mul", "div", "q", "both", "none"])
def test_attention_scales(k_perm, scale):
    m = Model()
    scales = {"q": {"q_scale": 0.5}, "both": {"q_scale": 0.25, "k_scale": 2.0}}.get(scale, {})
    scores = {"mul": lambda s: m.node("Mul", s, F(0.5)), "div": lambda s: m.node("Div", s, F(2))}
    _attention(m, scores.get(scale, lambda s: s), k_perm=k_perm, **scales)
    node = only(fused(m, Attention=1), Op.ATTENTION)
    assert node.attrs.scale == pytest.approx(1.0 if scale == "none" else 0.5)
    assert len(node.inputs) == 3


def _nan_guard(m: Model):
    return lambda p: m.node("Where", m.node("IsNaN", p), F(0), p)


@pytest.mark.parametrize("fill", [-np.inf, np.finfo(F).min, -10000.0])
@pytest.mark.parametrize("form", ["add", "where", "where-not", "add-guard"])
def test_causal_attention_becomes_a_flag(fill, form):
    m = Model()
    additive = np.where(CAUSAL, F(0), F(fill))

    def masked(s):
        s = m.node("Mul", s, F(0.5))
        if form == "where":
            return m.node("Where", CAUSAL, s, F(fill))
        if form == "where-not":
            return m.node("Where", ~CAUSAL, F(fill), s)
        return m.node("Add", s, additive)

    _attention(m, masked, after=_nan_guard(m) if form == "add-guard" else None)
    node = only(fused(m, Attention=1), Op.ATTENTION)
    assert (node.attrs.causal, node.attrs.causal_offset, len(node.inputs)) == (True, 0, 3)


def test_a_mask_that_is_not_causal_stays_a_mask():
    m = Model()
    additive = np.where(CAUSAL, F(0), F(-np.inf))
    additive[0, 0, 4, 1] = -np.inf
    _attention(m, lambda s: m.node("Add", additive, s))
    node = only(fused(m, Attention=1), Op.ATTENTION)
    assert not node.attrs.causal and len(node.inputs) == 4


@pytest.mark.parametrize("fill", [-np.inf, float(np.finfo(F).min)])
def test_padding_and_causality(fill):
    m = Model()
    keep = np.ones((2, 5), np.int64)
    keep[1, 3:] = 0
    pad = m.node("Cast", m.input("attention_mask", keep), to=9)
    both = m.node("And", CAUSAL, m.node("Unsqueeze", pad, _ints(1, 2)))
    mask = m.node("Where", both, F(0), F(fill))
    _attention(m, lambda s: m.node("Add", s, mask))
    final = fused(m, Attention=1, Elementwise=2)
    node = only(final, Op.ATTENTION)
    assert node.attrs.causal == (fill == -np.inf)
    assert final.value(node.inputs[3]).shape == (
        (2, 1, 1, 5) if node.attrs.causal else (2, 1, 5, 5)
    )


def test_mask_by_arithmetic_as_bert_writes_it():
    m = Model()
    keep = np.ones((2, 5), np.int64)
    keep[0, 4] = 0
    mask = m.node("Cast", m.node("Unsqueeze", m.input("mask", keep), _ints(1, 2)), to=1)
    mask = m.node("Mul", m.node("Sub", F(1), mask), F(np.finfo(F).min))
    _attention(m, lambda s: m.node("Add", m.node("Div", s, F(2)), mask))
    final = fused(m, Attention=1, Elementwise=1)
    assert final.value(only(final, Op.ATTENTION).inputs[3]).shape == (2, 1, 1, 5)


def test_softcap():
    m = Model()

    def capped(s):
        s = m.node("Mul", s, F(0.5))
        return m.node("Mul", m.node("Tanh", m.node("Div", s, F(3))), F(3))

    _attention(m, capped)
    attrs = only(fused(m, Attention=1), Op.ATTENTION).attrs
    assert (attrs.softcap, attrs.scale) == (pytest.approx(3.0), pytest.approx(0.5))


def test_batched_attention_on_flattened_heads():
    """As BART and OPT write it: [B·H, S, D] products, the mask added in [B, H, S, S]."""
    m = Model()
    q, k, v = (m.input(n, floats(6, 5, 4, seed=i)) for i, n in enumerate("qkv"))
    s = m.node("MatMul", q, m.node("Transpose", k, perm=[0, 2, 1]))
    s = m.node("Add", m.node("Reshape", s, _ints(2, 3, 5, 5)), m.input("mask", floats(2, 1, 5, 5)))
    p = m.node("Softmax", m.node("Reshape", s, _ints(6, 5, 5)), axis=-1)
    m.output(m.node("MatMul", p, v))
    final = fused(m, Attention=1)
    assert final.value(only(final, Op.ATTENTION).inputs[0]).shape == (2, 3, 5, 4)


@pytest.mark.parametrize("shape", [(3, 1, 5), (5, 5), (2, 1, 1, 5), (1, 3, 5, 5)])
def test_biases_of_any_rank(shape):
    m = Model()
    bias = m.const(floats(*shape, seed=9))
    _attention(m, lambda s: m.node("Add", m.node("Mul", s, F(0.5)), bias))
    fused(m, Attention=1)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_grouped_heads_with_a_cache(kv_heads):
    m = Model()
    q = m.input("q", floats(2, 6, 1, 4))
    new, past = (
        [m.input(f"{n}{i}", floats(2, kv_heads, r, 4, seed=r + i)) for i in (0, 1)]
        for n, r in (("new", 1), ("past", 7))
    )
    present = [m.node("Concat", p, x, axis=-2) for p, x in zip(past, new, strict=True)]
    wide = []
    for x in present:
        y = m.node("Unsqueeze", x, _ints(2))
        y = m.node("Expand", y, _ints(2, kv_heads, 6 // kv_heads, 8, 4))
        wide.append(m.node("Reshape", y, _ints(2, 6, 8, 4)))
    s = m.node("MatMul", q, m.node("Transpose", wide[0], perm=[0, 1, 3, 2]))
    p = m.node("Softmax", m.node("Mul", s, F(0.5)), axis=-1)
    m.output(m.node("MatMul", p, wide[1]), *present)
    final = fused(m, Attention=1, Concat=2)
    node = only(final, Op.ATTENTION)
    assert node.inputs[1:3] == tuple(present)
    assert final.value(node.inputs[1]).shape == (2, kv_heads, 8, 4)


def test_probabilities_that_are_an_output_are_not_fused_away():
    m = Model()
    q, k, v = (m.input(n, floats(2, 3, 5, 4, seed=i)) for i, n in enumerate("qkv"))
    p = m.node("Softmax", m.node("MatMul", q, m.node("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    fused(m.output(p, m.node("MatMul", p, v)), Gemm=2, Softmax=1)


def test_linear_layer_with_everything():
    m = Model()
    x, r = m.input("x", floats(2, 3, 160)), m.input("r", floats(2, 3, 170, seed=1))
    w = m.node("Transpose", m.const(floats(170, 160, seed=2)), perm=[1, 0])
    y = m.node("Add", m.node("MatMul", x, w), floats(170, seed=3))
    y = m.node("Add", r, m.node("Mul", m.node("Relu", y), F(2)))
    node = only(fused(m.output(y), Gemm=1, fold_limit_elems=1000), Op.GEMM)
    assert [step.fn for step in node.attrs.steps] == [Fn.RELU, Fn.MUL, Fn.ADD]
    assert node.attrs.trans_b and node.inputs[2]


def test_an_epilogue_operand_that_comes_later_keeps_the_order():
    m = Model()
    x = m.input("x", floats(3, 8))
    first = m.node("MatMul", x, floats(8, 8, seed=1))
    late = m.node("Tanh", m.node("MatMul", m.node("Tanh", x), floats(8, 8, seed=2)))
    final = fused(m.output(m.node("Add", first, late)), Gemm=2, Elementwise=1)
    assert len(final.nodes) == 3


def test_values_that_are_read_twice_or_outputs_stay():
    m = Model()
    x = m.input("x", floats(3, 8))
    y = m.node("MatMul", x, floats(8, 8, seed=1))
    z = m.node("Tanh", y)
    fused(m.output(y, z, m.node("Exp", m.node("Neg", z))), Gemm=1, Elementwise=2)


def test_chains_merge_up_to_six_steps():
    m = Model()
    y = m.input("x", np.abs(floats(3, 8)))
    for op in ("Tanh", "Neg", "Exp", "Sqrt", "Sin", "Cos", "Abs"):
        y = m.node(op, y)
    final = fused(m.output(y), Elementwise=2)
    assert sorted(len(node.attrs.steps) for node in final.nodes) == [1, 6]


def test_integer_and_float_parts_of_a_chain_keep_their_meaning():
    m = Model()
    x = m.input("x", np.arange(-4, 8, dtype=np.int64))
    half = m.node("Div", x, np.asarray(2, np.int64))
    y = m.node("Div", m.node("Cast", half, to=1), F(2))
    back = m.node("Add", m.node("Cast", m.node("Mul", y, F(1.5)), to=7), np.asarray(3, np.int64))
    fused(m.output(back), Elementwise=1)


def test_quantised_product():
    m = Model()
    x = m.input("x", floats(3, 16))
    scale, zero = m.const(F(0.02)), m.const(np.uint8(120))
    a = m.node("QuantizeLinear", x, scale, zero)
    a = m.node("DequantizeLinear", a, scale, zero)
    codes = np.random.default_rng(1).integers(-127, 128, (16, 5)).astype(np.int8)
    b = m.node("DequantizeLinear", codes, np.abs(floats(5, seed=2)), np.zeros(5, np.int8), axis=1)
    y = m.node("Add", m.node("MatMul", a, b), floats(5, seed=3))
    node = only(fused(m.output(y), Quantize=1, Gemm=1), Op.GEMM)
    assert node.attrs.quant.a_zero_point == 120 - 128
    assert len(node.attrs.quant.w_scale) == 5


def test_dynamically_quantised_product():
    m = Model()
    x = m.input("x", floats(3, 16))
    q, scale, zero = m.node("DynamicQuantizeLinear", x, outputs=3)
    codes = np.random.default_rng(1).integers(0, 256, (16, 5)).astype(np.uint8)
    y = m.node("MatMulInteger", q, codes, zero, np.uint8(128))
    y = m.node("Mul", m.node("Cast", y, to=1), m.node("Mul", scale, np.abs(floats(5, seed=2))))
    proto = m.output(y).proto()
    final = run(loaded(proto), precision=Precision.FP32)
    assert kinds(final)[Op.HOST] == 0 and kinds(final)[Op.GEMM] == 1
    assert_close(list(interpret(final, m.inputs).values()), run_ort(proto, m.inputs), 1e-4)
