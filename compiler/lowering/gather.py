"""Rows of a table by index (embedding).

In:  a `PlanStep` of op Gather: table [V, …], int32 indices.   Out: words on LOAD, VECTOR, STORE.
Raises: UnsupportedOpError for a table whose rows are not packed or whose length an immediate cannot
hold.

LOAD brings a tile of indices; VECTOR adds V to the negative ones; LOAD gathers the rows they name
(an index outside the table is a fault); VECTOR converts them; STORE takes them away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from athena.errors import UnsupportedOpError
from athena.isa.builder import Operand, Side, Vec, Wait, imm, self_sem
from athena.isa.fields import Alu, Dt, Kind, Queue, Seg
from compiler.lowering.emitter import Arena, Emitter, Sem
from compiler.lowering.moves import INTEGERS
from compiler.lowering.nest import Nest, Split, Spot, TileLimit, choose_split
from compiler.lowering.plan import Buffer, PlanStep
from compiler.lowering.rowwise import store_tiles
from compiler.lowering.tiles import Script, Tile, make_tile, tile_bytes
from compiler.lowering.views import View

EXACT_LIMIT = 1 << 24  # integers that an fp32 immediate holds exactly
PITCH_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class _Places:
    """L1 of a gather: indices, a scratch column, rows as stored in the table, the result."""

    index: Tile
    scratch: Operand
    found: Tile
    target: Tile


@dataclass(frozen=True, slots=True)
class _Gather:
    """`table` [V, width] packed rows; `ids` and `out` on the shape [rows, width]."""

    table: View
    ids: View
    out: View

    @property
    def columns(self) -> View:
        """The table's columns, broadcast over the rows of the result."""
        shape = self.out.shape
        return replace(self.table, shape=shape, strides=(0, self.table.esize))

    def layout(self, split: Split, arena: Arena) -> _Places:
        """Places for this split."""
        index = make_tile(self.ids, Kind.COL, split, arena)
        scratch = Operand(Seg.L1, arena.take(tile_bytes(Kind.COL, 4, split)), 4, Dt.I32)
        arena.next_bank()
        found = make_tile(replace(self.out, dt=self.table.dt), Kind.FULL, split, arena)
        arena.next_bank()
        target = make_tile(self.out, Kind.FULL, split, arena)
        return _Places(index, scratch, found, target)


def emit_gather(emitter: Emitter, step: PlanStep, buffers: list[Buffer]) -> str:
    """Words of a gather; returns the mapping as text."""
    job = _job(step)
    split, used = _split(emitter, job)
    arena = emitter.begin(step.node, used)
    places = job.layout(split, arena)
    nest = Nest(emitter, job.out.shape, split)
    emitter.barrier()
    ids, table = buffers[job.ids.buffer], buffers[job.table.buffer]

    def load(spot: Spot) -> None:
        places.index.place(spot, ids.segment, ids.offset).load(
            emitter.load, [Wait(Sem.X_FREE)], [self_sem(Sem.X_FULL)]
        )
        emitter.load.copyx(
            spot.operand(table.segment, job.columns, table.offset),
            places.found.operand(spot.slot),
            places.index.operand(spot.slot),
            limit=job.table.shape[0],
            rows=split.tile_rows,
            row_bytes=split.tile_cols * job.table.esize,
            pitch=job.table.strides[0],
            waits=[Wait(Sem.INDEX_READY)],
            signals=[self_sem(Sem.X_FULL)],
            clips=(None, spot.rows(), spot.col_bytes(job.table.esize)),
        )

    nest.walk(Queue.LOAD, (job.ids, job.columns), load)
    nest.walk(Queue.VECTOR, (), lambda spot: _vector(emitter, job, places, spot), by_element=True)
    store_tiles(nest, emitter, places.target, buffers)
    emitter.finish(matrix=False)
    return f"gather: {split.describe()}"


def _vector(emitter: Emitter, job: _Gather, places: _Places, spot: Spot) -> None:
    rows, cols = places.found.rows, places.found.cols
    at = replace(places.index.operand(spot.slot), dt=Dt.I32)
    check = Script(emitter.vector, spot, rows, cols)
    check.column(
        at,
        places.scratch,
        Vec(alu1=Alu.LT, b=imm(0.0), alu2=Alu.MUL, c=imm(float(job.table.shape[0])), integer=True),
    )
    check.column(at, at, Vec(alu1=Alu.ADD, b=Side(Kind.FULL, places.scratch), integer=True))
    check.emit([Wait(Sem.X_FULL)], [self_sem(Sem.INDEX_READY)])
    script = Script(emitter.vector, spot, rows, cols)
    integer = job.table.dt in INTEGERS and job.out.dt in INTEGERS
    found, target = places.found.operand(spot.slot), places.target.operand(spot.slot)
    script.vec(found, target, Vec(integer=integer))
    script.emit(
        [Wait(Sem.X_FULL), Wait(Sem.OUT_FREE)], [self_sem(Sem.X_FREE), self_sem(Sem.OUT_FULL)]
    )


def _job(step: PlanStep) -> _Gather:
    table, ids = step.ins[0], step.ins[1]
    if table is None or ids is None:
        raise TypeError(step.op)
    length = table.shape[0]
    width = table.elems // length if length else 0
    rows, flat = table.reshape((length, width)), ids.reshape((ids.elems, 1))
    out = step.out.reshape((ids.elems, width))
    if rows is None or flat is None or out is None or not rows.row_contiguous:
        raise UnsupportedOpError("gather from a table whose rows are not packed", where=step.name)
    pitch = rows.strides[0] if length > 1 else width * rows.esize
    if length > EXACT_LIMIT or not 0 <= pitch < PITCH_LIMIT:
        raise UnsupportedOpError(
            f"gather from a table of {length:,} rows, {pitch:,} bytes apart", where=step.name
        )
    return _Gather(
        replace(rows, strides=(pitch, rows.esize)),
        replace(flat, strides=(flat.strides[0], 0), shape=(ids.elems, width)),
        replace(out, strides=(out.strides[0], out.esize)),
    )


def _split(emitter: Emitter, job: _Gather) -> tuple[Split, int]:
    """The largest tiles that fit half of L1, and the L1 they take."""
    core = emitter.chip.core
    elems = max(1, core.l1_bytes // (4 * (job.table.esize + job.out.esize)))
    while True:
        limit = TileLimit(elems=elems)
        split = choose_split(job.out.shape, emitter.chip.cores, core.vector.lanes, limit)
        arena = Arena(0, 1 << 62, emitter.chip.l1_bank_bytes)
        job.layout(split, arena)
        if arena.used <= core.l1_bytes // 2 or elems == 1:
            return split, arena.used
        elems = max(1, min(elems, split.tile_rows * split.tile_cols) * 3 // 4)
