"""What lowering knows of a graph before words are made: buffers, where every value lies, steps in
order.

In:  filled by `planner.make_plan`; kernels add packed constants.   Out: read by kernels, allocation
and assembly.   Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from athena.isa.cycles import ceil_div
from athena.isa.fields import Seg
from compiler.graph.graph import Graph
from compiler.graph.types import Attrs, Value
from compiler.lowering.views import View

ALIGN_BYTES = 64


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
    """One op that needs words. `ins` and `out` are views; absent optional inputs are None.

    `outs`: all results of a node on the host, `out` being the first that is there.
    """

    op: str
    name: str
    attrs: Attrs
    ins: tuple[View | None, ...]
    out: View
    node: int
    consts: tuple[Value | None, ...] = ()
    to_bool: bool = False
    outs: tuple[View | None, ...] = ()


@dataclass(slots=True)
class Plan:
    """The result; kernels may add constant buffers (packed weights) before allocation."""

    graph: Graph
    buffers: list[Buffer] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)
    steps: list[PlanStep] = field(default_factory=list)
    const_data: dict[int, NDArray[Any]] = field(default_factory=dict)
    host_steps: list[PlanStep] = field(default_factory=list)  # in order of their calls
    mappings: dict[Hashable, Any] = field(default_factory=dict)  # of ops met before, by shape
    tail_bytes: int = 0  # that a word may read beyond the last constant
    _packed: dict[tuple[int, int], int] = field(default_factory=dict)

    def buffer(self, segment: Seg, nbytes: int, name: str, value: str = "") -> int:
        """A new buffer; returns its number."""
        size = ceil_div(max(nbytes, 1), ALIGN_BYTES) * ALIGN_BYTES
        self.buffers.append(Buffer(segment=segment, nbytes=size, name=name, value=value))
        return len(self.buffers) - 1

    def packed_buffer(self, original: int, strip: int, nbytes: int, name: str) -> int:
        """The buffer for a constant packed in strips: shared by all users of the same packing; the
        original may then be unused.
        """
        key = (original, strip)
        if key not in self._packed:
            self._packed[key] = self.buffer(Seg.WEIGHT, nbytes, name)
        return self._packed[key]

    def used(self, number: int) -> None:
        """Mark a constant buffer as read as it is."""
        self.buffers[number].first = 0
