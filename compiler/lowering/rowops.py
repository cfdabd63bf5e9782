"""Rowwise forms of the chip-level ops: which shape they iterate, which scratch they use, which
vector words one tile needs.

In:  `PlanStep`s.   Out: `RowOp`s for `emit_rowwise`.
Raises: UnsupportedOpError for a form without words.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from athena.errors import UnsupportedOpError
from athena.isa.builder import Side, Vec, imm
from athena.isa.fields import Alu, Dt, Kind, Lut, Perm, Red
from compiler.graph.chip_ops import (
    ElementwiseAttrs,
    Fn,
    NormAttrs,
    NormKind,
    QuantizeAttrs,
    ReduceAttrs,
    ReduceKind,
    RopeAttrs,
    Step,
)
from compiler.graph.types import DType
from compiler.lowering.chain_script import ChainPlaces, add_chain, spread, temps_needed
from compiler.lowering.nest import Spot
from compiler.lowering.plan import PlanStep
from compiler.lowering.rowwise import RowOp, Tools, joint
from compiler.lowering.tiles import Script, column, column_operand
from compiler.lowering.vecchain import VecWord, vec_words
from compiler.lowering.views import INTEGERS, View


def elementwise(step: PlanStep) -> RowOp:
    """A chain of steps with numpy broadcasting; without steps, a conversion or a copy."""
    if not isinstance(step.attrs, ElementwiseAttrs):
        raise TypeError(step.op)
    steps: tuple[Step, ...] = step.attrs.steps
    if not steps and step.to_bool:
        steps = (Step(fn=Fn.CAST, to=DType.BOOL),)
    views = tuple(v for v in step.ins if v is not None)
    integer = tuple(v.dt in INTEGERS for v in views)
    words = vec_words(
        steps, integer=integer[0], operand_integer=integer, out_integer=step.out.dt in INTEGERS
    )
    wide = tuple(v.expand(step.out.shape) for v in views)
    shape, joined = joint(step.out.shape, (*wide, step.out), keep_cols=False)
    needed = temps_needed(words)

    def script(tools: Tools, spot: Spot) -> Script:
        return _chain_script(tools, spot, words, integer=integer[0])

    extra = 0 if _kind_full(joined[0], shape) else 1
    return RowOp(
        shape=shape,
        ins=joined[:-1],
        out=joined[-1],
        whole_rows=False,
        temps=needed + extra,
        columns=0,
        script=script,
    )


def _chain_script(tools: Tools, spot: Spot, words: tuple[VecWord, ...], *, integer: bool) -> Script:
    """The chain on one tile; a first operand that is broadcast is written out first."""
    made = tools.script(spot)
    needed = temps_needed(words)
    places = ChainPlaces(
        tiles=dict(enumerate(tools.ins)),
        temp=tools.temp(0) if len(words) > 1 else None,
        recip=tools.temp(needed - 1) if needed and _has_recip(words) else None,
    )
    source, target = tools.ins[0], tools.out.operand(spot.slot)
    at = source.operand(spot.slot)
    if source.kind is not Kind.FULL:
        at = tools.temp(len(tools.temps) - 1, Dt.I32 if integer else Dt.F32)
        spread(made, source.side(spot.slot), at, integer=integer)
    add_chain(made, words, at, target, places, spot.slot)
    return made


def _has_recip(words: tuple[VecWord, ...]) -> bool:
    return any(ref is not None and ref.recip for word in words for ref in (word.b, word.c))


def _kind_full(view: View, shape: tuple[int, ...]) -> bool:
    return (view.strides[-2] != 0 or shape[-2] == 1) and (view.strides[-1] != 0 or shape[-1] == 1)


def norm(step: PlanStep) -> RowOp:
    """Layer or RMS normalisation: two reductions, then scale and shift."""
    if not isinstance(step.attrs, NormAttrs):
        raise TypeError(step.op)
    attrs = step.attrs
    views = tuple(v.expand(step.out.shape) for v in step.ins if v is not None)
    shape, joined = joint(step.out.shape, (*views, step.out), keep_cols=True)
    beta = len(views) > 2
    layer = attrs.kind is NormKind.LAYER

    def script(tools: Tools, spot: Spot) -> Script:
        return _norm_script(tools, spot, attrs, shape[-1])

    return RowOp(
        shape=shape,
        ins=joined[:-1],
        out=joined[-1],
        whole_rows=True,
        temps=int(layer or beta),
        columns=2,
        script=script,
    )


def _norm_script(tools: Tools, spot: Spot, attrs: NormAttrs, width: int) -> Script:
    """Statistics of one tile's rows, then (x - mean)·rsqrt·gamma + beta."""
    made = tools.script(spot)
    x, gamma = tools.ins[0].operand(spot.slot), tools.ins[1].side(spot.slot)
    mean, square = (column_operand(at) for at in tools.columns)
    inverse, result = imm(1.0 / width), tools.out.operand(spot.slot)
    if attrs.kind is NormKind.LAYER:
        made.vec(x, None, Vec(red=Red.SUM, red_to=mean))
        made.column(mean, mean, Vec(alu1=Alu.MUL, b=inverse))
        centred = tools.temp(0)
        steps = Vec(alu1=Alu.SUB, b=column(mean.imm), red=Red.SUMSQ, red_to=square)
        made.vec(x, centred, steps)
    else:
        centred = x
        made.vec(x, None, Vec(red=Red.SUMSQ, red_to=square))
    made.column(square, square, Vec(alu1=Alu.MUL, b=inverse, alu2=Alu.ADD, c=imm(attrs.eps)))
    made.column(square, square, Vec(lut=Lut.RSQRT))
    beta = len(tools.ins) > 2
    scaled = tools.temp(0) if beta else result
    made.vec(centred, scaled, Vec(alu1=Alu.MUL, b=column(square.imm), alu2=Alu.MUL, c=gamma))
    if beta:
        made.vec(scaled, result, Vec(alu1=Alu.ADD, b=tools.ins[2].side(spot.slot)))
    return made


