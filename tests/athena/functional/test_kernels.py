"""Small kernels as a compiler writes them.

Softmax, layer norm, attention with running maximum, on several chips.
"""

from __future__ import annotations

import numpy as np
import pytest

from athena.functional import Machine
from athena.functional.convert import bf16_bits, bf16_values
from athena.isa.builder import Mask, Side, StreamBuilder, Vec, Wait, acc, imm, l1, self_sem
from athena.isa.fields import Acc, Alu, Dt, Kind, Lut, Queue, Red
from tests.athena.functional.lab import chip, get, program, put

CHIPS = ("athena-edge-ci", "athena-edge", "athena")
COL = Kind.COL


def col(place) -> Side:
    return Side(COL, place)


def row(place) -> Side:
    return Side(Kind.ROW, place)


def run_vector(
    where: str, builder: StreamBuilder, memory: dict[int, tuple[np.ndarray, int]]
) -> Machine:
    runner = Machine(program({(Queue.VECTOR, ()): builder}), chip(where))
    for offset, (values, stride) in memory.items():
        put(runner.l1(0), offset, values, stride)
    runner.run({})
    return runner


@pytest.mark.parametrize("where", CHIPS)
@pytest.mark.parametrize("rows,cols", [(1, 1), (3, 17), (7, 129)])
def test_softmax(where, rows, cols):
    x = np.random.default_rng(0).normal(size=(rows, cols)).astype(np.float32) * 4
    stride = 4 * cols
    block, peak, total = (
        l1(0, stride=stride, dt=Dt.F32),
        l1(16384, stride=4, dt=Dt.F32),
        l1(16500, stride=4, dt=Dt.F32),
    )
    builder = StreamBuilder()
    builder.vec(block, None, Vec(red=Red.MAX, red_to=peak), rows=rows, cols=cols)
    exp = Vec(alu1=Alu.SUB, b=col(peak), lut=Lut.EXP, red=Red.SUM, red_to=total)
    builder.vec(block, block, exp, rows=rows, cols=cols)
    builder.vec(total, total, Vec(lut=Lut.RECIP), rows=rows, cols=1)
    builder.vec(block, block, Vec(alu1=Alu.MUL, b=col(total)), rows=rows, cols=cols)
    got = get(
        run_vector(where, builder, {0: (x, stride)}).l1(0), 0, (rows, cols), stride, np.float32
    )
    wide = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(got, wide / wide.sum(1, keepdims=True), rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("where", CHIPS)
def test_layer_norm(where):
    rows, cols = 5, 96
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(rows, cols)) * 3 + 2).astype(np.float32)
    gamma, beta = rng.normal(size=(2, cols)).astype(np.float32)
    stride = 4 * cols
    block = l1(0, stride=stride, dt=Dt.F32)
    g, b, mean, var = (l1(at, stride=4, dt=Dt.F32) for at in (8192, 9216, 10240, 10496))
    builder = StreamBuilder()
    builder.vec(block, None, Vec(red=Red.SUM, red_to=mean), rows=rows, cols=cols)
    builder.vec(mean, mean, Vec(alu1=Alu.MUL, b=imm(1 / cols)), rows=rows, cols=1)
    builder.vec(
        block,
        block,
        Vec(alu1=Alu.SUB, b=col(mean), red=Red.SUMSQ, red_to=var),
        rows=rows,
        cols=cols,
    )
    builder.vec(var, var, Vec(alu1=Alu.MUL, b=imm(1 / cols)), rows=rows, cols=1)
    builder.vec(var, var, Vec(alu1=Alu.ADD, b=imm(1e-5), lut=Lut.RSQRT), rows=rows, cols=1)
    builder.vec(
        block, block, Vec(alu1=Alu.MUL, b=col(var), alu2=Alu.MUL, c=row(g)), rows=rows, cols=cols
    )
    builder.vec(block, block, Vec(alu1=Alu.ADD, b=row(b)), rows=rows, cols=cols)
    memory = {0: (x, stride), 8192: (gamma, 0), 9216: (beta, 0)}
    got = get(run_vector(where, builder, memory).l1(0), 0, (rows, cols), stride, np.float32)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    want = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * gamma + beta
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", CHIPS)
@pytest.mark.parametrize("seed", [None, 1])
def test_causal_attention_with_a_running_maximum(where, seed):
    """Tiles of keys.

    O is rescaled by exp(m_old - m_new) in the accumulators while MATRIX and VECTOR take turns.
    """
    queries, keys, dim, tile = 9, 24, 16, 8
    rng = np.random.default_rng(2)
    q, k, v = (
        bf16_bits(rng.normal(size=(n, dim)).astype(np.float32)) for n in (queries, keys, keys)
    )
    made = chip(where)
    bank = made.l1_bank_bytes
    region = made.acc_region_bytes
    narrow, wide, thin = 2 * dim, 4 * tile, 2 * tile
    places = {
        name: i * bank for i, name in enumerate(("q", "k", "v", "p", "m", "n", "s", "l", "o"))
    }

    def at(name, **more):
        return l1(places[name], **more)

    scores, out = acc(0, stride=wide), acc(region, stride=4 * dim)
    matrix, vector = StreamBuilder(), StreamBuilder()
    for step in range(keys // tile):
        shift = step * tile
        key = at("k", stride=narrow, dt=Dt.BF16).at(shift * narrow)
        value = at("v", stride=narrow, dt=Dt.BF16).at(shift * narrow)
        matrix.matmul(
            at("q", stride=narrow, dt=Dt.BF16),
            key,
            scores,
            m=queries,
            n=tile,
            k=dim,
            b_trans=True,
            waits=[Wait(0)],
            signals=[self_sem(1)],
        )
        matrix.matmul(
            at("p", stride=thin, dt=Dt.BF16),
            value,
            out,
            m=queries,
            n=dim,
            k=tile,
            start=Acc.KEEP,
            waits=[Wait(2)],
            signals=[self_sem(3), self_sem(0)],
        )
        # Query i sees keys up to keys - queries + i.
        mask = Mask(hi=keys - queries + 1 - shift, hi_slope=1, fill=-1e30)
        new, old, scale, total = (at(n, stride=4, dt=Dt.F32) for n in ("n", "m", "s", "l"))
        prepare = Vec(alu1=Alu.MUL, b=imm(0.25), mask=mask, red=Red.MAX, red_to=new, red_keep=True)
        vector.vec(scores, scores, prepare, rows=queries, cols=tile, waits=[Wait(1)])
        vector.vec(
            old, scale, Vec(alu1=Alu.SUB, b=Side(Kind.COL, new), lut=Lut.EXP), rows=queries, cols=1
        )
        vector.vec(new, old, Vec(), rows=queries, cols=1)
        vector.vec(total, total, Vec(alu1=Alu.MUL, b=Side(Kind.COL, scale)), rows=queries, cols=1)
        vector.vec(
            scores,
            at("p", stride=thin, dt=Dt.BF16),
            Vec(alu1=Alu.SUB, b=col(new), lut=Lut.EXP, red=Red.SUM, red_to=total, red_keep=True),
            rows=queries,
            cols=tile,
        )
        after = [Wait(3)] if step else []
        vector.vec(
            out,
            out,
            Vec(alu1=Alu.MUL, b=col(scale)),
            rows=queries,
            cols=dim,
            waits=after,
            signals=[self_sem(2)],
        )
    vector.vec(total, total, Vec(lut=Lut.RECIP), rows=queries, cols=1)
    final = at("o", stride=4 * dim, dt=Dt.F32)
    vector.vec(out, final, Vec(alu1=Alu.MUL, b=col(total)), rows=queries, cols=dim, waits=[Wait(3)])
    built = program({(Queue.MATRIX, ()): matrix, (Queue.VECTOR, ()): vector}, core_sems={0: 1})
    runner = Machine(built, made)
    memory = runner.l1(0)
    for name, values in (("q", q), ("k", k), ("v", v)):
        put(memory, places[name], values, narrow)
    for name in ("m", "n"):
        put(memory, places[name], np.full((queries, 1), -1e30, np.float32), 4)
    runner.run({}, order_seed=seed)
    got = get(memory, places["o"], (queries, dim), 4 * dim, np.float32)
    wide_q, wide_k, wide_v = (bf16_values(x).astype(np.float64) for x in (q, k, v))
    logits = wide_q @ wide_k.T * 0.25
    visible = np.arange(keys)[None] <= keys - queries + np.arange(queries)[:, None]
    weights = np.exp(
        np.where(visible, logits, -np.inf)
        - np.where(visible, logits, -np.inf).max(1, keepdims=True)
    )
    want = weights / weights.sum(1, keepdims=True) @ wide_v
    # The probabilities enter the array as bf16.
    np.testing.assert_allclose(got, want, atol=0.01)
