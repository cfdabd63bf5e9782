"""What the emission of one multiply knows on every queue: L1 places, aregs, slots, clips.

In:  a `GemmJob`, the op's L1 arena.   Out: `GemmState`, which the emitters of the queues share.

Areg use: 1 row index; 2, 3, 4 column index in elements, 2 and 4 bytes; 5 offset of A, 6 of B; 7–11
offsets of other operands; 12–15 staging.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from athena.isa.builder import Clip, Operand, StreamBuilder
from athena.isa.cycles import ceil_div
from athena.isa.fields import S_CLUSTER, S_CORE, Dt, Kind, Queue, Seg
from compiler.lowering.emitter import Arena, ClusterSem, Emitter, Lane, Stage
from compiler.lowering.gemm import GemmJob
from compiler.lowering.gemm_cost import GemmMap
from compiler.lowering.gemm_map import PITCH_ALIGN, l2_slot_bytes
from compiler.lowering.nest import COL_INDEX, FIRST_PATTERN, ROW_INDEX, Split, Spot
from compiler.lowering.plan import Buffer
from compiler.lowering.tiles import Tile, kind_of, make_tile, pitch_of

CONSTANTS = (Seg.WEIGHT, Seg.PARAM)  # what may be read before the op before has ended
A_OFFSET, B_OFFSET = 5, 6
A_STAGE, B_STAGE = 12, 13  # place of the core's part in an L2 slot
A_SHARERS, B_SHARERS = (
    14,
    15,
)  # masks of clusters: who receives (on a cluster DMA), who sends (on a core)


@dataclass(slots=True)
class Place:
    """Where one block lies: offsets of the batch index, which half of the pair of row blocks."""

    outer: tuple[int, ...]
    half: int


@dataclass(frozen=True, slots=True)
class Part:
    """Part of a strip of B in a panel of K: `at`, `depth` along the panel; `slot` of L1."""

    place: Place
    panel: int
    strip: int
    at: int
    depth: int
    slot: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows [row, row + rows) of a strip, and the accumulator slot that takes them."""

    strip: int
    row: int
    rows: int
    slot: int
    first: bool = True  # the piece that takes the strip of B
    last: bool = True  # the piece that gives it back


