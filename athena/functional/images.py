"""Memory images: HBM segments in use, L1, ACC and L2 of every core and cluster, and named tensors
in them.

In:  Program, Chip. Out: `Images` with an address table for the kernels.
Raises: ProgramError when constants or tensors do not fit their segment; InputError for arrays
that do not fit their tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.chip import Chip
from athena.errors import CapacityError, InputError, ProgramError, printable
from athena.functional.convert import STORAGE, Array, from_storage, to_storage
from athena.isa.fields import Op, Seg
from athena.isa.program import Bytes, Program, Tensor

L1_FIRST = 16
_WRITERS = (Op.COPY, Op.COPYX, Op.MCAST)


class Images:
    """All memories of one machine. Fresh memory is zero and takes no room until it is touched.

    `table` is int64 [2, memories]: address and bytes of HBM segments 0–7, then from 16 on L1 of the
    cores, ACC of the cores, L2 of the clusters. Constants of a segment that nothing writes are used
    where they are, not copied.
    """

    def __init__(self, program: Program, chip: Chip) -> None:
        self._program = program
        total = sum(program.segment_bytes)
        if total > chip.hbm.bytes:
            raise CapacityError(
                f"segments of {total} bytes; {chip.name} has {chip.hbm.bytes} bytes of HBM",
                where=f"program '{printable(program.name)}'",
            )
        cores, clusters = chip.cores, chip.clusters
        self.acc_first = L1_FIRST + cores
        self.l2_first = self.acc_first + cores
        self._memories: dict[int, Bytes] = {}
        self.table: NDArray[np.int64] = np.zeros((2, self.l2_first + clusters), np.int64)
        self.reset()
        for first, count, size in (
            (L1_FIRST, cores, chip.core.l1_bytes),
            (self.acc_first, cores, chip.core.acc_bytes),
            (self.l2_first, clusters, chip.cluster.l2_bytes),
        ):
            for i in range(first, first + count):
                self._place(i, np.zeros(size, np.uint8))

    def reset(self) -> None:
        """HBM segments as the program file has them: constants, else zero."""
        written = _written_segments(self._program)
        for segment, size in enumerate(self._program.segment_bytes[:8]):
            constant = self._program.constants.get(Seg(segment))
            if constant is not None and len(constant) > size:
                raise ProgramError(
                    f"segment {Seg(segment).name} has {size} bytes, its constants {len(constant)}",
                    where=f"program '{printable(self._program.name)}'",
                )
            if (
                constant is not None
                and len(constant) == size
                and segment not in written
                and constant.flags.c_contiguous
            ):
                self._place(segment, constant)
                continue
            image = np.zeros(size, np.uint8)
            if constant is not None:
                image[: len(constant)] = constant
            self._place(segment, image)

    def _place(self, memory: int, image: Bytes) -> None:
        self._memories[memory] = image
        self.table[:, memory] = image.ctypes.data, image.size

    def memory(self, number: int) -> Bytes:
        """The image itself; writing to it changes the machine."""
        return self._memories.get(number, np.zeros(0, np.uint8))

    def view(self, tensor: Tensor) -> Array:
        """The tensor's elements in storage type, a strided view of its segment.

        Raises: ProgramError when it reaches outside the segment.
        """
        image = self.memory(int(tensor.segment))
        dtype = STORAGE[tensor.dtype]
        low = tensor.offset + sum(
            min(0, s * (n - 1)) for s, n in zip(tensor.strides, tensor.shape, strict=True)
        )
        high = tensor.offset + sum(
            max(0, s * (n - 1)) for s, n in zip(tensor.strides, tensor.shape, strict=True)
        )
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, dtype)
        if low < 0 or high + dtype.itemsize > image.size or tensor.offset % dtype.itemsize:
            name, end = tensor.segment.name, high + dtype.itemsize
            raise ProgramError(
                f"bytes {low} … {end} of segment {name}, which has {image.size}",
                where=f"tensor '{printable(tensor.name)}'",
            )
        return np.ndarray(
            tensor.shape, dtype, buffer=image, offset=tensor.offset, strides=tensor.strides
        )

    def read(self, tensor: Tensor) -> Array:
        """The tensor as a fresh array of its ONNX type."""
        return from_storage(self.view(tensor), tensor.dtype, tensor.source_dtype)

    def write(self, tensor: Tensor, values: Any) -> None:
        """Convert and store an array.

        Raises: InputError for another shape or for values out of range.
        """
        array = np.asarray(values)
        where = f"tensor '{printable(tensor.name)}'"
        if array.shape != tensor.shape:
            raise InputError(
                f"shape {array.shape}; the program was compiled for {tensor.shape}", where=where
            )
        self.view(tensor)[...] = to_storage(array, tensor.dtype, where)


def _written_segments(program: Program) -> set[int]:
    """Segments that a word, an input or a host call may write."""
    segments = {int(t.segment) for t in program.tensors}
    for stream in program.streams:
        words = stream.words
        stores = np.isin(words["op"], _WRITERS)
        segments |= {int(s) for s in np.unique(words["d"][stores, 0] & 15)}
    return segments


def tensors_of(program: Program) -> Mapping[str, Tensor]:
    """Tensors by name. Raises: ProgramError for a name that appears twice with different places."""
    found: dict[str, Tensor] = {}
    for tensor in program.tensors:
        old = found.setdefault(tensor.name, tensor)
        if (old.segment, old.offset, old.shape) != (tensor.segment, tensor.offset, tensor.shape):
            raise ProgramError(
                "two places for one name", where=f"tensor '{printable(tensor.name)}'"
            )
    return found
