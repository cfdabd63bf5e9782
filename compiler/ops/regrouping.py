"""Operators that repeat, pad, mask or regroup elements: rows, shape rules, references.

In:  typed operands or arrays.   Out: `ROWS`.   Raises: RuleError (repeats, pads, block sizes).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.graph.types import Array
from compiler.ops import attrs as a
from compiler.ops.operands import (
    allocatable,
    array,
    axis_of,
    checked,
    constant_ints,
    maybe_array,
    maybe_ints,
    operand,
    optional,
    optional_ints,
    to_ints,
)
from compiler.ops.types import Arrays, Operands, OpRow, RuleError, Types


def _repeats(repeats: tuple[int, ...], rank: int) -> tuple[int, ...]:
    if len(repeats) != rank or min(repeats, default=0) < 0:
        raise RuleError(f"repeats {list(repeats)} must be {rank} numbers, none negative")
    return repeats


def _tile_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    repeats = _repeats(constant_ints(operands, 1, "repeats"), len(data.shape))
    dims = (dim * times for dim, times in zip(data.shape, repeats, strict=True))
    return (checked(data.dtype, dims),)


def _tile(_attrs: Any, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    repeats = _repeats(to_ints(array(arrays, 1), "repeats"), data.ndim)
    allocatable(
        [dim * times for dim, times in zip(data.shape, repeats, strict=True)], data.itemsize
    )
    return (np.tile(data, repeats),)


def _pads(
    pads: tuple[int, ...], axes: tuple[int, ...] | None, rank: int
) -> tuple[tuple[int, int], ...]:
    chosen = tuple(range(rank)) if axes is None else tuple(axis_of(axis, rank) for axis in axes)
    if len(pads) != 2 * len(chosen):
        raise RuleError(f"pads must be {2 * len(chosen)} numbers, not {len(pads)}")
    result = [(0, 0)] * rank
    for index, axis in enumerate(chosen):
        result[axis] = (pads[index], pads[index + len(chosen)])
    return tuple(result)


def _pad_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    axes = optional_ints(operands, 3, "axes")
    pads = _pads(constant_ints(operands, 1, "pads"), axes, len(data.shape))
    dims = (dim + sum(pad) for dim, pad in zip(data.shape, pads, strict=True))
    return (checked(data.dtype, dims),)


def _pad(attrs: a.PadAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data = array(arrays, 0)
    pads = _pads(to_ints(array(arrays, 1), "pads"), maybe_ints(arrays, 3, "axes"), data.ndim)
    cuts = tuple(
        slice(max(0, -low), dim - max(0, -high))
        for dim, (low, high) in zip(data.shape, pads, strict=True)
    )
    grown = [(max(0, low), max(0, high)) for low, high in pads]
    allocatable([dim + sum(pad) for dim, pad in zip(data.shape, grown, strict=True)], data.itemsize)
    if attrs.mode == "constant":
        fill = maybe_array(arrays, 2)
        value = data.dtype.type(0) if fill is None else fill.reshape(()).astype(data.dtype)
        return (np.pad(data[cuts], grown, constant_values=value),)
    if attrs.mode not in ("reflect", "edge", "wrap"):
        raise RuleError(f"mode must be constant, reflect, edge or wrap, not '{attrs.mode}'")
    return (np.pad(data[cuts], grown, mode=attrs.mode),)  # type: ignore[call-overload]


def _trilu_type(_attrs: Any, operands: Operands) -> Types:
    data = operand(operands, 0)
    if len(data.shape) < 2:
        raise RuleError(f"Trilu needs a matrix, not {list(data.shape)}")
    if optional(operands, 1) is not None and operand(operands, 1).elems != 1:
        raise RuleError("k must be one number")
    return (checked(data.dtype, data.shape),)


def _trilu(attrs: a.TriluAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, k = array(arrays, 0), maybe_array(arrays, 1)
    offset = 0 if k is None else max(-(1 << 40), min(1 << 40, int(k.reshape(-1)[0])))
    rows, columns = data.shape[-2:]
    distance = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    keep = distance >= offset if attrs.upper else distance <= offset
    return (np.where(keep, data, np.zeros((), dtype=data.dtype)),)


def _blocks(attrs: a.DepthAttrs, shape: tuple[int, ...], *, grow: bool) -> tuple[int, ...]:
    if attrs.mode not in ("DCR", "CRD"):
        raise RuleError(f"mode must be DCR or CRD, not '{attrs.mode}'")
    if len(shape) != 4 or attrs.blocksize < 1:
        raise RuleError(f"needs 4 dimensions and a positive blocksize, not {list(shape)}")
    n, c, h, w = shape
    size = attrs.blocksize
    if (c % (size * size)) if grow else (h % size or w % size):
        raise RuleError(f"blocksize {size} does not divide {list(shape)}")
    if grow:
        return (n, c // (size * size), h * size, w * size)
    return (n, c * size * size, h // size, w // size)


def _depth_type(attrs: a.DepthAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, _blocks(attrs, data.shape, grow=True)),)


def _depth(attrs: a.DepthAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, size = array(arrays, 0), attrs.blocksize
    shape = _blocks(attrs, data.shape, grow=True)
    n, c, h, w = data.shape
    if attrs.mode == "DCR":
        cube = data.reshape(n, size, size, shape[1], h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        cube = data.reshape(n, shape[1], size, size, h, w).transpose(0, 1, 4, 2, 5, 3)
    return (np.ascontiguousarray(cube).reshape(shape),)


def _space_type(attrs: a.DepthAttrs, operands: Operands) -> Types:
    data = operand(operands, 0)
    return (checked(data.dtype, _blocks(attrs, data.shape, grow=False)),)


def _space(attrs: a.DepthAttrs, arrays: Arrays) -> tuple[Array, ...]:
    data, size = array(arrays, 0), attrs.blocksize
    shape = _blocks(attrs, data.shape, grow=False)
    n, c = data.shape[:2]
    order = (0, 3, 5, 1, 2, 4) if attrs.mode == "DCR" else (0, 1, 3, 5, 2, 4)
    cube = data.reshape(n, c, shape[2], size, shape[3], size).transpose(order)
    return (np.ascontiguousarray(cube).reshape(shape),)


ROWS: tuple[OpRow, ...] = (
    OpRow(name="Tile", since=6, inputs=(2, 2), shape=_tile_type, reference=_tile,
          canon="View, Expand"),
    OpRow(name="Pad", since=11, attrs=a.PadAttrs, inputs=(2, 4), shape=_pad_type, reference=_pad,
          canon="Pad"),
    OpRow(name="Trilu", since=14, attrs=a.TriluAttrs, inputs=(1, 2), shape=_trilu_type,
          reference=_trilu, canon="Elementwise"),
    OpRow(name="DepthToSpace", attrs=a.DepthAttrs, shape=_depth_type, reference=_depth,
          canon="View, Permute"),
    OpRow(name="SpaceToDepth", attrs=a.DepthAttrs, shape=_space_type, reference=_space,
          canon="View, Permute"),
)  # fmt: skip
"""One row per operator."""
