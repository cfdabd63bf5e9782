"""VEC against the numpy reference: every step, kind, type, mask and reduction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from athena.errors import FaultError
from athena.isa.builder import Mask, Operand, Side, StreamBuilder, Vec, acc, l1
from athena.isa.fields import Alu, Dt, Kind, Lut, Queue, Red, Seg
from tests.athena.functional import oracle
from tests.athena.functional.lab import STORAGE, chip, get, machine, put, same, stored

FLOATS = (Dt.F32, Dt.BF16, Dt.F16)
INTEGERS = (Dt.I8, Dt.U8, Dt.I32)
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, -3e38, 0.5, 1.5, 2.5, -2.5],
    np.float32,
)


def values(rng, shape, dt: Dt) -> np.ndarray:
    """Storage values of a type, special ones among them."""
    if dt in FLOATS:
        x = (rng.normal(size=shape) * np.exp2(rng.integers(-6, 7, shape))).astype(np.float32)
        hit = rng.random(shape) < 0.15
        x = np.where(hit, rng.choice(SPECIAL, shape), x)
        with np.errstate(all="ignore"):
            return stored(x, dt)
    info = np.iinfo(STORAGE[dt])
    wide = rng.integers(info.min, info.max, shape, endpoint=True)
    return np.where(rng.random(shape) < 0.5, wide, wide // (1 + abs(info.max) // 5)).astype(
        STORAGE[dt]
    )


class Bench:
    """Operands at fixed places, with gaps between rows."""

    def __init__(self, where: str, shape: tuple[int, int]) -> None:
        self.where, self.shape = where, shape
        self.part = chip(where).core.l1_bytes // 8

    def place(self, slot: int, dt: Dt, gap: int = 1) -> Operand:
        size = np.dtype(STORAGE[dt]).itemsize
        return l1(slot * self.part, stride=size * (self.shape[1] + gap), dt=dt)

    def run(
        self, case: oracle.VecCase, *, zero: int = 0, in_acc: bool = False, precision: str = "bf16"
    ):
        rows, cols = self.shape
        a = self.place(0, case.a_dt)
        if in_acc:
            a = acc(a.imm, stride=a.stride, dt=case.a_dt)
        b = self.place(1, case.b_dt, 2) if case.b is not None else None
        c = self.place(2, case.c_dt, 0) if case.c is not None else None
        d = self.place(3, case.d_dt, 3) if case.d_dt is not Dt.NONE else None
        e = Operand(Seg.L1, 7 * self.part, 8) if case.red is not Red.NONE else None
        mask = None
        if case.mask is not None:
            low, high, low_slope, high_slope = case.mask
            mask = Mask(lo=low, hi=high, lo_slope=low_slope, hi_slope=high_slope, fill=case.fill)
        steps = Vec(
            alu1=case.alu1,
            b=Side(case.b_kind, b, case.b_imm),
            lut=case.lut,
            alu2=case.alu2,
            c=Side(case.c_kind, c, case.c_imm),
            mask=mask,
            red=case.red,
            red_to=e,
            red_keep=case.keep,
            zero=case.zero,
            integer=case.integer,
        )
        builder = StreamBuilder()
        builder.vec(a, d, steps, rows=rows, cols=cols)
        runner = machine(self.where, Queue.VECTOR, builder, precision=precision)
        for memory, operand, data in (
            (runner.acc(0) if in_acc else runner.l1(0), a, case.a),
            (runner.l1(0), b, case.b),
            (runner.l1(0), c, case.c),
        ):
            if operand is not None and data is not None:
                put(memory, operand.imm, data, operand.stride)
        if e is not None and case.e is not None:
            put(runner.l1(0), e.imm, case.e[:, None], e.stride)
        runner.run({})
        got_d = get(runner.l1(0), d.imm, self.shape, d.stride, STORAGE[case.d_dt]) if d else None
        kind = np.int32 if case.integer else np.float32
        got_e = get(runner.l1(0), e.imm, (rows, 1), e.stride, kind)[:, 0] if e else None
        return got_d, got_e

    def check(self, case: oracle.VecCase, **more) -> None:
        got = self.run(case, **more)
        for left, right in zip(got, oracle.vec(case), strict=True):
            assert (left is None) == (right is None)
            if left is not None:
                same(left, right)


def lanes(where: str) -> int:
    return chip(where).core.vector.lanes


@pytest.mark.parametrize("alu", Alu, ids=lambda a: a.name)
@pytest.mark.parametrize("kind", [k for k in Kind if k is not Kind.NONE], ids=lambda k: k.name)
def test_every_alu_step_with_every_kind(alu, kind):
    """The step as alu2 and, but for SELECT, as alu1; SELECT has two operands."""
    rng = np.random.default_rng(alu * 8 + kind)
    bench = Bench("athena-edge", (3, 37))
    for b_dt, second in itertools.product((Dt.F32, Dt.BF16), (False, True)):
        if alu is Alu.SELECT and not second:
            continue
        other = values(rng, bench.shape, b_dt)
        case = oracle.VecCase(
            a=values(rng, bench.shape, Dt.F32), a_dt=Dt.F32, d_dt=Dt.F32, lanes=16
        )
        if second:
            case.alu2, case.c_kind, case.c, case.c_dt, case.c_imm = alu, kind, other, b_dt, -1.25
        else:
            case.alu1, case.b_kind, case.b, case.b_dt, case.b_imm = alu, kind, other, b_dt, -1.25
        if alu is Alu.SELECT:
            case.a = np.round(case.a)
            case.b_kind, case.b, case.b_dt = Kind.ROW, values(rng, bench.shape, Dt.F16), Dt.F16
        bench.check(case)


@pytest.mark.parametrize("lut", Lut, ids=lambda x: x.name)
def test_every_lut_step(lut):
    rng = np.random.default_rng(lut)
    bench = Bench("athena", (2, 500))
    x = values(rng, bench.shape, Dt.F32)
    x[1, :250] = np.abs(x[1, :250])
    bench.check(oracle.VecCase(a=x, a_dt=Dt.F32, d_dt=Dt.F32, lanes=256, lut=lut))


@pytest.mark.parametrize("a_dt", FLOATS + INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("d_dt", FLOATS + INTEGERS, ids=lambda d: d.name)
def test_every_conversion(a_dt, d_dt):
    rng = np.random.default_rng(16 * a_dt + d_dt)
    bench = Bench("athena-edge", (4, 61))
    case = oracle.VecCase(a=values(rng, bench.shape, a_dt), a_dt=a_dt, d_dt=d_dt, lanes=16, zero=-3)
    bench.check(case)
    case.integer = a_dt in INTEGERS
    if case.integer:
        bench.check(case)


def test_all_half_precision_numbers_survive_the_trip():
    bits = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    bench = Bench("athena", (16, 4096))
    a = bits.view(np.float16).reshape(bench.shape)
    bench.check(oracle.VecCase(a=a, a_dt=Dt.F16, d_dt=Dt.F16, lanes=256))
    bench.check(oracle.VecCase(a=a, a_dt=Dt.F16, d_dt=Dt.F32, lanes=256))


def test_rounding_to_half_at_every_boundary():
    half = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middle = ((half[:-1] + half[1:]) / 2).astype(np.float32)
    around = np.stack(
        [
            middle,
            np.nextafter(middle, np.float32(0)),
            np.nextafter(middle, np.float32(np.inf)),
            -middle,
        ]
    )
    bench = Bench("athena", around.shape)
    bench.check(oracle.VecCase(a=around, a_dt=Dt.F32, d_dt=Dt.F16, lanes=256))


@pytest.mark.parametrize("where", ["athena-edge-ci", "athena-edge", "athena"])
@pytest.mark.parametrize("red", [r for r in Red if r is not Red.NONE], ids=lambda r: r.name)
@pytest.mark.parametrize("keep", [False, True])
def test_every_reduction(where, red, keep):
    rng = np.random.default_rng(red)
    for cols in (1, 2, 3, 7, 16, 17, 33, 129, 700):
        bench = (
            Bench(where, (2, cols))
            if cols < 500 or where != "athena-edge-ci"
            else Bench(where, (1, 500))
        )
        case = oracle.VecCase(
            a=rng.normal(size=bench.shape).astype(np.float32),
            a_dt=Dt.F32,
            d_dt=Dt.BF16,
            lanes=lanes(where),
            red=red,
            keep=keep,
            e=rng.normal(size=bench.shape[0]).astype(np.float32),
        )
        bench.check(case)
        case.a, case.d_dt = values(rng, bench.shape, Dt.F32), Dt.NONE
        bench.check(case)


def test_a_reduction_longer_than_a_pass():
    rng = np.random.default_rng(5)
    for where, cols in (("athena", 9001), ("athena-edge", 5003)):
        bench = Bench(where, (1, cols)) if where == "athena" else Bench(where, (1, 3000))
        for red in (Red.SUM, Red.MAX, Red.SUMSQ):
            a = rng.normal(size=bench.shape).astype(np.float32)
            bench.check(oracle.VecCase(a=a, a_dt=Dt.F32, d_dt=Dt.F32, lanes=lanes(where), red=red))


@pytest.mark.parametrize(
    "mask",
    [(0, 1, 0, 1), (3, 9, 0, 0), (-5, 4, 2, -1), (0, 0, 0, 0), (5, 2, 0, 0), (-9, 99, 127, -128)],
)
@pytest.mark.parametrize("fill", [float("-inf"), 0.0, float("nan")])
def test_masks(mask, fill):
    rng = np.random.default_rng(6)
    bench = Bench("athena-edge", (5, 23))
    case = oracle.VecCase(
        a=rng.normal(size=bench.shape).astype(np.float32),
        a_dt=Dt.F32,
        d_dt=Dt.F32,
        lanes=16,
        mask=mask,
        fill=fill,
        red=Red.MAX,
    )
    bench.check(case)


def test_mask_bounds_add_areg_and_scalar():
    builder = StreamBuilder()
    builder.seta(2, 3)
    mask = Mask(lo=-1, hi=0, lo_areg=2, hi_scalar=5, hi_areg=2, fill=9.0)
    builder.vec(
        l1(0, stride=32, dt=Dt.F32), l1(64, stride=32, dt=Dt.F32), Vec(mask=mask), rows=1, cols=8
    )
    runner = machine("athena-edge", Queue.VECTOR, builder, scalars=(0, 0, 0, 0, 0, 2))
    runner.run({})
    want = np.array([9, 9, 0, 0, 0, 9, 9, 9], np.float32)
    same(runner.l1(0)[64:96].view(np.float32), want)
    runner.run({}, scalars={5: 4})
    same(runner.l1(0)[64:96].view(np.float32), np.array([9, 9, 0, 0, 0, 0, 0, 9], np.float32))


@pytest.mark.parametrize("alu", Alu, ids=lambda a: a.name)
def test_integer_steps(alu):
    rng = np.random.default_rng(alu)
    bench = Bench("athena-edge", (3, 19))
    for kind, b_dt, lut, red in zip(
        (Kind.FULL, Kind.ROW, Kind.COL, Kind.SCALAR, Kind.IMM),
        (Dt.I32, Dt.I8, Dt.U8, Dt.I32, Dt.I32),
        (Lut.NONE, Lut.ABS, Lut.NEG, Lut.SIGN, Lut.NOT),
        (Red.SUM, Red.MAX, Red.MIN, Red.SUMSQ, Red.ABSMAX),
        strict=True,
    ):
        case = oracle.VecCase(
            a=values(rng, bench.shape, Dt.I32),
            a_dt=Dt.I32,
            d_dt=(Dt.I32, Dt.U8, Dt.I8)[alu % 3],
            lanes=16,
            integer=True,
            lut=lut,
            alu2=alu,
            c_kind=kind,
            c=values(rng, bench.shape, b_dt),
            c_dt=b_dt,
            c_imm=7.0,
            b_kind=Kind.IMM,
            b_imm=5.0,
            red=red,
            zero=11,
            mask=(2, 15, 1, 0),
            fill=-77,
            keep=bool(alu % 2),
            e=rng.integers(-(1 << 31), 1 << 31, 3).astype(np.int32),
        )
        bench.check(case)


def test_random_combinations():
    rng = np.random.default_rng(7)
    for _ in range(150):
        where = ("athena-edge-ci", "athena-edge", "athena")[rng.integers(3)]
        bench = Bench(where, (int(rng.integers(1, 6)), int(rng.integers(1, 90))))
        kinds = [Kind(int(k)) for k in rng.integers(1, 6, 2)]
        b_dt, c_dt = (Dt(int(i)) for i in rng.integers(1, 7, 2))
        a_dt, d_dt = Dt(int(rng.integers(1, 7))), Dt(int(rng.integers(1, 7)))
        case = oracle.VecCase(
            a=values(rng, bench.shape, a_dt),
            a_dt=a_dt,
            d_dt=d_dt,
            lanes=lanes(where),
            alu1=Alu(int(rng.integers(0, 13))),
            lut=Lut(int(rng.integers(0, 22))),
            alu2=Alu(int(rng.integers(0, 15))),
            b_kind=kinds[0],
            b=values(rng, bench.shape, b_dt),
            b_dt=b_dt,
            b_imm=1.5,
            c_kind=kinds[1],
            c=values(rng, bench.shape, c_dt),
            c_dt=c_dt,
            c_imm=-0.75,
            zero=int(rng.integers(-9, 200)),
            red=Red(int(rng.integers(0, 6))),
            mask=(0, 5, 1, 1) if rng.random() < 0.3 else None,
            fill=-1.0,
        )
        bench.check(case, in_acc=bool(rng.random() < 0.3))


def test_packed_blocks_run_as_one_row():
    """Without gaps, masks, reductions and vectors the block is one long row.

    The result is the same.
    """
    rng = np.random.default_rng(8)
    a, b = (rng.normal(size=(40, 300)).astype(np.float32) for _ in range(2))
    builder = StreamBuilder()
    steps = Vec(alu1=Alu.MUL, b=Side(Kind.FULL, l1(1 << 20, stride=1200, dt=Dt.F32)))
    builder.vec(
        l1(0, stride=1200, dt=Dt.F32), l1(2 << 20, stride=600, dt=Dt.BF16), steps, rows=40, cols=300
    )
    runner = machine("athena", Queue.VECTOR, builder)
    put(runner.l1(0), 0, a, 1200)
    put(runner.l1(0), 1 << 20, b, 1200)
    runner.run({})
    same(get(runner.l1(0), 2 << 20, (40, 300), 600, np.uint16), oracle.narrow(a * b, Dt.BF16))


def test_in_place():
    builder = StreamBuilder()
    builder.vec(
        l1(0, stride=40, dt=Dt.F32), l1(0, stride=40, dt=Dt.F32), Vec(lut=Lut.NEG), rows=3, cols=9
    )
    runner = machine("athena-edge", Queue.VECTOR, builder)
    x = np.arange(27, dtype=np.float32).reshape(3, 9)
    put(runner.l1(0), 0, x, 40)
    runner.run({})
    same(get(runner.l1(0), 0, (3, 9), 40, np.float32), -x)


@pytest.mark.parametrize("lut", [x for x in Lut if Lut.EXP <= x <= Lut.COS], ids=lambda x: x.name)
def test_the_fp32_profile_uses_library_functions(lut):
    rng = np.random.default_rng(lut)
    bench = Bench("athena-edge", (1, 400))
    x = values(rng, bench.shape, Dt.F32)
    got, _ = bench.run(
        oracle.VecCase(a=x, a_dt=Dt.F32, d_dt=Dt.F32, lanes=16, lut=lut), precision="fp32"
    )
    near = oracle.lut(lut, x)
    same(np.isnan(got) & (np.abs(x) < 2.0**18), np.isnan(near) & (np.abs(x) < 2.0**18))
    finite = np.isfinite(near)
    with np.errstate(all="ignore"):
        limit = 3e-6 * np.maximum(1.0, np.abs(near[finite].astype(np.float64)))
        assert (np.abs(got[finite].astype(np.float64) - near[finite]) <= limit).all()


@pytest.mark.parametrize(
    "steps,text",
    [
        (Vec(alu1=Alu.ADD), "p1 is 0"),
        (Vec(alu1=Alu.SELECT, b=Side(Kind.IMM)), "p0"),
        (Vec(lut=Lut.EXP, integer=True), "p0 is 1; expected 18"),
        (Vec(lut=Lut.ABS, integer=True), "dtype of a is 1; expected 6"),
        (Vec(red=Red.SUM, red_to=acc(0)), "operand e: ACC is not allowed here"),
        (
            Vec(alu1=Alu.ADD, b=Side(Kind.COL, l1(131000, stride=64, dt=Dt.F32))),
            "operand b: bytes 131000",
        ),
        (Vec(alu1=Alu.ADD, b=Side(Kind.ROW, l1(0))), "operand b: dtype of b is 0"),
    ],
)
def test_faults(steps, text):
    builder = StreamBuilder()
    builder.vec(l1(0, stride=40, dt=Dt.F32), l1(4096, stride=40, dt=Dt.F32), steps, rows=4, cols=9)
    with pytest.raises(FaultError) as caught:
        machine("athena-edge", Queue.VECTOR, builder).run({})
    assert text in str(caught.value)
