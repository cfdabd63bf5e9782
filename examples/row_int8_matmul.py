"""A hand-written program: Y = X·W in int8 with a scale for each row of X, found while it runs.

In:  nothing; X and W are seeded noise, X with rows of very different sizes.
Out: the error of Y against the fp32 product, beside that of one scale for all of X; cycles.

VMXQ quantises a tile of rows, MATMUL multiplies it by int8 weights (a scale a column, made before),
VEC multiplies the int32 sums by the row's scale and the column's. Run it:

    python examples/row_int8_matmul.py          # functional and timing simulator
    python examples/row_int8_matmul.py --rtl    # and the RTL (needs the extra `rtl`)
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from athena.chip import Chip, load_chip
from athena.functional import Machine
from athena.isa.builder import Side, StreamBuilder, Vec, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import SEGMENTS, Alu, Dt, Kind, Queue, Seg
from athena.isa.program import Program, QueueRun, Section, Tensor
from athena.timing import simulate
from rtl_sim.run import run_program

F32 = NDArray[np.float32]
TILE = 8  # rows of X at a time
# Semaphores: what is full, and what may be filled again.
X_FULL, Q_FULL, SUMS, Y_FULL, WEIGHTS, SCALES, X_FREE, Y_FREE = range(8)


def quantise_columns(w: F32) -> tuple[NDArray[np.int8], F32]:
    """int8 weights and the scale of each column."""
    scales = (np.abs(w).max(axis=0) / 127).astype(np.float32)
    return np.rint(w / scales).astype(np.int8), scales


def _places(chip: Chip, *sizes: int) -> list[int]:
    """L1 addresses, each at the start of a bank of its own."""
    bank, at, places = chip.l1_bank_bytes, 0, list[int]()
    for size in sizes:
        places.append(at)
        at += -(-size // bank) * bank
    assert at <= chip.core.l1_bytes
    return places


def _words(tiles: int, k: int, n: int, chip: Chip) -> dict[Queue, StreamBuilder]:
    """The four streams."""
    x_at, q_at, e_at, w_at, s_at, y_at = _places(
        chip, TILE * k * 4, TILE * k, TILE * 4, k * n, n * 4, TILE * n * 4
    )
    x, q = l1(x_at, stride=4 * k, dt=Dt.F32), l1(q_at, stride=k, dt=Dt.I8)
    row_scales = l1(e_at, stride=4, dt=Dt.F32)
    sums, y = acc(0, stride=4 * n, dt=Dt.I32), l1(y_at, stride=4 * n, dt=Dt.F32)
    load, vector, matrix, store = (StreamBuilder() for _ in range(4))

    load.load(hbm(Seg.WEIGHT, 0), l1(w_at), rows=1, row_bytes=k * n, signals=[self_sem(WEIGHTS)])
    load.load(hbm(Seg.PARAM, 0), l1(s_at), rows=1, row_bytes=4 * n, signals=[self_sem(SCALES)])
    with load.loop(tiles, (1, 4 * TILE * k)):
        load.load(hbm(Seg.INPUT, 0, areg=1), l1(x_at), rows=1, row_bytes=4 * TILE * k,
                  waits=[Wait(X_FREE)], signals=[self_sem(X_FULL)])  # fmt: skip
    matrix.sync(waits=[Wait(WEIGHTS)])
    with matrix.loop(tiles):
        matrix.matmul(q, l1(w_at, stride=n, dt=Dt.I8), sums, m=TILE, n=n, k=k,
                      waits=[Wait(Q_FULL)], signals=[self_sem(SUMS)])  # fmt: skip
    columns = Side(Kind.ROW, l1(s_at, dt=Dt.F32))
    scaled = Vec(alu1=Alu.MUL, b=Side(Kind.COL, row_scales), alu2=Alu.MUL, c=columns)
    vector.sync(waits=[Wait(SCALES)])
    with vector.loop(tiles):
        vector.vmxq(x, q, row_scales, rows=TILE, cols=k, waits=[Wait(X_FULL)],
                    signals=[self_sem(Q_FULL), self_sem(X_FREE)])  # fmt: skip
        vector.vec(sums, y, scaled, rows=TILE, cols=n, waits=[Wait(SUMS), Wait(Y_FREE)],
                   signals=[self_sem(Y_FULL)])  # fmt: skip
    with store.loop(tiles, (1, 4 * TILE * n)):
        store.store(l1(y_at), hbm(Seg.OUTPUT, 0, areg=1), rows=1, row_bytes=4 * TILE * n,
                    waits=[Wait(Y_FULL)], signals=[self_sem(Y_FREE)])  # fmt: skip
    return {Queue.LOAD: load, Queue.MATRIX: matrix, Queue.VECTOR: vector, Queue.STORE: store}


def build(m: int, weights: NDArray[np.int8], scales: F32, chip: Chip) -> Program:
    """The program for X [m, k], m a multiple of TILE."""
    k, n = weights.shape
    builders = _words(m // TILE, k, n, chip)
    for builder in builders.values():
        builder.end()
    runs = tuple(QueueRun(kind=kind, stream=i) for i, kind in enumerate(builders))
    sizes = {Seg.WEIGHT: k * n, Seg.PARAM: 4 * n, Seg.INPUT: 4 * m * k, Seg.OUTPUT: 4 * m * n}
    x = _tensor("x", "input", Seg.INPUT, (m, k))
    y = _tensor("y", "output", Seg.OUTPUT, (m, n))
    return Program(
        name="row-int8-matmul", chip=chip.name, chip_hash="", precision="int8",
        streams=tuple(builder.stream() for builder in builders.values()),
        sections=(Section(name="all", runs=runs),),
        segment_bytes=tuple(sizes.get(s, 0) for s in range(SEGMENTS)),
        tensors=(x, y),
        constants={
            Seg.WEIGHT: weights.reshape(-1).view(np.uint8), Seg.PARAM: scales.view(np.uint8),
        },
        core_sems={X_FREE: 1, Y_FREE: 1},
    )  # fmt: skip


def _tensor(name: str, role: str, segment: Seg, shape: tuple[int, int]) -> Tensor:
    return Tensor(
        name=name, role=role, dtype=Dt.F32, source_dtype="float32", shape=shape, segment=segment,
        offset=0, strides=(4 * shape[1], 4),
    )  # fmt: skip


def snr_db(y: F32, reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal to noise ratio of each row."""
    noise = ((y - reference) ** 2).sum(axis=1)
    return 10 * np.log10((reference**2).sum(axis=1) / noise)


