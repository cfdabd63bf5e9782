"""Programs that must not run: the core halts with a code and the place, and never hangs."""

import dataclasses

import numpy as np
import pytest

from athena.errors import DeadlockError, FaultError, RuntimeLimitError
from athena.isa.builder import Clip, StreamBuilder, Wait, acc, hbm, l1, self_sem
from athena.isa.fields import (
    CORE_QUEUES,
    SEGMENTS,
    Acc,
    Alu,
    Dt,
    GatherMode,
    Lut,
    Op,
    Perm,
    Red,
    Seg,
    Sig,
    signal,
)
from athena.isa.operand import Side, Vec
from athena.isa.program import Program, QueueRun, Section
from rtl_sim.correlate import correlate
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.package import COUNT_BITS, Fault
from rtl_sim.run import run_jobs, run_program

STORE, LOAD, MATRIX, VECTOR = CORE_QUEUES
L1_BYTES = 32768
ACC_BYTES = 8192


def program(**streams):
    """A program from functions by queue name that add words."""
    builders = []
    for queue in CORE_QUEUES:
        builder = StreamBuilder()
        builder.sync()
        streams.get(queue.name.lower(), lambda b: None)(builder)
        builder.end()
        builders.append(builder.stream())
    runs = tuple(QueueRun(kind=queue, stream=i) for i, queue in enumerate(CORE_QUEUES))
    sizes = tuple(8192 if s == Seg.ACT else 0 for s in range(SEGMENTS))
    return Program(
        name="fault", chip="athena-edge-ci", chip_hash="", precision="int8",
        streams=tuple(builders),
        sections=(Section(name="all", runs=runs),), segment_bytes=sizes,
    )  # fmt: skip


def patched(made, queue, at, **fields):
    """The program with fields of one word overwritten."""
    streams = list(made.streams)
    words = streams[queue].words.copy()
    for name, value in fields.items():
        words[name][at] = value
    streams[queue] = dataclasses.replace(streams[queue], words=words)
    return dataclasses.replace(made, streams=tuple(streams))


def _load(b, src=0, dst=0, rows=1, row=16, stride=0, seg=Seg.ACT, **more):
    b.load(hbm(seg, src, stride=stride), l1(dst, stride=stride), rows=rows, row_bytes=row, **more)


def _matmul(b, a=0, at=4096, d=0, dt=Dt.I8, zeros=(0, 0), m=2, stride=64, bias=None):
    b.matmul(
        l1(a, stride=16, dt=dt), l1(at, stride=16, dt=dt), acc(d, stride=stride, dt=Dt.I32),
        m=m, n=3, k=4, zeros=zeros, start=Acc.ZERO if bias is None else Acc.BIAS,
        bias=None if bias is None else l1(bias, dt=Dt.I32),
    )  # fmt: skip


def _vec(b, steps=None, dt=Dt.I32, to=512):
    b.vec(
        l1(0, stride=64, dt=dt),
        l1(to, stride=64, dt=Dt.I32),
        steps or Vec(integer=True),
        rows=2,
        cols=3,
    )


def _vmxq(**changes):
    fields = {"a": l1(0, stride=64, dt=Dt.F32), "d": l1(4096, stride=16, dt=Dt.I8)}
    fields |= {"scales": l1(8192, stride=4), "rows": 2, "cols": 3} | changes
    return program(vector=lambda b: b.vmxq(**fields))


def _nested(b, levels, body):
    if levels == 0:
        for _ in range(body):
            b.sync()
        return
    with b.loop(2):
        _nested(b, levels - 1, body)


def _gather(index, src=0, limit=4, pitch=16):
    def add(b):
        b.fill(l1(0), rows=1, row_bytes=8, value=index, signals=[self_sem(0)])
        b.copyx(
            hbm(Seg.ACT, src), l1(64, stride=16), l1(0), limit=limit, rows=2, row_bytes=16,
            pitch=pitch, waits=[Wait(0)],
        )  # fmt: skip

    return program(load=add)


def _perm(b, mode=Perm.COPY, dt=Dt.BF16, cols=4, at=0, to=4096):
    stride = 16
    b.vperm(l1(at, stride=stride, dt=dt), l1(to, stride=stride, dt=dt), mode, rows=2, cols=cols)


def _pick(index, mode=GatherMode.ROWS, limit=4, at=0, clips=(None, None, None)):
    def load(b):
        b.fill(l1(2048), rows=1, row_bytes=64, value=index, signals=[self_sem(0)])

    def vector(b):
        b.vgather(
            l1(at, stride=16, dt=Dt.I8), l1(2048, stride=16, dt=Dt.I32),
            l1(4096, stride=16, dt=Dt.I8), mode, rows=3, cols=2, limit=limit, clips=clips,
            waits=[Wait(0)],
        )  # fmt: skip

    return program(load=load, vector=vector)


