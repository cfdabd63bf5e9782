"""Words of a matrix multiply with epilogue.

In:  a `PlanStep` of op Gemm.   Out: `prepare` packs constant weights and chooses the mapping
(before memory is allocated); `emit_gemm` adds the words of all four queues.
Raises: CapacityError from the mapping; UnsupportedOpError from the epilogue.

LOAD brings a panel of A, then strip after strip of B (with the bias row behind it); MATRIX
multiplies each strip into its accumulator slot; VECTOR applies the epilogue from there to L1; STORE
takes it to memory while the next strip runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from athena.chip import Chip
from athena.isa.cycles import ceil_div
from athena.isa.fields import DT_BYTES, Dt, Kind, Seg
from compiler.graph.chip_ops import Fn, GemmAttrs, Step
from compiler.lowering.chain_script import temps_needed
from compiler.lowering.gemm_cost import GemmMap, GemmShape
from compiler.lowering.gemm_map import choose_gemm
from compiler.lowering.plan import Plan, PlanStep
from compiler.lowering.tiles import kind_of
from compiler.lowering.vecchain import VecWord, vec_words
from compiler.lowering.views import INTEGERS, View, collapse


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Where B lies: `packed` strips [strip][k][sn], or rows as they are ([k, n], or [n, k] if
    `trans`).
    """

    buffer: int
    offset: int
    dt: Dt
    trans: bool
    packed: bool
    row_stride: int
    strip_stride: int  # bytes between strips
    panel_stride: int  # bytes between panels, per element of k


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmJob:
    """A multiply ready for emission; `outers` are the offsets (a, b, operands…, out) of every batch
    index.
    """

    step: PlanStep
    shape: GemmShape
    mapping: GemmMap
    a: View
    weights: Weights
    bias: View | None
    operands: tuple[View, ...]
    out: View
    outers: tuple[tuple[int, ...], ...]
    words: tuple[VecWord, ...]
    acc_dt: Dt
    a_zero: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flat:
    """A multiply as [rows, k] × [k, n], once per batch index: views without leading axes."""

    k: int
    n: int
    a: View
    out: View
    operands: tuple[View, ...]
    outers: tuple[tuple[int, ...], ...]


def prepare_gemm(step: PlanStep, plan: Plan, chip: Chip) -> GemmJob:
    """Normalise the shapes, choose the mapping, pack constant weights into strips."""
    attrs = step.attrs
    if not isinstance(attrs, GemmAttrs) or step.ins[0] is None or step.ins[1] is None:
        raise TypeError(step.op)
    bias, operands, chain = _epilogue(step, plan, attrs)
    flat = _flatten(step, attrs, operands)
    integer = attrs.quant is not None or flat.a.dt in INTEGERS
    words = vec_words(
        chain,
        integer=integer and not attrs.quant,
        operand_integer=tuple(v.dt in INTEGERS for v in flat.operands),
        out_integer=step.out.dt in INTEGERS,
    )
    shape = _shape(step, flat, temps_needed(words), integer=integer)
    mapping = plan.mappings.get(shape) or choose_gemm(shape, chip)
    plan.mappings[shape] = mapping
    weights = _weights(step, plan, step.ins[1], mapping, trans=attrs.trans_b)
    if mapping.cluster and not mapping.cuts_strips(shape, chip.core.fifo_words):
        beyond = mapping.spare_strips(shape) * weights.strip_stride
        plan.tail_bytes = max(plan.tail_bytes, beyond)
    return GemmJob(
        step=step,
        shape=shape,
        mapping=mapping,
        a=flat.a,
        weights=weights,
        bias=bias,
        operands=flat.operands,
        out=flat.out,
        outers=flat.outers,
        words=words,
        acc_dt=Dt.I32 if integer else Dt.F32,
        a_zero=attrs.quant.a_zero_point if attrs.quant else 0,
    )


