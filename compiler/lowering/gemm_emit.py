"""Emission of a multiply: the loops over row blocks, strips and panels, once per queue.

In:  a `GemmJob`, the buffers' offsets.   Out: words on LOAD, MATRIX, VECTOR and STORE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from athena.isa.builder import Clip, Operand, Wait, self_sem
from athena.isa.cycles import ceil_div
from athena.isa.fields import S_CORE, Acc, Dt, Kind, Queue, Seg
from compiler.lowering.chain_script import ChainPlaces, add_chain
from compiler.lowering.emitter import Arena, Emitter, Sem
from compiler.lowering.gemm import GemmJob
from compiler.lowering.gemm_map import PITCH_ALIGN
from compiler.lowering.nest import COL_INDEX, FIRST_PATTERN, ROW_INDEX, Split, Spot
from compiler.lowering.plan import Buffer
from compiler.lowering.tiles import Script, Tile, kind_of, make_tile, pitch_of
from compiler.lowering.views import View

A_OFFSET = 5
B_OFFSET = 6


@dataclass(slots=True)
class _Gemm:
    emitter: Emitter
    job: GemmJob
    buffers: list[Buffer]
    arena: Arena
    a_slots: tuple[int, ...] = ()
    b_slots: tuple[int, ...] = ()
    bias_slots: tuple[int, ...] = ()
    tiles: tuple[Tile, ...] = ()
    out_tile: Tile | None = None
    temp: Operand | None = None
    recip: Operand | None = None
    queue: Queue = Queue.LOAD
    patterns: dict[tuple[int, ...], int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    # --- what Spot asks of a nest

    @property
    def shape(self) -> tuple[int, ...]:
        return self.job.out.shape

    def pattern(self, strides: tuple[int, ...]) -> int:
        return self.patterns.get(strides, 0)

    # --- layout

    @property
    def a_pitch(self) -> int:
        return ceil_div(self.job.mapping.kp * self.job.a.esize, PITCH_ALIGN) * PITCH_ALIGN

    @property
    def b_pitch(self) -> int:
        m, w = self.job.mapping, self.job.weights
        size = self.job.shape.b_bytes
        return ceil_div((m.kp if w.trans else m.sn) * size, PITCH_ALIGN) * PITCH_ALIGN

    def place(self) -> None:
        m, job = self.job.mapping, self.job
        b_rows = m.sn if job.weights.trans else m.kp
        self.a_slots = tuple(self.arena.take(m.bm * self.a_pitch) for _ in range(m.a_slots))
        self._bank()
        self.b_slots = tuple(self.arena.take(b_rows * self.b_pitch) for _ in range(2))
        if job.bias is not None:
            self.bias_slots = tuple(self.arena.take(m.sn * 4) for _ in range(2))
        self._bank()
        split = Split(
            axis=-1, outer_groups=1, row_groups=1, col_groups=1, tile_rows=m.bm, tile_cols=m.sn, row_tiles=1, col_tiles=1
        )
        self.tiles = tuple(make_tile(v, kind_of(v, job.out.shape), split, self.arena) for v in job.operands)
        pitch = pitch_of(Kind.FULL, m.sn, 4)
        temps = [Operand(Seg.L1, self.arena.take(m.bm * pitch), pitch, Dt.F32) for _ in range(job.shape.temp_tiles)]
        if temps:
            self.temp = temps[0] if len(job.words) > 1 else None
            self.recip = temps[-1]
        self._bank()
        self.out_tile = make_tile(job.out, Kind.FULL, split, self.arena)

    def _bank(self) -> None:
        bank = self.arena.bank_bytes
        self.arena.used = ceil_div(self.arena.used, bank) * bank

    # --- loops

    def walk(self, queue: Queue) -> None:
        """All words of one queue."""
        self.queue, self.counts = queue, {}
        builder = self.emitter.streams[queue]
        depth = self.job.mapping.acc_slots
        self._registers()
        if queue is Queue.LOAD and max(self.job.mapping.row_blocks, self.job.mapping.col_blocks) > 1:
            self.emitter.barrier()  # inside a loop it would be waited for again and again
        if queue is Queue.MATRIX:
            for start in range(0, depth, 4):
                builder.sync(signals=[self_sem(Sem.ACC_FREE)] * min(4, depth - start))
        for outer in self.job.outers:
            self._rows(outer)
        if queue is Queue.MATRIX:
            builder.sync(waits=[Wait(Sem.ACC_FREE, depth)])

    def _rows(self, outer: tuple[int, ...]) -> None:
        m = self.job.mapping
        if m.row_blocks == 1:
            self._unit(outer, 0)
            return

        def two() -> None:
            self._unit(outer, 0)
            self._unit(outer, 1)

        self.emitter.loop(self.queue, ceil_div(m.row_blocks, 2), self._steps(2 * m.bm, 0), two)

    def _unit(self, outer: tuple[int, ...], half: int) -> None:
        m = self.job.mapping
        single = len(m.panels) == 1
        if single:
            self._slot("a")
            if self.queue is Queue.LOAD and m.col_blocks > 1:
                self._load_a(outer, half, 0, 0, m.panels[0])

        def block() -> None:
            self._block(outer, half)

        self.emitter.loop(self.queue, m.col_blocks, self._steps(0, m.strips * m.sn), block)
        if single and self.queue is Queue.MATRIX:
            if m.col_blocks > 1:
                self.emitter.matrix.sync(waits=[Wait(Sem.A_FULL)])
            self.emitter.matrix_signal(Sem.A_FREE)

    def _block(self, outer: tuple[int, ...], half: int) -> None:
        m = self.job.mapping
        whole = len(m.panels) == 1 and m.col_blocks > 1  # A came before the loop over blocks
        for p, depth in enumerate(m.panels):
            if len(m.panels) > 1:
                self._slot("a")
            for s in range(m.strips):
                self._strip(outer, half, p, s, depth, chunked=s == 0 and not whole)
            if len(m.panels) > 1 and self.queue is Queue.MATRIX:
                self.emitter.matrix_signal(Sem.A_FREE)

    def _strip(self, outer: tuple[int, ...], half: int, p: int, s: int, depth: int, *, chunked: bool) -> None:
        slot = self._slot("b")
        last = p == len(self.job.mapping.panels) - 1
        acc = self._acc(s)
        if self.queue is Queue.LOAD:
            self._load_strip(outer, half, p, s, depth, slot, chunked)
            if last:
                self._load_operands(outer, half, s)
        elif self.queue is Queue.MATRIX:
            self._multiply(half, p, s, depth, slot, acc, chunked)
        elif last:
            spot = self._spot(half, s)
            if self.queue is Queue.VECTOR:
                self._epilogue(spot, acc)
            else:
                self._store(outer, spot)

    # --- counters, registers

    def _slot(self, ring: str) -> int:
        self.counts[ring] = self.counts.get(ring, -1) + 1
        return self.counts[ring] % 2

    def _acc(self, strip: int) -> Operand:
        m = self.job.mapping
        chip = self.emitter.chip
        number = (self.counts["b"] if m.strips == 1 and len(m.panels) == 1 else strip) % m.acc_slots
        if m.strips == 1 and len(m.panels) > 1:
            number = (self.counts["b"] // len(m.panels)) % m.acc_slots
        return Operand(Seg.ACC, number % chip.core.acc_regions * chip.acc_region_bytes, m.sn * 4, self.job.acc_dt)

    def _spot(self, half: int, strip: int) -> Spot:
        m = self.job.mapping
        slot = self._slot("x")
        return Spot(self, slot, half * m.bm, strip * m.sn, ())  # type: ignore[arg-type]

    def _registers(self) -> None:
        m, job = self.job.mapping, self.job
        rows, cols = m.row_blocks * m.bm, m.col_blocks * m.strips * m.sn
        self._seta(ROW_INDEX, rows, 0)
        load, store = self.queue is Queue.LOAD, self.queue is Queue.STORE
        scales = {1} if not (load or store) else ({job.out.esize} if store else self._load_scales())
        for scale in sorted(scales):
            self._seta(COL_INDEX[scale], 0, cols * scale)
        self.patterns = {}
        if load:
            self._seta(A_OFFSET, rows * job.a.strides[-2], 0)
            self._seta(B_OFFSET, 0, cols // m.sn * job.weights.strip_stride)
        for view in job.operands if load else ((job.out,) if store else ()):
            if any(view.strides) and view.strides not in self.patterns:
                areg = FIRST_PATTERN + len(self.patterns)
                self.patterns[view.strides] = areg
                self._seta(areg, rows * view.strides[0], cols * view.strides[1])

    def _load_scales(self) -> set[int]:
        scales = {v.esize for v in self.job.operands} | {self.job.shape.b_bytes}
        if self.job.bias is not None:
            scales.add(4)
        if self.job.weights.trans:
            scales.add(1)
        return scales

    def _seta(self, areg: int, row_mult: int, col_mult: int) -> None:
        """areg = (core div gn) · row_mult + (core mod gn) · col_mult."""
        builder = self.emitter.streams[self.queue]
        gn = self.job.mapping.grid[1]
        builder.seta(areg, mult=row_mult, scalar=S_CORE, div=gn)
        if col_mult and gn > 1:
            builder.seta(areg, mult=col_mult, scalar=S_CORE, mod=gn, add=areg)

    def _steps(self, rows: int, cols: int) -> tuple[tuple[int, int], ...]:
        job, m = self.job, self.job.mapping
        load, store = self.queue is Queue.LOAD, self.queue is Queue.STORE
        steps = [(areg, rows * key[0] + cols * key[1]) for key, areg in self.patterns.items()]
        steps.append((ROW_INDEX, rows))
        scales = {1} if not (load or store) else ({job.out.esize} if store else self._load_scales())
        steps += [(COL_INDEX[scale], cols * scale) for scale in sorted(scales)]
        if load:
            steps.append((A_OFFSET, rows * job.a.strides[-2]))
            steps.append((B_OFFSET, cols // m.sn * job.weights.strip_stride))
        return tuple((areg, delta) for areg, delta in steps if delta)

    # --- clips

    def _row_clip(self, half: int) -> Clip:
        return Clip(self.job.shape.m - half * self.job.mapping.bm, ROW_INDEX)

    def _alive(self, half: int) -> Clip:
        """1 where the core has rows, else 0 (for counts of 1)."""
        return self._row_clip(half)

    def _col_clip(self, strip: int, scale: int) -> Clip:
        m, n = self.job.mapping, self.job.shape.n
        if self.job.weights.packed and scale == self.job.shape.b_bytes and self.queue is Queue.LOAD:
            n = ceil_div(n, m.sn) * m.sn
        return Clip((n - strip * m.sn) * scale, COL_INDEX[scale])

    # --- LOAD

    def _chunks(self, depth: int, *, chunked: bool) -> list[tuple[int, int]]:
        m = self.job.mapping
        if not chunked or m.chunks == 1:
            return [(0, depth)]
        rows = self.emitter.chip.core.matrix.rows
        size = ceil_div(ceil_div(m.kp, m.chunks), rows) * rows
        return [(at, min(size, depth - at)) for at in range(0, depth, size)]

    def _load_a(self, outer: tuple[int, ...], half: int, p: int, at: int, depth: int) -> None:
        job, m = self.job, self.job.mapping
        buffer = self.buffers[job.a.buffer]
        if buffer.segment is not Seg.WEIGHT:
            self.emitter.barrier()
        k0 = p * m.kp + at
        start = buffer.offset + job.a.offset + outer[0] + half * m.bm * job.a.strides[-2] + k0 * job.a.strides[-1]
        source = Operand(buffer.segment, start, job.a.strides[-2], job.a.dt, A_OFFSET)
        target = Operand(Seg.L1, self.a_slots[self.counts["a"] % m.a_slots] + at * job.a.esize, self.a_pitch, job.a.dt)
        self.emitter.load.load(
            source,
            target,
            rows=m.bm,
            row_bytes=depth * job.a.esize,
            waits=[Wait(Sem.A_FREE)] if at == 0 else (),
            signals=[self_sem(Sem.A_FULL)],
            clips=(None, self._row_clip(half), None),
        )

    def _load_strip(
        self, outer: tuple[int, ...], half: int, p: int, s: int, depth: int, slot: int, chunked: bool
    ) -> None:  # noqa: FBT001, PLR0913
        chunks = self._chunks(depth, chunked=chunked)
        weights_first = self.job.mapping.bm < self.job.mapping.sn  # they need no barrier
        if self.buffers[self.job.weights.buffer].segment is not Seg.WEIGHT:
            self.emitter.barrier()
        for at, size in chunks:
            self._load_b(outer, half, p, s, (at, size), slot, last=at + size == depth)
            if chunked and not weights_first:
                self._load_a(outer, half, p, at, size)
        for at, size in chunks if chunked and weights_first else ():
            self._load_a(outer, half, p, at, size)

    def _load_b(
        self, outer: tuple[int, ...], half: int, p: int, s: int, chunk: tuple[int, int], slot: int, *, last: bool
    ) -> None:  # noqa: PLR0913
        job, m, w = self.job, self.job.mapping, self.job.weights
        at, size = chunk
        buffer, esize = self.buffers[w.buffer], job.shape.b_bytes
        start = buffer.offset + w.offset + outer[1] + s * w.strip_stride + (p * m.kp + at) * w.panel_stride
        source = Operand(buffer.segment, start, w.row_stride, w.dt, B_OFFSET)
        inner = at * (esize if w.trans else self.b_pitch)
        target = Operand(Seg.L1, self.b_slots[slot] + inner, self.b_pitch, w.dt)
        signals = [] if last and job.bias is not None else [self_sem(Sem.B_FULL)]
        cols = self._col_clip(s, 1 if w.trans else esize)
        self.emitter.load.load(
            source,
            target,
            rows=m.sn if w.trans else size,
            row_bytes=(size if w.trans else m.sn) * esize,
            waits=[Wait(Sem.B_FREE)] if at == 0 else (),
            signals=signals,
            clips=(self._alive(half), cols, None) if w.trans else (self._alive(half), None, cols),
        )
        if last:
            self._load_bias(half, s, slot)

    def _load_bias(self, half: int, s: int, slot: int) -> None:
        job, m = self.job, self.job.mapping
        if job.bias is None:
            return
        buffer = self.buffers[job.bias.buffer]
        at = buffer.offset + job.bias.offset + s * m.sn * 4
        self.emitter.load.load(
            Operand(buffer.segment, at, 0, Dt.F32, COL_INDEX[4]),
            Operand(Seg.L1, self.bias_slots[slot], 0, Dt.F32),
            rows=1,
            row_bytes=m.sn * 4,
            signals=[self_sem(Sem.B_FULL)],
            clips=(self._alive(half), None, self._col_clip_exact(s, 4)),
        )

    def _col_clip_exact(self, strip: int, scale: int) -> Clip:
        return Clip((self.job.shape.n - strip * self.job.mapping.sn) * scale, COL_INDEX[scale])

    def _load_operands(self, outer: tuple[int, ...], half: int, s: int) -> None:
        if not self.tiles:
            return
        if any(self.buffers[t.view.buffer].segment is not Seg.WEIGHT for t in self.tiles):
            self.emitter.barrier()
        spot = self._spot(half, s)
        for i, tile in enumerate(self.tiles):
            buffer = self.buffers[tile.view.buffer]
            tile.load(
                self.emitter.load,
                spot,
                buffer.segment,
                buffer.offset + outer[3 + i],
                waits=[Wait(Sem.X_FREE)] if i == 0 else (),
                signals=[self_sem(Sem.X_FULL)] if i == len(self.tiles) - 1 else (),
            )

    # --- MATRIX

    def _multiply(
        self, half: int, p: int, s: int, depth: int, slot: int, acc: Operand, chunked: bool
    ) -> None:  # noqa: FBT001, PLR0913
        job, m = self.job, self.job.mapping
        builder = self.emitter.matrix
        first, last = p == 0, p == len(m.panels) - 1
        whole = len(m.panels) == 1 and m.col_blocks > 1
        if first:
            builder.sync(waits=[Wait(Sem.ACC_FREE)])
        if whole and s == 0:
            # the panel of A came once, before the loop over blocks: take it in the first block, put it back for the next
            builder.sync(waits=[Wait(Sem.A_FULL)], signals=[self_sem(Sem.A_FULL)])
        chunks = self._chunks(depth, chunked=chunked)
        for at, size in chunks:
            start = Acc.KEEP if not first or at else (Acc.BIAS if job.bias is not None else Acc.ZERO)
            done = at + size == depth
            signals = [self_sem(Sem.B_FREE)] if done else []
            if done and last:
                signals.append(self_sem(Sem.ACC_FULL))
            waits = [Wait(Sem.B_FULL)] + ([Wait(Sem.A_FULL)] if chunked else [])
            b_at = at * (job.shape.b_bytes if job.weights.trans else self.b_pitch)
            builder.matmul(
                Operand(Seg.L1, self.a_slots[self.counts["a"] % m.a_slots] + at * job.a.esize, self.a_pitch, job.a.dt),
                Operand(Seg.L1, self.b_slots[slot] + b_at, self.b_pitch, job.weights.dt),
                acc,
                m=m.bm,
                n=m.sn,
                k=size,
                start=start,
                bias=Operand(Seg.L1, self.bias_slots[slot], 0, Dt.F32) if start is Acc.BIAS else None,
                b_trans=job.weights.trans,
                zeros=(job.a_zero, 0),
                waits=waits,
                signals=signals,
                clips=(self._row_clip(half), self._col_clip_exact(s, 1), None),
            )

    # --- VECTOR and STORE

    def _epilogue(self, spot: Spot, acc: Operand) -> None:
        m, job = self.job.mapping, self.job
        builder = self.emitter.vector
        if self.out_tile is None:
            raise ValueError("place() comes first")
        if self.tiles:
            builder.sync(waits=[Wait(Sem.X_FULL)])
        script = Script(builder, spot, m.bm, m.sn)
        places = ChainPlaces(tiles=dict(enumerate(self.tiles)), temp=self.temp, recip=self.recip)
        add_chain(script, job.words, acc, self.out_tile.operand(spot.slot), places, spot.slot)
        last = [self_sem(Sem.OUT_FULL), self_sem(Sem.ACC_FREE)]
        script.emit([Wait(Sem.ACC_FULL), Wait(Sem.OUT_FREE)], last)
        if self.tiles:
            self.emitter.vector_signal(Sem.X_FREE)

    def _store(self, outer: tuple[int, ...], spot: Spot) -> None:
        tile = self.out_tile
        if tile is None:
            raise ValueError("place() comes first")
        buffer = self.buffers[tile.view.buffer]
        self.emitter.store.store(
            tile.operand(spot.slot),
            spot.operand(buffer.segment, tile.view, buffer.offset + outer[2]),
            rows=tile.rows,
            row_bytes=tile.cols * tile.view.esize,
            waits=[Wait(Sem.OUT_FULL)],
            signals=[self_sem(Sem.OUT_FREE)],
            clips=(None, spot.rows(), spot.col_bytes(tile.view.esize)),
        )


def emit_gemm(emitter: Emitter, job: GemmJob, buffers: list[Buffer]) -> str:
    """Words of one multiply; returns the mapping as text."""
    arena = emitter.begin(job.step.node, job.mapping.l1_bytes)
    gemm = _Gemm(emitter=emitter, job=job, buffers=buffers, arena=arena)
    gemm.place()
    for queue in (Queue.LOAD, Queue.MATRIX, Queue.VECTOR, Queue.STORE):
        gemm.walk(queue)
    emitter.finish(matrix=True)
    return job.mapping.describe()


def job_buffers(job: GemmJob) -> set[int]:
    """Buffers that the multiply reads or writes."""
    used = {job.a.buffer, job.weights.buffer, job.out.buffer, *(v.buffer for v in job.operands)}
    return used | ({job.bias.buffer} if job.bias is not None else set())


