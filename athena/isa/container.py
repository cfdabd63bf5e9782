"""The `.athena` program file: `write_program`, `read_program`, `program_hash`.

In:  a Program, or a file of unknown origin. Out: a file that is whole or absent, or a Program.
Raises: ProgramError for a malformed file; OutputError when writing fails.

Layout: 8 bytes of magic; u64 length of the header; the header, canonical JSON (sorted keys, ASCII,
no spaces); zeros up to a multiple of 64; then little-endian arrays, each at a multiple of 64 with
zeros between: for every stream its words and node indices, for every host call its ONNX model, and
last the constants of each segment. Offsets in the header count from the first array. No pickle, no
compression: the file can be mapped. The hash of a program covers all but the constants, which have
their own; every array has its SHA-256 in the header, and so has the header itself (key `sha256`,
over the canonical form without that key).
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from athena.errors import ProgramError, printable
from athena.files import describe_content, open_regular, write_file
from athena.isa.fields import WORD_BYTES, WORD_DTYPE, Seg
from athena.isa.header import ADDRESS_LIMIT, KEYS, SCHEMA, Item, describe, restore
from athena.isa.program import Bytes, Program, Stream

MAGIC = b"ATHENA\r\n"
ALIGN = 64
HEADER_LIMIT_BYTES = 64 << 20
FILE_LIMIT_BYTES = 1 << 44
_PREFIX_BYTES = len(MAGIC) + 8
_ARRAY_KEYS = frozenset({"name", "offset", "bytes", "sha256"})


class _Block(NamedTuple):
    """One array of the file; `offset` counts from the first array."""

    name: str
    offset: int
    length: int
    sha256: str


def write_program(program: Program, path: str | Path) -> None:
    """Write `program` to `path` in one step.

    Raises: OutputError when the path cannot be written, ProgramError when the header is too large.
    """
    arrays, constants = _arrays(program), _constants(program)
    header = _header(program, arrays, constants)
    text = _canonical(header)
    if len(text) > HEADER_LIMIT_BYTES:
        raise ProgramError(
            f"the header has {len(text)} bytes; at most {HEADER_LIMIT_BYTES}",
            where=printable(program.name),
        )

    def chunks() -> Iterator[bytes | memoryview]:
        start = MAGIC + len(text).to_bytes(8, "little") + text
        yield start + bytes(-len(start) % ALIGN)
        for _, data in arrays + constants:
            yield data
            yield bytes(-len(data) % ALIGN)

    write_file(path, chunks())


def program_hash(program: Program) -> str:
    """SHA-256 (hex) over everything but the constants' bytes: equal for equal words and tables."""
    header = _header(program, _arrays(program), [])
    return hashlib.sha256(_canonical(header)).hexdigest()


def read_program(path: str | Path, *, check_constants: bool = True) -> Program:
    """The Program in a file; constants are read-only views of the mapped file.

    `check_constants` False leaves out the SHA-256 of the constants (not their sizes), which reads
    them all. The words themselves are judged by `athena.isa.check.check_program`.
    Raises: ProgramError naming the file and the header key.
    """
    where = printable(path)
    with open_regular(path, limit_bytes=FILE_LIMIT_BYTES, error=ProgramError) as (file, size):
        text = _header_text(file, size, where)
        header = _parse(text, where)
        start = _PREFIX_BYTES + len(text)
        start += -start % ALIGN
        blocks, constants = _layout(header, size - start, where)
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if any(data[_PREFIX_BYTES + len(text) : start]):
        raise ProgramError("the padding is not zero", where=where)
    held = [_block(data, start, block, where, check=True) for block in blocks]
    streams, models = _split(blocks, held, where)
    tables = restore(header, len(streams), models)
    for number, stream in enumerate(streams):
        _check_nodes(stream, len(tables["nodes"]), f"{where}: stream {number}")
    return Program(
        streams=streams,
        constants=_constant_views(data, start, constants, tables, check_constants, where),
        **tables,
    )


def _arrays(program: Program) -> list[tuple[str, memoryview]]:
    """What stands before the constants, in file order."""
    out = []
    for number, stream in enumerate(program.streams):
        words = np.ascontiguousarray(stream.words, WORD_DTYPE).view(np.uint8).reshape(-1)
        nodes = np.ascontiguousarray(stream.nodes, "<i4").view(np.uint8)
        out += [(f"words.{number}", words.data), (f"nodes.{number}", nodes.data)]
    for number, call in enumerate(program.host_calls):
        out.append((f"host.{number}", memoryview(call.model)))
    return out


def _constants(program: Program) -> list[tuple[str, memoryview]]:
    held = sorted(program.constants.items())
    return [(seg.name, np.ascontiguousarray(data, np.uint8).reshape(-1).data) for seg, data in held]


