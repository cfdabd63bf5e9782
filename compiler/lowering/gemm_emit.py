"""Emission of a multiply: the loops over row blocks, strips and panels, once per lane.

In:  a `GemmJob`, the buffers' offsets.   Out: words on LOAD, MATRIX, VECTOR, STORE and, where
operands pass through L2, the cluster DMAs.

Order of work of a core: blocks of rows; in each, blocks of strips; in each, panels of K; in each,
strips. While the very first panel arrives, the first strips (two, if there are as many) advance
together chunk by chunk, so that the array has work for every byte that comes.
"""

from __future__ import annotations

from athena.isa.builder import Wait, self_sem
from athena.isa.cycles import ceil_div
from athena.isa.fields import Queue
from compiler.lowering.emitter import Emitter, Lane, Sem, Stage
from compiler.lowering.gemm import GemmJob
from compiler.lowering.gemm_compute import epilogue, multiply, store
from compiler.lowering.gemm_load import Chunk, load_a, load_b, load_operands, staging_registers
from compiler.lowering.gemm_stage import await_start, share_a, share_b, sharing_registers
from compiler.lowering.gemm_state import GemmState, Part, Piece, Place
from compiler.lowering.plan import Buffer

_PRIMED_AT_ONCE = 4


def emit_gemm(emitter: Emitter, job: GemmJob, buffers: list[Buffer]) -> str:
    """Words of one multiply; returns the mapping as text."""
    arena = emitter.begin(job.step.node, job.mapping.l1_bytes)
    state = GemmState(emitter=emitter, job=job, buffers=buffers, arena=arena)
    state.place()
    lanes: tuple[Lane, ...] = (Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE)
    if job.mapping.cluster:
        lanes = (*lanes, *Stage)
    for lane in lanes:
        _walk(state, lane)
    if job.mapping.cluster:  # loops take even numbers of slots, so the parity is that of the words
        for ring in ("a", "b"):
            emitter.staged[ring] += state.counts[ring] + 1
    emitter.finish(matrix=True)
    return job.mapping.describe()


def job_buffers(job: GemmJob) -> set[int]:
    """Buffers that the multiply reads or writes."""
    used = {job.a.buffer, job.weights.buffer, job.out.buffer, *(v.buffer for v in job.operands)}
    return used | ({job.bias.buffer} if job.bias is not None else set())


def _walk(g: GemmState, lane: Lane) -> None:
    g.lane, g.counts = lane, {}
    depth = g.map.acc_slots
    if lane is Queue.LOAD and max(g.map.row_blocks, g.map.col_blocks) > 1:
        g.emitter.barrier()  # inside a loop it would be waited for again and again
    if lane is Queue.LOAD:
        staging_registers(g)
    g.registers()
    if lane is Stage.SHARE:
        sharing_registers(g)
        if max(g.map.row_blocks, g.map.col_blocks) > 1:
            await_start(g)
    if lane is Queue.MATRIX:
        for start in range(0, depth, _PRIMED_AT_ONCE):
            g.builder.sync(signals=[self_sem(Sem.ACC_FREE)] * min(_PRIMED_AT_ONCE, depth - start))
    for number, outer in enumerate(g.job.outers):
        _rows(g, outer, first=number * g.map.row_blocks)
    if lane is Queue.MATRIX:
        g.builder.sync(waits=[Wait(Sem.ACC_FREE, depth)])


def _rows(g: GemmState, outer: tuple[int, ...], first: int) -> None:
    m = g.map
    if m.row_blocks == 1:
        _unit(g, Place(outer, 0), first)
        return

    def two() -> None:
        _unit(g, Place(outer, 0), first)
        _unit(g, Place(outer, 1), first + 1)

    g.emitter.loop(g.lane, ceil_div(m.row_blocks, 2), g.steps(2 * m.bm, 0), two)


