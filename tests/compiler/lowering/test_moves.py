"""Views, copies, transposes, concatenations, pads and gathers on the functional machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.graph.chip_ops import ConcatAttrs, Op, PadAttrs, PermuteAttrs, SliceAttrs
from compiler.graph.types import DType
from tests.compiler.lowering.lab import Sketch, check

CHIPS = ("athena-edge-ci", "seven")
RANDOM = np.random.default_rng(3)
QUICK = settings(deadline=None, derandomize=True, max_examples=40, database=None)


def _array(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


@QUICK
@given(
    st.lists(st.sampled_from((1, 2, 3, 5, 17)), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from(CHIPS),
)
def test_permuted_and_sliced(sizes, random, chip):
    s = Sketch()
    x = s.input("x", _array(*sizes))
    perm = tuple(random.sample(range(len(sizes)), len(sizes)))
    shape = tuple(sizes[p] for p in perm)
    s.node(Op.PERMUTE, [x], "t", shape, PermuteAttrs(perm=perm))
    steps = tuple(random.choice((1, 1, 2, -1, -2)) for _ in shape)
    starts = tuple(0 if step > 0 else n - 1 for step, n in zip(steps, shape, strict=True))
    kept = tuple(-(-n // abs(step)) for step, n in zip(steps, shape, strict=True))
    s.node(Op.SLICE, ["t"], "y", kept, SliceAttrs(starts=starts, steps=steps))
    s.node(Op.VIEW, ["y"], "z", (int(np.prod(kept)),))
    check(s, "y", "z", chip=chip)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_concat_of_many_parts(axis, chip):
    s = Sketch()
    sizes = (3, 1, 0, 5, 1, 2)
    names = []
    for i, size in enumerate(sizes):
        shape = [2, 3, 4, 5]
        shape[axis] = size
        names.append(s.input(f"x{i}", _array(*shape)))
    shape = [2, 3, 4, 5]
    shape[axis] = sum(sizes)
    s.node(Op.CONCAT, names, "y", shape, ConcatAttrs(axis=axis))
    check(s, "y", chip=chip)


@pytest.mark.parametrize("axis", [0, 1])
def test_stacked_columns(axis):
    s = Sketch()
    parts = [s.input(f"x{i}", _array(7, 1)) for i in range(3)]
    shape = (21, 1) if axis == 0 else (7, 3)
    s.node(Op.CONCAT, parts, "y", shape, ConcatAttrs(axis=axis))
    check(s, "y")


def test_concat_of_a_value_twice_and_of_a_constant():
    s = Sketch()
    x, c = s.input("x", _array(2, 3)), s.const("c", _array(2, 2))
    s.node(Op.CONCAT, [x, c, x], "y", (2, 8), ConcatAttrs(axis=1))
    check(s, "y")


@pytest.mark.parametrize("pads", [(1, 0, 0, 0), (0, 2, 3, 1), (0, 0, 0, 0)])
def test_pad(pads):
    s = Sketch()
    x = s.input("x", _array(3, 5))
    shape = (3 + pads[0] + pads[2], 5 + pads[1] + pads[3])
    s.node(Op.PAD, [x], "y", shape, PadAttrs(pads=pads, value=-2.5))
    check(s, "y")


@pytest.mark.parametrize(
    ("ids", "shape"),
    [
        (np.array([3, 0, -1, 6, -7], np.int32), (5,)),
        (np.arange(6, dtype=np.int32).reshape(2, 3), (2, 3)),
        (np.array(2, np.int32), ()),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("chip", CHIPS)
def test_gather(ids, shape, constant, chip):
    s = Sketch()
    table = s.const("table", _array(7, 33))
    index = s.const("ids", ids) if constant else s.input("ids", ids)
    s.node(Op.GATHER, [table, index], "y", (*shape, 33))
    check(s, "y", chip=chip)


def test_gather_of_rows_that_are_wider_than_l1():
    s = Sketch()
    table = s.input("table", _array(3, 6000))
    index = s.input("ids", np.array([2, 0, 2], np.int32))
    s.node(Op.GATHER, [table, index], "y", (3, 6000))
    check(s, "y")


def test_gather_by_a_strided_index():
    s = Sketch()
    table = s.const("table", _array(7, 4))
    index = s.input("ids", RANDOM.integers(0, 7, (3, 4)).astype(np.int32))
    s.node(Op.PERMUTE, [index], "t", (4, 3), PermuteAttrs(perm=(1, 0)), DType.I32)
    s.node(Op.GATHER, [table, "t"], "y", (4, 3, 4))
    check(s, "y")


def test_outputs_that_are_inputs_views_of_inputs_constants_and_each_other():
    s = Sketch()
    x, c = s.input("x", _array(2, 3)), s.const("c", _array(4))
    s.input("unused", _array(3))
    s.node(Op.VIEW, [x], "flat", (6,))
    s.node(Op.EXPAND, [c], "wide", (2, 4))
    s.node(Op.VIEW, ["flat"], "again", (3, 2))
    check(s, "x", "flat", "c", "wide", "again")


def test_scalars_and_empty_tensors():
    s = Sketch()
    x, e = s.input("x", _array()), s.input("e", _array(0, 3))
    s.node(Op.VIEW, [x], "one", (1, 1))
    s.node(Op.EXPAND, [x], "many", (3, 5))
    s.node(Op.VIEW, [e], "none", (3, 0))
    s.node(Op.CONCAT, [e, "more"], "y", (2, 3), ConcatAttrs(axis=0))
    s.input("more", _array(2, 3))
    check(s, "one", "many", "none", "y")


def test_a_slice_with_rows_far_apart():
    """Rows 2^24 bytes apart or more do not fit an operand's stride."""
    s = Sketch()
    x = s.input("x", np.zeros((3, 1 << 22), np.float32))
    s.inputs["x"][:, 5:9] = RANDOM.standard_normal((3, 4))
    s.node(Op.SLICE, [x], "y", (3, 4), SliceAttrs(starts=(0, 5), steps=(1, 1)))
    check(s, "y", chip="athena-edge")
