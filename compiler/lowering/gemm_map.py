"""Choose how a matrix multiply is cut: core grid, rows of a block, columns of a strip, depth of a
panel.

In:  sizes, element bytes, chip.   Out: `GemmMap` with its estimated cycles and the reasons.
Raises: CapacityError if not even the smallest block fits L1.

A core computes blocks of `bm` rows; of a block, strips of `sn` columns; along K, panels of `kp`. A
panel of A stays in L1 while the block's strips of B pass by; every strip has a slot of the
accumulators. `gemm_cost` estimates each candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from athena.chip import Chip
from athena.errors import CapacityError
from athena.isa.cycles import ceil_div
from compiler.lowering.gemm_cost import GemmMap, GemmShape, estimate

BLOCK_ROWS_LIMIT = 256
PITCH_ALIGN = 32
STRIPS_LIMIT = 4


def choose_gemm(shape: GemmShape, chip: Chip) -> GemmMap:
    """The candidate with the fewest estimated cycles; ties to the one with fewer cores."""
    found = (*_candidates(shape, chip), *_staged_candidates(shape, chip))
    best = min(found, key=lambda c: (round(c.cycles), c.grid[0] * c.grid[1]), default=None)
    if best is None:
        raise CapacityError(
            f"no tile of [{shape.m}, {shape.k}] x [{shape.k}, {shape.n}] "
            f"fits L1 of {chip.core.l1_bytes} bytes",
            where=f"chip '{chip.name}'",
        )
    return best


def _candidates(shape: GemmShape, chip: Chip) -> Iterator[GemmMap]:
    matrix, core = chip.core.matrix, chip.core
    widths = [matrix.cols * f for f in (1, 2, 4) if f == 1 or matrix.cols * f < 2 * shape.n]
    seen: set[tuple[int, int, int]] = set()
    for sn in widths:
        for gm in _groups(shape.m, chip.cores):
            gn = min(chip.cores // gm, ceil_div(shape.n, sn))
            rows = ceil_div(shape.m, gm)
            limit = min(BLOCK_ROWS_LIMIT, chip.acc_region_bytes // (sn * 4))
            for top in sorted({limit, min(limit, 128), min(limit, 64), min(limit, matrix.rows)}):
                bm = ceil_div(rows, _blocks(rows, top)) if top else 0
                if bm == 0 or (sn, gm, bm) in seen:
                    continue
                seen.add((sn, gm, bm))
                for budget in (core.l1_bytes // 2, core.l1_bytes):
                    found = _fit(_Cut(shape, chip, (gm, gn), bm, sn), budget)
                    if found is not None:
                        yield found


def _staged_candidates(shape: GemmShape, chip: Chip) -> Iterator[GemmMap]:
    """Cuts in which a row of clusters shares A and a column shares B: every operand crosses main
    memory's port once a pass.
    """
    if not (shape.staging and stages(chip)) or shape.batch > 1:
        return
    cores = chip.cluster.cores
    for down in (d for d in range(1, cores + 1) if cores % d == 0):
        cluster = (down, cores // down)
        grid = (chip.mesh.rows * down, chip.mesh.cols * (cores // down))
        for sn in (chip.core.matrix.cols, 2 * chip.core.matrix.cols):
            rows = ceil_div(shape.m, grid[0])
            top = min(BLOCK_ROWS_LIMIT, chip.acc_region_bytes // (sn * 4))
            bm = ceil_div(rows, ceil_div(rows, top))
            if bm < chip.core.matrix.rows:
                continue  # so few rows that there is nothing to share
            for budget in (chip.core.l1_bytes // 2, chip.core.l1_bytes):
                found = _fit(_Cut(shape, chip, grid, bm, sn, cluster), budget)
                if found is not None:
                    yield found


def stages(chip: Chip) -> bool:
    """Whether clusters form the mesh that staging needs: an L2, no disabled cores, sharers on two
    different diagonals.
    """
    rows, cols = chip.mesh.rows, chip.mesh.cols
    return chip.cluster.l2_bytes > 0 and not chip.disabled_cores and rows == cols and rows > 1


def _blocks(rows: int, top: int) -> int:
    """How many blocks of at most `top` rows: one, or an even number."""
    count = ceil_div(rows, top)
    return count + count % 2 if count > 1 else 1


def _groups(m: int, cores: int) -> list[int]:
    sizes = {1, cores}
    step = 1
    while step <= min(m, cores):
        sizes.add(step)
        step *= 2
    sizes |= {d for d in range(1, min(m, cores) + 1) if cores % d == 0}
    return sorted(g for g in sizes if g <= min(m, cores))


@dataclass(frozen=True, slots=True)
class _Cut:
    """What a candidate fixes before its panels are chosen."""

    shape: GemmShape
    chip: Chip
    grid: tuple[int, int]
    bm: int
    sn: int
    cluster: tuple[int, int] | None = None

    @property
    def row_blocks(self) -> int:
        """Blocks of rows of a core: one, or an even number, since a loop takes two."""
        count = ceil_div(ceil_div(self.shape.m, self.grid[0]), self.bm)
        return count + count % 2 if count > 1 else 1

    @property
    def strips(self) -> int:
        """Strips of a block: as many as take turns in the accumulator regions, an even number."""
        own = self._core_strips
        regions = min(self.chip.core.acc_regions, STRIPS_LIMIT)
        return 1 if own == 1 else min(regions - regions % 2, own + own % 2)

    @property
    def col_blocks(self) -> int:
        """Blocks of strips of a core."""
        return ceil_div(self._core_strips, self.strips)

    @property
    def _core_strips(self) -> int:
        return ceil_div(ceil_div(self.shape.n, self.sn), self.grid[1])

    @property
    def epilogue_bytes(self) -> int:
        """L1 for the epilogue's operands, scratch and results, and what banks round up."""
        shape, bm, sn = self.shape, self.bm, self.sn
        full = bm * (sn * (shape.operand_bytes + shape.out_bytes) + 64 * 4)
        rows = sn * (shape.row_bytes + 4) + 256
        scratch = shape.temp_tiles * (bm * (sn * 4 + 32) + 64)
        return 2 * (full + rows) + scratch + 4 * self.chip.l1_bank_bytes

    def a_slots(self, panels: int) -> int:
        """Places for panels of A: one is enough where only one panel ever comes."""
        return 1 if panels == 1 and self.row_blocks == 1 and self.shape.batch == 1 else 2

    def l1_bytes(self, panels: int, depth: int) -> int:
        """L1 of the whole op with panels of `depth`."""
        shape, bm, sn = self.shape, self.bm, self.sn
        a = bm * _pitch(depth * shape.a_bytes) + 64
        b = max(depth * _pitch(sn * shape.b_bytes), sn * _pitch(depth * shape.b_bytes))
        return self.a_slots(panels) * a + 2 * (b + sn * 4 + 128) + self.epilogue_bytes

    def fits_l2(self, depth: int) -> bool:
        """Whether a cluster's panel of A and strips of B fit their slots."""
        if self.cluster is None:
            return True
        a = self.cluster[0] * self.bm * depth * self.shape.a_bytes
        b = self.cluster[1] * self.sn * depth * self.shape.b_bytes
        return max(a, b) <= l2_slot_bytes(self.chip)


