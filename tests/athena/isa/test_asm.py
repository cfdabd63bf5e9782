"""Text of programs: word for word the same after a round trip; faults name line and column."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from athena.errors import AthenaError, ProgramError
from athena.isa.asm import assemble, assemble_stream, disassemble, disassemble_word
from athena.isa.asm_fields import (
    read_float,
    read_operand,
    read_signal,
    write_float,
    write_operand,
    write_signal,
)
from athena.isa.builder import Clip, Mask, Side, StreamBuilder, Vec, Wait, acc, imm, l1, self_sem
from athena.isa.fields import Acc, Alu, Dt, Kind, Lut, Red, Sig, signal
from tests.athena.isa.samples import UINT32, programs, streams, tables


@settings(max_examples=200, deadline=None, derandomize=True)
@given(stream=streams())
def test_any_words_survive_the_round_trip(stream):
    again = assemble_stream(disassemble(stream))
    assert again.words.tobytes() == stream.words.tobytes()
    assert (again.nodes == stream.nodes).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(program=programs())
def test_programs_survive_the_round_trip(program):
    text = disassemble(program)
    again = assemble(text, constants=program.constants)
    assert tables(again) == tables(program)
    assert disassemble(again) == text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(bits=UINT32)
@example(bits=0x7FC00000)
@example(bits=0xFF800000)
@example(bits=0x80000000)
@example(bits=1)
def test_floats_keep_their_bits(bits):
    assert read_float(write_float(bits)) == bits


def test_every_signal_code_round_trips():
    assert all(read_signal(write_signal(code)) == code for code in range(1 << 16))


@given(low=UINT32, imm=UINT32, dt=st.integers(0, 15))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_operands_round_trip(low, imm, dt):
    assert read_operand(write_operand(low, imm, dt)) == (low, imm, dt)


def test_text_is_readable():
    b = StreamBuilder()
    b.node = 4
    b.matmul(
        l1(0x100, stride=64, dt=Dt.BF16),
        l1(0x4000, stride=32, dt=Dt.BF16, areg=2),
        acc(0, stride=64),
        m=8,
        n=16,
        k=32,
        start=Acc.KEEP,
        b_trans=True,
        waits=[Wait(3), Wait(4, 2)],
        signals=[self_sem(5), signal(Sig.CORES_OF_CLUSTER, 6, 15)],
        clips=(Clip(-8, areg=1, scalar=2), None, None),
    )
    b.vec(
        acc(0, stride=64),
        l1(0, stride=32, dt=Dt.BF16),
        Vec(
            alu1=Alu.MUL,
            b=imm(0.125),
            lut=Lut.EXP,
            alu2=Alu.ADD,
            c=Side(Kind.ROW, l1(64, dt=Dt.F32)),
            mask=Mask(lo=0, hi=5, hi_slope=-1, lo_areg=3),
            red=Red.SUM,
            red_to=l1(0x800, stride=4),
        ),
        rows=8,
        cols=16,
    )
    b.end()
    assert disassemble(b.stream()) == (
        "  MATMUL mode=keep.b_trans wait=3:1,4:2 signal=self.5,cores_of_cluster(0xf).6"
        " A=l1[0x100]/64:bf16 B=l1[r2+0x4000]/32:bf16 D=acc[0x0]/64:f32 M=8 N=16 K=32"
        " clip0=-8+s2-r1 @4\n"
        "  VEC mode=mask a=acc[0x0]/64:f32 c=l1[0x40]:f32 d=l1[0x0]/32:bf16 e=l1[0x800]/4"
        " rows=8 cols=16 steps=mul.exp.add.sum kinds=imm.row hi=5"
        " slopes=lo(0,r3,s0).hi(-1,r0,s0) fill=0xff800000 imm_b=0.125 @4\n"
        "  END @4\n"
    )


def test_loops_are_indented():
    b = StreamBuilder()
    with b.loop(3, (1, 64)):
        b.sync(waits=[Wait(1), Wait(2), Wait(3, 4)], signals=[self_sem(0)] * 3)
    b.end()
    assert disassemble(b.stream()) == (
        "  LOOP count=3 body=1 delta0=64 aregs=r1,r0,r0,r0\n"
        "    SYNC wait=1:1,2:1 signal=self.0,self.0 wait2=3:4 sig2=self.0\n"
        "  END\n"
    )


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("END\n JUMP", "line 2, column 2", "'JUMP' is no word"),
        ("SYNC wait=3", "line 1, column 6", "SEMAPHORE:COUNT"),
        ("SYNC wait=1:1,2:1,3:1", "column 6", "two waits"),
        ("SYNC wait=300:1", "column 6", "300 is not in"),
        ("SYNC signal=moon.3", "column 6", "none of none, self"),
        ("SYNC signal=self.32", "column 6", "32 is not in"),
        ("SYNC signal=self(1.2", "column 6", "KIND"),
        ("COPY src=l9[0x0]", "column 6", "'l9' is none of"),
        ("COPY src=l1[q+0x0]", "column 6", "r0 … r15"),
        ("COPY src=l1[0x100000000]", "column 6", "not in"),
        ("COPY  rows=1 rows=2", "column 14", "appears twice"),
        ("COPY rows", "column 6", "NAME=VALUE"),
        ("COPY cols=3", "column 6", "no field 'cols'; it has src, dst"),
        ("COPY n3=3", "column 6", "no field 'n3'"),
        ("COPY rows=x", "column 6", "'x' is no number"),
        ("COPY rows=" + "9" * 5000, "column 6", "no number"),
        ("VEC steps=add.exp", "column 5", "4 names"),
        ("VEC slopes=lo(1,r2)", "column 5", "slopes are"),
        ("VEC imm_b=one", "column 5", "'one' is no number"),
        ("VEC e=l1[0x0]:f32", "column 5", "no element type"),
        ("MATMUL mode=fast", "column 8", "mode 'fast'"),
        ("MATMUL clip0=3", "column 8", "LIMIT"),
        ("END @-1", "column 5", "-1 is not in"),
    ],
)
def test_faults_name_line_and_column(text, where, message):
    with pytest.raises(ProgramError, match=message) as error:
        assemble_stream(text)
    assert where in error.value.where


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (".nonsense 1", "no directive"),
        (".name", "Expecting value"),
        (".stream 7", "number 0 comes next"),
        (".run LOAD stream=0", "before the first .section"),
        (".section 3", "JSON object"),
        ("END", "before the first .stream"),
        (".host_call {}", "base64"),
        (".name 1\n.name 2", "twice"),
    ],
)
def test_directive_faults(line, message):
    with pytest.raises(ProgramError, match=message):
        assemble(line)


def test_missing_head_is_named():
    with pytest.raises(ProgramError, match="no .name"):
        assemble("")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(program=programs(), data=st.data())
def test_mutated_text_gives_a_program_or_our_error(program, data):
    text = disassemble(dataclasses.replace(program, notes={}))
    for _ in range(3):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[at + 2 :]
    try:
        assemble(text)
    except AthenaError:
        return


def test_word_text_alone():
    b = StreamBuilder()
    b.fill(l1(64, stride=32), rows=2, row_bytes=32, value=0xFF80FF80)
    (word,) = b.stream().words
    text = disassemble_word(word)
    assert text == "FILL dst=l1[0x40]/32 blocks=1 rows=2 row_bytes=32 value=0xff80ff80".replace(
        "blocks", "n0"
    )
    assert np.array_equal(assemble_stream(text).words[0], word)
