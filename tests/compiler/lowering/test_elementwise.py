"""Elementwise chains, reductions, norms and softmax on the functional machine against the reference
semantics.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from athena.errors import CapacityError, UnsupportedOpError
from compiler.graph.chip_ops import (
    COMPARE_FNS,
    ElementwiseAttrs,
    Fn,
    NormAttrs,
    NormKind,
    Op,
    PermuteAttrs,
    QuantizeAttrs,
    ReduceAttrs,
    ReduceKind,
    RopeAttrs,
    SoftmaxAttrs,
    Step,
)
from compiler.graph.types import DType
from tests.compiler.lowering.lab import Sketch, check

CHIPS = ("athena-edge-ci", "seven")
RANDOM = np.random.default_rng(5)
QUICK = settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    database=None,
    suppress_health_check=list(HealthCheck),
)
UNARY = (Fn.ABS, Fn.NEG, Fn.TANH, Fn.SIGMOID, Fn.FLOOR, Fn.CEIL, Fn.ROUND, Fn.RELU, Fn.SIGN)
BINARY = (Fn.ADD, Fn.SUB, Fn.MUL, Fn.MAX, Fn.MIN)
SHAPES = ((3, 5, 17), (17,), (5, 1), (1,), (3, 1, 17), (3, 1, 1), (1, 1, 1))


def _array(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def _operand(shape: tuple[int, ...], *, integer: bool) -> np.ndarray:
    if integer:
        return RANDOM.integers(-9, 10, shape).astype(np.int32)
    quarters = RANDOM.integers(-12, 13, shape) / 4
    return (quarters + 0.125).astype(np.float32)


def _steps(random, kinds):
    """Random steps whose values are exact or smooth: comparisons and rounding must not sit on an
    edge of rounding.
    """
    steps = []
    for _ in range(random.randint(0, 5)):
        choice = random.randint(0, 9)
        number = random.choice((-2.0, 0.5, 3.0, 1.0))
        second = (
            {"operand": random.randrange(1, len(kinds))}
            if random.random() < 0.6
            else {"const": number}
        )
        if choice < 3:
            steps.append(Step(fn=random.choice(UNARY)))
        elif choice < 6:
            steps.append(Step(fn=random.choice(BINARY), swap=random.random() < 0.3, **second))
        elif choice == 6:
            steps.append(Step(fn=random.choice(sorted(COMPARE_FNS, key=str)), **second))
        elif choice == 7:
            steps.append(Step(fn=Fn.POW, const=random.choice((2.0, 3.0))))
        elif choice == 8:
            steps.append(Step(fn=Fn.CAST, to=random.choice((DType.F32, DType.I32, DType.BOOL))))
        else:
            other = (
                {"operand2": random.randrange(1, len(kinds))}
                if random.random() < 0.5
                else {"const2": 4.0}
            )
            steps.append(Step(fn=Fn.SELECT, **second, **other))
    return tuple(steps)


@QUICK
@given(st.randoms(use_true_random=False), st.sampled_from(CHIPS))
def test_random_chains(random, chip):
    s = Sketch()
    shapes = [random.choice(SHAPES) for _ in range(random.randint(2, 4))]
    kinds = [random.random() < 0.35 for _ in shapes]
    names = [
        s.input(f"x{i}", _operand(shape, integer=kind))
        for i, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))
    ]
    dtype = random.choice((DType.F32, DType.F32, DType.I32))
    attrs = ElementwiseAttrs(steps=_steps(random, kinds))
    s.node(Op.ELEMENTWISE, names, "y", np.broadcast_shapes(*shapes), attrs, dtype)
    check(s, "y", chip=chip, share=1e-4)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_division(shape, swap):
    s = Sketch()
    x, d = s.input("x", _array(3, 5, 17)), s.input("d", np.abs(_array(*shape)) + 0.5)
    steps = (
        Step(fn=Fn.DIV, operand=1, swap=swap),
        Step(fn=Fn.DIV, operand=1),
        Step(fn=Fn.DIV, const=-3.0),
    )
    s.inputs["x"] += np.sign(s.inputs["x"])
    s.node(Op.ELEMENTWISE, [x, d], "y", (3, 5, 17), ElementwiseAttrs(steps=steps))
    check(s, "y")


def test_division_of_integers_is_refused_by_name():
    s = Sketch()
    x = s.input("x", np.arange(5, dtype=np.int32))
    steps = (Step(fn=Fn.DIV, const=2.0),)
    s.node(Op.ELEMENTWISE, [x], "y", (5,), ElementwiseAttrs(steps=steps), DType.I32)
    with pytest.raises(UnsupportedOpError, match="Elementwise:y"):
        check(s, "y")


@pytest.mark.parametrize("source", [np.float32, np.int32, np.bool_, np.int8, np.uint8])
@pytest.mark.parametrize("target", [DType.F32, DType.I32, DType.BOOL, DType.BF16])
def test_conversions(source, target):
    s = Sketch()
    x = s.input("x", np.array([[0, 1, 3, 100], [1, 0, 2, 7]]).astype(source))
    s.node(Op.ELEMENTWISE, [x], "y", (2, 4), ElementwiseAttrs(), target)
    check(s, "y")


@pytest.mark.parametrize("value", [-2.7, -0.5, 0.5, 1.5, 2.5, 1e6])
def test_floats_are_truncated_to_integers(value):
    s = Sketch()
    x = s.input("x", np.full((3,), value, np.float32))
    s.node(Op.ELEMENTWISE, [x], "y", (3,), ElementwiseAttrs(), DType.I32)
    check(s, "y")


def test_one_value_read_by_two_nodes_and_twice_by_one():
    s = Sketch()
    x = s.input("x", _array(4, 9))
    s.node(Op.ELEMENTWISE, [x], "a", (4, 9), ElementwiseAttrs(steps=(Step(fn=Fn.TANH),)))
    s.node(
        Op.ELEMENTWISE,
        ["a", "a"],
        "b",
        (4, 9),
        ElementwiseAttrs(steps=(Step(fn=Fn.MUL, operand=1),)),
    )
    s.node(
        Op.ELEMENTWISE,
        ["a", "b"],
        "c",
        (4, 9),
        ElementwiseAttrs(steps=(Step(fn=Fn.ADD, operand=1),)),
    )
    check(s, "a", "c")


ROWS = ((4, 33), (1, 1), (3, 2, 5, 1), (2, 129), (300, 7), (17,))


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", [k for k in ReduceKind if k is not ReduceKind.PROD])
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_reduce(kind, shape, chip):
    s = Sketch()
    x = s.input("x", _array(*shape))
    s.node(Op.REDUCE, [x], "y", shape[:-1], ReduceAttrs(kind=kind))
    check(s, "y", chip=chip)


def test_reduce_of_integers():
    s = Sketch()
    x = s.input("x", RANDOM.integers(-99, 99, (5, 37)).astype(np.int32))
    s.node(Op.REDUCE, [x], "y", (5,), ReduceAttrs(kind=ReduceKind.SUM), DType.I32)
    s.node(Op.REDUCE, [x], "z", (5,), ReduceAttrs(kind=ReduceKind.MAX), DType.I32)
    check(s, "y", "z")


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", list(NormKind))
@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_norm(kind, beta, shape, chip):
    s = Sketch()
    x, g = s.input("x", _array(*shape)), s.const("g", _array(shape[-1]))
    names = [x, g, s.const("b", _array(shape[-1]))] if beta else [x, g]
    s.node(Op.NORM, names, "y", shape, NormAttrs(kind=kind, eps=1e-3))
    check(s, "y", chip=chip)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("shape", [*ROWS, (2, 1400)], ids=str)
def test_softmax(shape, chip):
    s = Sketch()
    x = s.input("x", _array(*shape))
    s.node(Op.SOFTMAX, [x], "y", shape, SoftmaxAttrs())
    check(s, "y", chip=chip)


def test_a_row_too_long_for_l1_names_the_node():
    s = Sketch()
    x = s.input("x", np.zeros((2, 5000), np.float32))
    s.node(Op.SOFTMAX, [x], "y", (2, 5000), SoftmaxAttrs())
    with pytest.raises(CapacityError, match="Softmax:y"):
        check(s, "y")


@pytest.mark.parametrize(
    ("op", "attrs", "dtype"),
    [
        (Op.SOFTMAX, SoftmaxAttrs(), DType.F32),
        (Op.QUANTIZE, QuantizeAttrs(scale=(0.02,), zero_point=(-3,)), DType.I8),
        (Op.NORM, NormAttrs(kind=NormKind.RMS, eps=1e-3), DType.F32),
    ],
)
def test_rows_that_are_broadcast(op, attrs, dtype):
    s = Sketch()
    x = s.input("x", _array(1, 3, 1, 9))
    s.node(Op.EXPAND, [x], "wide", (2, 3, 4, 9))
    names = ["wide", s.const("g", _array(9))] if op == Op.NORM else ["wide"]
    s.node(op, names, "y", (2, 3, 4, 9), attrs, dtype)
    check(s, "y")


@pytest.mark.parametrize("perm", [(2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_a_chain_on_a_permuted_value(perm):
    s = Sketch()
    x = s.input("x", _array(1, 17, 3))
    shape = tuple((1, 17, 3)[p] for p in perm)
    s.node(Op.PERMUTE, [x], "t", shape, PermuteAttrs(perm=perm))
    steps = (Step(fn=Fn.TANH), Step(fn=Fn.ADD, operand=1))
    s.node(Op.ELEMENTWISE, ["t", "t"], "y", shape, ElementwiseAttrs(steps=steps))
    check(s, "y", chip="seven")


def test_codes_are_decoded():
    s = Sketch()
    x = s.input("x", RANDOM.integers(-128, 128, (5, 21)).astype(np.int8))
    s.node(Op.DEQUANTIZE, [x], "y", (5, 21), QuantizeAttrs(scale=(0.3,), zero_point=(7,)))
    check(s, "y")


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rotary", [4, 10])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("chip", CHIPS)
def test_rope(interleaved, rotary, half, chip):
    s = Sketch()
    width = rotary // 2 if half else rotary
    x = s.input("x", _array(2, 3, 7, 10))
    cos, sin = s.input("cos", _array(2, 1, 7, width)), s.const("sin", _array(7, width))
    attrs = RopeAttrs(interleaved=interleaved, rotary_dim=rotary)
    s.node(Op.ROPE, [x, cos, sin], "y", (2, 3, 7, 10), attrs)
    check(s, "y", chip=chip)
