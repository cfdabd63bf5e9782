"""MATRIX, VECTOR and STORE of a multiply: products into accumulator slots, epilogue, result.

In:  a `GemmState`.   Out: words on the three queues.
"""

from __future__ import annotations

from athena.isa.builder import Operand, Wait, self_sem
from athena.isa.fields import Acc, Dt, Seg
from compiler.lowering.chain_script import ChainPlaces, add_chain
from compiler.lowering.emitter import Sem
from compiler.lowering.gemm_state import GemmState, Part, Piece, Place
from compiler.lowering.nest import Spot
from compiler.lowering.tiles import Script


def multiply(g: GemmState, part: Part, piece: Piece, *, fresh: bool) -> None:
    """One MATMUL: part of a strip of B. `fresh`: A's columns come with it and are waited
    for.
    """
    job, m, at, panel = g.job, g.map, part.at, part.panel
    first = panel == 0 and at == 0
    done = at + part.depth == m.panels[panel]
    start = (Acc.BIAS if job.bias is not None else Acc.ZERO) if first else Acc.KEEP
    if first:
        g.builder.sync(waits=[Wait(Sem.ACC_FREE)])
    signals = [self_sem(Sem.B_FREE)] if done and piece.last else []
    if done and panel == len(m.panels) - 1:
        signals.append(self_sem(Sem.ACC_FULL))
    waits = [Wait(Sem.B_FULL)] if piece.first else []
    size = job.shape.b_bytes if job.weights.trans else g.b_pitch
    g.builder.matmul(
        Operand(Seg.L1, g.a_slot + piece.row * g.a_pitch + at * job.a.esize, g.a_pitch, job.a.dt),
        Operand(Seg.L1, g.b_slots[part.slot] + at * size, g.b_pitch, job.weights.dt),
        g.accumulator(piece),
        m=piece.rows,
        n=m.sn,
        k=part.depth,
        start=start,
        bias=Operand(Seg.L1, g.bias_slots[part.slot], 0, Dt.F32) if start is Acc.BIAS else None,
        b_trans=job.weights.trans,
        zeros=(job.a_zero, 0),
        waits=waits + ([Wait(Sem.A_FULL)] if fresh and piece.first else []),
        signals=signals,
        clips=(g.rows_left(part.place.half, piece.row), g.cols_left(piece.strip, 1), None),
    )


def epilogue(g: GemmState, spot: Spot, piece: Piece) -> None:
    """The chain from the accumulator slot to the result's tile."""
    if g.tiles:
        g.builder.sync(waits=[Wait(Sem.X_FULL)])
    script = Script(g.builder, spot, piece.rows, g.map.sn)
    places = ChainPlaces(tiles=dict(enumerate(g.tiles)), temp=g.temp, recip=g.recip)
    add_chain(
        script, g.job.words, g.accumulator(piece), g.out_tile.operand(spot.slot), places, spot.slot
    )
    script.emit(
        [Wait(Sem.ACC_FULL), Wait(Sem.OUT_FREE)], [self_sem(Sem.OUT_FULL), self_sem(Sem.ACC_FREE)]
    )
    if g.tiles:
        g.emitter.vector_signal(Sem.X_FREE)


def store(g: GemmState, place: Place, spot: Spot, piece: Piece) -> None:
    """The result's tile to memory."""
    tile = g.out_tile
    buffer = g.buffers[tile.view.buffer]
    g.builder.store(
        tile.operand(spot.slot),
        spot.operand(buffer.segment, tile.view, buffer.offset + place.outer[2]),
        rows=piece.rows,
        row_bytes=tile.cols * tile.view.esize,
        waits=[Wait(Sem.OUT_FULL)],
        signals=[self_sem(Sem.OUT_FREE)],
        clips=(None, spot.rows(), spot.col_bytes(tile.view.esize)),
    )
