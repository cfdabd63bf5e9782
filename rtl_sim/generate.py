"""Seeded random programs for the core that the RTL implements: legal, free of races and deadlocks,
small.

In:  a seed and a `Chip`. Out: `RtlJob`: a program with one stream a queue and a random memory
     image. Every task has L1 bytes of its own; tasks go through the queues in one order, tied by
     semaphores that only count forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from athena.chip.model import Chip
from athena.isa.builder import Clip, Operand, StreamBuilder, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import (
    CORE_QUEUES,
    DT_BYTES,
    SEGMENTS,
    Acc,
    Alu,
    Dt,
    GatherMode,
    Kind,
    Lut,
    Perm,
    Queue,
    Red,
    Seg,
    Sig,
    signal,
)
from athena.isa.operand import Mask, Side, Vec
from athena.isa.program import Program, QueueRun, Section
from rtl_sim.job import RtlJob

IN_BYTES = 16384
OUT_BYTES = 65536
LOADED, SUMMED, DONE, FILLED, COPIED, AGAIN, CREDIT, INDEXED = range(8)  # semaphores
NEVER = 28  # four semaphores that nothing signals
SCALARS = (0, 37, 1000, -13)
SPARE_AREGS = (8, 9, 10)  # initial values of the run
ALUS = tuple(alu for alu in Alu if alu is not Alu.SELECT)  # of alu1
TYPES = (Dt.F32, Dt.BF16, Dt.F16, Dt.I8, Dt.U8, Dt.I32)
INTEGERS = (Dt.I8, Dt.U8, Dt.I32)


@dataclass(slots=True)
class Maker:
    """The streams so far and what they have used up."""

    chip: Chip
    rng: np.random.Generator
    aregs: tuple[int, ...] = ()
    l1_at: int = 0
    acc_at: int = 0
    out_at: int = 0
    streams: dict[Queue, StreamBuilder] = field(
        default_factory=lambda: {queue: StreamBuilder() for queue in CORE_QUEUES}
    )

    def pick(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def often(self, percent: int) -> bool:
        """True in `percent` of the cases."""
        return self.pick(1, 100) <= percent

    def room(self, size: int, *, align: int = 4, own_bank: bool = False) -> int:
        """`size` bytes of L1 that no other task has."""
        at = self.l1_at + self.pick(0, 40)
        if own_bank:
            at = -(-at // self.chip.l1_bank_bytes) * self.chip.l1_bank_bytes
        at = -(-at // align) * align
        self.l1_at = at + size
        return at

    def near(self, at: int, *, stride: int = 0, dt: Dt = Dt.NONE) -> Operand:
        """An L1 operand, sometimes addressed through an areg of the run."""
        spare = self.pick(0, 2 * len(self.aregs) - 1)
        if spare < len(self.aregs) and self.aregs[spare] <= at:
            return l1(at - self.aregs[spare], stride=stride, dt=dt, areg=SPARE_AREGS[spare])
        return l1(at, stride=stride, dt=dt)

    def source(self, size: int) -> int:
        """Where in the input segment `size` bytes are read; bytes may be read many times."""
        return self.pick(0, IN_BYTES - size - 256)

    def target(self, size: int) -> int:
        """`size` bytes of the output segment."""
        at = self.out_at
        self.out_at = at + size + self.pick(0, 9)
        return at

    def load(self, at: int, stride: int, rows: int, row_bytes: int, sem: int) -> None:
        """LOAD rows into L1, perhaps in two blocks."""
        pitch = row_bytes + self.pick(0, 20)
        src = self.source(rows * pitch)
        blocks = 2 if rows % 2 == 0 and self.often(30) else 1
        half = rows // blocks
        self.streams[Queue.LOAD].load(
            hbm(Seg.INPUT, src, stride=pitch), self.near(at, stride=stride), rows=half,
            row_bytes=row_bytes, blocks=blocks, block_strides=(half * pitch - 3, half * stride),
            signals=[self_sem(sem)],
        )  # fmt: skip

    def store(self, at: int, stride: int, rows: int, row_bytes: int, sem: int) -> None:
        """Wait, then STORE rows from L1."""
        pitch = row_bytes + self.pick(0, 5)
        dst = self.target(rows * pitch)
        self.streams[Queue.STORE].store(
            self.near(at, stride=stride), hbm(Seg.OUTPUT, dst, stride=pitch), rows=rows,
            row_bytes=row_bytes, waits=[Wait(sem)],
        )  # fmt: skip


def _vec(make: Maker, a: Operand, rows: int, cols: int, wait: Wait) -> tuple[int, int, int]:
    """VEC from `a` into L1; gives address, stride and row bytes of a result."""
    integer = a.dt in INTEGERS and make.often(50)
    dt = TYPES[make.pick(0, len(TYPES) - 1)]
    size = DT_BYTES[dt]
    stride = size * (cols + make.pick(0, 6))
    at = make.room(rows * stride)
    steps = Vec(integer=integer, zero=make.pick(-90, 90), lut=_lut(make, integer=integer))
    if make.often(70):
        steps = replace(
            steps, alu1=ALUS[make.pick(0, len(ALUS) - 1)], b=_side(make, a),
            alu2=Alu(make.pick(0, len(Alu) - 1)), c=_side(make, a),
        )  # fmt: skip
    if make.often(30):
        steps = replace(steps, mask=_mask(make, cols, integer=integer))
    result: Operand | None = make.near(at, stride=stride, dt=dt)
    shown = (at, stride, size * cols)
    if make.often(40):
        side_stride = 4 * make.pick(1, 3)
        side = make.room(rows * side_stride)
        steps = replace(
            steps, red=Red(make.pick(1, 5)), red_keep=make.often(40),
            red_to=make.near(side, stride=side_stride, dt=Dt.F32),
        )  # fmt: skip
        if make.often(40):
            result, shown = None, (side, side_stride, 4)
    make.streams[Queue.VECTOR].vec(
        a, result, steps, rows=rows, cols=cols, waits=[wait], signals=[self_sem(DONE)]
    )
    return shown


def _lut(make: Maker, *, integer: bool) -> Lut:
    """A one-operand step or none."""
    if make.often(40):
        return Lut.NONE
    if not integer and make.often(50):
        return Lut(make.pick(Lut.EXP, Lut.COS))
    return Lut(make.pick(Lut.ABS if integer else Lut.FLOOR, Lut.NOT))


def _side(make: Maker, a: Operand) -> Side:
    """A second operand: the first one's bytes read in another way, or an immediate."""
    kind = Kind(make.pick(1, 5))
    if kind is Kind.IMM:
        return Side(kind, None, float(make.pick(-300, 300)) / 4)
    return Side(kind, a)


