"""Canonical forms of attention, rotary embedding, com.microsoft operators and convolution, against
onnxruntime.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler.passes.onnx_text import Model, check, floats, ints, one

MS = "com.microsoft"
X = floats(2, 3, 5)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [8, 4])
def test_rotary_embedding(interleaved, width):
    m = Model(opset=23)
    x = m.input("x", floats(2, 3, 5, 8))
    places = m.input("places", ints(2, 5, high=9))
    tables = [m.const(floats(9, width // 2, seed=i)) for i in (1, 2)]
    check(
        m.output(
            m.node(
                "RotaryEmbedding",
                x,
                *tables,
                places,
                interleaved=interleaved,
                rotary_embedding_dim=width if width < 8 else 0,
            )
        )
    )


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
@pytest.mark.parametrize("past", [0, 3])
def test_onnx_attention(causal, mask, past):
    m = Model(opset=23)
    q, k, v = (
        m.input(n, floats(2, 5, h * 4, seed=i))
        for i, (n, h) in enumerate((("q", 6), ("k", 2), ("v", 2)))
    )
    keys = 5 + past
    given = {"bool": ints(2, 1, 5, keys, high=4, seed=7) > 0, "float": floats(5, keys)}.get(mask)
    if mask == "bool":
        given[..., 0] = True
    extra = [m.input("m", given) if mask else ""]
    if past:
        extra += [m.input(n, floats(2, 2, past, 4, seed=i)) for i, n in ((8, "pk"), (9, "pv"))]
    made = m.node(
        "Attention",
        q,
        k,
        v,
        *extra,
        outputs=3 if past else 1,
        q_num_heads=6,
        kv_num_heads=2,
        is_causal=causal,
        scale=0.3,
    )
    check(m.output(*(made if past else [made])))


@pytest.mark.parametrize("op", ["Gelu", "BiasGelu", "FastGelu", "QuickGelu"])
def test_microsoft_activations(op):
    m = Model()
    extra = [floats(5, seed=1)] if op in ("BiasGelu", "FastGelu") else []
    check(m.output(m.node(op, m.input("x", X), *extra, domain=MS)))


def test_microsoft_products():
    m = Model()
    x = m.input("x", floats(2, 3, 5))
    fused = m.node("FusedMatMul", x, m.const(floats(4, 5, seed=1)), domain=MS, transB=1, alpha=0.5)
    y = m.input("y", floats(3, 5, seed=2))
    gemm = m.node(
        "FusedGemm", y, floats(5, 4, seed=3), floats(4, seed=4), domain=MS, activation="Relu"
    )
    check(m.output(fused, gemm))


@pytest.mark.parametrize("total", [True, False])
def test_microsoft_skip_norms(total):
    m = Model()
    x, y = m.input("x", X), m.input("y", floats(2, 3, 5, seed=1))
    g, b = m.const(floats(5, seed=2)), m.const(floats(5, seed=3))
    layer = m.node("SkipLayerNormalization", x, y, g, b, b, domain=MS, outputs=4, epsilon=1e-5)
    rms = m.node("SkipSimplifiedLayerNormalization", x, y, g, domain=MS, outputs=4, epsilon=1e-5)
    check(m.output(layer[0], rms[0], *([layer[3], rms[3]] if total else [])))


def test_microsoft_embedding_norm():
    m = Model()
    ids, segments = (
        m.input("ids", ints(2, 3).astype(np.int32)),
        m.input("seg", ints(2, 3, high=2).astype(np.int32)),
    )
    tables = [floats(n, 4, seed=n) for n in (6, 8, 2)]
    mask = m.input("mask", ints(2, 3, high=2, seed=4).astype(np.int32))
    made = m.node(
        "EmbedLayerNormalization",
        ids,
        segments,
        *tables,
        floats(4),
        floats(4, seed=9),
        mask,
        domain=MS,
        outputs=2,
        mask_index_type=1,
    )
    check(m.output(*made))


@pytest.mark.parametrize("mask", [None, "lengths", "keys"])
@pytest.mark.parametrize("causal", [0, 1])
def test_microsoft_multi_head_attention(mask, causal):
    m = Model()
    q, k, v = (m.input(n, floats(2, 5, 12, seed=i)) for i, n in enumerate("qkv"))
    given = {"lengths": np.asarray([3, 5], np.int32), "keys": np.ones((2, 5), np.int32)}.get(mask)
    if mask == "keys":
        given[0, 3:] = 0
    extra = [m.const(floats(36, seed=4)), m.input("mask", given) if mask else ""]
    made = m.node(
        "MultiHeadAttention", q, k, v, *extra, domain=MS, num_heads=3, unidirectional=causal
    )
    check(m.output(made))


@pytest.mark.parametrize("past", [0, 3])
def test_microsoft_packed_attention(past):
    m = Model()
    extra = [m.input("mask", np.ones((2, 5 + past), np.int32))]
    if past:
        extra.append(m.input("past", floats(2, 2, 3, past, 4, seed=5)))
    made = m.node(
        "Attention",
        m.input("x", floats(2, 5, 6)),
        floats(6, 36, seed=1),
        floats(36, seed=2),
        *extra,
        domain=MS,
        outputs=2 if past else 1,
        num_heads=3,
        unidirectional=1,
    )
    check(m.output(*(made if past else [made])))


@pytest.mark.parametrize("past", [0, 4])
@pytest.mark.parametrize("rotary", [0, 1])
def test_microsoft_grouped_query_attention(past, rotary):
    m = Model()
    rows = 1 if past else 5
    total = past + rows
    q = m.input("q", floats(2, rows, 96))
    k, v = (m.input(n, floats(2, rows, 32, seed=i)) for i, n in ((1, "k"), (2, "v")))
    cache = (
        [m.input(n, floats(2, 2, past, 16, seed=i)) for i, n in ((3, "pk"), (4, "pv"))]
        if past
        else ["", ""]
    )
    last = m.input("last", np.asarray([total - 1] * 2, np.int32))
    extra = [m.const(np.asarray(total, np.int32))]
    if rotary:
        extra += [m.const(floats(16, 8, seed=i)) for i in (5, 6)]
    made = m.node(
        "GroupQueryAttention",
        q,
        k,
        v,
        *cache,
        last,
        *extra,
        domain=MS,
        outputs=3,
        num_heads=6,
        kv_num_heads=2,
        do_rotary=rotary,
    )
    check(m.output(*made))


def test_microsoft_rotary_embedding():
    m = Model()
    tables = [m.const(floats(9, 2, seed=i)) for i in (1, 2)]
    x, ids = m.input("x", floats(2, 3, 12)), m.input("ids", ints(2, 3, high=9))
    check(m.output(m.node("RotaryEmbedding", x, ids, *tables, domain=MS)))


def test_microsoft_block_quantised_weights():
    m = Model()
    packed = np.random.default_rng(0).integers(0, 256, (6, 2, 8)).astype(np.uint8)
    made = m.node(
        "MatMulNBits",
        m.input("x", floats(3, 32)),
        packed,
        np.abs(floats(12)),
        domain=MS,
        K=32,
        N=6,
        bits=4,
        block_size=16,
    )
    check(m.output(made))


def test_microsoft_block_quantised_table():
    m = Model()
    codes = np.random.default_rng(0).integers(0, 256, (7, 16)).astype(np.uint8)
    scales = np.abs(floats(7, 2))
    table = [m.const(codes), m.input("ids", ints(2, 3, high=7)), m.const(scales)]
    made = m.node("GatherBlockQuantized", *table, domain=MS, bits=4, block_size=16, quantize_axis=1)
    check(m.output(made))


def test_weights_quantised_in_blocks():
    m = Model(opset=21)
    codes = np.random.default_rng(0).integers(-128, 128, (32, 6)).astype(np.int8)
    weights = m.node(
        "DequantizeLinear",
        codes,
        np.abs(floats(2, 6)),
        np.zeros((2, 6), np.int8),
        axis=0,
        block_size=16,
    )
    check(m.output(m.node("MatMul", m.input("x", floats(3, 32)), weights)))


CONVS = {
    "patches": ((2, 3, 8, 12), (5, 3, 4, 4), {"strides": [4, 4]}),
    "one-axis": ((2, 3, 11), (5, 3, 3), {"pads": [1, 1], "strides": [2]}),
    "plain": ((1, 2, 6, 7), (3, 2, 3, 2), {}),
    "dilated": ((1, 2, 9, 9), (3, 2, 3, 3), {"dilations": [2, 1], "pads": [1, 0, 2, 1]}),
    "same": ((1, 2, 7, 6), (3, 2, 3, 2), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    "point": ((1, 2, 5, 5), (3, 2, 1, 1), {}),
}


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("bias", [True, False])
def test_convolution(name, bias):
    shape, weights, attrs = CONVS[name]
    extra = [floats(weights[0], seed=2)] if bias else []
    check(one("Conv", floats(*shape), floats(*weights, seed=1), *extra, **attrs))


def test_grouped_convolution_stays_on_the_host():
    check(one("Conv", floats(1, 4, 5, 5), floats(4, 1, 3, 3, seed=1), group=4), host=1)
