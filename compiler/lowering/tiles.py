"""L1 tiles of an op: what LOAD brings, how VECTOR reads it, and the list of VEC words of one tile.

In:  views broadcast to the iteration shape.   Out: `Tile`s with two slots each; `Script`, which
collects a tile's vector words and gives the first its waits and the last its signals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from athena.errors import CapacityError
from athena.isa.builder import Clip, Clips, Operand, Side, StreamBuilder, Vec, Wait
from athena.isa.cycles import ceil_div
from athena.isa.fields import Dt, Kind, Perm, Seg
from compiler.lowering.emitter import Arena
from compiler.lowering.nest import STRIDE_LIMIT, Split, Spot
from compiler.lowering.views import View

PITCH_ALIGN = 32
BLOCK_STRIDE_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows between main memory (`far`, `step` bytes apart, backwards if negative) and L1 (`near`).

    `blocks` of them lie `block_steps` (far, near) bytes apart. Clips: of rows, of bytes of a row,
    of blocks.
    """

    far: Operand
    step: int
    near: Operand
    rows: int
    row_bytes: int
    row_clip: Clip | None = None
    byte_clip: Clip | None = None
    blocks: int = 1
    block_steps: tuple[int, int] = (0, 0)
    block_clip: Clip | None = None

    def load(
        self, builder: StreamBuilder, waits: Sequence[Wait] = (), signals: Sequence[int] = ()
    ) -> None:
        """To L1. Raises: CapacityError where the steps fit no word."""
        self._copy(builder, waits, signals, to_far=False)

    def store(
        self, builder: StreamBuilder, waits: Sequence[Wait] = (), signals: Sequence[int] = ()
    ) -> None:
        """To main memory. Raises: CapacityError where the steps fit no word."""
        self._copy(builder, waits, signals, to_far=True)

    def _copy(
        self,
        builder: StreamBuilder,
        waits: Sequence[Wait],
        signals: Sequence[int],
        *,
        to_far: bool,
    ) -> None:
        plain = self if 0 <= self.step < STRIDE_LIMIT else self._as_blocks()
        if any(abs(step) >= BLOCK_STRIDE_LIMIT for step in plain.block_steps):
            raise CapacityError(
                f"rows lie {max(plain.block_steps, key=abs):,} bytes apart; "
                f"at most {BLOCK_STRIDE_LIMIT:,}",
                where="lowering",
            )
        far, near = replace(plain.far, stride=plain.step), plain.near
        order = 1 if not to_far else -1
        source, target = (far, near)[::order]
        blocks, rows = plain.block_steps[::order]
        builder.copy(
            source,
            target,
            rows=plain.rows,
            row_bytes=plain.row_bytes,
            blocks=plain.blocks,
            block_strides=(blocks, rows),
            waits=waits,
            signals=signals,
            clips=(plain.block_clip, plain.row_clip, plain.byte_clip),
        )

    def _as_blocks(self) -> Rows:
        """Each row a block of its own: the steps of blocks are signed and 32 bits wide."""
        if self.blocks != 1:
            raise CapacityError(
                f"rows lie {self.step:,} bytes apart in blocks; "
                f"at most {STRIDE_LIMIT:,} and forwards",
                where="lowering",
            )
        return replace(
            self,
            step=0,
            rows=1,
            row_clip=self.block_clip,
            blocks=self.rows,
            block_steps=(self.step, self.near.stride),
            block_clip=self.row_clip,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Two slots in L1 for one operand's tile. `kind`: whole tile, one row, one column or one
    element.
    """

    view: View
    kind: Kind
    rows: int
    cols: int
    pitch: int
    slots: tuple[int, int]

    def side(self, slot: int) -> Side:
        """As operand b or c of VEC."""
        return Side(self.kind, self.operand(slot))

    def operand(self, slot: int) -> Operand:
        """The slot in L1; the stride of a column is that between its elements."""
        return Operand(Seg.L1, self.slots[slot], self.pitch, self.view.dt)

    def place(self, spot: Spot, segment: Seg, base: int) -> Rows:
        """Give the tile's rows in main memory and in its slot."""
        clipped_rows = self.kind in (Kind.FULL, Kind.COL)
        clipped_cols = self.kind in (Kind.FULL, Kind.ROW)
        return Rows(
            far=spot.operand(segment, self.view, base),
            step=self.view.strides[-2] if self.rows > 1 else 0,
            near=self.operand(spot.slot),
            rows=self.rows,
            row_bytes=self.cols * self.view.esize,
            row_clip=spot.rows() if clipped_rows else None,
            byte_clip=spot.col_bytes(self.view.esize) if clipped_cols else None,
        )

    def load(  # noqa: PLR0913
        self,
        builder: StreamBuilder,
        spot: Spot,
        segment: Seg,
        base: int,
        *,
        waits: Sequence[Wait] = (),
        signals: Sequence[int] = (),
    ) -> None:
        """The LOAD of this tile from `base` in `segment`."""
        self.place(spot, segment, base).load(builder, waits, signals)


def kind_of(view: View, shape: tuple[int, ...]) -> Kind:
    """How a view that is broadcast to `shape` looks in one tile."""
    rows = view.strides[-2] != 0 or shape[-2] == 1
    cols = view.strides[-1] != 0 or shape[-1] == 1
    if rows:
        return Kind.FULL if cols else Kind.COL
    return Kind.ROW if cols else Kind.SCALAR


def tile_bytes(kind: Kind, esize: int, split: Split) -> int:
    """Bytes of one slot."""
    rows = split.tile_rows if kind in (Kind.FULL, Kind.COL) else 1
    cols = split.tile_cols if kind in (Kind.FULL, Kind.ROW) else 1
    return rows * pitch_of(kind, cols, esize) + PITCH_ALIGN


def pitch_of(kind: Kind, cols: int, esize: int) -> int:
    """Bytes between the rows of a slot."""
    return esize if kind is Kind.COL else ceil_div(cols * esize, PITCH_ALIGN) * PITCH_ALIGN


def make_tile(view: View, kind: Kind, split: Split, arena: Arena) -> Tile:
    """Slots for `view` in the op's L1."""
    rows = split.tile_rows if kind in (Kind.FULL, Kind.COL) else 1
    cols = split.tile_cols if kind in (Kind.FULL, Kind.ROW) else 1
    size = tile_bytes(kind, view.esize, split)
    return Tile(
        view=view,
        kind=kind,
        rows=rows,
        cols=cols,
        pitch=pitch_of(kind, cols, view.esize),
        slots=(arena.take(size), arena.take(size)),
    )


@dataclass(slots=True)
class Script:
    """The vector words of one tile, in order."""

    builder: StreamBuilder
    spot: Spot
    rows: int
    cols: int
    _words: list[Callable[[Sequence[Wait], Sequence[int]], None]] = field(default_factory=list)

    def vec(self, a: Operand, d: Operand | None, steps: Vec, *, acc_rows: bool = True) -> None:
        """VEC over the tile's rows and columns."""
        clips: Clips = (self.spot.rows() if acc_rows else None, self.spot.cols(), None)
        self._words.append(
            lambda waits, signals: self.builder.vec(
                a,
                d,
                steps,
                rows=self.rows,
                cols=self.cols,
                waits=waits,
                signals=signals,
                clips=clips,
            )
        )

    def column(self, a: Operand, d: Operand, steps: Vec) -> None:
        """VEC over a packed fp32 column of the tile, laid out as one row of `rows` elements."""
        clip = self.spot.rows()
        across: Clips = (None, clip, None)
        self._words.append(
            lambda waits, signals: self.builder.vec(
                a, d, steps, rows=1, cols=self.rows, waits=waits, signals=signals, clips=across
            )
        )

    def perm(
        self, a: Operand, d: Operand, mode: Perm, *, rows: int, cols: int, clips: Clips
    ) -> None:
        """VPERM."""
        self._words.append(
            lambda waits, signals: self.builder.vperm(
                a, d, mode, rows=rows, cols=cols, waits=waits, signals=signals, clips=clips
            )
        )

    def emit(self, waits: Sequence[Wait], signals: Sequence[int]) -> None:
        """Write the words: waits on the first, signals on the last."""
        last = len(self._words) - 1
        for i, word in enumerate(self._words):
            word(waits if i == 0 else (), signals if i == last else ())


def column(at: int) -> Side:
    """A packed fp32 column in L1 as operand of VEC."""
    return Side(Kind.COL, Operand(Seg.L1, at, 4, Dt.F32))


def column_operand(at: int) -> Operand:
    """The same as first operand, result or side output; stride 4."""
    return Operand(Seg.L1, at, 4, Dt.F32)
