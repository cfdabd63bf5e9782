"""Values that words are built from: operands, waits, signals, clips, masks and VEC steps.

In:  Python values. Out: frozen dataclasses that `athena.isa.builder` packs into words.
Raises: ValueError from the two packing functions, for values that do not fit their field
(FieldError where the number is a size, an offset or a stride).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from athena.isa.fields import Alu, Dt, Kind, Lut, Red, Seg, Sig, signal


class FieldError(ValueError):
    """A number that the field of a word cannot hold: the tensor it describes is too large."""


@dataclass(frozen=True, slots=True)
class Operand:
    """An address (segment, areg, byte offset), the stride between rows in bytes, and the element
    type.
    """

    seg: Seg
    imm: int = 0
    stride: int = 0
    dt: Dt = Dt.NONE
    areg: int = 0

    def at(self, offset: int) -> Operand:
        """The same operand `offset` bytes further on."""
        return replace(self, imm=self.imm + offset)


def hbm(seg: Seg, imm: int, *, stride: int = 0, dt: Dt = Dt.NONE, areg: int = 0) -> Operand:
    """An operand in an HBM segment."""
    return Operand(seg, imm, stride, dt, areg)


def l1(imm: int, *, stride: int = 0, dt: Dt = Dt.NONE, areg: int = 0) -> Operand:
    """An operand in the core's L1."""
    return Operand(Seg.L1, imm, stride, dt, areg)


def acc(imm: int, *, stride: int = 0, dt: Dt = Dt.F32, areg: int = 0) -> Operand:
    """An operand in the core's accumulators."""
    return Operand(Seg.ACC, imm, stride, dt, areg)


def l2(imm: int, *, stride: int = 0, dt: Dt = Dt.NONE, areg: int = 0) -> Operand:
    """An operand in the own cluster's L2 slice."""
    return Operand(Seg.L2, imm, stride, dt, areg)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the queue's semaphore `sem` is at least `n`, then take n."""

    sem: int
    n: int = 1


def self_sem(sem: int) -> int:
    """Signal a semaphore of the own core (or own cluster's DMA)."""
    return signal(Sig.SELF, sem)


@dataclass(frozen=True, slots=True)
class Clip:
    """count = min(n, max(0, limit + S[scalar] - areg))."""

    limit: int
    areg: int = 0
    scalar: int = 0


@dataclass(frozen=True, slots=True)
class Mask:
    """Columns VEC keeps: lo + r*lo_slope <= j < hi + r*hi_slope; lo and hi add areg and scalar."""

    lo: int = -(1 << 31)
    hi: int = (1 << 31) - 1
    lo_slope: int = 0
    hi_slope: int = 0
    lo_areg: int = 0
    hi_areg: int = 0
    lo_scalar: int = 0
    hi_scalar: int = 0
    fill: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Side:
    """One operand of a VEC step: kind, operand (None for IMM) and immediate."""

    kind: Kind = Kind.NONE
    operand: Operand | None = None
    imm: float = 0.0


def imm(value: float) -> Side:
    """An immediate VEC operand."""
    return Side(Kind.IMM, None, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vec:
    """The steps of one VEC word."""

    alu1: Alu = Alu.PASS
    b: Side = field(default_factory=Side)
    lut: Lut = Lut.NONE
    alu2: Alu = Alu.PASS
    c: Side = field(default_factory=Side)
    mask: Mask | None = None
    red: Red = Red.NONE
    red_to: Operand | None = None
    red_keep: bool = False
    zero: int = 0
    integer: bool = False


def nibble(number: int) -> int:
    """The number of an areg or scalar. Raises: ValueError outside 0 … 15."""
    if not 0 <= number < 16:
        raise ValueError(f"areg or scalar {number}: there are 16")
    return number


def put_parameters(word: np.void, first: int, *values: int) -> None:
    """Set p[first …]; values from 2^31 to 2^32 - 1 keep their bit pattern."""
    for slot, value in enumerate(values, first):
        if not -(1 << 31) <= value < 1 << 32:
            raise FieldError(f"parameter p{slot}: {value} does not fit 32 bits")
        word["p"][slot] = value - (1 << 32) if value >> 31 == 1 else value


def put_signed(word: np.void, first: int, *values: int) -> None:
    """Set p[first …] to steps that the machine reads with their sign. Raises: FieldError."""
    for slot, value in enumerate(values, first):
        if not -(1 << 31) <= value < 1 << 31:
            raise FieldError(
                f"parameter p{slot}: a step of {value} does not fit 31 bits and a sign"
            )
        word["p"][slot] = value
