"""Decide where every value lies and which ops really move or compute.

In:  the chip-level graph.   Out: `Plan`: buffers (segment, bytes, lifetime), a view per value, and
steps in order: the nodes that need
words, and the copies that a stride cannot replace.
Raises: UnsupportedOpError for a node that no kernel knows.

View, Permute, Slice and Expand are views where strides allow it. A value whose only reader is a
Permute that keeps the last axis is
written in the permuted order, so that the transposition (and the reshape behind it) costs nothing.
Concat of a cache input with new rows
whose result is a graph output grows the cache in place.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from athena.errors import UnsupportedOpError
from athena.isa.cycles import ceil_div
from athena.isa.fields import DT_BYTES, Seg
from compiler.graph.chip_ops import (
    ConcatAttrs,
    ElementwiseAttrs,
    Op,
    PadAttrs,
    PermuteAttrs,
    RopeAttrs,
    SliceAttrs,
)
from compiler.graph.graph import Graph
from compiler.graph.types import CHIP_DOMAIN, DType, Node, Value
from compiler.lowering.nest import STRIDE_LIMIT
from compiler.lowering.plan import Plan, PlanStep
from compiler.lowering.views import STORAGE, View, packed

KV_ROWS = 128
COPY = "Copy"
_ALIASES = (Op.VIEW, Op.PERMUTE, Op.SLICE, Op.EXPAND)
_ANY_REPEATS = (Op.ELEMENTWISE, Op.GEMM, Op.ATTENTION)  # read broadcast first operands as they lie
_ANY_STRIDES = (Op.ELEMENTWISE, Op.QUANTIZE, Op.DEQUANTIZE)


def make_plan(graph: Graph) -> Plan:
    """The plan of a chip-level graph."""
    return _Planner(graph).run()


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
        for name in self.graph.outputs:
            self._view(name)  # a constant that no node reads
        self._lifetimes()
        return self.plan

    # --- placement

    def _place(self, value: Value, segment: Seg, order: tuple[int, ...] | None = None) -> View:
        """A new buffer for `value`; `order` lists its axes from the outermost to the innermost in
        memory.
        """
        dt = STORAGE[value.dtype]
        number = self.plan.buffer(segment, value.elems * DT_BYTES[dt], value.name, value.name)
        view = View(
            buffer=number, dt=dt, shape=value.shape, strides=packed(value.shape, DT_BYTES[dt])
        )
        if order is not None:
            memory = packed(tuple(value.shape[a] for a in order), DT_BYTES[dt])
            strides = dict(zip(order, memory, strict=True))
            view = replace(view, strides=tuple(strides[axis] for axis in range(len(order))))
        self.plan.views[value.name] = view
        return view

    def _result(self, name: str) -> View:
        """Where a computed value goes: its cache, or a new buffer in the order its only reader
        wants.
        """
        found = self.plan.views.get(name)
        return found or self._place(self.graph.value(name), self._segment(name), self._order(name))

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

    def _view(self, name: str) -> View:
        """Where a value lies that is known by now; constants are placed when they are first met."""
        if name not in self.plan.views:
            value = self.graph.value(name)
            if not value.is_const:
                raise UnsupportedOpError("the value is read before it is computed", where=name)
            self._place(value, Seg.WEIGHT)
        return self.plan.views[name]

    # --- caches

    def _caches(self) -> None:
        """Concat(past input, new) that is a graph output: one buffer in segment KV with room for
        more rows.
        """
        for node in self.graph.nodes:
            attrs = node.attrs
            if node.op != Op.CONCAT or not isinstance(attrs, ConcatAttrs) or len(node.inputs) != 2:
                continue
            past, out = node.inputs[0], self.graph.value(node.outputs[0])
            if past not in self.graph.inputs or len(self.graph.consumers(past)) != 1:
                continue
            axis = attrs.axis % len(out.shape)
            grown = out.name in self.outputs and past not in self.outputs
            if not grown or axis == len(out.shape) - 1 or past == node.inputs[1]:
                continue
            self._cache(out, self.graph.value(past), axis)

    def _cache(self, out: Value, past: Value, axis: int) -> None:
        room = list(out.shape)
        room[axis] = ceil_div(room[axis], KV_ROWS) * KV_ROWS
        dt = STORAGE[out.dtype]
        number = self.plan.buffer(Seg.KV, math.prod(room) * DT_BYTES[dt], out.name, out.name)
        strides = packed(tuple(room), DT_BYTES[dt])
        self.plan.views[out.name] = View(buffer=number, dt=dt, shape=out.shape, strides=strides)
        self.plan.views[past.name] = View(buffer=number, dt=dt, shape=past.shape, strides=strides)

    # --- nodes

    def _node(self, node: Node) -> None:
        if node.domain != CHIP_DOMAIN:
            raise UnsupportedOpError(f"'{node.kind}' is no chip-level op", where=node.name)
        if node.op in _ALIASES:
            self._alias(node)
        elif node.op == Op.CONCAT:
            self._concat(node)
        elif node.op == Op.PAD:
            self._pad(node)
        elif node.op == Op.ROPE:
            self._rope(node)
        elif node.op == Op.HOST:
            self._host(node)
        else:
            self._compute(node)

    def _alias(self, node: Node) -> None:
        source, out = self._view(node.inputs[0]), self.graph.value(node.outputs[0])
        view = _aliased(node, source, out)
        if view is None:  # a reshape that strides do not allow
            view = self._packed(node, source, out.name, self._segment(out.name)).reshape(out.shape)
            if view is None:
                raise UnsupportedOpError("a packed copy cannot be reshaped", where=node.name)
        borrowed = self.plan.buffers[view.buffer].segment in (Seg.WEIGHT, Seg.INPUT)
        repeated = 0 in view.strides and out.elems > 1
        must_copy = out.name in self.outputs and (borrowed or repeated)
        if must_copy or STORAGE[out.dtype] != view.dt:
            self._copy(node, view, self._place(out, self._segment(out.name)))
            return
        self.plan.views[out.name] = view

    def _concat(self, node: Node) -> None:
        attrs = node.attrs
        if not isinstance(attrs, ConcatAttrs):
            raise TypeError(node.op)
        view = self._result(node.outputs[0])
        axis, at = attrs.axis % len(view.shape), 0
        for name in node.inputs:
            part = self._view(name)
            target = _block(view, axis, at, part.shape)
            at += part.shape[axis]
            if part.elems and (part.buffer, part.offset) != (target.buffer, target.offset):
                self._copy(node, part, target)

    def _pad(self, node: Node) -> None:
        attrs = node.attrs
        if not isinstance(attrs, PadAttrs):
            raise TypeError(node.op)
        source, out = self._view(node.inputs[0]), self.graph.value(node.outputs[0])
        view = self._place(out, self._segment(out.name))
        data = np.full((1,), attrs.value, out.dtype.numpy)
        value = Value(name=f"{out.name}.fill", dtype=out.dtype, shape=(1,), const=data)
        fill = self._place(value, Seg.WEIGHT)
        self.plan.const_data[fill.buffer] = data
        self._copy(node, fill.expand(out.shape), view)
        target = view.slice(attrs.pads[: len(out.shape)], (1,) * len(out.shape), source.shape)
        if source.elems:
            self._copy(node, source, target)

    def _rope(self, node: Node) -> None:
        """Rotary embedding of the first `rotary_dim` elements; the others are copied, half tables
        written out.
        """
        attrs = node.attrs
        if not isinstance(attrs, RopeAttrs):
            raise TypeError(node.op)
        source, out = self._view(node.inputs[0]), self._result(node.outputs[0])
        width, last = attrs.rotary_dim, len(out.shape) - 1
        head = (*out.shape[:-1], width)
        tail = (*out.shape[:-1], out.shape[-1] - width)
        tables = tuple(self._table(node, name, attrs) for name in node.inputs[1:3])
        first = self._readable(node, 0, _block(source, last, 0, head))
        ins = (first, *tables)
        self._step(node, ins, _block(out, last, 0, head), (None,) * len(ins))
        if tail[-1]:
            self._copy(node, _block(source, last, width, tail), _block(out, last, width, tail))

    def _table(self, node: Node, name: str, attrs: RopeAttrs) -> View:
        """A table of cosines or sines as wide as the rotated part, with neighbours in its last
        axis.
        """
        view, last = self._view(name), len(self.graph.value(name).shape) - 1
        if view.shape[last] == attrs.rotary_dim and view.row_contiguous:
            return view
        shape = (*view.shape[:-1], attrs.rotary_dim)
        value = replace(self.graph.value(name), name=self._fresh(name), shape=shape, const=None)
        full = self._place(value, Seg.ACT)
        half = attrs.rotary_dim // 2
        if view.shape[last] == attrs.rotary_dim:
            self._copy(node, view, full)
            return full
        step = 2 if attrs.interleaved else 1
        for start in (0, 1 if attrs.interleaved else half):
            starts = (*(0,) * last, start)
            part = full.slice(starts, (*(1,) * last, step), view.shape)
            self._copy(node, view, part)
        return full

    def _host(self, node: Node) -> None:
        """Inputs and results as they lie in main memory; the host converts."""
        ins = tuple(
            None if not name or self.graph.value(name).const is not None else self._view(name)
            for name in node.inputs
        )
        consts = tuple(self.graph.value(name) if name else None for name in node.inputs)
        outs = tuple(self._result(name) if name else None for name in node.outputs)
        first = next(view for view in outs if view is not None)
        step = self._step(node, ins, first, consts)
        self.plan.steps[-1] = step = replace(step, outs=outs)
        self.plan.host_steps.append(step)

    def _compute(self, node: Node) -> None:
        views = tuple(self._view(name) if name else None for name in node.inputs)
        consts = tuple(
            self.graph.value(name) if name and self.graph.value(name).is_const else None
            for name in node.inputs
        )
        if node.op == Op.ATTENTION:
            views = self._with_wide_mask(views)
        ready = tuple(self._readable(node, i, view) for i, view in enumerate(views))
        self._step(node, ready, self._result(node.outputs[0]), consts)

    @staticmethod
    def _with_wide_mask(views: tuple[View | None, ...]) -> tuple[View | None, ...]:
        """A mask that is one number for all keys becomes a row of keys (to be written out)."""
        q, k, v, *rest = views
        mask = rest[0] if rest else None
        if k is None or mask is None:
            return views
        keys = k.shape[-2]
        lead = mask.shape[:-1] if mask.shape else ()
        return q, k, v, mask.expand((*lead, keys))

    def _step(
        self,
        node: Node,
        ins: tuple[View | None, ...],
        out: View,
        consts: tuple[Value | None, ...],
    ) -> PlanStep:
        step = PlanStep(
            op=node.op,
            name=node.name,
            attrs=node.attrs,
            ins=ins,
            out=out,
            node=self.numbers[node.name],
            consts=consts,
            to_bool=self._to_bool(node),
        )
        self.plan.steps.append(step)
        return step

    def _copy(self, node: Node, source: View, target: View) -> None:
        self.plan.steps.append(
            PlanStep(
                op=COPY,
                name=node.name,
                attrs=ElementwiseAttrs(),
                ins=(source,),
                out=target,
                node=self.numbers[node.name],
            )
        )

    def _packed(self, node: Node, view: View, name: str, segment: Seg) -> View:
        """A packed copy of `view`."""
        size = view.elems * view.esize
        number = self.plan.buffer(segment, size, self._fresh(name))
        copy = replace(view, buffer=number, offset=0, strides=packed(view.shape, view.esize))
        if view.elems:
            self._copy(node, view, copy)
        return copy

    def _fresh(self, name: str) -> str:
        return f"{name}.copy{len(self.plan.buffers)}"

    def _readable(self, node: Node, index: int, view: View | None) -> View | None:
        """The view itself, or a packed copy where the kernel cannot walk its strides."""
        if view is None or view.elems == 0 or _walkable(node, index, view):
            return view
        return self._packed(node, view, node.inputs[index], Seg.ACT)

    def _to_bool(self, node: Node) -> bool:
        source, out = self.graph.value(node.inputs[0]), self.graph.value(node.outputs[0])
        return out.dtype is DType.BOOL and source.dtype is not DType.BOOL

    # --- lifetimes

    def _lifetimes(self) -> None:
        for number, step in enumerate(self.plan.steps):
            for view in (*step.ins, step.out, *step.outs):
                if view is not None:
                    buffer = self.plan.buffers[view.buffer]
                    buffer.first = number if buffer.first < 0 else buffer.first
                    buffer.last = number
        for buffer in self.plan.buffers:
            if buffer.segment is not Seg.ACT:
                buffer.first, buffer.last = 0, len(self.plan.steps)


def _aliased(node: Node, source: View, out: Value) -> View | None:
    """The result as a view of the source, or None where strides cannot express it."""
    attrs = node.attrs
    if isinstance(attrs, PermuteAttrs):
        return source.permute(attrs.perm)
    if isinstance(attrs, SliceAttrs):
        return source.slice(attrs.starts, attrs.steps, out.shape)
    if node.op == Op.EXPAND:
        return source.expand(out.shape)
    return source.reshape(out.shape)


def _block(view: View, axis: int, start: int, shape: tuple[int, ...]) -> View:
    """`shape` of `view`, from `start` of one axis."""
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    return view.slice(starts, (1,) * len(shape), shape)


def _walkable(node: Node, index: int, view: View) -> bool:
    """Whether the kernel of `node` can read input `index` as it lies."""
    if node.op == Op.GATHER:
        return view.contiguous
    repeated = any(step == 0 and n > 1 for n, step in zip(view.shape, view.strides, strict=True))
    if repeated and index == 0 and node.op not in _ANY_REPEATS:
        return False
    epilogue = node.op == Op.GEMM and index > 2
    if node.op in _ANY_STRIDES or epilogue:
        conversion = isinstance(node.attrs, ElementwiseAttrs) and not node.attrs.steps
        return conversion or _has_rows(view)
    rows = view.strides[-2] if len(view.shape) > 1 and view.shape[-2] > 1 else 0
    return view.row_contiguous and 0 <= rows < STRIDE_LIMIT


def _has_rows(view: View) -> bool:
    """Whether elements next to each other in row-major order are neighbours in memory, or equal."""
    steps = [step for n, step in zip(view.shape, view.strides, strict=True) if n > 1]
    return not steps or steps[-1] in (0, view.esize)
