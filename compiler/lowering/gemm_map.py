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
from dataclasses import replace

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
                    found = _fit(shape, chip, (gm, gn), bm, sn, budget)
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
                found = _fit(shape, chip, grid, bm, sn, budget, cluster)
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


def _fit(
    shape: GemmShape,
    chip: Chip,
    grid: tuple[int, int],
    bm: int,
    sn: int,
    budget: int,
    cluster: tuple[int, int] | None = None,
) -> GemmMap | None:  # noqa: PLR0913
    core, matrix = chip.core, chip.core.matrix
    row_blocks = ceil_div(ceil_div(shape.m, grid[0]), bm)
    row_blocks += (
        row_blocks % 2 if row_blocks > 1 else 0
    )  # a loop takes two; none may be another core's
    core_strips = ceil_div(ceil_div(shape.n, sn), grid[1])
    regions = min(core.acc_regions, STRIPS_LIMIT)
    strips = 1 if core_strips == 1 else regions - regions % 2
    strips = min(strips, core_strips + core_strips % 2)
    col_blocks = ceil_div(core_strips, strips)
    fixed = 2 * (
        bm * (sn * (shape.operand_bytes + shape.out_bytes) + 64 * 4)
        + sn * (shape.row_bytes + 4)
        + 256
    )
    fixed += shape.temp_tiles * (bm * (sn * 4 + 32) + 64) + 4 * chip.l1_bank_bytes
    for panels in range(1, ceil_div(shape.k, matrix.rows) + 1):
        if panels > 1 and panels % 2 and col_blocks > 1:
            continue
        kp = ceil_div(ceil_div(shape.k, panels), matrix.rows) * matrix.rows
        if (panels - 1) * kp >= shape.k and panels > 1:
            continue
        kp = min(kp, shape.k) if panels == 1 else kp
        a_slots = 1 if panels == 1 and row_blocks == 1 and shape.batch == 1 else 2
        need = _panel_bytes(shape, bm, sn, kp, a_slots) + fixed
        if need <= budget and (cluster is None or _fits_l2(shape, chip, cluster, bm, sn, kp)):
            break
    else:
        return None
    depths = tuple(min(kp, shape.k - i * kp) for i in range(panels))
    blocks = row_blocks * col_blocks
    first_chunks = _growing(depths[0], matrix.rows) if blocks == 1 else _two(depths[0], matrix.rows)
    skinny = bm < matrix.rows
    chunks = _even(kp, matrix.rows) if skinny else (kp,)
    acc_slots = max(2, strips)
    mapping = GemmMap(
        grid=grid,
        bm=bm,
        sn=sn,
        panels=depths,
        strips=strips,
        row_blocks=row_blocks,
        col_blocks=col_blocks,
        first_chunks=chunks if skinny else first_chunks,
        chunks=chunks,
        together=2 if strips > 2 and blocks == 1 and not skinny else 1,
        weights_first=bm < sn,
        split_last=panels == 1 and blocks == 1 and not shape.operands and bm >= 2 * matrix.rows,
        a_slots=a_slots,
        acc_slots=acc_slots,
        l1_bytes=need,
        cluster=cluster,
    )
    cycles, bound = estimate(shape, chip, mapping)
    return replace(mapping, cycles=cycles, bound=bound)


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


def _fits_l2(
    shape: GemmShape, chip: Chip, cluster: tuple[int, int], bm: int, sn: int, kp: int
) -> bool:
    quarter = l2_slot_bytes(chip)
    a = cluster[0] * bm * kp * shape.a_bytes
    b = cluster[1] * sn * kp * shape.b_bytes
    return a <= quarter and b <= quarter


def l2_slot_bytes(chip: Chip) -> int:
    """L2 is cut in four: two slots for A, two for B."""
    return chip.cluster.l2_bytes // 4 // 4096 * 4096


def _panel_bytes(shape: GemmShape, bm: int, sn: int, kp: int, a_slots: int) -> int:
    a = bm * (ceil_div(kp * shape.a_bytes, PITCH_ALIGN) * PITCH_ALIGN) + 64
    by_rows = kp * (ceil_div(sn * shape.b_bytes, PITCH_ALIGN) * PITCH_ALIGN)
    by_cols = sn * (ceil_div(kp * shape.b_bytes, PITCH_ALIGN) * PITCH_ALIGN)
    return a_slots * a + 2 * (max(by_rows, by_cols) + sn * 4 + 128)
