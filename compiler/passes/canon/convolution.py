"""Canonical form of Conv: patches beside each other, then one Gemm with the weights.

In:  a Builder standing for the ONNX node.   Out: None, or the reason for leaving it to the host.
Raises: nothing. Patches are Views where kernels do not overlap, else one Slice per kernel position.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import cast

from compiler.graph.chip_ops import ConcatAttrs, GemmAttrs, Op, PadAttrs, SliceAttrs
from compiler.ops import attrs as onnx_attrs
from compiler.passes.build import Builder
from compiler.passes.canon.attention import optional
from compiler.passes.canon.types import Canon

MAX_POSITIONS = 64
"""Largest kernel volume that is cut out position by position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]  # before each axis, then after each


def conv(b: Builder) -> str | None:
    """Conv of any number of spatial axes, one group."""
    spec = cast(onnx_attrs.ConvAttrs, b.node.attrs)
    x, weights = b.node.inputs[:2]
    if spec.group != 1:
        return f"Conv in {spec.group} groups"
    window = _window(b, spec)
    tiled = window.kernel == window.strides and not any(window.pads)
    tiled = tiled and all(n % k == 0 for n, k in zip(b.shape(x)[2:], window.kernel, strict=True))
    if not tiled and math.prod(window.kernel) > MAX_POSITIONS:
        return f"Conv with a kernel of {window.kernel} (limit {MAX_POSITIONS} positions)"
    if tiled and set(window.dilations) == {1}:
        patches = _tiles(b, x, window)
    else:
        patches = _positions(b, x, window)
    _finish(b, patches, weights)
    return None


def _window(b: Builder, spec: onnx_attrs.ConvAttrs) -> _Window:
    kernel = b.shape(b.node.inputs[1])[2:]
    rank = len(kernel)
    strides, dilations = spec.strides or (1,) * rank, spec.dilations or (1,) * rank
    pads = spec.pads or (0,) * (2 * rank)
    if spec.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        out, sizes = b.shape(b.node.outputs[0])[2:], b.shape(b.node.inputs[0])[2:]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        rows = zip(out, strides, reach, sizes, strict=True)
        total = [max((o - 1) * s + r - n, 0) for o, s, r, n in rows]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        pads = (*small, *large) if spec.auto_pad == "SAME_UPPER" else (*large, *small)
    elif spec.auto_pad == "VALID":
        pads = (0,) * (2 * rank)
    return _Window(
        kernel=tuple(kernel), strides=tuple(strides), dilations=tuple(dilations), pads=tuple(pads)
    )


def _tiles(b: Builder, x: str, window: _Window) -> str:
    """[N, rows, C·kernel] by Views and one Permute, kernels side by side."""
    n, c, *sizes = b.shape(x)
    rank = len(sizes)
    counts = [size // k for size, k in zip(sizes, window.kernel, strict=True)]
    split = [p for pair in zip(counts, window.kernel, strict=True) for p in pair]
    cut = b.view(x, (n, c, *split))
    perm = (0, *range(2, 2 * rank + 2, 2), 1, *range(3, 2 * rank + 3, 2))
    depth = c * math.prod(window.kernel)
    return b.view(b.permute(cut, perm), (n, math.prod(counts), depth))


def _positions(b: Builder, x: str, window: _Window) -> str:
    """[N, rows, C·kernel]: one strided Slice per kernel position, joined, channels slowest."""
    n, c, *sizes = b.shape(x)
    rank = len(sizes)
    if any(window.pads):
        pads = (0, 0, *window.pads[:rank], 0, 0, *window.pads[rank:])
        grown = [s + window.pads[i] + window.pads[rank + i] for i, s in enumerate(sizes)]
        x = b.emit(Op.PAD, [x], PadAttrs(pads=pads), shape=(n, c, *grown))
    out = b.shape(b.node.outputs[0])[2:]
    parts = []
    for place in itertools.product(*(range(k) for k in window.kernel)):
        starts = (0, 0, *(p * d for p, d in zip(place, window.dilations, strict=True)))
        attrs = SliceAttrs(starts=starts, steps=(1, 1, *window.strides))
        part = b.emit(Op.SLICE, [x], attrs, shape=(n, c, *out))
        parts.append(b.view(part, (n, c, 1, math.prod(out))))
    shape = (n, c, len(parts), math.prod(out))
    joined = parts[0]
    if len(parts) > 1:
        joined = b.emit(Op.CONCAT, parts, ConcatAttrs(axis=2), shape=shape)
    flat = b.view(joined, (n, c * len(parts), shape[3]))
    return b.permute(flat, (0, 2, 1))


def _finish(b: Builder, patches: str, weights: str) -> None:
    channels = b.shape(weights)[0]
    matrix = b.view(weights, (channels, math.prod(b.shape(weights)[1:])))
    bias = optional(b, 2)
    inputs = [patches, matrix, *([bias] if bias else [])]
    shape = (*b.shape(patches)[:2], channels)
    y = b.emit(Op.GEMM, inputs, GemmAttrs(trans_b=True), shape=shape)
    b.finish(Op.VIEW, [b.permute(y, (0, 2, 1))])


ROWS: dict[str, Canon] = {"Conv": conv}
