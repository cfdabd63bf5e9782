"""Model FLOPs and compulsory bytes of chip-level nodes: what the computation needs, whatever the
chip does.

In:  a chip-level Graph.   Out: `NodeFlops` per node or in total; 1 multiply-add = 2 FLOPs; bytes
at the values' storage dtype.
Raises: InternalError for a node that is not at chip level.

Per element: normalisation 7 (layer) or 4 (RMS), softmax 5 (maximum, difference, exp, sum,
quotient), a step or bias 1, rotary embedding 3, quantisation 2. Moving data costs no FLOPs. Bytes:
every distinct input once, the output once; of an embedding table only the rows that are read;
views (View, Permute, Slice, Expand) none; a cache append only what is appended.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import cast

import numpy as np

from athena.errors import InternalError
from compiler.graph.chip_ops import (
    AttentionAttrs,
    ElementwiseAttrs,
    Fn,
    GemmAttrs,
    NormAttrs,
    NormKind,
    Op,
    RopeAttrs,
    Step,
)
from compiler.graph.graph import Graph
from compiler.graph.types import CHIP_DOMAIN, Node

LAYER_NORM_FLOPS, RMS_NORM_FLOPS = 7, 4
SOFTMAX_FLOPS = 5
ROPE_FLOPS = 3
QUANTIZE_FLOPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFlops:
    """FLOPs by kind, and bytes. `attention` counts unmasked pairs of query and key,
    `attention_full` all of them.
    """

    matmul: int = 0
    attention: int = 0
    attention_full: int = 0
    elementwise: int = 0
    norm: int = 0
    softmax: int = 0
    compulsory_bytes: int = 0

    def __add__(self, other: NodeFlops) -> NodeFlops:
        """The sum, kind by kind."""
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return NodeFlops(**sums)

    @property
    def total(self) -> int:
        """FLOPs of all kinds, with the unmasked part of attention."""
        return self.matmul + self.attention + self.elementwise + self.norm + self.softmax


def graph_flops(graph: Graph) -> NodeFlops:
    """The sum over all nodes."""
    return sum((node_flops(graph, node) for node in graph.nodes), NodeFlops())


def node_flops(graph: Graph, node: Node) -> NodeFlops:
    """FLOPs and bytes of one node; a Host node has bytes only."""
    if node.domain != CHIP_DOMAIN:
        raise InternalError("FLOPs are counted at chip level", where=f"node '{node.name}'")
    rule = _FLOPS.get(node.op)
    flops = NodeFlops() if rule is None else rule(graph, node)
    return flops + NodeFlops(compulsory_bytes=_compulsory_bytes(graph, node))


def _shapes(graph: Graph, node: Node) -> list[tuple[int, ...]]:
    return [graph.value(name).shape if name else () for name in node.inputs]


def _out_elems(graph: Graph, node: Node) -> int:
    return graph.value(node.outputs[0]).elems


def _arithmetic(steps: tuple[Step, ...]) -> int:
    return sum(step.fn is not Fn.CAST for step in steps)


def _gemm(graph: Graph, node: Node) -> NodeFlops:
    attrs = cast(GemmAttrs, node.attrs)
    elems, summed = _out_elems(graph, node), _shapes(graph, node)[0][-1]
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    extra = _arithmetic(attrs.steps) + has_bias
    return NodeFlops(matmul=2 * elems * summed, elementwise=elems * extra)


def _elementwise(graph: Graph, node: Node) -> NodeFlops:
    steps = _arithmetic(cast(ElementwiseAttrs, node.attrs).steps)
    return NodeFlops(elementwise=_out_elems(graph, node) * steps)


def _norm(graph: Graph, node: Node) -> NodeFlops:
    layer = cast(NormAttrs, node.attrs).kind is NormKind.LAYER
    rate = LAYER_NORM_FLOPS if layer else RMS_NORM_FLOPS
    return NodeFlops(norm=rate * _out_elems(graph, node))


def _softmax(graph: Graph, node: Node) -> NodeFlops:
    return NodeFlops(softmax=SOFTMAX_FLOPS * _out_elems(graph, node))


def _reduce(graph: Graph, node: Node) -> NodeFlops:
    return NodeFlops(elementwise=math.prod(_shapes(graph, node)[0]))


def _attention(graph: Graph, node: Node) -> NodeFlops:
    attrs = cast(AttentionAttrs, node.attrs)
    q, k, v = _shapes(graph, node)[:3]
    heads, per_pair = q[0] * q[1], 2 * (q[3] + v[3])
    pairs = attention_pairs(attrs, q[2], k[2])
    return NodeFlops(
        attention=heads * pairs * per_pair,
        attention_full=heads * q[2] * k[2] * per_pair,
        softmax=heads * pairs * SOFTMAX_FLOPS,
    )


def attention_pairs(attrs: AttentionAttrs, queries: int, keys: int) -> int:
    """Pairs of query and key that causality leaves, for one head."""
    if not attrs.causal:
        return queries * keys
    reach = np.arange(queries, dtype=np.int64) + attrs.causal_offset + 1
    return int(np.clip(reach, 0, keys).sum())


def _rope(graph: Graph, node: Node) -> NodeFlops:
    shape = _shapes(graph, node)[0]
    rotated = math.prod(shape[:-1]) * cast(RopeAttrs, node.attrs).rotary_dim
    return NodeFlops(elementwise=ROPE_FLOPS * rotated)


def _quantize(graph: Graph, node: Node) -> NodeFlops:
    return NodeFlops(elementwise=QUANTIZE_FLOPS * _out_elems(graph, node))


_FLOPS: dict[str, Callable[[Graph, Node], NodeFlops]] = {
    Op.GEMM: _gemm,
    Op.ELEMENTWISE: _elementwise,
    Op.NORM: _norm,
    Op.SOFTMAX: _softmax,
    Op.REDUCE: _reduce,
    Op.ATTENTION: _attention,
    Op.ROPE: _rope,
    Op.QUANTIZE: _quantize,
    Op.DEQUANTIZE: _quantize,
}
_VIEWS = frozenset({Op.VIEW, Op.PERMUTE, Op.SLICE, Op.EXPAND})


def _compulsory_bytes(graph: Graph, node: Node) -> int:
    if node.op in _VIEWS:
        return 0
    names = [name for name in dict.fromkeys(node.inputs) if name]
    outputs = sum(value.nbytes for value in graph.output_values(node))
    if node.op == Op.GATHER:
        return _gathered_bytes(graph, node) + outputs
    if is_cache_append(graph, node):
        return 2 * sum(graph.value(name).nbytes for name in node.inputs[1:])
    return sum(graph.value(name).nbytes for name in names) + outputs


def is_cache_append(graph: Graph, node: Node) -> bool:
    """Whether the node is past → Concat → present: a graph input extended to a graph output, done
    in place.
    """
    appended = node.op == Op.CONCAT and len(node.inputs) > 1
    return appended and node.inputs[0] in graph.inputs and node.outputs[0] in graph.outputs


def _gathered_bytes(graph: Graph, node: Node) -> int:
    table, ids = graph.value(node.inputs[0]), graph.value(node.inputs[1])
    rows = ids.elems if ids.const is None else int(np.unique(ids.const).size)
    row_bytes = math.prod(table.shape[1:]) * table.dtype.nbytes
    return min(rows, table.shape[0]) * row_bytes + ids.nbytes
