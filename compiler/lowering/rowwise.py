"""Ops on tiles of rows: elementwise chains, normalisation, softmax, reduction, rotary embedding, quantisation, gather.

In:  a `PlanStep` whose views are broadcast to one iteration shape.   Out: words on LOAD, VECTOR and STORE; the chosen split as text.
Raises: CapacityError where a row does not fit L1, UnsupportedOpError where a form has no words.

All of them are one pipeline: LOAD brings a tile of every operand, VECTOR runs the op's script over it, STORE takes the result away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from athena.isa.builder import Operand, Wait, self_sem
from athena.isa.fields import Dt, Kind, Queue, Seg
from compiler.lowering.emitter import Arena, Emitter, Sem
from compiler.lowering.nest import Nest, Split, Spot, choose_split
from compiler.lowering.plan import Buffer, PlanStep
from compiler.lowering.tiles import Script, Tile, kind_of, make_tile, pitch_of, tile_bytes
from compiler.lowering.views import View, collapse

TILE_BYTES_LIMIT = 1 << 18
COLUMNS_RESERVED = 8
PITCH_SLACK = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOp:
    """One rowwise op ready to be tiled.

    `shape` [outer…, rows, cols] is the iteration space, `out` the result's view on it (last axis 1 for reductions). `temps` fp32 tiles and
    `columns` fp32 columns are scratch for `script(tools, spot)`.
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
    """What a script works with: tiles of the operands and of the result, scratch tiles and columns."""

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

    `keep_cols`: the last axis stays as it is; otherwise it may merge with those before it.
    """
    if keep_cols:
        lead, steps = collapse(shape[:-1], tuple(v.strides[:-1] for v in views))
        full = (*lead, shape[-1])
        strides = tuple((*s, v.strides[-1]) for s, v in zip(steps, views, strict=True))
    else:
        full, strides = collapse(shape, tuple(v.strides for v in views))
        if len(full) == 1:
            full, strides = (1, *full), tuple((0, *s) for s in strides)
    return full, tuple(
        replace(v, shape=full, strides=s) for v, s in zip(views, strides, strict=True)
    )


def emit_rowwise(emitter: Emitter, step: PlanStep, op: RowOp, buffers: list[Buffer]) -> str:
    """Words of a rowwise op; returns the mapping as text."""
    kinds = tuple(kind_of(v, op.shape) for v in op.ins)
    out_kind = Kind.COL if op.out.strides[-1] == 0 and op.whole_rows else Kind.FULL
    split = _split(emitter, op, kinds, out_kind)
    sizes = [2 * tile_bytes(k, v.esize, split) for k, v in zip(kinds, op.ins, strict=True)]
    temp_bytes = tile_bytes(Kind.FULL, 4, split)
    column_bytes = tile_bytes(Kind.COL, 4, split)
    total = sum(sizes) + 2 * tile_bytes(out_kind, op.out.esize, split)
    total += op.temps * temp_bytes + op.columns * column_bytes
    pad = 64 * (2 * len(sizes) + 2 + op.temps + op.columns) + 3 * emitter.chip.l1_bank_bytes
    arena = emitter.begin(step.node, min(total + pad, emitter.chip.core.l1_bytes))
    tools = _tools(emitter, op, kinds, out_kind, split, arena)
    nest = Nest(emitter, op.shape, split)
    if not all(buffers[v.buffer].segment is Seg.WEIGHT for v in op.ins):
        emitter.barrier()
    _emit_load(nest, tools, buffers)
    _emit_vector(nest, op, tools)
    _emit_store(nest, tools, buffers)
    emitter.finish(matrix=False)
    return split.describe()


def _split(emitter: Emitter, op: RowOp, kinds: tuple[Kind, ...], out_kind: Kind) -> Split:
    core = emitter.chip.core
    full = sum(2 * v.esize for k, v in zip(kinds, op.ins, strict=True) if k is Kind.FULL)
    per_elem = full + (2 * op.out.esize if out_kind is Kind.FULL else 0) + 4 * op.temps
    rows = sum(2 * v.esize for k, v in zip(kinds, op.ins, strict=True) if k is Kind.ROW)
    budget = min(core.l1_bytes // 2, TILE_BYTES_LIMIT * 4) - core.l1_bytes // 8
    cols = op.shape[-1]
    elems = max(1, (budget - rows * min(cols, 4096)) // (per_elem + COLUMNS_RESERVED))
    if op.whole_rows and elems < cols:
        budget = core.l1_bytes - core.l1_bytes // 8
        elems = max(1, (budget - (rows + PITCH_SLACK) * cols) // (per_elem + COLUMNS_RESERVED))
    return choose_split(
        op.shape,
        emitter.chip.cores,
        max_elems=elems,
        lanes=core.vector.lanes,
        whole_rows=op.whole_rows,
    )


def _tools(
    emitter: Emitter, op: RowOp, kinds: tuple[Kind, ...], out_kind: Kind, split: Split, arena: Arena
) -> Tools:  # fmt: skip
    ins = tuple(make_tile(v, k, split, arena) for k, v in zip(kinds, op.ins, strict=True))
    arena.used = -(-arena.used // arena.bank_bytes) * arena.bank_bytes
    temps = tuple(arena.take(tile_bytes(Kind.FULL, 4, split)) for _ in range(op.temps))
    columns = tuple(arena.take(tile_bytes(Kind.COL, 4, split)) for _ in range(op.columns))
    arena.used = -(-arena.used // arena.bank_bytes) * arena.bank_bytes
    out = make_tile(op.out, out_kind, split, arena)
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


def _emit_store(nest: Nest, tools: Tools, buffers: list[Buffer]) -> None:
    tile = tools.out
    buffer = buffers[tile.view.buffer]

    def leaf(spot: Spot) -> None:
        whole = tile.kind is Kind.FULL
        tools.emitter.store.store(
            tile.operand(spot.slot),
            spot.operand(buffer.segment, tile.view, buffer.offset),
            rows=tile.rows,
            row_bytes=tile.cols * tile.view.esize,
            waits=[Wait(Sem.OUT_FULL)],
            signals=[self_sem(Sem.OUT_FREE)],
            clips=(None, spot.rows(), spot.col_bytes(tile.view.esize) if whole else None),
        )

    nest.walk(Queue.STORE, (tile.view,), leaf)
