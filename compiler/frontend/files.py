"""Read the files of a model: the ONNX file itself and, confined to its folder, the files it names.

In:  a path given by the user; names and ranges given by the model (untrusted).   Out: bytes and
read-only memory maps.
Raises: ModelFileError (missing, not a regular file, something else than ONNX), ExternalDataError
(outside the folder, missing, wrong length).   This is the only module that opens a file whose name
comes from a model.
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

import numpy as np

from athena.errors import ExternalDataError, ModelFileError, printable
from compiler.graph.types import Array

MAX_MODEL_BYTES = (1 << 31) - 1
"""Protobuf's own limit; larger models keep their weights in external data."""

_MAPPED_BYTES = 1 << 26

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or a packed folder)"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"7z\xbc\xaf", "a 7-zip archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"GGUF", "a GGUF file"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"%PDF", "a PDF document"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "an onnxruntime ORT-format model"),
    (8, b"{", "a safetensors file"),
)
_HINTS = {
    "a Git LFS pointer, not the file itself": "run `git lfs pull` in the model's repository",
    "an HTML page": "download the file itself, not the page that shows it",
    "a zip archive (a PyTorch checkpoint or a packed folder)": "unpack it, or export it to ONNX",
}


def read_model_bytes(path: Path) -> bytes | memoryview:
    """The bytes of a model file, known to be a regular file of sensible kind and size.

    Large files are mapped, not copied.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as exc:
        raise _unreadable(path, exc) from exc
    try:
        return _read_descriptor(descriptor, path)
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    finally:
        os.close(descriptor)


def _read_descriptor(descriptor: int, path: Path) -> bytes | memoryview:
    status = os.fstat(descriptor)
    _require_regular(status.st_mode, path)
    if status.st_size == 0:
        raise ModelFileError("the file is empty", where=printable(path))
    kind = _kind_of(os.pread(descriptor, 512, 0))
    if kind:
        hint = _HINTS.get(kind, "give a model in ONNX format")
        raise ModelFileError(f"the file is {kind}", where=printable(path), hint=hint)
    if status.st_size > MAX_MODEL_BYTES:
        raise ModelFileError(
            f"the file has {status.st_size} bytes, an ONNX file at most {MAX_MODEL_BYTES}",
            where=printable(path),
            hint="save the model with external data",
        )
    if status.st_size >= _MAPPED_BYTES:
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read(_MAPPED_BYTES)


def _unreadable(path: Path, exc: Exception) -> ModelFileError:
    if isinstance(exc, FileNotFoundError):
        return ModelFileError(
            "there is no such file", where=printable(path), hint="check the spelling of the path"
        )
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return ModelFileError(f"cannot read the file: {printable(reason)}", where=printable(path))


def _require_regular(mode: int, path: Path) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for test, name in kinds if test(mode)), "a device")
    hint = "give the .onnx file in it" if kind == "a folder" else "give a regular file"
    raise ModelFileError(f"the path is {kind}, not a file", where=printable(path), hint=hint)


def _kind_of(head: bytes) -> str:
    """What a file that is certainly not ONNX is; empty if it may be ONNX."""
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        return "an HTML page"
    if text.startswith((b"{", b"[")) and text[:200].isascii():
        return "a JSON text"
    return ""


def wire_fault(data: bytes | memoryview) -> str:
    """Why the top level of a protobuf message cannot be read ("truncated …"), or "" where its
    fields add up.
    """
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        if key < 0 or key >> 3 == 0:
            return f"no protobuf field begins at byte {place}"
        wire = key & 7
        if wire == 0:
            value, place = _varint(data, place)
            length = -1 if value < 0 else 0
        elif wire == 2:
            length, place = _varint(data, place)
        else:
            length = {1: 8, 5: 4}.get(wire, -1)
        if length < 0:
            return f"no protobuf field begins at byte {place}"
        if place + length > len(data):
            missing = place + length - len(data)
            return f"truncated: {missing} bytes are missing at the end"
        place += length
    return ""


def _varint(data: bytes | memoryview, place: int) -> tuple[int, int]:
    """Value and next place; value −1 where none can be read."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            return -1, place
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    return -1, place


class ExternalFiles:
    """Opens the files that a model's tensors name; each is mapped once, read-only."""

    def __init__(self, model_path: Path) -> None:
        self._model = printable(model_path)
        self._folder = model_path.parent
        try:
            roots = {self._folder.resolve(strict=True), model_path.resolve(strict=True).parent}
        except OSError as exc:
            raise _unreadable(model_path, exc) from exc
        self._roots = tuple(sorted(roots))
        self._maps: dict[str, mmap.mmap | bytes] = {}

    @property
    def total_bytes(self) -> int:
        """Size of all files opened so far."""
        return sum(len(data) for data in self._maps.values())

    def read(self, location: str, offset: int, length: int | None, nbytes: int, what: str) -> Array:
        """The `nbytes` bytes (uint8) of a tensor stored at `offset` of the file `location`;
        `length` is what the model claims.
        """
        data = self._open(location, what)
        if length is not None and length != nbytes:
            raise self._error(f"length {length} is not the {nbytes} bytes its shape needs", what)
        if offset < 0 or offset + nbytes > len(data):
            raise self._error(
                f"bytes {offset} … {offset + nbytes} are outside '{printable(location)}', "
                f"which has {len(data)}",
                what,
            )
        return np.frombuffer(data, dtype=np.uint8, count=nbytes, offset=offset)

    def size(self, location: str, what: str) -> int:
        """Bytes of a file that the model names."""
        return len(self._open(location, what))

    def _error(self, message: str, what: str, hint: str = "") -> ExternalDataError:
        return ExternalDataError(message, where=f"{self._model}: {what}", hint=hint)

    def _open(self, location: str, what: str) -> mmap.mmap | bytes:
        if location not in self._maps:
            self._maps[location] = self._map(self._confined(location, what), location, what)
        return self._maps[location]

    def _confined(self, location: str, what: str) -> Path:
        """Path of a relative location without any way out of the model's folder by name."""
        shown = printable(location)
        parts = location.split("/")
        if (
            not location
            or location.startswith("/")
            or ".." in parts
            or any(char in location for char in "\\\0:*")
        ):
            raise self._error(
                f"external data '{shown}' is not a plain path inside the model's folder",
                what,
                "external data must lie beside the model, named by a relative path",
            )
        return self._folder / location

    def _map(self, path: Path, location: str, what: str) -> mmap.mmap | bytes:
        shown = printable(location)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        except (OSError, ValueError) as exc:
            raise self._error(
                f"external data '{shown}' cannot be opened: {_reason(exc)}",
                what,
                "put the file beside the model",
            ) from exc
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self._error(f"external data '{shown}' is not a regular file", what)
            if not self._inside(path, status):
                raise self._error(f"external data '{shown}' leads outside the model's folder", what)
            if status.st_size == 0:
                return b""
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except OSError as exc:
            raise self._error(f"external data '{shown}' cannot be read", what) from exc
        finally:
            os.close(descriptor)

    def _inside(self, path: Path, opened: os.stat_result) -> bool:
        """Whether the opened file is the one that `path` resolves to, below one of the roots."""
        real = path.resolve(strict=True)
        found = real.stat()
        same = (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)
        return same and any(real.is_relative_to(root) for root in self._roots)


def _reason(exc: Exception) -> str:
    if isinstance(exc, FileNotFoundError):
        return "there is no such file"
    return printable(exc.strerror if isinstance(exc, OSError) and exc.strerror else exc)
