"""Emission of attention: online softmax over tiles of keys, once per queue.

In:  an `AttentionJob`, the buffers' offsets.   Out: words on the four core queues.

Per block of rows: MATRIX clears O, then for each pair of key tiles computes S0, S1, and adds P0·V0, P1·V1 to O. VECTOR turns a tile of
S into P: scale and mask with the running maximum m, alpha = exp(m_old - m), P = exp(S - m) with its row sums, l = l·alpha + sums,
O = O·alpha; at the end O / l. S, O lie in accumulator regions of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from athena.isa.builder import Clip, Mask, Operand, Side, Vec, Wait, imm, self_sem
from athena.isa.cycles import ceil_div
from athena.isa.fields import S_CORE, Acc, Alu, Dt, Kind, Lut, Queue, Red, Seg
from compiler.lowering.attention_job import AttentionJob
from compiler.lowering.emitter import BIG_INDEX, Arena, Emitter, Sem
from compiler.lowering.plan import Buffer
from compiler.lowering.tiles import column, column_operand
from compiler.lowering.views import View

ROW, KEY, PAIRS, DIAGONAL = 1, 2, 3, 4
Q_AT, K_AT, V_AT, MASK_AT, OUT_AT, KEY_BYTES = 5, 6, 7, 8, 9, 10
LOWEST = float(np.finfo(np.float32).min)
TINY = 1e-30
UNROLLED_UNITS = 4


@dataclass(slots=True)
class _Attention:
    emitter: Emitter
    job: AttentionJob
    buffers: list[Buffer]
    arena: Arena
    queue: Queue = Queue.LOAD
    at: dict[str, tuple[int, ...]] = field(default_factory=dict)
    uses: int = 0

    # --- layout

    def place(self) -> None:
        job, m = self.job, self.job.mapping
        depth, value_depth = job.q.shape[3], job.v.shape[3]
        take = self.arena.take
        self.at["q"] = (take(m.bq * job.pitch(depth, job.q.dt)),)
        self._bank()
        self.at["k"] = tuple(take(m.bk * job.pitch(depth, job.k.dt)) for _ in range(2))
        self._bank()
        self.at["v"] = tuple(take(m.bk * job.pitch(value_depth, job.v.dt)) for _ in range(2))
        self._bank()
        self.at["p"] = tuple(take(m.bq * job.pitch(m.bk, m.p_dt)) for _ in range(2))
        self._bank()
        if job.mask is not None:
            self.at["mask"] = tuple(take(m.bq * job.pitch(m.bk, job.mask.dt)) for _ in range(2))
        names = ("m", "old", "alpha", "sum", "l", "inverse")
        self.at["column"] = tuple(take(4 * m.bq) for _ in names)
        self._bank()
        self.at["out"] = (take(m.bq * job.pitch(value_depth, job.out.dt)),)

    def _bank(self) -> None:
        self.arena.used = ceil_div(self.arena.used, self.arena.bank_bytes) * self.arena.bank_bytes

    def _col(self, name: str) -> int:
        return self.at["column"][("m", "old", "alpha", "sum", "l", "inverse").index(name)]

    def _scores(self, slot: int) -> Operand:
        m = self.job.mapping
        return Operand(
            Seg.ACC, slot % m.s_slots * self.emitter.chip.acc_region_bytes, m.bk * 4, Dt.F32
        )

    def _output(self) -> Operand:
        m = self.job.mapping
        return Operand(
            Seg.ACC, m.s_slots * self.emitter.chip.acc_region_bytes, self.job.v.shape[3] * 4, Dt.F32
        )

    # --- loops

    @property
    def single(self) -> bool:
        """Whether one key tile is all and blocks are few enough to be written out."""
        m = self.job.mapping
        return m.tiles == 1 and self._units() * m.row_blocks <= UNROLLED_UNITS

    def _units(self) -> int:
        batch, heads = self.job.q.shape[:2]
        m = self.job.mapping
        return (batch // m.batch_groups) * (heads // m.head_groups)

    def walk(self, queue: Queue) -> None:
        """All words of one queue."""
        self.queue, self.uses = queue, 0
        builder, m = self.emitter.streams[queue], self.job.mapping
        if queue is Queue.LOAD:
            self.emitter.barrier()
        if queue is Queue.MATRIX:
            builder.sync(signals=[self_sem(Sem.ACC_FREE)] * m.s_slots + [self_sem(Sem.O_FREE)])
        batch, heads = self.job.q.shape[:2]
        for jb in range(batch // m.batch_groups):
            count = heads // m.head_groups
            if count > 1 and m.head_groups % self.job.rep == 0 and not self.single:
                self._registers(jb, 0)
                self.emitter.loop(queue, count, self._head_steps(), self._blocks)
            else:
                for jh in range(count):
                    self._registers(jb, jh)
                    self._blocks()
        if queue is Queue.MATRIX:
            builder.sync(waits=[Wait(Sem.ACC_FREE, m.s_slots), Wait(Sem.O_FREE)])

    def _blocks(self) -> None:
        m = self.job.mapping
        rows = m.row_groups * m.bq
        if self.single:
            for j in range(m.row_blocks):
                self._block()
                if j + 1 < m.row_blocks:
                    for areg, delta in self._row_steps(rows):
                        self.emitter.streams[self.queue].seta(areg, delta, add=areg)
            return
        self.emitter.loop(self.queue, m.row_blocks, self._row_steps(rows), self._block)

    def _block(self) -> None:
        self._begin()
        if self.single:
            self._tiles((0,), self.uses % 2)
            self.uses += 1
        elif self.queue is not Queue.STORE:
            m = self.job.mapping
            pairs = ceil_div(m.tiles, 2)
            clip = Clip(self._pair_limit(), PAIRS) if self._skips() else None
            self.emitter.loop(
                self.queue, pairs, self._key_steps(2 * m.bk), lambda: self._tiles((0, 1), 0), clip
            )
        self._end()

    def _skips(self) -> bool:
        """Whether key tiles above the diagonal are left out (their number must be linear in the row)."""
        m, job = self.job.mapping, self.job
        if not (job.causal and job.slope and self.queue is not Queue.STORE):
            return False
        return m.row_groups * m.row_blocks > 1 and m.bq % (2 * m.bk) == 0

    def _pair_limit(self) -> int:
        m = self.job.mapping
        return ceil_div(max(m.bq + self.job.offset, 0), 2 * m.bk)

    # --- registers

    def _registers(self, jb: int, jh: int) -> None:
        job, m = self.job, self.job.mapping
        builder = self.emitter.streams[self.queue]
        units = m.head_groups * m.batch_groups
        used = units * m.row_groups
        builder.seta(ROW, mult=m.bq, scalar=S_CORE, div=units)
        if self.emitter.chip.cores > used:
            builder.seta(ROW, mult=BIG_INDEX, scalar=S_CORE, div=used, add=ROW)
        if self.queue in (Queue.LOAD, Queue.MATRIX, Queue.VECTOR):
            builder.seta(KEY)
        if self._skips():
            builder.seta(PAIRS, mult=-(m.bq // (2 * m.bk)), scalar=S_CORE, div=units)
        if self.queue is Queue.VECTOR:
            builder.seta(DIAGONAL, mult=m.bq * job.slope, scalar=S_CORE, div=units)
        if self.queue is Queue.LOAD:
            self._place_areg(Q_AT, job.q, jb, jh, 1)
            self._place_areg(K_AT, job.k, jb, jh, job.rep)
            if not self._shared():
                self._place_areg(V_AT, job.v, jb, jh, job.rep)
            if job.mask is not None:
                self._place_areg(MASK_AT, job.mask, jb, jh, 1)
                builder.seta(KEY_BYTES)
        if self.queue is Queue.STORE:
            self._place_areg(OUT_AT, job.out, jb, jh, 1)

    def _place_areg(self, areg: int, view: View, jb: int, jh: int, rep: int) -> None:
        """Areg = offset of this core's batch, head and first row in `view`."""
        m = self.job.mapping
        builder = self.emitter.streams[self.queue]
        sb, sh, sr, _ = view.strides
        fixed = jb * m.batch_groups * sb + jh * m.head_groups // rep * sh
        keys = areg in (K_AT, V_AT)
        inside = max(m.head_groups // rep, 1)
        builder.seta(areg, fixed, mult=sh if inside > 1 else 0, scalar=S_CORE, div=rep, mod=inside)
        if m.batch_groups > 1:
            builder.seta(
                areg, mult=sb, scalar=S_CORE, div=m.head_groups, mod=m.batch_groups, add=areg
            )
        if not keys and m.row_groups > 1:
            units = m.head_groups * m.batch_groups
            builder.seta(areg, mult=m.bq * sr, scalar=S_CORE, div=units, mod=m.row_groups, add=areg)

    def _head_steps(self) -> tuple[tuple[int, int], ...]:
        job, groups = self.job, self.job.mapping.head_groups
        if self.queue is Queue.LOAD:
            steps = [(Q_AT, groups * job.q.strides[1])]
            steps.append((K_AT, groups // job.rep * job.k.strides[1]))
            if not self._shared():
                steps.append((V_AT, groups // job.rep * job.v.strides[1]))
            if job.mask is not None:
                steps.append((MASK_AT, groups * job.mask.strides[1]))
            return tuple((areg, delta) for areg, delta in steps if delta)
        return ((OUT_AT, groups * job.out.strides[1]),) if self.queue is Queue.STORE else ()

    def _row_steps(self, rows: int) -> tuple[tuple[int, int], ...]:
        job, m = self.job, self.job.mapping
        steps = [(ROW, rows)]
        if self._skips():
            steps.append((PAIRS, -(rows // (2 * m.bk))))
        if self.queue is Queue.LOAD:
            steps.append((Q_AT, rows * job.q.strides[2]))
            if job.mask is not None:
                steps.append((MASK_AT, rows * job.mask.strides[2]))
        if self.queue is Queue.STORE:
            steps.append((OUT_AT, rows * job.out.strides[2]))
        if self.queue is Queue.VECTOR:
            steps.append((DIAGONAL, rows * job.slope))
        return tuple((areg, delta) for areg, delta in steps if delta)

    def _key_steps(self, keys: int) -> tuple[tuple[int, int], ...]:
        job = self.job
        if self.queue is Queue.LOAD:
            steps = [(KEY, keys), (K_AT, keys * job.k.strides[2])]
            if not self._shared():
                steps.append((V_AT, keys * job.v.strides[2]))
            if job.mask is not None:
                steps += [(MASK_AT, keys * job.mask.strides[3]), (KEY_BYTES, keys * job.mask.esize)]
            return tuple(steps)
        if self.queue is Queue.VECTOR:
            return ((KEY, keys), (DIAGONAL, -keys))
        return ((KEY, keys),) if self.queue is Queue.MATRIX else ()

    def _shared(self) -> bool:
        """Whether keys and values are walked alike, so that one areg serves both."""
        return self.job.k.strides == self.job.v.strides

    # --- clips

    def _rows(self) -> Clip:
        return Clip(self.job.q.shape[2], ROW)

    def _keys(self, tile: int) -> Clip:
        return Clip(self.job.k.shape[2] - tile * self.job.mapping.bk, KEY)

    # --- words of a block

    def _begin(self) -> None:
        job, m = self.job, self.job.mapping
        if self.queue is Queue.LOAD:
            buffer, depth = self.buffers[job.q.buffer], job.q.shape[3]
            self.emitter.load.load(
                Operand(
                    buffer.segment, buffer.offset + job.q.offset, job.q.strides[2], job.q.dt, Q_AT
                ),
                Operand(Seg.L1, self.at["q"][0], job.pitch(depth, job.q.dt), job.q.dt),
                rows=m.bq,
                row_bytes=depth * job.q.esize,
                waits=[Wait(Sem.Q_FREE, 2)],
                signals=[self_sem(Sem.Q_FULL)],
                clips=(None, self._rows(), None),
            )
        elif self.queue is Queue.MATRIX:
            builder = self.emitter.matrix
            builder.sync(waits=[Wait(Sem.O_FREE), Wait(Sem.Q_FULL)])
            builder.matmul(
                self._q(),
                self._kv("k", 0),
                self._output(),
                m=m.bq,
                n=job.v.shape[3],
                k=0,
                signals=[self_sem(Sem.PV_DONE)],
                clips=(self._rows(), None, None),
            )
        elif self.queue is Queue.VECTOR:
            for name, value in (("m", LOWEST), ("l", 0.0)):
                at = self._col(name)
                reset = Vec(alu1=Alu.MUL, b=imm(0.0), alu2=Alu.ADD, c=imm(value))
                self._column_word(Operand(Seg.L1, at, 4, Dt.I32), column_operand(at), reset)

    def _end(self) -> None:
        job, m = self.job, self.job.mapping
        if self.queue is Queue.MATRIX:
            self.emitter.matrix_signal(Sem.Q_FREE, Sem.Q_FREE)
        elif self.queue is Queue.VECTOR:
            total, inverse = self._col("l"), self._col("inverse")
            self._column_word(
                column_operand(total),
                column_operand(inverse),
                Vec(alu1=Alu.MAX, b=imm(TINY), lut=Lut.RECIP),
            )
            depth = job.v.shape[3]
            self.emitter.vector.vec(
                self._output(),
                Operand(Seg.L1, self.at["out"][0], job.pitch(depth, job.out.dt), job.out.dt),
                Vec(alu1=Alu.MUL, b=column(inverse)),
                rows=m.bq,
                cols=depth,
                waits=[Wait(Sem.PV_DONE), Wait(Sem.OUT_FREE, 2)],
                signals=[self_sem(Sem.OUT_FULL), self_sem(Sem.O_FREE)],
                clips=(self._rows(), None, None),
            )
        elif self.queue is Queue.STORE:
            buffer, depth = self.buffers[job.out.buffer], job.out.shape[3]
            self.emitter.store.store(
                Operand(Seg.L1, self.at["out"][0], job.pitch(depth, job.out.dt), job.out.dt),
                Operand(
                    buffer.segment,
                    buffer.offset + job.out.offset,
                    job.out.strides[2],
                    job.out.dt,
                    OUT_AT,
                ),
                rows=m.bq,
                row_bytes=depth * job.out.esize,
                waits=[Wait(Sem.OUT_FULL)],
                signals=[self_sem(Sem.OUT_FREE), self_sem(Sem.OUT_FREE)],
                clips=(None, self._rows(), None),
            )

    def _tiles(self, tiles: tuple[int, ...], slot: int) -> None:
        steps: dict[Queue, tuple[Callable[[int, int], None], ...]] = {
            Queue.LOAD: (self._load_keys, self._load_values),
            Queue.MATRIX: (self._multiply_keys, self._multiply_values),
            Queue.VECTOR: (self._softmax,),
            Queue.STORE: (),
        }
        for step in steps[self.queue]:
            for tile in tiles:
                step(tile, (slot + tile) % 2)

    # --- LOAD

    def _load_keys(self, tile: int, slot: int) -> None:
        self._load_tile("k", self.job.k, K_AT, tile, slot, Sem.B_FREE, Sem.B_FULL)
        if self.job.mask is not None:
            self._load_mask(self.job.mask, tile, slot)

    def _load_values(self, tile: int, slot: int) -> None:
        self._load_tile(
            "v", self.job.v, K_AT if self._shared() else V_AT, tile, slot, Sem.V_FREE, Sem.V_FULL
        )

    def _load_tile(
        self, name: str, view: View, areg: int, tile: int, slot: int, free: Sem, full: Sem
    ) -> None:
        m, buffer = self.job.mapping, self.buffers[view.buffer]
        start = buffer.offset + view.offset + tile * m.bk * view.strides[2]
        self.emitter.load.load(
            Operand(buffer.segment, start, view.strides[2], view.dt, areg),
            Operand(Seg.L1, self.at[name][slot], self.job.pitch(view.shape[3], view.dt), view.dt),
            rows=m.bk,
            row_bytes=view.shape[3] * view.esize,
            waits=[Wait(free)],
            signals=[self_sem(full)],
            clips=(Clip(self.job.q.shape[2], ROW), self._keys(tile), None),
        )

    def _load_mask(self, view: View, tile: int, slot: int) -> None:
        m, buffer = self.job.mapping, self.buffers[view.buffer]
        start = buffer.offset + view.offset + tile * m.bk * view.strides[3]
        single = view.strides[2] == 0
        self.emitter.load.load(
            Operand(buffer.segment, start, view.strides[2], view.dt, MASK_AT),
            Operand(Seg.L1, self.at["mask"][slot], self.job.pitch(m.bk, view.dt), view.dt),
            rows=1 if single else m.bq,
            row_bytes=m.bk * view.esize,
            waits=[Wait(Sem.X_FREE)],
            signals=[self_sem(Sem.X_FULL)],
            clips=(
                None,
                self._rows(),
                Clip((self.job.k.shape[2] - tile * m.bk) * view.esize, KEY_BYTES),
            ),
        )

    # --- MATRIX

    def _q(self) -> Operand:
        return Operand(
            Seg.L1,
            self.at["q"][0],
            self.job.pitch(self.job.q.shape[3], self.job.q.dt),
            self.job.q.dt,
        )

    def _kv(self, name: str, slot: int) -> Operand:
        view = self.job.k if name == "k" else self.job.v
        return Operand(Seg.L1, self.at[name][slot], self.job.pitch(view.shape[3], view.dt), view.dt)

    def _p(self, slot: int) -> Operand:
        m = self.job.mapping
        return Operand(Seg.L1, self.at["p"][slot], self.job.pitch(m.bk, m.p_dt), m.p_dt)

    def _multiply_keys(self, tile: int, slot: int) -> None:
        m = self.job.mapping
        self.emitter.matrix.matmul(
            self._q(),
            self._kv("k", slot),
            self._scores(slot),
            m=m.bq,
            n=m.bk,
            k=self.job.q.shape[3],
            b_trans=True,
            waits=[Wait(Sem.B_FULL), Wait(Sem.ACC_FREE)],
            signals=[self_sem(Sem.ACC_FULL), self_sem(Sem.B_FREE)],
            clips=(self._rows(), self._keys(tile), None),
        )

    def _multiply_values(self, tile: int, slot: int) -> None:
        m = self.job.mapping
        self.emitter.matrix.matmul(
            self._p(slot),
            self._kv("v", slot),
            self._output(),
            m=m.bq,
            n=self.job.v.shape[3],
            k=m.bk,
            start=Acc.KEEP,
            waits=[Wait(Sem.P_FULL), Wait(Sem.V_FULL)],
            signals=[self_sem(Sem.PV_DONE), self_sem(Sem.V_FREE)],
            clips=(self._rows(), None, self._keys(tile)),
        )

    # --- VECTOR

    def _column_word(self, a: Operand, d: Operand, steps: Vec) -> None:
        self.emitter.vector.vec(
            a, d, steps, rows=1, cols=self.job.mapping.bq, clips=(None, self._rows(), None)
        )

    def _softmax(self, tile: int, slot: int) -> None:
        job, m = self.job, self.job.mapping
        vector, scores = self.emitter.vector, self._scores(slot)
        top, old, alpha, total = (self._col(n) for n in ("m", "old", "alpha", "sum"))
        clips = (self._rows(), self._keys(tile), None)
        vector.sync(
            waits=[Wait(Sem.ACC_FULL)] + ([Wait(Sem.X_FULL)] if job.mask is not None else [])
        )
        self._column_word(column_operand(top), column_operand(old), Vec())
        if job.softcap is not None:
            cap = Vec(
                alu1=Alu.MUL,
                b=imm(job.scale / job.softcap),
                lut=Lut.TANH,
                alu2=Alu.MUL,
                c=imm(job.softcap),
            )
            vector.vec(scores, scores, cap, rows=m.bq, cols=m.bk, clips=clips)
        vector.vec(scores, scores, self._scale(tile, slot), rows=m.bq, cols=m.bk, clips=clips)
        self._column_word(
            column_operand(old),
            column_operand(alpha),
            Vec(alu1=Alu.SUB, b=self._row(top), lut=Lut.EXP),
        )
        freed = [self_sem(Sem.ACC_FREE)] + ([self_sem(Sem.X_FREE)] if job.mask is not None else [])
        # the sum starts from 0, so that a tile without keys adds nothing
        zero = Vec(alu1=Alu.MUL, b=imm(0.0))
        self._column_word(Operand(Seg.L1, total, 4, Dt.I32), column_operand(total), zero)
        vector.vec(
            scores,
            self._p(slot),
            Vec(
                alu1=Alu.SUB, b=column(top), lut=Lut.EXP, red=Red.SUM, red_to=column_operand(total)
            ),
            rows=m.bq,
            cols=m.bk,
            signals=freed,
            clips=clips,
        )
        running = self._col("l")
        self._column_word(
            column_operand(running),
            column_operand(running),
            Vec(alu1=Alu.MUL, b=self._row(alpha), alu2=Alu.ADD, c=self._row(total)),
        )
        vector.vec(
            self._output(),
            self._output(),
            Vec(alu1=Alu.MUL, b=column(alpha)),
            rows=m.bq,
            cols=job.v.shape[3],
            waits=[Wait(Sem.PV_DONE)],
            signals=[self_sem(Sem.P_FULL)],
            clips=(self._rows(), None, None),
        )

    @staticmethod
    def _row(at: int) -> Side:
        """A packed column read as the second operand of a word over one row."""
        return Side(Kind.FULL, Operand(Seg.L1, at, 4, Dt.F32))

    def _scale(self, tile: int, slot: int) -> Vec:
        job, m = self.job, self.job.mapping
        mask = None
        if job.causal:
            hi = job.offset + 1 - tile * m.bk
            mask = Mask(hi=hi, hi_slope=job.slope, hi_areg=DIAGONAL)
        added = Side()
        if job.mask is not None:
            kind = Kind.ROW if job.mask.strides[2] == 0 else Kind.FULL
            operand = Operand(
                Seg.L1, self.at["mask"][slot], job.pitch(m.bk, job.mask.dt), job.mask.dt
            )
            added = Side(kind, operand)
        return Vec(
            alu1=Alu.MUL,
            b=imm(1.0 if job.softcap is not None else job.scale),
            alu2=Alu.ADD if job.mask is not None else Alu.PASS,
            c=added,
            mask=mask,
            red=Red.MAX,
            red_to=column_operand(self._col("m")),
            red_keep=True,
        )


def emit_attention(emitter: Emitter, job: AttentionJob, buffers: list[Buffer]) -> str:
    """Words of one attention; returns the mapping as text."""
    m = job.mapping
    arena = emitter.begin(job.step.node, job.l1_bytes(m.bq, m.bk, emitter.chip))
    attention = _Attention(emitter=emitter, job=job, buffers=buffers, arena=arena)
    attention.place()
    for queue in (Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE):
        attention.walk(queue)
    emitter.finish(matrix=True)
    return m.describe()
