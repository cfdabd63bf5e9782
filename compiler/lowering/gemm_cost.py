"""Closed-form estimate of a mapped matrix multiply.

In:  `GemmShape`, `Chip`, `GemmMap`.   Out: cycles and what bounds them.

The largest of array, L1-port and vector time, each with the wait for the first product's operands
and the drain of the last result, and of main-memory time with the product of the last chunk behind
it. Main memory is taken at HBM_EFFICIENCY of its peak, a round figure for long reads of the
contended memory model; the timing engine, not this estimate, gives the cycles that are reported.
"""

from __future__ import annotations

from dataclasses import dataclass

from athena.chip import Chip
from athena.chip.model import MemoryKind
from athena.isa.cycles import beat_interval, ceil_div, matmul_cycles

HBM_EFFICIENCY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmShape:
    """One multiply [m, k] × [k, n], with the bytes that pass per element of the result in the
    epilogue.
    """

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
    operands: int = 0  # epilogue operands
    batch: int = 1
    staging: bool = False  # B is a constant, so that it may be fetched ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmMap:
    """The chosen cut. `grid` is cores along M × along N; chunks let products start on part of a
    panel.
    """

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
    split_last: bool  # the last strip in two halves of rows: less is left to store at the end
    a_slots: int
    acc_slots: int
    l1_bytes: int
    cluster: tuple[int, int] | None = None  # cores of a cluster along M × N, where operands pass L2
    cycles: float = 0.0
    bound: str = ""

    def cuts_strips(self, shape: GemmShape, fifo_words: int) -> bool:
        """Whether multicasts leave out strips beyond N: a word for each column of cores instead of
        one, if the loop then still fits the FIFO. Otherwise they read on into what lies behind.
        """
        if self.cluster is None or not self.ragged(shape):
            return False
        if self.row_blocks == self.col_blocks == 1:
            return True
        return 2 * len(self.panels) * (1 + self.strips * self.cluster[1]) < fifo_words

    def ragged(self, shape: GemmShape) -> bool:
        """Whether some core has strips beyond N."""
        return self.spare_strips(shape) > 0

    def spare_strips(self, shape: GemmShape) -> int:
        """Strips of the whole grid that lie beyond N."""
        return self.grid[1] * self.col_blocks * self.strips - ceil_div(shape.n, self.sn)

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
            f"grid {self.grid[0]}x{self.grid[1]} cores{via}, "
            f"blocks {self.bm} rows x {self.strips} strips of {self.sn}, "
            f"{len(self.panels)} K panels of {self.kp}, "
            f"{self.row_blocks}x{self.col_blocks} blocks a core, "
            f"~{self.cycles:,.0f} cycles, bound by {self.bound}"
        )


def port_rate(chip: Chip) -> float:
    """Bytes a cycle of a core's LOAD port; fixed-latency memory may take longer over a beat."""
    bus = chip.core.load_bytes_per_cycle
    if chip.hbm.kind is MemoryKind.FIXED:
        return bus / beat_interval(bus, chip.hbm_bytes_per_cycle)
    return float(bus)


def estimate(shape: GemmShape, chip: Chip, m: GemmMap) -> tuple[float, str]:
    """Cycles of all batches, and the name of the binding resource."""
    memory_rate = chip.hbm_bytes_per_cycle * HBM_EFFICIENCY
    strips = m.strips * m.col_blocks
    panel_passes = 1 if len(m.panels) == 1 else m.col_blocks
    a_core = m.row_blocks * m.bm * shape.k * shape.a_bytes * panel_passes
    b_core = m.row_blocks * shape.k * strips * m.sn * shape.b_bytes
    io_core = m.row_blocks * m.bm * strips * m.sn * (shape.operand_bytes + shape.out_bytes)
    cores = m.grid[0] * m.grid[1]
    shared = a_core * m.grid[0] + b_core * m.grid[1] if m.cluster else cores * (a_core + b_core)
    vector = chip.core.vector
    first = _first(shape, chip, m, memory_rate)
    last = m.bm * m.sn * shape.out_bytes * cores / memory_rate / (2 if m.split_last else 1)
    around = first + last
    parts = {
        "array": _array(shape, chip, m, strips) + _fill_stall(shape, chip, m, memory_rate) + around,
        "memory": (shared + cores * io_core) / memory_rate
        + _short_loads(chip, m)
        + _word(shape, chip, m, min(m.chunks[-1], shape.k)),
        "L1 port": (a_core + b_core + io_core) / port_rate(chip) + around,
        "vector": m.row_blocks
        * strips
        * (vector.startup_cycles + m.bm * ceil_div(m.sn, vector.lanes))
        + around,
    }
    bound = max(parts, key=lambda name: parts[name])
    latency = (3.0 if m.cluster else 2.0) * chip.hbm.latency_cycles
    return parts[bound] * shape.batch + latency, bound


def _short_loads(chip: Chip, m: GemmMap) -> float:
    """A few rows of A are a short transfer that holds a place of the DMA for a whole latency."""
    if m.bm >= chip.core.matrix.rows:
        return 0.0
    loads = m.row_blocks * len(m.panels) * (m.col_blocks if len(m.panels) > 1 else 1)
    return loads * chip.hbm.latency_cycles / chip.core.dma_words_in_flight


def _word(shape: GemmShape, chip: Chip, m: GemmMap, depth: int) -> int:
    matrix = chip.core.matrix
    rate = matrix.rate[shape.rate]  # type: ignore[index]
    return matmul_cycles(
        m.bm, m.sn, depth, matrix.rows, matrix.cols, rate, matrix.mac_latency_cycles
    )


def _array(shape: GemmShape, chip: Chip, m: GemmMap, strips: int) -> float:
    """Cycles of the array of one core, the words that cut the first panel included."""
    matrix = chip.core.matrix
    whole = sum(_word(shape, chip, m, depth) for depth in m.panels)
    fill = matrix.rows + matrix.rows * matrix.mac_latency_cycles + matrix.cols
    extra = (len(m.first_chunks) - 1) * m.together + (len(m.chunks) - 1) * (m.strips - m.together)
    return float(m.row_blocks * (strips * whole + extra * m.col_blocks * fill))


def _resident(m: GemmMap) -> bool:
    return len(m.panels) == 1 and m.col_blocks > 1


def _arriving(shape: GemmShape, m: GemmMap, depth: int) -> float:
    """Bytes that main memory gives before all cores have `depth` of A and of their first strips."""
    a = m.bm * shape.a_bytes * (m.grid[0] if m.cluster else m.grid[0] * m.grid[1])
    b = m.together * m.sn * shape.b_bytes * (m.grid[1] if m.cluster else m.grid[0] * m.grid[1])
    return float((a + b) * depth)


def _first(shape: GemmShape, chip: Chip, m: GemmMap, memory_rate: float) -> float:
    """Wait for the operands of the first product: through memory, then through the L1 port."""
    depth = m.panels[0] if _resident(m) else min(m.first_chunks[0], m.panels[0])
    core = (m.bm * shape.a_bytes + m.sn * shape.b_bytes) * depth
    port = core / chip.core.load_bytes_per_cycle if m.cluster else 0.0
    return _arriving(shape, m, depth) / memory_rate + port


def _fill_stall(shape: GemmShape, chip: Chip, m: GemmMap, memory_rate: float) -> float:
    """What the array waits while the first panel arrives, if it is not waited for as a whole."""
    if _resident(m) or m.row_blocks * m.col_blocks > 1:
        return 0.0
    work = m.together * _word(shape, chip, m, m.panels[0])
    return max(0.0, _arriving(shape, m, m.panels[0]) / memory_rate - work)
