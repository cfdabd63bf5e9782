"""VECTOR of attention: scores to probabilities with a running maximum and sum, and the final
quotient.

In:  an `AttentionState` on VECTOR.   Out: VEC words.

For a tile of S: S = S·scale + mask with m = max(m, row maximum); q = m rounded up to a multiple of
2·ln 2; alpha = exp(q_old - q), a power of two; P = exp(S - q) with its row sums; l = l·alpha +
sums; O = O·alpha. At the end O / l. Since alpha is a power of two, the rounding of P to bf16 does
not depend on how the keys are cut into tiles. Rows that see only values near the lowest float keep
q = m.
"""

from __future__ import annotations

import numpy as np

from athena.isa.builder import Mask, Operand, Side, Vec, Wait, imm, self_sem
from athena.isa.fields import Alu, Dt, Kind, Lut, Red, Seg
from compiler.lowering.attention_state import DIAGONAL, AttentionState
from compiler.lowering.emitter import Sem
from compiler.lowering.tiles import column, column_operand

LOWEST = float(np.finfo(np.float32).min)
TINY = 1e-30
STEP = 2.0 * float(np.log(2.0))
SEEN = -1e30  # a row maximum above this saw a key


def reset(s: AttentionState) -> None:
    """Set m = lowest, l = 0 for every sub-block; not before the queries are there: until then L1
    may be an earlier op's.
    """
    s.builder.sync(waits=[Wait(Sem.X_FULL)])
    for sub in range(s.map.subs):
        _constant(s, "m", sub, LOWEST)
        _constant(s, "q", sub, LOWEST)
        _constant(s, "l", sub, 0.0)


def softmax(s: AttentionState, tile: int, sub: int, slot: int) -> None:
    """One tile of S of one sub-block; `slot` of S, P and mask."""
    job, m = s.job, s.map
    scores, clips = s.scores(slot), (s.rows_left(sub), s.keys_left(tile), None)
    top, old, alpha, total, running = (s.column(n, sub) for n in ("q", "old", "alpha", "sum", "l"))
    s.builder.sync(
        waits=[Wait(Sem.ACC_FULL)] + ([Wait(Sem.X_FULL)] if job.mask is not None else [])
    )
    _column(s, sub, column_operand(top), column_operand(old), Vec())
    _masked(s, tile, sub, slot)
    _round_up(s, sub)
    _column(
        s,
        sub,
        column_operand(old),
        column_operand(alpha),
        Vec(alu1=Alu.SUB, b=_row(top), lut=Lut.EXP),
    )
    _constant(s, "sum", sub, 0.0)  # so that a tile without keys adds nothing
    s.builder.vec(
        scores,
        s.probabilities(slot),
        Vec(alu1=Alu.SUB, b=column(top), lut=Lut.EXP, red=Red.SUM, red_to=column_operand(total)),
        rows=m.bq,
        cols=m.bk,
        signals=[self_sem(Sem.ACC_FREE)] + ([self_sem(Sem.X_FREE)] if job.mask is not None else []),
        clips=clips,
    )
    steps = Vec(alu1=Alu.MUL, b=_row(alpha), alu2=Alu.ADD, c=_row(total))
    _column(s, sub, column_operand(running), column_operand(running), steps)
    s.builder.vec(
        s.output(sub),
        s.output(sub),
        Vec(alu1=Alu.MUL, b=column(alpha)),
        rows=m.bq,
        cols=job.v.shape[3],
        waits=[Wait(Sem.PV_DONE)],
        signals=[self_sem(Sem.P_FULL)],
        clips=(s.rows_left(sub), None, None),
    )


