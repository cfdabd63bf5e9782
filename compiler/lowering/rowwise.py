"""Ops on tiles of rows: elementwise chains, normalisation, softmax, reduction, rotary embedding,
quantisation, gather.

In:  a `PlanStep` whose views are broadcast to one iteration shape.   Out: words on LOAD, VECTOR and
STORE; the chosen split as text.
Raises: CapacityError where a row does not fit L1, UnsupportedOpError where a form has no words.

All of them are one pipeline: LOAD brings a tile of every operand, VECTOR runs the op's script over
it, STORE takes the result away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from athena.errors import CapacityError
from athena.isa.builder import Operand, Wait, self_sem
from athena.isa.fields import Dt, Kind, Queue, Seg
from compiler.lowering.emitter import Arena, Emitter, Sem
from compiler.lowering.nest import Nest, Split, Spot, TileLimit, choose_split
from compiler.lowering.plan import Buffer, PlanStep
from compiler.lowering.tiles import Script, Tile, kind_of, make_tile, pitch_of, tile_bytes
from compiler.lowering.views import View, collapse

L1_USED_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOp:
    """One rowwise op ready to be tiled.

    `shape` [outer…, rows, cols] is the iteration space, `out` the result's view on it (last axis 1
    for reductions). `temps` fp32 tiles and `columns` fp32 columns are scratch for `script(tools,
    spot)`.
    """

    shape: tuple[int, ...]
    ins: tuple[View, ...]
    out: View
    whole_rows: bool
    temps: int
    columns: int
    script: Callable[[Tools, Spot], Script]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a script works with: tiles of operands and result, scratch tiles and columns."""

    emitter: Emitter
    split: Split
    ins: tuple[Tile, ...]
    out: Tile
    temps: tuple[int, ...]
    columns: tuple[int, ...]

    def script(self, spot: Spot) -> Script:
        """An empty script for the tile at `spot`."""
        return Script(self.emitter.vector, spot, self.split.tile_rows, self.split.tile_cols)

    def temp(self, number: int, dt: Dt = Dt.F32) -> Operand:
        """Scratch tile `number` (4 bytes an element)."""
        return Operand(Seg.L1, self.temps[number], pitch_of(Kind.FULL, self.split.tile_cols, 4), dt)


def joint(
    shape: tuple[int, ...], views: tuple[View, ...], *, keep_cols: bool
) -> tuple[tuple[int, ...], tuple[View, ...]]:
    """`views` (all of `shape`, or with last axis 1) with merged axes, at least [rows, cols].

    `keep_cols`: the last axis stays as it is; otherwise it may merge with those before it. The
    outer axes are ordered by size: of loops that do not nest deep enough the outermost is written
    out.
    """
    if not shape:
        shape, views = (1,), tuple(replace(v, shape=(1,), strides=(0,)) for v in views)
    if keep_cols:
        lead, steps = collapse(shape[:-1], tuple(v.strides[:-1] for v in views))
        full = (*lead, shape[-1])
        strides = tuple((*s, v.strides[-1]) for s, v in zip(steps, views, strict=True))
    else:
        full, strides = collapse(shape, tuple(v.strides for v in views))
        if any(s[-1] not in (0, v.esize) for s, v in zip(strides, views, strict=True)):
            full = (*full, 1)  # no neighbours in memory: rows of one element
            strides = tuple((*s, v.esize) for s, v in zip(strides, views, strict=True))
        if len(full) == 1:
            full, strides = (1, *full), tuple((0, *s) for s in strides)
    order = (*sorted(range(len(full) - 2), key=lambda i: full[i]), len(full) - 2, len(full) - 1)
    full = tuple(full[i] for i in order)
    strides = tuple(tuple(s[i] for i in order) for s in strides)
    return full, tuple(
        replace(v, shape=full, strides=s) for v, s in zip(views, strides, strict=True)
    )


def emit_rowwise(emitter: Emitter, step: PlanStep, op: RowOp, buffers: list[Buffer]) -> str:
    """Words of a rowwise op; returns the mapping as text."""
    split = _split(emitter, op)
    arena = emitter.begin(step.node, _l1_bytes(emitter, op, split))
    tools = _tools(emitter, op, split, arena)
    nest = Nest(emitter, op.shape, split)
    if not all(buffers[v.buffer].segment is Seg.WEIGHT for v in op.ins):
        emitter.barrier()
    _emit_load(nest, tools, buffers)
    _emit_vector(nest, op, tools)
    store_tiles(nest, emitter, tools.out, buffers)
    emitter.finish(matrix=False)
    return split.describe()


