"""A 2048³ product whose operands lie in L2: the array's own limit, without main memory.

A hand-written program: every cluster first copies its 512 rows of A and 512 columns of B to its L2
slice; after a barrier each core computes 256 × 256 of the result from there and stores it to L2.
Only the part after the barrier is timed.

    python -m benchmarks.gemm_l2 [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from athena.chip import Chip, load_chip
from athena.chip.load import chip_hash
from athena.functional import Machine
from athena.isa.builder import StreamBuilder, Vec, Wait, acc, hbm, l1, l2, self_sem
from athena.isa.fields import S_CLUSTER, S_CORE, Acc, Dt, Queue, Seg, Sig, signal
from athena.isa.program import NodeInfo, Program, QueueRun, Section, Tensor
from athena.timing import simulate

A_READY, B_READY, ACC_READY, OUT_READY, STAGED, START = range(6)
STRIP = 128  # columns that one accumulator region holds for 256 rows
GROWTH = (
    2  # a chunk of K may be this often as deep as all before it: it loads while they are multiplied
)
PART, A_AREG, B_AREG, OUT_AREG = 1, 2, 3, 4


@dataclass(frozen=True)
class Sizes:
    """Side of the product, of one core's block and of one cluster's (8 × 8 cores)."""

    n: int
    block: int
    panel: int

    @staticmethod
    def of(n: int) -> Sizes:
        """Sizes for an n³ product on 4 × 4 clusters of 2 × 2 cores."""
        return Sizes(n, n // 8, n // 4)


def chunks(depth: int, rows: int) -> list[tuple[int, int]]:
    """(first k, depth): the first an array height, the next ever deeper."""
    out, at = [], 0
    while at < depth:
        size = min(max(rows, GROWTH * at), depth - at)
        out.append((at, size))
        at += size
    return out


def build(chip: Chip, n: int) -> Program:
    """The program; tensors a [n, n], b (strips of 128 columns, packed), y."""
    s = Sizes.of(n)
    streams = {
        q: StreamBuilder()
        for q in (
            Queue.CDMA_IN,
            Queue.LOAD,
            Queue.MATRIX,
            Queue.VECTOR,
            Queue.STORE,
            Queue.CDMA_OUT,
        )
    }
    _stage(streams[Queue.CDMA_IN], s)
    cut = chunks(n, chip.core.matrix.rows)
    for queue in (Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE):
        streams[queue].node = 1
    _load(streams[Queue.LOAD], s, cut, chip)
    _multiply(streams[Queue.MATRIX], s, cut, chip)
    _finish(streams[Queue.VECTOR], streams[Queue.STORE], s, chip)
    _drain(streams[Queue.CDMA_OUT], s)
    for builder in streams.values():
        builder.end()
    nodes = tuple(
        NodeInfo(name=name, op="Gemm", sources=(), place="chip")
        for name in ("stage", "gemm", "drain")
    )
    sizes = [0] * 16
    for segment in (Seg.INPUT, Seg.WEIGHT, Seg.OUTPUT):
        sizes[segment] = n * n * 2
    shapes = {
        "a": (Seg.INPUT, (n, n)),
        "b": (Seg.WEIGHT, (n // STRIP, n, STRIP)),
        "y": (Seg.OUTPUT, (n, n)),
    }
    return Program(
        name=f"gemm-l2-{n}",
        chip=chip.name,
        chip_hash=chip_hash(chip),
        precision="bf16",
        streams=tuple(b.stream() for b in streams.values()),
        sections=(
            Section(
                name="main", runs=tuple(QueueRun(kind=q, stream=i) for i, q in enumerate(streams))
            ),
        ),
        segment_bytes=tuple(sizes),
        tensors=tuple(
            Tensor(
                name=name,
                role="output" if name == "y" else "input",
                dtype=Dt.BF16,
                source_dtype="bfloat16",
                shape=shape,
                segment=segment,
                offset=0,
                strides=tuple(2 * int(np.prod(shape[i + 1 :])) for i in range(len(shape))),
            )
            for name, (segment, shape) in shapes.items()
        ),
        nodes=nodes,
        scalars=(0,) * 16,
    )


def _places(s: Sizes) -> tuple[int, int]:
    """L2 offsets of the cluster's B and of its result (A lies at 0)."""
    return s.panel * s.n * 2, 2 * s.panel * s.n * 2


