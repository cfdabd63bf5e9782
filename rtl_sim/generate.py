"""Random programs for the core that the RTL implements: legal, free of races and deadlocks, small.

In:  a seed (`random_job`) or a `Chooser` (`build_job`), and a `Chip`.
Out: `RtlJob`: a program with one stream a queue and its memory images as constants. Every task has
     L1 bytes of its own; tasks go through the queues in one order, tied by semaphores that only
     count forward. Words that the instruction table marks as not in the RTL are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from athena.chip.model import Chip
from athena.isa.builder import Clip, Operand, hbm, l1, self_sem
from athena.isa.fields import (
    CORE_QUEUES,
    CORE_SEMS,
    SEGMENTS,
    WORD_BYTES,
    WORD_DTYPE,
    Acc,
    Alu,
    Dt,
    Kind,
    Op,
    Queue,
    Seg,
)
from athena.isa.operand import Side, Vec
from athena.isa.program import Program, QueueRun, Section
from athena.isa.table import BY_OP
from rtl_sim.generate_vec import gather, map_block, permute, quantise, vec
from rtl_sim.job import Bytes, RtlJob
from rtl_sim.maker import (
    AGAIN,
    COPIED,
    CREDIT,
    DONE,
    EXTREMES,
    FILLED,
    IN_BYTES,
    INDEXED,
    LOADED,
    NEVER,
    ODD,
    READY,
    SPARE,
    SUMMED,
    WILD,
    Chooser,
    Maker,
)

SCALARS = 13  # S1 … S13
SPECIAL = np.array(
    [
        0,
        1 << 31,
        1,
        0x007FFFFF,
        0x00800000,
        0x3F800000,
        0xBF000000,
        0x3FC00000,
        0x4B000001,
        0x4F000000,
        0xCF000000,
        0x7F7FFFFF,
        0x7F800000,
        0xFF800000,
        0x7FC00000,
        0x7F800001,
    ],
    "<u4",
)  # float32: zeros, subnormals, ties, the borders of int32, infinities, NaNs


def _multiply(make: Maker) -> None:
    """LOAD A and B (and a bias), MATMUL, perhaps a second one onto the same sums, VEC, STORE."""
    matrix = make.chip.core.matrix
    m, n = make.size(matrix.rows), make.size(matrix.cols)
    real = make.often(40)
    total = Dt.F32 if real else Dt.I32
    d = make.sums(m, n, total)
    if d is None:
        return
    start = make.one((Acc.ZERO, Acc.KEEP, Acc.BIAS))
    if make.often(25):
        _product(make, d, (m, n), start, [])
        start = Acc.KEEP
    _product(make, d, (m, n), start, make.signals(SUMMED))
    at, stride, row = vec(make, d, m, n, make.wait(SUMMED))
    make.store(at, stride, m, row, DONE)


def _product(
    make: Maker, d: Operand, shape: tuple[int, int], start: Acc, signals: list[int]
) -> None:
    """One MATMUL into `d` with its LOADs."""
    (m, n), real = shape, d.dt is Dt.F32
    k = make.size(make.chip.core.matrix.rows, top=3 * make.chip.core.matrix.rows + 2)
    types = [Dt.BF16 if real else make.one((Dt.I8, Dt.U8)) for _ in range(2)]
    ranges = {Dt.I8: (-128, 127), Dt.U8: (0, 255), Dt.BF16: (0, 0)}
    zeros = tuple(make.pick(*ranges[dt]) for dt in types)
    size = 2 if real else 1
    trans = make.often(40)
    rows, width = (n, k) if trans else (k, n)
    loads = 0
    a = make.pooled(types[0], m, k) if make.often(20) else None
    if a is None:
        stride = size * (k + make.pick(0, 9))
        a = l1(make.room(m * stride, align=size), stride=stride, dt=types[0])
        if make.often(98):
            make.load(a.imm, a.stride, m, size * k, LOADED)
            loads += 1
    stride = size * (width + make.pick(0, 9))
    b = l1(make.room(rows * stride, align=size, own_bank=True), stride=stride, dt=types[1])
    make.load(b.imm, b.stride, rows, size * width, LOADED)
    bias, queue = None, Queue.MATRIX
    if start is Acc.BIAS:
        bias = l1(make.room(4 * n, own_bank=True), dt=d.dt)
        make.load(bias.imm, 4 * n, 1, 4 * n, LOADED)
        bias = make.near(queue, bias)
    counts, clips = make.counts(Op.MATMUL, m, n, k)
    made = {"a": make.near(queue, a), "b": make.near(queue, b), "d": make.near(queue, d)}
    make.streams[queue].matmul(
        **made, m=counts[0], n=counts[1], k=counts[2], start=start, bias=bias, b_trans=trans,
        zeros=(zeros[0], zeros[1]), waits=[make.wait(LOADED, loads + 1 + (bias is not None))],
        signals=signals, clips=clips,
    )  # fmt: skip


def _pass_on(make: Maker) -> None:
    """LOAD, STORE, without a unit between them."""
    rows, row = make.pick(1, 12), make.size(make.chip.core.load_bytes_per_cycle, top=70)
    stride = row + make.pick(0, 9)
    at = make.room(rows * stride, align=1)
    make.load(at, stride, rows, row, COPIED, wild=True)
    make.store(at, stride, rows, row, COPIED)


def _fill(make: Maker) -> None:
    """FILL, STORE."""
    rows, row = make.pick(1, 9), make.size(make.chip.core.load_bytes_per_cycle, top=80)
    value = make.pick(0, 255) * 0x01010101
    if make.often(70):
        row, value = -(-row // 4) * 4, make.pick(0, (1 << 32) - 1)
    stride = row + make.pick(0, 9)
    at = make.room(rows * stride, align=1)
    counts, clips = make.counts(Op.FILL, 1, rows, row, wild=())
    if row % 4 or counts[2] % 4:
        value = (value & 255) * 0x01010101
    make.streams[Queue.LOAD].fill(
        make.near(Queue.LOAD, l1(at, stride=stride)), rows=counts[1], row_bytes=counts[2],
        value=value, clips=clips, signals=make.signals(COPIED),
    )  # fmt: skip
    make.store(at, stride, rows, row, COPIED)


def _gather(make: Maker) -> None:
    """LOAD the row numbers, gather rows by them, scatter them into the output by others."""
    rows, row = make.pick(1, 9), make.size(make.chip.core.load_bytes_per_cycle, top=40)
    stride, pitch = row + make.pick(0, 9), row + make.pick(0, 9)
    at, limit = make.room(rows * stride, align=1), rows + make.pick(0, 5)
    table, dst = make.source(limit * pitch), make.target(limit * pitch)
    places = list(range(limit))
    for i in range(rows):
        other = make.pick(i, limit - 1)
        places[i], places[other] = places[other], places[i]
    chosen = [make.pick(0, limit - 1) for _ in range(rows)]
    read_at, write_at = (make.indices(x, INDEXED) for x in (chosen, places[:rows]))
    counts, clips = make.counts(Op.COPYX, limit, rows, row)
    load, store = make.streams[Queue.LOAD], make.streams[Queue.STORE]
    load.copyx(
        make.near(Queue.LOAD, hbm(Seg.INPUT, table)),
        make.near(Queue.LOAD, l1(at, stride=stride)), make.near(Queue.LOAD, l1(read_at)),
        limit=limit, rows=counts[1], row_bytes=counts[2], pitch=pitch, clips=clips,
        waits=[make.wait(INDEXED, 2)], signals=make.signals(COPIED),
    )  # fmt: skip
    counts, clips = make.counts(Op.COPYX, limit, rows, row)
    store.copyx(
        make.near(Queue.STORE, l1(at, stride=stride)),
        make.near(Queue.STORE, hbm(Seg.OUTPUT, dst)), make.near(Queue.STORE, l1(write_at)),
        limit=limit, rows=counts[1], row_bytes=counts[2], pitch=pitch, clips=clips,
        waits=[make.wait(COPIED)],
    )  # fmt: skip


def _ring(make: Maker) -> None:
    """LOAD, VEC, STORE over a ring of buffers: LOOPs with aregs in every queue, one nested, one
    clipped.
    """
    times, rows, cols = make.pick(1, 4), make.pick(1, 4), make.pick(1, 16)
    buffer, step = 64 * rows, make.pick(0, 40)
    at, out = make.room(times * buffer, align=4), make.room(times * buffer, align=4)
    src, dst = make.source(times * step + rows * 16), make.target(times * rows * 16)
    load, vector, store = (make.streams[queue] for queue in (Queue.LOAD, Queue.VECTOR, Queue.STORE))
    scalar = make.small_scalar()
    clip = Clip(times - make.scalars[scalar], scalar=scalar)
    with load.loop(times + make.pick(0, 3), (2, step), (3, buffer), clip=clip):
        with load.loop(rows, (4, 16), (3, 64)):
            load.load(hbm(Seg.INPUT, src, areg=2), l1(at, areg=3), rows=1, row_bytes=cols)
        load.fill(l1(at + 48, areg=3), rows=1, row_bytes=8, signals=make.signals(FILLED))
        if make.often(50):
            with load.loop(0, (2, 99)):
                load.sync(waits=[make.wait(NEVER + Queue.LOAD, 200)])
    with vector.loop(times, (1, buffer)):
        vector.vec(
            l1(at, stride=64, dt=Dt.I8, areg=1), l1(out, stride=64, dt=Dt.U8, areg=1),
            Vec(integer=True, alu1=Alu.ADD, b=Side(Kind.IMM, None, 3.0)), rows=rows, cols=cols,
            waits=[make.wait(FILLED)], signals=make.signals(DONE),
        )  # fmt: skip
    with store.loop(times, (5, buffer), (2, rows * 16)):
        store.store(
            l1(out, stride=64, areg=5), hbm(Seg.OUTPUT, dst, stride=16, areg=2), rows=rows,
            row_bytes=cols, waits=[make.wait(DONE)],
        )  # fmt: skip


def _nest(make: Maker) -> None:
    """Three loops over one-row LOADs, with SETAs of a listed register inside; the last word of the
    inner body may end two or three of them. A STORE of what they wrote.
    """
    times = [make.pick(1, 3) for _ in range(3)]
    row, rows = make.pick(1, 20), times[0] * times[1] * times[2]
    at, src = make.room(row * rows, align=1), make.source(64)
    load, steps = make.streams[Queue.LOAD], (row * times[1] * times[2], row * times[2], row)
    with load.loop(times[0], (1, steps[0]), (WILD, make.pick(-9, 9))):
        _perhaps_wild(make)
        with load.loop(times[1], (2, make.pick(0, 9)), (1, steps[1])):
            _perhaps_wild(make)
            with load.loop(times[2], (1, steps[2]), (3, make.pick(0, 5)), (WILD, 1), (4, -1)):
                load.load(
                    hbm(Seg.INPUT, src, areg=2), l1(at, areg=1), rows=1, row_bytes=row,
                    clips=(None, Clip(make.pick(0, 9), areg=WILD), None),
                    signals=make.signals(COPIED),
                )  # fmt: skip
                _perhaps_wild(make)
            if make.often(50):
                load.sync(signals=make.signals(CREDIT))
                make.streams[Queue.STORE].sync(waits=[make.wait(CREDIT, times[0] * times[1])])
    make.store(at, row, rows, row, COPIED, count=rows)


def _perhaps_wild(make: Maker) -> None:
    if make.often(40):
        make.wild(Queue.LOAD)


def _long_body(make: Maker) -> None:
    """A loop as long as the FIFO, or nearly; then one that is skipped."""
    queue = make.one(CORE_QUEUES)
    stream, words = make.streams[queue], make.chip.core.fifo_words
    with stream.loop(make.pick(1, 2)):
        for _ in range(make.pick(max(1, words - 3), words)):
            stream.sync()
    with stream.loop(0):
        for _ in range(make.pick(1, words)):
            stream.sync(waits=[make.wait(NEVER + queue, 200)])


def _nothing(make: Maker) -> None:
    """Words without work, SYNCs with four waits and signals, registers that nothing reads."""
    load, store = make.streams[Queue.LOAD], make.streams[Queue.STORE]
    scalar = make.small_scalar()
    clip = Clip(-make.pick(0, 9) - make.scalars[scalar], areg=0, scalar=scalar)
    load.load(
        hbm(Seg.INPUT, 0), l1(0), rows=3, row_bytes=9, clips=(None, clip, None),
        signals=make.signals(CREDIT),
    )  # fmt: skip
    count = make.pick(0, 2)
    codes = [code for _ in range(count) for code in make.signals(CREDIT)]
    store.sync(waits=[make.wait(CREDIT)], signals=codes)
    store.sync(waits=[make.wait(CREDIT)] * count)
    make.streams[Queue.MATRIX].matmul(
        l1(0, dt=Dt.I8), l1(0, dt=Dt.I8), Operand(Seg.ACC, dt=Dt.I32), m=0, n=3, k=2
    )
    make.streams[Queue.VECTOR].vec(
        l1(0, dt=Dt.I32), l1(0, dt=Dt.I32), Vec(integer=True), rows=0, cols=1
    )
    for queue in CORE_QUEUES:
        if make.often(50):
            make.wild(queue)


Task = Callable[[Maker], None]
TASKS: tuple[tuple[Op, Task], ...] = (
    (Op.COPY, _pass_on),
    (Op.FILL, _fill),
    (Op.COPYX, _gather),
    (Op.VEC, map_block),
    (Op.VEC, map_block),
    (Op.VEC, map_block),
    (Op.MATMUL, _multiply),
    (Op.MATMUL, _multiply),
    (Op.MATMUL, _multiply),
    (Op.LOOP, _ring),
    (Op.LOOP, _nest),
    (Op.LOOP, _long_body),
    (Op.SYNC, _nothing),
    (Op.VPERM, permute),
    (Op.VGATHER, gather),
    (Op.VMXQ, quantise),
)


def _pool(make: Maker) -> None:
    """Bytes in L1 that any word may read: a LOAD that every other queue waits for."""
    make.pool_bytes = 4 * make.pick(1, 500)
    make.pool_at = make.room(make.pool_bytes)
    load = make.streams[Queue.LOAD]
    load.load(
        hbm(Seg.INPUT, make.source(make.pool_bytes)), l1(make.pool_at), rows=1,
        row_bytes=make.pool_bytes, signals=make.signals(READY + Queue.LOAD),
    )  # fmt: skip
    others = [queue for queue in CORE_QUEUES if queue is not Queue.LOAD]
    load.sync(
        waits=[make.wait(READY + Queue.LOAD)],
        signals=[self_sem(make.sem(READY + queue)) for queue in others],
    )
    for queue in others:
        make.streams[queue].sync(waits=[make.wait(READY + queue)])


def _maker(rng: Chooser, chip: Chip) -> Maker:
    scalars = [0]
    for _ in range(rng.randint(0, SCALARS)):
        scalars.append((rng.randint(-100, 1000), *EXTREMES)[max(0, rng.randint(0, 7) - 5)])
    aregs = {number: 4 * rng.randint(-100, 500) for number in SPARE}
    aregs[ODD] = 1 + 2 * rng.randint(0, 100)
    return Maker(chip, rng, tuple(scalars), aregs, first_sem=rng.randint(0, CORE_SEMS - 1))


def build_job(rng: Chooser, chip: Chip, name: str) -> RtlJob:
    """The job that the choices of `rng` make."""
    make = _maker(rng, chip)
    repeats = make.pick(1, 3)
    if repeats > 1:
        make.streams[Queue.LOAD].sync(waits=[make.wait(AGAIN)])
    if make.often(80):
        _pool(make)
    tasks = [task for op, task in TASKS if BY_OP[op].rtl]
    while make.l1_at < chip.core.l1_bytes - 8 * chip.l1_bank_bytes:
        make.one(tasks)(make)
        if not make.often(85):
            break
    if repeats > 1:  # in order behind all that reads: the next repeat may write
        _pass_on(make)
        make.streams[Queue.STORE].store(
            l1(0), hbm(Seg.OUTPUT, make.target(4)), rows=1, row_bytes=4,
            signals=make.signals(AGAIN),
        )  # fmt: skip
    for stream in make.streams.values():
        stream.end()
    image = image_of(make.pick(0, (1 << 32) - 1))
    return RtlJob(program=_program(make, name, repeats, image))


def _program(make: Maker, name: str, repeats: int, image: Bytes) -> Program:
    aregs = tuple(make.aregs.items())
    runs = tuple(QueueRun(kind=queue, stream=i, aregs=aregs) for i, queue in enumerate(CORE_QUEUES))
    strides, sizes = [0] * SEGMENTS, [0] * SEGMENTS
    strides[Seg.INPUT], strides[Seg.OUTPUT] = 64, make.out_at
    sizes[Seg.INPUT], sizes[Seg.OUTPUT] = IN_BYTES, max(4, make.out_at * repeats)
    sizes[Seg.PARAM] = len(make.numbers)
    constants = {Seg.INPUT: image}
    if make.numbers:
        constants[Seg.PARAM] = np.frombuffer(bytes(make.numbers), np.uint8)
    return Program(
        name=name, chip=make.chip.name, chip_hash="", precision="int8",
        streams=tuple(make.streams[queue].stream() for queue in CORE_QUEUES),
        sections=(Section(name="all", repeat=repeats, seg_stride=tuple(strides), runs=runs),),
        segment_bytes=tuple(sizes), constants=constants,
        core_sems={make.sem(AGAIN): int(repeats > 1)}, scalars=make.scalars,
    )  # fmt: skip


def image_of(seed: int) -> Bytes:
    """The input segment: blocks of 64 bytes of numbers of one type, some of any bytes at all."""
    rng = np.random.default_rng(seed)
    blocks = IN_BYTES // 64
    image = rng.integers(0, 256, (blocks, 64), dtype=np.uint8)
    scale = np.exp2(rng.integers(-6, 9, (blocks, 1)))
    single = (rng.normal(size=(blocks, 16)) * scale).astype("<f4")
    forms = (
        single.view(np.uint8),
        np.repeat(single, 2, axis=1).view("<u2")[:, 1::2].copy().view(np.uint8),  # bf16
        (rng.normal(size=(blocks, 32)) * scale).astype("<f2").view(np.uint8),
        rng.integers(-300, 300, (blocks, 16)).astype("<i4").view(np.uint8),
        SPECIAL[rng.integers(0, len(SPECIAL), (blocks, 16))].view(np.uint8),
    )
    kind = rng.integers(0, len(forms) + 2, blocks)
    for number, form in enumerate(forms):
        image[kind == number] = form[kind == number]
    return image.reshape(-1)


def random_job(seed: int, chip: Chip) -> RtlJob:
    """Job number `seed`: the same seed and chip give the same job."""
    return build_job(random.Random(seed), chip, f"random-{seed}")


def corrupted_job(seed: int, chip: Chip) -> RtlJob:
    """Job number `seed` with bits of one to three of its words' bytes turned: it may fault, wait
    for ever or write anywhere in its memories, but break no rule of the hardware.
    """
    rng = random.Random(-1 - seed)
    program = random_job(seed, chip).program
    streams = list(program.streams)
    for _ in range(rng.randint(1, 3)):
        queue = rng.randrange(len(streams))
        words = streams[queue].words.copy()
        name = rng.choice(WORD_DTYPE.names or ())
        at = (WORD_DTYPE.fields or {})[name][1] + rng.randrange(WORD_DTYPE[name].itemsize)
        words.view(np.uint8).reshape(-1, WORD_BYTES)[rng.randrange(len(words)), at] ^= (
            rng.randint(1, 255) if rng.random() < 0.5 else 1 << rng.randrange(8)
        )
        streams[queue] = replace(streams[queue], words=words)
    return RtlJob(program=replace(program, name=f"corrupted-{seed}", streams=tuple(streams)))
