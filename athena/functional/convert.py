"""Arrays between ONNX types and the types that the machine stores.

In:  numpy arrays. Out: arrays of the storage type (bf16 as uint16 bit patterns) and back.
Raises: InputError for values that the storage type cannot hold, and for types that cannot be
converted.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from athena.errors import InputError, printable
from athena.isa.fields import Dt

Array = NDArray[Any]

STORAGE: dict[Dt, np.dtype[Any]] = {
    Dt.F32: np.dtype("<f4"),
    Dt.BF16: np.dtype("<u2"),
    Dt.F16: np.dtype("<f2"),
    Dt.I8: np.dtype("i1"),
    Dt.U8: np.dtype("u1"),
    Dt.I32: np.dtype("<i4"),
}
_INTEGERS = (Dt.I8, Dt.U8, Dt.I32)


def source_dtype(name: str) -> np.dtype[Any]:
    """The numpy type with an ONNX type's name; bfloat16 comes from ml_dtypes."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def bf16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Nearest bf16, half to even, as bit patterns; NaN becomes 0x7FC0."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    return (
        np.where(np.isnan(values), np.uint32(0x7FC00000), rounded).__rshift__(16).astype(np.uint16)
    )


def bf16_values(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Bf16 bit patterns as float32, exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_storage(values: Array, dt: Dt, where: str) -> Array:
    """Values as the machine stores them.

    Floats rounded to nearest even, integers checked against the range.
    """
    if values.dtype.kind not in "biufV" or (
        values.dtype.kind == "V" and values.dtype != ml_dtypes.bfloat16
    ):
        raise InputError(f"dtype {printable(values.dtype)} cannot be converted", where=where)
    if dt in _INTEGERS:
        if values.dtype.kind not in "biu":
            raise InputError(
                f"dtype {values.dtype} where integers are expected",
                where=where,
                hint="convert it before the call",
            )
        target = STORAGE[dt]
        limits = np.iinfo(target)
        if values.size and (int(values.min()) < limits.min or int(values.max()) > limits.max):
            met = f"{int(values.min())} … {int(values.max())}"
            raise InputError(
                f"values {met}; the chip holds {limits.min} … {limits.max}", where=where
            )
        return values.astype(target)
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, np.float32).reshape(values.shape)
        return bf16_bits(single) if dt is Dt.BF16 else single.astype(STORAGE[dt])


def from_storage(stored: Array, dt: Dt, name: str) -> Array:
    """Stored values as the ONNX type `name`."""
    values: Array = bf16_values(stored) if dt is Dt.BF16 else stored
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(source_dtype(name))
