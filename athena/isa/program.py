"""A compiled program: streams of words, sections, memory map, node table, constants.

In:  arrays made by the builder or by the compiler's lowering.
Out: `Program`, immutable; `athena.isa.container` writes and reads the `.athena` file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from athena.isa.fields import DT_BYTES, SEGMENTS, WORD_DTYPE, Dt, Queue, Seg

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Words in program order and, for each, the index of the node in the node table that it works
    for (-1: none).
    """

    words: NDArray[np.void]  # WORD_DTYPE [n]
    nodes: NDArray[np.int32]  # [n]

    def __post_init__(self) -> None:
        if self.words.dtype != WORD_DTYPE or len(self.words) != len(self.nodes):
            raise ValueError("a stream is WORD_DTYPE words with one node index each")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRun:
    """`stream` runs on the queue `kind` of each of `units` (logical cores or clusters; empty =
    all), from `aregs`.
    """

    kind: Queue
    stream: int
    units: tuple[int, ...] = ()
    aregs: tuple[tuple[int, int], ...] = ()  # (areg, initial value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Queue runs that start together and are repeated `repeat` times.

    In repeat i the base of segment s is `memory base + seg_base[s] + i * seg_stride[s]`. Each queue
    goes on to its next
    repeat, then to the next section, when it meets END: sections are no barrier, semaphores carry
    over.
    """

    name: str
    runs: tuple[QueueRun, ...]
    repeat: int = 1
    seg_base: tuple[int, ...] = (0,) * SEGMENTS
    seg_stride: tuple[int, ...] = (0,) * SEGMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A named array in a segment. Strides in bytes; `source_dtype` is the numpy name of the ONNX
    type.

    `scale` and `zero_point` are 1 and 0 unless the tensor is stored quantised.
    """

    name: str
    role: str  # "input" | "output" | "kv"
    dtype: Dt
    source_dtype: str
    shape: tuple[int, ...]
    segment: Seg
    offset: int
    strides: tuple[int, ...]

    def byte_range(self) -> tuple[int, int]:
        """First byte and one past the last byte in the segment; equal for an empty tensor."""
        if 0 in self.shape:
            return self.offset, self.offset
        reach = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        low = self.offset + sum(min(0, step) for step in reach)
        end = self.offset + sum(max(0, step) for step in reach) + DT_BYTES[self.dtype]
        return low, end


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """One chip-level node and the ONNX nodes it stands for, with what reports need and may not
    compute themselves.

    `flops` by kind: matmul, attention, attention_full, elementwise, norm, softmax (1 MAC = 2).
    `place` is chip, folded or host. `repeat` nodes of identical blocks may share one entry: the
    name is the first one's, `sources` lists those of all of them, figures are their sums.
    """

    name: str
    op: str
    sources: tuple[str, ...]
    place: str
    flops: Mapping[str, int] = field(default_factory=dict)
    compulsory_bytes: int = 0
    dtype: str = ""
    detail: str = ""
    mapping: str = ""
    repeat: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCall:
    """One node that onnxruntime executes: a serialised single-node ONNX model and its tensors'
    names.
    """

    name: str
    node: int
    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flops: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """Everything that the four executions need.

    `segment_bytes[s]` is the size of each HBM segment's image; `constants` holds the images (uint8)
    that carry data, which may be shorter than the segment. `core_sems`, `cluster_sems` and
    `chip_sems` are initial semaphore values {index: value}. `tensors` lists inputs, outputs and
    caches; every host call's tensors are among them with role "host". `scalars` are launch scalars
    S0 … (S0 = 0; the machine sets S14 to the core and S15 to the cluster). `notes`, such as the
    model's hash, dims and calibration, are shown in every result.
    """

    name: str
    chip: str
    chip_hash: str
    precision: str
    streams: tuple[Stream, ...]
    sections: tuple[Section, ...]
    segment_bytes: tuple[int, ...]
    tensors: tuple[Tensor, ...] = ()
    nodes: tuple[NodeInfo, ...] = ()
    constants: Mapping[Seg, Bytes] = field(default_factory=dict)
    core_sems: Mapping[int, int] = field(default_factory=dict)
    cluster_sems: Mapping[int, int] = field(default_factory=dict)
    chip_sems: Mapping[int, int] = field(default_factory=dict)
    scalars: tuple[int, ...] = ()
    host_calls: tuple[HostCall, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    weightless: bool = False

    @property
    def static_words(self) -> int:
        """Words stored; loops, repeats and queues that share a stream count once."""
        return sum(len(stream.words) for stream in self.streams)
