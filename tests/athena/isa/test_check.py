"""Structural rules of the verifier: every broken rule is named with its word."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.chip.load import load_chip
from athena.errors import AthenaError, DeadlockError, ProgramError
from athena.isa.builder import Clip, Side, StreamBuilder, Vec, Wait, acc, hbm, imm, l1, self_sem
from athena.isa.check import check_program, check_structure
from athena.isa.fields import Acc, Alu, Dt, Kind, Lut, Op, Perm, Queue, Red, Seg, Sig, signal
from athena.isa.program import Program, QueueRun, Section, Tensor
from tests.athena.isa.samples import edited, programs, ring_program, streams

EDGE = load_chip("athena-edge-ci")
BIG = load_chip("athena")
BF16 = Dt.BF16


def program(kind, build, *, sizes=1 << 20, **changes):
    """A program of one stream on one queue kind."""
    builder = StreamBuilder()
    build(builder)
    if not len(builder) or builder.stream().words["op"][-1] != Op.END:
        builder.end()
    base = Program(
        name="t",
        chip="",
        chip_hash="",
        precision="bf16",
        streams=(builder.stream(),),
        sections=(Section(name="s", runs=(QueueRun(kind=kind, stream=0),)),),
        segment_bytes=(sizes,) * 8,
    )
    return dataclasses.replace(base, **changes)


def load_from(seg, at, **more):
    return lambda b: b.load(
        hbm(seg, at, stride=64, areg=more.pop("areg", 0)),
        l1(0, stride=64),
        rows=4,
        row_bytes=64,
        **more,
    )


def good_matmul(builder, **changes):
    fields = {
        "a": l1(0, stride=16, dt=BF16),
        "b": l1(4096, stride=16, dt=BF16),
        "d": acc(0, stride=32),
        "m": 8,
        "n": 8,
        "k": 8,
    } | changes
    builder.matmul(fields.pop("a"), fields.pop("b"), fields.pop("d"), **fields)


def good_vec(builder, steps=None, **changes):
    fields = {
        "a": l1(0, stride=32, dt=Dt.F32),
        "d": l1(1024, stride=16, dt=BF16),
        "rows": 4,
        "cols": 8,
    }
    fields |= changes
    builder.vec(fields.pop("a"), fields.pop("d"), steps or Vec(), **fields)


def good_vmxq(builder, **changes):
    fields = {
        "a": l1(0, stride=16, dt=BF16),
        "d": l1(1024, stride=9, dt=Dt.I8),
        "scales": l1(2048, stride=8),
        "rows": 4,
        "cols": 8,
    }
    builder.vmxq(**(fields | changes))


GOOD = [
    (Queue.LOAD, load_from(Seg.INPUT, 0)),
    (Queue.MATRIX, good_matmul),
    (Queue.VECTOR, good_vec),
    (Queue.VECTOR, lambda b: good_vec(b, Vec(alu1=Alu.MUL, b=imm(2.0), red=Red.SUM,
                                             red_to=l1(8192, stride=4)))),
    (Queue.STORE, lambda b: b.store(l1(3), hbm(Seg.OUTPUT, 1), rows=1, row_bytes=7)),
    (Queue.LOAD, lambda b: b.fill(l1(0), rows=1, row_bytes=3, value=0x01010101)),
    (Queue.VECTOR, lambda b: b.vperm(l1(0, stride=16, dt=BF16), l1(4096, stride=8, dt=BF16),
                                     Perm.TRANSPOSE, rows=4, cols=8)),
    (Queue.VECTOR, good_vmxq),
    (Queue.VECTOR, lambda b: good_vmxq(b, a=acc(0, stride=32, dt=Dt.I32))),
    # The scales lie in the gaps between the rows of a.
    (Queue.VECTOR, lambda b: good_vmxq(b, a=l1(0, stride=20, dt=BF16), scales=l1(16, stride=20))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "build"), GOOD)
def test_good_words_pass(kind, build):
    result = check_program(program(kind, build), EDGE, races=True)
    assert result.limits == ()


def bad(kind, build, message, **changes):
    return pytest.param(kind, build, message, changes, id=message)


_end = StreamBuilder()
_end.end()
END_WORD = _end.stream().words
L, M, V, S = Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE


@pytest.mark.parametrize(
    ("kind", "build", "message", "changes"),
    [
        bad(V, load_from(Seg.INPUT, 0), "does not run this word"),
        bad(L, lambda b: b.store(l1(0), hbm(Seg.ACT, 0), rows=1, row_bytes=4), "a is not in HBM"),
        bad(S, load_from(Seg.INPUT, 0), "operand a is not in L1"),
        bad(L, load_from(Seg.INPUT, (1 << 20) - 200), "INPUT bytes 1048376 … 1048631: outside"),
        bad(L, load_from(Seg.INPUT, 0), "INPUT bytes 0 … 255: outside", segment_bytes=(0,) * 8),
        bad(M, lambda b: good_matmul(b, b=l1(128, stride=16, dt=BF16)), "share an L1 bank"),
        bad(
            M,
            lambda b: good_matmul(b, start=Acc.BIAS, bias=l1(512, dt=Dt.F32)),
            "A and bias share an L1 bank",
        ),
        bad(
            M,
            lambda b: good_matmul(b, start=Acc.BIAS, bias=l1(4096 + 512, dt=Dt.F32)),
            "B and bias share an L1 bank",
        ),
        bad(M, lambda b: good_matmul(b, a=l1(1, stride=16, dt=BF16)), "not aligned"),
        bad(M, lambda b: good_matmul(b, a=l1(0, stride=17, dt=BF16)), "not aligned"),
        bad(M, lambda b: good_matmul(b, d=acc(0, stride=8)), "rows that are written overlap"),
        bad(M, lambda b: good_matmul(b, d=acc(8000, stride=32)), "ACC bytes 8000"),
        bad(M, lambda b: good_matmul(b, d=acc(0, stride=32, dt=Dt.I32)), "D is fp32"),
        bad(M, lambda b: good_matmul(b, a=l1(0, stride=16, dt=Dt.F16)), "A and B are both"),
        bad(M, lambda b: good_matmul(b, start=Acc.BIAS, bias=l1(0, dt=BF16)), "bias has another"),
        bad(M, lambda b: good_matmul(b, d=l1(0, stride=32, dt=Dt.F32)), "d is not in ACC"),
        bad(V, lambda b: good_vec(b, a=acc(0, stride=32, dt=BF16)), "accumulators hold fp32"),
        bad(V, lambda b: good_vec(b, a=l1(0, stride=32)), "a has no element type"),
        bad(V, lambda b: good_vec(b, Vec(alu1=Alu.ADD)), "lacks its second operand"),
        bad(V, lambda b: good_vec(b, Vec(lut=Lut.EXP, integer=True)), "integers have ABS"),
        bad(V, lambda b: good_vec(b, Vec(integer=True)), "a of an integer VEC is a float"),
        bad(V, lambda b: good_vec(b, Vec(red=Red.SUM, red_to=acc(0, stride=4))), "e is not in L1"),
        bad(V, lambda b: good_vec(b, Vec(alu2=Alu.ADD, c=Side(Kind.COL, l1(2, dt=Dt.F32)))),
            "operand c, L1 bytes 2"),
        bad(V, lambda b: b.vperm(l1(0, stride=16, dt=BF16), l1(64, stride=16, dt=BF16),
                                 Perm.ROTATE_HALF, rows=8, cols=8), "source and destination"),
        bad(V, lambda b: b.vperm(l1(0, stride=8, dt=Dt.I8), l1(512, stride=8, dt=Dt.I8),
                                 Perm.ROTATE_HALF, rows=8, cols=8), "rotations are of floats"),
        bad(V, lambda b: good_vmxq(b, mode=1), "no such mode"),
        bad(V, lambda b: good_vmxq(b, a=l1(0, stride=8, dt=Dt.I8)), "a is fp32, bf16, fp16 or"),
        bad(V, lambda b: good_vmxq(b, a=acc(0, stride=32, dt=BF16)), "accumulators hold fp32"),
        bad(V, lambda b: good_vmxq(b, d=l1(1024, stride=8, dt=Dt.U8)), "D is int8"),
        bad(V, lambda b: good_vmxq(b, d=acc(0, stride=32, dt=Dt.I8)), "d is not in L1"),
        bad(V, lambda b: good_vmxq(b, scales=acc(0, stride=4)), "e is not in L1"),
        bad(V, lambda b: good_vmxq(b, scales=l1(2050, stride=8)), "e, L1 bytes 2050 .* aligned"),
        bad(V, lambda b: good_vmxq(b, scales=l1(2048)), "rows that are written overlap"),
        bad(V, lambda b: good_vmxq(b, d=l1(8, stride=16, dt=Dt.I8)), "a, L1 .* and destination"),
        bad(V, lambda b: good_vmxq(b, scales=l1(1032, stride=9 * 4)), "e, L1 .* and destination"),
        bad(V, lambda b: good_vmxq(b, scales=l1(32, stride=16)), "a, L1 .* and scales"),
        bad(L, lambda b: b.fill(l1(0), rows=1, row_bytes=6, value=5), "multiple of the pattern"),
        bad(L, lambda b: b.fill(l1(0), rows=1 << 31, row_bytes=4), "2\\^31"),
        bad(L, lambda b: b.fill(l1(0), rows=1, row_bytes=4, clips=(Clip(1), None, None)),
            "clipped that has no clip"),
        bad(L, lambda b: b.sync(waits=[Wait(32)]), "semaphore above 31"),
        bad(L, lambda b: b.sync(signals=[signal(Sig.CDMA_MASK, 1, 16)]), "mask is in areg"),
        bad(L, lambda b: b.sync(signals=[5]), "kind 0"),
        bad(L, lambda b: b.seta(0, 1), "SETA sets areg 1"),
        bad(L, lambda b: b.seta(1, div=0), "divides by 0"),
        bad(L, lambda b: b.end() or b.sync(), "END stands once"),
        bad(Queue.HOST, lambda b: b.call(0), "no such host call"),
        bad(Queue.CDMA_IN, lambda b: b.sync(), "no such queue"),
        bad(L, lambda b: b.sync(), "no stream 1",
            sections=(Section(name="s", runs=(QueueRun(kind=L, stream=1),)),)),
        bad(L, lambda b: b.sync(), "unit 1; the chip has 1",
            sections=(Section(name="s", runs=(QueueRun(kind=L, stream=0, units=(1,)),)),)),
        bad(L, lambda b: b.sync(), "runs two streams",
            sections=(Section(name="s", runs=(QueueRun(kind=L, stream=0),) * 2),)),
        bad(L, lambda b: b.sync(), "areg 0",
            sections=(Section(name="s", runs=(QueueRun(kind=L, stream=0, aregs=((0, 4),)),)),)),
        bad(L, lambda b: b.sync(), "another description", chip_hash="1" * 64),
        bad(L, lambda b: b.sync(), "main memory has", segment_bytes=(1 << 40,) * 8),
        bad(L, lambda b: b.sync(), "no queue runs", sections=()),
        bad(L, lambda b: b.sync(), "starts at 256", core_sems={0: 256}),
        bad(L, lambda b: b.sync(waits=[Wait(0)]), "semaphore 0 of core 0 ends at -1"),
        bad(L, lambda b: b.sync(), "bytes 0 … 3999999",
            tensors=(Tensor(name="x", role="input", dtype=Dt.F32, source_dtype="float32",
                            shape=(10**6,), segment=Seg.INPUT, offset=0, strides=(4,)),)),
    ],
)  # fmt: skip
def test_broken_rules_are_named(kind, build, message, changes):
    with pytest.raises(ProgramError, match=message):
        check_program(program(kind, build, **changes), EDGE, races=True)


def test_message_names_queue_stream_word_and_operation():
    with pytest.raises(ProgramError) as error:
        check_program(program(L, load_from(Seg.INPUT, 1 << 21)), EDGE, races=False)
    assert error.value.where == "stream 0, section 's', queue LOAD, word 0 (COPY), unit 0"


def looped(count, delta, rows=4, **more):
    def build(b):
        with b.loop(count, (1, delta)):
            load_from(Seg.INPUT, 0, areg=1, **more)(b)

    return build


def test_loops_are_bounded_by_their_last_iteration():
    check_program(program(L, looped(4096, 256)), EDGE, races=False)
    with pytest.raises(ProgramError, match="INPUT bytes 1048576 … 1048831"):
        check_program(program(L, looped(4097, 256)), EDGE, races=False)
    with pytest.raises(ProgramError, match="INPUT bytes -256"):
        check_program(program(L, looped(2, -256)), EDGE, races=False)


def test_tails_are_judged_exactly():
    """A clip that shrinks as the address grows: the ranges alone would refuse it."""

    def build(b):
        with b.loop(5, (1, 256), (2, 4)):
            b.load(hbm(Seg.INPUT, 0, stride=64, areg=1), l1(0, stride=64), rows=4, row_bytes=64,
                   clips=(None, Clip(18, areg=2), None))  # fmt: skip

    check_program(program(L, build, sizes=18 * 64), EDGE, races=False)
    with pytest.raises(ProgramError, match="INPUT bytes 1024 … 1151: outside"):
        check_program(program(L, build, sizes=17 * 64), EDGE, races=False)


def test_aregs_of_every_core_and_repeat_count():
    def build(b):
        b.seta(1, 0, mult=256, scalar=14)
        load_from(Seg.INPUT, 0, areg=1)(b)

    base = program(L, build, sizes=64 * 256)
    check_program(base, BIG, races=False)
    strides = (0,) * 5 + (256,) + (0,) * 10
    section = dataclasses.replace(base.sections[0], repeat=3, seg_stride=strides)
    repeated = dataclasses.replace(base, sections=(section,))
    with pytest.raises(ProgramError, match="outside"):
        check_program(repeated, BIG, races=False)
    check_program(dataclasses.replace(repeated, segment_bytes=(66 * 256,) * 8), BIG, races=False)


def test_seta_in_a_loop_is_covered():
    def build(b):
        with b.loop(3):
            load_from(Seg.INPUT, 0, areg=1)(b)
            b.seta(1, 512, add=1)

    check_program(program(L, build, sizes=1280), EDGE, races=False)
    with pytest.raises(ProgramError, match="INPUT bytes 1024 … 1279: outside"):
        check_program(program(L, build, sizes=1279), EDGE, races=False)


def test_loop_rules():
    def nest(depth, body=1):
        def build(b):
            if depth:
                with b.loop(2):
                    nest(depth - 1, body)[1](b)
            else:
                for _ in range(body):
                    b.sync()

        return L, build

    check_program(program(*nest(3)), EDGE, races=False)
    check_program(program(*nest(1, 32)), EDGE, races=False)
    for depth, body, message in ((4, 1, "deeper than 3"), (1, 33, "33 words; the FIFO holds 32")):
        with pytest.raises(ProgramError, match=message):
            check_program(program(*nest(depth, body)), EDGE, races=False)

    def cut(words):
        words["n"][0, 1] = 5

    with pytest.raises(ProgramError, match="reaches END"):
        check_program(edited(program(*nest(1, 2)), 0, cut), EDGE, races=False)


def test_one_consumer_a_semaphore():
    base = ring_program()

    def share(words):
        words["wait"][1, 0] = 5

    with pytest.raises(ProgramError, match="semaphore 5 of core 0 has two consumers"):
        check_program(edited(base, 2, share), EDGE, races=False)


def test_two_queues_that_wait_for_each_other():
    load, store = StreamBuilder(), StreamBuilder()
    load.sync(waits=[Wait(0)], signals=[])
    load.sync(signals=[self_sem(1)])
    store.sync(waits=[Wait(1)])
    store.sync(signals=[self_sem(0)])
    for builder in (load, store):
        builder.end()
    two = dataclasses.replace(
        program(L, lambda b: b.end()),
        streams=(load.stream(), store.stream()),
        sections=(Section(name="s", runs=(QueueRun(kind=L, stream=0),
                                          QueueRun(kind=S, stream=1))),),
    )  # fmt: skip
    with pytest.raises(DeadlockError) as error:
        check_program(two, EDGE, races=False)
    text = str(error.value)
    assert "2 queues wait for ever" in text
    assert "queue STORE 0, section 's', stream 1, word 0 (SYNC)" in text
    assert "semaphore 1 of core 0 is 0, needs 1" in text
    check_program(dataclasses.replace(two, core_sems={0: 1}), EDGE, races=False)


def test_repeats_that_need_each_other_run_without_barriers():
    """LOAD waits in repeat i for what STORE signals in repeat i + 1 at the earliest."""
    load, store = StreamBuilder(), StreamBuilder()
    load.sync(waits=[Wait(0, 2)], signals=[self_sem(1)])
    store.sync(signals=[self_sem(0)])
    for builder in (load, store):
        builder.end()
    runs = (QueueRun(kind=L, stream=0), QueueRun(kind=S, stream=1))
    base = dataclasses.replace(
        program(L, lambda b: b.end()),
        streams=(load.stream(), store.stream()),
        sections=(Section(name="s", runs=runs[1:], repeat=2), Section(name="t", runs=runs[:1])),
    )
    check_program(base, EDGE, races=True)
    one = dataclasses.replace(base, sections=(Section(name="s", runs=runs[:1]), base.sections[0]))
    check_program(one, EDGE, races=True)
    short = dataclasses.replace(base.sections[0], repeat=1)
    with pytest.raises(ProgramError, match="ends at -1"):
        check_program(
            dataclasses.replace(base, sections=(short, base.sections[1])), EDGE, races=False
        )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(body=streams(), kind=st.sampled_from(list(Queue)[:4]))
def test_any_words_pass_or_raise_our_error(body, kind):
    words = np.append(body.words, END_WORD)
    stream = dataclasses.replace(body, words=words, nodes=np.full(len(words), -1, np.int32))
    any_program = dataclasses.replace(program(kind, lambda b: b.end()), streams=(stream,))
    try:
        check_program(any_program, EDGE, races=True)
    except AthenaError:
        return


@settings(max_examples=60, deadline=None, derandomize=True)
@given(any_program=programs())
def test_any_program_passes_or_raises_our_error(any_program):
    try:
        check_program(dataclasses.replace(any_program, chip_hash=""), EDGE, races=True)
    except AthenaError:
        return


def test_fifty_thousand_words_are_quick():
    def build(b):
        b.seta(2, 0, mult=1 << 16, scalar=14)
        for block in range(2200):
            b.seta(3, 256 * block % 4096, add=2)
            with b.loop(4, (3, 256)):
                for j in range(20):
                    load_from(Seg.INPUT, 64 * j, areg=3)(b)

    big = program(L, build, sizes=1 << 23)
    check_structure(program(L, load_from(Seg.INPUT, 0)), BIG)
    begin = time.process_time()
    assert check_structure(big, BIG) == ()
    assert big.static_words > 48_000
    assert time.process_time() - begin < 1.0  # 0.2 s on an idle machine


def test_interleaved_columns_do_not_overlap():
    """Source and destination share rows of L1 but no byte; one column further they do."""

    def turn(at):
        def build(b):
            b.vperm(l1(0, stride=32, dt=BF16), l1(at, stride=32, dt=BF16), Perm.ROTATE_HALF,
                    rows=8, cols=8)  # fmt: skip

        return build

    check_program(program(V, turn(16)), EDGE, races=False)
    with pytest.raises(ProgramError, match="source and destination overlap"):
        check_program(program(V, turn(14)), EDGE, races=False)
