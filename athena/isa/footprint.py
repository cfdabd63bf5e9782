"""Which bytes a word touches: its operands as strided blocks, from its counts and addresses.

In:  decoded words [k, COLUMNS], effective counts [k, 3], effective addresses [k, 6] (without the
     segment's base) and queue kinds [k]. Words with a count of 0 touch nothing.
Out: `Parts`, one entry an operand that is accessed; the one description of accesses that the
     verifier's bounds, alignment, bank and race rules read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athena.isa.fields import (
    DT_A,
    MODE,
    MODE_ACC_MASK,
    MODE_B_TRANS,
    MODE_VEC_RED_KEEP,
    OP,
    P0,
    P1,
    SEG_A,
    STRIDE_A,
    Acc,
    Dt,
    GatherMode,
    Kind,
    Op,
    Perm,
    Queue,
    Red,
)

Ints = NDArray[np.int64]
A, B, C, D, E = range(5)
SLOT_NAMES = ("a", "b", "c", "d", "e", "g")
_SIZE = np.zeros(16, np.int64)
_SIZE[[Dt.F32, Dt.I32]] = 4
_SIZE[[Dt.BF16, Dt.F16]] = 2
_SIZE[[Dt.I8, Dt.U8]] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Accessed operands; all arrays have one entry each. Bytes b, r of an entry start at
    `base + b * block_stride + r * stride` and are `row_bytes` long. `align`: bytes of an element.
    """

    word: Ints  # index into the words given
    slot: Ints  # 0 … 4: operand a … e
    write: NDArray[np.bool_]
    seg: Ints
    base: Ints
    blocks: Ints
    block_stride: Ints
    rows: Ints
    stride: Ints
    row_bytes: Ints
    align: Ints

    def block(self, entry: int) -> Ints:
        """One entry as a row of `athena.isa.race_kernel`, memory and queue left 0."""
        values = (0, 0, self.write[entry], self.base[entry], self.blocks[entry])
        shape = (self.rows[entry], self.stride[entry], self.row_bytes[entry])
        return np.array([*values, self.block_stride[entry], *shape], np.int64)

    def low(self) -> Ints:
        """First byte, counted from `base` (0 or negative)."""
        first: Ints = np.minimum(0, (self.blocks - 1) * self.block_stride)
        return first

    def high(self) -> Ints:
        """One past the last byte, counted from `base`."""
        reach = np.maximum(0, (self.blocks - 1) * self.block_stride)
        last: Ints = reach + (self.rows - 1) * self.stride + self.row_bytes
        return last


class _Collector:
    """Gathers the operands of the words of one op at a time."""

    def __init__(self, words: Ints, counts: Ints, addresses: Ints, kinds: Ints) -> None:
        self.words, self.counts, self.addresses, self.kinds = words, counts, addresses, kinds
        self.columns: list[list[Ints]] = []

    def add(  # noqa: PLR0913 - the parts of a strided block
        self,
        index: Ints,
        slot: int,
        *,
        write: bool = False,
        rows: Ints | int = 1,
        row_bytes: Ints | int,
        stride: Ints | int | None = None,
        blocks: Ints | int = 1,
        block_stride: Ints | int = 0,
        align: Ints | int = 1,
    ) -> None:
        """One operand of the words at `index`; the stride is the operand's own unless given."""
        if stride is None:
            stride = self.words[index, STRIDE_A + 4 * slot]
        seg = self.words[index, SEG_A + 4 * slot]
        base = self.addresses[index, slot]
        values = (index, slot, write, seg, base, blocks, block_stride, rows, stride, row_bytes)
        full = np.broadcast_arrays(*values, align)
        self.columns.append([np.asarray(value, np.int64) for value in full])

    def size(self, index: Ints, slot: int) -> Ints:
        """Element size of operand a … d."""
        sizes: Ints = _SIZE[self.words[index, DT_A + slot]]
        return sizes

    def parts(self) -> Parts:
        """Everything added."""
        if not self.columns:
            self.columns.append([np.empty(0, np.int64)] * 11)
        joined = [np.concatenate(column) for column in zip(*self.columns, strict=True)]
        word, slot, write, seg, base, blocks, block_stride, rows, stride, row_bytes, align = joined
        return Parts(
            word=word,
            slot=slot,
            write=write.astype(bool),
            seg=seg,
            base=base,
            blocks=blocks,
            block_stride=block_stride,
            rows=rows,
            stride=stride,
            row_bytes=row_bytes,
            align=align,
        )


def footprints(words: Ints, counts: Ints, addresses: Ints, kinds: Ints) -> Parts:
    """All operands that the words access."""
    out = _Collector(words, counts, addresses, kinds)
    for op, collect in _BY_OP.items():
        index = np.flatnonzero(words[:, OP] == op)
        if len(index):
            collect(out, index)
    return out.parts()


def _nonzero(out: _Collector, index: Ints, *which: int) -> Ints:
    return index[(out.counts[index][:, which] > 0).all(axis=1)]


def _copy(out: _Collector, index: Ints) -> None:
    i = _nonzero(out, index, 0, 1, 2)
    blocks, rows, row_bytes = out.counts[i].T
    for slot, column in ((A, P0), (D, P1)):
        stride = out.words[i, column]
        shape = {"rows": rows, "row_bytes": row_bytes, "blocks": blocks}
        out.add(i, slot, write=slot == D, block_stride=stride, **shape)


