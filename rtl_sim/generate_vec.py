"""The VECTOR tasks of random programs: VEC in all its forms, VPERM, VGATHER, VMXQ.

In:  a `Maker` and a block to read. Out: words in its streams, and where the result lies.
"""

from __future__ import annotations

from dataclasses import replace

from athena.isa.builder import Operand, Wait, l1
from athena.isa.fields import (
    DT_BYTES,
    Alu,
    Dt,
    GatherMode,
    Kind,
    Lut,
    Op,
    Perm,
    Queue,
    Red,
    Seg,
)
from athena.isa.operand import Mask, Side, Vec
from rtl_sim.maker import DONE, FILLED, ODD, SPARE, WILD, Maker

ALUS = tuple(alu for alu in Alu if alu is not Alu.SELECT)  # of alu1
TYPES = tuple(dt for dt in Dt if dt is not Dt.NONE)
INTEGERS = (Dt.I8, Dt.U8, Dt.I32)
FLOATS = (Dt.F32, Dt.BF16, Dt.F16)
WIDE = (Dt.F32, Dt.I32)  # what accumulators hold
Shown = tuple[int, int, int]  # address, stride and row bytes of what a STORE shall take


def vec(make: Maker, a: Operand, rows: int, cols: int, wait: Wait) -> Shown:
    """VEC from `a` into L1, perhaps by way of the accumulators."""
    waits = [wait]
    if make.often(15):
        between = make.sums(rows, cols, make.one((Dt.F32, Dt.I32)))
        if between is not None:
            _emit(make, (a, between), _steps(make, a, rows, cols), (rows, cols), waits, [])
            a, waits = between, []
    dt = make.one(TYPES)
    size = DT_BYTES[dt]
    stride = size * (cols + make.pick(0, 6))
    result: Operand | None = l1(make.room(rows * stride), stride=stride, dt=dt)
    shown = (result.imm, stride, size * cols)
    steps = _steps(make, a, rows, cols)
    if steps.red is not Red.NONE and steps.red_to is not None and make.often(40):
        result, shown = None, (steps.red_to.imm, steps.red_to.stride, 4)
    elif a.seg is Seg.L1 and a.dt is dt and a.stride and make.often(30) and _apart(a, steps):
        result, shown = a, (a.imm, a.stride, size * cols)
    _emit(make, (a, result), steps, (rows, cols), waits, make.signals(DONE))
    return shown


def _emit(
    make: Maker,
    places: tuple[Operand, Operand | None],
    steps: Vec,
    shape: tuple[int, int],
    waits: list[Wait],
    signals: list[int],
) -> None:
    """One VEC, its operands perhaps through address registers."""
    queue, (a, result) = Queue.VECTOR, places
    counts, clips = make.counts(Op.VEC, *shape)
    if make.often(20):
        make.wild(queue)
    steps = replace(
        steps, b=_near(make, steps.b), c=_near(make, steps.c),
        red_to=None if steps.red_to is None else make.near(queue, steps.red_to),
    )  # fmt: skip
    make.streams[queue].vec(
        make.near(queue, a), None if result is None else make.near(queue, result), steps,
        rows=counts[0], cols=counts[1], clips=clips, waits=waits, signals=signals,
    )  # fmt: skip


def _near(make: Maker, side: Side) -> Side:
    if side.operand is None:
        return side
    return replace(side, operand=make.near(Queue.VECTOR, side.operand))


def _apart(a: Operand, steps: Vec) -> bool:
    """Whether no other operand reads the bytes of `a`, so that the result may take its place."""
    others = (steps.b.operand, steps.c.operand)
    return all(other is None or other.imm != a.imm for other in others)


