"""The race rule against brute force: what it passes gives one result in every order."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.chip.load import load_chip
from athena.errors import DeadlockError, ProgramError, RaceError
from athena.functional.machine import Machine
from athena.isa.builder import StreamBuilder, Vec, Wait, acc, hbm, l1, l2, self_sem
from athena.isa.check import check_program
from athena.isa.fields import Dt, Queue, Seg, Sig, signal
from athena.isa.program import Program, QueueRun, Section
from tests.athena.isa.samples import edited, ring_program

EDGE = load_chip("athena-edge-ci")
QUAD = load_chip("athena", overrides={"mesh.rows": 1, "mesh.cols": 2})
SEEDS = range(1, 41)


def outcomes(program, chip, seeds=SEEDS):
    """The different results of random legal orders: bytes of ACT and OUTPUT, or "deadlock"."""
    machine = Machine(program, chip)
    found = set()
    rng = np.random.default_rng(5)
    data = {
        seg: rng.integers(0, 120, len(machine.segment(seg)), np.uint8)
        for seg in (Seg.INPUT, Seg.WEIGHT)
    }
    for seed in seeds:
        for core in range(chip.cores):
            machine.l1(core)[:] = 0
            machine.acc(core)[:] = 0
        for seg in (Seg.ACT, Seg.OUTPUT):
            machine.segment(seg)[:] = 0
        for seg, values in data.items():
            machine.segment(seg)[:] = values
        try:
            machine.run({}, order_seed=seed)
        except DeadlockError:
            found.add("deadlock")
        else:
            found.add(bytes(machine.segment(Seg.OUTPUT)) + bytes(machine.segment(Seg.ACT)))
    return found


def mutants(program):
    """Every program with one wait, one signal or one unit of a semaphore less or more."""
    for number, stream in enumerate(program.streams):
        for field, width in (("wait", 2), ("sig", 1)):
            for word in range(len(stream.words)):
                for at in range(0, 2 * width, width):
                    if not stream.words[field][word, at + width - 1]:
                        continue

                    def drop(words, field=field, word=word, at=at, width=width):
                        words[field][word, at : at + width] = 0

                    yield f"stream {number} word {word} {field}", edited(program, number, drop)
    for sem, value in program.core_sems.items():
        for other in (value - 1, value + 1):
            sems = {**program.core_sems, sem: other}
            yield f"sem {sem} = {other}", dataclasses.replace(program, core_sems=sems)


@pytest.mark.parametrize("repeat", [1, 3])
def test_every_mutant_of_a_double_buffered_kernel_that_matters_is_found(repeat):
    base = ring_program(repeat=repeat)
    assert check_program(base, EDGE, races=True).limits == ()
    (good,) = outcomes(base, EDGE)
    harmful = found = 0
    for name, mutant in mutants(base):
        results = outcomes(mutant, EDGE)
        matters = results != {good}
        harmful += matters
        try:
            check_program(mutant, EDGE, races=True)
        except ProgramError:
            found += 1
        else:
            assert not matters, name
    assert harmful >= 15  # the brute force sees most of them, so the test means something
    assert found >= harmful


def test_race_names_both_words_and_bytes():
    base = ring_program()

    def drop(words):
        words["wait"][2, :2] = 0

    with pytest.raises(RaceError) as error:
        check_program(edited(base, 0, drop), EDGE, races=True)
    text = str(error.value)
    assert "queue LOAD 0, stream 0, word 2 (COPY) writes operand d in L1 of core 0" in text
    assert "queue MATRIX 0, stream 1, word 2 (MATMUL) reads operand a" in text
    assert "bytes 0 … 127" in text
    check_program(edited(base, 0, drop), EDGE, races=False)


def build(queues, *, chip, sems=None, cluster_sems=None, repeat=1):
    """A program from {kind: (units, builder function)}."""
    streams, runs = [], []
    for kind, units, fill in queues:
        builder = StreamBuilder()
        fill(builder)
        builder.end()
        runs.append(QueueRun(kind=kind, stream=len(streams), units=units))
        streams.append(builder.stream())
    return Program(
        name="t",
        chip=chip.name,
        chip_hash="",
        precision="bf16",
        streams=tuple(streams),
        sections=(Section(name="s", runs=tuple(runs), repeat=repeat),),
        segment_bytes=(0, 0, 0, 0, 4096, 4096, 4096, 0),
        core_sems=sems or {},
        cluster_sems=cluster_sems or {},
    )


def test_sync_does_not_wait_for_words_in_flight():
    def load(b, signals):
        b.load(hbm(Seg.INPUT, 0), l1(0), rows=1, row_bytes=64, signals=signals)
        b.sync(signals=[] if signals else [self_sem(0)])

    def store(b):
        b.store(l1(0), hbm(Seg.OUTPUT, 0), rows=1, row_bytes=64, waits=[Wait(0)])

    def queues(signals):
        return [(Queue.LOAD, (), lambda b: load(b, signals)), (Queue.STORE, (), store)]

    check_program(build(queues([self_sem(0)]), chip=EDGE), EDGE, races=True)
    with pytest.raises(RaceError, match="L1 of core 0, bytes 0 … 63"):
        check_program(build(queues([]), chip=EDGE), EDGE, races=True)


def test_gather_of_an_index_that_the_same_queue_loads_needs_a_semaphore():
    def load(b, wait):
        b.load(hbm(Seg.INPUT, 0), l1(0), rows=1, row_bytes=16, signals=[self_sem(0)])
        b.sync(waits=[Wait(0)] if wait else [])
        b.copyx(hbm(Seg.INPUT, 0), l1(64, stride=64), l1(0), limit=4, rows=4, row_bytes=64,
                pitch=64)  # fmt: skip

    check_program(build([(Queue.LOAD, (), lambda b: load(b, True))], chip=EDGE), EDGE, races=True)
    with pytest.raises(RaceError, match="reads operand b"):
        check_program(
            build([(Queue.LOAD, (), lambda b: load(b, False))], chip=EDGE), EDGE, races=True
        )


def test_strided_columns_are_told_apart():
    def two(offset):
        def load(b):
            b.load(hbm(Seg.INPUT, 0, stride=32), l1(0, stride=64), rows=8, row_bytes=32)

        def vector(b):
            b.vec(l1(8192, stride=32, dt=Dt.BF16), l1(offset, stride=64, dt=Dt.BF16), Vec(),
                  rows=8, cols=16)  # fmt: skip

        return build([(Queue.LOAD, (), load), (Queue.VECTOR, (), vector)], chip=EDGE)

    check_program(two(32), EDGE, races=True)
    check_program(two(8 * 64), EDGE, races=True)
    for offset in (0, 30, 64 * 7 + 30):
        with pytest.raises(RaceError):
            check_program(two(offset), EDGE, races=True)


def test_cores_that_write_the_same_main_memory():
    def store(step):
        def fill(b):
            b.seta(1, 0, mult=step, scalar=14)
            b.store(l1(0), hbm(Seg.OUTPUT, 0, areg=1), rows=1, row_bytes=64)

        return build([(Queue.STORE, (), fill)], chip=QUAD)

    check_program(store(64), QUAD, races=True)
    with pytest.raises(RaceError, match="segment OUTPUT, bytes 63 … 126"):
        check_program(store(63), QUAD, races=True)


def barrier(take=4, *, gather=True, release=True, generations=3):
    """Cores of a cluster store tiles; the cluster's DMA waits for all of them and lets all load."""

    def store(b):
        b.seta(1, 0, mult=64, scalar=14)
        with b.loop(generations):
            b.sync(waits=[Wait(2)])
            b.store(l1(0), hbm(Seg.ACT, 0, areg=1), rows=1, row_bytes=64,
                    signals=[signal(Sig.CDMA, 0)])  # fmt: skip

    def cdma(b):
        with b.loop(generations):
            b.sync(waits=[Wait(0, take)] if gather else [],
                   signals=[signal(Sig.CORES_OF_CLUSTER, 1, 15)] if release else [])  # fmt: skip

    def load(b):
        with b.loop(generations):
            b.load(hbm(Seg.ACT, 0), l1(1024), rows=1, row_bytes=256, waits=[Wait(1)],
                   signals=[signal(Sig.CORES_OF_CLUSTER, 3, 15)])  # fmt: skip

    def matrix(b):
        with b.loop(generations):
            b.sync(waits=[Wait(3, 4)], signals=[self_sem(2)])

    cores = (0, 1, 2, 3)
    return build(
        [
            (Queue.STORE, cores, store),
            (Queue.CDMA_IN, (0,), cdma),
            (Queue.LOAD, cores, load),
            (Queue.MATRIX, cores, matrix),
        ],
        chip=QUAD,
        sems={2: 1},
    )