def _unit(g: GemmState, place: Place, block: int) -> None:
    """One block of rows."""
    m = g.map
    single = len(m.panels) == 1
    if single:
        g.next_slot("a")
        if m.col_blocks > 1:  # A comes once, before the loop over blocks of strips
            _bring_a(g, place, 0, (0, m.panels[0]))
    g.emitter.loop(
        g.lane, m.col_blocks, g.steps(0, m.strips * m.sn), lambda: _block(g, place, block)
    )
    if single and g.lane is Queue.MATRIX:
        if m.col_blocks > 1:
            g.builder.sync(waits=[Wait(Sem.A_FULL)])
        g.emitter.matrix_signal(Sem.A_FREE)


def _block(g: GemmState, place: Place, block: int) -> None:
    """One block of strips: every panel of K passes through all of them."""
    m = g.map
    single = len(m.panels) == 1
    resident = single and m.col_blocks > 1
    if resident and g.lane is Queue.MATRIX:
        # take the token of the panel that came before the loop, and put it back for the next block
        g.builder.sync(waits=[Wait(Sem.A_FULL)], signals=[self_sem(Sem.A_FULL)])
    for panel in range(len(m.panels)):
        if not single:
            g.next_slot("a")
        together = m.together if panel == 0 and not resident else 1
        _strips(g, place, block, panel, tuple(range(together)), fresh=not resident)
        for strip in range(together, m.strips):
            _strips(g, place, block, panel, (strip,), fresh=False)
        if not single and g.lane is Queue.MATRIX:
            g.emitter.matrix_signal(Sem.A_FREE)


def _strips(
    g: GemmState, place: Place, block: int, panel: int, strips: tuple[int, ...], *, fresh: bool
) -> None:
    """Strips that advance together, chunk by chunk of K; `fresh`: the panel of A comes with the
    first of them.
    """
    slots = {strip: g.next_slot("b") for strip in strips}
    for chunk in _chunks(g, panel, first=fresh and panel == 0):
        for strip in strips:
            leads = fresh and strip == strips[0]
            if leads and not g.map.weights_first:
                _bring_a(g, place, panel, chunk)
            part = Part(place, panel, strip, *chunk, slots[strip])
            _bring_b(g, part)
            if g.lane is Queue.MATRIX:
                new = leads and not (g.map.weights_first and part.at)
                for piece in g.pieces(block, strip):
                    multiply(g, part, piece, fresh=new)
    if fresh and g.map.weights_first:  # weights need no barrier: they go ahead of it
        _bring_a(g, place, panel, (0, g.map.panels[panel]))
    if panel == len(g.map.panels) - 1:
        for strip in strips:
            for piece in g.pieces(block, strip):
                _finish(g, place, piece)


def _chunks(g: GemmState, panel: int, *, first: bool) -> list[Chunk]:
    depth = g.map.panels[panel]
    sizes = g.map.first_chunks if first else g.map.chunks
    out: list[Chunk] = []
    at = 0
    for size in sizes:
        if at < depth:
            out.append((at, min(size, depth - at)))
            at += size
    if at < depth:
        out.append((at, depth - at))
    return out


def _bring_a(g: GemmState, place: Place, panel: int, chunk: Chunk) -> None:
    if g.lane is Queue.LOAD:
        load_a(g, place, panel, chunk)
    elif g.lane is Stage.SHARE:
        share_a(g, place, panel, chunk)


def _bring_b(g: GemmState, part: Part) -> None:
    if g.lane is Queue.LOAD:
        load_b(g, part)
    elif g.lane is Stage.SHARE:
        share_b(g, part)


def _finish(g: GemmState, place: Place, piece: Piece) -> None:
    if g.lane is Queue.LOAD:
        load_operands(g, place, piece)
    elif g.lane in (Queue.VECTOR, Queue.STORE):
        spot = g.spot(place.half, piece)
        if g.lane is Queue.VECTOR:
            epilogue(g, spot, piece)
        else:
            store(g, place, spot, piece)
