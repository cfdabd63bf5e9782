"""The verifier: every node of a finished graph is a legal chip-level form, with shapes and dtypes
that fit.

In:  a Graph.   Out: nothing.   Raises: InternalError that names the node and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from athena.errors import InternalError
from compiler.graph.chip_ops import (
    MAX_STEPS,
    POW_EXPONENTS,
    AttentionAttrs,
    ConcatAttrs,
    ElementwiseAttrs,
    Fn,
    GemmAttrs,
    HostAttrs,
    NormAttrs,
    Op,
    PadAttrs,
    PermuteAttrs,
    QuantizeAttrs,
    ReduceAttrs,
    RopeAttrs,
    SliceAttrs,
    SoftmaxAttrs,
    Step,
)
from compiler.graph.graph import Graph
from compiler.graph.types import CHIP_DOMAIN, NoAttrs, Node, Value

Shape = tuple[int, ...]
Check = Callable[[Any, list[Value | None], Value], str]
"""(attrs, input values, output value) → what is wrong, "" if nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The legal form of a node kind: attribute class, least and most inputs, further conditions."""

    attrs: type
    inputs: tuple[int, int]
    check: Check


def verify(graph: Graph) -> None:
    """Check every node and value."""
    for node in graph.nodes:
        problem = _problem(graph, node)
        if problem:
            raise InternalError(f"illegal {node.kind}: {problem}", where=f"node '{node.name}'")
    for value in graph.values.values():
        data = value.const
        if data is not None and (data.shape, data.dtype) != (value.shape, value.dtype.numpy):
            raise InternalError("a constant unlike its type", where=f"value '{value.name}'")


def _problem(graph: Graph, node: Node) -> str:
    form = FORMS.get(node.op)
    if node.domain != CHIP_DOMAIN or form is None:
        return "no chip-level op"
    if not isinstance(node.attrs, form.attrs):
        return f"attributes of class {type(node.attrs).__name__}"
    if not form.inputs[0] <= len(node.inputs) <= form.inputs[1]:
        return f"{len(node.inputs)} inputs"
    if node.op == Op.HOST:
        return ""
    if len(node.outputs) != 1 or not node.outputs[0]:
        return f"{len(node.outputs)} outputs"
    inputs = list(graph.input_values(node))
    if any(value is None for value in inputs[: form.inputs[0]]):
        return "a missing operand"
    return form.check(node.attrs, inputs, graph.value(node.outputs[0]))


def _v(inputs: list[Value | None], index: int) -> Value:
    return cast(Value, inputs[index])


def _unless(condition: object, problem: str) -> str:
    return "" if condition else problem


def _view(_attrs: NoAttrs, inputs: list[Value | None], out: Value) -> str:
    return _unless(_v(inputs, 0).elems == out.elems, "another number of elements")


def _permute(attrs: PermuteAttrs, inputs: list[Value | None], out: Value) -> str:
    shape = _v(inputs, 0).shape
    if sorted(attrs.perm) != list(range(len(shape))):
        return f"perm {attrs.perm}"
    return _unless(tuple(shape[axis] for axis in attrs.perm) == out.shape, f"shape {out.shape}")


def _slice(attrs: SliceAttrs, inputs: list[Value | None], out: Value) -> str:
    shape = _v(inputs, 0).shape
    rows = zip(shape, attrs.starts, attrs.steps, out.shape, strict=True)
    for dim, start, step, size in rows:
        last = start + step * (size - 1)
        if step == 0 or (size and not (0 <= start < dim and 0 <= last < dim)):
            return f"{size} elements from {start} in steps of {step} of {dim}"
    return ""


def _expand(_attrs: NoAttrs, inputs: list[Value | None], out: Value) -> str:
    return _unless(_broadcasts([_v(inputs, 0).shape], out.shape), f"shape {out.shape}")


def _broadcasts(shapes: list[Shape], out: Shape) -> bool:
    """Whether the shapes broadcast to `out`, which may be larger than they need."""
    for shape in shapes:
        if len(shape) > len(out):
            return False
        tail = out[len(out) - len(shape) :]
        if any(dim not in (1, size) for dim, size in zip(shape, tail, strict=True)):
            return False
    return True


def _concat(attrs: ConcatAttrs, inputs: list[Value | None], out: Value) -> str:
    shapes = [_v(inputs, index).shape for index in range(len(inputs))]
    total = sum(shape[attrs.axis] for shape in shapes)
    rests = {(*s[: attrs.axis], total, *s[attrs.axis + 1 :]) for s in shapes}
    return _unless(rests == {out.shape}, f"parts {shapes} for {out.shape}")


def _pad(attrs: PadAttrs, inputs: list[Value | None], out: Value) -> str:
    shape = _v(inputs, 0).shape
    rank = len(shape)
    sizes = [attrs.pads[i] + shape[i] + attrs.pads[rank + i] for i in range(rank)]
    return _unless(min(attrs.pads, default=0) >= 0 and tuple(sizes) == out.shape, f"{attrs.pads}")


def _gemm(attrs: GemmAttrs, inputs: list[Value | None], out: Value) -> str:
    a, b = _v(inputs, 0), _v(inputs, 1)
    if len(a.shape) < 2 or len(b.shape) < 2:
        return "an operand that is no matrix"
    k, n = b.shape[-2:][::-1] if attrs.trans_b else b.shape[-2:]
    if a.shape[-1] != k or out.shape != (*a.shape[:-1], n):
        return f"{a.shape} by {b.shape} gives {out.shape}"
    if len(b.shape) > 2 and b.shape[:-2] != a.shape[:-2]:
        return f"batch axes {b.shape[:-2]} beside {a.shape[:-2]}"
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is not None and bias.shape != (n,):
        return f"bias {bias.shape}"
    if attrs.quant is None and a.dtype is not b.dtype:
        return f"{a.dtype.value} by {b.dtype.value}"
    if attrs.quant is not None and len(attrs.quant.w_scale) not in (1, n):
        return f"{len(attrs.quant.w_scale)} weight scales"
    operands = [value for value in inputs[3:] if value is not None]
    if not _broadcasts([value.shape for value in operands], out.shape):
        return "an epilogue operand that does not broadcast"
    return _steps(attrs.steps, inputs, first=3)


def _elementwise(attrs: ElementwiseAttrs, inputs: list[Value | None], out: Value) -> str:
    shapes = [_v(inputs, index).shape for index in range(len(inputs))]
    if np.broadcast_shapes(*shapes) != out.shape:
        return f"{shapes} for {out.shape}"
    return _steps(attrs.steps, inputs, first=0)


def _steps(steps: tuple[Step, ...], inputs: list[Value | None], *, first: int) -> str:
    if len(steps) > MAX_STEPS:
        return f"{len(steps)} steps"
    for step in steps:
        if any(not first <= i < len(inputs) or inputs[i] is None for i in step.operands):
            return f"step {step} reads no operand"
        if step.fn.arity and (step.operand is None) == (step.const is None):
            return f"step {step} needs an operand or a number"
        if step.fn is Fn.SELECT and (step.operand2 is None) == (step.const2 is None):
            return f"step {step} needs two operands"
        if step.fn is Fn.POW and step.const not in POW_EXPONENTS:
            return f"step {step}"
        if (step.fn is Fn.CAST) != (step.to is not None):
            return f"step {step} and dtype {step.to}"
    return ""


def _norm(_attrs: NormAttrs, inputs: list[Value | None], out: Value) -> str:
    x = _v(inputs, 0)
    rows = [value.shape for value in inputs[1:] if value is not None]
    good = x.shape == out.shape and all(shape == x.shape[-1:] for shape in rows)
    return _unless(good, f"{x.shape} with rows {rows}")


def _same_shape(_attrs: Any, inputs: list[Value | None], out: Value) -> str:
    return _unless(_v(inputs, 0).shape == out.shape, f"{_v(inputs, 0).shape} to {out.shape}")


def _softmax(attrs: SoftmaxAttrs, inputs: list[Value | None], out: Value) -> str:
    return _unless(attrs.axis == -1, f"axis {attrs.axis}") or _same_shape(attrs, inputs, out)


def _reduce(_attrs: ReduceAttrs, inputs: list[Value | None], out: Value) -> str:
    shape = _v(inputs, 0).shape
    return _unless(shape and shape[:-1] == out.shape, f"{shape} to {out.shape}")


def _attention(_attrs: AttentionAttrs, inputs: list[Value | None], out: Value) -> str:
    q, k, v = (_v(inputs, index).shape for index in range(3))
    if not len(q) == len(k) == len(v) == 4:
        return f"ranks of {q}, {k}, {v}"
    if q[0] != k[0] or k[:3] != v[:3] or q[3] != k[3] or q[1] % k[1]:
        return f"{q}, {k}, {v}"
    if out.shape != (*q[:3], v[3]):
        return f"shape {out.shape}"
    mask = inputs[3] if len(inputs) > 3 else None
    good = mask is None or _broadcasts([mask.shape], (*q[:3], k[2]))
    return _unless(good, f"mask {mask.shape if mask else ()}")


def _rope(attrs: RopeAttrs, inputs: list[Value | None], out: Value) -> str:
    x, width = _v(inputs, 0), attrs.rotary_dim
    if width % 2 or not 0 < width <= x.shape[-1] or x.shape != out.shape:
        return f"rotary_dim {width} of {x.shape}"
    for table in (_v(inputs, 1), _v(inputs, 2)):
        lead = _broadcasts([table.shape[:-1]], x.shape[:-1])
        if not lead or table.shape[-1] not in (width, width // 2):
            return f"table {table.shape} for {x.shape}"
    return ""


def _gather(_attrs: NoAttrs, inputs: list[Value | None], out: Value) -> str:
    table, ids = _v(inputs, 0), _v(inputs, 1)
    good = out.shape == (*ids.shape, *table.shape[1:]) and ids.dtype.is_integer
    return _unless(good, f"{ids.shape} of {table.shape} gives {out.shape}")


def _host(_attrs: HostAttrs, _inputs: list[Value | None], _out: Value) -> str:
    return ""


MANY = 1 << 20
FORMS: dict[str, Form] = {
    Op.VIEW: Form(attrs=NoAttrs, inputs=(1, 1), check=_view),
    Op.PERMUTE: Form(attrs=PermuteAttrs, inputs=(1, 1), check=_permute),
    Op.SLICE: Form(attrs=SliceAttrs, inputs=(1, 1), check=_slice),
    Op.EXPAND: Form(attrs=NoAttrs, inputs=(1, 1), check=_expand),
    Op.CONCAT: Form(attrs=ConcatAttrs, inputs=(1, MANY), check=_concat),
    Op.PAD: Form(attrs=PadAttrs, inputs=(1, 1), check=_pad),
    Op.GEMM: Form(attrs=GemmAttrs, inputs=(2, MANY), check=_gemm),
    Op.ELEMENTWISE: Form(attrs=ElementwiseAttrs, inputs=(1, MANY), check=_elementwise),
    Op.NORM: Form(attrs=NormAttrs, inputs=(2, 3), check=_norm),
    Op.SOFTMAX: Form(attrs=SoftmaxAttrs, inputs=(1, 1), check=_softmax),
    Op.REDUCE: Form(attrs=ReduceAttrs, inputs=(1, 1), check=_reduce),
    Op.ATTENTION: Form(attrs=AttentionAttrs, inputs=(3, 4), check=_attention),
    Op.ROPE: Form(attrs=RopeAttrs, inputs=(3, 3), check=_rope),
    Op.GATHER: Form(attrs=NoAttrs, inputs=(2, 2), check=_gather),
    Op.QUANTIZE: Form(attrs=QuantizeAttrs, inputs=(1, 1), check=_same_shape),
    Op.DEQUANTIZE: Form(attrs=QuantizeAttrs, inputs=(1, 1), check=_same_shape),
    Op.HOST: Form(attrs=HostAttrs, inputs=(0, MANY), check=_host),
}
