"""Emission of attention: loops, LOAD, MATRIX and STORE; the vector words are `attention_softmax`'s.

In:  an `AttentionJob`, the buffers' offsets.   Out: words on the four core queues.

Per block of rows: MATRIX clears O; for each pair of key tiles it computes scores and adds P·V to O,
two score tiles ahead of the vector unit: the two tiles of the pair, or, where a block has two
sub-blocks, the two sub-blocks of a tile.
"""

from __future__ import annotations

from athena.isa.builder import Operand, Wait, self_sem
from athena.isa.cycles import ceil_div
from athena.isa.fields import Acc, Queue, Seg
from compiler.lowering.attention_job import AttentionJob
from compiler.lowering.attention_softmax import finish, reset, softmax
from compiler.lowering.attention_state import K_AT, MASK_AT, OUT_AT, Q_AT, V_AT, AttentionState
from compiler.lowering.emitter import Emitter, Sem
from compiler.lowering.plan import Buffer

Item = tuple[int, int, int]  # key tile, sub-block, slot of scores


def emit_attention(emitter: Emitter, job: AttentionJob, buffers: list[Buffer]) -> str:
    """Words of one attention; returns the mapping as text."""
    m = job.mapping
    arena = emitter.begin(job.step.node, job.l1_bytes(m.bq, m.bk, m.subs, emitter.chip))
    state = AttentionState(emitter=emitter, job=job, buffers=buffers, arena=arena)
    state.place()
    for queue in (Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE):
        _walk(state, queue)
    emitter.finish(matrix=True)
    return m.describe()


