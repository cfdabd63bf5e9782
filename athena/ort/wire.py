"""Messages between parent and child: a length, a JSON header, raw little-endian arrays. No pickle.

In:  a header (JSON values) and named arrays; `readinto` functions that fill a buffer completely.
Out: buffers to write; headers and arrays read back.   Raises: WireError for anything malformed.

Layout: magic `ATHW`, u32 header length, header in UTF-8 whose key `arrays` lists
[name, dtype, shape] for each array, then the arrays' bytes in C order without padding.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

MAGIC = b"ATHW"
HEADER_LIMIT_BYTES = 64 << 20
RANK_LIMIT = 64
OUT_OF_MEMORY = 3  # exit code of a child whose memory limit the request alone exceeds

_NUMPY_NAMES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
DTYPES: Mapping[str, np.dtype[Any]] = {
    **{name: np.dtype(name).newbyteorder("<") for name in _NUMPY_NAMES},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}

ReadInto = Callable[[memoryview], None]
Array = NDArray[Any]


class WireError(Exception):
    """A message that breaks the format, or an array of a type that the format does not carry."""


def pack(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> list[memoryview]:
    """The buffers of one message, in the order in which they are written."""
    specs, blobs = [], []
    for name, array in arrays.items():
        dtype = DTYPES.get(array.dtype.name)
        if dtype is None:
            raise WireError(f"'{name}' has type {array.dtype}, which is not carried")
        specs.append([name, array.dtype.name, list(array.shape)])
        flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1).view(np.uint8)
        blobs.append(flat.data)
    text = json.dumps({**header, "arrays": specs}).encode()
    if len(text) > HEADER_LIMIT_BYTES:
        raise WireError(f"a header of {len(text)} bytes; at most {HEADER_LIMIT_BYTES}")
    return [memoryview(MAGIC + struct.pack("<I", len(text)) + text), *(b for b in blobs if len(b))]


def read_header(readinto: ReadInto) -> dict[str, Any]:
    """Read and check one header; its arrays follow in the stream."""
    start = bytearray(8)
    readinto(memoryview(start))
    (length,) = struct.unpack("<I", start[4:])
    if start[:4] != MAGIC or length > HEADER_LIMIT_BYTES:
        raise WireError("not a message")
    text = bytearray(length)
    readinto(memoryview(text))
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise WireError("the header is not JSON") from None
    if not isinstance(header, dict) or not isinstance(header.get("arrays"), list):
        raise WireError("the header lists no arrays")
    for spec in header["arrays"]:
        _check_spec(spec)
    return header


def payload_bytes(header: Mapping[str, Any]) -> int:
    """Bytes of all arrays that follow a checked header."""
    return sum(DTYPES[dtype].itemsize * math.prod(shape) for _, dtype, shape in header["arrays"])


def read_arrays(header: Mapping[str, Any], readinto: ReadInto) -> dict[str, Array]:
    """Read the arrays that a checked header lists."""
    arrays: dict[str, Array] = {}
    for name, dtype, shape in header["arrays"]:
        flat = np.empty(math.prod(shape), DTYPES[dtype])
        if flat.nbytes:
            readinto(flat.view(np.uint8).data)
        arrays[name] = flat.reshape(shape)
    return arrays


def _check_spec(spec: object) -> None:
    if not isinstance(spec, list) or len(spec) != 3:
        raise WireError("an array is described by name, dtype and shape")
    name, dtype, shape = spec
    if not isinstance(name, str) or dtype not in DTYPES:
        raise WireError("an array has no name or an unknown dtype")
    if not isinstance(shape, list) or len(shape) > RANK_LIMIT:
        raise WireError("an array has no shape")
    if any(type(dim) is not int or not 0 <= dim < 1 << 48 for dim in shape):
        raise WireError("an array has a dimension out of range")
