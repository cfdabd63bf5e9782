"""Action counts against counts made word by word from the fields; tiles against an independent walk
over the array.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import Phase, Verbosity, given, settings
from hypothesis import strategies as st

from athena.chip.load import load_chip
from athena.isa.builder import StreamBuilder, acc, l1
from athena.isa.cycles import matmul_cycles
from athena.isa.fields import DT_BYTES, Acc, Dt, GatherMode, Kind, Op, Queue, Red, Seg
from athena.timing import simulate
from tests.athena.timing.programs import chips, program, programs
from tests.athena.timing.stepper import clipped, lanes_of

RANDOM = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    verbosity=Verbosity.quiet,
)


def space(word, name):
    return "l1" if Seg(int(word[name][0]) & 15) is Seg.L1 else "acc"


def size(word, index):
    return DT_BYTES[Dt(int(word["dt"]) >> 4 * index & 15)]


def of_transfer(word, n, load):
    op = Op(int(word["op"]))
    volume = n[1] * n[2] * (n[0] if op is Op.COPY else 1)
    count = Counter(**{"l1_write_bytes" if load else "l1_read_bytes": volume})
    if op is not Op.FILL:
        count["hbm_read_bytes" if load else "hbm_write_bytes"] += volume
    if op is Op.COPYX and volume:
        count["l1_read_bytes"] += 4 * n[1]
    return count


def of_matmul(word, n, chip):
    m, cols, k = n
    if m == 0 or cols == 0:
        return Counter()
    rows_a, cols_a = chip.core.matrix.rows, chip.core.matrix.cols
    n_tiles, k_tiles = -(-cols // cols_a), -(-k // rows_a)
    start = Acc(int(word["mode"]) & 3)
    return Counter(
        l1_read_bytes=m * k * size(word, 0) * n_tiles
        + k * cols * size(word, 1)
        + (4 * cols if start is Acc.BIAS else 0),
        acc_read_bytes=4 * m * cols * (k_tiles or int(start is Acc.KEEP)),
        acc_write_bytes=4 * m * cols * (k_tiles or 1),
        macs=m * cols * k,
        padded=m * n_tiles * cols_a * k_tiles * rows_a - m * cols * k,
    )


def of_vec(word, rows, cols):
    count, p = Counter(), [int(v) for v in word["p"]]
    count[space(word, "a") + "_read_bytes"] += rows * cols * size(word, 0)
    elements = {Kind.FULL: rows * cols, Kind.ROW: cols, Kind.COL: rows, Kind.SCALAR: 1}
    for name, index, kind in (("b", 1, Kind(p[1] & 255)), ("c", 2, Kind(p[1] >> 8 & 255))):
        count[space(word, name) + "_read_bytes"] += elements.get(kind, 0) * size(word, index)
    red = Red(p[0] >> 24)
    if red:
        count[space(word, "e") + "_write_bytes"] += 4 * rows
        if int(word["mode"]) & 4:
            count[space(word, "e") + "_read_bytes"] += 4 * rows
    if size(word, 3):
        count[space(word, "d") + "_write_bytes"] += rows * cols * size(word, 3)
        count["cast_ops"] += rows * cols * (Dt(int(word["dt"]) >> 12) is not Dt.F32)
    steps = (p[0] & 255 != 0) + (p[0] >> 16 & 255 != 0) + {Red.NONE: 0, Red.SUMSQ: 2}.get(red, 1)
    count["vector_ops"] += rows * cols * steps
    count["lut_ops"] += rows * cols * (p[0] >> 8 & 255 != 0)
    return count


def of_vmxq(word, rows, cols):
    """Both passes read a; the first writes the scales, which the second reads."""
    count = Counter({space(word, "a") + "_read_bytes": 2 * rows * cols * size(word, 0)})
    count["l1_read_bytes"] += 4 * rows
    count["l1_write_bytes"] += 4 * rows + rows * cols
    count["vector_ops"] += 2 * rows * cols + rows
    count["lut_ops"] += rows
    count["cast_ops"] += rows * cols
    return count


def of_vector(word, n):
    rows, cols, _ = n
    if rows == 0 or cols == 0:
        return Counter()
    if int(word["op"]) == Op.VEC:
        return of_vec(word, rows, cols)
    if int(word["op"]) == Op.VMXQ:
        return of_vmxq(word, rows, cols)
    volume = rows * cols * size(word, 0)
    count = Counter({space(word, "a") + "_read_bytes": volume})
    count[space(word, "d") + "_write_bytes"] += volume
    if int(word["op"]) == Op.VGATHER:
        by_rows = int(word["mode"]) == GatherMode.ROWS
        count[space(word, "b") + "_read_bytes"] += 4 * rows * (1 if by_rows else cols)
    return count


@RANDOM
@given(program=programs(), chip=chips())
def test_counts_are_those_of_the_words_executed(program, chip):
    scalars = [*program.scalars, *[0] * 16][:16]
    expected, fetched = Counter(), 0
    for lane in lanes_of(program, scalars):
        for run in lane.runs:
            fetched += 128 * (run[-1].pc + 1)
            for step in run:
                op = Op(int(step.word["op"]))
                if op in (Op.END, Op.SYNC, Op.LOOP, Op.SETA):
                    continue
                n = [clipped(step.word, k, step.aregs, scalars) for k in range(3)]
                if lane.kind in (Queue.LOAD, Queue.STORE):
                    expected += of_transfer(step.word, n, lane.kind is Queue.LOAD)
                else:
                    expected += (
                        of_matmul(step.word, n, chip)
                        if op is Op.MATMUL
                        else of_vector(step.word, n)
                    )
    counts = simulate(program, chip).counts
    for name in (
        "l1_read_bytes",
        "l1_write_bytes",
        "acc_read_bytes",
        "acc_write_bytes",
        "hbm_read_bytes",
        "hbm_write_bytes",
        "vector_ops",
        "lut_ops",
        "cast_ops",
    ):
        assert getattr(counts, name) == expected[name], name
    assert sum(counts.macs.values()) == expected["macs"]
    assert sum(counts.padded_macs.values()) == expected["padded"]
    assert counts.fetch_bytes == fetched


def walk(m, n, k, rows, cols):
    """A weight-stationary array walked tile by tile, cycle by cycle, as SCALE-Sim does: (cycles,
    MACs done on real operands).

    Weights shift in one row a cycle, behind the rows of A of the tile before; row i of A enters in
    its cycle, skewed by a cycle a row; its last sum leaves after passing all rows and columns.
    """
    tiles = [
        (min(cols, n - j), min(rows, k - i)) for j in range(0, n, cols) for i in range(0, k, rows)
    ]
    weights_ready, array_free, macs, end = 0, 0, 0, 0
    shift_free = 0
    for width, depth in tiles:
        weights_ready = max(shift_free, weights_ready) + rows
        first = max(weights_ready, array_free)
        for row in range(m):
            entered = first + row
            end = max(end, entered + rows + cols + 1)  # added in this cycle, visible in the next
            macs += width * depth
        array_free = first + m
        shift_free = first  # the shadow registers take the next tile's weights from here on
    return end, macs


@pytest.mark.parametrize(("rows", "cols"), [(8, 8), (16, 4), (5, 3)])
@pytest.mark.parametrize(
    ("m", "n", "k"), [(1, 1, 1), (8, 8, 8), (9, 17, 25), (100, 3, 7), (3, 40, 41), (64, 64, 64)]
)
def test_matmul_cycles_match_an_independent_walk_over_the_array(m, n, k, rows, cols):
    cycles, macs = walk(m, n, k, rows, cols)
    assert macs == m * n * k
    tail = max(
        0, rows - m
    )  # the closed form lets the last tile occupy the array for at least `rows` cycles
    assert matmul_cycles(m, n, k, rows, cols, 1, 1) == cycles + tail


@given(m=st.integers(1, 60), n=st.integers(1, 60), k=st.integers(1, 60))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_matmul_word_takes_at_least_its_macs_over_the_peak(m, n, k):
    chip = load_chip("athena-edge-ci")
    builder = StreamBuilder()
    builder.matmul(
        l1(0, stride=128, dt=Dt.BF16),
        l1(16384, stride=128, dt=Dt.BF16),
        acc(0, stride=64),
        m=min(m, 16),
        n=min(n, 16),
        k=k,
    )
    builder.end()
    result = simulate(program([(Queue.MATRIX, builder)]), chip)
    assert result.cycles >= result.counts.macs["bf16"] / 64
    (unit,) = (u for u in result.units if u.queue is Queue.MATRIX)
    assert unit.busy_cycles >= (result.counts.macs["bf16"] + result.counts.padded_macs["bf16"]) / 64
