"""The loops of a tiled op over [outer…, rows, cols], shared by all cores: core split, tile loops,
addresses and clips.

In:  the iteration shape, tile sizes, the chip.   Out: per queue the SETA and LOOP words, and for
every tile a `Spot` that turns views into operands and gives the clips of ragged edges.
Raises: CapacityError where a step between tiles does not fit a word's field.

Core c works on outer block (c div (gr·gc)) mod go, row block (c div gc) mod gr, column block c mod
gc; cores beyond go·gr·gc get a row index so large that every count clips to 0. Tiles alternate
between two slots: the innermost tile loop is unrolled by two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from athena.errors import CapacityError
from athena.isa.builder import Clip, Operand
from athena.isa.cycles import ceil_div
from athena.isa.fields import S_CORE, Queue, Seg
from compiler.lowering.emitter import BIG_INDEX, Emitter
from compiler.lowering.views import View

ROW_INDEX = 1
COL_INDEX = {1: 2, 2: 3, 4: 4}  # by bytes of an element
ROW_BYTES_INDEX = {1: 1, 2: 5, 4: 6}
FIRST_PATTERN = 7
LAST_PATTERN = 15
MULT_LIMIT = 1 << 31
STRIDE_LIMIT = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How cores and tiles divide [outer…, rows, cols]. `axis` is the outer axis that cores share
    (-1: none).

    Along the axis whose tiles alternate between slots (rows where they are cut, else columns) a
    core has one tile or an even number of them.
    """

    axis: int
    outer_groups: int
    row_groups: int
    col_groups: int
    tile_rows: int
    tile_cols: int
    row_tiles: int  # of one core
    col_tiles: int

    def describe(self) -> str:
        """One line for `--explain`."""
        return (
            f"{self.outer_groups}x{self.row_groups}x{self.col_groups} cores "
            f"(outer x rows x cols), tile {self.tile_rows}x{self.tile_cols}, "
            f"{self.row_tiles}x{self.col_tiles} tiles a core"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLimit:
    """Largest tile: `elems` elements, and `rows` and `cols` where they are bounded."""

    elems: int
    rows: int | None = None
    cols: int | None = None
    whole_rows: bool = False  # a tile has whole rows (reductions)


def choose_split(shape: tuple[int, ...], cores: int, lanes: int, limit: TileLimit) -> Split:
    """Split [outer…, rows, cols] over `cores`. Raises: CapacityError if a whole row is wanted and
    does not fit.
    """
    *outer, rows, cols = shape
    if limit.whole_rows and cols > limit.elems:
        raise CapacityError(
            f"a row of {cols} elements does not fit L1 (at most {max(limit.elems, 0)})",
            where="lowering",
        )
    axis = max(range(len(outer)), key=lambda i: outer[i], default=-1)
    groups = 1
    if axis >= 0 and rows < cores:
        groups = max(d for d in range(1, min(outer[axis], cores) + 1) if outer[axis] % d == 0)
    if groups == 1:
        axis = -1
    left = cores // groups
    row_groups = min(left, rows)
    col_groups = 1 if limit.whole_rows else min(left // row_groups, ceil_div(cols, lanes))
    return _tiles((rows, cols), (axis, groups, row_groups, max(col_groups, 1)), lanes, limit)


def _tiles(
    size: tuple[int, int], groups: tuple[int, int, int, int], lanes: int, limit: TileLimit
) -> Split:
    """Tiles of a core; groups of cores that are left without work are dropped."""
    (rows, cols), (axis, outer_groups, row_groups, col_groups) = size, groups
    elems = max(limit.elems, 1)
    widest = cols if limit.whole_rows else min(elems, limit.cols or cols)
    per_core = ceil_div(rows, row_groups)
    tile_cols, col_tiles = cols, 1
    if not limit.whole_rows:
        tile_cols, col_tiles = _cut(ceil_div(cols, col_groups), widest, lanes)
    tile_rows, row_tiles = _cut(per_core, min(elems // tile_cols, limit.rows or rows), 1)
    if row_tiles == 1 and col_tiles > 1:
        tile_cols, col_tiles = _cut(ceil_div(cols, col_groups), widest, lanes, even=True)
    if row_tiles > 1:
        tile_rows, row_tiles = _cut(per_core, tile_rows, 1, even=True)
    return Split(
        axis=axis,
        outer_groups=outer_groups,
        row_groups=ceil_div(rows, tile_rows * row_tiles),
        col_groups=ceil_div(cols, tile_cols * col_tiles),
        tile_rows=tile_rows,
        tile_cols=tile_cols,
        row_tiles=row_tiles,
        col_tiles=col_tiles,
    )


def _cut(size: int, limit: int, unit: int, *, even: bool = False) -> tuple[int, int]:
    """(tile, tiles): tiles of at most `limit` (at least 1) that cover `size`, multiples of `unit`
    where that fits.
    """
    limit = max(limit, 1)
    if limit >= unit:
        limit -= limit % unit
    else:
        unit = 1
    tiles = ceil_div(size, limit)
    if even and tiles > 1:
        tiles += tiles % 2
    tile = ceil_div(ceil_div(size, tiles), unit) * unit
    tiles = ceil_div(size, tile)
    if even and tiles > 1:
        tiles += tiles % 2
    return min(tile, size) if tiles == 1 else tile, tiles


class Walked(Protocol):
    """What a tile asks of the loops that it lies in."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of the loops."""

    def pattern(self, strides: tuple[int, ...]) -> int:
        """Areg that walks a view with these strides, 0 if it never moves."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One tile: which slot it uses and how far it lies from the loop's place (rows, cols, outer
    offsets in indices).
    """

    nest: Walked
    slot: int
    row: int
    col: int
    outer: tuple[int, ...]

    def operand(self, segment: Seg, view: View, base: int) -> Operand:
        """The tile's first element in HBM; the stride is that between rows, 0 where no operand can
        hold it (see `tiles.Rows`).
        """
        strides = view.strides
        at = base + view.offset + self.row * strides[-2] + self.col * strides[-1]
        at += sum(i * s for i, s in zip(self.outer, strides[:-2], strict=True))
        stride = strides[-2] if 0 <= strides[-2] < STRIDE_LIMIT else 0
        return Operand(segment, at, stride, view.dt, self.nest.pattern(strides))

    def rows(self) -> Clip:
        """Clip of a row count."""
        return Clip(self.nest.shape[-2] - self.row, ROW_INDEX)

    def cols(self) -> Clip:
        """Clip of a column count."""
        return Clip(self.nest.shape[-1] - self.col, COL_INDEX[1])

    def col_bytes(self, esize: int) -> Clip:
        """Clip of bytes along the columns."""
        return Clip((self.nest.shape[-1] - self.col) * esize, COL_INDEX[esize])

    def row_bytes(self, esize: int) -> Clip:
        """Clip of bytes along the rows (transposing loads)."""
        return Clip((self.nest.shape[-2] - self.row) * esize, ROW_BYTES_INDEX[esize])


@dataclass(slots=True)
class Nest:
    """Loops of one op; `walk` emits one queue's words around a leaf function."""

    emitter: Emitter
    shape: tuple[int, ...]
    split: Split
    transposed: bool = False
    _scales: tuple[int, ...] = (1,)
    _patterns: dict[tuple[int, ...], int] = field(default_factory=dict)
    _uses: int = 0
    _queue: Queue = Queue.LOAD

    def pattern(self, strides: tuple[int, ...]) -> int:
        """The areg that holds the place's offset for a view with these strides; 0 if it never
        moves.
        """
        key = tuple(s if n > 1 else 0 for s, n in zip(strides, self.shape, strict=True))
        return self._patterns.get(key, 0)

    def walk(
        self,
        queue: Queue,
        views: tuple[View, ...],
        leaf: Callable[[Spot], None],
        *,
        by_element: bool = False,
    ) -> None:
        """Set the aregs that `views` need on `queue`, then loop over the core's tiles.

        `by_element`: column counts are clipped in elements (VECTOR, transposing loads), not only in
        bytes.
        """
        self._queue, self._uses = queue, 0
        elements = {1} if by_element else set()
        self._scales = tuple(sorted(elements | {v.esize for v in views}))
        self._prepare(views)
        self._outer(0, (), leaf)

    # --- registers

    def _prepare(self, views: tuple[View, ...]) -> None:
        split, builder = self.split, self.emitter.streams[self._queue]
        rows, cols = split.row_tiles * split.tile_rows, split.col_tiles * split.tile_cols
        used = split.row_groups * split.col_groups * split.outer_groups
        for scale in self._row_scales():
            areg = ROW_BYTES_INDEX[scale]
            self._seta(areg, rows * scale, split.col_groups, split.row_groups, 0)
            if self.emitter.chip.cores > used:
                builder.seta(areg, mult=BIG_INDEX, scalar=S_CORE, div=used, add=areg)
        for scale in self._scales:
            self._seta(COL_INDEX[scale], cols * scale, 1, split.col_groups, 0)
        self._patterns = {}
        for view in views:
            key = tuple(s if n > 1 else 0 for s, n in zip(view.strides, self.shape, strict=True))
            if any(key) and key not in self._patterns:
                areg = FIRST_PATTERN + len(self._patterns)
                if areg > LAST_PATTERN:
                    raise CapacityError(
                        "an op walks more than nine different stride patterns", where="lowering"
                    )
                self._patterns[key] = areg
                self._pattern_start(areg, key, rows, cols)

    def _pattern_start(self, areg: int, key: tuple[int, ...], rows: int, cols: int) -> None:
        split = self.split
        self._seta(areg, rows * key[-2], split.col_groups, split.row_groups, 0)
        if split.col_groups > 1 and key[-1]:
            self._seta(areg, cols * key[-1], 1, split.col_groups, areg)
        if split.axis >= 0 and key[split.axis]:
            block = self.shape[split.axis] // split.outer_groups
            self._seta(
                areg,
                block * key[split.axis],
                split.row_groups * split.col_groups,
                split.outer_groups,
                areg,
            )

    def _seta(self, areg: int, mult: int, div: int, mod: int, add: int) -> None:
        if abs(mult) >= MULT_LIMIT:
            raise CapacityError(
                f"cores lie {mult:,} bytes apart; at most {MULT_LIMIT:,}", where="lowering"
            )
        builder = self.emitter.streams[self._queue]
        builder.seta(areg, mult=0 if mod == 1 else mult, scalar=S_CORE, div=div, mod=mod, add=add)

    def _row_scales(self) -> tuple[int, ...]:
        return tuple(sorted({1, *self._scales})) if self.transposed else (1,)

    # --- loops

    def _outer(self, axis: int, at: tuple[int, ...], leaf: Callable[[Spot], None]) -> None:
        """Loops over outer axis `axis` and those behind it; slots alternate from one tile to the
        next.
        """
        if axis == len(self.shape) - 2:
            self._tiles(at, leaf)
            return
        count = self._count(axis)
        steps = tuple((areg, key[axis]) for key, areg in self._patterns.items() if key[axis])

        def body(index: int) -> None:
            self._outer(axis + 1, (*at, index), leaf)

        if count == 1:
            body(0)
        elif self._is_even(axis + 1):
            self._loop(count, steps, lambda: body(0))
        else:
            self._two_by_two(count, steps, body)

    def _two_by_two(
        self, count: int, steps: tuple[tuple[int, int], ...], body: Callable[[int], None]
    ) -> None:
        """A loop with two iterations in its body, and the odd one behind it."""

        def two() -> None:
            body(0)
            body(1)

        self._loop(count // 2, tuple((areg, 2 * delta) for areg, delta in steps), two)
        if count % 2:
            body(count - 1)

    def _count(self, axis: int) -> int:
        return self.shape[axis] // (self.split.outer_groups if axis == self.split.axis else 1)

    def _is_even(self, axis: int) -> bool:
        """Whether the axes from `axis` on have an even number of tiles."""
        if self.split.row_tiles > 1 or self.split.col_tiles > 1:
            return True
        return any(self._count(a) % 2 == 0 for a in range(axis, len(self.shape) - 2))

    def _tiles(self, at: tuple[int, ...], leaf: Callable[[Spot], None]) -> None:
        split = self.split
        if split.row_tiles > 1:
            rows = split.row_tiles
            self._columns(
                lambda: self._pairs(rows, lambda row: self._leaf(at, row, 0, leaf), along_rows=True)
            )
        elif split.col_tiles > 1:
            cols = split.col_tiles
            self._pairs(cols, lambda col: self._leaf(at, 0, col, leaf), along_rows=False)
        else:
            self._leaf(at, 0, 0, leaf)

    def _columns(self, body: Callable[[], None]) -> None:
        """Column tiles around row tiles."""
        split = self.split
        self._loop(split.col_tiles, self._steps(rows=0, cols=split.tile_cols), body)

    def _pairs(self, count: int, body: Callable[[int], None], *, along_rows: bool) -> None:
        size = self.split.tile_rows if along_rows else self.split.tile_cols
        steps = (
            self._steps(rows=2 * size, cols=0) if along_rows else self._steps(rows=0, cols=2 * size)
        )

        def two() -> None:
            body(0)
            body(size)

        self._loop(count // 2, steps, two)

    def _steps(self, *, rows: int, cols: int) -> tuple[tuple[int, int], ...]:
        steps = [(areg, rows * key[-2] + cols * key[-1]) for key, areg in self._patterns.items()]
        if rows:
            steps += [(ROW_BYTES_INDEX[scale], rows * scale) for scale in self._row_scales()]
        if cols:
            steps += [(COL_INDEX[scale], cols * scale) for scale in self._scales]
        return tuple((areg, delta) for areg, delta in steps if delta)

    def _loop(
        self, count: int, steps: tuple[tuple[int, int], ...], body: Callable[[], None]
    ) -> None:
        far = max((abs(delta) for _, delta in steps), default=0)
        if far >= MULT_LIMIT and count > 1:
            raise CapacityError(
                f"tiles lie {far:,} bytes apart; at most {MULT_LIMIT:,}", where="lowering"
            )
        self.emitter.loop(self._queue, count, steps, body)

    def _leaf(
        self, outer: tuple[int, ...], row: int, col: int, leaf: Callable[[Spot], None]
    ) -> None:
        slot = self._uses % 2
        self._uses += 1
        leaf(Spot(self, slot, row, col, outer))
