"""Shapes and mapping of attention: which cores take which heads and rows, how large the tiles are.

In:  a `PlanStep` of op Attention: q [B,H,Sq,D], k [B,Hkv,Sk,D], v [B,Hkv,Sk,Dv], mask or None.
Out: `AttentionJob`.
Raises: CapacityError if not even the smallest tiles fit.

A core takes blocks of `bq` query rows and walks the keys in tiles of `bk` with a running maximum
and sum (online softmax). Where there is one query and several heads share a key head, the heads of
the group are the rows.
"""

from __future__ import annotations

from dataclasses import replace

from athena.chip import Chip
from athena.errors import CapacityError
from athena.isa.cycles import ceil_div
from athena.isa.fields import Dt
from compiler.graph.chip_ops import AttentionAttrs
from compiler.lowering.attention_emit import emit_attention
from compiler.lowering.attention_job import AttentionJob, AttentionMap
from compiler.lowering.plan import Plan, PlanStep
from compiler.lowering.views import View

QUERY_ROWS_LIMIT = 256
KEYS_LIMIT = 1024
LONG_TILE_KEYS = 512

__all__ = ["AttentionJob", "emit_attention", "prepare_attention"]


def prepare_attention(step: PlanStep, plan: Plan, chip: Chip) -> AttentionJob:
    """Normalise the operands and choose tiles and core split."""
    del plan
    attrs = step.attrs
    q, k, v = step.ins[:3]
    if not isinstance(attrs, AttentionAttrs) or q is None or k is None or v is None:
        raise TypeError(step.op)
    mask = step.ins[3] if len(step.ins) > 3 else None
    batch, heads, rows, _ = q.shape
    kv_heads, keys = k.shape[1], k.shape[2]
    if mask is not None:
        mask = mask.expand((batch, heads, rows, keys))
    rep = heads // kv_heads
    causal = attrs.causal and (rows > 1 or attrs.causal_offset + 1 < keys)
    offset = attrs.causal_offset
    slope = 1
    out = step.out
    if rows == 1 and rep > 1 and (mask is None or mask.strides[1] == 0):
        q, out = _group(q, kv_heads, rep), _group(out, kv_heads, rep)
        if mask is not None:
            mask = _group(mask, kv_heads, rep)
        rep, slope = 1, 0
    job = AttentionJob(
        step=step,
        q=q,
        k=k,
        v=v,
        mask=mask,
        out=out,
        rep=rep,
        scale=attrs.scale,
        softcap=attrs.softcap,
        causal=causal,
        offset=offset,
        slope=slope,
        mapping=AttentionMap(),
    )
    return replace(job, mapping=_map(job, chip))


def _group(view: View, kv_heads: int, rep: int) -> View:
    """[B, Hkv·rep, 1, D] as [B, Hkv, rep, D]."""
    b, _, _, d = view.shape
    sb, sh, _, sd = view.strides
    return replace(view, shape=(b, kv_heads, rep, d), strides=(sb, sh * rep, sh, sd))


def _tile(job: AttentionJob, chip: Chip) -> tuple[int, int]:
    """Rows and keys of a tile: in half of L1 if that gives long tiles, so that the next op may
    prefetch; else in all of it.
    """
    keys = job.k.shape[2]
    found = (0, 0)
    for budget in (chip.core.l1_bytes // 2, chip.core.l1_bytes):
        found = max(found, _largest(job, chip, budget), key=lambda tile: tile[0] * tile[1])
        if found[1] >= min(keys, LONG_TILE_KEYS):
            break
    if not found[1]:
        raise CapacityError(
            f"attention of depth {job.q.shape[3]} does not fit L1 of {chip.core.l1_bytes} bytes",
            where=f"node '{job.step.name}'",
        )
    return found


def _largest(job: AttentionJob, chip: Chip, budget: int) -> tuple[int, int]:
    rows, keys, region = job.q.shape[2], job.k.shape[2], chip.acc_region_bytes
    best = (0, 0)
    bq = min(rows, QUERY_ROWS_LIMIT, region // (job.v.shape[3] * 4))
    while bq > 0:
        bk = min(KEYS_LIMIT, region // (bq * 4))
        if job.causal and job.slope and rows > bq:
            bk = min(bk, max(bq // 2, 1))
        bk = min(bk, keys)
        while bk > 0 and job.l1_bytes(bq, bk, 1, chip) > budget:
            bk //= 2
        best = max(best, (bq, bk), key=lambda tile: tile[0] * tile[1])
        if bk >= min(keys, chip.core.matrix.cols):
            break
        bq //= 2
    return best


def _map(job: AttentionJob, chip: Chip) -> AttentionMap:
    batch, heads, rows, _ = job.q.shape
    keys = job.k.shape[2]
    bq, bk = _tile(job, chip)
    # two sub-blocks share each tile of keys where rows are many and the accumulators have room
    roomy = (
        chip.core.acc_regions >= 4
        and rows > bq
        and job.l1_bytes(bq, bk, 2, chip) <= chip.core.l1_bytes
    )
    subs = 2 if roomy else 1
    groups = [
        d
        for d in range(1, min(heads, chip.cores) + 1)
        if heads % d == 0 and (d % job.rep == 0 or job.rep % d == 0)
    ]
    gh = max(groups)
    gb = max(d for d in range(1, min(batch, chip.cores // gh) + 1) if batch % d == 0)
    blocks = ceil_div(rows, subs * bq)
    gq = max(1, min(blocks, chip.cores // (gh * gb)))
    return AttentionMap(
        bq=bq,
        bk=bk,
        head_groups=gh,
        batch_groups=gb,
        row_groups=gq,
        row_blocks=ceil_div(blocks, gq),
        tiles=ceil_div(keys, bk),
        s_slots=2 if chip.core.acc_regions >= 3 else 1,
        subs=subs,
        p_dt=Dt.F32 if job.q.dt is Dt.F32 else Dt.BF16,
    )