@dataclass(slots=True)
class GemmState:
    """Shared by the emitters of one multiply; `lane` is the stream being written."""

    emitter: Emitter
    job: GemmJob
    buffers: list[Buffer]
    arena: Arena
    a_slots: tuple[int, ...] = ()
    b_slots: tuple[int, ...] = ()
    bias_slots: tuple[int, ...] = ()
    tiles: tuple[Tile, ...] = ()
    out_tile: Tile = field(init=False)
    temp: Operand | None = None
    recip: Operand | None = None
    lane: Lane = Queue.LOAD
    started: bool = False  # whether the cluster DMA has waited for the op before
    patterns: dict[tuple[int, ...], int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def map(self) -> GemmMap:
        """The mapping."""
        return self.job.mapping

    @property
    def builder(self) -> StreamBuilder:
        """The stream being written."""
        return self.emitter.streams[self.lane]

    @property
    def shape(self) -> tuple[int, ...]:
        """[rows, cols] of the result, as `Spot` asks."""
        return self.job.out.shape

    def pattern(self, strides: tuple[int, ...]) -> int:
        """Areg that walks a view with these strides, as `Spot` asks."""
        return self.patterns.get(strides, 0)

    # --- L1

    @property
    def a_pitch(self) -> int:
        """Bytes between the rows of A's panel."""
        return ceil_div(self.map.kp * self.job.a.esize, PITCH_ALIGN) * PITCH_ALIGN

    @property
    def b_pitch(self) -> int:
        """Bytes between the stored rows of a strip of B."""
        width = self.map.kp if self.job.weights.trans else self.map.sn
        return ceil_div(width * self.job.shape.b_bytes, PITCH_ALIGN) * PITCH_ALIGN

    def place(self) -> None:
        """Take L1: A, B, bias rows, operands and scratch, the result, each group from a bank of
        its own: the array reads the first three in one cycle.
        """
        m, job, take = self.map, self.job, self.arena.take
        b_rows = m.sn if job.weights.trans else m.kp
        self.a_slots = tuple(take(m.bm * self.a_pitch) for _ in range(m.a_slots))
        self.arena.next_bank()
        self.b_slots = tuple(take(b_rows * self.b_pitch) for _ in range(2))
        if job.bias is not None:
            self.arena.next_bank()
            self.bias_slots = tuple(take(m.sn * 4) for _ in range(2))
        self.arena.next_bank()
        split = Split(
            axis=-1,
            outer_groups=1,
            row_groups=1,
            col_groups=1,
            tile_rows=m.bm,
            tile_cols=m.sn,
            row_tiles=1,
            col_tiles=1,
        )
        self.tiles = tuple(
            make_tile(v, kind_of(v, job.out.shape), split, self.arena) for v in job.operands
        )
        pitch = pitch_of(Kind.FULL, m.sn, 4)
        temps = [
            Operand(Seg.L1, take(m.bm * pitch), pitch, Dt.F32) for _ in range(job.shape.temp_tiles)
        ]
        if temps:
            self.temp = temps[0] if len(job.words) > 1 else None
            self.recip = temps[-1]
        self.arena.next_bank()
        self.out_tile = make_tile(job.out, Kind.FULL, split, self.arena)

    # --- slots

    def next_slot(self, ring: str) -> int:
        """The next slot of a two-slot ring."""
        self.counts[ring] = self.counts.get(ring, -1) + 1
        return self.counts[ring] % 2

    @property
    def a_slot(self) -> int:
        """L1 address of the panel of A in use."""
        return self.a_slots[self.counts["a"] % self.map.a_slots]

    def pieces(self, block: int, strip: int) -> tuple[Piece, ...]:
        """A strip as one piece, or the very last as two."""
        m = self.map
        slot = block * m.strips + strip
        if not (m.split_last and strip == m.strips - 1):
            return (Piece(strip, 0, m.bm, slot),)
        top = m.bm // 2
        return Piece(strip, 0, top, slot, last=False), Piece(
            strip, top, m.bm - top, slot + 1, first=False
        )

    def accumulator(self, piece: Piece) -> Operand:
        """The accumulator slot of a piece: consecutive ones lie in different regions."""
        chip = self.emitter.chip
        at = piece.slot % self.map.acc_slots % chip.core.acc_regions * chip.acc_region_bytes
        return Operand(Seg.ACC, at, self.map.sn * 4, self.job.acc_dt)

    def spot(self, half: int, piece: Piece) -> Spot:
        """The piece's tile of the result and of the epilogue's operands."""
        row = half * self.map.bm + piece.row
        return Spot(self, self.next_slot("x"), row, piece.strip * self.map.sn, ())

    def l2_slot(self, ring: str, use: int) -> int:
        """L2 address of the slot that the ring's use number `use` of this op takes."""
        return self._slot_number(ring, use) * l2_slot_bytes(self.emitter.chip)

    def credit(self, ring: str, use: int) -> ClusterSem:
        """The semaphore on which cores give that slot back."""
        return ClusterSem(ClusterSem.A_CREDIT0 + self._slot_number(ring, use))

    def _slot_number(self, ring: str, use: int) -> int:
        return (self.emitter.staged[ring] + use) % 2 + (0 if ring == "a" else 2)

    # --- registers

    def registers(self) -> None:
        """SETA of every areg the lane uses, for the core's (or cluster's) first block."""
        m, job = self.map, self.job
        rows, cols = m.row_blocks * m.bm, m.col_blocks * m.strips * m.sn
        self._seta(ROW_INDEX, rows, 0)
        for scale in sorted(self._scales()):
            self._seta(COL_INDEX[scale], 0, cols * scale)
        if self._brings():
            self._seta(A_OFFSET, rows * job.a.strides[-2], 0)
            self._seta(B_OFFSET, 0, cols // m.sn * job.weights.strip_stride)
        self.patterns = {}
        for view in (
            job.operands
            if self.lane is Queue.LOAD
            else ((job.out,) if self.lane is Queue.STORE else ())
        ):
            if any(view.strides) and view.strides not in self.patterns:
                self.patterns[view.strides] = FIRST_PATTERN + len(self.patterns)
                self._seta(
                    self.patterns[view.strides], rows * view.strides[0], cols * view.strides[1]
                )

    def steps(self, rows: int, cols: int) -> tuple[tuple[int, int], ...]:
        """(areg, delta) of the lane for a step of `rows` and `cols`."""
        job = self.job
        steps = [(areg, rows * key[0] + cols * key[1]) for key, areg in self.patterns.items()]
        steps.append((ROW_INDEX, rows))
        steps += [(COL_INDEX[scale], cols * scale) for scale in sorted(self._scales())]
        if self._brings():
            steps.append((A_OFFSET, rows * job.a.strides[-2]))
            steps.append((B_OFFSET, cols // self.map.sn * job.weights.strip_stride))
        return tuple((areg, delta) for areg, delta in steps if delta)

    def _brings(self) -> bool:
        return self.lane is Queue.LOAD or isinstance(self.lane, Stage)

    def _scales(self) -> set[int]:
        job = self.job
        if self.lane is Queue.STORE:
            return {job.out.esize}
        if self.lane is not Queue.LOAD:
            return {job.shape.b_bytes} if isinstance(self.lane, Stage) else {1}
        used = {v.esize for v in job.operands} | ({4} if job.bias is not None else set())
        if self.map.cluster is None:
            used.add(1 if job.weights.trans else job.shape.b_bytes)
        return used

    def _seta(self, areg: int, row_mult: int, col_mult: int) -> None:
        """Areg = row of the core in the grid · row_mult + its column · col_mult (of clusters on a
        cluster DMA).
        """
        m = self.map
        if m.cluster is None:
            terms = [(S_CORE, m.grid[1], 0, row_mult), (S_CORE, 1, m.grid[1], col_mult)]
        else:
            down, across = m.cluster
            mesh_cols = self.emitter.chip.mesh.cols
            terms = [
                (S_CLUSTER, mesh_cols, 0, row_mult * down),
                (S_CLUSTER, 1, mesh_cols, col_mult * across),
            ]
            if isinstance(self.lane, Queue):
                terms += [(S_CORE, across, down, row_mult), (S_CORE, 1, across, col_mult)]
        add = 0
        for scalar, div, mod, mult in terms:
            if mult and mod != 1:
                self.builder.seta(areg, mult=mult, scalar=scalar, div=div, mod=mod, add=add)
                add = areg
        if not add:
            self.builder.seta(areg)

    # --- clips

    def rows_left(self, half: int, row: int = 0) -> Clip:
        """Clip of a row count; as clip of a count of 1 it says whether the core has rows at all."""
        return Clip(self.job.shape.m - half * self.map.bm - row, ROW_INDEX)

    def cols_left(self, strip: int, scale: int) -> Clip:
        """Clip of columns in units of `scale` bytes (1: elements)."""
        return Clip((self.job.shape.n - strip * self.map.sn) * scale, COL_INDEX[scale])

    def strips_left(self, strip: int) -> Clip:
        """Clip of the bytes of a packed strip, whose padding counts."""
        m, scale = self.map, self.job.shape.b_bytes
        whole = ceil_div(self.job.shape.n, m.sn) * m.sn
        return Clip((whole - strip * m.sn) * scale, COL_INDEX[scale])
