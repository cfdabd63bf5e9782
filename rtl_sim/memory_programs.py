"""Programs that load main memory in one way each, for comparing memory models.

In:  a `Chip` like athena-edge-lpddr5-ci (32 KiB of L1 or more). Out: jobs by name, each some
     thousand cycles long: streams, strided rows, gathers, both directions at once, tiled products.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from athena.chip.model import Chip
from athena.isa.builder import Operand, StreamBuilder, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import CORE_QUEUES, SEGMENTS, Dt, Queue, Seg
from athena.isa.operand import Vec
from athena.isa.program import Program, QueueRun, Section
from rtl_sim.job import RtlJob

SEGMENT_BYTES = 1 << 20
HALF = 16384  # of L1: what LOAD fills; STORE reads above it
FULL, FREE, READY, SUMMED, GONE, ROOM = range(6)  # semaphores
Add = Callable[[StreamBuilder], None]


def _job(
    name: str, chip: Chip, adds: dict[Queue, Add], l1_image: NDArray[np.uint8] | None = None
) -> RtlJob:
    streams = {queue: StreamBuilder() for queue in CORE_QUEUES}
    for queue, add in adds.items():
        add(streams[queue])
    for stream in streams.values():
        stream.end()
    sizes = [0] * SEGMENTS
    sizes[Seg.INPUT] = sizes[Seg.OUTPUT] = SEGMENT_BYTES
    program = Program(
        name=name, chip=chip.name, chip_hash="", precision="bf16",
        streams=tuple(streams[queue].stream() for queue in CORE_QUEUES),
        sections=(
            Section(
                name="all",
                runs=tuple(QueueRun(kind=queue, stream=i) for i, queue in enumerate(CORE_QUEUES)),
            ),
        ),
        segment_bytes=tuple(sizes), core_sems={FREE: 2, ROOM: 2},
    )  # fmt: skip
    image = np.random.default_rng(1).integers(0, 256, SEGMENT_BYTES, dtype=np.uint8)
    return RtlJob(program=program, segments={int(Seg.INPUT): image}, l1=l1_image)


def _loads(count: int, rows: int, row_bytes: int, stride: int) -> Add:
    """`count` words of strided rows, one behind the other in memory."""

    def add(b: StreamBuilder) -> None:
        with b.loop(count, (1, rows * stride)):
            b.load(
                hbm(Seg.INPUT, 0, stride=stride, areg=1), l1(0, stride=row_bytes),
                rows=rows, row_bytes=row_bytes,
            )  # fmt: skip

    return add


def _stores(count: int, rows: int, row_bytes: int, stride: int, *, start: int = 0) -> Add:
    def add(b: StreamBuilder) -> None:
        with b.loop(count, (1, rows * stride)):
            b.store(
                l1(HALF, stride=row_bytes), hbm(Seg.OUTPUT, start, stride=stride, areg=1),
                rows=rows, row_bytes=row_bytes,
            )  # fmt: skip

    return add


def _gather(name: str, chip: Chip, row_bytes: int, *, scatter: bool = False) -> RtlJob:
    """64 words of 32 rows at random places of a table that fills the segment."""
    limit = SEGMENT_BYTES // row_bytes
    numbers = np.random.default_rng(2).permutation(limit)[:1024].astype("<i4")
    image = np.zeros(chip.core.l1_bytes, np.uint8)
    image[HALF + 8192 : HALF + 8192 + 4096] = numbers.view(np.uint8)

    def near(b: StreamBuilder, table: Operand, rows: Operand) -> None:
        index = l1(HALF + 8192, areg=2)
        src, dst = (rows, table) if scatter else (table, rows)
        b.copyx(src, dst, index, limit=limit, rows=32, row_bytes=row_bytes, pitch=row_bytes)

    def add(b: StreamBuilder) -> None:
        for _ in range(2):
            with b.loop(32, (2, 128)):
                near(b, hbm(Seg.OUTPUT if scatter else Seg.INPUT, 0), l1(0, stride=row_bytes))

    queue = Queue.STORE if scatter else Queue.LOAD
    return _job(name, chip, {queue: add}, l1_image=image)


def _passed(name: str, chip: Chip, count: int, size: int, stored: int) -> RtlJob:
    """LOAD fills two buffers in turn; STORE sends `stored` bytes of each on."""

    def load(b: StreamBuilder) -> None:
        with b.loop(count // 2, (1, 2 * size)):
            for half in range(2):
                b.load(
                    hbm(Seg.INPUT, half * size, areg=1), l1(half * size), rows=1, row_bytes=size,
                    waits=[Wait(FREE)], signals=[self_sem(FULL)],
                )  # fmt: skip

    def store(b: StreamBuilder) -> None:
        with b.loop(count // 2, (1, 2 * stored)):
            for half in range(2):
                b.store(
                    l1(half * size), hbm(Seg.OUTPUT, half * stored, areg=1), rows=1,
                    row_bytes=stored, waits=[Wait(FULL)], signals=[self_sem(FREE)],
                )  # fmt: skip

    return _job(name, chip, {Queue.LOAD: load, Queue.STORE: store})


def _product(name: str, chip: Chip, count: int, m: int, n: int, k: int) -> RtlJob:
    """LOAD A and B, MATMUL, VEC to bf16, STORE; two buffers everywhere."""
    a_bytes, d_bytes = 2 * m * k, 2 * m * n
    half, region, b_at, d_at = chip.core.l1_bytes // 2, chip.core.acc_bytes // 2, 4096, 8192

    def load(b: StreamBuilder) -> None:
        with b.loop(count // 2, (1, 2 * a_bytes), (2, 2 * n * 2)):
            for i in range(2):
                b.load(
                    hbm(Seg.INPUT, i * a_bytes, areg=1), l1(i * half), rows=1, row_bytes=a_bytes,
                    waits=[Wait(FREE)], signals=[self_sem(FULL)],
                )  # fmt: skip
                b.load(  # columns of a wide matrix: short rows, far apart
                    hbm(Seg.INPUT, SEGMENT_BYTES // 2 + i * 2 * n, stride=4096, areg=2),
                    l1(i * half + b_at, stride=2 * n), rows=k, row_bytes=2 * n,
                    signals=[self_sem(FULL)],
                )  # fmt: skip

    def matrix(b: StreamBuilder) -> None:
        with b.loop(count // 2):
            for i in range(2):
                b.matmul(
                    l1(i * half, stride=2 * k, dt=Dt.BF16),
                    l1(i * half + b_at, stride=2 * n, dt=Dt.BF16),
                    acc(i * region, stride=4 * n, dt=Dt.F32), m=m, n=n, k=k,
                    waits=[Wait(FULL, 2), Wait(ROOM)], signals=[self_sem(FREE), self_sem(SUMMED)],
                )  # fmt: skip

    def vector(b: StreamBuilder) -> None:
        with b.loop(count // 2):
            for i in range(2):
                b.vec(
                    acc(i * region, stride=4 * n, dt=Dt.F32),
                    l1(i * half + d_at, stride=2 * n, dt=Dt.BF16), Vec(),
                    rows=m, cols=n, waits=[Wait(SUMMED)], signals=[self_sem(READY)],
                )  # fmt: skip

    def store(b: StreamBuilder) -> None:
        with b.loop(count // 2, (1, 2 * d_bytes)):
            for i in range(2):
                b.store(
                    l1(i * half + d_at), hbm(Seg.OUTPUT, i * d_bytes, areg=1),
                    rows=1, row_bytes=d_bytes, waits=[Wait(READY)], signals=[self_sem(ROOM)],
                )  # fmt: skip

    queues = (Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE)
    return _job(name, chip, dict(zip(queues, (load, matrix, vector, store), strict=True)))


def _chain(name: str, chip: Chip, count: int, rows: int, row_bytes: int) -> RtlJob:
    """Every load waits for the store before it: nothing hides a latency."""
    stride = 3 * 2048

    def load(b: StreamBuilder) -> None:
        b.sync(signals=[self_sem(GONE)])
        with b.loop(count, (1, row_bytes)):
            b.load(
                hbm(Seg.INPUT, 0, stride=stride, areg=1), l1(0, stride=row_bytes), rows=rows,
                row_bytes=row_bytes, waits=[Wait(GONE)], signals=[self_sem(FULL)],
            )  # fmt: skip

    def store(b: StreamBuilder) -> None:
        with b.loop(count, (1, row_bytes)):
            b.store(
                l1(0, stride=row_bytes), hbm(Seg.OUTPUT, 0, stride=stride, areg=1), rows=rows,
                row_bytes=row_bytes, waits=[Wait(FULL)], signals=[self_sem(GONE)],
            )  # fmt: skip

    return _job(name, chip, {Queue.LOAD: load, Queue.STORE: store})


def memory_jobs(chip: Chip) -> dict[str, RtlJob]:
    """The jobs by name."""
    both = {
        "streams both ways": (_loads(32, 1, 4096, 4096), _stores(32, 1, 4096, 4096)),
        "rows both ways": (_loads(24, 32, 128, 640), _stores(24, 32, 128, 640)),
        "a few stores": (_loads(48, 1, 2048, 2048), _stores(48, 1, 256, 256, start=1024)),
    }
    loads = {
        "stream of 512 B": (160, 1, 512, 512),
        "stream of 4 KiB": (32, 1, 4096, 4096),
        "stream of 16 KiB": (8, 1, 16384, 16384),
        "rows of 16 B": (24, 128, 16, 208),
        "rows of 64 B": (12, 64, 64, 1088),
        "rows of 256 B": (16, 32, 256, 2048),
        "rows of 512 B, far apart": (12, 16, 512, 4096),
        "rows of 64 B in two banks": (4, 16, 64, 16384),
    }
    stores = {
        "store stream of 4 KiB": (32, 1, 4096, 4096),
        "store rows of 64 B": (12, 64, 64, 1088),
    }
    jobs = {n: _job(n, chip, {Queue.LOAD: _loads(*x)}) for n, x in loads.items()}
    jobs |= {n: _job(n, chip, {Queue.STORE: _stores(*x)}) for n, x in stores.items()}
    jobs |= {
        n: _job(n, chip, {Queue.LOAD: load, Queue.STORE: store})
        for n, (load, store) in both.items()
    }
    jobs |= {f"gather of {size} B": _gather("gather", chip, size) for size in (32, 64, 256)}
    jobs["scatter of 64 B"] = _gather("scatter", chip, 64, scatter=True)
    jobs["pass on 2 KiB"] = _passed("pass on", chip, 32, 2048, 2048)
    jobs["pass on a quarter"] = _passed("quarter", chip, 48, 4096, 1024)
    jobs["product bound by memory"] = _product("thin", chip, 48, 8, 32, 64)
    jobs["product bound by the array"] = _product("thick", chip, 24, 32, 32, 64)
    jobs["chain of 64 B"] = _chain("chain", chip, 40, 1, 64)
    jobs["chain of 8 rows"] = _chain("chain", chip, 24, 8, 128)
    return jobs