def test_barriers_with_many_producers_order_all_of_them():
    assert check_program(barrier(), QUAD, races=True).limits == ()


@pytest.mark.parametrize("changes", [{"take": 3}, {"gather": False}])
def test_barriers_that_let_one_slip_are_races(changes):
    with pytest.raises(RaceError, match="segment ACT"):
        check_program(barrier(**changes), QUAD, races=True)


@pytest.mark.parametrize("changes", [{"take": 5}, {"release": False}])
def test_barriers_that_never_open_deadlock(changes):
    with pytest.raises(ProgramError, match="semaphore"):
        check_program(barrier(**changes), QUAD, races=True)


def exchange(first, second, *, extra=False, generations=4):
    """All cores store, meet, read everybody's tile, and meet again before they overwrite it.

    One semaphore serves all generations of a meeting; with `extra`, every core signals it twice.
    """

    def store(b):
        b.seta(1, 0, mult=64, scalar=14)
        with b.loop(generations):
            b.sync(waits=[Wait(0, second)])
            b.store(l1(0), hbm(Seg.ACT, 0, areg=1), rows=1, row_bytes=64,
                    signals=[signal(Sig.ALL_CORES, 1)])  # fmt: skip
            if extra:
                b.store(l1(0), hbm(Seg.ACT, 0), rows=0, row_bytes=0,
                        signals=[signal(Sig.ALL_CORES, 1)])  # fmt: skip

    def load(b):
        with b.loop(generations):
            b.sync(waits=[Wait(1, first)])
            b.load(hbm(Seg.ACT, 0), l1(1024), rows=1, row_bytes=512,
                   signals=[signal(Sig.ALL_CORES, 0)])  # fmt: skip
            if extra:
                b.sync(waits=[Wait(1, QUAD.cores)])

    queues = [(Queue.STORE, (), store), (Queue.LOAD, (), load)]
    return build(queues, chip=QUAD, sems={0: QUAD.cores})


