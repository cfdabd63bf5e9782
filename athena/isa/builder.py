"""Build words one by one: the one place that knows how operands, signals and clips are packed.

In:  Python values. Out: `StreamBuilder.stream()`; kernels of a few words need nothing else.
Raises: ValueError for values that do not fit their field (FieldError for sizes and offsets).

>>> from athena.isa.fields import Seg
>>> b = StreamBuilder()
>>> b.load(hbm(Seg.INPUT, 0, stride=64), l1(0, stride=64), rows=4, row_bytes=64)
>>> b.end()
>>> len(b.stream().words)
2
"""

# ruff: noqa: PLR0913 - a word has as many fields as it has

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from athena.isa.fields import (
    MODE_B_TRANS,
    MODE_SETA_SHIFT,
    MODE_VEC_INT,
    MODE_VEC_MASK,
    MODE_VEC_RED_KEEP,
    WORD_DTYPE,
    Acc,
    GatherMode,
    Op,
    Perm,
    QuantMode,
)
from athena.isa.operand import (
    Clip,
    FieldError,
    Mask,
    Operand,
    Side,
    Vec,
    Wait,
    acc,
    hbm,
    imm,
    l1,
    l2,
    nibble,
    put_parameters,
    put_signed,
    self_sem,
)
from athena.isa.program import Stream

