"""Build words by hand or by array: the one place that knows how an operand, a signal or a clip is packed.

In:  Python values. Out: `StreamBuilder.stream()`; kernels of a few words need nothing else.
Raises: ValueError for values that do not fit their field (a defect of the caller, not of a user's file).

>>> b = StreamBuilder()
>>> b.load(hbm(Seg.INPUT, 0, stride=64), l1(0, stride=64), rows=4, row_bytes=64, signals=[self_sem(0)])
>>> b.end()
>>> len(b.stream().words)
2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from athena.isa.fields import (
    MODE_B_TRANS,
    MODE_SETA_SHIFT,
    MODE_VEC_INT,
    MODE_VEC_MASK,
    MODE_VEC_RED_KEEP,
    WORD_DTYPE,
    Acc,
    Alu,
    Dt,
    GatherMode,
    Kind,
    Lut,
    Op,
    Perm,
    Red,
    Seg,
    Sig,
    signal,
)
from athena.isa.program import Stream


@dataclass(frozen=True, slots=True)
class Operand:
    """An address (segment, areg, byte offset), the stride between rows in bytes, and the element type."""

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
    """Columns kept by VEC: lo + r*lo_slope <= j < hi + r*hi_slope; lo and hi add areg and scalar."""

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


_NO_CLIPS: tuple[Clip | None, Clip | None, Clip | None] = (None, None, None)
Clips = tuple[Clip | None, Clip | None, Clip | None]


class StreamBuilder:
    """Collects words; `stream()` gives them as arrays."""

    def __init__(self) -> None:
        self._words: list[np.void] = []
        self._nodes: list[int] = []
        self.node = -1

    def __len__(self) -> int:
        return len(self._words)

    def stream(self) -> Stream:
        """The words so far."""
        words = np.array(self._words, WORD_DTYPE) if self._words else np.empty(0, WORD_DTYPE)
        return Stream(words=words, nodes=np.array(self._nodes, np.int32))

    def end(self, *, waits: Sequence[Wait] = (), signals: Sequence[int] = ()) -> None:
        """END."""
        self._add(Op.END, waits=waits, signals=signals)

    def sync(self, *, waits: Sequence[Wait] = (), signals: Sequence[int] = ()) -> None:
        """SYNC with up to four waits and four signals."""
        word = self._add(Op.SYNC, waits=waits[:2], signals=signals[:2])
        for slot, wait in enumerate(waits[2:4]):
            word["p"][slot] = wait.sem | wait.n << 8
        for slot, code in enumerate(signals[2:4]):
            word["p"][2 + slot] = code
        if len(waits) > 4 or len(signals) > 4:
            raise ValueError("SYNC has four waits and four signals")

    @contextmanager
    def loop(self, count: int, *steps: tuple[int, int], clip: Clip | None = None) -> Iterator[None]:
        """LOOP over what the `with` body adds; `steps` are (areg, delta)."""
        word = self._add(Op.LOOP, counts=(count, 0, 0), clips=(clip, None, None))
        start = len(self._words)
        for slot, (areg, delta) in enumerate(steps):
            word["p"][slot] = delta
            word["p"][4] |= areg << (4 * slot)
        yield
        word["n"][1] = len(self._words) - start

    def seta(
        self, areg: int, value: int = 0, *, mult: int = 0, scalar: int = 0, div: int = 1, mod: int = 0, add: int = 0,
        shift: bool = False,
    ) -> None:  # fmt: skip
        """SETA: areg = value + ((S[scalar] div div) mod mod) * mult + areg[add]."""
        word = self._add(Op.SETA, mode=MODE_SETA_SHIFT if shift else 0, counts=(div, mod, add))
        low = value & 0xFFFFFFFF
        word["p"][:5] = (areg, low - (1 << 32) if low >> 31 else low, value >> 32, mult, scalar)

    def copy(
        self, src: Operand, dst: Operand, *, rows: int, row_bytes: int, blocks: int = 1, block_strides: tuple[int, int] = (0, 0),
        waits: Sequence[Wait] = (), signals: Sequence[int] = (), clips: Clips = _NO_CLIPS,
    ) -> None:  # fmt: skip
        """COPY on whichever DMA queue runs the stream."""
        word = self._add(Op.COPY, counts=(blocks, rows, row_bytes), waits=waits, signals=signals, clips=clips)
        self._operands(word, a=src, d=dst)
        word["p"][:2] = block_strides

    load = copy
    store = copy

    def mcast(
        self, src: Operand, dst: Operand, *, rows: int, row_bytes: int, mask_areg: int, blocks: int = 1,
        block_strides: tuple[int, int] = (0, 0), waits: Sequence[Wait] = (), signals: Sequence[int] = (), clips: Clips = _NO_CLIPS,
    ) -> None:  # fmt: skip
        """MCAST: one read written to the L2 slices in the mask."""
        word = self._add(Op.MCAST, counts=(blocks, rows, row_bytes), waits=waits, signals=signals, clips=clips)
        self._operands(word, a=src, d=dst)
        word["p"][:3] = (*block_strides, mask_areg)

    def copyx(
        self, src: Operand, dst: Operand, index: Operand, *, limit: int, rows: int, row_bytes: int, pitch: int,
        waits: Sequence[Wait] = (), signals: Sequence[int] = (), clips: Clips = _NO_CLIPS,
    ) -> None:  # fmt: skip
        """COPYX: gather (LOAD) or scatter (STORE) rows by index."""
        word = self._add(Op.COPYX, counts=(limit, rows, row_bytes), waits=waits, signals=signals, clips=clips)
        self._operands(word, a=src, b=index, d=dst)
        word["p"][0] = pitch

    def fill(
        self, dst: Operand, *, rows: int, row_bytes: int, value: int = 0, waits: Sequence[Wait] = (), signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:  # fmt: skip
        """FILL rows in L1 with a 32-bit pattern."""
        word = self._add(Op.FILL, counts=(1, rows, row_bytes), waits=waits, signals=signals, clips=clips)
        self._operands(word, d=dst)
        word["p"][0] = value

    def matmul(
        self, a: Operand, b: Operand, d: Operand, *, m: int, n: int, k: int, start: Acc = Acc.ZERO, bias: Operand | None = None,
        b_trans: bool = False, zeros: tuple[int, int] = (0, 0), waits: Sequence[Wait] = (), signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:  # fmt: skip
        """MATMUL D[m, n] = start + A[m, k] · B."""
        mode = int(start) | (MODE_B_TRANS if b_trans else 0)
        word = self._add(Op.MATMUL, mode=mode, counts=(m, n, k), waits=waits, signals=signals, clips=clips)
        self._operands(word, a=a, b=b, c=bias, d=d)
        word["p"][:2] = zeros

    def vec(
        self, a: Operand, d: Operand | None, steps: Vec, *, rows: int, cols: int, waits: Sequence[Wait] = (),
        signals: Sequence[int] = (), clips: Clips = _NO_CLIPS,
    ) -> None:  # fmt: skip
        """VEC over [rows, cols]."""
        mode = MODE_VEC_INT * steps.integer | MODE_VEC_MASK * (steps.mask is not None) | MODE_VEC_RED_KEEP * steps.red_keep
        word = self._add(Op.VEC, mode=mode, counts=(rows, cols, 0), waits=waits, signals=signals, clips=clips)
        self._operands(word, a=a, b=steps.b.operand, c=steps.c.operand, d=d, e=steps.red_to)
        word["p"][0] = steps.alu1 | steps.lut << 8 | steps.alu2 << 16 | steps.red << 24
        word["p"][1] = steps.b.kind | steps.c.kind << 8
        word["p"][6] = steps.zero
        word["f"] = (steps.b.imm, steps.c.imm)
        if steps.mask is not None:
            self._mask(word, steps.mask, integer=steps.integer)

    def vperm(
        self, a: Operand, d: Operand, mode: Perm, *, rows: int, cols: int, waits: Sequence[Wait] = (), signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:  # fmt: skip
        """VPERM: transpose, rotate or copy a block."""
        word = self._add(Op.VPERM, mode=int(mode), counts=(rows, cols, 0), waits=waits, signals=signals, clips=clips)
        self._operands(word, a=a, d=d)

    def vgather(
        self, a: Operand, index: Operand, d: Operand, mode: GatherMode, *, rows: int, cols: int, limit: int,
        waits: Sequence[Wait] = (), signals: Sequence[int] = (), clips: Clips = _NO_CLIPS,
    ) -> None:  # fmt: skip
        """VGATHER: rows or elements by index."""
        word = self._add(Op.VGATHER, mode=int(mode), counts=(rows, cols, limit), waits=waits, signals=signals, clips=clips)
        self._operands(word, a=a, b=index, d=d)

    def call(self, number: int, *, waits: Sequence[Wait] = (), signals: Sequence[int] = ()) -> None:
        """CALL a host node."""
        self._add(Op.CALL, waits=waits, signals=signals)["p"][0] = number

    def _add(
        self, op: Op, *, mode: int = 0, counts: tuple[int, int, int] = (0, 0, 0), waits: Sequence[Wait] = (),
        signals: Sequence[int] = (), clips: Clips = _NO_CLIPS,
    ) -> np.void:  # fmt: skip
        if len(waits) > 2 or len(signals) > 2:
            raise ValueError(f"{op.name} has two waits and two signals; use SYNC for more")
        word: np.void = np.zeros((), WORD_DTYPE)[()]
        word["op"], word["mode"], word["n"] = op, mode, counts
        for slot, wait in enumerate(waits):
            word["wait"][2 * slot : 2 * slot + 2] = (wait.sem, wait.n)
        for slot, code in enumerate(signals):
            word["sig"][slot] = code
        for slot, clip in enumerate(clips):
            if clip is not None:
                word["clip"][0] |= 1 << slot
                word["clip"][1 + slot] = clip.areg | clip.scalar << 4
                word["lim"][slot] = clip.limit
        self._words.append(word)
        self._nodes.append(self.node)
        return word

    @staticmethod
    def _operands(word: np.void, **operands: Operand | None) -> None:
        for name, operand in operands.items():
            if operand is None:
                continue
            if not 0 <= operand.imm < 1 << 32 or not 0 <= operand.stride < 1 << 24:
                raise ValueError(f"operand {name}: offset {operand.imm} or stride {operand.stride} does not fit its field")
            word[name] = (operand.seg | operand.areg << 4 | operand.stride << 8, operand.imm)
            if name in "abcd":
                word["dt"] |= operand.dt << (4 * "abcd".index(name))

    @staticmethod
    def _mask(word: np.void, mask: Mask, *, integer: bool) -> None:
        word["p"][2:4] = (mask.lo, mask.hi)
        slopes = (mask.lo_slope & 255) | (mask.hi_slope & 255) << 8
        selectors = (mask.lo_areg | mask.lo_scalar << 4) << 16 | (mask.hi_areg | mask.hi_scalar << 4) << 24
        word["p"][4] = np.uint32(slopes | selectors).astype(np.int32)
        word["p"][5] = int(mask.fill) if integer else np.float32(mask.fill).view(np.int32)