def _mask(make: Maker, cols: int, *, integer: bool) -> Mask:
    """A window of columns that moves from row to row."""
    return Mask(
        lo=make.pick(-2, cols) - SCALARS[1], hi=make.pick(0, cols + 2) - make.aregs[0],
        lo_slope=make.pick(-3, 3), hi_slope=make.pick(-3, 3), lo_scalar=1, hi_areg=SPARE_AREGS[0],
        fill=-7 if integer else float("-inf"),
    )  # fmt: skip


def _multiply(make: Maker) -> None:
    """LOAD A and B (and a bias), MATMUL, VEC, STORE."""
    m, n, k = make.pick(1, 20), make.pick(1, 20), make.pick(0, 30)
    real = make.often(40)
    types = [Dt.BF16 if real else (Dt.I8, Dt.U8)[make.pick(0, 1)] for _ in range(2)]
    ranges = {Dt.I8: (-128, 127), Dt.U8: (0, 255), Dt.BF16: (0, 0)}
    zeros = tuple(make.pick(*ranges[dt]) for dt in types)
    size, total = (2, Dt.F32) if real else (1, Dt.I32)
    trans, start = make.often(40), Acc(make.pick(0, 2))
    rows, width = (n, k) if trans else (k, n)
    a_stride, b_stride = (size * (x + make.pick(0, 9)) for x in (k, width))
    d_stride = n + make.pick(0, 9)
    d_at = make.acc_at
    make.acc_at += 4 * m * d_stride
    if make.acc_at > make.chip.core.acc_bytes:
        make.acc_at = d_at
        return
    a_at, loads = make.room(m * a_stride, align=size), 0
    b_at = make.room(rows * b_stride, align=size, own_bank=True)
    if k:
        make.load(a_at, a_stride, m, size * k, LOADED)
        make.load(b_at, b_stride, rows, size * width, LOADED)
        loads += 2
    bias = None
    if start is Acc.BIAS:
        bias_at = make.room(4 * n, own_bank=True)
        make.load(bias_at, 4 * n, 1, 4 * n, LOADED)
        bias = make.near(bias_at, dt=total)
        loads += 1
    d = acc(d_at, stride=4 * d_stride, dt=total)
    make.streams[Queue.MATRIX].matmul(
        make.near(a_at, stride=a_stride, dt=types[0]),
        make.near(b_at, stride=b_stride, dt=types[1]), d, m=m, n=n, k=k, start=start,
        bias=bias, b_trans=trans, zeros=(zeros[0], zeros[1]),
        waits=[Wait(LOADED, loads)] if loads else [], signals=[self_sem(SUMMED)],
    )  # fmt: skip
    at, stride, row = _vec(make, d, m, n, Wait(SUMMED))
    make.store(at, stride, m, row, DONE)