def test_meetings_of_all_cores_are_exact():
    cores = QUAD.cores
    assert check_program(exchange(cores, cores), QUAD, races=True).limits == ()
    for first, second in ((cores - 1, cores), (cores, cores - 1)):
        with pytest.raises(RaceError, match="segment ACT"):
            check_program(exchange(first, second), QUAD, races=True)


def test_a_second_signal_may_stand_for_another_core():
    """A core that signals twice at once lets the meeting open without a slower core."""
    with pytest.raises(RaceError, match="segment ACT"):
        check_program(exchange(QUAD.cores, QUAD.cores, extra=True), QUAD, races=True)


def test_multicast_reaches_the_slices_in_its_mask():
    def mcast(b):
        b.seta(1, 3)
        b.mcast(hbm(Seg.INPUT, 0), l2(0), rows=1, row_bytes=64, mask_areg=1)

    def out(b):
        b.copy(l2(0), hbm(Seg.OUTPUT, 0), rows=1, row_bytes=64)

    queues = [(Queue.CDMA_IN, (0,), mcast), (Queue.CDMA_OUT, (1,), out)]
    with pytest.raises(RaceError, match="L2 of cluster 1, bytes 0 … 63"):
        check_program(build(queues, chip=QUAD), QUAD, races=True)


SLOTS = (0, 32, 64)
SEMS = (0, 1, 2, 3, 6, 7)  # two of STORE, LOAD and VECTOR each