ILLEGAL, RANGE, SEM, LOOP = Fault.ILLEGAL_WORD, Fault.RANGE, Fault.SEMAPHORE, Fault.LOOP
CASES = {
    "cleared memory": (patched(program(load=_load), LOAD, 1, op=0), ILLEGAL, LOAD, 1),
    "unknown opcode": (
        patched(program(store=lambda b: b.sync()), STORE, 1, op=77),
        ILLEGAL,
        STORE,
        1,
    ),
    "word of another queue": (
        patched(program(load=_load), LOAD, 1, op=int(Op.MATMUL)),
        ILLEGAL,
        LOAD,
        1,
    ),
    "FILL on STORE": (
        program(store=lambda b: b.fill(l1(0), rows=1, row_bytes=4)),
        ILLEGAL,
        STORE,
        1,
    ),
    "COPY from L2": (program(load=lambda b: _load(b, seg=Seg.L2)), ILLEGAL, LOAD, 1),
    "signal to a cluster's DMA": (
        program(load=lambda b: _load(b, signals=[signal(Sig.CDMA, 1)])),
        ILLEGAL,
        LOAD,
        1,
    ),
    "wait on semaphore 40": (
        patched(program(load=_load), LOAD, 1, wait=(40, 1, 0, 0)),
        ILLEGAL,
        LOAD,
        1,
    ),
    "fp32 MATMUL": (program(matrix=lambda b: _matmul(b, dt=Dt.F32)), ILLEGAL, MATRIX, 1),
    "zero point 200 of int8": (
        program(matrix=lambda b: _matmul(b, zeros=(200, 0))),
        ILLEGAL,
        MATRIX,
        1,
    ),
    "SELECT first": (
        program(vector=lambda b: _vec(b, Vec(integer=True, alu1=Alu.SELECT, b=Side(5, None, 1.0)))),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "SETA by 0": (program(vector=lambda b: b.seta(1, div=0)), ILLEGAL, VECTOR, 1),
    "load past memory": (program(load=lambda b: _load(b, src=8192 - 15)), RANGE, LOAD, 1),
    "load past L1": (
        program(load=lambda b: _load(b, dst=L1_BYTES - 31, rows=2, stride=16)),
        RANGE,
        LOAD,
        1,
    ),
    "blocks before memory": (
        program(load=lambda b: _load(b, src=16, blocks=2, block_strides=(-17, 16))),
        RANGE,
        LOAD,
        1,
    ),
    "store past memory": (
        program(store=lambda b: b.store(l1(0), hbm(Seg.ACT, 8190), rows=1, row_bytes=3)),
        RANGE,
        STORE,
        1,
    ),
    "ACC past its end": (program(matrix=lambda b: _matmul(b, d=ACC_BYTES - 64)), RANGE, MATRIX, 1),
    "A and B in one bank": (program(matrix=lambda b: _matmul(b, at=1024)), RANGE, MATRIX, 1),
    "A and bias in one bank": (program(matrix=lambda b: _matmul(b, bias=512)), RANGE, MATRIX, 1),
    "B and bias in one bank": (program(matrix=lambda b: _matmul(b, bias=6136)), RANGE, MATRIX, 1),
    "ACC misaligned": (program(matrix=lambda b: _matmul(b, d=2)), RANGE, MATRIX, 1),
    "VEC misaligned stride": (
        program(
            vector=lambda b: b.vec(
                l1(0, stride=6, dt=Dt.I32),
                l1(512, stride=64, dt=Dt.I32),
                Vec(integer=True),
                rows=2,
                cols=1,
            )
        ),
        RANGE,
        VECTOR,
        1,
    ),
    "count above the counters": (
        program(load=lambda b: _load(b, rows=1 << COUNT_BITS)),
        RANGE,
        LOAD,
        1,
    ),
    "row number above the table": (_gather(4), Fault.INDEX, LOAD, 2),
    "row number below the table": (_gather(-1), Fault.INDEX, LOAD, 2),
    "row past memory": (_gather(3, src=8192 - 63), RANGE, LOAD, 2),
    "row before memory": (_gather(3, pitch=-16), RANGE, LOAD, 2),
    "indices misaligned": (patched(_gather(0), LOAD, 2, b=(int(Seg.L1), 2)), RANGE, LOAD, 2),
    "integer table function": (
        program(vector=lambda b: _vec(b, Vec(lut=Lut.EXP, integer=True))),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "integer FLOOR": (
        program(vector=lambda b: _vec(b, Vec(lut=Lut.FLOOR, integer=True))),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "no such permutation": (
        patched(program(vector=_perm), VECTOR, 1, mode=4),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "rotation of integers": (
        program(vector=lambda b: _perm(b, Perm.ROTATE_HALF, Dt.I8)),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "rotation of five columns": (
        program(vector=lambda b: _perm(b, Perm.ROTATE_PAIRS, cols=5)),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "permutation of no type": (
        program(vector=lambda b: _perm(b, dt=Dt.NONE)),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "permutation to another type": (
        patched(program(vector=_perm), VECTOR, 1, dt=int(Dt.BF16) | int(Dt.F16) << 12),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "permutation into ACC": (
        patched(program(vector=_perm), VECTOR, 1, d=(int(Seg.ACC) | 16 << 8, 0)),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "permutation misaligned": (program(vector=lambda b: _perm(b, at=1)), RANGE, VECTOR, 1),
    "transposed past L1": (
        program(vector=lambda b: _perm(b, Perm.TRANSPOSE, to=L1_BYTES - 48)),
        RANGE,
        VECTOR,
        1,
    ),
    "gather by no such mode": (patched(_pick(0), VECTOR, 1, mode=2), ILLEGAL, VECTOR, 1),
    "gather by floats": (
        patched(_pick(0), VECTOR, 1, dt=int(Dt.I8) | int(Dt.F32) << 4 | int(Dt.I8) << 12),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "gather from ACC": (
        patched(_pick(0), VECTOR, 1, a=(int(Seg.ACC) | 16 << 8, 0)),
        ILLEGAL,
        VECTOR,
        1,
    ),
    "row gathered above the table": (_pick(4), Fault.INDEX, VECTOR, 1),
    "row gathered below the table": (_pick(-1), Fault.INDEX, VECTOR, 1),
    "element gathered above the row": (_pick(4, GatherMode.ELEMENTS), Fault.INDEX, VECTOR, 1),
    "element gathered below the row": (_pick(-7, GatherMode.ELEMENTS), Fault.INDEX, VECTOR, 1),
    "gather from an empty table": (_pick(0, limit=0), Fault.INDEX, VECTOR, 1),
    "row gathered above the clipped table": (
        _pick(2, clips=(None, None, Clip(2))),
        Fault.INDEX,
        VECTOR,
        1,
    ),
    "table past L1": (_pick(0, at=L1_BYTES - 48), RANGE, VECTOR, 1),
    "indices of a gather misaligned": (
        patched(_pick(0), VECTOR, 1, b=(int(Seg.L1) | 16 << 8, 2)),
        RANGE,
        VECTOR,
        1,
    ),
    "VMXQ of bytes": (_vmxq(a=l1(0, stride=64, dt=Dt.U8)), ILLEGAL, VECTOR, 1),
    "VMXQ of nothing": (_vmxq(a=l1(0, stride=64)), ILLEGAL, VECTOR, 1),
    "VMXQ to uint8": (_vmxq(d=l1(4096, stride=16, dt=Dt.U8)), ILLEGAL, VECTOR, 1),
    "VMXQ of mode 1": (_vmxq(mode=1), ILLEGAL, VECTOR, 1),
    "integers in ACC": (_vmxq(d=acc(0, stride=16, dt=Dt.I8)), ILLEGAL, VECTOR, 1),
    "scales in ACC": (_vmxq(scales=acc(0, stride=4)), ILLEGAL, VECTOR, 1),
    "scales past L1": (_vmxq(scales=l1(L1_BYTES - 4, stride=4)), RANGE, VECTOR, 1),
    "scales misaligned": (_vmxq(scales=l1(8192, stride=6)), RANGE, VECTOR, 1),
    "integers past L1": (_vmxq(d=l1(L1_BYTES - 18, stride=16, dt=Dt.I8)), RANGE, VECTOR, 1),
    "four loops": (program(vector=lambda b: _nested(b, 4, 1)), LOOP, VECTOR, 4),
    "body above the FIFO": (program(vector=lambda b: _nested(b, 1, 33)), LOOP, VECTOR, 1),
    "body past the loop around it": (
        patched(program(vector=lambda b: _nested(b, 2, 1)), VECTOR, 2, n=(2, 2, 0)),
        LOOP,
        VECTOR,
        2,
    ),
    "END in a loop": (
        patched(program(vector=lambda b: _nested(b, 1, 1)), VECTOR, 1, n=(2, 2, 0)),
        LOOP,
        VECTOR,
        3,
    ),
}


def _overflow(b):
    with b.loop(256):
        b.sync(signals=[self_sem(5)])


@pytest.fixture(scope="module")
def outcomes(rtl_tools, ci_chip):
    made = [case[0] for case in CASES.values()]
    made.append(program(store=_overflow))
    made.append(program(store=lambda b: b.sync(waits=[Wait(3)]), load=lambda b: _load(b)))
    jobs = [RtlJob(program=p, segments={int(Seg.ACT): np.zeros(8192, np.uint8)}) for p in made]
    return dict(
        zip(
            [*CASES, "overflow", "deadlock"], run_jobs(jobs, ci_chip, cycle_limit=5000), strict=True
        )
    )


def _slow_copies(queue):
    """Two copies of 40 beats; the second one's 30th beat is at address 4096 + 29 × 16."""

    def add(b):
        for at in (0, 4096):
            if queue is LOAD:
                b.load(hbm(Seg.ACT, at), l1(0), rows=1, row_bytes=640)
            else:
                b.store(l1(0), hbm(Seg.ACT, at), rows=1, row_bytes=640)
        b.sync()

    return program(**{queue.name.lower(): add})


@pytest.mark.parametrize("queue", [LOAD, STORE])
@pytest.mark.parametrize("stress_seed", [0, 7])
def test_an_error_of_memory_names_the_word(rtl_tools, ci_chip, queue, stress_seed):
    """The first copy completes, the second never; the word behind it does not hide it."""
    job = RtlJob(
        program=_slow_copies(queue), stress_seed=stress_seed, error_at=4096 + 29 * 16, error_bytes=1
    )
    (result,) = run_jobs([job], ci_chip, cycle_limit=5000)
    assert (result.outcome, result.fault) == (Outcome.FAULT, Fault.MEMORY)
    assert (result.fault_queue, result.fault_pc) == (queue, 2)
    mine = result.trace[result.trace[:, 0] == queue]
    assert 1 in mine[:, 2] and 2 not in mine[:, 2]  # of the words that completed


@pytest.mark.parametrize("name", CASES)
def test_fault(outcomes, name):
    result, (_, fault, queue, pc) = outcomes[name], CASES[name]
    assert (result.outcome, result.fault, result.fault_queue, result.fault_pc) == (
        Outcome.FAULT,
        fault,
        queue,
        pc,
    )


def test_semaphore_overflow(outcomes):
    result = outcomes["overflow"]
    assert (result.outcome, result.fault) == (Outcome.FAULT, Fault.SEMAPHORE)
    assert np.sum(result.trace[:, 0] == STORE) >= 256


def test_deadlock_ends_and_the_rest_has_run(outcomes):
    result = outcomes["deadlock"]
    assert result.outcome is Outcome.DEADLOCK
    assert np.sum(result.trace[:, 0] == LOAD) == 3


def test_errors_of_run_program(rtl_tools, ci_chip):
    with pytest.raises(FaultError, match="ILLEGAL_WORD.*\n.*LOAD, word 1"):
        run_program(CASES["cleared memory"][0], ci_chip)
    with pytest.raises(DeadlockError):
        run_program(program(store=lambda b: b.sync(waits=[Wait(3)])), ci_chip)
    with pytest.raises(RuntimeLimitError, match="100 cycles"):
        run_program(program(store=_overflow), ci_chip, cycle_limit=100)


def _late_fault(b):
    for _ in range(4):
        b.seta(1)
    b.sync()


def test_a_halted_job_leaves_nothing_to_the_next(rtl_tools, ci_chip):
    """Beats that were in flight when the core halted do not reach the next job's memories."""
    load = lambda b: _load(b, rows=4, row=512, stride=512)  # noqa: E731
    halts = patched(program(load=load, vector=_late_fault), VECTOR, 5, op=0)
    ones = np.ones(8192, np.uint8)
    jobs = [
        RtlJob(program=halts, segments={int(Seg.ACT): ones}),
        RtlJob(program=program(), segments={int(Seg.ACT): ones}),
    ]
    first, second = run_jobs(jobs, ci_chip)
    assert first.outcome is Outcome.FAULT and 0 < np.sum(first.l1) < 2048  # in the middle
    assert second.outcome is Outcome.DONE and not second.l1.any()


def test_words_without_work_reach_no_address(rtl_tools, ci_chip):
    none = (None, Clip(0), None)
    made = program(
        load=lambda b: _load(b, src=1 << 30, dst=1 << 30, clips=none),
        matrix=lambda b: _matmul(b, a=1 << 20, m=0),
    )
    assert run_program(made, ci_chip).outcome is Outcome.DONE


def test_a_reduction_of_no_columns_writes_nothing(rtl_tools, ci_chip):
    steps = Vec(red=Red.MAX, red_to=l1(1024, stride=4, dt=Dt.F32))
    made = program(
        vector=lambda b: b.vec(
            l1(0, stride=64, dt=Dt.F32), None, steps, rows=2, cols=3, clips=(None, Clip(0), None)
        )
    )
    ones = np.ones(4096, np.uint8)
    (result,) = run_jobs([RtlJob(program=made, l1=ones)], ci_chip)
    assert correlate(RtlJob(program=made, l1=ones), ci_chip, result).equal
    assert not result.trace[:, 5].any() and result.l1[:4096].all()
