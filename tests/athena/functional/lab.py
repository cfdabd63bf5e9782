"""Small machines from hand-written streams, and arrays in and out of raw memory."""

from __future__ import annotations

from functools import cache

import numpy as np

from athena.chip import Chip, load_chip
from athena.functional import Machine
from athena.isa.builder import StreamBuilder
from athena.isa.fields import Dt, Queue
from athena.isa.program import NodeInfo, Program, QueueRun, Section

STORAGE = {
    Dt.F32: np.float32,
    Dt.BF16: np.uint16,
    Dt.F16: np.float16,
    Dt.I8: np.int8,
    Dt.U8: np.uint8,
    Dt.I32: np.int32,
}


@cache
def chip(name: str) -> Chip:
    return load_chip(name)


def program(
    streams: dict[tuple[Queue, tuple[int, ...]], StreamBuilder],
    *,
    sections: tuple[Section, ...] | None = None,
    segment_bytes: tuple[int, ...] = (0,) * 8,
    precision: str = "bf16",
    aregs: dict[Queue, tuple[tuple[int, int], ...]] | None = None,
    **more,
) -> Program:
    """A program of one section, or of the given ones; END is added to every stream."""
    runs = []
    built = []
    for (kind, units), builder in streams.items():
        stream = builder.stream()
        if not len(stream.words) or stream.words["op"][-1] != 1:
            builder.end()
            stream = builder.stream()
        start = (aregs or {}).get(kind, ())
        runs.append(QueueRun(kind=kind, stream=len(built), units=units, aregs=start))
        built.append(stream)
    return Program(
        name="lab",
        chip="lab",
        chip_hash="",
        precision=precision,
        streams=tuple(built),
        sections=sections or (Section(name="all", runs=tuple(runs)),),
        segment_bytes=segment_bytes,
        nodes=more.pop("nodes", (NodeInfo(name="node0", op="X", sources=(), place="chip"),)),
        **more,
    )


def machine(where: str, queue: Queue, builder: StreamBuilder, **more) -> Machine:
    """A machine whose core 0 runs one stream on one queue."""
    return Machine(program({(queue, (0,)): builder}, **more), chip(where))


def stored(values: np.ndarray, dt: Dt) -> np.ndarray:
    """Values in storage type; bf16 by cutting, so give it values that fit."""
    if dt is Dt.BF16:
        return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return np.asarray(values).astype(STORAGE[dt])


def put(memory: np.ndarray, offset: int, values: np.ndarray, stride: int) -> None:
    """Rows of values into raw memory."""
    values = np.atleast_2d(values)
    for r, row in enumerate(values):
        data = np.ascontiguousarray(row).view(np.uint8)
        memory[offset + r * stride : offset + r * stride + data.size] = data


def get(memory: np.ndarray, offset: int, shape: tuple[int, int], stride: int, kind) -> np.ndarray:
    """Rows of values from raw memory."""
    size = np.dtype(kind).itemsize
    rows = [
        memory[offset + r * stride : offset + r * stride + shape[1] * size] for r in range(shape[0])
    ]
    return np.stack([row.copy().view(kind) for row in rows]) if rows else np.zeros(shape, kind)


def same(left: np.ndarray, right: np.ndarray) -> None:
    """Equal to the bit."""
    np.testing.assert_array_equal(
        np.ascontiguousarray(left).view(f"u{left.dtype.itemsize}"),
        np.ascontiguousarray(right).view(f"u{right.dtype.itemsize}"),
    )