def softmax(step: PlanStep) -> RowOp:
    """Softmax of the last axis: maximum, exponential with its sum, multiplication by the
    reciprocal.
    """
    views = tuple(v.expand(step.out.shape) for v in step.ins if v is not None)
    shape, joined = joint(step.out.shape, (*views, step.out), keep_cols=True)

    def script(tools: Tools, spot: Spot) -> Script:
        made = tools.script(spot)
        x, e = tools.ins[0].operand(spot.slot), tools.temp(0)
        top, total = tools.columns
        made.vec(x, None, Vec(red=Red.MAX, red_to=column_operand(top)))
        made.vec(
            x,
            e,
            Vec(
                alu1=Alu.SUB, b=column(top), lut=Lut.EXP, red=Red.SUM, red_to=column_operand(total)
            ),
        )
        made.column(column_operand(total), column_operand(total), Vec(lut=Lut.RECIP))
        made.vec(e, tools.out.operand(spot.slot), Vec(alu1=Alu.MUL, b=column(total)))
        return made

    return RowOp(
        shape=shape,
        ins=joined[:-1],
        out=joined[-1],
        whole_rows=True,
        temps=1,
        columns=2,
        script=script,
    )


_REDUCTIONS = {
    ReduceKind.SUM: Red.SUM,
    ReduceKind.MEAN: Red.SUM,
    ReduceKind.MAX: Red.MAX,
    ReduceKind.MIN: Red.MIN,
}


def reduce(step: PlanStep) -> RowOp:
    """Sum, mean, maximum or minimum of the last axis."""
    if not isinstance(step.attrs, ReduceAttrs) or step.attrs.kind not in _REDUCTIONS:
        raise UnsupportedOpError("no unit multiplies along a row", where=step.name)
    kind = step.attrs.kind
    source = step.ins[0]
    if source is None:
        raise TypeError(step.op)
    out = replace(step.out, shape=source.shape, strides=(*step.out.strides, 0))
    shape, joined = joint(source.shape, (source, out), keep_cols=True)
    integer = source.dt in INTEGERS

    def script(tools: Tools, spot: Spot) -> Script:
        made = tools.script(spot)
        to = replace(column_operand(tools.columns[0]), dt=Dt.I32 if integer else Dt.F32)
        made.vec(
            tools.ins[0].operand(spot.slot),
            None,
            Vec(red=_REDUCTIONS[kind], red_to=to, integer=integer),
        )
        scale = 1.0 / shape[-1] if kind is ReduceKind.MEAN else 1.0
        target = tools.out.operand(spot.slot)
        made.column(
            to, target, Vec(alu1=Alu.MUL, b=imm(scale)) if scale != 1.0 else Vec(integer=integer)
        )
        return made

    return RowOp(
        shape=shape,
        ins=joined[:1],
        out=joined[1],
        whole_rows=True,
        temps=0,
        columns=1,
        script=script,
    )


