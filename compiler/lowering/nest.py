"""The loops of a tiled op over [outer…, rows, cols], shared by all cores: core split, tile loops, addresses and clips.

In:  the iteration shape, tile sizes, the chip.   Out: per queue the SETA and LOOP words, and for every tile a `Spot` that turns views into
operands and gives the clips of ragged edges.
Raises: CapacityError where a step between tiles does not fit a word's field.

Core c works on outer block (c div (gr·gc)) mod go, row block (c div gc) mod gr, column block c mod gc; cores beyond go·gr·gc get a row
index so large that every count clips to 0. Tiles alternate between two slots: the innermost tile loop is unrolled by two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How cores and tiles divide [outer…, rows, cols]. `axis` is the outer axis that cores share (-1: none)."""

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
        groups = (
            f"{self.outer_groups}x{self.row_groups}x{self.col_groups} cores (outer x rows x cols)"
        )
        return f"{groups}, tile {self.tile_rows}x{self.tile_cols}, {self.row_tiles}x{self.col_tiles} tiles a core"


def choose_split(
    shape: tuple[int, ...], cores: int, *, max_elems: int, lanes: int, whole_rows: bool
) -> Split:
    """Split [outer…, rows, cols] over `cores` with tiles of at most `max_elems` elements.

    `whole_rows`: a tile has whole rows (reductions). Raises: CapacityError if one row does not fit.
    """
    *outer, rows, cols = shape
    if whole_rows and cols > max_elems:
        raise CapacityError(
            f"a row of {cols} elements does not fit L1 ({max_elems})", where="lowering"
        )
    axis = max(range(len(outer)), key=lambda i: outer[i], default=-1)
    groups = 1
    if axis >= 0 and rows < cores:
        groups = max(d for d in range(1, min(outer[axis], cores) + 1) if outer[axis] % d == 0)
    else:
        axis = -1
    left = cores // groups
    row_groups = min(left, rows)
    tile_cols = cols
    col_groups = 1
    if not whole_rows:
        col_groups = max(1, min(left // row_groups, ceil_div(cols, lanes)))
        tile_cols = min(cols, max_elems, ceil_div(ceil_div(cols, col_groups), lanes) * lanes)
    per_core = ceil_div(rows, row_groups)
    tile_rows = max(1, min(per_core, max_elems // tile_cols))
    tile_rows = ceil_div(per_core, ceil_div(per_core, tile_rows))
    col_tiles = ceil_div(ceil_div(cols, tile_cols), col_groups)
    return Split(
        axis=axis,
        outer_groups=groups,
        row_groups=row_groups,
        col_groups=col_groups,
        tile_rows=tile_rows,
        tile_cols=tile_cols,
        row_tiles=ceil_div(per_core, tile_rows),
        col_tiles=col_tiles,
    )


@dataclass(frozen=True, slots=True)
class Spot:
    """One tile: which slot it uses and how far it lies from the loop's place (rows, cols, outer offsets in indices)."""

    nest: Nest
    slot: int
    row: int
    col: int
    outer: tuple[int, ...]

    def operand(self, segment: Seg, view: View, base: int) -> Operand:
        """The tile's first element in HBM; the stride is that between rows."""
        strides = view.strides
        at = base + view.offset + self.row * strides[-2] + self.col * strides[-1]
        at += sum(i * s for i, s in zip(self.outer, strides[:-2], strict=True))
        return Operand(segment, at, abs(strides[-2]), view.dt, self.nest.pattern(strides))

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
        """The areg that holds the place's offset for a view with these strides; 0 if it never moves."""
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

        `by_element`: column counts are clipped in elements (VECTOR, transposing loads), not only in bytes.
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
        if axis == len(self.shape) - 2:
            self._tiles(at, leaf)
            return
        count = self.shape[axis] // (self.split.outer_groups if axis == self.split.axis else 1)
        if count > 1 and self._even():
            steps = tuple((areg, key[axis]) for key, areg in self._patterns.items() if key[axis])
            self._loop(count, steps, lambda: self._outer(axis + 1, (*at, 0), leaf))
            return
        for i in range(count):
            self._outer(axis + 1, (*at, i), leaf)

    def _even(self) -> bool:
        return self.split.row_tiles > 1 or self.split.col_tiles > 1

    def _tiles(self, at: tuple[int, ...], leaf: Callable[[Spot], None]) -> None:
        split = self.split
        if split.row_tiles > 1:
            self._columns(
                lambda col: self._pairs(
                    split.row_tiles, True, lambda row: self._leaf(at, row, col, leaf)
                )
            )
        elif split.col_tiles > 1:
            self._pairs(split.col_tiles, False, lambda col: self._leaf(at, 0, col, leaf))
        else:
            self._leaf(at, 0, 0, leaf)

    def _columns(self, body: Callable[[int], None]) -> None:
        """Column tiles around row tiles."""
        split = self.split
        if split.col_tiles == 1:
            body(0)
            return
        self._loop(split.col_tiles, self._steps(rows=0, cols=split.tile_cols), lambda: body(0))

    def _pairs(self, count: int, along_rows: bool, body: Callable[[int], None]) -> None:  # noqa: FBT001
        size = self.split.tile_rows if along_rows else self.split.tile_cols
        steps = (
            self._steps(rows=2 * size, cols=0) if along_rows else self._steps(rows=0, cols=2 * size)
        )

        def two() -> None:
            body(0)
            body(size)

        self._loop(ceil_div(count, 2), steps, two)

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
        self.emitter.loop(self._queue, count, steps, body)

    def _leaf(
        self, outer: tuple[int, ...], row: int, col: int, leaf: Callable[[Spot], None]
    ) -> None:
        slot = self._uses % 2
        self._uses += 1
        leaf(Spot(self, slot, row, col, outer))
