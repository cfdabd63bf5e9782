"""Every canonical form by meaning: one-operator models against onnxruntime, nothing left to the
host.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler.passes.onnx_text import Model, check, floats, ints, one

X = floats(2, 3, 5)
UNARY = (
    *("Abs", "Neg", "Exp", "Reciprocal", "Tanh", "Erf", "Sigmoid", "Sin", "Cos", "Floor", "Ceil"),
    *("Round", "Relu", "Sign", "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Elu", "Celu"),
    *("Selu", "ThresholdedRelu", "LeakyRelu", "Mish", "Identity", "Softmax", "LogSoftmax"),
)


@pytest.mark.parametrize("op", UNARY)
def test_unary(op):
    check(one(op, X * 3))


@pytest.mark.parametrize("op", ["Sqrt", "Log"])
def test_unary_of_positive_numbers(op):
    check(one(op, np.abs(X) + 0.1))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_of_any_axis(op, axis):
    check(one(op, X, axis=axis))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 1), (2, 3, 5), (4, 2, 3, 5)])
@pytest.mark.parametrize("first", [True, False])
def test_binary_with_constant(op, shape, first):
    m = Model()
    x, c = m.input("x", X), m.const(np.abs(floats(*shape, seed=1)) + 0.5)
    check(m.output(m.node(op, *((x, c) if first else (c, x)))))


@pytest.mark.parametrize("op", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
@pytest.mark.parametrize("other", [2, ints(4, 1, seed=2)])
def test_comparison(op, other):
    check(one(op, ints(4, 6), np.asarray(other, np.int64)))


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op):
    m = Model()
    a, b = m.input("a", ints(3, 4) > 2), m.input("b", ints(3, 4, seed=1) > 2)
    check(m.output(m.node(op, a, b), m.node("Not", a)))


@pytest.mark.parametrize("divisor", [2, -3, 7])
def test_integer_division_truncates(divisor):
    check(one("Div", np.arange(-9, 9, dtype=np.int64), np.asarray(divisor, np.int64)))


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0])
def test_power(exponent):
    check(one("Pow", np.abs(X) + 0.1, np.float32(exponent)))


def test_power_of_a_constant_base():
    m = Model()
    check(m.output(m.node("Pow", np.float32(1.5), m.input("x", X))))


def test_power_by_a_tensor_stays_on_the_host():
    check(one("Pow", np.abs(X) + 0.1, floats(5)), host=1)


@pytest.mark.parametrize("bounds", [(-0.5, 0.5), (None, 0.2), (-0.1, None)])
def test_clip(bounds):
    names = ["" if bound is None else np.float32(bound) for bound in bounds]
    check(one("Clip", X, *names))


@pytest.mark.parametrize("to", [np.int32, np.int64, np.bool_, np.float16, np.float32])
def test_cast_from_float(to):
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(to))
    check(one("Cast", np.round(X * 3 * 8) / 8, to=kind), tolerance=1e-3)


def test_cast_to_integer_truncates():
    m = Model()
    check(m.output(m.node("Cast", m.input("x", np.asarray([-1.5, -0.5, 0.5, 1.5], "f")), to=7)))


@pytest.mark.parametrize("op", ["Sum", "Max", "Min", "Mean"])
def test_variadic(op):
    m = Model()
    names = [m.input(f"x{i}", floats(2, 3, seed=i)) for i in range(3)]
    check(m.output(m.node(op, *names)))


@pytest.mark.parametrize("consts", [(0.0, -np.inf), (1.5, 2.5)])
def test_where_with_numbers(consts):
    m = Model()
    keep = m.input("keep", ints(3, 4) > 1)
    check(m.output(m.node("Where", keep, np.float32(consts[0]), np.float32(consts[1]))))


def test_where_with_tensors_and_integers():
    m = Model()
    keep, a, b = m.input("k", ints(3, 1) > 1), m.input("a", ints(3, 4)), m.input("b", ints(4))
    chosen = m.node("Where", keep, a, b)
    check(m.output(chosen, m.node("Where", keep, chosen, np.asarray(7, np.int64))))


def test_not_a_number_and_infinity():
    m = Model()
    x = m.input("x", np.asarray([1.0, np.nan, np.inf, -np.inf, -2.0], "f"))
    check(m.output(m.node("IsNaN", x), m.node("IsInf", x), m.node("IsInf", x, detect_negative=0)))


MOVES = {
    "reshape": ("Reshape", (np.asarray([3, -1], np.int64),), {}),
    "flatten": ("Flatten", (), {"axis": 2}),
    "unsqueeze": ("Unsqueeze", (np.asarray([0, 2], np.int64),), {}),
    "transpose": ("Transpose", (), {"perm": [2, 0, 1]}),
    "transpose-all": ("Transpose", (), {}),
    "expand": ("Expand", (np.asarray([4, 2, 3, 5], np.int64),), {}),
    "tile": ("Tile", (np.asarray([2, 1, 3], np.int64),), {}),
    "slice": ("Slice", ([1], [3], [2], [1]), {}),
    "slice-back": ("Slice", ([-1], [-(1 << 40)], [2], [-2]), {}),
    "slice-two": ("Slice", ([0, 1], [1, 9], [0, -1], [1, 2]), {}),
    "gather-one": ("Gather", (np.asarray(1, np.int64),), {"axis": 1}),
    "gather-run": ("Gather", (np.asarray([1, 2], np.int64),), {"axis": 1}),
    "gather-steps": ("Gather", (np.asarray([4, 2, 0], np.int64),), {"axis": 2}),
    "gather-any": ("Gather", (np.asarray([[2, 0], [0, 1]], np.int64),), {"axis": 1}),
    "gather-repeat": ("Gather", (np.asarray([[0, 1], [0, 1]], np.int64),), {"axis": 0}),
    "gather-nd": ("GatherND", (np.asarray([[[0, 1], [0, 2]], [[1, 1], [1, 2]]], np.int64),), {}),
    "gather-nd-any": ("GatherND", (np.asarray([[1, 2], [0, 0]], np.int64),), {}),
    "gather-each": ("GatherElements", (ints(2, 2, 5, high=6) - 3,), {"axis": 1}),
    "pad": ("Pad", (np.asarray([0, 1, 0, 2, 0, 3], np.int64), np.float32(7)), {}),
    "pad-cut": ("Pad", (np.asarray([0, -1, 0, 1, 0, -2], np.int64),), {}),
    "trilu": ("Trilu", (), {"upper": 0}),
    "trilu-k": ("Trilu", (np.asarray(1, np.int64),), {}),
    "cumsum": ("CumSum", (np.asarray(2, np.int64),), {}),
    "cumsum-back": ("CumSum", (np.asarray(1, np.int64),), {"reverse": 1, "exclusive": 1}),
}


@pytest.mark.parametrize("name", MOVES)
def test_movement(name):
    op, others, attrs = MOVES[name]
    others = [np.asarray(x, np.int64) if isinstance(x, list) else x for x in others]
    check(one(op, X, *others, **attrs))


def test_split_concat_and_squeeze():
    m = Model()
    parts = m.node(
        "Split", m.input("x", floats(2, 6)), np.asarray([1, 3, 2], np.int64), outputs=3, axis=1
    )
    joined = m.node("Concat", parts[2], parts[0], m.const(floats(2, 2, seed=3)), axis=-1)
    check(m.output(parts[1], m.node("Squeeze", parts[0], np.asarray([1], np.int64)), joined))


def test_integer_running_sum_of_a_mask():
    m = Model()
    total = m.node("CumSum", m.input("x", ints(2, 9, high=2)), np.asarray(-1, np.int64))
    check(m.output(m.node("Sub", total, np.asarray(1, np.int64))))


@pytest.mark.parametrize(
    "op",
    [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSumExp",
    ],
)
@pytest.mark.parametrize("axes", [[-1], [1], [0, 2], None])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduction(op, axes, keepdims):
    others = () if axes is None else (np.asarray(axes, np.int64),)
    check(one(op, X, *others, keepdims=keepdims))


PRODUCTS = [
    ((2, 3, 5), (5, 4)),
    ((2, 3, 5), (2, 5, 4)),
    ((2, 3, 5), (1, 5, 4)),
    ((3, 5), (2, 5, 4)),
    ((5,), (5, 4)),
    ((2, 3, 5), (5,)),
    ((2, 1, 3, 5), (4, 5, 2)),
    ((2, 3, 1), (2, 1, 4)),
]


@pytest.mark.parametrize(("a", "b"), PRODUCTS)
@pytest.mark.parametrize("const", [True, False])
def test_matmul(a, b, const):
    m = Model()
    right = floats(*b, seed=1)
    y = m.const(right) if const else m.input("y", right)
    check(m.output(m.node("MatMul", m.input("x", floats(*a)), y)))


@pytest.mark.parametrize("trans", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("c", [None, (4,), (1, 4), (3, 1), (1,), (3, 4)])
def test_gemm(trans, c):
    m = Model()
    x = m.input("x", floats(*((5, 3) if trans[0] else (3, 5))))
    w = floats(*((4, 5) if trans[1] else (5, 4)), seed=1)
    extra = [] if c is None else [floats(*c, seed=2)]
    node = m.node("Gemm", x, w, *extra, transA=trans[0], transB=trans[1], alpha=0.5, beta=2.0)
    check(m.output(node))


@pytest.mark.parametrize(
    "equation", ["bij,bjk->bik", "bhqd,bhkd->bhqk", "bqhd,bkhd->bhqk", "ij,jk->ik", "bi,j->bij"]
)
def test_einsum(equation):
    left = equation.split("->")[0].split(",")
    size = dict(zip("bhijkqd", (2, 3, 4, 5, 6, 4, 5), strict=True))
    m = Model()
    names = [
        m.input(f"x{i}", floats(*(size[c] for c in term), seed=i)) for i, term in enumerate(left)
    ]
    check(m.output(m.node("Einsum", *names, equation=equation)))


def test_einsum_with_a_diagonal_stays_on_the_host():
    m = Model()
    check(
        m.output(
            m.node("Einsum", m.input("x", floats(3, 3)), m.const(floats(3)), equation="ii,i->i")
        ),
        host=1,
    )


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization(axis, bias):
    shape = X.shape[axis:]
    extra = [floats(*shape, seed=2)] if bias else []
    check(one("LayerNormalization", X, floats(*shape, seed=1), *extra, axis=axis))


def test_other_normalisations():
    x = floats(2, 4, 3, 5)
    rows = [floats(4, seed=i) for i in range(1, 4)] + [np.abs(floats(4, seed=4)) + 0.5]
    check(one("InstanceNormalization", x, rows[0], rows[1]))
    check(one("BatchNormalization", x, *rows))
    check(one("GroupNormalization", x, rows[0], rows[1], num_groups=2, opset=21))


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_eight_bit_arithmetic_wraps_as_onnx_says(op, kind):
    """The chip's saturates, so the host computes it."""
    x = np.array([[100, 3, 120], [7, 90, 2]], kind)
    check(one(op, x, x[::-1].copy()), host=1)


def test_a_product_over_no_elements_is_zero():
    """K = 0: the host gives the zeros."""
    m = Model()
    check(
        m.output(m.node("MatMul", m.input("a", floats(4, 0)), m.input("b", floats(0, 6)))), host=1
    )


def test_a_sum_over_no_elements_is_zero():
    """As for products."""
    check(one("ReduceSum", floats(3, 0), keepdims=0), host=1)
