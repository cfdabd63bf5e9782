"""Calibration: the range of every activation that an int8 product reads, over sample inputs.

In:  a Graph of any level and samples (dicts of input arrays).   Out: a Calibration.
Raises: UsageError without samples; InputError for samples that do not fit the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from athena.errors import UsageError
from compiler.graph.chip_ops import Op
from compiler.graph.graph import Graph
from compiler.graph.interpret import interpret
from compiler.graph.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """`ranges`: least and greatest value by value name of the fp32 chip-level graph; `origin` says
    where the samples are from.
    """

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    samples: int = 0
    origin: str = ""


def observe_ranges(
    chip_graph: Graph, samples: Sequence[Mapping[str, Array]], *, origin: str = ""
) -> Calibration:
    """Run the fp32 chip-level graph on every sample and note what its Gemms' first inputs reach."""
    if not samples:
        raise UsageError("calibration needs at least one sample", where="calibration")
    wanted = {node.inputs[0] for node in chip_graph.nodes if node.op == Op.GEMM}
    ranges: dict[str, tuple[float, float]] = {}

    def observe(name: str, array: Array) -> None:
        if name not in wanted or not array.size:
            return
        low, high = float(np.min(array)), float(np.max(array))
        before = ranges.get(name, (low, high))
        ranges[name] = (min(before[0], low), max(before[1], high))

    for sample in samples:
        interpret(chip_graph, sample, observe=observe)
    return Calibration(ranges=ranges, samples=len(samples), origin=origin)
