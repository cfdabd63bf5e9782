"""Seeded inputs for a model: what its inputs' names say they are, normal numbers otherwise.

In:  `InputSpec`s and a seed. Out: {name: array}; the same for each input whatever the others are.
Raises: InputError for a type that cannot be made, or an impossible bound.

Token identifiers and other bounded integers are uniform in [0, upper); masks are one; positions
count up and end where the longest mask ends; everything else is normal with deviation 1 (caches
included). Integers without a bound are 0 or 1, which every gather and every flag accepts;
bytes (int8, uint8) without a bound use their whole range.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from athena.errors import InputError, printable

_FLOATS = ("float16", "float32", "float64", "bfloat16")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
UNBOUNDED_UPPER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input: its numpy type (or bfloat16), shape in elements; integers stay below `upper`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    upper: int | None = None


def make_inputs(specs: Sequence[InputSpec], seed: int) -> dict[str, NDArray[Any]]:
    """Arrays for all `specs`, a function of seed, name, type, shape and bound alone."""
    return {spec.name: _make(spec, specs, seed) for spec in specs}


def _make(spec: InputSpec, specs: Sequence[InputSpec], seed: int) -> NDArray[Any]:
    if spec.dtype not in (*_FLOATS, *_INTEGERS, "bool"):
        raise InputError(
            f"no values can be made for type {printable(spec.dtype)}",
            where=f"input '{printable(spec.name)}'",
            hint="give the inputs in an .npz file",
        )
    dtype = np.dtype(ml_dtypes.bfloat16 if spec.dtype == "bfloat16" else spec.dtype)
    name = spec.name.lower()
    if "mask" in name:
        return np.ones(spec.shape, dtype)
    if "position_ids" in name and spec.dtype in _INTEGERS:
        return _positions(spec, specs).astype(dtype)
    digest = hashlib.sha256(f"{seed}:{spec.name}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    if spec.dtype in _FLOATS:
        return rng.standard_normal(spec.shape).astype(dtype)
    if spec.dtype == "bool":
        return rng.integers(0, 2, spec.shape).astype(bool)
    low, high = _bounds(spec, dtype)
    return rng.integers(low, high, spec.shape, dtype=np.int64).astype(dtype)


def _bounds(spec: InputSpec, dtype: np.dtype[Any]) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    if spec.upper is not None:
        if spec.upper < 1:
            raise InputError(
                f"upper bound {spec.upper} leaves no value; at least 1 is needed",
                where=f"input '{printable(spec.name)}'",
            )
        return 0, min(spec.upper, int(limits.max) + 1, 1 << 62)
    if dtype.itemsize == 1:
        return int(limits.min), int(limits.max) + 1
    return 0, UNBOUNDED_UPPER


def _positions(spec: InputSpec, specs: Sequence[InputSpec]) -> NDArray[np.int64]:
    """Positions along the last axis; with a cache the mask is longer, and they start after it."""
    count = spec.shape[-1] if spec.shape else 1
    masked = [s.shape[-1] for s in specs if "attention_mask" in s.name.lower() and s.shape]
    first = max([0, *(length - count for length in masked)])
    return np.broadcast_to(np.arange(first, first + count), spec.shape)
