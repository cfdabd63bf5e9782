"""Find the node where the error jumps, from the intermediate values of both executions.

In:  {value: array} of reference and chip, and nodes in execution order.
Out: `NodeComparison` (frozen): one row a compared node and the first node that spoils its inputs.
Raises: InputError where no value can be compared.

A node is to blame when its output is below the limit while every input that was compared is not.
Values that were not compared (weights, inputs, results of fused nodes) count as exact. Scalars and
statistics (last axis of one element) have no spread to speak of: their SNR is not centred.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.errors import InputError
from athena.verify.metrics import Metrics, measure, to_float

NODE_LIMIT_DB: Mapping[str, float] = {
    "fp32": 80.0,  # 1e-4 of the signal
    "bf16": 30.0,
    "fp16": 30.0,
}
COARSE_LIMIT_DB = 15.0  # int8 and smaller: less than this and the signal is going under
CAP_DB = 200.0  # "no error" counts as this


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceNode:
    """A node of the model with its values' names, as in the graph."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCheck:
    """SNR of one value, the least SNR of its node's compared inputs, and the difference."""

    node: str
    op: str
    value: str
    metrics: Metrics | None
    snr_db: float
    input_snr_db: float
    reason: str = ""

    @property
    def drop_db(self) -> float:
        """By how much the node makes it worse than its worst input."""
        return min(self.input_snr_db, CAP_DB) - min(self.snr_db, CAP_DB)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeComparison:
    """All compared nodes in order, and the first to blame (None: no node)."""

    limit_db: float
    rows: tuple[NodeCheck, ...]
    first: NodeCheck | None
    skipped: int

    @property
    def largest_drop(self) -> NodeCheck | None:
        """The node that worsens its inputs most, within limits or not."""
        return max(self.rows, key=lambda row: row.drop_db, default=None)


def per_node(
    reference: Mapping[str, NDArray[Any]],
    actual: Mapping[str, NDArray[Any]],
    nodes: Iterable[TraceNode],
    *,
    precision: str,
) -> NodeComparison:
    """Compare every value that both hold, in the order of `nodes`."""
    limit = NODE_LIMIT_DB.get(precision, COARSE_LIMIT_DB)
    known: dict[str, float] = {}
    rows: list[NodeCheck] = []
    skipped = 0
    for node in nodes:
        shared = [name for name in node.outputs if name in reference and name in actual]
        skipped += not shared
        before = min((known[name] for name in node.inputs if name in known), default=math.inf)
        for name in shared:
            row = _compare(node, name, before, (reference[name], actual[name]))
            known[name] = row.snr_db
            rows.append(row)
    if not rows:
        raise InputError("no value of a node was computed by both", where="verify --per-node")
    first = next((r for r in rows if r.snr_db < limit <= r.input_snr_db), None)
    return NodeComparison(limit_db=limit, rows=tuple(rows), first=first, skipped=skipped)


def _plain_snr_db(reference: NDArray[Any], actual: NDArray[Any]) -> float:
    ref, act = to_float(reference), to_float(actual)
    finite = np.isfinite(ref) & np.isfinite(act)
    noise = float(np.sum((act[finite] - ref[finite]) ** 2))
    signal = float(np.sum(ref[finite] ** 2))
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def _compare(
    node: TraceNode, value: str, before: float, pair: tuple[NDArray[Any], NDArray[Any]]
) -> NodeCheck:
    reference, actual = pair
    metrics, reason, snr = None, "", -math.inf
    if reference.shape != actual.shape:
        reason = f"shape {actual.shape} instead of {reference.shape}"
    else:
        metrics = measure(reference, actual)
        snr = metrics.snr_db
        if reference.ndim == 0 or reference.shape[-1] == 1:
            snr = _plain_snr_db(reference, actual)
        if metrics.special_differ:
            snr, reason = -math.inf, f"{metrics.special_differ} NaN or infinite in one only"
    return NodeCheck(
        node=node.name,
        op=node.op,
        value=value,
        metrics=metrics,
        snr_db=snr,
        input_snr_db=before,
        reason=reason,
    )