def _flatten(step: PlanStep, attrs: GemmAttrs, operands: tuple[View, ...]) -> _Flat:
    """Merge leading axes into rows where every operand allows it; the others become the batch."""
    a, b = step.ins[0], step.ins[1]
    if a is None or b is None:
        raise TypeError(step.op)
    n, k = b.shape[-2:] if attrs.trans_b else b.shape[:-3:-1]
    m = a.shape[-2] if len(a.shape) > 1 else 1
    if len(a.shape) == 1:
        a = replace(a, shape=(1, *a.shape), strides=(0, *a.strides))
    lead = step.out.shape[:-2] if len(step.out.shape) > 2 else ()
    out = replace(step.out, shape=(*lead, m, n), strides=_lead(step.out, (*lead, m, n)))
    full = tuple(v.expand((*lead, m, n)) for v in operands)
    a = a.expand((*lead, m, k))
    b = b.expand((*lead, *b.shape[-2:]))
    axes, merged = collapse(
        (*lead, m),
        (a.strides[:-1], (*b.strides[:-2], 0), out.strides[:-1], *(v.strides[:-1] for v in full)),
    )
    if merged[1][-1] != 0:  # every row has its own B: a batch of single rows
        axes, merged = (*axes, 1), tuple((*s, 0) for s in merged)
    rows = axes[-1]

    def flat(view: View, width: int, strides: tuple[int, ...]) -> View:
        return replace(view, shape=(rows, width), strides=(strides[-1], view.strides[-1]))

    return _Flat(
        k=k,
        n=n,
        a=flat(a, k, merged[0]),
        out=flat(out, n, merged[2]),
        operands=tuple(flat(v, n, s) for v, s in zip(full, merged[3:], strict=True)),
        outers=_outers(axes[:-1], tuple(s[:-1] for s in merged)),
    )


def _shape(step: PlanStep, flat: _Flat, temp_tiles: int, *, integer: bool) -> GemmShape:
    weights = step.ins[1]
    full = [v.esize for v in flat.operands if kind_of(v, flat.out.shape) is Kind.FULL]
    return GemmShape(
        m=flat.a.shape[0],
        n=flat.n,
        k=flat.k,
        a_bytes=flat.a.esize,
        b_bytes=weights.esize if weights is not None else 0,
        out_bytes=flat.out.esize,
        operand_bytes=sum(full),
        row_bytes=sum(v.esize for v in flat.operands) - sum(full),
        temp_tiles=temp_tiles,
        rate="int8" if integer else ("fp32" if flat.a.dt is Dt.F32 else "bf16"),
        operands=len(flat.operands),
        batch=len(flat.outers),
        staging=_packable(step),
    )


def _packable(step: PlanStep) -> bool:
    """Whether B is a constant [k, n] that may be stored in strips."""
    b, attrs = step.ins[1], step.attrs
    if b is None or not isinstance(attrs, GemmAttrs) or attrs.trans_b or step.consts[1] is None:
        return False
    return len(b.shape) == 2 and b.offset == 0 and b.contiguous


