"""Nodes that the host executes: the call word and its synchronisation, and the program's table of
calls.

In:  `PlanStep`s of op Host.   Out: words on LOAD, HOST and STORE; `HostCall`s and their tensors.
Raises: UnsupportedOpError for a node that was not read from a file, or for a chip with more cores
than a semaphore counts.

LOAD of every core waits until the op before is complete and signals the host's queue; CALL waits
for all cores and signals each core's STORE, which closes the op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from athena.errors import UnsupportedOpError
from athena.isa.builder import Wait
from athena.isa.fields import SEM_MAX, Queue, Sig, signal
from athena.isa.program import HostCall, NodeInfo, Tensor
from compiler.frontend.host_model import host_model
from compiler.graph.chip_ops import HostAttrs
from compiler.graph.flops import node_flops
from compiler.graph.graph import Graph
from compiler.graph.types import Node
from compiler.lowering.emitter import Emitter, Sem
from compiler.lowering.plan import Plan, PlanStep
from compiler.lowering.views import View

CALL_SEM = 0  # of the chip; consumed by HOST


def emit_host(emitter: Emitter, step: PlanStep, number: int) -> str:
    """Words around call `number`; returns the mapping as text."""
    cores = emitter.chip.cores
    if cores > SEM_MAX:
        raise UnsupportedOpError(
            f"calls of the host on {cores} cores; a semaphore counts to {SEM_MAX}",
            where=step.name,
        )
    emitter.begin(step.node, 0)
    emitter.barrier()
    emitter.load.sync(signals=[signal(Sig.CHIP, CALL_SEM)])
    emitter.streams[Queue.HOST].call(
        number, waits=[Wait(CALL_SEM, cores)], signals=[signal(Sig.ALL_CORES, Sem.HOST_DONE)]
    )
    emitter.store.sync(waits=[Wait(Sem.HOST_DONE)])
    emitter.finish(matrix=False, vector=False)
    return "host"


def host_table(
    graph: Graph, plan: Plan, table: Sequence[NodeInfo]
) -> tuple[tuple[HostCall, ...], tuple[Tensor, ...]]:
    """The calls of a program whose buffers have their offsets, and the tensors that they name;
    `table` is the program's node table.
    """
    numbers = {info.name: number for number, info in enumerate(table)}
    calls, tensors = [], []
    for step in plan.host_steps:
        call, named = _call(graph, plan, step)
        calls.append(replace(call, node=numbers.get(step.name, -1)))
        tensors += named
    return tuple(calls), tuple(tensors)


def _call(graph: Graph, plan: Plan, step: PlanStep) -> tuple[HostCall, list[Tensor]]:
    node, attrs = graph.nodes[step.node], step.attrs
    if not isinstance(attrs, HostAttrs):
        raise TypeError(step.op)
    ins = [f"{node.name}.in{i}" if name else "" for i, name in enumerate(node.inputs)]
    outs = [f"{node.name}.out{i}" if name else "" for i, name in enumerate(node.outputs)]
    fed = [
        (name, view, str(dtype.numpy))
        for name, view, dtype in zip(ins, step.ins, attrs.input_dtypes, strict=True)
        if view is not None and dtype is not None
    ]
    made = [
        (name, view, _source_dtype(graph, node, i))
        for i, (name, view) in enumerate(zip(outs, step.outs, strict=True))
        if view is not None
    ]
    tensors = [_tensor(plan, name, view, dtype) for name, view, dtype in (*fed, *made)]
    call = HostCall(
        name=node.name,
        node=step.node,
        model=host_model(attrs, list(zip(ins, step.consts, strict=True)), outs),
        inputs=tuple(name for name, _, _ in fed),
        outputs=tuple(name for name, _, _ in made),
        flops=node_flops(graph, node).total,
        bytes=sum(view.elems * view.esize for _, view, _ in (*fed, *made)),
    )
    return call, tensors


def _source_dtype(graph: Graph, node: Node, index: int) -> str:
    return str(graph.value(node.outputs[index]).dtype.numpy)


def _tensor(plan: Plan, name: str, view: View, source_dtype: str) -> Tensor:
    buffer = plan.buffers[view.buffer]
    return Tensor(
        name=name,
        role="host",
        dtype=view.dt,
        source_dtype=source_dtype,
        shape=view.shape,
        segment=buffer.segment,
        offset=buffer.offset + view.offset,
        strides=view.strides,
    )