def _walk(s: AttentionState, queue: Queue) -> None:
    s.queue, s.uses = queue, 0
    m = s.map
    if queue is Queue.LOAD:
        s.emitter.barrier()
    if queue is Queue.MATRIX:
        s.builder.sync(
            signals=[self_sem(Sem.ACC_FREE)] * m.s_slots + [self_sem(Sem.O_FREE)] * m.subs
        )
    batch, heads = s.job.q.shape[:2]
    count = heads // m.head_groups
    for jb in range(batch // m.batch_groups):
        if count > 1 and m.head_groups % s.job.rep == 0 and not s.single:
            s.registers(jb, 0)
            s.emitter.loop(queue, count, s.head_steps(), lambda: _blocks(s))
        else:
            for jh in range(count):
                s.registers(jb, jh)
                _blocks(s)
    if queue is Queue.MATRIX:
        s.builder.sync(waits=[Wait(Sem.ACC_FREE, m.s_slots), Wait(Sem.O_FREE, m.subs)])


def _blocks(s: AttentionState) -> None:
    rows = s.map.row_groups * s.block_rows
    if not s.single:
        s.emitter.loop(s.queue, s.map.row_blocks, s.row_steps(rows), lambda: _block(s))
        return
    for j in range(s.map.row_blocks):
        _block(s)
        if j + 1 < s.map.row_blocks:
            for areg, delta in s.row_steps(rows):
                s.builder.seta(areg, delta, add=areg)


def _block(s: AttentionState) -> None:
    m = s.map
    _begin(s)
    if s.single:
        slot = s.uses % 2
        s.uses += 1
        _tiles(s, (0,), slot)
    else:
        pairs = ceil_div(m.tiles, 2)
        steps = s.key_steps(2 * m.bk)
        s.emitter.loop(s.queue, pairs, steps, lambda: _tiles(s, (0, 1), 0), s.pair_limit())
    _end(s)


def _tiles(s: AttentionState, tiles: tuple[int, ...], slot: int) -> None:
    """Key tiles `tiles` in K and V slots from `slot` on, in groups of items whose scores are
    computed ahead together.
    """
    subs = range(s.map.subs)
    if s.map.subs > 1:
        groups = [[(tile, sub, sub) for sub in subs] for tile in tiles]
    else:
        groups = [[(tile, 0, (slot + tile) % 2) for tile in tiles]]
    for group in groups:
        _group(s, group, slot)


def _group(s: AttentionState, group: list[Item], slot: int) -> None:
    if s.queue is Queue.LOAD:
        _load_group(s, group, slot)
    elif s.queue is Queue.MATRIX:
        for item in group:
            _scores(s, item, (slot + item[0]) % 2)
        for item in group:
            _values(s, item, (slot + item[0]) % 2)
    elif s.queue is Queue.VECTOR:
        for tile, sub, place in group:
            softmax(s, tile, sub, place)


def _load_group(s: AttentionState, group: list[Item], slot: int) -> None:
    """Keys and masks of all items, then values: the order in which they are used."""
    for tile, sub, place in group:
        if sub == 0:
            _load_tile(s, "k", tile, (slot + tile) % 2)
        _load_mask(s, tile, sub, place)
    for tile, sub, _ in group:
        if sub == 0:
            _load_tile(s, "v", tile, (slot + tile) % 2)


# --- around a block


def _begin(s: AttentionState) -> None:
    if s.queue is Queue.LOAD:
        _load_queries(s)
    elif s.queue is Queue.MATRIX:
        s.builder.sync(waits=[Wait(Sem.O_FREE, s.map.subs), Wait(Sem.Q_FULL)])
        for sub in range(s.map.subs):
            s.builder.matmul(
                s.query(sub),
                s.tile("k", 0),
                s.output(sub),
                m=s.map.bq,
                n=s.job.v.shape[3],
                k=0,
                signals=[self_sem(Sem.PV_DONE)],
                clips=(s.rows_left(sub), None, None),
            )
    elif s.queue is Queue.VECTOR:
        reset(s)


def _end(s: AttentionState) -> None:
    if s.queue is Queue.MATRIX:
        s.emitter.matrix_signal(Sem.Q_FREE, Sem.Q_FREE)
    elif s.queue is Queue.VECTOR:
        finish(s)
    elif s.queue is Queue.STORE:
        for sub in range(s.map.subs):
            _store(s, sub)


def _store(s: AttentionState, sub: int) -> None:
    out, m = s.job.out, s.map
    segment, start = s.address(out)
    s.builder.store(
        s.result(sub),
        Operand(segment, start + sub * m.bq * out.strides[2], out.strides[2], out.dt, OUT_AT),
        rows=m.bq,
        row_bytes=out.shape[3] * out.esize,
        waits=[Wait(Sem.OUT_FULL)],
        signals=[self_sem(Sem.OUT_FREE)] * (3 - m.subs),
        clips=(None, s.rows_left(sub), None),
    )


# --- LOAD


def _load_queries(s: AttentionState) -> None:
    q, m = s.job.q, s.map
    segment, start = s.address(q)
    for sub in range(m.subs):
        s.builder.load(
            Operand(segment, start + sub * m.bq * q.strides[2], q.strides[2], q.dt, Q_AT),
            s.query(sub),
            rows=m.bq,
            row_bytes=q.shape[3] * q.esize,
            waits=[Wait(Sem.Q_FREE, 2)] if sub == 0 else (),
            signals=[self_sem(Sem.Q_FULL), self_sem(Sem.X_FULL)] if sub == m.subs - 1 else (),
            clips=(None, s.rows_left(sub), None),
        )


def _load_tile(s: AttentionState, name: str, tile: int, slot: int) -> None:
    view = s.job.k if name == "k" else s.job.v
    free, full = (Sem.B_FREE, Sem.B_FULL) if name == "k" else (Sem.V_FREE, Sem.V_FULL)
    segment, start = s.address(view)
    areg = K_AT if name == "k" or s.shared else V_AT
    s.builder.load(
        Operand(segment, start + tile * s.map.bk * view.strides[2], view.strides[2], view.dt, areg),
        s.tile(name, slot),
        rows=s.map.bk,
        row_bytes=view.shape[3] * view.esize,
        waits=[Wait(free)],
        signals=[self_sem(full)],
        clips=(s.rows_left(), s.keys_left(tile), None),
    )


def _load_mask(s: AttentionState, tile: int, sub: int, slot: int) -> None:
    view, m = s.job.mask, s.map
    if view is None:
        return
    segment, start = s.address(view)
    row, key = view.strides[2], view.strides[3]
    s.builder.load(
        Operand(segment, start + tile * m.bk * key + sub * m.bq * row, row, view.dt, MASK_AT),
        Operand(Seg.L1, s.at["mask"][slot], s.job.pitch(m.bk, view.dt), view.dt),
        rows=1 if row == 0 else m.bq,
        row_bytes=m.bk * view.esize,
        waits=[Wait(Sem.X_FREE)],
        signals=[self_sem(Sem.X_FULL)],
        clips=(None, s.rows_left(sub), s.key_bytes_left(tile, view.esize)),
    )


# --- MATRIX


def _scores(s: AttentionState, item: Item, slot: int) -> None:
    """S = Q·Kᵀ; the last sub-block gives the tile of keys back."""
    tile, sub, place = item
    free = [self_sem(Sem.B_FREE)] if sub == s.map.subs - 1 else []
    s.builder.matmul(
        s.query(sub),
        s.tile("k", slot),
        s.scores(place),
        m=s.map.bq,
        n=s.map.bk,
        k=s.job.q.shape[3],
        b_trans=True,
        waits=([Wait(Sem.B_FULL)] if sub == 0 else []) + [Wait(Sem.ACC_FREE)],
        signals=[self_sem(Sem.ACC_FULL), *free],
        clips=(s.rows_left(sub), s.keys_left(tile), None),
    )


def _values(s: AttentionState, item: Item, slot: int) -> None:
    """O += P·V; the last sub-block gives the tile of values back."""
    tile, sub, place = item
    free = [self_sem(Sem.V_FREE)] if sub == s.map.subs - 1 else []
    s.builder.matmul(
        s.probabilities(place),
        s.tile("v", slot),
        s.output(sub),
        m=s.map.bq,
        n=s.job.v.shape[3],
        k=s.map.bk,
        start=Acc.KEEP,
        waits=[Wait(Sem.P_FULL)] + ([Wait(Sem.V_FULL)] if sub == 0 else []),
        signals=[self_sem(Sem.PV_DONE), *free],
        clips=(s.rows_left(sub), None, s.keys_left(tile)),
    )
