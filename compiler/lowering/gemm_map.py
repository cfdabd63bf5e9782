"""Choose how a matrix multiply is cut: core grid, rows of a block, columns of a strip, depth of a panel.

In:  sizes, element bytes, chip.   Out: `GemmMap` with its estimated cycles and the reasons.
Raises: CapacityError if not even the smallest block fits L1.

A core computes blocks of `bm` rows; of a block, strips of `sn` columns; along K, panels of `kp`. A panel of A stays in L1 while the
block's strips of B pass by; every strip has a slot of the accumulators. The estimate is the largest of array time, main-memory time and
L1-port time, plus the fill before the first product and the drain after the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from athena.chip import Chip
from athena.errors import CapacityError
from athena.isa.cycles import ceil_div, matmul_cycles

BLOCK_ROWS_LIMIT = 256
PITCH_ALIGN = 32
HBM_EFFICIENCY = 0.9
STRIPS_LIMIT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmShape:
    """One multiply [m, k] × [k, n], with the bytes that pass per element of the result in the epilogue."""

    m: int
    n: int
    k: int
    a_bytes: int
    b_bytes: int
    out_bytes: int
    operand_bytes: int  # of full epilogue operands, per element
    row_bytes: int  # of row operands, per column
    temp_tiles: int
    rate: str
    batch: int = 1
    staging: bool = False  # B is a constant, so that it may be fetched ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmMap:
    """The chosen cut. `grid` is cores along M × along N; chunks let products start on part of a panel."""

    grid: tuple[int, int]
    bm: int
    sn: int
    panels: tuple[int, ...]
    strips: int  # in a block
    row_blocks: int  # of a core
    col_blocks: int
    first_chunks: tuple[int, ...]  # depths that cut the first panel while it arrives
    chunks: tuple[int, ...]  # depths that cut every other strip
    together: int  # strips that advance together in the first panel
    weights_first: bool
    a_slots: int
    acc_slots: int
    l1_bytes: int
    cycles: float
    bound: str
    cluster: tuple[int, int] | None = (
        None  # cores of a cluster along M × along N, where operands pass through L2
    )

    @property
    def kp(self) -> int:
        """Depth of the deepest panel."""
        return max(self.panels)

    def describe(self) -> str:
        """One line for `--explain`."""
        via = (
            f" through L2, clusters of {self.cluster[0]}x{self.cluster[1]} cores"
            if self.cluster
            else ""
        )
        return (
            f"grid {self.grid[0]}x{self.grid[1]} cores{via}, blocks {self.bm} rows x {self.strips} strips of {self.sn}, "
            f"{len(self.panels)} K panels of {self.kp}, {self.row_blocks}x{self.col_blocks} blocks a core, "
            f"~{self.cycles:,.0f} cycles, bound by {self.bound}"
        )


def choose_gemm(shape: GemmShape, chip: Chip) -> GemmMap:
    """The candidate with the fewest estimated cycles; ties to the one with fewer cores."""
    found = (*_candidates(shape, chip), *_staged_candidates(shape, chip))
    best = min(found, key=lambda c: (round(c.cycles), c.grid[0] * c.grid[1]), default=None)
    if best is None:
        raise CapacityError(
            f"no tile of [{shape.m}, {shape.k}] x [{shape.k}, {shape.n}] fits L1 of {chip.core.l1_bytes} bytes",
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
                bm = ceil_div(rows, ceil_div(rows, top)) if top else 0
                if bm == 0 or (sn, gm, bm) in seen:
                    continue
                seen.add((sn, gm, bm))
                for budget in (core.l1_bytes // 2, core.l1_bytes):
                    found = _fit(shape, chip, (gm, gn), bm, sn, budget)
                    if found is not None:
                        yield found


def _staged_candidates(shape: GemmShape, chip: Chip) -> Iterator[GemmMap]:
    """Cuts in which a row of clusters shares A and a column shares B: every operand crosses main memory's port once a pass."""
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
            for budget in (chip.core.l1_bytes // 2, chip.core.l1_bytes):
                found = _fit(shape, chip, grid, bm, sn, budget, cluster)
                if found is not None:
                    yield found


def stages(chip: Chip) -> bool:
    """Whether clusters form the mesh that staging needs: an L2, no disabled cores, sharers on two different diagonals."""
    rows, cols = chip.mesh.rows, chip.mesh.cols
    return chip.cluster.l2_bytes > 0 and not chip.disabled_cores and rows == cols and rows > 1


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
    first_chunks = _growing(depths[0], matrix.rows) if blocks == 1 else (depths[0],)
    skinny = bm < matrix.rows
    chunks = _even(kp, matrix.rows) if skinny else (kp,)
    acc_slots = max(2, strips)
    cycles, bound = _estimate(
        shape,
        chip,
        grid,
        bm,
        sn,
        depths,
        row_blocks,
        col_blocks * strips,
        col_blocks,
        cluster is not None,
    )
    return GemmMap(
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
        a_slots=a_slots,
        acc_slots=acc_slots,
        l1_bytes=need,
        cycles=cycles,
        bound=bound,
        cluster=cluster,
    )


def _growing(depth: int, rows: int) -> tuple[int, ...]:
    """Chunks of two array heights, then each as deep as all before it, up to eight heights."""
    sizes = [2 * rows]
    while sum(sizes) < depth:
        sizes.append(min(sum(sizes), 8 * rows))
    return tuple(sizes)


def _even(depth: int, rows: int) -> tuple[int, ...]:
    """Up to four equal chunks: where memory is the bound, the array should end soon after the last byte."""
    size = ceil_div(ceil_div(depth, 4), rows) * rows
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


def _estimate(
    shape: GemmShape,
    chip: Chip,
    grid: tuple[int, int],
    bm: int,
    sn: int,
    panels: tuple[int, ...],
    row_blocks: int,
    strips: int,
    col_blocks: int,
    staged: bool,  # noqa: FBT001
) -> tuple[float, str]:  # noqa: PLR0913
    matrix, core = chip.core.matrix, chip.core
    rate = matrix.rate[shape.rate]  # type: ignore[index]
    word = sum(
        matmul_cycles(bm, sn, k, matrix.rows, matrix.cols, rate, matrix.mac_latency_cycles)
        for k in panels
    )
    array = float(row_blocks * strips * word)
    cores = grid[0] * grid[1]
    a_core = row_blocks * bm * shape.k * shape.a_bytes * (1 if len(panels) == 1 else col_blocks)
    b_core = row_blocks * shape.k * strips * sn * shape.b_bytes
    io_core = row_blocks * bm * strips * sn * (shape.operand_bytes + shape.out_bytes)
    per_core = a_core + b_core + io_core
    traffic = cores * per_core
    if staged:
        traffic = cores * io_core + a_core * grid[0] + b_core * grid[1]
    memory = traffic / (chip.hbm_bytes_per_cycle * HBM_EFFICIENCY)
    port = per_core / core.load_bytes_per_cycle
    vector = (
        row_blocks * strips * (core.vector.startup_cycles + bm * ceil_div(sn, core.vector.lanes))
    )
    sharers = (grid[0] * bm + grid[1] * sn) if staged else (bm + sn) * cores
    first = (
        sharers * min(panels[0], 256) * shape.a_bytes / (chip.hbm_bytes_per_cycle * HBM_EFFICIENCY)
    )
    if len(panels) == 1 and col_blocks == 1:  # the first strip waits for all of A
        fill = sharers * panels[0] * shape.a_bytes / (chip.hbm_bytes_per_cycle * HBM_EFFICIENCY)
        first = max(first, fill - array / max(strips, 1))
    last = bm * sn * shape.out_bytes * cores / (chip.hbm_bytes_per_cycle * HBM_EFFICIENCY)
    parts = {"array": array, "memory": memory, "L1 port": port, "vector": float(vector)}
    bound = max(parts, key=lambda name: parts[name])
    latency = (3.0 if staged else 2.0) * chip.hbm.latency_cycles
    return (parts[bound] + first + last) * shape.batch + latency, bound
