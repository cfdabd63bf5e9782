"""A program's size: a tensor-parallel share of a 405B-shaped model without weights, prefill of
4,096 tokens by 32 sequences.
"""

from __future__ import annotations

from athena.chip import load_chip
from compiler.graph.chip_ops import (
    AttentionAttrs,
    Fn,
    GemmAttrs,
    NormAttrs,
    NormKind,
    Op,
    PermuteAttrs,
    RopeAttrs,
    SliceAttrs,
    Step,
)
from compiler.graph.graph import Graph
from compiler.graph.types import DType, Value
from compiler.lowering import LowerOptions, lower
from tests.compiler.lowering.lab import Sketch

HIDDEN, HEADS, KV, DEPTH, FFN = 16384, 8, 1, 128, 3328
WORDS_LIMIT = 15_000  # of one layer: repeats are folded, see test_repeat


def _weight(s: Sketch, name: str, rows: int, cols: int) -> str:
    s.values.append(Value(name=name, dtype=DType.BF16, shape=(rows, cols), weightless=True))
    return name


def _gain(s: Sketch, name: str) -> None:
    s.values.append(Value(name=name, dtype=DType.F32, shape=(HIDDEN,), weightless=True))


def _layer(s: Sketch, x: str, tag: str, batch: int, tokens: int) -> str:
    """One layer on value `x`; returns its result."""
    bf16 = DType.BF16
    full = (batch, tokens, HIDDEN)
    _gain(s, f"{tag}gain")
    norm = NormAttrs(kind=NormKind.RMS, eps=1e-5)
    s.node(Op.NORM, [x, f"{tag}gain"], f"{tag}n1", full, norm, bf16)
    width = (HEADS + 2 * KV) * DEPTH
    qkv = _weight(s, f"{tag}wqkv", HIDDEN, width)
    s.node(Op.GEMM, [f"{tag}n1", qkv], f"{tag}qkv", (batch, tokens, width), GemmAttrs(), bf16)
    at = 0
    for name, count in (("q", HEADS), ("k", KV), ("v", KV)):
        shape = (batch, tokens, count * DEPTH)
        s.node(
            Op.SLICE,
            [f"{tag}qkv"],
            f"{tag}{name}0",
            shape,
            SliceAttrs(starts=(0, 0, at), steps=(1, 1, 1)),
            bf16,
        )
        s.node(
            Op.VIEW, [f"{tag}{name}0"], f"{tag}{name}1", (batch, tokens, count, DEPTH), dtype=bf16
        )
        turned = (batch, count, tokens, DEPTH)
        s.node(
            Op.PERMUTE,
            [f"{tag}{name}1"],
            f"{tag}{name}2",
            turned,
            PermuteAttrs(perm=(0, 2, 1, 3)),
            bf16,
        )
        at += count * DEPTH
        if name != "v":
            rope = RopeAttrs(interleaved=False, rotary_dim=DEPTH)
            s.node(Op.ROPE, [f"{tag}{name}2", "cos", "sin"], f"{tag}{name}3", turned, rope, bf16)
    heads = (batch, HEADS, tokens, DEPTH)
    attention = AttentionAttrs(scale=DEPTH**-0.5, causal=True)
    s.node(Op.ATTENTION, [f"{tag}q3", f"{tag}k3", f"{tag}v2"], f"{tag}a", heads, attention, bf16)
    s.node(
        Op.PERMUTE,
        [f"{tag}a"],
        f"{tag}a1",
        (batch, tokens, HEADS, DEPTH),
        PermuteAttrs(perm=(0, 2, 1, 3)),
        bf16,
    )
    s.node(Op.VIEW, [f"{tag}a1"], f"{tag}a2", (batch, tokens, HEADS * DEPTH), dtype=bf16)
    add = GemmAttrs(steps=(Step(fn=Fn.ADD, operand=3),))
    s.node(
        Op.GEMM,
        [f"{tag}a2", _weight(s, f"{tag}wo", HEADS * DEPTH, HIDDEN), "", x],
        f"{tag}h",
        full,
        add,
        bf16,
    )
    s.node(Op.NORM, [f"{tag}h", f"{tag}gain"], f"{tag}n2", full, norm, bf16)
    inner = (batch, tokens, FFN)
    s.node(
        Op.GEMM,
        [f"{tag}n2", _weight(s, f"{tag}wu", HIDDEN, FFN)],
        f"{tag}u",
        inner,
        GemmAttrs(),
        bf16,
    )
    gate = GemmAttrs(steps=(Step(fn=Fn.SILU), Step(fn=Fn.MUL, operand=3)))
    s.node(
        Op.GEMM,
        [f"{tag}n2", _weight(s, f"{tag}wg", HIDDEN, FFN), "", f"{tag}u"],
        f"{tag}g",
        inner,
        gate,
        bf16,
    )
    s.node(
        Op.GEMM,
        [f"{tag}g", _weight(s, f"{tag}wd", FFN, HIDDEN), "", f"{tag}h"],
        f"{tag}y",
        full,
        add,
        bf16,
    )
    return f"{tag}y"


def _model(layers: int, batch: int, tokens: int) -> Graph:
    s = Sketch()
    s.values.append(Value(name="x", dtype=DType.BF16, shape=(batch, tokens, HIDDEN)))
    s.inputs["x"] = None
    for name in ("cos", "sin"):
        s.values.append(Value(name=name, dtype=DType.F32, shape=(tokens, DEPTH), weightless=True))
    x = "x"
    for layer in range(layers):
        x = _layer(s, x, f"l{layer}.", batch, tokens)
    return s.graph(x)


def test_a_prefill_layer_has_few_words():
    graph = _model(1, 32, 4096)
    program = lower(graph, load_chip("athena"), LowerOptions(precision="bf16"))
    assert program.weightless
    assert 100 < program.static_words < WORDS_LIMIT