@st.composite
def small_programs(draw):
    """Three queues, a few words on three slots of L1, random waits and signals."""
    queues = []
    for kind in (Queue.LOAD, Queue.VECTOR, Queue.STORE):
        builder = StreamBuilder()
        for number in range(draw(st.integers(1, 3))):
            wait = draw(st.lists(st.integers(0, 1), max_size=2, unique=True))
            targets = draw(st.lists(st.sampled_from(SEMS), max_size=2))
            more = {
                "waits": [Wait(2 * kind + i, draw(st.integers(1, 2))) for i in wait],
                "signals": [self_sem(sem) for sem in targets],
            }
            a, d = draw(st.sampled_from(SLOTS)), draw(st.sampled_from(SLOTS))
            if kind == Queue.LOAD:
                builder.load(hbm(Seg.INPUT, 32 * number), l1(d), rows=1, row_bytes=32, **more)
            elif kind == Queue.VECTOR:
                builder.vec(l1(a, dt=Dt.U8), l1(d, dt=Dt.U8), Vec(), rows=1, cols=32, **more)
            else:
                builder.store(l1(a), hbm(Seg.OUTPUT, 32 * number), rows=1, row_bytes=32, **more)
        queues.append((kind, (), builder))
    program = build([(kind, units, lambda b: None) for kind, units, _ in queues], chip=EDGE)
    streams = []
    for _, _, builder in queues:
        builder.end()
        streams.append(builder.stream())
    sems = draw(st.dictionaries(st.sampled_from(SEMS), st.integers(0, 2)))
    return dataclasses.replace(program, streams=tuple(streams), core_sems=sems)


@st.composite
def ordered_programs(draw):
    """Words in one intended order; most conflicts between queues get a signal and a wait.

    Semaphores are fresh, or shared by several producers of one consumer queue.
    """
    kinds = (Queue.STORE, Queue.LOAD, Queue.VECTOR)
    words = []
    for _ in range(draw(st.integers(3, 7))):
        kind = draw(st.sampled_from(kinds))
        words.append((kind, draw(st.sampled_from(SLOTS)), draw(st.sampled_from(SLOTS))))
    reads = [{a} if kind != Queue.LOAD else set() for kind, a, _ in words]
    writes = [{d} if kind != Queue.STORE else set() for kind, _, d in words]
    waits, signals = [[] for _ in words], [[] for _ in words]
    for j in range(len(words)):
        for i in range(j):
            clash = writes[i] & (reads[j] | writes[j]) or reads[i] & writes[j]
            room = len(signals[i]) < 2 and len(waits[j]) < 2
            if clash and room and words[i][0] != words[j][0] and draw(st.integers(0, 9)):
                shared = [wait.sem for wait in waits[j]]
                sem = 10 * kinds.index(words[j][0]) + draw(st.integers(0, 3))
                if shared and draw(st.booleans()):
                    waits[j] = [Wait(shared[0], waits[j][0].n + 1), *waits[j][1:]]
                    sem = shared[0]
                else:
                    waits[j].append(Wait(sem))
                signals[i].append(self_sem(sem))
    builders = {kind: StreamBuilder() for kind in kinds}
    for number, (kind, a, d) in enumerate(words):
        builder, more = builders[kind], {"waits": waits[number], "signals": signals[number]}
        if kind == Queue.LOAD:
            builder.load(hbm(Seg.INPUT, 32 * number), l1(d), rows=1, row_bytes=32, **more)
        elif kind == Queue.VECTOR:
            builder.vec(l1(a, dt=Dt.U8), l1(d, dt=Dt.U8), Vec(), rows=1, cols=32, **more)
        else:
            builder.store(l1(a), hbm(Seg.OUTPUT, 32 * number), rows=1, row_bytes=32, **more)
    program = build([(kind, (), lambda b: None) for kind in kinds], chip=EDGE)
    for builder in builders.values():
        builder.end()
    return dataclasses.replace(program, streams=tuple(b.stream() for b in builders.values()))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(program=st.one_of(small_programs(), ordered_programs(), ordered_programs()))