def _fit(cut: _Cut, budget: int) -> GemmMap | None:
    """The candidate with the deepest panels that `budget` bytes of L1 hold."""
    rows = cut.chip.core.matrix.rows
    for panels in range(1, ceil_div(cut.shape.k, rows) + 1):
        if panels > 1 and panels % 2 and cut.col_blocks > 1:
            continue  # a loop over blocks takes an even number of slots
        depth = min(ceil_div(ceil_div(cut.shape.k, panels), rows) * rows, cut.shape.k)
        if (panels - 1) * depth >= cut.shape.k and panels > 1:
            continue
        if cut.l1_bytes(panels, depth) <= budget and cut.fits_l2(depth):
            return _mapping(cut, panels, depth)
    return None


def _mapping(cut: _Cut, panels: int, depth: int) -> GemmMap:
    shape, rows = cut.shape, cut.chip.core.matrix.rows
    depths = tuple(min(depth, shape.k - i * depth) for i in range(panels))
    blocks = cut.row_blocks * cut.col_blocks
    skinny = cut.bm < rows
    chunks = _even(depth, rows) if skinny else (depth,)
    first = _growing(depths[0], rows) if blocks == 1 else _two(depths[0], rows)
    mapping = GemmMap(
        grid=cut.grid,
        bm=cut.bm,
        sn=cut.sn,
        panels=depths,
        strips=cut.strips,
        row_blocks=cut.row_blocks,
        col_blocks=cut.col_blocks,
        first_chunks=chunks if skinny else first,
        chunks=chunks,
        together=2 if cut.strips > 2 and blocks == 1 and not skinny else 1,
        weights_first=cut.bm < cut.sn,
        split_last=panels == blocks == 1 and not shape.operands and cut.bm >= 2 * rows,
        a_slots=cut.a_slots(panels),
        acc_slots=max(2, cut.strips),
        l1_bytes=cut.l1_bytes(panels, depth),
        cluster=cut.cluster,
    )
    cycles, bound = estimate(shape, cut.chip, mapping)
    return replace(mapping, cycles=cycles, bound=bound)


def _pitch(nbytes: int) -> int:
    return ceil_div(nbytes, PITCH_ALIGN) * PITCH_ALIGN


def _growing(depth: int, rows: int) -> tuple[int, ...]:
    """Chunks of two array heights, then each as deep as all before it, up to eight heights."""
    sizes = [2 * rows]
    while sum(sizes) < depth:
        sizes.append(min(sum(sizes), 8 * rows))
    return tuple(sizes)


def _two(depth: int, rows: int) -> tuple[int, ...]:
    """A short first chunk, so that the array starts early."""
    return (8 * rows, depth - 8 * rows) if depth > 16 * rows else (depth,)


def _even(depth: int, rows: int) -> tuple[int, ...]:
    """Up to four equal chunks: where memory is the bound, the array should end soon after the last
    byte.
    """
    size = ceil_div(max(4 * rows, ceil_div(depth, 4)), rows) * rows
    return (size,) * ceil_div(depth, size)


def l2_slot_bytes(chip: Chip) -> int:
    """L2 is cut in four: two slots for A, two for B."""
    return chip.cluster.l2_bytes // 4 // 4096 * 4096