def _pass_on(make: Maker) -> None:
    """LOAD, STORE, without a unit between them."""
    rows, row = make.pick(1, 12), make.pick(1, 70)
    stride = row + make.pick(0, 9)
    at = make.room(rows * stride, align=1)
    make.load(at, stride, rows, row, COPIED)
    make.store(at, stride, rows, row, COPIED)


def _fill(make: Maker) -> None:
    """FILL, STORE."""
    rows, row = make.pick(1, 9), 4 * make.pick(1, 20)
    at = make.room(rows * row, align=1)
    value = make.pick(-(1 << 31), (1 << 31) - 1)
    make.streams[Queue.LOAD].fill(
        make.near(at, stride=row), rows=rows, row_bytes=row, value=value, signals=[self_sem(COPIED)]
    )
    make.store(at, row, rows, row, COPIED)


def _gather(make: Maker) -> None:
    """LOAD the row numbers, gather rows by them, scatter them into the output by others."""
    rows, row = make.pick(1, 8), make.pick(1, 40)
    stride, pitch = row + make.pick(0, 9), row + make.pick(0, 9)
    index_at, at = make.room(8 * rows), make.room(rows * stride, align=1)
    table = make.source(rows * pitch)
    dst = make.target(rows * pitch)
    numbers = make.rng.permutation(rows)
    load = make.streams[Queue.LOAD]
    for place in range(2 * rows):  # indices come from FILLs: the image is random bytes
        number = int(numbers[place]) if place < rows else make.pick(0, rows - 1)
        load.fill(l1(index_at + 4 * place), rows=1, row_bytes=4, value=number)
    load.sync(signals=[self_sem(CREDIT)])
    load.fill(l1(index_at + 4 * rows), rows=1, row_bytes=4, value=0, signals=[self_sem(INDEXED)])
    load.copyx(
        hbm(Seg.INPUT, table), make.near(at, stride=stride), make.near(index_at + 4 * rows),
        limit=rows, rows=rows, row_bytes=row, pitch=pitch, waits=[Wait(INDEXED)],
        signals=[self_sem(COPIED)],
    )  # fmt: skip
    make.streams[Queue.STORE].copyx(
        make.near(at, stride=stride), hbm(Seg.OUTPUT, dst), make.near(index_at), limit=rows,
        rows=rows, row_bytes=row, pitch=pitch, waits=[Wait(COPIED), Wait(CREDIT)],
    )  # fmt: skip


def _map(make: Maker) -> None:
    """LOAD, VEC, STORE."""
    rows, cols = make.pick(1, 9), make.pick(1, 25)
    dt = TYPES[make.pick(0, len(TYPES) - 1)]
    size = DT_BYTES[dt]
    stride = size * (cols + make.pick(0, 3))
    at = make.room(rows * stride)
    make.load(at, stride, rows, size * cols, FILLED)
    out, out_stride, row = _vec(make, l1(at, stride=stride, dt=dt), rows, cols, Wait(FILLED))
    make.store(out, out_stride, rows, row, DONE)


def _side_length(make: Maker) -> int:
    """A number of rows or columns: mostly about the number of lanes."""
    lanes = make.chip.core.vector.lanes
    return (1, lanes - 1, lanes, lanes + 1, make.pick(2, 3 * lanes))[make.pick(0, 4)]


