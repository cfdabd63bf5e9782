"""Shapes and mapping of attention: which cores take which heads and rows, how large the tiles are.

In:  a `PlanStep` of op Attention: q [B,H,Sq,D], k [B,Hkv,Sk,D], v [B,Hkv,Sk,Dv], mask or None.
Out: `AttentionJob`.
Raises: CapacityError if not even the smallest tiles fit.

A core takes blocks of `bq` query rows and walks the keys in tiles of `bk` with a running maximum
and sum (online softmax). Where there is one query and several heads share a key head, the heads of
the group are the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from athena.chip import Chip
from athena.errors import CapacityError
from athena.isa.cycles import ceil_div
from athena.isa.fields import Dt
from compiler.graph.chip_ops import AttentionAttrs
from compiler.lowering.attention_cost import estimate
from compiler.lowering.attention_emit import emit_attention
from compiler.lowering.attention_job import AttentionJob, AttentionMap
from compiler.lowering.plan import Plan, PlanStep
from compiler.lowering.views import View

QUERY_ROWS_LIMIT = 256
KEYS_LIMIT = 1024

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


def _map(job: AttentionJob, chip: Chip) -> AttentionMap:
    """The candidate with the fewest estimated cycles; the first of equals.

    Raises: CapacityError if not even the smallest tiles fit.
    """
    best = min(_candidates(job, chip), key=lambda m: round(m.cycles), default=None)
    if best is None:
        raise CapacityError(
            f"attention of depth {job.q.shape[3]} does not fit L1 of {chip.core.l1_bytes} bytes",
            where=f"node '{job.step.name}'",
        )
    return best


def _candidates(job: AttentionJob, chip: Chip) -> Iterator[AttentionMap]:
    """Blocks of rows halved again and again, each with the longest tiles of keys that fit half of
    L1 (so that the next op may prefetch) or all of it, as one or two sub-blocks.
    """
    rows, region = job.q.shape[2], chip.acc_region_bytes
    bq = min(rows, QUERY_ROWS_LIMIT, region // (job.v.shape[3] * 4))
    while bq > 0:
        for budget in (chip.core.l1_bytes // 2, chip.core.l1_bytes):
            # two sub-blocks share each tile of keys where the accumulators have room
            for subs in (1, 2) if chip.core.acc_regions >= 4 and rows > bq else (1,):
                bk = _longest(job, chip, bq, subs, budget)
                if bk:
                    plain = _spread(job, chip, bq, bk, subs)
                    cycles, bound = estimate(job, chip, plain)
                    yield replace(plain, cycles=cycles, bound=bound)
        bq //= 2


def _longest(job: AttentionJob, chip: Chip, bq: int, subs: int, budget: int) -> int:
    """Keys of the longest tile that accumulators and `budget` bytes of L1 hold, 0 if none."""
    keys = job.k.shape[2]
    bk = min(KEYS_LIMIT, chip.acc_region_bytes // (bq * 4))
    if job.causal and job.slope and job.q.shape[2] > bq:
        bk = min(bk, max(bq // 2, 1))
    bk = min(bk, keys)
    while bk > 0 and job.l1_bytes(bq, bk, subs, chip) > budget:
        bk //= 2
    return bk


def _spread(job: AttentionJob, chip: Chip, bq: int, bk: int, subs: int) -> AttentionMap:
    """These tiles over the cores: heads first, then batch, then blocks of rows."""
    batch, heads, rows, _ = job.q.shape
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
        tiles=ceil_div(job.k.shape[2], bk),
        s_slots=2 if chip.core.acc_regions >= 3 else 1,
        subs=subs,
        p_dt=Dt.F32 if job.q.dt is Dt.F32 else Dt.BF16,
    )
