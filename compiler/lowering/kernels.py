"""The table of chip-level ops that need words: how each is prepared (mapping, packed constants) and
emitted.

To add an op: a row here, a form in `rowops.py` (or a module of its own), its attributes in
`compiler/graph/chip_ops.py`, its reference in `compiler/graph/chip_reference.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from athena.chip import Chip
from compiler.graph.chip_ops import ElementwiseAttrs, Op
from compiler.lowering import moves, rowops
from compiler.lowering.attention import AttentionJob, emit_attention, prepare_attention
from compiler.lowering.emitter import Emitter
from compiler.lowering.gather import emit_gather
from compiler.lowering.gemm import GemmJob, prepare_gemm
from compiler.lowering.gemm_emit import emit_gemm, job_buffers
from compiler.lowering.host import emit_host
from compiler.lowering.plan import Buffer, Plan, PlanStep
from compiler.lowering.rowwise import RowOp, emit_rowwise

Job = GemmJob | AttentionJob | PlanStep
Emit = Callable[[Emitter, list[Buffer]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A step bound to its emission and the buffers it touches."""

    step: PlanStep
    buffers: frozenset[int]
    emit: Emit


def bind(step: PlanStep, plan: Plan, chip: Chip) -> Kernel:
    """Prepare one step. Raises: CapacityError, UnsupportedOpError from the kernel."""
    return _TABLE[step.op](step, plan, chip)


def _rowwise(form: Callable[[PlanStep], RowOp]) -> Callable[[PlanStep, Plan, Chip], Kernel]:
    def make(step: PlanStep, plan: Plan, chip: Chip) -> Kernel:
        del plan, chip
        op = form(step)
        return _kernel(step, lambda emitter, buffers: emit_rowwise(emitter, step, op, buffers))

    return make


def _kernel(step: PlanStep, emit: Emit, buffers: Iterable[int] | None = None) -> Kernel:
    touched = (
        buffers
        if buffers is not None
        else [v.buffer for v in (*step.ins, step.out) if v is not None]
    )
    return Kernel(step=step, buffers=frozenset(touched), emit=emit)


def _gemm(step: PlanStep, plan: Plan, chip: Chip) -> Kernel:
    job = prepare_gemm(step, plan, chip)
    return _kernel(
        step, lambda emitter, buffers: emit_gemm(emitter, job, buffers), job_buffers(job)
    )


def _attention(step: PlanStep, plan: Plan, chip: Chip) -> Kernel:
    job = prepare_attention(step, plan, chip)
    return _kernel(step, lambda emitter, buffers: emit_attention(emitter, job, buffers))


def _gather(step: PlanStep, plan: Plan, chip: Chip) -> Kernel:
    del plan, chip
    return _kernel(step, lambda emitter, buffers: emit_gather(emitter, step, buffers))


def _host(step: PlanStep, plan: Plan, chip: Chip) -> Kernel:
    del chip
    number = plan.host_steps.index(step)
    touched = [v.buffer for v in (*step.ins, *step.outs) if v is not None]
    return _kernel(step, lambda emitter, buffers: emit_host(emitter, step, number), touched)


def _copy(step: PlanStep, plan: Plan, chip: Chip) -> Kernel:
    chain = isinstance(step.attrs, ElementwiseAttrs) and bool(step.attrs.steps)
    if chain or moves.is_plain_copy(step):
        return _rowwise(rowops.elementwise)(step, plan, chip)
    return _kernel(step, lambda emitter, buffers: moves.emit_transpose(emitter, step, buffers))


_TABLE: dict[str, Callable[[PlanStep, Plan, Chip], Kernel]] = {
    "Copy": _copy,
    Op.GEMM: _gemm,
    Op.ATTENTION: _attention,
    Op.ELEMENTWISE: _copy,
    Op.NORM: _rowwise(rowops.norm),
    Op.SOFTMAX: _rowwise(rowops.softmax),
    Op.REDUCE: _rowwise(rowops.reduce),
    Op.ROPE: _rowwise(rowops.rope),
    Op.QUANTIZE: _rowwise(rowops.quantize),
    Op.DEQUANTIZE: _rowwise(rowops.dequantize),
    Op.GATHER: _gather,
    Op.HOST: _host,
}