def _split(emitter: Emitter, op: RowOp) -> Split:
    """The split with the largest tiles that fit half of L1, so that the next op can begin; or all
    of it, if no row fits a half.
    """
    core = emitter.chip.core
    cols = op.shape[-1]
    budgets = (min(core.l1_bytes // 2, L1_USED_LIMIT), core.l1_bytes)
    for budget in budgets:
        elems = max(budget // max(_elem_bytes(op), 1), cols if op.whole_rows else 1)
        while elems > 0:
            limit = TileLimit(elems=elems, whole_rows=op.whole_rows)
            split = choose_split(op.shape, emitter.chip.cores, core.vector.lanes, limit)
            need = _l1_bytes(emitter, op, split)
            if need <= budget:
                return split
            used = split.tile_rows * split.tile_cols
            smallest = used <= (cols if op.whole_rows else 1)
            elems = (
                0
                if smallest
                else min(used - 1, max(used * budget // need, cols if op.whole_rows else 1))
            )
    raise CapacityError(
        f"rows of {cols} elements need {need} bytes of L1; the core has {core.l1_bytes}",
        where="lowering",
        hint="a chip with a larger core.l1_bytes",
    )


def _elem_bytes(op: RowOp) -> int:
    """Bytes of L1 per element of a tile."""
    full = sum(2 * v.esize for v in op.ins if kind_of(v, op.shape) is Kind.FULL)
    return full + (2 * op.out.esize if _out_kind(op) is Kind.FULL else 0) + 4 * op.temps


def _out_kind(op: RowOp) -> Kind:
    return Kind.COL if op.out.strides[-1] == 0 and op.whole_rows else Kind.FULL


def _l1_bytes(emitter: Emitter, op: RowOp, split: Split) -> int:
    """Bytes of L1 that the op takes with this split."""
    arena = Arena(0, 1 << 62, emitter.chip.l1_bank_bytes)
    _tools(emitter, op, split, arena)
    return arena.used


def _tools(emitter: Emitter, op: RowOp, split: Split, arena: Arena) -> Tools:
    """Places in L1: operands, scratch, result, each group from a bank of its own."""
    ins = tuple(make_tile(v, kind_of(v, op.shape), split, arena) for v in op.ins)
    arena.next_bank()
    temps = tuple(arena.take(tile_bytes(Kind.FULL, 4, split)) for _ in range(op.temps))
    columns = tuple(arena.take(tile_bytes(Kind.COL, 4, split)) for _ in range(op.columns))
    arena.next_bank()
    out = make_tile(op.out, _out_kind(op), split, arena)
    return Tools(emitter=emitter, split=split, ins=ins, out=out, temps=temps, columns=columns)


def _emit_load(nest: Nest, tools: Tools, buffers: list[Buffer]) -> None:
    builder = tools.emitter.load

    def leaf(spot: Spot) -> None:
        last = len(tools.ins) - 1
        for i, tile in enumerate(tools.ins):
            buffer = buffers[tile.view.buffer]
            tile.load(
                builder,
                spot,
                buffer.segment,
                buffer.offset,
                waits=[Wait(Sem.X_FREE)] if i == 0 else (),
                signals=[self_sem(Sem.X_FULL)] if i == last else (),
            )

    nest.walk(Queue.LOAD, tuple(t.view for t in tools.ins), leaf)


def _emit_vector(nest: Nest, op: RowOp, tools: Tools) -> None:
    def leaf(spot: Spot) -> None:
        op.script(tools, spot).emit(
            [Wait(Sem.X_FULL), Wait(Sem.OUT_FREE)], [self_sem(Sem.X_FREE), self_sem(Sem.OUT_FULL)]
        )

    nest.walk(Queue.VECTOR, (), leaf, by_element=True)


def store_tiles(nest: Nest, emitter: Emitter, tile: Tile, buffers: list[Buffer]) -> None:
    """The STORE queue of an op whose result is `tile`."""
    buffer = buffers[tile.view.buffer]

    def leaf(spot: Spot) -> None:
        rows = tile.place(spot, buffer.segment, buffer.offset)
        rows.store(emitter.store, [Wait(Sem.OUT_FULL)], [self_sem(Sem.OUT_FREE)])

    nest.walk(Queue.STORE, (tile.view,), leaf)
