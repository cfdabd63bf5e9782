"""Lower a chip-level graph to a program: plan, bind kernels, allocate, emit, assemble.

In:  the graph after the passes, a chip, a precision.   Out: `Program`.
Raises: CapacityError, UnsupportedOpError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from athena.chip import Chip
from athena.chip.load import chip_hash
from athena.errors import AthenaError, CapacityError, InternalError
from athena.isa.fields import Seg
from athena.isa.operand import FieldError
from athena.isa.program import NodeInfo, Program, Tensor
from compiler.graph.chip_ops import Op
from compiler.graph.flops import node_flops
from compiler.graph.graph import Graph
from compiler.graph.types import Node
from compiler.lowering.emitter import INITIAL_SEMS, Emitter
from compiler.lowering.host import host_table
from compiler.lowering.kernels import Kernel, bind
from compiler.lowering.memory import allocate
from compiler.lowering.period import Placement, place_repeats, repeats_to_write
from compiler.lowering.plan import Buffer, Plan, PlanStep
from compiler.lowering.planner import make_plan
from compiler.lowering.repeat import Blocks, Folded, fold, fold_nodes, whole

FLOP_KINDS = ("matmul", "attention", "attention_full", "elementwise", "norm", "softmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerOptions:
    """What the program's header says of its making; `source_dtypes` are the ONNX types of inputs
    and outputs (numpy names).

    `fold` False writes repeated blocks out in full.
    """

    precision: str
    fold: bool = True
    source_dtypes: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Written:
    """What the kernels wrote."""

    emitter: Emitter
    mappings: dict[int, list[str]]
    folded: Folded


def lower(graph: Graph, chip: Chip, options: LowerOptions) -> Program:
    """The program of `graph` on `chip`."""
    plan = make_plan(graph)
    kernels = [_bind(step_number, plan, chip) for step_number in range(len(plan.steps))]
    _drop_unused(plan, kernels)
    placement = place_repeats(plan, [kernel.buffers for kernel in kernels])
    sizes = allocate(plan, chip, placement)
    written = _write(kernels, plan, chip, placement, fold_repeats=options.fold)
    return _program(graph, chip, options, plan, written, sizes)


def _write(
    kernels: list[Kernel], plan: Plan, chip: Chip, placement: Placement, *, fold_repeats: bool
) -> _Written:
    """Words of all steps, in sections; of repeated blocks only as many as show how they repeat."""
    blocks = _blocks(plan, placement)
    if not fold_repeats:
        emitter, mappings = _emit_all(kernels, plan, chip, placement, blocks.written)
        return _Written(emitter, mappings, whole(emitter, chip))
    touched = [kernel.buffers for kernel in kernels]
    few = replace(blocks, written=repeats_to_write(plan, touched, placement))
    for attempt in (few, blocks):
        emitter, mappings = _emit_all(kernels, plan, chip, placement, attempt.written)
        folded = fold(emitter, chip, attempt)
        if folded is not None:
            break
    else:
        raise InternalError("blocks that were all written need no others", where=plan.graph.name)
    return _Written(emitter, mappings, folded)


def _blocks(plan: Plan, placement: Placement) -> Blocks:
    """The repeats of the plan, all of them to be written."""
    period = placement.period
    if period is None:
        return Blocks()
    nodes = [
        tuple(step.node for step in plan.steps[period.step(i) : period.step(i + 1)])
        for i in range(period.count)
    ]
    return Blocks(nodes=tuple(nodes), written=period.count)


def _emit_all(
    kernels: list[Kernel], plan: Plan, chip: Chip, placement: Placement, written: int
) -> tuple[Emitter, dict[int, list[str]]]:
    """Words of all steps but those of repeats from `written` on; and the mappings of each node."""
    emitter = Emitter(chip)
    mappings: dict[int, list[str]] = {}
    for number, kernel in enumerate((*kernels, None)):
        if placement.begins(number) and len(emitter.cuts) <= written:
            emitter.align()
        if kernel is None or _is_empty(kernel.step) or placement.repeat_of(number) >= written:
            continue
        mappings.setdefault(kernel.step.node, []).append(_emit(kernel, emitter, plan))
    emitter.close()
    return emitter, mappings


def _is_empty(step: PlanStep) -> bool:
    """Whether no result of the step has elements."""
    return all(view is None or view.elems == 0 for view in (step.out, *step.outs))


def _nothing(_emitter: Emitter, _buffers: list[Buffer]) -> str:
    """What a step without elements writes."""
    return "no elements"


def _bind(number: int, plan: Plan, chip: Chip) -> Kernel:
    step = plan.steps[number]
    if _is_empty(step):
        return Kernel(step=step, buffers=frozenset(), emit=_nothing)
    try:
        return bind(step, plan, chip)
    except AthenaError as error:
        raise type(error)(
            error.message, where=f"node '{step.name}' ({step.op})", hint=error.hint
        ) from error


def _emit(kernel: Kernel, emitter: Emitter, plan: Plan) -> str:
    try:
        return kernel.emit(emitter, plan.buffers)
    except FieldError as error:
        step = kernel.step
        raise CapacityError(
            f"a tensor is too large for one word: {error}", where=f"node '{step.name}' ({step.op})"
        ) from error
    except AthenaError as error:
        step = kernel.step
        raise type(error)(
            error.message, where=f"node '{step.name}' ({step.op})", hint=error.hint
        ) from error


def _drop_unused(plan: Plan, kernels: list[Kernel]) -> None:
    """Constants that were packed, or that no kernel reads, take no memory."""
    used = set().union(*(k.buffers for k in kernels)) if kernels else set()
    kept = {plan.views[name].buffer for name in (*plan.graph.inputs, *plan.graph.outputs)}
    for number, buffer in enumerate(plan.buffers):
        if number not in used and number not in kept:
            buffer.nbytes = 0
            plan.const_data.pop(number, None)
            buffer.value = ""


def _program(
    graph: Graph,
    chip: Chip,
    options: LowerOptions,
    plan: Plan,
    written: _Written,
    sizes: tuple[int, ...],
) -> Program:
    infos = [_info(graph, n, written.mappings.get(i, [])) for i, n in enumerate(graph.nodes)]
    nodes, folded = fold_nodes(infos, written.folded)
    calls, host_tensors = host_table(graph, plan, nodes)
    return Program(
        name=graph.name,
        chip=chip.name,
        chip_hash=chip_hash(chip),
        precision=options.precision,
        streams=folded.streams,
        sections=folded.sections,
        segment_bytes=sizes,
        tensors=(*_tensors(graph, plan, options), *host_tensors),
        host_calls=calls,
        nodes=nodes,
        constants=_constants(graph, plan, sizes),
        core_sems=dict(INITIAL_SEMS),
        cluster_sems=written.emitter.cluster_sems(),
        scalars=(0,) * 16,
        notes=dict(options.notes),
        weightless=any(v.weightless for v in graph.constants),
    )


def _tensors(graph: Graph, plan: Plan, options: LowerOptions) -> tuple[Tensor, ...]:
    tensors = []
    for role, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            view, value = plan.views[name], graph.value(name)
            buffer = plan.buffers[view.buffer]
            tensors.append(
                Tensor(
                    name=name,
                    role=role,
                    dtype=view.dt,
                    source_dtype=options.source_dtypes.get(name, str(value.dtype.numpy)),
                    shape=value.shape,
                    segment=buffer.segment,
                    offset=buffer.offset + view.offset,
                    strides=view.strides,
                )
            )
    return tuple(tensors)


def _info(graph: Graph, node: Node, mappings: list[str]) -> NodeInfo:
    cost = node_flops(graph, node)
    host = node.op == Op.HOST
    shapes = " x ".join(str(list(v.shape)) for v in graph.input_values(node) if v is not None)
    out = graph.value(node.outputs[0])
    return NodeInfo(
        name=node.name,
        op=node.op,
        sources=node.sources,
        place="host" if host else "chip",
        flops={kind: n for kind in FLOP_KINDS if (n := getattr(cost, kind))},
        compulsory_bytes=cost.compulsory_bytes,
        dtype=out.dtype.value,
        detail=f"{shapes} -> {list(out.shape)}",
        mapping="; ".join(mappings),
    )


def _constants(graph: Graph, plan: Plan, sizes: tuple[int, ...]) -> dict[Seg, NDArray[np.uint8]]:
    """Images of the segments that hold constants, unless the model has no data."""
    if any(v.weightless for v in graph.constants):
        return {}
    images = {seg: np.zeros(sizes[seg], np.uint8) for seg in (Seg.PARAM, Seg.WEIGHT) if sizes[seg]}
    for number, buffer in enumerate(plan.buffers):
        if buffer.segment not in images or buffer.nbytes == 0:
            continue
        data = plan.const_data.get(number)
        if data is None and buffer.value:
            data = _stored(graph, buffer.value)
        if data is not None:
            flat = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
            images[buffer.segment][buffer.offset : buffer.offset + len(flat)] = flat
    return images


def _stored(graph: Graph, name: str) -> NDArray[np.generic] | None:
    value = graph.value(name)
    if value.const is None:
        return None
    data = np.ascontiguousarray(value.const)
    if value.dtype.is_float:
        return (
            data.astype(np.float32)
            if data.dtype.itemsize == 8 or data.dtype == np.float16
            else data
        )
    if data.dtype == np.bool_ or data.dtype.itemsize == 1:
        return data
    if data.size and (data.min() < -(1 << 31) or data.max() >= 1 << 31):
        raise AthenaError("an integer constant exceeds 32 bits", where=f"value '{name}'")
    return data.astype(np.int32)