def _permute(make: Maker) -> None:
    """LOAD, VPERM, STORE."""
    rows, cols, mode = _side_length(make), _side_length(make), Perm(make.pick(0, 3))
    types = TYPES
    if mode in (Perm.ROTATE_HALF, Perm.ROTATE_PAIRS):
        cols, types = 2 * cols, tuple(dt for dt in TYPES if dt not in INTEGERS)
    dt = types[make.pick(0, len(types) - 1)]
    size = DT_BYTES[dt]
    stride = size * (cols + make.pick(0, 3))
    at = make.room(rows * stride)
    make.load(at, stride, rows, size * cols, FILLED)
    height, width = (cols, rows) if mode is Perm.TRANSPOSE else (rows, cols)
    out_stride = size * (width + make.pick(0, 3))
    out = make.room(height * out_stride)
    make.streams[Queue.VECTOR].vperm(
        make.near(at, stride=stride, dt=dt), make.near(out, stride=out_stride, dt=dt), mode,
        rows=rows, cols=cols, waits=[Wait(FILLED)], signals=[self_sem(DONE)],
    )  # fmt: skip
    make.store(out, out_stride, height, size * width, DONE)


def _pick_elements(make: Maker) -> None:
    """LOAD a table, FILL indices, VGATHER, STORE."""
    rows, cols, limit = _side_length(make), _side_length(make), make.pick(1, 20)
    mode, dt = GatherMode(make.pick(0, 1)), TYPES[make.pick(0, len(TYPES) - 1)]
    size, by_row = DT_BYTES[dt], mode is GatherMode.ROWS
    height, width = (limit, cols) if by_row else (rows, limit)
    stride, out_stride = size * (width + make.pick(0, 3)), size * (cols + make.pick(0, 3))
    at, out = make.room(height * stride), make.room(rows * out_stride)
    index, index_stride = make.room(4 * rows * cols), 4 * cols
    make.load(at, stride, height, size * width, FILLED)
    across, down = (rows, 1) if by_row else (cols, rows)
    for place in range(across):  # a column of equal indices
        make.streams[Queue.LOAD].fill(
            l1(index + 4 * place, stride=index_stride), rows=down, row_bytes=4,
            value=make.pick(0, limit - 1),
            signals=[self_sem(FILLED)] if place == across - 1 else [],
        )  # fmt: skip
    make.streams[Queue.VECTOR].vgather(
        make.near(at, stride=stride, dt=dt), make.near(index, stride=index_stride, dt=Dt.I32),
        make.near(out, stride=out_stride, dt=dt), mode, rows=rows, cols=cols, limit=limit,
        waits=[Wait(FILLED, 2)], signals=[self_sem(DONE)],
    )  # fmt: skip
    make.store(out, out_stride, rows, size * cols, DONE)


def _looped(make: Maker) -> None:
    """The same over a ring of buffers: LOOPs with aregs in every queue, one nested, one clipped."""
    times, rows, cols = make.pick(1, 4), make.pick(1, 4), make.pick(1, 16)
    buffer, step = 64 * rows, make.pick(0, 40)
    at, out = make.room(times * buffer, align=4), make.room(times * buffer, align=4)
    src, dst = make.source(times * step + rows * 16), make.target(times * rows * 16)
    load, vector, store = (make.streams[queue] for queue in (Queue.LOAD, Queue.VECTOR, Queue.STORE))
    clip = Clip(times - SCALARS[1], scalar=1)
    with load.loop(times + make.pick(0, 3), (2, step), (3, buffer), clip=clip):
        with load.loop(rows, (4, 16), (3, 64)):
            load.load(hbm(Seg.INPUT, src, areg=2), l1(at, areg=3), rows=1, row_bytes=cols)
        load.fill(l1(at + 48, areg=3), rows=1, row_bytes=8, signals=[self_sem(FILLED)])
        if make.often(50):
            with load.loop(0, (2, 99)):
                load.sync(waits=[Wait(NEVER + Queue.LOAD, 200)])
    with vector.loop(times, (1, buffer)):
        vector.vec(
            l1(at, stride=64, dt=Dt.I8, areg=1), l1(out, stride=64, dt=Dt.U8, areg=1),
            Vec(integer=True, alu1=Alu.ADD, b=Side(Kind.IMM, None, 3.0)), rows=rows, cols=cols,
            waits=[Wait(FILLED)], signals=[self_sem(DONE)],
        )  # fmt: skip
    with store.loop(times, (5, buffer), (6, rows * 16)):
        store.store(
            l1(out, stride=64, areg=5), hbm(Seg.OUTPUT, dst, stride=16, areg=6), rows=rows,
            row_bytes=cols, waits=[Wait(DONE)],
        )  # fmt: skip


