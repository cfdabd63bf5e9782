"""Named arrays in `.npz` files: read from unknown origin, written whole or not at all.

In:  a path. Out: {name: array}, or a file.
Raises: InputError for anything that is not a plain archive of plain arrays within the limits;
        OutputError when writing fails.

Nothing is unpickled, and the sizes that headers claim are checked before anything is read.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from athena.errors import InputError, printable
from athena.files import describe_content, open_regular, write_file

Array = NDArray[Any]
FILE_LIMIT_BYTES = 8 << 30
TOTAL_LIMIT_BYTES = 8 << 30
MEMBER_LIMIT = 10_000
_KINDS = "biuf"
_FAULTS = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError,
           RuntimeError, UnicodeError, SyntaxError, RecursionError, OverflowError)  # fmt: skip


def read_npz(path: str | Path) -> dict[str, Array]:
    """All arrays of an `.npz` file by name (integers, floats, booleans).

    Raises: InputError.
    """
    where = printable(path)
    with open_regular(path, limit_bytes=FILE_LIMIT_BYTES, error=InputError) as (file, _):
        head = file.read(512)
        file.seek(0)
        if not head.startswith(b"PK"):
            kind = describe_content(head)
            raise InputError(
                f"not an .npz archive{': ' + kind if kind else ''}",
                where=where,
                hint="write one with numpy.savez(path, input_ids=...)",
            )
        try:
            return _members(file, where)
        except _FAULTS as cause:
            raise InputError(f"not a readable .npz: {printable(cause)}", where=where) from None


def _members(file: BinaryIO, where: str) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    total = 0
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > MEMBER_LIMIT:
            raise InputError(f"{len(entries)} arrays; at most {MEMBER_LIMIT}", where=where)
        for entry in entries:
            name = entry.filename
            at = f"{where}: {printable(name)}"
            if not name.endswith(".npy") or name[:-4] in arrays:
                raise InputError("a member that is no array, or appears twice", where=at)
            total += entry.file_size
            if total > TOTAL_LIMIT_BYTES:
                raise InputError(f"more than {TOTAL_LIMIT_BYTES} bytes of arrays", where=at)
            with archive.open(entry) as member:
                arrays[name[:-4]] = _array(member, entry.file_size, at)
    return arrays


def _array(member: Any, size_bytes: int, where: str) -> Array:
    """One `.npy`: header, then exactly the bytes that it announces."""
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"array format {version}; 1.0 and 2.0 are read", where=where)
    read = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        read = np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if dtype.hasobject or (dtype.kind not in _KINDS and dtype.str != "|V2"):
        raise InputError(f"elements of type {printable(dtype)} are not read", where=where)
    nbytes = math.prod(shape) * dtype.itemsize
    if any(n < 0 for n in shape):
        raise InputError(f"shape {shape} has a negative dimension", where=where)
    if nbytes > size_bytes:
        raise InputError(f"shape {shape} needs {nbytes} bytes, file has fewer", where=where)
    data = member.read(nbytes + 1)
    if len(data) != nbytes:
        raise InputError(f"{len(data)} bytes of values instead of {nbytes}", where=where)
    kind = np.dtype(ml_dtypes.bfloat16) if dtype.kind == "V" else dtype
    flat = np.frombuffer(data, kind)
    return flat.reshape(shape, order="F" if fortran else "C")


def write_npz(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name; bfloat16 is widened to float32, which numpy can read back.

    Raises: OutputError.
    """
    plain = {
        name: array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
        for name, array in arrays.items()
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in plain.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    write_file(path, buffer.getvalue())
