"""Vector words of an elementwise chain over one tile: used by Elementwise and by the epilogue of
Gemm.

In:  packed `VecWord`s, the tiles of the operands, where t comes from and goes to.   Out: words
added to a `Script`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from athena.isa.builder import Operand, Side, Vec, imm
from athena.isa.fields import Alu, Dt, Kind, Lut
from compiler.lowering.tiles import Script, Tile
from compiler.lowering.vecchain import SQUARE, Ref, VecWord


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPlaces:
    """Operand number → tile; `temp` holds t between words, `recip` the reciprocal of an operand."""

    tiles: dict[int, Tile]
    temp: Operand | None
    recip: Operand | None


def temps_needed(words: tuple[VecWord, ...]) -> int:
    """Scratch tiles that a chain uses: one for t between words, one for reciprocals."""
    recips = any(ref is not None and ref.recip for word in words for ref in (word.b, word.c))
    return (1 if len(words) > 1 else 0) + (1 if recips else 0)


def add_chain(
    script: Script,
    words: tuple[VecWord, ...],
    source: Operand,
    target: Operand,
    places: ChainPlaces,
    slot: int,
) -> None:  # fmt: skip
    """Add the words; t starts at `source`, the last word writes `target`."""
    at = source
    for i, word in enumerate(words):
        last = i == len(words) - 1
        if last:
            to = target
        else:
            if places.temp is None:
                raise ValueError("a chain of several words needs a temporary")
            whole = word.integer or words[i + 1].integer
            to = replace(places.temp, dt=Dt.I32 if whole else Dt.F32)
        _word(script, word, at, to, places, slot)
        at = to


def _word(
    script: Script, word: VecWord, at: Operand, to: Operand, places: ChainPlaces, slot: int
) -> None:
    b, c = (_side(script, ref, at, places, slot) for ref in (word.b, word.c))
    script.vec(
        at, to, Vec(alu1=word.alu1, b=b, lut=word.lut, alu2=word.alu2, c=c, integer=word.integer)
    )


def _side(script: Script, ref: Ref | None, at: Operand, places: ChainPlaces, slot: int) -> Side:
    if ref is None:
        return Side()
    if ref.operand is None:
        return imm(ref.const)
    if ref.operand == SQUARE:
        return Side(Kind.FULL, at)
    side = places.tiles[ref.operand].side(slot)
    if not ref.recip:
        return side
    if places.recip is None or side.operand is None:
        raise ValueError("a reciprocal needs a temporary")
    spread(script, side, places.recip)
    script.vec(places.recip, places.recip, Vec(lut=Lut.RECIP))
    return Side(Kind.FULL, places.recip)


def spread(script: Script, side: Side, target: Operand, *, integer: bool = False) -> None:
    """Write a row, column or element over a whole scratch tile: whatever lies there, read as int32,
    times 0, plus the operand.
    """
    scratch = replace(target, dt=Dt.I32)
    to = replace(target, dt=Dt.I32 if integer else Dt.F32)
    script.vec(scratch, to, Vec(alu1=Alu.MUL, b=imm(0.0), alu2=Alu.ADD, c=side, integer=integer))
