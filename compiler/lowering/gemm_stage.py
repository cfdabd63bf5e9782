"""Cluster DMAs of a multiply: each operand crosses main memory's port once and is multicast to the
L2 of all clusters that share it.

In:  a `GemmState` on lane `Stage.SHARE`.   Out: MCAST words.

Cluster (i, i) of the mesh sends the rows of A to row i and the columns of B to column i, in the
order in which the cores use them. A slot of L2 is refilled when every core that reads it has given
its credit.
"""

from __future__ import annotations

from athena.isa.builder import Operand, Wait
from athena.isa.fields import S_CLUSTER, Seg, Sig, signal
from compiler.lowering.emitter import ClusterSem, Sem
from compiler.lowering.gemm_load import Chunk, a_part_bytes, b_part_bytes
from compiler.lowering.gemm_state import (
    A_OFFSET,
    A_SHARERS,
    B_OFFSET,
    B_SHARERS,
    CONSTANTS,
    GemmState,
    Part,
    Place,
)


def sharing_registers(g: GemmState) -> None:
    """Masks of the receiving clusters."""
    mesh = g.emitter.chip.mesh
    column = sum(1 << (row * mesh.cols) for row in range(mesh.rows))
    g.builder.seta(B_SHARERS, column, mult=1, scalar=S_CLUSTER, mod=mesh.cols, shift=True)
    row = (1 << mesh.cols) - 1
    g.builder.seta(A_SHARERS, row, mult=mesh.cols, scalar=S_CLUSTER, div=mesh.cols, shift=True)


def await_start(g: GemmState) -> None:
    """A may be read once every core of the row has seen the end of the op before."""
    if g.buffers[g.job.a.buffer].segment not in CONSTANTS and not g.started:
        g.builder.sync(waits=[Wait(ClusterSem.A_GO, _receivers(g, g.emitter.chip.mesh.cols))])
    g.started = True


def _receivers(g: GemmState, clusters: int) -> int:
    return clusters * g.emitter.chip.cluster.cores


def share_a(g: GemmState, place: Place, panel: int, chunk: Chunk) -> None:
    """Columns `chunk` of the panels of all cores of a cluster, to the clusters of the row."""
    await_start(g)
    job, m, size = g.job, g.map, g.job.a.esize
    at, depth = chunk
    buffer, stride = g.buffers[job.a.buffer], job.a.strides[-2]
    start = buffer.offset + job.a.offset + place.half * m.bm * stride
    start += (sum(m.panels[:panel]) + at) * size
    own = m.row_blocks * m.bm  # rows of a core
    target = Operand(Seg.L2, g.l2_slot("a", g.counts["a"]) + at * size, m.kp * size, job.a.dt)
    down = m.cluster[0] if m.cluster else 1
    ragged = job.shape.m != m.grid[0] * own
    credit = Wait(g.credit("a", g.counts["a"]), _receivers(g, g.emitter.chip.mesh.cols))
    for first, last, core in _parts(down, ragged=ragged):
        g.builder.mcast(
            Operand(buffer.segment, start + core * own * stride, stride, job.a.dt, A_OFFSET),
            target.at(core * a_part_bytes(g)),
            blocks=1 if ragged else down,
            rows=m.bm,
            row_bytes=depth * size,
            block_strides=(own * stride, a_part_bytes(g)),
            mask_areg=A_SHARERS,
            waits=[credit] if at == 0 and first else (),
            signals=[signal(Sig.CORES_MASK, Sem.STAGE_A_FULL, A_SHARERS)] if last else (),
            clips=(None, g.rows_left(place.half, core * own) if ragged else None, None),
        )


def share_b(g: GemmState, part: Part) -> None:
    """Part of a strip for every column of cores of a cluster, to the clusters of the column."""
    m, w, size, strip = g.map, g.job.weights, g.job.shape.b_bytes, part.strip
    buffer = g.buffers[w.buffer]
    own = m.col_blocks * m.strips  # strips of a core
    start = buffer.offset + w.offset + strip * w.strip_stride
    start += (sum(m.panels[: part.panel]) + part.at) * w.panel_stride
    target = Operand(Seg.L2, g.l2_slot("b", part.slot) + part.at * m.sn * size, 0, w.dt)
    across = m.cluster[1] if m.cluster else 1
    cut = m.cuts_strips(g.job.shape, g.emitter.chip.core.fifo_words)
    credit = Wait(g.credit("b", part.slot), _receivers(g, g.emitter.chip.mesh.rows))
    for first, last, core in _parts(across, ragged=cut):
        g.builder.mcast(
            Operand(buffer.segment, start + core * own * w.strip_stride, 0, w.dt, B_OFFSET),
            target.at(core * b_part_bytes(g)),
            blocks=1 if cut else across,
            rows=1,
            row_bytes=part.depth * m.sn * size,
            block_strides=(own * w.strip_stride, b_part_bytes(g)),
            mask_areg=B_SHARERS,
            waits=[credit] if part.at == 0 and first else (),
            signals=[signal(Sig.CORES_MASK, Sem.STAGE_B_FULL, B_SHARERS)] if last else (),
            # one block, or none beyond the last strip
            clips=(g.strips_left(strip + core * own) if cut else None, None, None),
        )


def _parts(cores: int, *, ragged: bool) -> tuple[tuple[bool, bool, int], ...]:
    """(first, last, core) of the words that serve a cluster: one for all its cores, or, so that
    each can be clipped, one a core.

    Words complete in order: the last one's signal stands for all.
    """
    if not ragged:
        return ((True, True, 0),)
    return tuple((core == 0, core == cores - 1, core) for core in range(cores))
