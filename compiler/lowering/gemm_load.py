"""LOAD of a multiply: panels of A, strips of B, bias rows, the epilogue's operands, from memory or
from L2.

In:  a `GemmState` on lane LOAD.   Out: LOAD words.
"""

from __future__ import annotations

from athena.isa.builder import Clips, Operand, Wait, self_sem
from athena.isa.fields import S_CLUSTER, S_CORE, Dt, Seg, Sig, signal
from compiler.lowering.emitter import ClusterSem, Sem
from compiler.lowering.gemm_state import (
    A_OFFSET,
    A_SHARERS,
    A_STAGE,
    B_OFFSET,
    B_SHARERS,
    B_STAGE,
    CONSTANTS,
    GemmState,
    Part,
    Piece,
    Place,
)
from compiler.lowering.nest import COL_INDEX

Chunk = tuple[int, int]  # first k of the panel, depth


def load_a(g: GemmState, place: Place, panel: int, chunk: Chunk) -> None:
    """Columns `chunk` of a panel of A."""
    job, m, size = g.job, g.map, g.job.a.esize
    at, depth = chunk
    buffer = g.buffers[job.a.buffer]
    if buffer.segment not in CONSTANTS:
        g.emitter.barrier()
    waits = [Wait(Sem.A_FREE)] if at == 0 else []
    signals = [self_sem(Sem.A_FULL)]
    target = Operand(Seg.L1, g.a_slot + at * size, g.a_pitch, job.a.dt)
    if m.cluster:
        if at + depth == m.panels[panel]:
            signals.append(signal(Sig.CDMA_MASK, g.credit("a", g.counts["a"]), A_SHARERS))
        source = Operand(
            Seg.L2, g.l2_slot("a", g.counts["a"]) + at * size, m.kp * size, job.a.dt, A_STAGE
        )
        waits.append(Wait(Sem.STAGE_A_FULL))
        g.builder.load(
            source, target, rows=m.bm, row_bytes=depth * size, waits=waits, signals=signals
        )
        return
    stride = job.a.strides[-2]
    start = (
        buffer.offset
        + job.a.offset
        + place.outer[0]
        + place.half * m.bm * stride
        + (sum(m.panels[:panel]) + at) * size
    )
    g.builder.load(
        Operand(buffer.segment, start, stride, job.a.dt, A_OFFSET),
        target,
        rows=m.bm,
        row_bytes=depth * size,
        waits=waits,
        signals=signals,
        clips=(None, g.rows_left(place.half), None),
    )


def load_b(g: GemmState, part: Part) -> None:
    """Part of a strip of B; behind the strip's first rows, its bias row."""
    bias = part.at == 0 and part.panel == 0 and g.job.bias is not None
    signals = [] if bias else [self_sem(Sem.B_FULL)]
    if g.map.cluster:
        _staged_b(g, part, signals)
    else:
        _direct_b(g, part, signals)
    if bias:
        _bias(g, part.place, part.strip, part.slot)


def _staged_b(g: GemmState, part: Part, signals: list[int]) -> None:
    job, m, size, at = g.job, g.map, g.job.shape.b_bytes, part.at
    if at + part.depth == m.panels[part.panel]:
        signals.append(signal(Sig.CDMA_MASK, g.credit("b", part.slot), B_SHARERS))
    start = g.l2_slot("b", part.slot) + at * m.sn * size
    g.builder.load(
        Operand(Seg.L2, start, m.sn * size, job.weights.dt, B_STAGE),
        Operand(Seg.L1, g.b_slots[part.slot] + at * g.b_pitch, g.b_pitch, job.weights.dt),
        rows=part.depth,
        row_bytes=m.sn * size,
        waits=[Wait(Sem.STAGE_B_FULL)] + ([Wait(Sem.B_FREE)] if at == 0 else []),
        signals=signals,
    )


