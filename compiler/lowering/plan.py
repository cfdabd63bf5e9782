"""Decide where every value lies and which ops really move or compute.

In:  the chip-level graph.   Out: `Plan`: buffers (segment, bytes, lifetime), a view per value, and `Step`s in order: the nodes that need
words, and the copies that a stride cannot replace.
Raises: UnsupportedOpError for a node without kernel.

View, Permute, Slice and Expand are views where strides allow it. A value whose only reader is a Permute that keeps the last axis is
written in the permuted order, so that the transposition (and the reshape behind it) costs nothing. Concat of a cache input with new rows
whose result is a graph output grows the cache in place.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from athena.isa.cycles import ceil_div
from athena.isa.fields import DT_BYTES, Seg
from compiler.graph.chip_ops import (
    ConcatAttrs,
    ElementwiseAttrs,
    Op,
    PadAttrs,
    PermuteAttrs,
    SliceAttrs,
)
from compiler.graph.graph import Graph
from compiler.graph.types import CHIP_DOMAIN, Attrs, DType, Node, Value
from compiler.lowering.views import STORAGE, View, packed

ALIGN_BYTES = 64
KV_ROWS = 128


@dataclass(slots=True, kw_only=True)
class Buffer:
    """Bytes in a segment. `first` and `last` are step numbers between which it is alive."""

    segment: Seg
    nbytes: int
    name: str
    value: str = ""
    first: int = -1
    last: int = -1
    offset: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One op that needs words. `ins` and `out` are views; absent optional inputs are None."""

    op: str
    name: str
    attrs: Attrs
    ins: tuple[View | None, ...]
    out: View
    node: int
    consts: tuple[Value | None, ...] = ()
    to_bool: bool = False


@dataclass(slots=True)
class Plan:
    """The result; kernels may add constant buffers (packed weights) before allocation."""

    graph: Graph
    buffers: list[Buffer] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)
    steps: list[PlanStep] = field(default_factory=list)
    const_data: dict[int, np.ndarray] = field(default_factory=dict)
    mappings: dict[Hashable, Any] = field(default_factory=dict)  # of ops met before, by shape
    _packed: dict[tuple[int, int], int] = field(default_factory=dict)

    def buffer(self, segment: Seg, nbytes: int, name: str, value: str = "") -> int:
        """A new buffer; returns its number."""
        size = ceil_div(max(nbytes, 1), ALIGN_BYTES) * ALIGN_BYTES
        self.buffers.append(Buffer(segment=segment, nbytes=size, name=name, value=value))
        return len(self.buffers) - 1

    def packed_buffer(self, original: int, strip: int, nbytes: int, name: str) -> int:
        """The buffer for a constant packed in strips: shared by all users of the same packing; the original may then be unused."""
        key = (original, strip)
        if key not in self._packed:
            self._packed[key] = self.buffer(Seg.WEIGHT, nbytes, name)
        return self._packed[key]

    def used(self, number: int) -> None:
        """Mark a constant buffer as read as it is."""
        self.buffers[number].first = 0


def make_plan(graph: Graph) -> Plan:
    """The plan of a chip-level graph."""
    planner = _Planner(graph)
    return planner.run()


