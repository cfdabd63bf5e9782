"""The event-driven engine: traces, accounting, faults."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import Phase, Verbosity, given, settings

from athena.chip.load import load_chip
from athena.errors import DeadlockError, FaultError, ProgramError, RuntimeLimitError
from athena.isa.builder import Clip, StreamBuilder, Vec, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import Alu, Dt, Op, Queue, Seg, Sig, signal
from athena.isa.program import HostCall, QueueRun
from athena.timing import simulate
from tests.athena.timing.programs import chips, program, programs
from tests.athena.timing.stepper import simulate_slowly

EDGE = load_chip("athena-edge-ci")
RANDOM = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    verbosity=Verbosity.quiet,
)  # shrinking or printing programs takes minutes
FEW = settings(RANDOM, max_examples=10)


def stream_of(*calls):
    """A builder after (method, args, kwargs) calls, with END."""
    builder = StreamBuilder()
    for name, args, kwargs in calls:
        getattr(builder, name)(*args, **kwargs)
    builder.end()
    return builder


def load_word(**fields):
    return (
        "load",
        (hbm(Seg.ACT, 0, stride=64), l1(0, stride=64)),
        dict(rows=4, row_bytes=64, **fields),
    )


@RANDOM
@given(program=programs(), chip=chips())
def test_traces_equal_those_of_the_cycle_stepped_model(program, chip):
    expected, last = simulate_slowly(program, chip)
    result = simulate(program, chip, trace=True)
    assert [tuple(row[:5]) for row in result.trace.tolist()] == expected
    assert result.cycles == last


@FEW
@given(program=programs(), chip=chips())
def test_times_of_every_queue_add_up_and_units_run_one_word_at_a_time(program, chip):
    result = simulate(program, chip, trace=True)
    assert result.counts.words_executed == len(result.trace)
    control = {int(op) for op in (Op.END, Op.SYNC, Op.LOOP, Op.SETA)}
    for unit in result.units:
        waits = unit.wait_semaphore_cycles + unit.wait_port_cycles + unit.wait_fetch_cycles
        waits += unit.wait_memory_cycles
        assert unit.busy_cycles + waits + unit.idle_cycles == result.cycles
        assert min(unit.busy_cycles, waits, unit.idle_cycles) >= 0
    for queue in (Queue.MATRIX, Queue.VECTOR):
        rows = [r for r in result.trace.tolist() if r[0] == queue]
        ops = [int(program.streams[r[6]].words[r[2]]["op"]) for r in rows]
        spans = [(r[3], r[4]) for r, op in zip(rows, ops, strict=True) if op not in control]
        assert all(second[0] >= first[1] for first, second in zip(spans, spans[1:], strict=False))
        units = [unit for unit in result.units if unit.queue is queue]
        assert units[0].busy_cycles >= sum(end - start for start, end in spans)


@FEW
@given(program=programs(), chip=chips())
def test_the_same_input_gives_the_same_trace(program, chip):
    first, second = (simulate(program, chip, trace=True) for _ in range(2))
    assert np.array_equal(first.trace, second.trace)
    assert first.counts == second.counts
    assert simulate(program, chip).cycles == first.cycles


def test_a_single_load_takes_fetch_latency_and_beats():
    result = simulate(program([(Queue.LOAD, stream_of(load_word()))]), EDGE, trace=True)
    issue = EDGE.core.fetch_latency_cycles + 128 // EDGE.core.fetch_bytes_per_cycle
    complete = issue + EDGE.hbm.latency_cycles + 4 * 64 // EDGE.core.load_bytes_per_cycle
    assert result.trace[0, 3:5].tolist() == [issue, complete]
    assert result.counts.hbm_read_bytes == result.counts.l1_write_bytes == 256
    assert result.counts.fetch_bytes == 2 * 128


@pytest.mark.parametrize(("gbytes_per_s", "beat_cycles"), [(16, 1), (8, 2), (5, 4), (1, 16)])
def test_slow_memory_takes_longer_over_every_beat_of_either_port(gbytes_per_s, beat_cycles):
    chip = load_chip(EDGE, overrides={"hbm.bandwidth_gbytes_per_s": gbytes_per_s})
    store = ("store", (l1(0), hbm(Seg.WEIGHT, 0)), {"rows": 1, "row_bytes": 200})
    fill = ("fill", (l1(0),), {"rows": 1, "row_bytes": 200})
    for queue, call in ((Queue.LOAD, load_word()), (Queue.STORE, store), (Queue.LOAD, fill)):
        trace = simulate(program([(queue, stream_of(call))]), chip, trace=True).trace
        beats = {"load": 4 * 64, "store": 208, "fill": 208}[call[0]] // 16
        latency, each = (0, 1) if call is fill else (chip.hbm.latency_cycles, beat_cycles)
        assert trace[0, 4] - trace[0, 3] == latency + beats * each


def test_a_loop_is_fetched_once_and_executed_as_often_as_it_counts():
    builder = StreamBuilder()
    with builder.loop(50, (1, 32)):
        builder.load(hbm(Seg.ACT, 0, areg=1), l1(0), rows=1, row_bytes=32)
    builder.end()
    result = simulate(program([(Queue.LOAD, builder)]), EDGE)
    assert result.counts.words_executed == 52
    assert result.counts.fetch_bytes == 3 * 128
    assert result.counts.hbm_read_bytes == 50 * 32


def test_repeats_move_segments_and_keep_node_intervals_apart():
    builder = StreamBuilder()
    builder.node = 0
    builder.load(hbm(Seg.WEIGHT, 0), l1(0), rows=1, row_bytes=1024)
    builder.node = -1
    builder.end()
    stride = tuple(1024 if s == Seg.WEIGHT else 0 for s in range(16))
    chip = load_chip(EDGE, overrides={"core.dma_words_in_flight": 1})
    result = simulate(
        program((3, [(Queue.LOAD, builder)], stride), segment_bytes=3072), chip, trace=True
    )
    (node,) = result.nodes
    loads = [row for row in result.trace.tolist() if row[5] == 0]
    assert node.span_cycles == sum(row[4] - row[3] for row in loads) == node.dma_busy_cycles
    assert (node.first_cycle, node.last_cycle) == (loads[0][3], loads[-1][4])
    assert node.hbm_bytes == 3 * 1024


def test_a_repeat_outside_its_segment_is_a_fault():
    stride = tuple(1024 if s == Seg.ACT else 0 for s in range(16))
    sections = (4, [(Queue.LOAD, stream_of(load_word()))], stride)
    with pytest.raises(FaultError, match="core0.LOAD pc 0 \\(COPY\\)"):
        simulate(program(sections, segment_bytes=3 * 1024), EDGE)


def test_deadlock_names_queue_word_semaphore_wanted_and_held():
    load = stream_of(load_word(waits=[Wait(3, 2)]))
    matrix = stream_of(("sync", (), {"waits": [Wait(5, 7)]}))
    with pytest.raises(DeadlockError) as caught:
        simulate(program([(Queue.LOAD, load), (Queue.MATRIX, matrix)], sems={3: 1, 5: 6}), EDGE)
    assert "core0.LOAD pc 0 (COPY): semaphore 3: wants 2, has 1" in caught.value.message
    assert "core0.MATRIX pc 0 (SYNC): semaphore 5: wants 7, has 6" in caught.value.message


def test_a_semaphore_above_255_is_a_fault():
    builder = StreamBuilder()
    with builder.loop(300):
        builder.sync(signals=[self_sem(9)])
    builder.end()
    with pytest.raises(FaultError, match="semaphore 9 of core 0"):
        simulate(program([(Queue.LOAD, builder)]), EDGE)


def test_two_queues_that_wait_for_one_semaphore_are_refused():
    waits = ("sync", (), {"waits": [Wait(4)]})
    entries = [(Queue.LOAD, stream_of(waits)), (Queue.VECTOR, stream_of(waits))]
    with pytest.raises(ProgramError, match="semaphore 4 has two consumers"):
        simulate(program(entries), EDGE)


def test_the_limit_of_events_is_heeded():
    builder = StreamBuilder()
    with builder.loop(1 << 31):
        builder.sync()
    builder.end()
    with pytest.raises(RuntimeLimitError, match="10000 events"):
        simulate(program([(Queue.LOAD, builder)]), EDGE, max_events=10_000)


BLOCK = (l1(0, dt=Dt.BF16), acc(0), Vec(alu1=Alu.ADD))
FAULTS = {
    "wrong-queue": (Queue.VECTOR, [load_word()], "illegal word"),
    "beyond-l1": (
        Queue.LOAD,
        [("fill", (l1(EDGE.core.l1_bytes - 32),), {"rows": 1, "row_bytes": 64})],
        "outside",
    ),
    "beyond-segment": (
        Queue.LOAD,
        [("load", (hbm(Seg.ACT, 0), l1(0)), {"rows": 1, "row_bytes": 64})],
        "outside",
    ),
    "no-l2": (
        Queue.VECTOR,
        [("vec", (hbm(Seg.ACT, 0), *BLOCK[1:]), {"rows": 1, "cols": 1})],
        "cannot reach",
    ),
    "bad-dtype": (
        Queue.MATRIX,
        [("matmul", (l1(0, dt=Dt.I32), l1(0, dt=Dt.I32), acc(0)), {"m": 1, "n": 1, "k": 1})],
        "no rate",
    ),
    "too-large": (
        Queue.MATRIX,
        [
            (
                "matmul",
                (l1(0, dt=Dt.BF16), l1(0, dt=Dt.BF16), acc(0)),
                {"m": 2**32 - 1, "n": 2**32 - 1, "k": 9},
            )
        ],
        "too large",
    ),
}


@pytest.mark.parametrize(("queue", "calls", "text"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named(queue, calls, text):
    with pytest.raises(FaultError, match=text):
        simulate(program([(queue, stream_of(*calls))], segment_bytes=32), EDGE)


def test_every_code_that_is_no_word_of_the_queue_is_a_fault():
    for code in range(256):
        if code in {int(op) for op in Op} - {0}:
            continue
        builder = stream_of(load_word())
        bad = program([(Queue.LOAD, builder)])
        bad.streams[0].words["op"][0] = code
        with pytest.raises(FaultError, match="illegal word"):
            simulate(bad, EDGE)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda words: words["n"].__setitem__((0, 1), 40), "loop"),  # body beyond FIFO and stream
        (lambda words: words["n"].__setitem__((0, 1), 2), "loop"),  # END inside
        (lambda words: words["op"].__setitem__(2, 2), "END"),  # no END
    ],
    ids=["long-body", "end-in-loop", "no-end"],
)
def test_malformed_streams_are_faults(change, text):
    builder = StreamBuilder()
    with builder.loop(3):
        builder.sync()
    builder.end()
    bad = program([(Queue.LOAD, builder)])
    change(bad.streams[0].words)
    with pytest.raises(FaultError, match=text):
        simulate(bad, EDGE)


@pytest.mark.parametrize(
    "run",
    [
        QueueRun(kind=Queue.LOAD, stream=7),
        QueueRun(kind=Queue.LOAD, stream=0, units=(9,)),
        QueueRun(kind=Queue.LOAD, stream=0, aregs=((16, 0),)),
        QueueRun(kind=Queue.LOAD, stream=0, aregs=((1, 1 << 60),)),
    ],
    ids=["stream", "unit", "areg", "areg-value"],
)
def test_runs_that_no_machine_has_are_refused(run):
    good = program([(Queue.LOAD, stream_of(load_word()))])
    section = dataclasses.replace(good.sections[0], runs=(run,))
    with pytest.raises(ProgramError):
        simulate(dataclasses.replace(good, sections=(section,)), EDGE)


def test_a_word_of_no_rows_takes_a_cycle_and_no_bytes():
    words = [load_word(clips=(None, Clip(0), None)), load_word(clips=(None, Clip(-5), None))]
    result = simulate(program([(Queue.LOAD, stream_of(*words))]), EDGE, trace=True)
    assert (result.trace[:2, 4] - result.trace[:2, 3]).tolist() == [1, 1]
    assert result.counts.hbm_read_bytes == 0


def test_host_calls_take_latency_link_and_the_slower_of_arithmetic_and_memory():
    call = HostCall(
        name="c", node=0, model=b"", inputs=(), outputs=(), flops=10**9, bytes=3 * 10**6
    )
    builder = StreamBuilder()
    builder.call(0, signals=[signal(Sig.CHIP, 1)])
    builder.sync(waits=[Wait(1)], signals=[signal(Sig.ALL_CORES, 2)])
    builder.end()
    waiting = stream_of(load_word(waits=[Wait(2)]))
    result = simulate(
        program([(Queue.HOST, builder), (Queue.LOAD, waiting)], host_calls=(call,)),
        EDGE,
        trace=True,
    )
    host = EDGE.host
    expected = [
        host.call_latency_us[i] * 1e-6
        + 3e6 / (host.link_gbytes_per_s * 1e9)
        + max(1e9 / (host.gflops[j] * 1e9), 3e6 / (host.memory_gbytes_per_s[j] * 1e9))
        for i, j in ((0, 2), (1, 1), (2, 0))
    ]
    assert result.host_s == pytest.approx(expected)
    assert result.seconds == pytest.approx(expected[1], rel=1e-3)
    assert result.counts.host_link_bytes == 3 * 10**6
    load = next(row for row in result.trace.tolist() if row[0] == Queue.LOAD)
    assert load[3] > expected[1] * EDGE.clock_hz


def test_a_long_trace_is_complete_and_in_order():
    builder = StreamBuilder()
    with builder.loop(100_000):
        builder.sync()
    builder.end()
    result = simulate(program([(Queue.STORE, builder)]), EDGE, trace=True)
    assert len(result.trace) == 100_002
    assert (np.diff(result.trace[1:, 3]) == 1).all()
    assert (result.trace[:, 1] == np.arange(100_002)).all()


def test_intervals_of_very_many_repeats_are_grouped():
    builder = StreamBuilder()
    builder.node = 2
    builder.sync()
    builder.end()
    repeats = 10_000
    result = simulate(program((repeats, [(Queue.LOAD, builder)], (0,) * 16)), EDGE)
    (node,) = result.nodes
    assert node.node == 2
    assert node.first_cycle + node.span_cycles <= node.last_cycle == result.cycles
    assert result.counts.words_executed == 2 * repeats
    assert result.counts.fetch_bytes == 2 * 128 * repeats


def test_a_word_of_an_absurd_node_is_refused():
    builder = StreamBuilder()
    builder.node = 2**31 - 1
    builder.end()
    with pytest.raises(ProgramError, match="node"):
        simulate(program([(Queue.LOAD, builder)]), EDGE)
