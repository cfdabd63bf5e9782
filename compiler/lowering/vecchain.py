"""Turn a chain of elementwise steps into the fewest VEC words.

In:  steps (compiler.graph.chip_ops.Step) and, per operand, whether it is an integer.
Out: `VecWord`s: alu1 → lut → alu2 with operand numbers or immediates; the value between two words
lies in a temporary.
Raises: UnsupportedOpError for an integer division and for a power that is not in the table.

A step becomes one or more primitives; primitives fill a word's three places from left to right; a
new word begins where the next place is taken, where arithmetic changes between integer and floating
point, or where SELECT or a square needs t in memory.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace

from athena.errors import UnsupportedOpError
from athena.isa.fields import Alu, Lut
from compiler.graph.chip_ops import Fn, Step
from compiler.graph.types import DType

INTEGER_LIMIT = 1 << 31
EXACT_LIMIT = 1 << 24  # larger integers an fp32 immediate may not hold
SQUARE = -1  # operand number meaning "the word's own first operand"
_CUBE = -2


@dataclass(frozen=True, slots=True)
class Ref:
    """Second operand of a step: a node input, or a number. `recip`: its reciprocal is wanted."""

    operand: int | None = None
    const: float = 0.0
    recip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VecWord:
    """Places of one VEC word. `integer`: int32 arithmetic, which reads integers only."""

    alu1: Alu = Alu.PASS
    b: Ref | None = None
    lut: Lut = Lut.NONE
    alu2: Alu = Alu.PASS
    c: Ref | None = None
    integer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prim:
    alu: Alu = Alu.PASS
    ref: Ref | None = None
    lut: Lut = Lut.NONE
    select: tuple[Ref, Ref] | None = None
    integer: bool = False


_ALU: dict[Fn, tuple[Alu, Alu]] = {  # function, and with operands swapped
    Fn.ADD: (Alu.ADD, Alu.ADD),
    Fn.SUB: (Alu.SUB, Alu.RSUB),
    Fn.MUL: (Alu.MUL, Alu.MUL),
    Fn.MAX: (Alu.MAX, Alu.MAX),
    Fn.MIN: (Alu.MIN, Alu.MIN),
    Fn.EQ: (Alu.EQ, Alu.EQ),
    Fn.NE: (Alu.NE, Alu.NE),
    Fn.LT: (Alu.LT, Alu.GT),
    Fn.LE: (Alu.LE, Alu.GE),
    Fn.GT: (Alu.GT, Alu.LT),
    Fn.GE: (Alu.GE, Alu.LE),
    Fn.AND: (Alu.MIN, Alu.MIN),  # on 0 and 1
    Fn.OR: (Alu.MAX, Alu.MAX),
}
_LUT: dict[Fn, Lut] = {
    Fn.ABS: Lut.ABS,
    Fn.NEG: Lut.NEG,
    Fn.EXP: Lut.EXP,
    Fn.LOG: Lut.LOG,
    Fn.RECIP: Lut.RECIP,
    Fn.RSQRT: Lut.RSQRT,
    Fn.SQRT: Lut.SQRT,
    Fn.TANH: Lut.TANH,
    Fn.ERF: Lut.ERF,
    Fn.GELU: Lut.GELU,
    Fn.GELU_TANH: Lut.GELU_TANH,
    Fn.SIGMOID: Lut.SIGMOID,
    Fn.SILU: Lut.SILU,
    Fn.SIN: Lut.SIN,
    Fn.COS: Lut.COS,
    Fn.FLOOR: Lut.FLOOR,
    Fn.ROUND: Lut.ROUND,
    Fn.CEIL: Lut.CEIL,
    Fn.NOT: Lut.NOT,
    Fn.SIGN: Lut.SIGN,
}
_POW: dict[float, Lut] = {0.5: Lut.SQRT, -0.5: Lut.RSQRT, -1.0: Lut.RECIP}
_INTEGER_LUTS = frozenset({Lut.ABS, Lut.NEG, Lut.NOT, Lut.SIGN})
_INTEGER_KEEPS = frozenset({Lut.FLOOR, Lut.CEIL, Lut.ROUND, Lut.TRUNC})


def vec_words(
    steps: tuple[Step, ...], *, integer: bool, operand_integer: tuple[bool, ...], out_integer: bool
) -> tuple[VecWord, ...]:
    """Words for `steps`; `integer` says whether t starts as an integer; at least one word.

    `out_integer`: the result is an integer (a floating-point t is then truncated toward zero, as
    ONNX Cast does).
    """
    prims: list[_Prim] = []
    for step in steps:
        new, integer = _primitives(step, integer=integer, kinds=operand_integer)
        prims += new
    if out_integer and not integer:
        prims.append(_Prim(lut=Lut.TRUNC))
    return _pack(prims) or (VecWord(integer=integer and out_integer),)


def _primitives(step: Step, *, integer: bool, kinds: tuple[bool, ...]) -> tuple[list[_Prim], bool]:
    fn = step.fn
    if fn is Fn.CAST:
        return _cast(step.to, integer=integer)
    if fn is Fn.SELECT:
        return _select(step, integer=integer, kinds=kinds)
    if fn is Fn.POW:
        return _power(step, integer=integer)
    if fn is Fn.RELU:
        return [_Prim(alu=Alu.MAX, ref=Ref(), integer=integer)], integer
    if fn in _LUT:
        lut = _LUT[fn]
        if integer and lut in _INTEGER_KEEPS:
            return [], True
        ints = integer and lut in _INTEGER_LUTS
        return [_Prim(lut=lut, integer=ints)], ints or lut is Lut.NOT
    ref = _ref(step.operand, step.const)
    both = integer and _is_integer(ref, kinds)
    if fn is Fn.DIV:
        return _divide(step, ref, both=both), both
    alu = _ALU[fn][step.swap]
    compares = fn in (Fn.EQ, Fn.NE, Fn.LT, Fn.LE, Fn.GT, Fn.GE, Fn.AND, Fn.OR)
    return [_Prim(alu=alu, ref=ref, integer=both)], both or compares


def _select(step: Step, *, integer: bool, kinds: tuple[bool, ...]) -> tuple[list[_Prim], bool]:
    pick = _ref(step.operand, step.const), _ref(step.operand2, step.const2)
    whole = bool(step.operands) and all(_is_integer(r, kinds) for r in pick)
    made = [_Prim(select=pick, integer=whole)]
    if whole and not integer:  # the condition as 0 or 1
        made.insert(0, _Prim(alu=Alu.NE, ref=Ref()))
    return made, whole


def _cast(to: DType | None, *, integer: bool) -> tuple[list[_Prim], bool]:
    if to is DType.BOOL:
        return [_Prim(alu=Alu.NE, ref=Ref(), integer=integer)], True
    if to is not None and not to.is_float:
        return ([] if integer else [_Prim(lut=Lut.TRUNC)]), True
    return [], False


def _divide(step: Step, ref: Ref, *, both: bool) -> list[_Prim]:
    if both:
        raise UnsupportedOpError("integer division has no unit on the chip", where="lowering")
    if step.swap:
        return [_Prim(lut=Lut.RECIP), _Prim(alu=Alu.MUL, ref=ref)]
    if ref.operand is None:
        inverse = 1.0 / ref.const if ref.const else math.copysign(math.inf, ref.const)
        return [_Prim(alu=Alu.MUL, ref=Ref(const=inverse))]
    return [_Prim(alu=Alu.MUL, ref=replace(ref, recip=True))]


def _power(step: Step, *, integer: bool) -> tuple[list[_Prim], bool]:
    exponent = step.const
    if exponent in (2.0, 3.0):
        square = _Prim(alu=Alu.MUL, ref=Ref(operand=SQUARE), integer=integer)
        if exponent == 2.0:
            return [square], integer
        return [square, replace(square, ref=Ref(operand=_CUBE))], integer
    if exponent in _POW:
        return [_Prim(lut=_POW[exponent])], False
    raise UnsupportedOpError(f"no unit raises to the power {exponent}", where="lowering")


def _ref(operand: int | None, const: float | None) -> Ref:
    return Ref(operand=operand) if operand is not None else Ref(const=float(const or 0.0))


def _is_integer(ref: Ref, kinds: tuple[bool, ...]) -> bool:
    if ref.operand is not None:
        return kinds[ref.operand]
    return float(ref.const).is_integer() and abs(ref.const) < INTEGER_LIMIT


def _pack(prims: list[_Prim]) -> tuple[VecWord, ...]:
    words: list[VecWord] = []
    place = 4  # next free place of the last word: 0 alu1, 1 lut, 2 alu2, 4 none
    for prim in prims:
        _check_immediate(prim)
        same = bool(words) and words[-1].integer == prim.integer
        if same and prim.ref is not None and prim.ref.recip and words[-1].b is not None:
            same = not words[-1].b.recip  # there is one place for reciprocals
        if prim.select is not None:
            words.append(
                VecWord(b=prim.select[0], alu2=Alu.SELECT, c=prim.select[1], integer=prim.integer)
            )
            place = 4
        elif prim.lut is not Lut.NONE:
            if same and place <= 1:
                words[-1] = replace(words[-1], lut=prim.lut)
            else:
                words.append(VecWord(lut=prim.lut, integer=prim.integer))
            place = 2
        elif same and place <= 2 and prim.ref is not None and prim.ref.operand != SQUARE:
            ref = Ref(operand=SQUARE) if prim.ref.operand == _CUBE else prim.ref
            words[-1] = replace(words[-1], alu2=prim.alu, c=ref)
            place = 4
        else:
            words.append(VecWord(alu1=prim.alu, b=prim.ref, integer=prim.integer))
            place = 1
    return tuple(words)


def _check_immediate(prim: _Prim) -> None:
    """Raises: UnsupportedOpError for an integer that an fp32 immediate does not hold."""
    for ref in (prim.ref, *(prim.select or ())):
        if not prim.integer or ref is None or ref.operand is not None:
            continue
        if (
            abs(ref.const) > EXACT_LIMIT
            and struct.unpack("f", struct.pack("f", ref.const))[0] != ref.const
        ):
            raise UnsupportedOpError(
                f"integer arithmetic with the constant {ref.const:.0f}", where="lowering"
            )
