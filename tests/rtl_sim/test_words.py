"""Every row of the instruction table against the four executions: numbers, cycles, joules, RTL."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from athena.chip.load import load_chip
from athena.energy import energy, load_table
from athena.functional import Machine
from athena.isa.builder import StreamBuilder, Vec, Wait, acc, hbm, l1, l2, self_sem
from athena.isa.fields import CORE_QUEUES, SEGMENTS, Dt, GatherMode, Op, Perm, Queue, Seg
from athena.isa.program import HostCall, NodeInfo, Program, QueueRun, Section, Tensor
from athena.isa.table import ROWS
from athena.timing import simulate
from rtl_sim.correlate import correlate
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.run import run_jobs

READY = 0
CHIPS = {Op.MCAST: "athena"}  # the only word that needs clusters


def _sync(b):
    b.sync()


def _loop(b):
    with b.loop(3, (1, 16)):
        b.sync()


def _seta(b):
    b.seta(2, 100, mult=7, scalar=14, div=1)


def _copy(b):
    b.load(hbm(Seg.ACT, 0, stride=64), l1(0, stride=64), rows=2, row_bytes=48)


def _copyx(b):
    b.load(hbm(Seg.ACT, 0), l1(0), rows=1, row_bytes=8, signals=[self_sem(READY)])
    b.copyx(
        hbm(Seg.ACT, 0), l1(512, stride=16), l1(0), limit=8, rows=2, row_bytes=16, pitch=16,
        waits=[Wait(READY)],
    )  # fmt: skip


def _fill(b):
    b.fill(l1(0, stride=64), rows=2, row_bytes=32, value=7)


def _mcast(b):
    b.seta(1, 0b11)
    b.mcast(hbm(Seg.ACT, 0), l2(0), rows=1, row_bytes=256, mask_areg=1)


def _matmul(b):
    operands = l1(0, stride=16, dt=Dt.I8), l1(4096, stride=16, dt=Dt.I8)
    b.matmul(*operands, acc(0, stride=64, dt=Dt.I32), m=3, n=5, k=4)


def _vec(b):
    b.vec(l1(0, stride=64, dt=Dt.F32), l1(4096, stride=64, dt=Dt.F32), Vec(), rows=2, cols=5)


def _vperm(b):
    b.vperm(l1(0, stride=64, dt=Dt.F32), l1(4096, stride=64, dt=Dt.F32), Perm.COPY, rows=2, cols=5)


def _vgather(b):
    table, index = l1(0, stride=64, dt=Dt.F32), l1(2048, dt=Dt.I32)
    target = l1(4096, stride=64, dt=Dt.F32)
    b.vgather(table, index, target, GatherMode.ROWS, rows=2, cols=5, limit=4)


def _vmxq(b):
    source, target = l1(0, stride=64, dt=Dt.F32), l1(4096, stride=9, dt=Dt.I8)
    b.vmxq(source, target, l1(8192, stride=8), rows=2, cols=9)


def _call(b):
    b.call(0)


WORDS = {
    Op.END: (Queue.LOAD, lambda b: None),
    Op.SYNC: (Queue.LOAD, _sync),
    Op.LOOP: (Queue.LOAD, _loop),
    Op.SETA: (Queue.LOAD, _seta),
    Op.COPY: (Queue.LOAD, _copy),
    Op.COPYX: (Queue.LOAD, _copyx),
    Op.FILL: (Queue.LOAD, _fill),
    Op.MCAST: (Queue.CDMA_IN, _mcast),
    Op.MATMUL: (Queue.MATRIX, _matmul),
    Op.VEC: (Queue.VECTOR, _vec),
    Op.VPERM: (Queue.VECTOR, _vperm),
    Op.VGATHER: (Queue.VECTOR, _vgather),
    Op.VMXQ: (Queue.VECTOR, _vmxq),
    Op.CALL: (Queue.HOST, _call),
}
FREE = {Op.END, Op.SYNC, Op.LOOP, Op.SETA}  # no bytes and no operations, only themselves


def program(op):
    """A program whose purpose is one word."""
    queue, body = WORDS[op]
    kinds = list(CORE_QUEUES) if op not in (Op.MCAST, Op.CALL) else [queue]
    builders = {kind: StreamBuilder() for kind in kinds}
    body(builders[queue])
    for builder in builders.values():
        builder.end()
    sizes = tuple(4096 if s in (Seg.ACT, Seg.HOST) else 0 for s in range(SEGMENTS))
    tensors = tuple(
        Tensor(
            name=name, role="host", dtype=Dt.F32, source_dtype="float32", shape=(4,),
            segment=Seg.HOST, offset=64 * i, strides=(4,),
        )
        for i, name in enumerate(("x", "y"))
    )  # fmt: skip
    call = HostCall(name="h", node=0, model=b"", inputs=("x",), outputs=("y",), flops=4, bytes=32)
    return Program(
        name=f"one-{op.name}", chip=CHIPS.get(op, "athena-edge-ci"), chip_hash="",
        precision="int8", streams=tuple(b.stream() for b in builders.values()),
        sections=(
            Section(
                name="s",
                runs=tuple(
                    QueueRun(kind=k, stream=i, units=(0,) if op is Op.MCAST else ())
                    for i, k in enumerate(builders)
                ),
            ),
        ),
        segment_bytes=sizes, scalars=(0,) * 16, tensors=tensors if op is Op.CALL else (),
        nodes=(NodeInfo(name="h", op="Host", sources=(), place="host"),) if op is Op.CALL else (),
        host_calls=(call,) if op is Op.CALL else (),
    )  # fmt: skip


def test_every_row_has_a_program_here():
    assert {row.op for row in ROWS} == set(WORDS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.op.name)
def test_word_has_numbers_cycles_and_joules(row):
    made = program(row.op)
    chip = load_chip(made.chip)
    machine = Machine(made, chip)
    called = []

    def host(call, inputs):
        called.append(call)
        return {"y": np.asarray(inputs["x"]) + 1}

    machine.run({}, host=host)
    line = simulate(made, chip, trace=True)
    assert line.cycles > 0
    assert line.counts.words_executed >= 1
    table = load_table()
    joules = energy(line.counts, line.seconds, chip, table, host_s=line.host_s)
    assert joules.total_j.central > 0
    delivery = ("words_executed", "fetch_bytes")
    totals = {
        n: sum(v.values()) if isinstance(v, dict) else v for n, v in asdict(line.counts).items()
    }
    counted = [n for n, total in totals.items() if total and n not in delivery]
    assert bool(counted) == (row.op not in FREE), counted
    assert bool(called) == (row.op is Op.CALL)


def test_word_runs_on_the_rtl_or_faults_there_as_its_row_says(rtl_tools, ci_chip):
    rows = [row for row in ROWS if row.op not in (Op.MCAST, Op.CALL)]  # no queue in the core
    jobs = [RtlJob(program=program(row.op)) for row in rows]
    for row, job, result in zip(rows, jobs, run_jobs(jobs, ci_chip), strict=True):
        if row.rtl:
            agreement = correlate(job, ci_chip, result)
            assert agreement.equal, (row.op.name, agreement)
        else:
            assert row.rtl_reason
            assert result.outcome is Outcome.FAULT, (row.op.name, result.outcome)
