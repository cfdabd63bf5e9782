"""Closed-form estimate of a mapped attention.

In:  `AttentionJob`, `Chip`, `AttentionMap`.   Out: cycles and what bounds them.

Per tile of keys and sub-block of rows: two products on the array; on the vector unit two passes
over the scores, one over the output and some columns. Where two score tiles have slots, array and
vector unit overlap; else they take turns. Keys and values come once a block of rows. Main memory is
taken at HBM_EFFICIENCY of its peak; the timing engine, not this estimate, gives the cycles that are
reported.
"""

from __future__ import annotations

from athena.chip import Chip
from athena.isa.cycles import ceil_div, matmul_cycles, tree_levels, vec_cycles
from compiler.lowering.attention_job import AttentionJob, AttentionMap
from compiler.lowering.gemm_cost import HBM_EFFICIENCY, port_rate

COLUMN_WORDS = 8  # words over [rows] statistics for one tile
BLOCK_LATENCIES = 3.0  # memory latencies that a block of rows waits for: queries, first keys, end


def estimate(job: AttentionJob, chip: Chip, m: AttentionMap) -> tuple[float, str]:
    """Cycles of the busiest core, and the name of the binding resource."""
    batch, heads, _, depth = job.q.shape
    units = (batch // m.batch_groups) * (heads // m.head_groups)
    blocks = units * m.row_blocks
    tiles = m.tiles * _share(job, m)
    array, vector = _array(job, chip, m), _vector(job, chip, m)
    overlap = m.s_slots > 1 and (m.tiles > 1 or m.subs > 1)
    work = max(array, vector) if overlap else array + vector
    key_bytes = m.bk * (depth * job.k.esize + job.v.shape[3] * job.v.esize)
    mask_bytes = m.subs * m.bq * m.bk * job.mask.esize if job.mask is not None else 0
    row_bytes = m.subs * m.bq * (depth * job.q.esize + job.v.shape[3] * job.out.esize)
    core_bytes = blocks * (tiles * (key_bytes + mask_bytes) + row_bytes)
    cores = m.head_groups * m.batch_groups * m.row_groups
    parts = {
        "array": blocks * tiles * m.subs * work,
        "memory": cores * core_bytes / (chip.hbm_bytes_per_cycle * HBM_EFFICIENCY),
        "L1 port": core_bytes / port_rate(chip),
    }
    bound = max(parts, key=lambda name: parts[name])
    around = blocks * BLOCK_LATENCIES * chip.hbm.latency_cycles
    named = "vector" if bound == "array" and vector > array else bound
    return parts[bound] + around, named


def _share(job: AttentionJob, m: AttentionMap) -> float:
    """Part of the key tiles that are walked: those above the diagonal are left out in pairs."""
    rows = m.subs * m.bq
    if not (job.causal and job.slope) or m.row_groups * m.row_blocks <= 1 or rows % (2 * m.bk):
        return 1.0
    blocks = m.row_groups * m.row_blocks
    return min(1.0, 0.5 * (1.0 + 1.0 / blocks) + job.offset / max(job.k.shape[2], 1))


def _array(job: AttentionJob, chip: Chip, m: AttentionMap) -> int:
    matrix = chip.core.matrix
    rate = matrix.rate["fp32" if job.q.esize == 4 else "bf16"]
    shape = matrix.rows, matrix.cols, rate, matrix.mac_latency_cycles
    scores = matmul_cycles(m.bq, m.bk, job.q.shape[3], *shape)
    return scores + matmul_cycles(m.bq, job.v.shape[3], m.bk, *shape)


def _vector(job: AttentionJob, chip: Chip, m: AttentionMap) -> int:
    lanes, startup = chip.core.vector.lanes, chip.core.vector.startup_cycles
    scores = startup + m.bq * ceil_div(m.bk, lanes) + tree_levels(lanes)
    output = vec_cycles(m.bq, job.v.shape[3], lanes, startup, 1, 0)
    column = vec_cycles(1, m.bq, lanes, startup, 1, 0)
    return 2 * scores + output + COLUMN_WORDS * column
