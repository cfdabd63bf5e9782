"""Turn ONNX tensors into arrays: types, sizes, and where the data lie.

In:  a TensorProto (untrusted) and the model's external files.   Out: `Tensor` (dtype, shape, array
or none).
Raises: ModelError, ShapeError (dimensions, data length), UnsupportedOpError (an element type the
project has not), ExternalDataError.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from athena.errors import ModelError, ShapeError, UnsupportedOpError, printable
from compiler.frontend.files import ExternalFiles
from compiler.graph.types import Array, DType
from compiler.ops.operands import MAX_RANK, MAX_TENSOR_ELEMS

DTYPES: dict[int, DType] = {
    TensorProto.FLOAT: DType.F32,
    TensorProto.FLOAT16: DType.F16,
    TensorProto.BFLOAT16: DType.BF16,
    TensorProto.DOUBLE: DType.F64,
    TensorProto.INT8: DType.I8,
    TensorProto.UINT8: DType.U8,
    TensorProto.INT16: DType.I16,
    TensorProto.UINT16: DType.U16,
    TensorProto.INT32: DType.I32,
    TensorProto.UINT32: DType.U32,
    TensorProto.INT64: DType.I64,
    TensorProto.UINT64: DType.U64,
    TensorProto.BOOL: DType.BOOL,
}
"""ONNX element types that are values of a graph."""

NIBBLES: dict[int, DType] = {21: DType.U8, 22: DType.I8}
"""uint4 and int4: unpacked to one byte each."""

CODES: dict[DType, int] = {dtype: code for code, dtype in DTYPES.items()}
"""ONNX number of each element type."""

_WIDE_FIELDS = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.UINT32: "uint64_data",
}
_DATA_FIELDS = (
    "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A constant of the file. `array` is None where the model is weightless; `nibbles`: unpacked
    from 4 bits.
    """

    dtype: DType
    shape: tuple[int, ...]
    array: Array | None
    nibbles: bool = False


def type_name(code: int) -> str:
    """ONNX's name of an element type."""
    try:
        return str(TensorProto.DataType.Name(code)).lower()
    except ValueError:
        return f"type {code}"


def dtype_of(code: int, where: str) -> DType:
    """Element type of a value; UnsupportedOpError for strings, complex numbers, 8-bit floats."""
    found = DTYPES.get(code)
    if found is None:
        raise UnsupportedOpError(
            f"element type {type_name(code)} is not supported",
            where=where,
            hint=f"supported are {', '.join(type_name(known) for known in DTYPES)}",
        )
    return found


def checked_shape(dims: Any, where: str) -> tuple[int, ...]:
    """Dimensions of a tensor: none negative, product below the cap."""
    shape = tuple(int(dim) for dim in dims)
    if any(dim < 0 for dim in shape):
        raise ShapeError(f"shape {list(shape)} has a negative dimension", where=where)
    if len(shape) > MAX_RANK:
        raise ShapeError(f"{len(shape)} dimensions, at most {MAX_RANK} are allowed", where=where)
    if math.prod(shape) > MAX_TENSOR_ELEMS:
        raise ShapeError(f"shape {list(shape)} has more than 2^48 elements", where=where)
    return shape


def read_tensor(
    proto: Any, files: ExternalFiles, where: str, *, weightless: bool = False
) -> Tensor:
    """Type, shape and data of a TensorProto. Data are not copied where they lie in raw bytes or an
    external file.

    `weightless` admits a tensor without any data.
    """
    code = proto.data_type
    nibbles = code in NIBBLES
    dtype = NIBBLES[code] if nibbles else dtype_of(code, where)
    shape = checked_shape(proto.dims, where)
    if proto.HasField("segment"):
        raise UnsupportedOpError("a tensor in segments is not supported", where=where)
    count = math.prod(shape)
    nbytes = (count + 1) // 2 if nibbles else count * dtype.nbytes
    raw = _raw(proto, files, nbytes, where)
    if raw is None and weightless and not any(len(getattr(proto, f)) for f in _DATA_FIELDS):
        return Tensor(dtype=dtype, shape=shape, array=None, nibbles=nibbles)
    if nibbles:
        packed = _packed_bytes(proto, nbytes, where) if raw is None else raw
        flat: Array = _unpack(packed, count, signed=dtype is DType.I8)
    elif raw is None:
        flat = _typed(proto, dtype, count, where)
    else:
        flat = raw != 0 if dtype is DType.BOOL else _viewed(raw, dtype)
    return Tensor(dtype=dtype, shape=shape, array=flat.reshape(shape), nibbles=nibbles)


def _viewed(raw: Array, dtype: DType) -> Array:
    return raw.view(dtype.numpy) if raw.size else np.empty(0, dtype=dtype.numpy)


def _raw(proto: Any, files: ExternalFiles, nbytes: int, where: str) -> Array | None:
    """The tensor's bytes from an external file or its raw field; None where it uses a typed field
    (or none).
    """
    if proto.data_location == TensorProto.EXTERNAL:
        return _external(proto, files, nbytes, where)
    if not proto.HasField("raw_data"):
        return None
    raw = proto.raw_data
    if len(raw) != nbytes:
        raise ShapeError(
            f"holds {len(raw)} bytes, its shape {list(proto.dims)} needs {nbytes}", where=where
        )
    return np.frombuffer(raw, dtype=np.uint8)


def _external(proto: Any, files: ExternalFiles, nbytes: int, where: str) -> Array:
    entries = {entry.key: entry.value for entry in proto.external_data}
    name = f"tensor '{printable(proto.name)}'"
    numbers = {}
    for key in ("offset", "length"):
        text = entries.get(key)
        if text is not None and not (text.isascii() and text.isdigit() and len(text) < 20):
            raise ModelError(f"external {key} '{printable(text)}' is not a number", where=where)
        numbers[key] = None if text is None else int(text)
    return files.read(
        entries.get("location", ""), numbers["offset"] or 0, numbers["length"], nbytes, name
    )


def _unpack(packed: Array, count: int, *, signed: bool) -> Array:
    """4-bit numbers, low half first, one per byte."""
    both = np.empty(packed.size * 2, dtype=np.uint8)
    both[::2], both[1::2] = packed & 15, packed >> 4
    flat = both[:count]
    return ((flat ^ 8).astype(np.int8) - np.int8(8)) if signed else flat


def _packed_bytes(proto: Any, nbytes: int, where: str) -> Array:
    values = np.array(proto.int32_data, dtype=np.int64)
    _require_count(values.size, nbytes, where)
    return (values & 255).astype(np.uint8)


def _require_count(met: int, needed: int, where: str) -> None:
    if met != needed:
        raise ShapeError(f"holds {met} numbers, its shape needs {needed}", where=where)


def _typed(proto: Any, dtype: DType, count: int, where: str) -> Array:
    field = _WIDE_FIELDS.get(proto.data_type, "int32_data")
    values = np.array(getattr(proto, field))
    _require_count(values.size, count, where)
    if count == 0:
        return np.empty(0, dtype=dtype.numpy)
    if dtype in (DType.F16, DType.BF16):
        return (values.astype(np.int64) & 0xFFFF).astype(np.uint16).view(dtype.numpy)
    return values.astype(dtype.numpy)
