"""Fast-forward of repeated sections: near the full simulation, counts exactly."""

from dataclasses import replace

import pytest

from athena.chip.load import load_chip
from athena.isa.builder import StreamBuilder, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import CORE_QUEUES, SEGMENTS, Dt, Queue, Seg
from athena.isa.program import NodeInfo, Program, QueueRun, Section
from athena.timing import simulate
from athena.timing.fast import LEAST_REPEATS, fast_forward

LOADED, FREE = 0, 1
ROW_BYTES = 4096


def layers(repeat, *, rows=64, cores="athena"):
    """A section in which every core loads a block and multiplies it, two blocks in flight."""
    load, matrix = StreamBuilder(), StreamBuilder()
    load.node = matrix.node = 0
    for slot in range(2):
        load.load(
            hbm(Seg.WEIGHT, slot * rows * ROW_BYTES, stride=ROW_BYTES),
            l1(slot << 20, stride=ROW_BYTES),
            rows=rows, row_bytes=ROW_BYTES, waits=[Wait(FREE)], signals=[self_sem(LOADED)],
        )  # fmt: skip
        matrix.matmul(
            l1(slot << 20, stride=ROW_BYTES, dt=Dt.BF16),
            l1(3 << 20, stride=128, dt=Dt.BF16),
            acc(0, stride=256),
            m=rows, n=64, k=512, waits=[Wait(LOADED)], signals=[self_sem(FREE)],
        )  # fmt: skip
    streams = {Queue.LOAD: load, Queue.MATRIX: matrix}
    for queue in CORE_QUEUES:
        streams.setdefault(queue, StreamBuilder()).end()
    stride = tuple(2 * rows * ROW_BYTES if s == Seg.WEIGHT else 0 for s in range(SEGMENTS))
    size = repeat * 2 * rows * ROW_BYTES
    return Program(
        name="layers", chip=cores, chip_hash="", precision="bf16",
        streams=tuple(b.stream() for b in streams.values()),
        sections=(
            Section(
                name="layers",
                runs=tuple(QueueRun(kind=q, stream=i) for i, q in enumerate(streams)),
                repeat=repeat, seg_stride=stride,
            ),
        ),
        segment_bytes=tuple(size if s == Seg.WEIGHT else 0 for s in range(SEGMENTS)),
        nodes=(NodeInfo(name="n", op="Gemm", sources=(), place="chip"),),
        core_sems={FREE: 2}, scalars=(0,) * 16,
    )  # fmt: skip


@pytest.mark.parametrize("repeat", [LEAST_REPEATS, 41, 100])
def test_near_the_full_simulation_and_counts_exactly(repeat):
    chip = load_chip("athena")
    program = layers(repeat)
    whole, fast = simulate(program, chip), simulate(program, chip, exact=False)
    assert whole.exact and not fast.exact
    assert fast.cycles == pytest.approx(whole.cycles, rel=0.005)
    assert fast.counts == whole.counts
    assert [n.matrix_busy_cycles for n in fast.nodes] == [n.matrix_busy_cycles for n in whole.nodes]
    assert fast.events < whole.events
    for unit in fast.units:
        parts = unit.busy_cycles + unit.wait_semaphore_cycles + unit.wait_port_cycles
        parts += unit.wait_memory_cycles + unit.wait_fetch_cycles + unit.idle_cycles
        assert parts == pytest.approx(fast.cycles, rel=1e-3)


def test_few_repeats_and_traces_are_simulated_whole():
    chip = load_chip("athena")
    assert simulate(layers(LEAST_REPEATS - 1), chip, exact=False).exact
    assert simulate(layers(LEAST_REPEATS), chip, exact=False, trace=True).exact


def test_an_unsteady_section_is_simulated_whole():
    chip = load_chip("athena")
    program = layers(30)
    growing = iter((100_000, 250_000, 500_000))
    first = simulate(layers(4), chip)
    lengths = lambda _: replace(first, cycles=next(growing))  # noqa: E731
    assert fast_forward(program, chip, lengths) is None


def test_windows_shorter_than_the_refresh_pattern_are_not_trusted():
    chip = load_chip("athena")
    assert simulate(layers(LEAST_REPEATS, rows=1), chip, exact=False).exact