def _direct_b(g: GemmState, part: Part, signals: list[int]) -> None:
    m, w, size, strip = g.map, g.job.weights, g.job.shape.b_bytes, part.strip
    buffer = g.buffers[w.buffer]
    if buffer.segment not in CONSTANTS:
        g.emitter.barrier()
    k = sum(m.panels[: part.panel]) + part.at
    start = buffer.offset + w.offset + part.place.outer[1]
    start += strip * w.strip_stride + k * w.panel_stride
    inner = part.at * (size if w.trans else g.b_pitch)
    alive = g.rows_left(part.place.half)
    clips: Clips
    if w.trans:
        clips = (alive, g.cols_left(strip, 1), None)
    else:
        clips = (alive, None, g.strips_left(strip) if w.packed else g.cols_left(strip, size))
    g.builder.load(
        Operand(buffer.segment, start, w.row_stride, w.dt, B_OFFSET),
        Operand(Seg.L1, g.b_slots[part.slot] + inner, g.b_pitch, w.dt),
        rows=m.sn if w.trans else part.depth,
        row_bytes=(part.depth if w.trans else m.sn) * size,
        waits=[Wait(Sem.B_FREE)] if part.at == 0 else (),
        signals=signals,
        clips=clips,
    )


def _bias(g: GemmState, place: Place, strip: int, slot: int) -> None:
    bias = g.job.bias
    if bias is None:
        return
    buffer = g.buffers[bias.buffer]
    g.builder.load(
        Operand(
            buffer.segment,
            buffer.offset + bias.offset + strip * g.map.sn * 4,
            0,
            Dt.F32,
            COL_INDEX[4],
        ),
        Operand(Seg.L1, g.bias_slots[slot], 0, Dt.F32),
        rows=1,
        row_bytes=g.map.sn * 4,
        signals=[self_sem(Sem.B_FULL)],
        clips=(g.rows_left(place.half), None, g.cols_left(strip, 4)),
    )


def load_operands(g: GemmState, place: Place, piece: Piece) -> None:
    """The epilogue's operands of one strip."""
    if not g.tiles:
        return
    if any(g.buffers[t.view.buffer].segment not in CONSTANTS for t in g.tiles):
        g.emitter.barrier()
    spot = g.spot(place.half, piece)
    for i, tile in enumerate(g.tiles):
        buffer = g.buffers[tile.view.buffer]
        tile.load(
            g.builder,
            spot,
            buffer.segment,
            buffer.offset + place.outer[3 + i],
            waits=[Wait(Sem.X_FREE)] if i == 0 else (),
            signals=[self_sem(Sem.X_FULL)] if i == len(g.tiles) - 1 else (),
        )


def staging_registers(g: GemmState) -> None:
    """Where the core's parts lie in L2, which cluster sends them, and the sign to start."""
    mesh, cluster = g.emitter.chip.mesh, g.map.cluster
    if cluster is None:
        return
    down, across = cluster
    b = g.builder
    b.seta(A_SHARERS, 1, mult=mesh.cols + 1, scalar=S_CLUSTER, div=mesh.cols, shift=True)
    if g.buffers[g.job.a.buffer].segment not in CONSTANTS:
        g.emitter.barrier()
        b.sync(signals=[signal(Sig.CDMA_MASK, ClusterSem.A_GO, A_SHARERS)])
    b.seta(B_SHARERS, 1, mult=mesh.cols + 1, scalar=S_CLUSTER, mod=mesh.cols, shift=True)
    b.seta(A_STAGE, mult=a_part_bytes(g) if down > 1 else 0, scalar=S_CORE, div=across, mod=down)
    b.seta(B_STAGE, mult=b_part_bytes(g) if across > 1 else 0, scalar=S_CORE, mod=across)


def a_part_bytes(g: GemmState) -> int:
    """Bytes of one core's rows of a panel of A in an L2 slot."""
    return g.map.bm * g.map.kp * g.job.a.esize


def b_part_bytes(g: GemmState) -> int:
    """Bytes of one core's strip of B in an L2 slot."""
    return g.map.sn * g.map.kp * g.job.shape.b_bytes
