"""Semaphores: order of queues, barriers, targets of signals, deadlocks, overflow."""

from __future__ import annotations

import numpy as np
import pytest

from athena.chip import load_chip
from athena.errors import DeadlockError, FaultError
from athena.functional import Machine
from athena.isa.builder import Side, StreamBuilder, Vec, Wait, hbm, l1, self_sem
from athena.isa.fields import Alu, Dt, Kind, Queue, Seg, Sig, signal
from tests.athena.functional.lab import chip, machine, program, same


def ring(length: int) -> dict:
    """A ring of two L1 buffers between LOAD, VECTOR and STORE.

    The order is free, the result is not.
    """
    load, vector, store = StreamBuilder(), StreamBuilder(), StreamBuilder()
    with load.loop(length, (1, 64)):
        load.load(
            hbm(Seg.INPUT, 0, areg=1),
            l1(0),
            rows=1,
            row_bytes=64,
            waits=[Wait(1)],
            signals=[self_sem(0)],
        )
    with vector.loop(length):
        add = Vec(alu1=Alu.ADD, b=Side(Kind.FULL, l1(512, stride=64, dt=Dt.F32)))
        a, d = l1(0, stride=64, dt=Dt.F32), l1(512, stride=64, dt=Dt.F32)
        vector.vec(
            a, d, add, rows=1, cols=16, waits=[Wait(0), Wait(3)], signals=[self_sem(1), self_sem(2)]
        )
    with store.loop(length, (1, 64)):
        store.store(
            l1(512),
            hbm(Seg.OUTPUT, 0, areg=1),
            rows=1,
            row_bytes=64,
            waits=[Wait(2)],
            signals=[self_sem(3)],
        )
    return {(Queue.LOAD, ()): load, (Queue.VECTOR, ()): vector, (Queue.STORE, ()): store}


def test_every_legal_order_gives_the_same_memory():
    made = program(ring(20), core_sems={1: 1, 3: 1}, segment_bytes=(0, 0, 0, 0, 0, 1280, 1280, 0))
    data = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
    want, sums = [], np.zeros(16, np.float32)
    for row in data:
        sums = sums + row
        want.append(sums)
    orders = set()
    for seed in (None, *range(12)):
        runner = Machine(made, chip("athena-edge"))
        runner.segment(Seg.INPUT)[:] = data.reshape(-1).view(np.uint8)
        runner.run({}, order_seed=seed, trace=True)
        same(runner.segment(Seg.OUTPUT).view(np.float32).reshape(20, 16), np.array(want))
        orders.add(tuple(runner.trace[:, 0].tolist()))
        key = runner.trace[np.lexsort((runner.trace[:, 1], runner.trace[:, 0]))]
        if seed is None:
            first = key
        same(key, first)
    assert len(orders) > 6, "the seeds should give different orders"


def test_all_cores_meet_at_a_barrier():
    """Core 0 waits for everyone's signal, then releases all with ALL_CORES.

    Each then reads what its neighbour wrote.
    """
    cores = 8
    builder = StreamBuilder()
    builder.seta(1, 0, mult=4, scalar=14)
    builder.store(
        l1(0), hbm(Seg.ACT, 0, areg=1), rows=1, row_bytes=4, signals=[signal(Sig.CHIP, 0)]
    )
    builder.sync(waits=[Wait(7)])
    builder.end()
    load = StreamBuilder()
    load.seta(2, 0, mult=4, scalar=14)
    load.load(hbm(Seg.ACT, 4, areg=2), l1(64), rows=1, row_bytes=4, waits=[Wait(6)])
    host = StreamBuilder()
    host.sync(waits=[Wait(0, cores)], signals=[signal(Sig.ALL_CORES, 7), signal(Sig.ALL_CORES, 6)])
    units = tuple(range(cores))
    made = program(
        {(Queue.STORE, units): builder, (Queue.LOAD, units): load, (Queue.HOST, ()): host},
        segment_bytes=(0, 0, 0, 0, 4096, 0, 0, 0),
    )
    for seed in (None, 3, 4):
        runner = Machine(made, chip("athena"))
        for core in units:
            runner.l1(core)[:4].view(np.int32)[0] = 100 + core
        runner.run({}, order_seed=seed)
        got = [runner.l1(core)[64:68].view(np.int32)[0] for core in units]
        assert got == [101, 102, 103, 104, 105, 106, 107, 0]


