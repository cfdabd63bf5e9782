"""Attention on the functional machine: masks, grouped heads, causal offsets, odd sizes."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.graph.chip_ops import AttentionAttrs, Op, PermuteAttrs
from compiler.graph.types import DType
from compiler.passes import Precision
from tests.compiler.lowering.lab import Sketch, check

RANDOM = np.random.default_rng(9)
CHIPS = ("athena-edge-ci", "seven")


def _sketch(q, k, v, attrs, mask=None, dtype=np.float32) -> Sketch:
    s = Sketch()
    names = [
        s.input(name, RANDOM.standard_normal(shape).astype(dtype))
        for name, shape in (("q", q), ("k", k), ("v", v))
    ]
    if mask is not None:
        names.append(s.input("m", mask))
    s.node(Op.ATTENTION, names, "y", (*q[:3], v[3]), attrs)
    return s


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("depth", [20, 8])
@pytest.mark.parametrize("value_depth", [20, 12])
@pytest.mark.parametrize("causal", [False, True])
def test_depths(depth, value_depth, causal, chip):
    attrs = AttentionAttrs(scale=depth**-0.5, causal=causal)
    check(
        _sketch((3, 2, 37, depth), (3, 2, 37, depth), (3, 2, 37, value_depth), attrs),
        "y",
        chip=chip,
    )


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(("heads", "kv"), [(8, 2), (6, 1), (14, 2), (3, 3)])
@pytest.mark.parametrize(("rows", "keys"), [(1, 45), (4, 16), (1, 1), (5, 70)])
def test_grouped_heads_with_a_cache(heads, kv, rows, keys, chip):
    attrs = AttentionAttrs(scale=0.3, causal=True, causal_offset=keys - rows)
    check(
        _sketch((2, heads, rows, 16), (2, kv, keys, 16), (2, kv, keys, 16), attrs), "y", chip=chip
    )


MASKS = (
    (2, 1, 1, 19),
    (1, 1, 13, 19),
    (2, 4, 13, 19),
    (1, 4, 1, 19),
    (1, 1, 1, 1),
    (19,),
    (2, 1, 13, 1),
)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("shape", MASKS, ids=str)
@pytest.mark.parametrize("kv", [4, 2])
def test_masks(shape, kv, chip):
    mask = np.where(RANDOM.random(shape) < 0.3, -1e9, RANDOM.standard_normal(shape))
    attrs = AttentionAttrs(scale=0.25)
    s = _sketch((2, 4, 13, 16), (2, kv, 19, 16), (2, kv, 19, 16), attrs, mask.astype(np.float32))
    check(s, "y", chip=chip)


@pytest.mark.parametrize("rows", [1, 6])
def test_mask_of_grouped_heads_in_decode(rows):
    mask = RANDOM.standard_normal((2, 8, rows, 40)).astype(np.float32)
    attrs = AttentionAttrs(scale=0.25)
    check(_sketch((2, 8, rows, 16), (2, 2, 40, 16), (2, 2, 40, 16), attrs, mask), "y", chip="seven")


def test_rows_that_see_no_key_give_zeros():
    mask = np.zeros((1, 1, 5, 9), np.float32)
    mask[:, :, 2] = -np.inf
    attrs = AttentionAttrs(scale=1.0)
    check(_sketch((1, 2, 5, 8), (1, 2, 9, 8), (1, 2, 9, 8), attrs, mask), "y")


def test_softcap_and_negative_offset():
    attrs = AttentionAttrs(scale=1.0, causal=True, causal_offset=-2, softcap=3.0)
    check(_sketch((1, 2, 9, 8), (1, 2, 9, 8), (1, 2, 9, 8), attrs), "y")


def test_long_keys_in_many_tiles():
    attrs = AttentionAttrs(scale=0.2, causal=True, causal_offset=100)
    check(_sketch((1, 2, 150, 24), (1, 1, 250, 24), (1, 1, 250, 24), attrs), "y")


def test_operands_that_are_permuted_views():
    s = Sketch()
    names = []
    for name in "qkv":
        s.input(name, RANDOM.standard_normal((2, 11, 3, 8)).astype(np.float32))
        names.append(
            s.node(Op.PERMUTE, [name], f"{name}t", (2, 3, 11, 8), PermuteAttrs(perm=(0, 2, 1, 3)))
        )
    s.node(Op.ATTENTION, names, "a", (2, 3, 11, 8), AttentionAttrs(scale=0.3))
    s.node(Op.PERMUTE, ["a"], "y", (2, 11, 3, 8), PermuteAttrs(perm=(0, 2, 1, 3)))
    s.node(Op.VIEW, ["y"], "z", (2, 11, 24))
    check(s, "z", chip="seven")


@pytest.mark.parametrize("chip", CHIPS)
def test_bf16(chip):
    bf16 = DType.BF16.numpy
    attrs = AttentionAttrs(scale=0.25, causal=True)
    s = _sketch((2, 4, 33, 16), (2, 2, 33, 16), (2, 2, 33, 16), attrs, dtype=bf16)
    check(s, "y", chip=chip, share=3e-3, precision=Precision.BF16)
