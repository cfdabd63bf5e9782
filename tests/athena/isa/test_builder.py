"""The builder puts every value where `fields` says, and refuses what does not fit."""

import doctest

import numpy as np
import pytest

import athena.isa.builder as builder_module
from athena.isa import fields as f
from athena.isa.builder import Clip, Mask, Operand, Side, StreamBuilder, Vec, Wait, hbm, l1, l2
from athena.isa.fields import Alu, Dt, Kind, Lut, Op, Red, Seg, Sig, decode, signal
from athena.isa.operand import imm, self_sem


def one(build):
    builder = StreamBuilder()
    build(builder)
    (row,) = decode(builder.stream().words)
    return row


def test_doctest():
    assert doctest.testmod(builder_module).failed == 0


def test_copy_columns():
    row = one(
        lambda b: b.copy(
            hbm(Seg.ACT, 0xFFFFFFFF, stride=0xFFFFFF, areg=15),
            l2(7, stride=3),
            rows=5,
            row_bytes=6,
            blocks=4,
            block_strides=(-8, 9),
            waits=[Wait(1, 2), Wait(3, 255)],
            signals=[self_sem(31), signal(Sig.CHIP, 30, 255)],
            clips=(Clip(-1, areg=2, scalar=14), None, Clip(3)),
        )
    )
    assert row[[f.OP, f.SEG_A, f.AREG_A, f.IMM_A, f.STRIDE_A]].tolist() == [
        Op.COPY,
        Seg.ACT,
        15,
        0xFFFFFFFF,
        0xFFFFFF,
    ]
    assert row[[f.SEG_D, f.AREG_D, f.IMM_D, f.STRIDE_D]].tolist() == [Seg.L2, 0, 7, 3]
    assert row[[f.N0, f.N1, f.N2, f.P0, f.P1]].tolist() == [4, 5, 6, -8, 9]
    assert row[f.WAIT0 : f.WAIT1_N + 1].tolist() == [1, 2, 3, 255]
    assert row[[f.SIG0, f.SIG1]].tolist() == [1 << 13 | 31, 7 << 13 | 255 << 5 | 30]
    assert row[[f.CLIP_EN, f.CLIP0, f.CLIP1, f.CLIP2]].tolist() == [5, 14 << 4 | 2, 0, 0]
    assert row[[f.LIM0, f.LIM1, f.LIM2]].tolist() == [-1, 0, 3]


def test_vec_columns():
    steps = Vec(
        alu1=Alu.MUL,
        b=imm(0.5),
        lut=Lut.EXP,
        alu2=Alu.ADD,
        c=Side(Kind.ROW, l1(64, dt=Dt.F16)),
        mask=Mask(lo=-2, hi=9, lo_slope=-1, hi_slope=127, lo_areg=3, hi_scalar=15, fill=-1.0),
        red=Red.SUMSQ,
        red_to=l1(4, stride=8),
        red_keep=True,
        zero=-3,
    )
    row = one(lambda b: b.vec(l1(0, dt=Dt.I8), l1(32, dt=Dt.U8), steps, rows=2, cols=3))
    assert row[[f.DT_A, f.DT_B, f.DT_C, f.DT_D, f.MODE]].tolist() == [4, 0, 3, 5, 6]
    assert row[f.P0] == Alu.MUL | Lut.EXP << 8 | Alu.ADD << 16 | Red.SUMSQ << 24
    assert row[f.P1] == Kind.IMM | Kind.ROW << 8
    assert row[[f.P2, f.P3, f.P6]].tolist() == [-2, 9, -3]
    assert row[f.P4] & 0xFFFFFFFF == 0xFF | 127 << 8 | 3 << 16 | 0xF0 << 24
    assert np.array(row[f.P5], np.int32).view(np.float32) == -1.0
    assert np.array(row[f.F0_BITS], np.uint32).view(np.float32) == 0.5
    assert (row[f.SEG_E], row[f.STRIDE_E], row[f.IMM_E]) == (Seg.L1, 8, 4)


def test_patterns_keep_their_bits():
    row = one(lambda b: b.fill(l1(0), rows=1, row_bytes=4, value=0xFF80FF80))
    assert row[f.P0] & 0xFFFFFFFF == 0xFF80FF80
    row = one(lambda b: b.seta(1, -(1 << 47)))
    assert (row[f.P2] << 32) | (row[f.P1] & 0xFFFFFFFF) == -(1 << 47)


def test_loop_counts_its_body():
    builder = StreamBuilder()
    with builder.loop(7, (1, 64), (15, -4), clip=Clip(3)):
        builder.sync()
        with builder.loop(2):
            builder.sync(waits=[Wait(i) for i in range(4)], signals=[self_sem(i) for i in range(4)])
    rows = decode(builder.stream().words)
    assert rows[0, [f.N0, f.N1, f.P0, f.P1, f.P4, f.CLIP_EN]].tolist() == [7, 3, 64, -4, 0xF1, 1]
    assert rows[2, f.N1] == 1
    assert rows[3, [f.P0, f.P1, f.P2]].tolist() == [2 | 1 << 8, 3 | 1 << 8, 1 << 13 | 2]


@pytest.mark.parametrize(
    "build",
    [
        lambda b: b.load(l1(-1), l1(0), rows=1, row_bytes=1),
        lambda b: b.load(l1(0, stride=1 << 24), l1(0), rows=1, row_bytes=1),
        lambda b: b.load(Operand(Seg.L1, areg=16), l1(0), rows=1, row_bytes=1),
        lambda b: b.load(l1(0), l1(0), rows=-1, row_bytes=1),
        lambda b: b.load(l1(0), l1(0), rows=1 << 32, row_bytes=1),
        lambda b: b.load(l1(0), l1(0), rows=1, row_bytes=1, waits=[Wait(0)] * 3),
        lambda b: b.load(l1(0), l1(0), rows=1, row_bytes=1, waits=[Wait(0, 256)]),
        lambda b: b.load(l1(0), l1(0), rows=1, row_bytes=1, block_strides=(1 << 32, 0)),
        lambda b: b.load(l1(0), l1(0), rows=1, row_bytes=1, clips=(Clip(0, areg=16), None, None)),
        lambda b: b.sync(waits=[Wait(0)] * 5),
        lambda b: b.seta(1, 1 << 47),
        lambda b: b.seta(1, mult=1 << 31),
        lambda b: b.load(l1(0), l1(0), rows=1, row_bytes=1, block_strides=(1 << 31, 0)),
        lambda b: b.loop(1, (1, 1 << 31)).__enter__(),
        lambda b: b.loop(1, *[(1, 1)] * 5).__enter__(),
        lambda b: b.vec(l1(0), l1(0), Vec(integer=True, mask=Mask()), rows=1, cols=1),
    ],
)
def test_values_that_do_not_fit_are_refused(build):
    with pytest.raises(ValueError, match="."):
        build(StreamBuilder())