def test_what_passes_gives_one_result_in_every_order(program):
    results = outcomes(program, EDGE, range(1, 13))
    try:
        check_program(program, EDGE, races=True)
    except RaceError:
        assert "deadlock" not in results
    except ProgramError:
        assert results == {"deadlock"}
    else:
        assert len(results) == 1
        assert "deadlock" not in results


def test_accumulators_are_watched():
    def vector(b):
        b.vec(acc(0, stride=32), l1(0, stride=32, dt=Dt.F32), Vec(), rows=8, cols=8)

    def matrix(b):
        b.matmul(l1(2048, stride=16, dt=Dt.BF16), l1(4096, stride=16, dt=Dt.BF16),
                 acc(128, stride=32), m=8, n=8, k=8)  # fmt: skip

    queues = [(Queue.VECTOR, (), vector), (Queue.MATRIX, (), matrix)]
    with pytest.raises(RaceError, match="ACC of core 0"):
        check_program(build(queues, chip=EDGE), EDGE, races=True)


def can_race(program):
    """Exact answer for programs without loops and SYNC, by all reachable states of the counters.

    Two words race if one can be done while the other is not, and the other way round.
    """
    words = [
        [
            (
                [(int(w["wait"][i]), int(w["wait"][i + 1])) for i in (0, 2) if w["wait"][i + 1]],
                [int(code) & 31 for code in w["sig"] if code],
                *touched(w, run.kind),
            )
            for w in stream.words[:-1]
        ]
        for run, stream in zip(program.sections[0].runs, program.streams, strict=True)
    ]
    names = [(q, i) for q, queue in enumerate(words) for i in range(len(queue))]
    clashes = {
        (a, b)
        for a in names
        for b in names
        if a[0] < b[0]
        and (
            words[a[0]][a[1]][3] & (words[b[0]][b[1]][2] | words[b[0]][b[1]][3])
            or words[a[0]][a[1]][2] & words[b[0]][b[1]][3]
        )
    }
    start = ((0,) * len(words), tuple(program.core_sems.get(i, 0) for i in range(32)))
    seen, stack, orders = {start}, [start], set()
    while stack:
        done, sems = stack.pop()
        for a, b in clashes:
            first, second = done[a[0]] > a[1], done[b[0]] > b[1]
            if first != second:
                orders.add((a, b, first))
        for q, queue in enumerate(words):
            if done[q] == len(queue):
                continue
            waits, signals, _, _ = queue[done[q]]
            after = list(sems)
            for sem, n in waits:
                after[sem] -= n
            if min(after) < 0:
                continue
            for sem in signals:
                after[sem] += 1
            state = (tuple(d + (i == q) for i, d in enumerate(done)), tuple(after))
            if state not in seen:
                seen.add(state)
                stack.append(state)
    return any((a, b, True) in orders and (a, b, False) in orders for a, b in clashes)


def touched(word, kind):
    """L1 slots that a word reads and writes."""
    reads = {int(word["a"][1])} if kind != Queue.LOAD else set()
    writes = {int(word["d"][1])} if kind != Queue.STORE else set()
    return reads, writes


@settings(max_examples=200, deadline=None, derandomize=True)
@given(program=ordered_programs())
def test_verdict_is_exact_on_small_programs(program):
    try:
        check_program(program, EDGE, races=True)
    except RaceError:
        assert can_race(program)
    else:
        assert not can_race(program)