def _nothing(make: Maker) -> None:
    """Words without work, control words, registers."""
    load, store = make.streams[Queue.LOAD], make.streams[Queue.STORE]
    matrix, vector = make.streams[Queue.MATRIX], make.streams[Queue.VECTOR]
    clip = Clip(-make.pick(0, 9), areg=0, scalar=3)
    load.load(
        hbm(Seg.INPUT, 0), l1(0), rows=3, row_bytes=9, clips=(None, clip, None),
        signals=[self_sem(CREDIT)],
    )  # fmt: skip
    some = signal(Sig.CORES_OF_CLUSTER, CREDIT, arg=make.pick(0, 7))
    store.sync(
        waits=[Wait(CREDIT)], signals=[self_sem(CREDIT), signal(Sig.ALL_CORES, CREDIT), some]
    )
    store.sync(waits=[Wait(CREDIT)])
    if _reaches(some):
        store.sync(waits=[Wait(CREDIT)])
    matrix.matmul(l1(0, dt=Dt.I8), l1(0, dt=Dt.I8), acc(0, dt=Dt.I32), m=0, n=3, k=2)
    vector.vec(l1(0, dt=Dt.I32), l1(0, dt=Dt.I32), Vec(integer=True), rows=0, cols=1)
    for builder in (load, store, vector):
        if make.often(50):
            builder.seta(
                7, make.pick(-99, 99), mult=make.pick(-9, 9), scalar=make.pick(0, 3),
                div=make.pick(1, 9), mod=make.pick(0, 5), add=make.pick(0, 7),
            )  # fmt: skip
    store.sync(waits=[Wait(CREDIT)])
    queue = CORE_QUEUES[make.pick(0, 3)]
    skipped = make.streams[queue]
    with skipped.loop(0):
        for _ in range(make.pick(1, make.chip.core.fifo_words)):
            skipped.sync(waits=[Wait(NEVER + queue, 200)])


def _reaches(code: int) -> bool:
    """Whether a signal to cores of the cluster has the only core among them."""
    return bool(code >> 5 & 1)


TASKS = (
    _multiply, _multiply, _multiply, _pass_on, _fill, _gather, _map, _map, _permute, _pick_elements,
    _looped, _nothing,
)  # fmt: skip


def random_job(seed: int, chip: Chip) -> RtlJob:
    """Job number `seed`: the same seed and chip give the same job."""
    rng = np.random.default_rng(seed)
    aregs = tuple(int(x) * 4 for x in rng.integers(-100, 500, len(SPARE_AREGS)))
    make = Maker(chip, rng, aregs)
    make.streams[Queue.LOAD].sync(waits=[Wait(AGAIN)])
    for _ in range(make.pick(2, 12)):
        TASKS[make.pick(0, len(TASKS) - 1)](make)
        if make.l1_at > chip.core.l1_bytes - 8 * chip.l1_bank_bytes:
            break
    _pass_on(make)
    last = make.streams[Queue.STORE]
    last.store(
        l1(0), hbm(Seg.OUTPUT, make.target(4)), rows=1, row_bytes=4, signals=[self_sem(AGAIN)]
    )
    for stream in make.streams.values():
        stream.end()
    spare = tuple(zip(SPARE_AREGS, aregs, strict=True))
    strides, sizes = [0] * SEGMENTS, [0] * SEGMENTS
    sizes[Seg.INPUT], sizes[Seg.OUTPUT] = IN_BYTES, OUT_BYTES
    strides[Seg.INPUT], strides[Seg.OUTPUT] = 64, make.out_at
    program = Program(
        name=f"random-{seed}", chip=chip.name, chip_hash="", precision="int8",
        streams=tuple(make.streams[queue].stream() for queue in CORE_QUEUES),
        sections=(
            Section(
                name="all", repeat=make.pick(1, 3), seg_stride=tuple(strides),
                runs=tuple(
                    QueueRun(kind=queue, stream=i, aregs=spare)
                    for i, queue in enumerate(CORE_QUEUES)
                ),
            ),
        ),
        segment_bytes=tuple(sizes), core_sems={AGAIN: 1}, scalars=SCALARS,
    )  # fmt: skip
    image = rng.integers(0, 256, IN_BYTES, dtype=np.uint8)
    return RtlJob(program=program, segments={int(Seg.INPUT): image})
