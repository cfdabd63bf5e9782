"""Reference semantics against formulas written separately, and their rounding points."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from athena.errors import InputError, ModelError
from compiler.graph import chip_ops as c
from compiler.graph.chip_reference import run_chip_node
from compiler.graph.elementwise_reference import erf, run_steps
from compiler.graph.graph import Graph
from compiler.graph.interpret import interpret
from compiler.graph.types import NO_ATTRS, DType, Node, Value

BF16 = ml_dtypes.bfloat16


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(op: str, arrays: list, shape: tuple, attrs=NO_ATTRS, dtype: DType = DType.F32):
    names = tuple(f"x{i}" if a is not None else "" for i, a in enumerate(arrays))
    node = Node(name="n", op=op, inputs=names, outputs=("y",), attrs=attrs, domain="chip")
    return run_chip_node(node, arrays, Value(name="y", dtype=dtype, shape=shape))


def test_erf_is_the_library_function():
    x = np.linspace(-7, 7, 2001)
    np.testing.assert_allclose(erf(x), [math.erf(v) for v in x], rtol=0, atol=1e-15)
    assert np.isnan(erf(np.asarray([np.nan]))[0])


FUNCTIONS = {
    c.Fn.GELU: lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    c.Fn.GELU_TANH: lambda x: (
        0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    c.Fn.SILU: lambda x: x / (1 + math.exp(-x)),
    c.Fn.SIGMOID: lambda x: 1 / (1 + math.exp(-x)),
    c.Fn.RSQRT: lambda x: abs(x) ** -0.5,
    c.Fn.RECIP: lambda x: 1 / x,
}


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_functions(fn):
    x = np.abs(floats(50)) + 0.1 if fn is c.Fn.RSQRT else floats(50)
    got = run_steps(x, (c.Step(fn=fn),), [x])
    np.testing.assert_allclose(got, [FUNCTIONS[fn](float(v)) for v in x], rtol=3e-7, atol=1e-7)


def test_swapped_steps_and_selection():
    x, y = floats(5), floats(5, seed=1)
    step = c.Step(fn=c.Fn.SUB, operand=1, swap=True)
    np.testing.assert_array_equal(run_steps(x, (step,), [x, y]), y - x)
    pick = (c.Step(fn=c.Fn.GT, const=0.0), c.Step(fn=c.Fn.SELECT, operand=1, const2=-math.inf))
    np.testing.assert_array_equal(run_steps(x, pick, [x, y]), np.where(x > 0, y, -np.inf))


def test_integer_steps_stay_integers():
    x = np.asarray([-7, -1, 0, 5, 2**30 + 1], np.int32)
    steps = (c.Step(fn=c.Fn.MUL, const=3.0), c.Step(fn=c.Fn.DIV, const=2.0))
    got = run_steps(x, steps, [x])
    assert got.tolist() == [int(math.trunc(3 * int(v) / 2)) for v in x]


def test_a_node_rounds_once():
    x = np.asarray([1.0078125], BF16)
    steps = (c.Step(fn=c.Fn.MUL, const=1.0039), c.Step(fn=c.Fn.MUL, const=1.0039))
    got = run("Elementwise", [x], (1,), c.ElementwiseAttrs(steps=steps), DType.BF16)
    exact = np.float32(np.float32(1.0078125) * np.float32(1.0039)) * np.float32(1.0039)
    assert got[0] == BF16(exact) != BF16(BF16(1.0078125 * 1.0039) * 1.0039)


def test_attention_formula_with_groups_causality_and_masked_rows():
    q, k, v = floats(2, 4, 3, 8), floats(2, 2, 5, 8, seed=1), floats(2, 2, 5, 6, seed=2)
    mask = floats(2, 1, 1, 5, seed=3)
    mask[1] = -np.inf
    attrs = c.AttentionAttrs(scale=0.3, causal=True, causal_offset=1)
    got = run("Attention", [q, k, v, mask], (2, 4, 3, 6), attrs)
    for b, h, i in np.ndindex(2, 4, 3):
        scores = [
            0.3 * float(q[b, h, i] @ k[b, h // 2, j]) + float(mask[b, 0, 0, j])
            for j in range(min(5, i + 2))
        ]
        weights = np.exp(scores)
        total = weights.sum()
        wanted = weights @ v[b, h // 2, : len(scores)] / total if total else np.zeros(6)
        np.testing.assert_allclose(got[b, h, i], wanted, rtol=1e-5, atol=1e-6)


def test_attention_rounds_probabilities_to_bf16_but_not_their_sum():
    q, k, v = (floats(1, 1, 4, 8, seed=i).astype(BF16) for i in range(3))
    got = run("Attention", [q, k, v], (1, 1, 4, 8), c.AttentionAttrs(scale=1.0), DType.BF16)
    s = q[0, 0].astype(np.float32) @ k[0, 0].astype(np.float32).T
    step = np.float32(2 * np.log(2.0))  # the row maximum is rounded up to a multiple of it
    top = np.ceil(s.max(-1, keepdims=True) * np.float32(1 / (2 * np.log(2.0)))) * step
    p = np.exp(s - top)
    wanted = (p.astype(BF16).astype(np.float32) @ v[0, 0].astype(np.float32)) / p.sum(
        -1, keepdims=True
    )
    np.testing.assert_array_equal(got[0, 0], wanted.astype(BF16))


def test_int8_product_is_exact():
    random = np.random.default_rng(0)
    a = random.integers(-128, 128, (3, 4096)).astype(np.int8)
    b = random.integers(-127, 128, (4096, 2)).astype(np.int8)
    quant = c.QuantAttrs(a_scale=0.5, a_zero_point=-3, w_scale=(0.25, 2.0))
    got = run("Gemm", [a, b], (3, 2), c.GemmAttrs(quant=quant))
    sums = (a.astype(object) + 3) @ b.astype(object)
    wanted = sums.astype(np.float32) * (np.float32(0.5) * np.asarray([0.25, 2.0], np.float32))
    np.testing.assert_array_equal(got, wanted)


def test_quantize_saturates_and_rounds_half_to_even():
    attrs = c.QuantizeAttrs(scale=(0.5,), zero_point=(10,))
    x = np.asarray([0.25, 0.75, -1.0, 1000.0, -1000.0], np.float32)
    got = run("Quantize", [x], (5,), attrs, DType.I8)
    assert got.tolist() == [10, 12, 8, 127, -128]
    back = run("Dequantize", [got], (5,), attrs)
    assert back.tolist() == [0.0, 1.0, -1.0, 58.5, -69.0]


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("half_table", [True, False])
def test_rope_turns_pairs_by_an_angle(interleaved, half_table):
    x, angle = floats(2, 3, 10), floats(3, 4, seed=1)
    cos, sin = np.cos(angle), np.sin(angle)
    if not half_table:
        cos, sin = (np.repeat(t, 2, -1) if interleaved else np.tile(t, 2) for t in (cos, sin))
    attrs = c.RopeAttrs(interleaved=interleaved, rotary_dim=8)
    got = run("Rope", [x, cos, sin], (2, 3, 10), attrs)
    np.testing.assert_array_equal(got[..., 8:], x[..., 8:])
    for i in range(4):
        p, r = (2 * i, 2 * i + 1) if interleaved else (i, i + 4)
        pair = (x[..., p] + 1j * x[..., r]) * np.exp(1j * angle[:, i])
        np.testing.assert_allclose(got[..., p] + 1j * got[..., r], pair, atol=1e-5)


def test_interpret_rounds_to_the_values_dtype_and_checks_inputs():
    edit = Graph().edit()
    edit.set_value(Value(name="x", dtype=DType.BF16, shape=(2,)))
    edit.set_value(Value(name="y", dtype=DType.F32, shape=(2,)))
    made = Node(
        name="n",
        op="Elementwise",
        inputs=("x",),
        outputs=("y",),
        attrs=c.ElementwiseAttrs(),
        domain="chip",
    )
    edit.add_node(made)
    edit.set_interface(inputs=("x",), outputs=("y",))
    graph = edit.freeze()
    x = np.asarray([1.00001, 3.14159], np.float32)
    got = interpret(graph, {"x": x}, keep=True)
    np.testing.assert_array_equal(got["y"], x.astype(BF16).astype(np.float32))
    assert set(got) == {"x", "y"}
    with pytest.raises(InputError, match="missing"):
        interpret(graph, {})
    with pytest.raises(InputError, match="shape"):
        interpret(graph, {"x": x[:1]})


def test_weightless_values_are_not_executed():
    edit = Graph().edit()
    edit.set_value(Value(name="w", dtype=DType.F32, shape=(2,), weightless=True))
    edit.set_value(Value(name="y", dtype=DType.F32, shape=(2,)))
    made = Node(
        name="n",
        op="Elementwise",
        inputs=("w",),
        outputs=("y",),
        attrs=c.ElementwiseAttrs(),
        domain="chip",
    )
    edit.add_node(made)
    edit.set_interface(inputs=(), outputs=("y",))
    with pytest.raises(ModelError, match="no data"):
        interpret(edit.freeze(), {})