def _header(
    program: Program,
    arrays: list[tuple[str, memoryview]],
    constants: list[tuple[str, memoryview]],
) -> dict[str, Any]:
    offset, lists = 0, []
    for group in (arrays, constants):
        entries = []
        for name, data in group:
            digest = hashlib.sha256(data).hexdigest()
            entries.append({"name": name, "offset": offset, "bytes": len(data), "sha256": digest})
            offset += len(data) + -len(data) % ALIGN
        lists.append(entries)
    header = {
        "schema": SCHEMA,
        "arrays": lists[0],
        "constants": lists[1],
        **describe(program),
    }
    return {**header, "sha256": hashlib.sha256(_canonical(header)).hexdigest()}


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _header_text(file: BinaryIO, size: int, where: str) -> bytes:
    prefix = file.read(_PREFIX_BYTES)
    if prefix[: len(MAGIC)] != MAGIC:
        kind = describe_content(prefix)
        raise ProgramError(
            f"not a program file{': ' + kind if kind else ''}",
            where=where,
            hint="a program file comes from `athena compile MODEL.onnx -o PROGRAM.athena`",
        )
    length = int.from_bytes(prefix[len(MAGIC) :], "little")
    if len(prefix) < _PREFIX_BYTES or length > min(HEADER_LIMIT_BYTES, size - _PREFIX_BYTES):
        raise ProgramError("the header's length is wrong or the file is cut off", where=where)
    return file.read(length)


def _parse(text: bytes, where: str) -> dict[str, Item]:
    def refuse(token: str) -> None:
        raise ValueError(f"{token[:40]} is no whole number")

    try:
        value = json.loads(text, parse_float=refuse, parse_constant=refuse)
        same = isinstance(value, dict) and _canonical(value) == text
    except (ValueError, RecursionError, UnicodeError) as error:
        raise ProgramError(f"the header is no JSON: {printable(error)}", where=where) from None
    if not same:
        raise ProgramError("the header is not in canonical form", where=where)
    if value.get("schema") != SCHEMA:
        met = printable(repr(value.get("schema"))[:40])
        raise ProgramError(
            f"schema {met}; this version reads schema {SCHEMA}",
            where=where,
            hint="compile the model again",
        )
    digest = value.pop("sha256", None)
    if digest != hashlib.sha256(_canonical(value)).hexdigest():
        raise ProgramError("the header does not fit its checksum", where=where)
    return Item(value, f"{where}: header").members(KEYS | {"schema", "arrays", "constants"})


def _layout(
    header: dict[str, Item], room: int, where: str
) -> tuple[list[_Block], list[tuple[Seg, _Block]]]:
    """The arrays and constants, whose places must be the ones that `write_program` gives them."""
    segments = {seg.name: seg for seg in Seg if seg < Seg.L1}
    blocks, constants, offset = [], [], 0
    for key in ("arrays", "constants"):
        for item in header[key].items():
            got = item.members(_ARRAY_KEYS)
            length = got["bytes"].integer(0, ADDRESS_LIMIT)
            if got["offset"].integer(0, ADDRESS_LIMIT) != offset:
                raise got["offset"].fail(f"the offset should be {offset}")
            block = _Block(got["name"].text(64), offset, length, got["sha256"].text(64))
            if key == "arrays":
                blocks.append(block)
            else:
                constants.append((got["name"].one_of(segments), block))
            offset += length + -length % ALIGN
    if offset != room:
        raise ProgramError(f"{room} bytes of arrays; the header names {offset}", where=where)
    if [seg for seg, _ in constants] != sorted({seg for seg, _ in constants}):
        raise ProgramError("constants are out of order", where=where)
    return blocks, constants


def _block(data: memoryview, start: int, block: _Block, where: str, *, check: bool) -> memoryview:
    at = start + block.offset
    body = data[at : at + block.length]
    if any(data[at + block.length : at + block.length + -block.length % ALIGN]):
        raise ProgramError("the padding is not zero", where=f"{where}: {block.name}")
    if check and hashlib.sha256(body).hexdigest() != block.sha256:
        raise ProgramError(
            "the bytes do not fit their checksum", where=f"{where}: {printable(block.name)}"
        )
    return body


def _split(
    blocks: list[_Block], held: list[memoryview], where: str
) -> tuple[tuple[Stream, ...], list[bytes]]:
    names = [block.name for block in blocks]
    count = sum(name.startswith("words.") for name in names)
    wanted = [f"{kind}.{i}" for i in range(count) for kind in ("words", "nodes")]
    wanted += [f"host.{i}" for i in range(len(names) - 2 * count)]
    if names != wanted:
        raise ProgramError("the arrays are not words, nodes and host models", where=where)
    streams = []
    for words, nodes in zip(held[0 : 2 * count : 2], held[1 : 2 * count : 2], strict=True):
        if len(words) % WORD_BYTES or len(words) // WORD_BYTES * 4 != len(nodes):
            raise ProgramError("a stream's words and node indices differ in number", where=where)
        streams.append(
            Stream(
                words=np.frombuffer(bytes(words), WORD_DTYPE),
                nodes=np.frombuffer(bytes(nodes), "<i4"),
            )
        )
    return tuple(streams), [bytes(model) for model in held[2 * count :]]


def _check_nodes(stream: Stream, nodes: int, where: str) -> None:
    if len(stream.nodes) and not (stream.nodes.min() >= -1 and stream.nodes.max() < nodes):
        raise ProgramError(f"a node index is outside -1 … {nodes - 1}", where=where)


def _constant_views(  # noqa: PLR0913 - the file's parts
    data: memoryview,
    start: int,
    constants: list[tuple[Seg, _Block]],
    tables: dict[str, Any],
    check: bool,  # noqa: FBT001
    where: str,
) -> dict[Seg, Bytes]:
    out = {}
    for seg, block in constants:
        sizes = tables["segment_bytes"]
        if block.length > (sizes[seg] if seg < len(sizes) else 0):
            raise ProgramError("constants are longer than their segment", where=where)
        body = _block(data, start, block, where, check=check)
        out[seg] = np.frombuffer(body, np.uint8)
    return out