def rope(step: PlanStep) -> RowOp:
    """x·cos + rotate(x)·sin on the last axis."""
    if not isinstance(step.attrs, RopeAttrs):
        raise TypeError(step.op)
    x, cos, sin = step.ins
    if x is None or cos is None or sin is None:
        raise TypeError(step.op)
    depth = step.out.shape[-1]
    if cos.shape[-1] != depth or sin.shape[-1] != depth:
        raise UnsupportedOpError("tables narrower than what is rotated", where=step.name)
    wide = tuple(v.expand(step.out.shape) for v in (x, cos, sin))
    shape, joined = joint(step.out.shape, (*wide, step.out), keep_cols=True)
    mode = Perm.ROTATE_PAIRS if step.attrs.interleaved else Perm.ROTATE_HALF

    def script(tools: Tools, spot: Spot) -> Script:
        return _rope_script(tools, spot, mode)

    return RowOp(
        shape=shape,
        ins=joined[:-1],
        out=joined[-1],
        whole_rows=True,
        temps=2,
        columns=0,
        script=script,
    )


def _rope_script(tools: Tools, spot: Spot, mode: Perm) -> Script:
    made = tools.script(spot)
    rows, cols = tools.split.tile_rows, tools.split.tile_cols
    source = tools.ins[0].operand(spot.slot)
    turned, straight = replace(tools.temp(0), dt=source.dt), tools.temp(1)
    made.perm(source, turned, mode, rows=rows, cols=cols, clips=(spot.rows(), None, None))
    made.vec(source, straight, Vec(alu1=Alu.MUL, b=tools.ins[1].side(spot.slot)))
    sum_of_both = Vec(
        alu1=Alu.MUL,
        b=tools.ins[2].side(spot.slot),
        alu2=Alu.ADD,
        c=Side(Kind.FULL, straight),
    )
    made.vec(turned, tools.out.operand(spot.slot), sum_of_both)
    return made


def quantize(step: PlanStep) -> RowOp:
    """To int8 or uint8: x · (1 / scale), nearest even, + zero point, saturated."""
    scale, zero = _per_tensor(step)
    inverse = float(np.float32(1.0) / np.float32(scale))
    return _one_word(step, Vec(alu1=Alu.MUL, b=imm(inverse), zero=zero))


def dequantize(step: PlanStep) -> RowOp:
    """(x − zero point) · scale."""
    scale, zero = _per_tensor(step)
    return _one_word(step, Vec(alu1=Alu.SUB, b=imm(float(zero)), alu2=Alu.MUL, c=imm(scale)))


def _per_tensor(step: PlanStep) -> tuple[float, int]:
    """The one scale and zero point of a quantisation."""
    if not isinstance(step.attrs, QuantizeAttrs):
        raise TypeError(step.op)
    if len(step.attrs.scale) != 1:
        raise UnsupportedOpError("activations are quantised per tensor only", where=step.name)
    return step.attrs.scale[0], step.attrs.zero_point[0]


def _one_word(step: PlanStep, steps: Vec) -> RowOp:
    """One VEC word from the operand's tile to the result's."""
    if step.ins[0] is None:
        raise TypeError(step.op)
    shape, joined = joint(step.out.shape, (step.ins[0], step.out), keep_cols=False)

    def script(tools: Tools, spot: Spot) -> Script:
        made = tools.script(spot)
        made.vec(tools.ins[0].operand(spot.slot), tools.out.operand(spot.slot), steps)
        return made

    return RowOp(
        shape=shape,
        ins=joined[:1],
        out=joined[1],
        whole_rows=False,
        temps=0,
        columns=0,
        script=script,
    )
