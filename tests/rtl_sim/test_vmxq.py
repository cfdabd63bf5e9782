"""VMXQ on the RTL: edge sizes and hard rows beside both models and the numpy oracle, and the other
queues' words that wait for its ports.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

from athena.isa.builder import StreamBuilder, Vec, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import CORE_QUEUES, SEGMENTS, Dt, Queue, Seg
from athena.isa.program import Program, QueueRun, Section
from rtl_sim.correlate import correlate
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.run import run_jobs
from tests.athena.functional import oracle
from tests.athena.functional.lab import get, put, same, stored

LANES = 8  # of athena-edge-ci
D_AT, E_AT, L1_BYTES = 16384, 24576, 32768
BANK = L1_BYTES // 16
FETCHED, READY, STORABLE, DONE = range(4)  # semaphores
WIDTHS = (1, LANES - 1, LANES, LANES + 1, 2 * LANES, 37)
SOURCES = ((Dt.F32, l1), (Dt.F32, acc), (Dt.BF16, l1), (Dt.F16, l1), (Dt.I32, l1), (Dt.I32, acc))
CASES = [(cols, *SOURCES[i % 6]) for i, cols in enumerate(WIDTHS)]
CASES += [(11, dt, place) for dt, place in SOURCES] + [(cols, Dt.F32, l1) for cols in WIDTHS[1:4]]


def job(case):
    """A job of one VMXQ (behind a VEC that fills ACC), and its storage values."""
    cols, dt, place = case
    rows = oracle.hard_rows(cols)
    if dt is Dt.I32:
        rng = np.random.default_rng(cols)
        rows = rng.integers(-(1 << 31), 1 << 31, rows.shape) >> rng.integers(0, 32, (len(rows), 1))
    with np.errstate(over="ignore"):
        a = stored(rows, dt)
    stride = a.itemsize * (cols + 1)
    source = place(0, stride=stride, dt=dt)
    streams = {queue: StreamBuilder() for queue in CORE_QUEUES}
    vector, load, store = (streams[q] for q in (Queue.VECTOR, Queue.LOAD, Queue.STORE))
    if place is acc:
        vector.vec(l1(0, stride=stride, dt=dt), source, Vec(integer=dt is Dt.I32),
                   rows=len(a), cols=cols, signals=[self_sem(FETCHED)])  # fmt: skip
    # By the time that a load is complete the queues hold their words.
    load.load(hbm(Seg.ACT, 6000), l1(L1_BYTES - 64), rows=1, row_bytes=32,
              signals=[self_sem(FETCHED)])  # fmt: skip
    vector.sync(waits=[Wait(FETCHED, 2 if place is acc else 1)],
                signals=[self_sem(READY), self_sem(STORABLE)])  # fmt: skip
    vector.vmxq(source, l1(D_AT + 1, stride=cols + 3, dt=Dt.I8), l1(E_AT, stride=8),
                rows=len(a), cols=cols, signals=[self_sem(DONE)])  # fmt: skip
    # Meanwhile words that want the write ports of e's and d's banks, and the read port of e's.
    load.fill(l1(E_AT + BANK - 4), rows=1, row_bytes=4, value=2, waits=[Wait(READY)])
    load.fill(l1(D_AT), rows=1, row_bytes=1, value=0x03030303)
    store.store(l1(E_AT + BANK - 8), hbm(Seg.ACT, 4096), rows=1, row_bytes=4,
                waits=[Wait(STORABLE)])  # fmt: skip
    store.store(l1(E_AT, stride=8), hbm(Seg.ACT, 0, stride=4), rows=len(a), row_bytes=4,
                waits=[Wait(DONE)])  # fmt: skip
    for builder in streams.values():
        builder.end()
    image = np.zeros(L1_BYTES, np.uint8)
    put(image, 0, a, stride)
    runs = tuple(QueueRun(kind=queue, stream=i) for i, queue in enumerate(streams))
    program = Program(
        name=f"vmxq-{cols}-{dt.name}", chip="athena-edge-ci", chip_hash="", precision="int8",
        streams=tuple(b.stream() for b in streams.values()),
        sections=(Section(name="all", runs=runs),),
        segment_bytes=tuple(8192 if s == Seg.ACT else 0 for s in range(SEGMENTS)),
    )  # fmt: skip
    return RtlJob(program=program, l1=image), a


@pytest.fixture(scope="module")
def finished(rtl_tools, ci_chip):
    made = [job(case) for case in CASES]
    return list(zip(CASES, made, run_jobs([j for j, _ in made], ci_chip), strict=True))


def test_every_byte_and_cycle_as_the_models(finished, ci_chip):
    for case, (made, _), result in finished:
        assert result.outcome is Outcome.DONE, (case, result.fault)
        agreement = correlate(made, ci_chip, result)
        assert agreement.equal, (case, agreement)


def test_numbers_are_those_of_the_oracle(finished):
    for (cols, dt, _), (_, a), result in finished:
        q, scales = oracle.row_int8(oracle.widen(a, dt))
        same(get(result.l1, D_AT + 1, a.shape, cols + 3, np.int8), q)
        same(get(result.l1, E_AT, (len(a), 1), 8, np.float32)[:, 0], scales)


def test_the_other_words_had_to_wait(finished):
    """The first fill and the first store issue when VMXQ completes: else nothing is shown of its
    ports.
    """
    for case, _, result in finished:
        trace = result.trace
        (done,) = trace[(trace[:, 0] == Queue.VECTOR) & (trace[:, 5] != 0)][-1:, 4]
        moves = trace[(trace[:, 0] <= Queue.LOAD) & (trace[:, 5] != 0)]
        assert moves[1:, 3].min() == done, case  # moves[0] is the load before


def test_the_example_runs_on_the_rtl_too(rtl_tools, ci_chip):
    """A product in int8 with a scale a row: VMXQ, MATMUL and VEC in loops, overlapping."""
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "row_int8_matmul.py"))
    rng = np.random.default_rng(3)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((40, 30), (30, 12)))
    program = example["build"](len(x), *example["quantise_columns"](w), ci_chip)
    made = RtlJob(program=program, inputs={"x": x})
    (result,) = run_jobs([made], ci_chip)
    assert correlate(made, ci_chip, result).equal
    product, load = (result.trace[result.trace[:, 0] == q] for q in (Queue.MATRIX, Queue.LOAD))
    both = (load[:, 3, None] < product[:, 4]) & (load[:, 4, None] > product[:, 3])
    assert both[:, product[:, 5] != 0].any()  # the next tile comes while one is multiplied
