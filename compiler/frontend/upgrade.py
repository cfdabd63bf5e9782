"""Bring nodes of older opsets to the newest form, so that everything after the frontend knows one
form per operator.

In:  a `Draft` (operator, names, plain attributes, opset) and what is known of its operands.   Out:
drafts in the newest form.
Raises: UnsupportedOpError (training mode), RuleError.
Attributes that later became operands turn into constants; Softmax of opset 12 and below, which
flattens, into Reshape, Softmax, Reshape where that makes a difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from athena.errors import UnsupportedOpError
from compiler.frontend.attributes import Plain
from compiler.graph.types import Array, Value
from compiler.ops.operands import axis_of
from compiler.ops.types import RuleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A node on its way into the graph: unique value names, plain attributes. `changed`: no longer
    as in the file.
    """

    name: str
    op: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: dict[str, Plain]
    sources: tuple[str, ...]
    changed: bool = False


class Scope(Protocol):
    """What an upgrade may ask of the graph being built."""

    def operand(self, name: str) -> Value | None:
        """The value called `name`; None for an absent one."""

    def constant(self, hint: str, data: Array) -> str:
        """Name of a new constant."""

    def fresh(self, hint: str) -> str:
        """A value name not yet in use."""


Upgrade = Callable[[Draft, Scope], tuple[Draft, ...]]


def upgrade(draft: Draft, scope: Scope) -> tuple[Draft, ...]:
    """The draft in newest form: usually itself, sometimes changed, rarely several."""
    if draft.domain:
        return (draft,)
    for below, function in _UPGRADES.get(draft.op, ()):
        if draft.opset < below:
            return function(draft, scope)
    return (draft,)


def _moved(
    draft: Draft, scope: Scope, names: Sequence[tuple[str, Any]], opset: int
) -> tuple[Draft, ...]:
    """Attributes `names` (with numpy dtype) become trailing operands, absent ones are left out."""
    attrs = dict(draft.attrs)
    inputs = list(draft.inputs)
    for name, dtype in names:
        value = attrs.pop(name, None)
        if value is None:
            inputs.append("")
        else:
            data = np.asarray(value, dtype=dtype)
            inputs.append(scope.constant(f"{draft.name}.{name}", data))
    while inputs and not inputs[-1]:
        inputs.pop()
    done = replace(
        draft, inputs=tuple(inputs), attrs=attrs, opset=max(opset, draft.opset), changed=True
    )
    return (done,)


def _axes(opset: int) -> Upgrade:
    return lambda draft, scope: _moved(draft, scope, [("axes", np.int64)], opset)


def _slice(draft: Draft, scope: Scope) -> tuple[Draft, ...]:
    names = [(name, np.int64) for name in ("starts", "ends", "axes")]
    return _moved(draft, scope, names, 13)


def _clip(draft: Draft, scope: Scope) -> tuple[Draft, ...]:
    data = scope.operand(draft.inputs[0])
    kind = np.float32 if data is None else data.dtype.numpy
    return _moved(draft, scope, [("min", kind), ("max", kind)], 13)


def _pad(draft: Draft, scope: Scope) -> tuple[Draft, ...]:
    data = scope.operand(draft.inputs[0])
    kind = np.float32 if data is None else data.dtype.numpy
    return _moved(draft, scope, [("pads", np.int64), ("value", kind)], 13)


def _top_k(draft: Draft, scope: Scope) -> tuple[Draft, ...]:
    count = draft.attrs.get("k")
    attrs = {name: value for name, value in draft.attrs.items() if name != "k"}
    name = scope.constant(f"{draft.name}.k", np.array([count], dtype=np.int64))
    inputs = (*draft.inputs, name)
    return (replace(draft, inputs=inputs, attrs=attrs, opset=11, changed=True),)


def _top_k_same(draft: Draft, _scope: Scope) -> tuple[Draft, ...]:
    return (replace(draft, opset=11, changed=True),)


def _split(draft: Draft, scope: Scope) -> tuple[Draft, ...]:
    """Sizes become an operand; without them the number of parts is that of the outputs, which must
    be equal.
    """
    if draft.attrs.get("split") is not None:
        return _moved(draft, scope, [("split", np.int64)], 18)
    if len(draft.inputs) > 1 and draft.inputs[1]:
        return (draft,)
    if draft.opset >= 18:
        if draft.attrs.get("num_outputs") != len(draft.outputs):
            raise RuleError("num_outputs must be the number of outputs where no sizes are given")
        return (draft,)
    data, parts = scope.operand(draft.inputs[0]), len(draft.outputs)
    attrs = {name: value for name, value in draft.attrs.items() if name != "split"}
    if data is not None and data.shape:
        dim = data.shape[axis_of(int(_number(attrs.get("axis", 0))), len(data.shape))]
        if dim % parts:
            raise RuleError(f"{dim} cannot be split into {parts} equal parts")
    attrs["num_outputs"] = parts
    return (replace(draft, attrs=attrs, opset=max(18, draft.opset), changed=True),)


