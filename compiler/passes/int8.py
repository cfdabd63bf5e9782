"""int8: products with constant weights read quantised activations and weights.

In:  a fused F32 chip-level Graph and a Calibration of it.   Out: the Graph with Quantize nodes and
int8 Gemms.
Raises: UsageError where the calibration lacks a value that a product reads.

Weights: symmetric, one scale per output channel, codes −127 … 127. Activations: asymmetric, one
scale per tensor, codes −128 … 127.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from athena.errors import UsageError
from compiler.graph.chip_ops import GemmAttrs, Op, QuantAttrs, QuantizeAttrs
from compiler.graph.graph import Graph, GraphEdit
from compiler.graph.types import CHIP_DOMAIN, DType, Node, Value
from compiler.passes.calibration import Calibration

_CODES = 255.0
_LOWEST, _HIGHEST = -128, 127
_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantiseGemms:
    """`scale_factor` multiplies the activation scales: 1 is right, more is coarser (tests use it
    to show that they can fail).
    """

    calibration: Calibration = field(default_factory=Calibration)
    scale_factor: float = 1.0
    name: str = "quantise-gemms"

    def __call__(self, graph: Graph) -> Graph:
        """Quantise each product's operands once, however many products read them."""
        edit = graph.edit()
        for node in graph.nodes:
            if _is_quantisable(graph, node):
                edit.at(node)
                self._quantise(edit, node)
        return edit.freeze()

    def _quantise(self, edit: GraphEdit, node: Node) -> None:
        attrs = cast(GemmAttrs, node.attrs)
        a, b = node.inputs[:2]
        weights = edit.value(b)
        scale, zero_point = self._activation_code(a, weightless=weights.weightless)
        stored, w_scale = _quantised_weights(edit, weights, channel_axis=0 if attrs.trans_b else 1)
        coded = _quantised_activation(edit, node, a, (scale, zero_point))
        quant = QuantAttrs(a_scale=scale, a_zero_point=zero_point, w_scale=w_scale)
        inputs = (coded, stored, *node.inputs[2:])
        edit.replace_node(replace(node, inputs=inputs, attrs=replace(attrs, quant=quant)))

    def _activation_code(self, name: str, *, weightless: bool) -> tuple[float, int]:
        found = self.calibration.ranges.get(name)
        if found is None and not weightless:
            raise UsageError(
                f"int8 needs the range of value '{name}', which the calibration does not have",
                where="calibration",
                hint="calibrate this very graph (same model, same dims)",
            )
        low, high = found if found is not None else (-1.0, 1.0)
        return activation_code(low, high, self.scale_factor)


def activation_code(low: float, high: float, factor: float = 1.0) -> tuple[float, int]:
    """(scale, zero point) so that 0 has a code and low … high fit; the scale times `factor`."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / _CODES * factor, _SMALLEST_SCALE)
    scale = float(np.float32(scale))
    zero_point = int(np.clip(np.rint(_LOWEST - low / scale), _LOWEST, _HIGHEST))
    return scale, zero_point


def _is_quantisable(graph: Graph, node: Node) -> bool:
    if node.op != Op.GEMM or node.domain != CHIP_DOMAIN:
        return False
    a, b = graph.value(node.inputs[0]), graph.value(node.inputs[1])
    fixed = b.is_const and len(b.shape) == 2 and b.dtype.is_float and not a.is_const
    return fixed and cast(GemmAttrs, node.attrs).quant is None


def _quantised_weights(
    edit: GraphEdit, weights: Value, *, channel_axis: int
) -> tuple[str, tuple[float, ...]]:
    name = f"{weights.name}.int8.{channel_axis}"
    if weights.const is None:
        edit.set_value(replace(weights, name=name, dtype=DType.I8))
        return name, (1.0,)
    data = weights.const.astype(np.float32, copy=False)
    limit = np.abs(data).max(axis=1 - channel_axis, initial=0.0)
    scale = np.where(limit > 0, limit / np.float32(127), np.float32(1)).astype(np.float32)
    if not edit.has_value(name):
        divisor = scale[:, None] if channel_axis == 0 else scale
        codes = np.clip(np.rint(data / divisor), -127, 127).astype(np.int8)
        made = Value(name=name, dtype=DType.I8, shape=weights.shape, const=codes)
        edit.set_value(made)
    return name, tuple(float(number) for number in scale)


def _quantised_activation(edit: GraphEdit, node: Node, a: str, code: tuple[float, int]) -> str:
    name = f"{a}.int8"
    if not edit.has_value(name):
        edit.set_value(replace(edit.value(a), name=name, dtype=DType.I8))
        made = Node(
            name=edit.fresh(f"{name}:{Op.QUANTIZE}"),
            op=Op.QUANTIZE,
            inputs=(a,),
            outputs=(name,),
            attrs=QuantizeAttrs(scale=(code[0],), zero_point=(code[1],)),
            sources=node.sources,
            domain=CHIP_DOMAIN,
        )
        edit.add_node(made)
    return name
