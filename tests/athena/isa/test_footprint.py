"""Footprints against bytes listed one by one; overlap of strided blocks against sets of bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.isa.builder import (
    Side,
    StreamBuilder,
    Vec,
    acc,
    hbm,
    imm,
    l1,
)
from athena.isa.fields import (
    IMM_A,
    N0,
    Acc,
    Alu,
    Dt,
    GatherMode,
    Kind,
    Perm,
    Queue,
    Red,
    Seg,
    decode,
)
from athena.isa.footprint import footprints
from athena.isa.race_kernel import overlap


def touched(kind, build):
    """{(slot, write): set of bytes} of one word."""
    builder = StreamBuilder()
    build(builder)
    rows = decode(builder.stream().words)
    addresses = np.stack([rows[:, IMM_A + 4 * slot] for slot in range(6)], axis=1)
    parts = footprints(rows, rows[:, N0 : N0 + 3], addresses, np.full(len(rows), kind))
    out = {}
    for i in range(len(parts.word)):
        found = bytes_of(parts.block(i))
        assert min(found) == parts.base[i] + parts.low()[i]
        assert max(found) + 1 == parts.base[i] + parts.high()[i]
        out["abcde"[parts.slot[i]] + ("w" if parts.write[i] else "r")] = found
    return out


def bytes_of(block):
    _, _, _, base, blocks, block_stride, rows, stride, size = (int(v) for v in block)
    return {
        base + b * block_stride + r * stride + j
        for b in range(blocks)
        for r in range(rows)
        for j in range(size)
    }


def rows_of(base, rows, stride, size):
    return {base + r * stride + j for r in range(rows) for j in range(size)}


BF, F32 = Dt.BF16, Dt.F32
CASES = [
    (Queue.LOAD,
     lambda b: b.load(hbm(Seg.ACT, 9, stride=10), l1(3, stride=5), rows=2, row_bytes=4, blocks=2,
                      block_strides=(100, -50)),
     {"ar": rows_of(9, 2, 10, 4) | rows_of(109, 2, 10, 4),
      "dw": rows_of(3, 2, 5, 4) | rows_of(-47, 2, 5, 4)}),
    (Queue.LOAD,
     lambda b: b.copyx(hbm(Seg.ACT, 8), l1(64, stride=16), l1(32), limit=5, rows=3, row_bytes=12,
                       pitch=20),
     {"ar": rows_of(8, 5, 20, 12), "br": rows_of(32, 1, 0, 12), "dw": rows_of(64, 3, 16, 12)}),
    (Queue.STORE,
     lambda b: b.copyx(l1(64, stride=16), hbm(Seg.ACT, 8), l1(32), limit=5, rows=3, row_bytes=12,
                       pitch=20),
     {"dw": rows_of(8, 5, 20, 12), "br": rows_of(32, 1, 0, 12), "ar": rows_of(64, 3, 16, 12)}),
    (Queue.LOAD, lambda b: b.fill(l1(4, stride=8), rows=3, row_bytes=8),
     {"dw": rows_of(4, 3, 8, 8)}),
    (Queue.MATRIX,
     lambda b: b.matmul(l1(0, stride=20, dt=BF), l1(100, stride=30, dt=BF), acc(4, stride=64),
                        m=2, n=3, k=5),
     {"ar": rows_of(0, 2, 20, 10), "br": rows_of(100, 5, 30, 6), "dw": rows_of(4, 2, 64, 12)}),
    (Queue.MATRIX,
     lambda b: b.matmul(l1(0, stride=20, dt=Dt.I8), l1(100, stride=30, dt=Dt.U8),
                        acc(4, stride=64, dt=Dt.I32), m=2, n=3, k=5, b_trans=True, start=Acc.KEEP),
     {"ar": rows_of(0, 2, 20, 5), "br": rows_of(100, 3, 30, 5), "dw": rows_of(4, 2, 64, 12),
      "dr": rows_of(4, 2, 64, 12)}),
    (Queue.MATRIX,
     lambda b: b.matmul(l1(0, dt=BF), l1(100, dt=BF), acc(4, stride=64), m=2, n=3, k=0,
                        start=Acc.BIAS, bias=l1(8, dt=F32)),
     {"cr": rows_of(8, 1, 0, 12), "dw": rows_of(4, 2, 64, 12)}),
    (Queue.MATRIX, lambda b: b.matmul(l1(0, dt=BF), l1(9, dt=BF), acc(4), m=0, n=3, k=4), {}),
    (Queue.VECTOR,
     lambda b: b.vec(acc(0, stride=40), l1(8, stride=20, dt=BF),
                     Vec(alu1=Alu.ADD, b=Side(Kind.COL, l1(400, stride=8, dt=BF)), alu2=Alu.MUL,
                         c=Side(Kind.ROW, l1(500, stride=99, dt=F32)), red=Red.SUM,
                         red_to=l1(600, stride=8), red_keep=True), rows=3, cols=4),
     {"ar": rows_of(0, 3, 40, 16), "br": rows_of(400, 3, 8, 2), "cr": rows_of(500, 1, 0, 16),
      "dw": rows_of(8, 3, 20, 8), "ew": rows_of(600, 3, 8, 4), "er": rows_of(600, 3, 8, 4)}),
    (Queue.VECTOR,
     lambda b: b.vec(l1(0, stride=40, dt=Dt.U8), None,
                     Vec(alu1=Alu.ADD, b=imm(1), alu2=Alu.MUL,
                         c=Side(Kind.SCALAR, l1(500, dt=BF)), red=Red.MAX,
                         red_to=l1(600, stride=4)), rows=3, cols=4),
     {"ar": rows_of(0, 3, 40, 4), "cr": rows_of(500, 1, 0, 2), "ew": rows_of(600, 3, 4, 4)}),
    (Queue.VECTOR,
     lambda b: b.vperm(l1(0, stride=20, dt=BF), l1(200, stride=10, dt=BF), Perm.TRANSPOSE, rows=3,
                       cols=7),
     {"ar": rows_of(0, 3, 20, 14), "dw": rows_of(200, 7, 10, 6)}),
    (Queue.VECTOR,
     lambda b: b.vgather(l1(0, stride=8, dt=BF), l1(100, stride=4), l1(200, stride=8, dt=BF),
                         GatherMode.ROWS, rows=3, cols=4, limit=6),
     {"ar": rows_of(0, 6, 8, 8), "br": rows_of(100, 1, 0, 12), "dw": rows_of(200, 3, 8, 8)}),
    (Queue.VECTOR,
     lambda b: b.vgather(l1(0, stride=12, dt=BF), l1(100, stride=16), l1(200, stride=8, dt=BF),
                         GatherMode.ELEMENTS, rows=3, cols=4, limit=6),
     {"ar": rows_of(0, 3, 12, 12), "br": rows_of(100, 3, 16, 16), "dw": rows_of(200, 3, 8, 8)}),
    (Queue.VECTOR,
     lambda b: b.vmxq(acc(0, stride=40), l1(7, stride=9, dt=Dt.I8), l1(100, stride=8), rows=3,
                      cols=4),
     {"ar": rows_of(0, 3, 40, 16), "dw": rows_of(7, 3, 9, 4), "ew": rows_of(100, 3, 8, 4)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "build", "expected"), CASES)
def test_bytes_of_each_word(kind, build, expected):
    assert touched(kind, build) == expected


block = st.tuples(
    st.just(0), st.just(0), st.just(0),
    st.integers(0, 60), st.integers(1, 3), st.integers(-20, 40), st.integers(1, 5),
    st.integers(0, 12), st.integers(1, 6),
).map(lambda values: np.array(values, np.int64))  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True)
@given(a=block, b=block)
def test_overlap_is_exact(a, b):
    assert overlap(a, b) == bool(bytes_of(a) & bytes_of(b))
    assert overlap(b, a) == overlap(a, b)
