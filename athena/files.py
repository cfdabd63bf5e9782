"""Read files of unknown origin safely and write files that are either whole or absent.

In:  paths and bytes. Out: bytes, or files and folders that appear in one step.
Raises: OutputError when writing fails; when reading fails, the error class that the caller names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from athena.errors import AthenaError, OutputError, printable

_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)
_SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\x7fELF", "an ELF binary"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
)


def describe_content(head: bytes) -> str:
    """What a file is by its first bytes, or "" when they tell nothing."""
    for start, kind in _SIGNATURES:
        if head.startswith(start):
            return kind
    text = head.lstrip()[:64].lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a download that failed?)"
    return "" if head else "an empty file"


@contextlib.contextmanager
def open_regular(
    path: str | Path, *, limit_bytes: int, error: type[AthenaError]
) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file of at most `limit_bytes`; gives the open file and its size in bytes.

    What is opened is what is checked: the checks look at the descriptor, and a FIFO never blocks.
    Raises: `error` for a missing file, one that is no regular file, is too large or not readable.
    """
    where = printable(path)
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except (OSError, ValueError) as cause:
        raise error(f"cannot be opened: {_reason(cause)}", where=where) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit_bytes:
        os.close(descriptor)
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "")
        if kind:
            raise error(f"{kind}, not a regular file", where=where)
        raise error(f"{status.st_size} bytes; at most {limit_bytes} are read", where=where)
    with os.fdopen(descriptor, "rb") as file:
        yield file, status.st_size


def read_regular(path: str | Path, *, limit_bytes: int, error: type[AthenaError]) -> bytes:
    """The whole of a regular file of at most `limit_bytes`.

    Raises: `error` as `open_regular`, and when the file changes its size while it is read.
    """
    with open_regular(path, limit_bytes=limit_bytes, error=error) as (file, size):
        try:
            data = file.read(limit_bytes + 1)
        except OSError as cause:
            raise error(f"cannot be read: {_reason(cause)}", where=printable(path)) from None
    if len(data) != size:
        raise error(f"{len(data)} bytes read of {size}", where=printable(path))
    return data


def check_output(path: str | Path, *inputs: str | Path | None) -> None:
    """Refuse an output path that cannot be written, before the long work.

    Raises: OutputError when the parent is missing, no folder or not writable, the path is a
    folder, or it is the same file as one of `inputs`.
    """
    for source in inputs:
        with contextlib.suppress(OSError, ValueError):
            if source is not None and os.path.samefile(path, source):
                raise OutputError(
                    "the output would replace an input of the command",
                    where=printable(path),
                    hint="choose another name",
                )
    try:
        if "\0" in str(path):
            raise ValueError("the path holds a null character")
        target = Path(path)
        parent, is_folder = target.parent, target.is_dir()
        if not parent.is_dir():
            raise OutputError("the folder does not exist", where=printable(parent))
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OutputError("no permission to write in the folder", where=printable(parent))
    except (OSError, ValueError) as cause:
        raise OutputError(_reason(cause), where=printable(path)) from None
    if is_folder:
        raise OutputError("a folder has this name", where=printable(path))
    _refuse_special(target)


def _refuse_special(target: Path) -> None:
    """A rename onto a device or a pipe would replace it: /dev/null would become a file."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(target).st_mode
        kind = next((name for test, name in _KINDS if test(mode)), "")
        if kind:
            raise OutputError(
                f"{kind} has this name",
                where=printable(target),
                hint="give the name of a regular file; it appears whole or not at all",
            )


def write_file(path: str | Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """Write bytes so that `path` holds the old or the new content, never a part.

    A temporary file in the same folder is written, flushed to disk and renamed.
    Raises: OutputError; nothing is left behind.
    """
    chunks = (data,) if isinstance(data, bytes) else data
    temporary = ""
    try:
        target = Path(os.path.abspath(path))
        _refuse_special(target)
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException as cause:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(cause, OSError | ValueError):
            raise OutputError(f"cannot write: {_reason(cause)}", where=printable(path)) from None
        raise


@contextlib.contextmanager
def write_folder(path: str | Path, *, marker: str) -> Iterator[Path]:
    """Fill a temporary folder, which gets its name `path` when the `with` body ends without error.

    An existing `path` is replaced only if it is empty or holds the file `marker`, by which our own
    folders are known; a foreign folder is never touched.
    Raises: OutputError; after an error `path` is as it was.
    """
    where = printable(path)
    try:
        target = Path(os.path.abspath(path))
        _check_replaceable(target, marker)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=target.parent))
    except (OSError, ValueError) as cause:
        raise OutputError(f"cannot write: {_reason(cause)}", where=where) from None
    try:
        yield temporary
        _publish(temporary, target, marker)
    except OSError as cause:
        raise OutputError(f"cannot write: {_reason(cause)}", where=where) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_replaceable(target: Path, marker: str) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or target.is_symlink():
        raise OutputError("a file has this name", where=printable(target), hint="choose another")
    if not (target / marker).is_file() and any(target.iterdir()):
        raise OutputError(
            f"the folder exists and holds no {marker}: it is not one of ours",
            where=printable(target),
            hint="choose another name or empty the folder",
        )


def _publish(temporary: Path, target: Path, marker: str) -> None:
    """Sync all files, move an older folder aside, rename, then remove the older one."""
    for folder, _, names in os.walk(temporary):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(folder))
    temporary.chmod(0o777 & ~_umask())
    _check_replaceable(target, marker)
    if not os.path.lexists(target):
        os.rename(temporary, target)
        _sync_folder(target.parent)
        return
    aside = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent))
    os.rename(target, aside / target.name)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(aside / target.name, target)
        aside.rmdir()
        raise
    _sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable where the system can sync folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _reason(cause: Exception) -> str:
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return printable(text)