def _stage(b: StreamBuilder, s: Sizes) -> None:
    b.node = 0
    at_b, _ = _places(s)
    b.seta(A_AREG, mult=s.panel * s.n * 2, scalar=S_CLUSTER, div=4)
    b.seta(B_AREG, mult=s.panel * s.n * 2, scalar=S_CLUSTER, mod=4)
    b.copy(
        hbm(Seg.INPUT, 0, stride=s.n * 2, areg=A_AREG),
        l2(0, stride=s.n * 2),
        rows=s.panel,
        row_bytes=s.n * 2,
    )
    b.copy(
        hbm(Seg.WEIGHT, 0, areg=B_AREG),
        l2(at_b),
        rows=1,
        row_bytes=s.panel * s.n * 2,
        signals=[signal(Sig.CORES_OF_CLUSTER, STAGED, 0xF)],
    )


def _load(b: StreamBuilder, s: Sizes, cut: list[tuple[int, int]], chip: Chip) -> None:
    b.node = 0
    at_b, _ = _places(s)
    b.seta(A_AREG, mult=s.block * s.n * 2, scalar=S_CORE, div=2, mod=2)
    b.seta(B_AREG, mult=s.block * s.n * 2, scalar=S_CORE, mod=2)
    b.sync(waits=[Wait(STAGED)], signals=[signal(Sig.ALL_CORES, START)])
    b.sync(waits=[Wait(START, chip.cores)])
    b.node = 1
    for at, depth in cut:
        b.load(
            l2(at * 2, stride=s.n * 2, areg=A_AREG),
            l1(at * 2, stride=s.n * 2),
            rows=s.block,
            row_bytes=depth * 2,
            signals=[self_sem(A_READY)],
        )
        _strip(b, s, 0, (at, depth), at_b)
    for strip in range(1, s.block // STRIP):
        _strip(b, s, strip, (0, s.n), at_b)


def _b_place(s: Sizes, strip: int) -> int:
    """L1 address of a strip of B, behind A's rows."""
    return s.block * s.n * 2 + strip * s.n * STRIP * 2


def _strip(b: StreamBuilder, s: Sizes, strip: int, chunk: tuple[int, int], at_b: int) -> None:
    at, depth = chunk
    offset = (strip * s.n + at) * STRIP * 2
    b.load(
        l2(at_b + offset, stride=STRIP * 2, areg=B_AREG),
        l1(_b_place(s, strip) + at * STRIP * 2, stride=STRIP * 2),
        rows=depth,
        row_bytes=STRIP * 2,
        signals=[self_sem(B_READY)],
    )


def _multiply(b: StreamBuilder, s: Sizes, cut: list[tuple[int, int]], chip: Chip) -> None:
    for strip in range(s.block // STRIP):
        last = strip == s.block // STRIP - 1
        for half, rows in (
            ((0, s.block // 2), (s.block // 2, s.block // 2)) if last else ((0, s.block),)
        ):
            for at, depth in cut if strip == 0 else [(0, s.n)]:
                waits = [Wait(B_READY)] + ([Wait(A_READY)] if strip == 0 else [])
                slot = strip + (1 if half else 0)
                b.matmul(
                    l1((half * s.n + at) * 2, stride=s.n * 2, dt=Dt.BF16),
                    l1(_b_place(s, strip) + at * STRIP * 2, stride=STRIP * 2, dt=Dt.BF16),
                    acc(slot * chip.acc_region_bytes, stride=STRIP * 4),
                    m=rows,
                    n=STRIP,
                    k=depth,
                    start=Acc.KEEP if at else Acc.ZERO,
                    waits=waits if half == 0 else (),
                    signals=[self_sem(ACC_READY)] if at + depth == s.n else (),
                )


def _finish(v: StreamBuilder, st: StreamBuilder, s: Sizes, chip: Chip) -> None:
    _, at_out = _places(s)
    row = 2 * s.block * 2  # the cluster's result: two blocks side by side
    st.node = 0
    st.seta(OUT_AREG, mult=s.block * row, scalar=S_CORE, div=2, mod=2)
    st.seta(OUT_AREG, mult=s.block * 2, scalar=S_CORE, mod=2, add=OUT_AREG)
    st.node = 1
    base = s.block * s.n * 4 // chip.l1_bank_bytes * chip.l1_bank_bytes + 2 * chip.l1_bank_bytes
    strips = s.block // STRIP
    pieces = [(i, 0, s.block) for i in range(strips - 1)]
    pieces += [(strips - 1, 0, s.block // 2), (strips - 1, s.block // 2, s.block // 2)]
    for number, (strip, half, rows) in enumerate(pieces):
        slot = strip + (1 if half else 0)
        out = l1(base + number * s.block * STRIP * 2, stride=STRIP * 2, dt=Dt.BF16)
        v.vec(
            acc(slot * chip.acc_region_bytes, stride=STRIP * 4),
            out,
            Vec(),
            rows=rows,
            cols=STRIP,
            waits=[Wait(ACC_READY)],
            signals=[self_sem(OUT_READY)],
        )
        final = number == len(pieces) - 1
        st.store(
            out,
            l2(at_out + half * row + strip * STRIP * 2, stride=row, areg=OUT_AREG),
            rows=rows,
            row_bytes=STRIP * 2,
            waits=[Wait(OUT_READY)],
            signals=[signal(Sig.CDMA, 0)] if final else (),
        )


def _drain(b: StreamBuilder, s: Sizes) -> None:
    """The result to main memory, so that its numbers can be read; not timed."""
    b.node = 2
    _, at_out = _places(s)
    b.seta(A_AREG, mult=s.panel * s.n * 2, scalar=S_CLUSTER, div=4)
    b.seta(A_AREG, mult=s.panel * 2, scalar=S_CLUSTER, mod=4, add=A_AREG)
    b.copy(
        l2(at_out, stride=s.panel * 2),
        hbm(Seg.OUTPUT, 0, stride=s.n * 2, areg=A_AREG),
        rows=s.panel,
        row_bytes=s.panel * 2,
        waits=[Wait(0, 4)],
    )


def check(chip: Chip, n: int) -> float:
    """Largest error of the program's numbers against numpy, relative to the largest result."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, n)).astype(ml_dtypes.bfloat16) for _ in range(2))
    packed = np.ascontiguousarray(b.reshape(n, n // STRIP, STRIP).transpose(1, 0, 2))
    y = Machine(build(chip, n), chip).run({"a": a, "b": packed})["y"].astype(np.float64)
    want = a.astype(np.float64) @ b.astype(np.float64)
    return float(np.abs(y - want).max() / np.abs(want).max())


def measure(chip: Chip, n: int) -> dict[str, float]:
    """Cycles after the barrier and the share of peak that they are."""
    line = simulate(build(chip, n), chip)
    node = next(t for t in line.nodes if t.node == 1)
    cycles = node.last_cycle - node.first_cycle
    ideal = 2 * n**3 / chip.peak_flops("bf16") * chip.clock_hz
    return {"n": n, "cycles": cycles, "peak_share": ideal / cycles}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    chip = load_chip("athena")
    result = measure(chip, 2048) | {"error": check(chip, 2048)}
    print(
        f"2048^3 bf16 from L2 on '{chip.name}': {result['cycles']:,} cycles, "
        f"{result['peak_share']:.1%} of peak, error against numpy {result['error']:.1e}"
    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