def _lead(view: View, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of `view` on `shape`, which may have a row axis of size 1 more."""
    if len(view.shape) == len(shape):
        return view.strides
    return (*view.strides[:-1], 0, view.strides[-1]) if view.strides else (0, view.esize)


def _outers(
    axes: tuple[int, ...], strides: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    index = np.indices(axes).reshape(len(axes), -1) if axes else np.zeros((0, 1), np.int64)
    columns = [(np.array(s, np.int64)[:, None] * index).sum(axis=0) for s in strides]
    return tuple(tuple(int(c[i]) for c in columns) for i in range(index.shape[1]))


def _epilogue(
    step: PlanStep, plan: Plan, attrs: GemmAttrs
) -> tuple[View | None, tuple[View, ...], tuple[Step, ...]]:  # fmt: skip
    """The bias that MATMUL can start from, the other operands, and the chain in their numbers."""
    operands = [v for v in step.ins[3:] if v is not None]
    chain = [
        replace(s, operand=_shift(s.operand), operand2=_shift(s.operand2)) for s in attrs.steps
    ]
    bias = step.ins[2] if len(step.ins) > 2 else None
    front: list[Step] = []
    if attrs.quant is not None:
        scale = np.float32(attrs.quant.a_scale) * np.array(attrs.quant.w_scale, np.float32)
        operands.append(
            constant(plan, step.name + ".scale", np.broadcast_to(scale, step.out.shape[-1:]))
        )
        front.append(Step(fn=Fn.MUL, operand=len(operands) - 1))
    elif attrs.alpha != 1.0:
        front.append(Step(fn=Fn.MUL, const=attrs.alpha))
    if (
        bias is not None
        and not front
        and bias.buffer in _fp32_constants(plan, step)
        and step.ins[0] is not None
    ):
        data = _fp32_constants(plan, step)[bias.buffer]
        if step.ins[0].dt not in INTEGERS:
            return constant(plan, step.name + ".bias", data), tuple(operands), tuple(chain)
    if bias is not None:
        operands.append(bias)
        front.append(Step(fn=Fn.ADD, operand=len(operands) - 1))
    return None, tuple(operands), (*front, *chain)


def _shift(operand: int | None) -> int | None:
    return None if operand is None else operand - 3


def _fp32_constants(plan: Plan, step: PlanStep) -> dict[int, np.ndarray]:
    value, view = (step.consts[2], step.ins[2]) if len(step.consts) > 2 else (None, None)
    if value is None or view is None or value.const is None or value.elems != step.out.shape[-1]:
        return {}
    return {view.buffer: value.const.reshape(-1)}


def constant(plan: Plan, name: str, data: np.ndarray) -> View:
    """A new fp32 constant in segment WEIGHT."""
    packed = np.ascontiguousarray(data, np.float32)
    number = plan.buffer(Seg.WEIGHT, packed.nbytes, name)
    plan.const_data[number] = packed
    return View(buffer=number, dt=Dt.F32, shape=packed.shape, strides=(4,) * packed.ndim)


def _weights(step: PlanStep, plan: Plan, b: View, mapping: GemmMap, *, trans: bool) -> Weights:
    if _packable(step):
        return _packed(step, plan, b, mapping)
    size = DT_BYTES[b.dt]
    row = b.strides[-2]
    if b.strides[-1] != size and min(b.shape[-2:]) > 1:
        raise TypeError("B has no packed rows")
    return Weights(
        buffer=b.buffer,
        offset=b.offset,
        dt=b.dt,
        trans=trans,
        packed=False,
        row_stride=row,
        strip_stride=mapping.sn * (row if trans else size),
        panel_stride=size if trans else row,
    )


def _packed(step: PlanStep, plan: Plan, b: View, mapping: GemmMap) -> Weights:
    """[k, n] → [strip][k][sn], the last strip padded with zeros."""
    k, n = b.shape[-2:]
    sn, size = mapping.sn, DT_BYTES[b.dt]
    strips = ceil_div(n, sn)
    value = step.consts[1]
    number = plan.packed_buffer(b.buffer, sn, strips * k * sn * size, step.name + ".weights")
    if value is not None and value.const is not None and number not in plan.const_data:
        plan.const_data[number] = _pack(value.const, strips, sn)
    return Weights(
        buffer=number,
        offset=0,
        dt=b.dt,
        trans=False,
        packed=True,
        row_stride=sn * size,
        strip_stride=k * sn * size,
        panel_stride=sn * size,
    )


def _pack(data: np.ndarray, strips: int, sn: int) -> np.ndarray:
    k, n = data.shape
    if n != strips * sn:
        padded = np.zeros((k, strips * sn), data.dtype)
        padded[:, :n] = data
        data = padded
    return np.ascontiguousarray(data.reshape(k, strips, sn).transpose(1, 0, 2))
