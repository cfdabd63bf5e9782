"""How chains are packed into vector words."""

from __future__ import annotations

import pytest

from athena.errors import UnsupportedOpError
from athena.isa.fields import Alu, Lut
from compiler.graph.chip_ops import Fn, Step
from compiler.graph.types import DType
from compiler.lowering.vecchain import SQUARE, vec_words


def _words(*steps: Step, integer: bool = False, kinds=(False, False, False), out: bool = False):
    return vec_words(steps, integer=integer, operand_integer=kinds, out_integer=out)


def test_a_word_takes_an_operand_a_function_and_an_operand():
    (word,) = _words(Step(fn=Fn.ADD, operand=1), Step(fn=Fn.TANH), Step(fn=Fn.MUL, operand=2))
    assert (word.alu1, word.lut, word.alu2) == (Alu.ADD, Lut.TANH, Alu.MUL)
    assert (word.b.operand, word.c.operand) == (1, 2)


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ((), 1),
        ((Step(fn=Fn.EXP), Step(fn=Fn.TANH)), 2),
        ((Step(fn=Fn.ADD, const=1.0), Step(fn=Fn.ADD, const=2.0)), 1),
        ((Step(fn=Fn.ADD, const=1.0), Step(fn=Fn.ADD, const=2.0), Step(fn=Fn.EXP)), 2),
        ((Step(fn=Fn.DIV, operand=1), Step(fn=Fn.DIV, operand=2)), 2),
        ((Step(fn=Fn.DIV, operand=1), Step(fn=Fn.MUL, operand=2)), 1),
        ((Step(fn=Fn.POW, const=3.0),), 1),
        ((Step(fn=Fn.TANH), Step(fn=Fn.POW, const=2.0)), 2),
        ((Step(fn=Fn.SELECT, operand=1, operand2=2), Step(fn=Fn.EXP)), 2),
    ],
)
def test_number_of_words(steps, count):
    assert len(_words(*steps)) == count


def test_powers_multiply_what_lies_in_memory():
    (word,) = _words(Step(fn=Fn.POW, const=3.0))
    assert (word.alu1, word.b.operand) == (Alu.MUL, SQUARE)
    assert (word.alu2, word.c.operand) == (Alu.MUL, SQUARE)


def test_integers_stay_integers_until_a_float_joins():
    words = _words(
        Step(fn=Fn.ADD, const=2.0), Step(fn=Fn.MUL, const=0.5), integer=True, kinds=(True,)
    )
    assert [word.integer for word in words] == [True, False]


def test_a_float_result_is_truncated_to_an_integer():
    (word,) = _words(Step(fn=Fn.MUL, const=0.5), out=True)
    assert word.lut is Lut.TRUNC


def test_a_comparison_gives_an_integer():
    words = _words(Step(fn=Fn.LT, operand=1), Step(fn=Fn.ADD, const=1.0))
    assert [word.integer for word in words] == [False, True]


@pytest.mark.parametrize(
    ("step", "integer"),
    [
        (Step(fn=Fn.DIV, const=3.0), True),
        (Step(fn=Fn.POW, const=5.0), False),
        (Step(fn=Fn.ADD, const=123456789.0), True),
    ],
)
def test_refused(step, integer):
    with pytest.raises(UnsupportedOpError):
        _words(step, integer=integer, kinds=(integer,))


def test_casts():
    assert _words(Step(fn=Fn.CAST, to=DType.BOOL))[0].alu1 is Alu.NE
    assert _words(Step(fn=Fn.CAST, to=DType.F32), integer=True, kinds=(True,))[0].integer is False