def _masked(s: AttentionState, tile: int, sub: int, slot: int) -> None:
    """S scaled, capped and masked in place; m takes the row maxima."""
    job, m = s.job, s.map
    scores, clips = s.scores(slot), (s.rows_left(sub), s.keys_left(tile), None)
    if job.softcap is not None:
        cap = Vec(
            alu1=Alu.MUL,
            b=imm(job.scale / job.softcap),
            lut=Lut.TANH,
            alu2=Alu.MUL,
            c=imm(job.softcap),
        )
        s.builder.vec(scores, scores, cap, rows=m.bq, cols=m.bk, clips=clips)
    s.builder.vec(scores, scores, _scale(s, tile, sub, slot), rows=m.bq, cols=m.bk, clips=clips)


def finish(s: AttentionState) -> None:
    """O / l to L1. With one sub-block its only slot is taken by taking both free tokens."""
    for sub in range(s.map.subs):
        inverse = s.column("inverse", sub)
        steps = Vec(alu1=Alu.MAX, b=imm(TINY), lut=Lut.RECIP)
        _column(s, sub, column_operand(s.column("l", sub)), column_operand(inverse), steps)
        s.builder.vec(
            s.output(sub),
            s.result(sub),
            Vec(alu1=Alu.MUL, b=column(inverse)),
            rows=s.map.bq,
            cols=s.job.v.shape[3],
            waits=[Wait(Sem.PV_DONE), Wait(Sem.OUT_FREE, 3 - s.map.subs)],
            signals=[self_sem(Sem.OUT_FULL), self_sem(Sem.O_FREE)],
            clips=(s.rows_left(sub), None, None),
        )


def _round_up(s: AttentionState, sub: int) -> None:
    """Give q = m rounded up to a multiple of STEP, or m itself where the row saw no key."""
    top, rounded = column_operand(s.column("m", sub)), column_operand(s.column("q", sub))
    if s.map.p_dt is Dt.F32:
        _column(s, sub, top, rounded, Vec())
        return
    seen = column_operand(s.column("sum", sub))
    steps = Vec(alu1=Alu.MUL, b=imm(1.0 / STEP), lut=Lut.CEIL, alu2=Alu.MUL, c=imm(STEP))
    _column(s, sub, top, rounded, steps)
    _column(s, sub, top, seen, Vec(alu1=Alu.GT, b=imm(SEEN)))
    choice = Vec(b=Side(Kind.FULL, rounded), alu2=Alu.SELECT, c=Side(Kind.FULL, top))
    _column(s, sub, seen, rounded, choice)


def _column(s: AttentionState, sub: int, a: Operand, d: Operand, steps: Vec) -> None:
    s.builder.vec(a, d, steps, rows=1, cols=s.map.bq, clips=(None, s.rows_left(sub), None))


def _constant(s: AttentionState, name: str, sub: int, value: float) -> None:
    """Whatever lies there, read as int32, times 0, plus the value."""
    at = s.column(name, sub)
    steps = Vec(alu1=Alu.MUL, b=imm(0.0), alu2=Alu.ADD, c=imm(value))
    _column(s, sub, Operand(Seg.L1, at, 4, Dt.I32), column_operand(at), steps)


def _row(at: int) -> Side:
    """A packed column read as the second operand of a word over one row."""
    return Side(Kind.FULL, Operand(Seg.L1, at, 4, Dt.F32))


def _scale(s: AttentionState, tile: int, sub: int, slot: int) -> Vec:
    job, m = s.job, s.map
    mask = None
    if job.causal:
        first = job.offset + 1 - tile * m.bk + sub * m.bq * job.slope
        mask = Mask(hi=first, hi_slope=job.slope, hi_areg=DIAGONAL)
    added = Side()
    if job.mask is not None:
        kind = Kind.ROW if job.mask.strides[2] == 0 else Kind.FULL
        pitch = job.pitch(m.bk, job.mask.dt)
        added = Side(kind, Operand(Seg.L1, s.at["mask"][slot], pitch, job.mask.dt))
    return Vec(
        alu1=Alu.MUL,
        b=imm(1.0 if job.softcap is not None else job.scale),
        alu2=Alu.ADD if job.mask is not None else Alu.PASS,
        c=added,
        mask=mask,
        red=Red.MAX,
        red_to=column_operand(s.column("m", sub)),
        red_keep=True,
    )