def _copyx(out: _Collector, index: Ints) -> None:
    i = _nonzero(out, index, 1, 2)
    limit, rows, row_bytes = out.counts[i].T
    out.add(i, B, row_bytes=4 * rows, align=4)
    gathers = out.kinds[i] == Queue.LOAD
    for mine, table, near in ((gathers, A, D), (~gathers, D, A)):
        pick = i[mine]
        pitch, size = out.words[pick, P0], row_bytes[mine]
        shape = {"rows": np.maximum(limit[mine], 1), "stride": pitch, "row_bytes": size}
        out.add(pick, table, write=table == D, **shape)
        out.add(pick, near, write=near == D, rows=rows[mine], row_bytes=size)


def _fill(out: _Collector, index: Ints) -> None:
    i = _nonzero(out, index, 1, 2)
    out.add(i, D, write=True, rows=out.counts[i, 1], row_bytes=out.counts[i, 2])


def _matmul(out: _Collector, index: Ints) -> None:
    i = _nonzero(out, index, 0, 1)
    mode = out.words[i, MODE]
    out.add(i, D, write=True, rows=out.counts[i, 0], row_bytes=4 * out.counts[i, 1], align=4)
    keep = i[mode & MODE_ACC_MASK == Acc.KEEP]
    out.add(keep, D, rows=out.counts[keep, 0], row_bytes=4 * out.counts[keep, 1], align=4)
    bias = i[mode & MODE_ACC_MASK == Acc.BIAS]
    out.add(bias, C, row_bytes=4 * out.counts[bias, 1], align=4)
    i = _nonzero(out, i, 2)
    m, n, k = out.counts[i].T
    a_size, b_size = out.size(i, A), out.size(i, B)
    out.add(i, A, rows=m, row_bytes=k * a_size, align=a_size)
    turned = out.words[i, MODE] & MODE_B_TRANS != 0
    rows, row = np.where(turned, n, k), np.where(turned, k, n)
    out.add(i, B, rows=rows, row_bytes=row * b_size, align=b_size)


def _vec(out: _Collector, index: Ints) -> None:
    i = _nonzero(out, index, 0, 1)
    rows, cols = out.counts[i, 0], out.counts[i, 1]
    size = out.size(i, A)
    out.add(i, A, rows=rows, row_bytes=cols * size, align=size)
    for slot, shift in ((B, 0), (C, 8)):
        kind = out.words[i, P1] >> shift & 255
        size = out.size(i, slot)
        tall, wide = np.isin(kind, (Kind.FULL, Kind.COL)), np.isin(kind, (Kind.FULL, Kind.ROW))
        used = tall | wide | (kind == Kind.SCALAR)
        height, width = np.where(tall, rows, 1), np.where(wide, cols, 1) * size
        out.add(i[used], slot, rows=height[used], row_bytes=width[used], align=size[used])
    size = out.size(i, D)
    used = size > 0
    out.add(
        i[used], D, write=True, rows=rows[used], row_bytes=(cols * size)[used], align=size[used]
    )
    used = out.words[i, P0] >> 24 & 255 != Red.NONE
    out.add(i[used], E, write=True, rows=rows[used], row_bytes=4, align=4)
    used &= out.words[i, MODE] & MODE_VEC_RED_KEEP != 0
    out.add(i[used], E, rows=rows[used], row_bytes=4, align=4)


def _vperm(out: _Collector, index: Ints) -> None:
    i = _nonzero(out, index, 0, 1)
    rows, cols = out.counts[i, 0], out.counts[i, 1]
    size = out.size(i, A)
    out.add(i, A, rows=rows, row_bytes=cols * size, align=size)
    turned = out.words[i, MODE] == Perm.TRANSPOSE
    tall, wide = np.where(turned, cols, rows), np.where(turned, rows, cols)
    out.add(i, D, write=True, rows=tall, row_bytes=wide * size, align=size)


def _vgather(out: _Collector, index: Ints) -> None:
    i = _nonzero(out, index, 0, 1)
    rows, cols, limit = out.counts[i].T
    whole = out.words[i, MODE] == GatherMode.ROWS
    size = out.size(i, A)
    tall, wide = np.where(whole, limit, rows), np.where(whole, cols, limit)
    some = limit > 0
    out.add(i[some], A, rows=tall[some], row_bytes=(wide * size)[some], align=size[some])
    tall, wide = np.where(whole, 1, rows), np.where(whole, rows, cols)
    out.add(i, B, rows=tall, row_bytes=4 * wide, align=4)
    out.add(i, D, write=True, rows=rows, row_bytes=cols * size, align=size)


def _vmxq(out: _Collector, index: Ints) -> None:
    i = _nonzero(out, index, 0, 1)
    rows, cols = out.counts[i, 0], out.counts[i, 1]
    size = out.size(i, A)
    out.add(i, A, rows=rows, row_bytes=cols * size, align=size)
    out.add(i, D, write=True, rows=rows, row_bytes=cols)
    out.add(i, E, write=True, rows=rows, row_bytes=4, align=4)


_BY_OP: dict[Op, Callable[[_Collector, Ints], None]] = {
    Op.COPY: _copy,
    Op.MCAST: _copy,
    Op.COPYX: _copyx,
    Op.FILL: _fill,
    Op.MATMUL: _matmul,
    Op.VEC: _vec,
    Op.VPERM: _vperm,
    Op.VGATHER: _vgather,
    Op.VMXQ: _vmxq,
}