def _steps(make: Maker, a: Operand, rows: int, cols: int) -> Vec:
    """Steps, second operands, mask and reduction; integers only where `a` holds them."""
    integer = a.dt in INTEGERS and make.often(50)
    steps = Vec(integer=integer, zero=make.pick(0, 180) - 90, lut=_lut(make, integer=integer))
    if make.often(70):
        sides = [_side(make, a, (rows, cols), integer=integer) for _ in range(2)]
        steps = replace(
            steps, b=sides[0], c=sides[1],
            alu1=Alu.PASS if sides[0].kind is Kind.NONE else make.one(ALUS),
            alu2=Alu.PASS if sides[1].kind is Kind.NONE else make.one(tuple(Alu)),
        )  # fmt: skip
        if steps.alu2 is Alu.SELECT and steps.b.kind is Kind.NONE:
            steps = replace(steps, alu2=Alu.MAX)
    if make.often(30):
        steps = replace(steps, mask=_mask(make, cols, integer=integer))
    if make.often(40):
        stride = 4 * make.pick(1, 3)
        side = l1(make.room(rows * stride), stride=stride, dt=Dt.I32 if integer else Dt.F32)
        red = make.one([red for red in Red if red is not Red.NONE])
        steps = replace(steps, red=red, red_keep=make.often(40), red_to=side)
    return steps


def _lut(make: Maker, *, integer: bool) -> Lut:
    """A one-operand step or none; exact ones as often as tables."""
    if not make.often(60):
        return Lut.NONE
    first = Lut.ABS if integer else Lut.FLOOR if make.often(50) else Lut.EXP
    return make.one([lut for lut in Lut if lut >= first])


def _side(make: Maker, a: Operand, shape: tuple[int, int], *, integer: bool) -> Side:
    """A second operand: the first one's bytes, some of the pool's, or an immediate."""
    kind = make.one(tuple(Kind))
    if kind is Kind.NONE:
        return Side()
    if kind is Kind.IMM:
        return Side(kind, None, float(make.pick(-300, 300)) / 4)
    rows = shape[0] if kind in (Kind.FULL, Kind.COL) else 1
    cols = shape[1] if kind in (Kind.FULL, Kind.ROW) else 1
    other = make.pooled(make.one(INTEGERS if integer else TYPES), rows, cols)
    return Side(kind, other if other is not None and make.often(70) else a)


def _mask(make: Maker, cols: int, *, integer: bool) -> Mask:
    """A window of columns that moves from row to row; seldom bounds from anywhere."""
    low, high = (make.small_scalar() for _ in range(2))
    low_areg, high_areg = (make.one((0, ODD, *SPARE)) for _ in range(2))
    if make.often(20):
        low_areg, high_areg = make.one(((WILD, high_areg), (low_areg, WILD)))
    return Mask(
        lo=make.pick(-2, cols) - make.scalars[low] - make.aregs.get(low_areg, 0),
        hi=make.pick(0, cols + 2) - make.scalars[high] - make.aregs.get(high_areg, 0),
        lo_slope=make.pick(-3, 3), hi_slope=make.pick(-3, 3), lo_scalar=low, hi_scalar=high,
        lo_areg=low_areg, hi_areg=high_areg, fill=-7 if integer else make.one((0.0, float("-inf"))),
    )  # fmt: skip


def _block(make: Maker, dt: Dt, rows: int, cols: int) -> Operand:
    """A LOAD of [rows, cols]."""
    size = DT_BYTES[dt]
    stride = size * (cols + make.pick(0, 3))
    at = make.room(rows * stride)
    make.load(at, stride, rows, size * cols, FILLED, wild=True)
    return l1(at, stride=stride, dt=dt)


def map_block(make: Maker) -> None:
    """LOAD, VEC, STORE."""
    rows, cols = make.pick(1, 9), make.size(make.chip.core.vector.lanes)
    a = _block(make, make.one(TYPES), rows, cols)
    at, stride, row = vec(make, a, rows, cols, make.wait(FILLED))
    make.store(at, stride, rows, row, DONE)