class _Planner:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.plan = Plan(graph)
        self.numbers = {node.name: i for i, node in enumerate(graph.nodes)}
        self.outputs = set(graph.outputs)

    def run(self) -> Plan:
        self._caches()
        for name in self.graph.inputs:
            if name not in self.plan.views:
                self._place(self.graph.value(name), Seg.INPUT)
        for node in self.graph.nodes:
            self._node(node)
        self._lifetimes()
        return self.plan

    # --- placement

    def _place(self, value: Value, segment: Seg, order: tuple[int, ...] | None = None) -> View:
        """A new buffer for `value`; `order` lists its axes from the outermost to the innermost in memory."""
        dt = STORAGE[value.dtype]
        number = self.plan.buffer(segment, value.elems * DT_BYTES[dt], value.name, value.name)
        view = View(
            buffer=number, dt=dt, shape=value.shape, strides=packed(value.shape, DT_BYTES[dt])
        )
        if order is not None:
            memory = packed(tuple(value.shape[a] for a in order), DT_BYTES[dt])
            strides = [0] * len(order)
            for axis, stride in zip(order, memory, strict=True):
                strides[axis] = stride
            view = replace(view, strides=tuple(strides))
        self.plan.views[value.name] = view
        return view

    def _segment(self, name: str) -> Seg:
        return Seg.OUTPUT if self._reaches_output(name) else Seg.ACT

    def _reaches_output(self, name: str) -> bool:
        """Whether the value, or a view of it, is a graph output."""
        work = [name]
        while work:
            at = work.pop()
            if at in self.outputs:
                return True
            for node in self.graph.consumers(at):
                if node.op in (Op.VIEW, Op.PERMUTE, Op.SLICE) and node.inputs[0] == at:
                    work.append(node.outputs[0])
        return False

    def _order(self, name: str) -> tuple[int, ...] | None:
        """The memory order that makes the only reader's Permute contiguous."""
        readers = self.graph.consumers(name)
        if len(readers) != 1 or readers[0].op != Op.PERMUTE or name in self.outputs:
            return None
        attrs = readers[0].attrs
        if isinstance(attrs, PermuteAttrs) and attrs.perm[-1] == len(attrs.perm) - 1:
            return attrs.perm
        return None

    def _view(self, name: str) -> View | None:
        if not name:
            return None
        if name not in self.plan.views:
            value = self.graph.value(name)
            if not value.is_const:
                raise KeyError(name)
            self._place(value, Seg.WEIGHT)
        return self.plan.views[name]

    # --- caches

    def _caches(self) -> None:
        """Concat(past input, new) that is a graph output: one buffer in segment KV with room for more rows."""
        for node in self.graph.nodes:
            if node.op != Op.CONCAT or node.outputs[0] not in self.outputs or len(node.inputs) != 2:
                continue
            past, out, attrs = node.inputs[0], self.graph.value(node.outputs[0]), node.attrs
            only = len(self.graph.consumers(past)) == 1 if past else False
            if past not in self.graph.inputs or not only or not isinstance(attrs, ConcatAttrs):
                continue
            axis = attrs.axis % len(out.shape)
            if axis == len(out.shape) - 1:
                continue
            room = list(out.shape)
            room[axis] = ceil_div(room[axis], KV_ROWS) * KV_ROWS
            dt = STORAGE[out.dtype]
            number = self.plan.buffer(Seg.KV, int(np.prod(room)) * DT_BYTES[dt], out.name, out.name)
            strides = packed(tuple(room), DT_BYTES[dt])
            self.plan.views[out.name] = View(buffer=number, dt=dt, shape=out.shape, strides=strides)
            old = self.graph.value(past)
            self.plan.views[past] = View(buffer=number, dt=dt, shape=old.shape, strides=strides)

    # --- nodes

    def _node(self, node: Node) -> None:
        if node.domain != CHIP_DOMAIN:
            raise KeyError(node.kind)
        if node.op in (Op.VIEW, Op.PERMUTE, Op.SLICE, Op.EXPAND):
            self._alias(node)
        elif node.op == Op.CONCAT:
            self._concat(node)
        elif node.op == Op.PAD:
            self._pad(node)
        else:
            self._compute(node)

    def _alias(self, node: Node) -> None:
        source = self._view(node.inputs[0])
        out = self.graph.value(node.outputs[0])
        if source is None:
            raise KeyError(node.name)
        view = self._aliased(node, source, out)
        if view is None:
            copy = self._place(
                replace(out, shape=self.graph.value(node.inputs[0]).shape), self._segment(out.name)
            )
            self._copy(node, source, copy)
            view = copy.reshape(out.shape)
        if view is None:
            raise KeyError(node.name)
        must_copy = out.name in self.outputs and (
            self.plan.buffers[view.buffer].segment in (Seg.WEIGHT, Seg.INPUT)
            or 0 in view.strides
            and out.elems > 1
        )
        if must_copy or STORAGE[out.dtype] != view.dt:
            self._copy(node, view, self._place(out, self._segment(out.name)))
            return
        self.plan.views[out.name] = view

    @staticmethod
    def _aliased(node: Node, source: View, out: Value) -> View | None:
        attrs = node.attrs
        if isinstance(attrs, PermuteAttrs):
            return source.permute(attrs.perm)
        if isinstance(attrs, SliceAttrs):
            return source.slice(attrs.starts, attrs.steps, out.shape)
        if node.op == Op.EXPAND:
            return source.expand(out.shape)
        return source.reshape(out.shape)

    def _concat(self, node: Node) -> None:
        out = self.graph.value(node.outputs[0])
        view = self.plan.views.get(out.name) or self._place(
            out, self._segment(out.name), self._order(out.name)
        )
        attrs = node.attrs
        if not isinstance(attrs, ConcatAttrs):
            raise KeyError(node.name)
        axis, at = attrs.axis % len(out.shape), 0
        for name in node.inputs:
            part = self._view(name)
            if part is None:
                continue
            starts = tuple(at if i == axis else 0 for i in range(len(out.shape)))
            target = view.slice(starts, (1,) * len(starts), part.shape)
            at += part.shape[axis]
            if part.elems and (part.buffer, part.offset) != (target.buffer, target.offset):
                self._copy(node, part, target)

    def _pad(self, node: Node) -> None:
        source, out, attrs = (
            self._view(node.inputs[0]),
            self.graph.value(node.outputs[0]),
            node.attrs,
        )
        if source is None or not isinstance(attrs, PadAttrs):
            raise KeyError(node.name)
        view = self._place(out, self._segment(out.name))
        value = Value(
            name=f"{out.name}.fill",
            dtype=out.dtype,
            shape=(1,),
            const=np.full((1,), attrs.value, out.dtype.numpy),
        )
        self._copy(node, self._place(value, Seg.WEIGHT).expand(out.shape), view)
        self.plan.const_data[len(self.plan.buffers) - 1] = value.const  # type: ignore[assignment]
        target = view.slice(attrs.pads[: len(out.shape)], (1,) * len(out.shape), source.shape)
        self._copy(node, source, target)

    def _copy(self, node: Node, source: View, target: View) -> None:
        self.plan.steps.append(
            PlanStep(
                op="Copy",
                name=node.name,
                attrs=ElementwiseAttrs(),
                ins=(source,),
                out=target,
                node=self.numbers[node.name],
            )
        )

    def _compute(self, node: Node) -> None:
        ins = tuple(self._view(name) for name in node.inputs)
        consts = tuple(
            self.graph.value(name) if name and self.graph.value(name).is_const else None
            for name in node.inputs
        )
        ready = tuple(self._readable(node, i, view) for i, view in enumerate(ins))
        out = self.graph.value(node.outputs[0])
        view = self.plan.views.get(out.name) or self._place(
            out, self._segment(out.name), self._order(out.name)
        )
        self.plan.steps.append(
            PlanStep(
                op=node.op,
                name=node.name,
                attrs=node.attrs,
                ins=ready,
                out=view,
                node=self.numbers[node.name],
                consts=consts,
                to_bool=self._to_bool(node),
            )
        )

    def _readable(self, node: Node, index: int, view: View | None) -> View | None:
        """The view itself, or a packed copy where the kernel needs neighbours in the last axis next to each other."""
        if view is None or view.row_contiguous or view.elems == 0:
            return view
        if view.strides[-1] == 0 and node.op in (Op.ELEMENTWISE, Op.GEMM):
            return view
        if node.op in (Op.ELEMENTWISE, Op.QUANTIZE, Op.DEQUANTIZE) and self._copies_itself(node):
            return view
        value = self.graph.value(node.inputs[index])
        copy = self._place(
            replace(value, name=f"{value.name}.packed{len(self.plan.buffers)}"), Seg.ACT
        )
        self._copy(node, view, copy)
        return copy

    def _to_bool(self, node: Node) -> bool:
        source, out = self.graph.value(node.inputs[0]), self.graph.value(node.outputs[0])
        return out.dtype is DType.BOOL and source.dtype is not DType.BOOL

    @staticmethod
    def _copies_itself(node: Node) -> bool:
        return isinstance(node.attrs, ElementwiseAttrs) and not node.attrs.steps

    # --- lifetimes

    def _lifetimes(self) -> None:
        for number, step in enumerate(self.plan.steps):
            for view in (*step.ins, step.out):
                if view is not None:
                    buffer = self.plan.buffers[view.buffer]
                    buffer.first = number if buffer.first < 0 else buffer.first
                    buffer.last = number
        for buffer in self.plan.buffers:
            if buffer.segment is not Seg.ACT:
                buffer.first, buffer.last = 0, len(self.plan.steps)
