"""What the emission of one attention knows on every queue: L1 and accumulator places, aregs, clips.

In:  an `AttentionJob`, the op's L1 arena.   Out: `AttentionState`, which the emitters of the queues
share.

Areg use: 1 row index, 2 key index, 3 pairs of key tiles left out (negative), 4 first row - first
key, 5–9 offsets of q, k, v, mask, out, 10 key index in bytes of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from athena.isa.builder import Clip, Operand, StreamBuilder
from athena.isa.cycles import ceil_div
from athena.isa.fields import S_CORE, Dt, Queue, Seg
from compiler.lowering.attention_job import AttentionJob, AttentionMap
from compiler.lowering.emitter import BIG_INDEX, Arena, Emitter
from compiler.lowering.plan import Buffer
from compiler.lowering.views import View

ROW, KEY, PAIRS, DIAGONAL = 1, 2, 3, 4
Q_AT, K_AT, V_AT, MASK_AT, OUT_AT, KEY_BYTES = 5, 6, 7, 8, 9, 10
UNROLLED_UNITS = 4
_SHARED_COLUMNS = ("old", "alpha", "sum", "inverse")
_OWN_COLUMNS = ("m", "q", "l")


@dataclass(slots=True)
class AttentionState:
    """Shared by the emitters of one attention; `queue` is the stream being written.

    A block of query rows is one or two sub-blocks of `bq` rows that pass over the same tiles of
    keys.
    """

    emitter: Emitter
    job: AttentionJob
    buffers: list[Buffer]
    arena: Arena
    queue: Queue = Queue.LOAD
    at: dict[str, tuple[int, ...]] = field(default_factory=dict)
    columns: dict[tuple[str, int], int] = field(default_factory=dict)
    uses: int = 0

    @property
    def map(self) -> AttentionMap:
        """The mapping."""
        return self.job.mapping

    @property
    def builder(self) -> StreamBuilder:
        """The stream being written."""
        return self.emitter.streams[self.queue]

    # --- layout

    def place(self) -> None:
        """Take L1: q, k, v, p, mask with statistics, out, each group from a bank of its own."""
        job, m, take = self.job, self.map, self.arena.take
        depth, value_depth = job.q.shape[3], job.v.shape[3]
        slots = max(2, m.subs)
        self.at["q"] = tuple(take(m.bq * job.pitch(depth, job.q.dt)) for _ in range(m.subs))
        self.arena.next_bank()
        self.at["k"] = tuple(take(m.bk * job.pitch(depth, job.k.dt)) for _ in range(2))
        self.arena.next_bank()
        self.at["v"] = tuple(take(m.bk * job.pitch(value_depth, job.v.dt)) for _ in range(2))
        self.arena.next_bank()
        self.at["p"] = tuple(take(m.bq * job.pitch(m.bk, m.p_dt)) for _ in range(slots))
        self.arena.next_bank()
        if job.mask is not None:
            self.at["mask"] = tuple(take(m.bq * job.pitch(m.bk, job.mask.dt)) for _ in range(slots))
        for name in _SHARED_COLUMNS:
            self.columns[name, 0] = take(4 * m.bq)
        for sub in range(m.subs):
            for name in _OWN_COLUMNS:
                self.columns[name, sub] = take(4 * m.bq)
        self.arena.next_bank()
        self.at["out"] = tuple(
            take(m.bq * job.pitch(value_depth, job.out.dt)) for _ in range(m.subs)
        )

    def column(self, name: str, sub: int) -> int:
        """L1 address of an fp32 column of row statistics."""
        return self.columns[name, sub if name in _OWN_COLUMNS else 0]

    def scores(self, slot: int) -> Operand:
        """Accumulator region of a tile of S."""
        at = slot % self.map.s_slots * self.emitter.chip.acc_region_bytes
        return Operand(Seg.ACC, at, self.map.bk * 4, Dt.F32)

    def output(self, sub: int) -> Operand:
        """Accumulator region of O."""
        at = (self.map.s_slots + sub) * self.emitter.chip.acc_region_bytes
        return Operand(Seg.ACC, at, self.job.v.shape[3] * 4, Dt.F32)

    def query(self, sub: int) -> Operand:
        """The rows of a sub-block in L1."""
        q = self.job.q
        return Operand(Seg.L1, self.at["q"][sub], self.job.pitch(q.shape[3], q.dt), q.dt)

    def tile(self, name: str, slot: int) -> Operand:
        """A tile of "k" or "v" in L1."""
        view = self.job.k if name == "k" else self.job.v
        return Operand(Seg.L1, self.at[name][slot], self.job.pitch(view.shape[3], view.dt), view.dt)

    def probabilities(self, slot: int) -> Operand:
        """A tile of P in L1."""
        return Operand(
            Seg.L1, self.at["p"][slot], self.job.pitch(self.map.bk, self.map.p_dt), self.map.p_dt
        )

    def result(self, sub: int) -> Operand:
        """The finished rows of a sub-block in L1."""
        out = self.job.out
        return Operand(Seg.L1, self.at["out"][sub], self.job.pitch(out.shape[3], out.dt), out.dt)

    # --- shape of the loops

    @property
    def block_rows(self) -> int:
        """Query rows of a block."""
        return self.map.subs * self.map.bq

    @property
    def units(self) -> int:
        """(batch, head) pairs that one core computes."""
        batch, heads = self.job.q.shape[:2]
        return (batch // self.map.batch_groups) * (heads // self.map.head_groups)

    @property
    def single(self) -> bool:
        """Whether one key tile is all and blocks are few enough to be written out."""
        m = self.map
        return m.tiles == 1 and self.units * m.row_blocks <= UNROLLED_UNITS

    @property
    def skips(self) -> bool:
        """Whether pairs of key tiles above the diagonal are left out (their number must be linear
        in the row).
        """
        m, job = self.map, self.job
        if not (job.causal and job.slope and self.queue is not Queue.STORE):
            return False
        return m.row_groups * m.row_blocks > 1 and self.block_rows % (2 * m.bk) == 0

    @property
    def shared(self) -> bool:
        """Whether keys and values are walked alike, so that one areg serves both."""
        return self.job.k.strides == self.job.v.strides

    def pair_limit(self) -> Clip | None:
        """Clip of the number of pairs of key tiles of a block."""
        if not self.skips:
            return None
        pairs = ceil_div(max(self.block_rows + self.job.offset, 0), 2 * self.map.bk)
        return Clip(pairs, PAIRS)

    # --- registers

    def registers(self, jb: int, jh: int) -> None:
        """SETA of every areg the queue uses, for batch step `jb` and head step `jh`."""
        job, m = self.job, self.job.mapping
        builder = self.emitter.streams[self.queue]
        units = m.head_groups * m.batch_groups
        used = units * m.row_groups
        builder.seta(ROW, mult=self.block_rows, scalar=S_CORE, div=units)
        if self.emitter.chip.cores > used:
            builder.seta(ROW, mult=BIG_INDEX, scalar=S_CORE, div=used, add=ROW)
        if self.queue in (Queue.LOAD, Queue.MATRIX, Queue.VECTOR):
            builder.seta(KEY)
        if self.skips:
            builder.seta(PAIRS, mult=-(self.block_rows // (2 * m.bk)), scalar=S_CORE, div=units)
        if self.queue is Queue.VECTOR:
            builder.seta(DIAGONAL, mult=self.block_rows * job.slope, scalar=S_CORE, div=units)
        if self.queue is Queue.LOAD:
            self._place_areg(Q_AT, job.q, jb, jh, 1)
            self._place_areg(K_AT, job.k, jb, jh, job.rep)
            if not self.shared:
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
            builder.seta(
                areg,
                mult=self.block_rows * sr,
                scalar=S_CORE,
                div=units,
                mod=m.row_groups,
                add=areg,
            )

    def head_steps(self) -> tuple[tuple[int, int], ...]:
        """(areg, delta) from one head of the core to its next."""
        job, groups = self.job, self.job.mapping.head_groups
        if self.queue is Queue.LOAD:
            steps = [(Q_AT, groups * job.q.strides[1])]
            steps.append((K_AT, groups // job.rep * job.k.strides[1]))
            if not self.shared:
                steps.append((V_AT, groups // job.rep * job.v.strides[1]))
            if job.mask is not None:
                steps.append((MASK_AT, groups * job.mask.strides[1]))
            return tuple((areg, delta) for areg, delta in steps if delta)
        return ((OUT_AT, groups * job.out.strides[1]),) if self.queue is Queue.STORE else ()

    def row_steps(self, rows: int) -> tuple[tuple[int, int], ...]:
        """(areg, delta) for a step of `rows` query rows."""
        job, m = self.job, self.job.mapping
        steps = [(ROW, rows)]
        if self.skips:
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

    def key_steps(self, keys: int) -> tuple[tuple[int, int], ...]:
        """(areg, delta) for a step of `keys` keys."""
        job = self.job
        if self.queue is Queue.LOAD:
            steps = [(KEY, keys), (K_AT, keys * job.k.strides[2])]
            if not self.shared:
                steps.append((V_AT, keys * job.v.strides[2]))
            if job.mask is not None:
                steps += [(MASK_AT, keys * job.mask.strides[3]), (KEY_BYTES, keys * job.mask.esize)]
            return tuple(steps)
        if self.queue is Queue.VECTOR:
            return ((KEY, keys), (DIAGONAL, -keys))
        return ((KEY, keys),) if self.queue is Queue.MATRIX else ()

    # --- clips

    def rows_left(self, sub: int = 0) -> Clip:
        """Clip of a row count; as clip of a count of 1 it says whether the core has rows at all."""
        return Clip(self.job.q.shape[2] - sub * self.map.bq, ROW)

    def keys_left(self, tile: int) -> Clip:
        """Clip of a count of keys."""
        return Clip(self.job.k.shape[2] - tile * self.map.bk, KEY)

    def key_bytes_left(self, tile: int, esize: int) -> Clip:
        """Clip of the bytes of a row of the mask."""
        return Clip((self.job.k.shape[2] - tile * self.map.bk) * esize, KEY_BYTES)

    def address(self, view: View) -> tuple[Seg, int]:
        """Segment and offset of a view."""
        buffer = self.buffers[view.buffer]
        return buffer.segment, buffer.offset + view.offset