def permute(make: Maker) -> None:
    """LOAD, VPERM, STORE."""
    lanes, mode = make.chip.core.vector.lanes, make.one(tuple(Perm))
    turn = mode in (Perm.ROTATE_HALF, Perm.ROTATE_PAIRS)
    dt = make.one(FLOATS if turn else TYPES)
    rows, cols = make.size(lanes), make.size(lanes)
    if turn:
        cols += cols % 2
    a = _block(make, dt, rows, cols)
    counts, clips = (
        ((rows, cols), (None, None, None)) if turn else make.counts(Op.VPERM, rows, cols)
    )
    height, width = (cols, rows) if mode is Perm.TRANSPOSE else (rows, cols)
    stride = DT_BYTES[dt] * (width + make.pick(0, 5))
    at = make.room(height * stride)
    make.streams[Queue.VECTOR].vperm(
        make.near(Queue.VECTOR, a), make.near(Queue.VECTOR, l1(at, stride=stride, dt=dt)), mode,
        rows=counts[0], cols=counts[1], clips=clips, waits=[make.wait(FILLED)],
        signals=make.signals(DONE),
    )  # fmt: skip
    make.store(at, stride, height, DT_BYTES[dt] * width, DONE)


def gather(make: Maker) -> None:
    """LOAD a table and indices, VGATHER, STORE."""
    mode, dt = make.one(tuple(GatherMode)), make.one(TYPES)
    rows, cols = make.pick(1, 9), make.size(make.chip.core.vector.lanes, zero=False)
    limit = make.pick(1, 20)
    table = (limit, cols) if mode is GatherMode.ROWS else (rows, limit)
    a = _block(make, dt, *table)
    wanted = rows if mode is GatherMode.ROWS else rows * cols
    index = make.indices([make.pick(0, limit - 1) for _ in range(wanted)], FILLED)
    counts, clips = make.counts(Op.VGATHER, rows, cols, limit, wild=(0, 1))
    stride = DT_BYTES[dt] * (cols + make.pick(0, 5))
    at = make.room(rows * stride)
    make.streams[Queue.VECTOR].vgather(
        make.near(Queue.VECTOR, a),
        make.near(Queue.VECTOR, l1(index, stride=4 * cols, dt=Dt.I32)),
        make.near(Queue.VECTOR, l1(at, stride=stride, dt=dt)), mode, rows=counts[0],
        cols=counts[1], limit=counts[2], clips=clips, waits=[make.wait(FILLED, 2)],
        signals=make.signals(DONE),
    )  # fmt: skip
    make.store(at, stride, rows, DT_BYTES[dt] * cols, DONE)


def quantise(make: Maker) -> None:
    """LOAD, VMXQ, perhaps by way of the accumulators, STORE of the integers or of the scales."""
    rows, cols = make.pick(1, 9), make.size(make.chip.core.vector.lanes)
    a, waits = _block(make, make.one((*FLOATS, Dt.I32)), rows, cols), [make.wait(FILLED)]
    between = make.sums(rows, cols, a.dt) if a.dt in WIDE and make.often(30) else None
    if between is not None:
        copied = Vec(integer=a.dt is Dt.I32)
        _emit(make, (a, between), copied, (rows, cols), waits, [])
        a, waits = between, []
    counts, clips = make.counts(Op.VMXQ, rows, cols)
    stride, scale_stride = cols + make.pick(0, 5), 4 * make.pick(1, 3)
    at, scales = make.room(rows * stride, align=1), make.room(rows * scale_stride)
    make.streams[Queue.VECTOR].vmxq(
        make.near(Queue.VECTOR, a), make.near(Queue.VECTOR, l1(at, stride=stride, dt=Dt.I8)),
        make.near(Queue.VECTOR, l1(scales, stride=scale_stride)), rows=counts[0], cols=counts[1],
        clips=clips, waits=waits, signals=make.signals(DONE),
    )  # fmt: skip
    shown = make.one(((at, stride, cols), (scales, scale_stride, 4)))
    make.store(shown[0], shown[1], rows, shown[2], DONE)