def _number(value: Plain) -> float:
    if isinstance(value, int | float):
        return value
    raise RuleError("an attribute that must be a number is not")


def _softmax(draft: Draft, scope: Scope) -> tuple[Draft, ...]:
    """Below opset 13 all axes from `axis` on are one: the same as now where that is the last axis
    alone.
    """
    data = scope.operand(draft.inputs[0])
    if data is None:
        raise RuleError("input 0 is missing")
    rank = len(data.shape)
    axis = axis_of(int(_number(draft.attrs.get("axis", 1))), max(rank, 1))
    if axis == rank - 1:
        return (replace(draft, attrs={"axis": -1}, opset=13, changed=True),)
    rows, columns = math.prod(data.shape[:axis]), math.prod(data.shape[axis:])
    flat, soft = scope.fresh(f"{draft.name}.flat"), scope.fresh(f"{draft.name}.soft")
    to_flat = scope.constant(f"{draft.name}.rows", np.array([rows, columns], dtype=np.int64))
    back = scope.constant(f"{draft.name}.shape", np.array(data.shape, dtype=np.int64))
    view = replace(draft, op="Reshape", attrs={"allowzero": 1}, opset=14, changed=True)
    return (
        replace(
            view, name=f"{draft.name}.flat", inputs=(draft.inputs[0], to_flat), outputs=(flat,)
        ),
        replace(draft, inputs=(flat,), outputs=(soft,), attrs={"axis": -1}, opset=13, changed=True),
        replace(view, name=f"{draft.name}.back", inputs=(soft, back)),
    )


def _dropout(draft: Draft, scope: Scope) -> tuple[Draft, ...]:
    """Inference: the data pass unchanged, the mask is all true."""
    mode = scope.operand(draft.inputs[2]) if len(draft.inputs) > 2 else None
    if mode is not None and (mode.const is None or bool(mode.const.any())):
        raise UnsupportedOpError("Dropout in training mode", where=draft.name)
    plain = replace(draft, op="Identity", attrs={}, inputs=draft.inputs[:1], changed=True)
    drafts = [replace(plain, outputs=draft.outputs[:1])]
    if len(draft.outputs) > 1 and draft.outputs[1]:
        data = scope.operand(draft.inputs[0])
        shape = () if data is None else data.shape
        name = scope.constant(f"{draft.name}.shape", np.array(shape, dtype=np.int64))
        drafts.append(
            replace(
                plain,
                name=f"{draft.name}.mask",
                op="ConstantOfShape",
                inputs=(name,),
                outputs=(draft.outputs[1],),
                attrs={"value": np.ones(1, dtype=np.bool_)},
            )
        )
    return tuple(drafts)


def _scatter(draft: Draft, _scope: Scope) -> tuple[Draft, ...]:
    opset = max(draft.opset, 11)
    return (replace(draft, op="ScatterElements", opset=opset, changed=True),)


def _without(*names: str) -> Upgrade:
    """Drop attributes of old versions that have no effect on inference."""

    def function(draft: Draft, _scope: Scope) -> tuple[Draft, ...]:
        attrs = {name: value for name, value in draft.attrs.items() if name not in names}
        return (replace(draft, attrs=attrs, changed=True),)

    return function


_EVER = 1 << 30
_UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    "Squeeze": ((13, _axes(13)),),
    "Unsqueeze": ((13, _axes(13)),),
    "ReduceSum": ((13, _axes(13)),),
    **{
        name: ((18, _axes(18)),)
        for name in (
            "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
            "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
        )
    },
    "Slice": ((10, _slice),),
    "Clip": ((11, _clip),),
    "Pad": ((11, _pad),),
    "TopK": ((10, _top_k), (11, _top_k_same)),
    "Split": ((_EVER, _split),),
    "Softmax": ((13, _softmax),),
    "LogSoftmax": ((13, _softmax),),
    "Hardmax": ((13, _softmax),),
    "Dropout": ((_EVER, _dropout),),
    "Scatter": ((_EVER, _scatter),),
    "BatchNormalization": ((14, _without("momentum", "spatial")),),
}  # fmt: skip
