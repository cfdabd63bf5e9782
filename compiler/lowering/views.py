"""Where a value lies: a strided view of a buffer, so that reshapes, slices and most transposes cost
nothing.

In:  shapes and permutations.   Out: `View` (bytes), or None where only a copy can give the new
shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from athena.isa.fields import DT_BYTES, Dt
from compiler.graph.types import DType

STORAGE: dict[DType, Dt] = {
    DType.F32: Dt.F32,
    DType.F64: Dt.F32,
    DType.F16: Dt.F32,
    DType.BF16: Dt.BF16,
    DType.I8: Dt.I8,
    DType.U8: Dt.U8,
    DType.BOOL: Dt.U8,
    DType.I16: Dt.I32,
    DType.U16: Dt.I32,
    DType.I32: Dt.I32,
    DType.U32: Dt.I32,
    DType.I64: Dt.I32,
    DType.U64: Dt.I32,
}


INTEGERS = (Dt.I32, Dt.I8, Dt.U8)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`shape` in elements, `strides` in bytes (0 where broadcast, may be negative), `offset` in
    bytes.
    """

    buffer: int
    dt: Dt
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def esize(self) -> int:
        """Bytes of an element."""
        return DT_BYTES[self.dt]

    @property
    def elems(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def row_contiguous(self) -> bool:
        """Whether neighbours in the last axis are neighbours in memory."""
        return not self.shape or self.shape[-1] == 1 or self.strides[-1] == self.esize

    @property
    def contiguous(self) -> bool:
        """Whether the view is packed in row-major order."""
        return self.strides == packed(self.shape, self.esize) or all(
            n == 1 or s == p
            for n, s, p in zip(
                self.shape, self.strides, packed(self.shape, self.esize), strict=True
            )
        )

    def permute(self, perm: tuple[int, ...]) -> View:
        """Axes reordered."""
        return replace(
            self,
            shape=tuple(self.shape[p] for p in perm),
            strides=tuple(self.strides[p] for p in perm),
        )

    def slice(
        self, starts: tuple[int, ...], steps: tuple[int, ...], shape: tuple[int, ...]
    ) -> View:
        """A strided block."""
        offset = self.offset + sum(a * s for a, s in zip(starts, self.strides, strict=True))
        strides = tuple(s * step for s, step in zip(self.strides, steps, strict=True))
        return replace(self, offset=offset, strides=strides, shape=shape)

    def expand(self, shape: tuple[int, ...]) -> View:
        """Broadcast by numpy's rules to `shape`."""
        lead = len(shape) - len(self.shape)
        strides = tuple(
            0 if i < lead or self.shape[i - lead] == 1 != size else self.strides[i - lead]
            for i, size in enumerate(shape)
        )
        return replace(self, shape=shape, strides=strides)

    def reshape(self, shape: tuple[int, ...]) -> View | None:
        """The same elements in another shape, or None where strides do not allow it."""
        if math.prod(shape) == 0:
            return replace(self, shape=shape, strides=packed(shape, self.esize))
        strides = _reshaped_strides(self.shape, self.strides, shape)
        return None if strides is None else replace(self, shape=shape, strides=strides)


def packed(shape: tuple[int, ...], esize: int) -> tuple[int, ...]:
    """Row-major strides in bytes."""
    strides = [esize] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def _reshaped_strides(
    old: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Numpy's no-copy rule: groups of old axes with one common stride become groups of new axes."""
    axes = [(n, s) for n, s in zip(old, strides, strict=True) if n != 1]
    out: list[int] = []
    wanted = list(new)
    while wanted:
        if wanted[0] == 1:
            out.append(0)
            wanted.pop(0)
            continue
        sizes = _matching(axes, wanted)
        if sizes is None:
            return None
        taken, made = sizes
        group, axes = axes[:taken], axes[taken:]
        if any(outer[1] != inner[1] * inner[0] for outer, inner in pairwise(group)):
            return None
        out += (group[-1][1] * p for p in packed(tuple(wanted[:made]), 1))
        del wanted[:made]
    return tuple(out)


def _matching(axes: list[tuple[int, int]], wanted: list[int]) -> tuple[int, int] | None:
    """How many of the first axes have as many elements as how many of the first wanted sizes."""
    if not axes:
        return None
    taken, made, have, want = 1, 1, axes[0][0], wanted[0]
    while have != want:
        if have < want:
            if taken == len(axes):
                return None
            have, taken = have * axes[taken][0], taken + 1
        else:
            if made == len(wanted):
                return None
            want, made = want * wanted[made], made + 1
    return taken, made


def collapse(
    shape: tuple[int, ...], strides: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Merge neighbouring axes that every operand walks with one stride; drops axes of size 1 (keeps
    at least one).

    In: a common shape and, per operand, its strides. Out: the merged shape and strides.
    """
    axes = [(n, tuple(s[i] for s in strides)) for i, n in enumerate(shape) if n != 1]
    if not axes:
        return (1,), tuple((0,) for _ in strides)
    merged = [axes[0]]
    for size, step in axes[1:]:
        before, above = merged[-1]
        if all(a == b * size for a, b in zip(above, step, strict=True)):
            merged[-1] = (before * size, step)
        else:
            merged.append((size, step))
    return tuple(n for n, _ in merged), tuple(
        tuple(step[i] for _, step in merged) for i in range(len(strides))
    )
