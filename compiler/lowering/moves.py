"""Copies that change the order of elements, and rows fetched by index.

In:  `PlanStep`s of op Copy whose source has no neighbours in the result's last axis, or Gather.   Out: words on LOAD, VECTOR, STORE.
Raises: UnsupportedOpError for a gather the words cannot do.
"""

from __future__ import annotations

from dataclasses import replace

from athena.errors import UnsupportedOpError
from athena.isa.builder import Operand, Vec, Wait, self_sem
from athena.isa.fields import Alu, Dt, Kind, Perm, Queue, Seg
from compiler.lowering.chain_script import ChainPlaces, add_chain
from compiler.lowering.emitter import Emitter, Sem
from compiler.lowering.nest import Nest, Spot, choose_split
from compiler.lowering.plan import Buffer, PlanStep
from compiler.lowering.tiles import Script, Tile, make_tile, pitch_of, tile_bytes
from compiler.lowering.vecchain import vec_words
from compiler.lowering.views import View, collapse

_INTEGERS = (Dt.I32, Dt.I8, Dt.U8)
TILE_SIDE = 256


def is_plain_copy(step: PlanStep) -> bool:
    """Whether rows of the source can be copied as rows of the result."""
    source = step.ins[0]
    if source is None:
        raise TypeError(step.op)
    shape, (steps, out) = collapse(
        step.out.shape, (source.expand(step.out.shape).strides, step.out.strides)
    )
    del out
    return shape[-1] == 1 or steps[-1] in (0, source.esize)


def emit_transpose(emitter: Emitter, step: PlanStep, buffers: list[Buffer]) -> str:
    """A copy whose source's neighbours lie along another axis than the result's: tiles through VPERM, or element by element."""
    source = step.ins[0]
    if source is None:
        raise TypeError(step.op)
    shape, (steps, outs) = collapse(step.out.shape, (source.strides, step.out.strides))
    inner = next((i for i, s in enumerate(steps[:-1]) if s == source.esize), None)
    axes = (
        [i for i in range(len(shape) - 1) if i != inner]
        + ([] if inner is None else [inner])
        + [len(shape) - 1]
    )
    if len(shape) == 1:
        shape, steps, outs, axes = (1, *shape), (0, *steps), (0, *outs), [0, 1]
    full = tuple(shape[a] for a in axes)
    view = replace(source, shape=full, strides=tuple(steps[a] for a in axes))
    out = replace(step.out, shape=full, strides=tuple(outs[a] for a in axes))
    return _emit(emitter, step, view, out, buffers, by_element=inner is None)