def per_tensor(x: F32, weights: NDArray[np.int8], scales: F32) -> F32:
    """Y with one scale for all of X."""
    scale = np.float32(np.abs(x).max() / 127)
    sums = np.rint(x / scale).astype(np.int32) @ weights.astype(np.int32)
    return (sums * scale * scales).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rtl", action="store_true", help="run it on the RTL too")
    arguments = parser.parse_args()
    chip, rng = load_chip("athena-edge-ci"), np.random.default_rng(0)
    x = rng.normal(size=(32, 64)) * np.exp2(rng.integers(-10, 1, (32, 1)))
    x, w = x.astype(np.float32), rng.normal(size=(64, 24)).astype(np.float32)
    weights, scales = quantise_columns(w)
    program = build(len(x), weights, scales, chip)
    y = Machine(program, chip).run({"x": x})["y"]
    reference = x.astype(np.float64) @ w.astype(np.float64)
    for name, values in (("row", y), ("tensor", per_tensor(x, weights, scales))):
        rows = snr_db(values, reference)
        print(f"one scale a {name}: worst row {rows.min():.1f} dB, median {np.median(rows):.1f} dB")
    print(f"{simulate(program, chip).cycles} cycles on {chip.name}")
    if arguments.rtl:
        result = run_program(program, chip, {"x": x})
        same = result.outputs["y"].tobytes() == y.tobytes()
        print(f"RTL: {result.cycles} cycles, {'the same' if same else 'other'} bytes")


if __name__ == "__main__":
    main()