def test_signals_reach_their_targets():
    """SELF, cores of the own cluster by place, CDMA, clusters by areg mask."""
    send = StreamBuilder()
    send.seta(1, 0b100)
    send.sync(
        signals=[
            signal(Sig.CORES_OF_CLUSTER, 1, 0b1010),
            signal(Sig.CDMA, 2),
            signal(Sig.CDMA_MASK, 3, 1),
        ]
    )
    send.sync(signals=[self_sem(4), signal(Sig.CORES_MASK, 5, 1)])
    wait = {0: (4,), 1: (1,), 3: (1,), 8: (5,), 9: (5,), 10: (5,), 11: (5,)}
    streams = {(Queue.LOAD, (0,)): send}
    for core, sems in wait.items():
        receive = StreamBuilder()
        receive.sync(waits=[Wait(s) for s in sems])
        streams[(Queue.STORE, (core,))] = receive
    for cluster, sem in ((0, 2), (2, 3)):
        receive = StreamBuilder()
        receive.sync(waits=[Wait(sem)])
        streams[(Queue.CDMA_IN, (cluster,))] = receive
    Machine(program(streams), chip("athena")).run({})
    # One more receiver than signals is a deadlock: nobody else was signalled.
    extra = StreamBuilder()
    extra.sync(waits=[Wait(1)])
    streams[(Queue.STORE, (2,))] = extra
    with pytest.raises(DeadlockError, match="1 of 11 queues wait"):
        Machine(program(streams), chip("athena")).run({})


def test_disabled_cores_keep_their_place_in_the_cluster():
    made = load_chip("athena", overrides={"disabled_cores": (1,)})
    send, receive = StreamBuilder(), StreamBuilder()
    send.sync(signals=[signal(Sig.CORES_OF_CLUSTER, 1, 0b0100)])
    receive.sync(waits=[Wait(1)])
    # Physical core 2 is logical core 1.
    Machine(program({(Queue.LOAD, (0,)): send, (Queue.STORE, (1,)): receive}), made).run({})


def test_four_waits_of_sync_are_taken_together():
    builder = StreamBuilder()
    builder.sync(signals=[self_sem(i) for i in range(4)])
    other = StreamBuilder()
    other.sync(waits=[Wait(i, i + 1) for i in range(4)], signals=[self_sem(9)])
    other.sync(waits=[Wait(9), Wait(2)])
    made = program(
        {(Queue.LOAD, ()): builder, (Queue.STORE, ()): other}, core_sems={1: 1, 2: 3, 3: 3}
    )
    Machine(made, chip("athena-edge")).run({})


def test_a_deadlock_lists_the_waiting_words():
    load, store = StreamBuilder(), StreamBuilder()
    load.node = 0
    load.load(hbm(Seg.INPUT, 0), l1(0), rows=1, row_bytes=4, waits=[Wait(3, 2), Wait(4)])
    store.sync(waits=[Wait(5)], signals=[self_sem(3)])
    made = program({(Queue.LOAD, ()): load, (Queue.STORE, ()): store}, core_sems={3: 1})
    with pytest.raises(DeadlockError) as caught:
        Machine(made, chip("athena-edge")).run({})
    text = str(caught.value)
    assert "2 of 2 queues wait" in text
    assert "STORE of core 0, section 'all' repeat 0, stream 1, pc 0 (SYNC)" in text
    assert "(SYNC): semaphore 5 wants 1, holds 0" in text
    assert (
        "pc 0 (COPY), node 'node0': semaphore 3 wants 2, holds 1; semaphore 4 wants 1, holds 0"
        in text
    )


def test_a_deadlock_of_many_queues_is_cut():
    builder = StreamBuilder()
    builder.sync(waits=[Wait(0)])
    with pytest.raises(DeadlockError, match="and 56 more"):
        Machine(program({(Queue.LOAD, ()): builder}), chip("athena")).run({})


def test_semaphore_overflow_is_a_fault():
    builder = StreamBuilder()
    with builder.loop(256):
        builder.sync(signals=[self_sem(9)])
    with pytest.raises(FaultError, match="semaphore 9 of core 0 passes 255"):
        machine("athena-edge", Queue.LOAD, builder).run({})