__all__ = [
    "Clip",
    "Clips",
    "Mask",
    "Operand",
    "Side",
    "StreamBuilder",
    "Vec",
    "Wait",
    "acc",
    "hbm",
    "imm",
    "l1",
    "l2",
    "self_sem",
]

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

    def mark(self) -> int:
        """The place reached, for `rewind` and `depth`."""
        return len(self._words)

    def rewind(self, mark: int) -> None:
        """Forget the words added after `mark`."""
        del self._words[mark:], self._nodes[mark:]

    def depth(self, start: int) -> int:
        """Levels of loops among the words from `start` on."""
        deepest, ends = 0, list[int]()
        for at, word in enumerate(self._words[start:], start):
            ends = [end for end in ends if end >= at]
            if word["op"] == Op.LOOP:
                ends.append(at + int(word["n"][1]))
                deepest = max(deepest, len(ends))
        return deepest

    def end(self, *, waits: Sequence[Wait] = (), signals: Sequence[int] = ()) -> None:
        """END."""
        self._add(Op.END, waits=waits, signals=signals)

    def sync(self, *, waits: Sequence[Wait] = (), signals: Sequence[int] = ()) -> None:
        """SYNC with up to four waits and four signals."""
        word = self._add(Op.SYNC, waits=waits[:2], signals=signals[:2])
        for slot, wait in enumerate(waits[2:4]):
            put_parameters(word, slot, wait.sem | wait.n << 8)
        for slot, code in enumerate(signals[2:4]):
            put_parameters(word, 2 + slot, code)
        if len(waits) > 4 or len(signals) > 4:
            raise ValueError("SYNC has four waits and four signals")

    @contextmanager
    def loop(self, count: int, *steps: tuple[int, int], clip: Clip | None = None) -> Iterator[None]:
        """LOOP over what the `with` body adds; `steps` are (areg, delta)."""
        word = self._add(Op.LOOP, counts=(count, 0, 0), clips=(clip, None, None))
        start = len(self._words)
        if len(steps) > 4:
            raise ValueError("LOOP advances four aregs at most")
        for slot, (areg, delta) in enumerate(steps):
            put_signed(word, slot, delta)
            word["p"][4] |= nibble(areg) << (4 * slot)
        yield
        word["n"][1] = len(self._words) - start

    def seta(
        self,
        areg: int,
        value: int = 0,
        *,
        mult: int = 0,
        scalar: int = 0,
        div: int = 1,
        mod: int = 0,
        add: int = 0,
        shift: bool = False,
    ) -> None:
        """SETA: areg = value + ((S[scalar] div div) mod mod) * mult + areg[add]."""
        word = self._add(Op.SETA, mode=MODE_SETA_SHIFT if shift else 0, counts=(div, mod, add))
        if not -(1 << 47) <= value < 1 << 47:
            raise FieldError(f"SETA: {value} does not fit 48 bits")
        put_parameters(word, 0, areg, value & 0xFFFFFFFF, value >> 32, 0, scalar)
        put_signed(word, 3, mult)

    def copy(
        self,
        src: Operand,
        dst: Operand,
        *,
        rows: int,
        row_bytes: int,
        blocks: int = 1,
        block_strides: tuple[int, int] = (0, 0),
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """COPY on whichever DMA queue runs the stream."""
        word = self._add(
            Op.COPY, counts=(blocks, rows, row_bytes), waits=waits, signals=signals, clips=clips
        )
        self._operands(word, a=src, d=dst)
        put_signed(word, 0, *block_strides)

    load = copy
    store = copy

    def mcast(
        self,
        src: Operand,
        dst: Operand,
        *,
        rows: int,
        row_bytes: int,
        mask_areg: int,
        blocks: int = 1,
        block_strides: tuple[int, int] = (0, 0),
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """MCAST: one read written to the L2 slices in the mask."""
        word = self._add(
            Op.MCAST, counts=(blocks, rows, row_bytes), waits=waits, signals=signals, clips=clips
        )
        self._operands(word, a=src, d=dst)
        put_signed(word, 0, *block_strides, mask_areg)

    def copyx(
        self,
        src: Operand,
        dst: Operand,
        index: Operand,
        *,
        limit: int,
        rows: int,
        row_bytes: int,
        pitch: int,
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """COPYX: gather (LOAD) or scatter (STORE) rows by index."""
        word = self._add(
            Op.COPYX, counts=(limit, rows, row_bytes), waits=waits, signals=signals, clips=clips
        )
        self._operands(word, a=src, b=index, d=dst)
        put_parameters(word, 0, pitch)

    def fill(
        self,
        dst: Operand,
        *,
        rows: int,
        row_bytes: int,
        value: int = 0,
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """FILL rows in L1 with a 32-bit pattern."""
        word = self._add(
            Op.FILL, counts=(1, rows, row_bytes), waits=waits, signals=signals, clips=clips
        )
        self._operands(word, d=dst)
        put_parameters(word, 0, value)

    def matmul(
        self,
        a: Operand,
        b: Operand,
        d: Operand,
        *,
        m: int,
        n: int,
        k: int,
        start: Acc = Acc.ZERO,
        bias: Operand | None = None,
        b_trans: bool = False,
        zeros: tuple[int, int] = (0, 0),
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """MATMUL D[m, n] = start + A[m, k] · B."""
        mode = int(start) | (MODE_B_TRANS if b_trans else 0)
        word = self._add(
            Op.MATMUL, mode=mode, counts=(m, n, k), waits=waits, signals=signals, clips=clips
        )
        self._operands(word, a=a, b=b, c=bias, d=d)
        put_parameters(word, 0, *zeros)

    def vec(
        self,
        a: Operand,
        d: Operand | None,
        steps: Vec,
        *,
        rows: int,
        cols: int,
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """VEC over [rows, cols]."""
        mode = (
            MODE_VEC_INT * steps.integer
            | MODE_VEC_MASK * (steps.mask is not None)
            | MODE_VEC_RED_KEEP * steps.red_keep
        )
        word = self._add(
            Op.VEC, mode=mode, counts=(rows, cols, 0), waits=waits, signals=signals, clips=clips
        )
        self._operands(word, a=a, b=steps.b.operand, c=steps.c.operand, d=d, e=steps.red_to)
        codes = steps.alu1 | steps.lut << 8 | steps.alu2 << 16 | steps.red << 24
        put_parameters(word, 0, codes, steps.b.kind | steps.c.kind << 8)
        put_parameters(word, 6, steps.zero)
        word["f"] = (steps.b.imm, steps.c.imm)
        if steps.mask is not None:
            self._mask(word, steps.mask, integer=steps.integer)

    def vperm(
        self,
        a: Operand,
        d: Operand,
        mode: Perm,
        *,
        rows: int,
        cols: int,
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """VPERM: transpose, rotate or copy a block."""
        word = self._add(
            Op.VPERM,
            mode=int(mode),
            counts=(rows, cols, 0),
            waits=waits,
            signals=signals,
            clips=clips,
        )
        self._operands(word, a=a, d=d)

    def vgather(
        self,
        a: Operand,
        index: Operand,
        d: Operand,
        mode: GatherMode,
        *,
        rows: int,
        cols: int,
        limit: int,
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """VGATHER: rows or elements by index."""
        word = self._add(
            Op.VGATHER,
            mode=int(mode),
            counts=(rows, cols, limit),
            waits=waits,
            signals=signals,
            clips=clips,
        )
        self._operands(word, a=a, b=index, d=d)

    def vmxq(
        self,
        a: Operand,
        d: Operand,
        scales: Operand,
        mode: QuantMode = QuantMode.ROW_INT8,
        *,
        rows: int,
        cols: int,
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> None:
        """VMXQ: quantise each row by its own largest value; the scales go to operand e."""
        word = self._add(
            Op.VMXQ,
            mode=int(mode),
            counts=(rows, cols, 0),
            waits=waits,
            signals=signals,
            clips=clips,
        )
        self._operands(word, a=a, d=d, e=scales)

    def call(self, number: int, *, waits: Sequence[Wait] = (), signals: Sequence[int] = ()) -> None:
        """CALL a host node."""
        put_parameters(self._add(Op.CALL, waits=waits, signals=signals), 0, number)

    def _add(
        self,
        op: Op,
        *,
        mode: int = 0,
        counts: tuple[int, int, int] = (0, 0, 0),
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
        clips: Clips = _NO_CLIPS,
    ) -> np.void:
        if len(waits) > 2 or len(signals) > 2:
            raise ValueError(f"{op.name} has two waits and two signals; use SYNC for more")
        word: np.void = np.zeros(1, WORD_DTYPE)[0]
        try:
            word["op"], word["mode"], word["n"] = op, mode, counts
            for slot, wait in enumerate(waits):
                word["wait"][2 * slot : 2 * slot + 2] = (wait.sem, wait.n)
            for slot, code in enumerate(signals):
                word["sig"][slot] = code
            for slot, clip in enumerate(clips):
                if clip is not None:
                    word["clip"][0] |= 1 << slot
                    word["clip"][1 + slot] = nibble(clip.areg) | nibble(clip.scalar) << 4
                    word["lim"][slot] = clip.limit
        except OverflowError as error:
            raise FieldError(f"{op.name}: a count, wait, signal or clip: {error}") from None
        self._words.append(word)
        self._nodes.append(self.node)
        return word

    def _operands(self, word: np.void, **operands: Operand | None) -> None:
        for name, operand in operands.items():
            if operand is None:
                continue
            if not 0 <= operand.imm < 1 << 32 or not 0 <= operand.stride < 1 << 24:
                raise FieldError(
                    f"operand {name}: offset {operand.imm} or stride {operand.stride} "
                    "does not fit its field"
                )
            low = operand.seg | nibble(operand.areg) << 4 | operand.stride << 8
            word[name] = (low, operand.imm)
            if name in "abcd":
                word["dt"] |= operand.dt << (4 * "abcd".index(name))

    @staticmethod
    def _mask(word: np.void, mask: Mask, *, integer: bool) -> None:
        slopes = (mask.lo_slope & 255) | (mask.hi_slope & 255) << 8
        low = nibble(mask.lo_areg) | nibble(mask.lo_scalar) << 4
        high = nibble(mask.hi_areg) | nibble(mask.hi_scalar) << 4
        if integer and not float(mask.fill).is_integer():
            raise ValueError(f"integer VEC: the mask's fill is {mask.fill}")
        fill = int(mask.fill) if integer else int(np.float32(mask.fill).view(np.uint32))
        put_parameters(word, 2, mask.lo, mask.hi, slopes | low << 16 | high << 24, fill)