def _emit(
    emitter: Emitter, step: PlanStep, view: View, out: View, buffers: list[Buffer], *, by_element: bool
) -> str:  # fmt: skip
    core = emitter.chip.core
    budget = core.l1_bytes // 2 // (2 * view.esize + 2 * out.esize + 4 + view.esize)
    side = min(TILE_SIDE, int(budget**0.5))
    split = choose_split(
        view.shape,
        emitter.chip.cores,
        max_elems=side * side,
        lanes=min(core.vector.lanes, side),
        whole_rows=False,
    )
    if split.tile_cols > side or split.tile_rows > side:
        cols = min(split.tile_cols, side)
        rows = min(split.tile_rows, side)
        per_row = split.tile_rows * split.row_tiles
        per_col = split.tile_cols * split.col_tiles
        split = replace(
            split,
            tile_cols=cols,
            tile_rows=rows,
            row_tiles=-(-per_row // rows),
            col_tiles=-(-per_col // cols),
        )
        split = _regroup(split, view.shape)
    size = tile_bytes(Kind.FULL, view.esize, split) + view.esize * 32 * max(
        split.tile_cols, split.tile_rows
    )
    total = (
        3 * size + 2 * tile_bytes(Kind.FULL, out.esize, split) + 4 * core.l1_bytes // core.l1_banks
    )
    arena = emitter.begin(step.node, total)
    turned_pitch = pitch_of(Kind.FULL, split.tile_rows, view.esize)
    slots = (arena.take(size), arena.take(size))
    straight = Operand(
        Seg.L1, arena.take(size), pitch_of(Kind.FULL, split.tile_cols, view.esize), view.dt
    )
    target = make_tile(out, Kind.FULL, split, arena)
    nest = Nest(emitter, view.shape, split, transposed=True)
    emitter.barrier()
    buffer = buffers[view.buffer]

    def load(spot: Spot) -> None:
        place = spot.operand(buffer.segment, view, buffer.offset)
        sync = {"waits": [Wait(Sem.X_FREE)], "signals": [self_sem(Sem.X_FULL)]}
        if by_element:
            emitter.load.load(
                replace(place, stride=abs(view.strides[-1])),
                Operand(Seg.L1, slots[spot.slot], view.esize, view.dt),
                blocks=split.tile_rows,
                rows=split.tile_cols,
                row_bytes=view.esize,
                block_strides=(view.strides[-2], pitch_of(Kind.FULL, split.tile_cols, view.esize)),
                clips=(spot.rows(), spot.cols(), None),
                **sync,  # type: ignore[arg-type]
            )
        else:
            emitter.load.load(
                replace(place, stride=abs(view.strides[-1])),
                Operand(Seg.L1, slots[spot.slot], turned_pitch, view.dt),
                rows=split.tile_cols,
                row_bytes=split.tile_rows * view.esize,
                clips=(None, spot.cols(), spot.row_bytes(view.esize)),
                **sync,  # type: ignore[arg-type]
            )

    def vector(spot: Spot) -> None:
        script = Script(emitter.vector, spot, split.tile_rows, split.tile_cols)
        if by_element:
            source = replace(straight, imm=slots[spot.slot])
        else:
            script.perm(
                Operand(Seg.L1, slots[spot.slot], turned_pitch, view.dt),
                straight,
                Perm.TRANSPOSE,
                rows=split.tile_cols,
                cols=split.tile_rows,
                clips=(spot.cols(), spot.rows(), None),
            )
            source = straight
        _convert(script, source, target.operand(spot.slot))
        script.emit(
            [Wait(Sem.X_FULL), Wait(Sem.OUT_FREE)], [self_sem(Sem.X_FREE), self_sem(Sem.OUT_FULL)]
        )

    nest.walk(Queue.LOAD, (view,), load, by_element=True)
    nest.walk(Queue.VECTOR, (), vector, by_element=True)
    _store(nest, emitter, target, buffers)
    emitter.finish(matrix=False)
    return f"{'element copy' if by_element else 'transpose'}: {split.describe()}"


def _regroup(split, shape):  # type: ignore[no-untyped-def]
    """Groups that no longer hold a tile are dropped."""
    rows, cols = split.row_tiles * split.tile_rows, split.col_tiles * split.tile_cols
    return replace(split, row_groups=-(-shape[-2] // rows), col_groups=-(-shape[-1] // cols))


def _convert(script: Script, source: Operand, target: Operand) -> None:
    words = vec_words(
        (),
        integer=source.dt in _INTEGERS,
        operand_integer=(source.dt in _INTEGERS,),
        out_integer=target.dt in _INTEGERS,
    )
    add_chain(script, words, source, target, ChainPlaces(tiles={}, temp=None, recip=None), 0)


def _store(nest: Nest, emitter: Emitter, tile: Tile, buffers: list[Buffer]) -> None:
    buffer = buffers[tile.view.buffer]

    def leaf(spot: Spot) -> None:
        emitter.store.store(
            tile.operand(spot.slot),
            spot.operand(buffer.segment, tile.view, buffer.offset),
            rows=tile.rows,
            row_bytes=tile.cols * tile.view.esize,
            waits=[Wait(Sem.OUT_FULL)],
            signals=[self_sem(Sem.OUT_FREE)],
            clips=(None, spot.rows(), spot.col_bytes(tile.view.esize)),
        )

    nest.walk(Queue.STORE, (tile.view,), leaf)


def emit_gather(emitter: Emitter, step: PlanStep, buffers: list[Buffer]) -> str:
    """Rows of a table by index (embedding)."""
    table, ids = step.ins[0], step.ins[1]
    if table is None or ids is None:
        raise TypeError(step.op)
    width = table.elems // table.shape[0] if table.shape[0] else 0
    rows = table.reshape((table.shape[0], width))
    flat = ids.reshape((ids.elems, 1))
    out = step.out.reshape((ids.elems, width))
    if rows is None or flat is None or out is None or not rows.row_contiguous:
        raise UnsupportedOpError("gather from a table whose rows are not packed", where=step.name)
    flat = replace(flat, strides=(flat.strides[0], 0), shape=(ids.elems, width))
    core = emitter.chip.core
    elems = max(width, core.l1_bytes // 4 // (2 * table.esize + 2 * out.esize))
    split = choose_split(
        out.shape, emitter.chip.cores, max_elems=elems, lanes=core.vector.lanes, whole_rows=True
    )
    size = 2 * tile_bytes(Kind.FULL, table.esize, split) + 2 * tile_bytes(
        Kind.FULL, out.esize, split
    )
    size += 2 * tile_bytes(Kind.COL, 4, split) + 3 * emitter.chip.l1_bank_bytes
    arena = emitter.begin(step.node, size)
    index = make_tile(flat, Kind.COL, split, arena)
    found = make_tile(replace(out, dt=table.dt), Kind.FULL, split, arena)
    arena.used = -(-arena.used // arena.bank_bytes) * arena.bank_bytes
    target = make_tile(out, Kind.FULL, split, arena)
    nest = Nest(emitter, out.shape, split)
    emitter.barrier()
    source, place = buffers[rows.buffer], buffers[flat.buffer]

    def load(spot: Spot) -> None:
        index.load(
            emitter.load,
            spot,
            place.segment,
            place.offset,
            waits=[Wait(Sem.X_FREE)],
            signals=[self_sem(Sem.INDEX_READY)],
        )
        emitter.load.copyx(
            Operand(source.segment, source.offset + rows.offset, 0, table.dt),
            found.operand(spot.slot),
            index.operand(spot.slot),
            limit=table.shape[0],
            rows=split.tile_rows,
            row_bytes=width * table.esize,
            pitch=rows.strides[0],
            waits=[Wait(Sem.INDEX_READY)],
            signals=[self_sem(Sem.X_FULL)],
            clips=(None, spot.rows(), None),
        )

    def vector(spot: Spot) -> None:
        script = Script(emitter.vector, spot, split.tile_rows, split.tile_cols)
        integer = table.dt in _INTEGERS and out.dt in _INTEGERS
        script.vec(
            found.operand(spot.slot), target.operand(spot.slot), Vec(alu1=Alu.PASS, integer=integer)
        )
        script.emit(
            [Wait(Sem.X_FULL), Wait(Sem.OUT_FREE)], [self_sem(Sem.X_FREE), self_sem(Sem.OUT_FULL)]
        )

    nest.walk(Queue.LOAD, (flat,), load)
    nest.walk(Queue.VECTOR, (), vector, by_element=True)
    _store(nest, emitter, target, buffers)
    emitter.finish(matrix=False)
    return f"gather: {split.describe()}"
