"""The assembler: `assemble`, `assemble_stream`, `disassemble` (text ↔ words, bit for bit).

In:  text. Out: a Program or Stream.   Raises: ProgramError naming line and column of the text.

A word is one line: its mnemonic and `name=value` for each field that is not 0, with the names of
`athena.isa.table`; fields that the word does not use keep their slot's name (`p7=3`), so that every
128 bytes have a text. `@12` is the index of the node that the word works for; `;` starts a comment.
Lines that start with a dot describe the program (JSON after the key); `.stream` starts the words of
the next stream, `.run` belongs to the `.section` before it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from athena.errors import ProgramError, printable
from athena.isa import asm_fields as text_of
from athena.isa.asm_fields import OPERAND_SLOTS
from athena.isa.asm_write import HEAD, LISTED, OPTIONAL, disassemble, disassemble_word, field_names
from athena.isa.fields import SEGMENTS, WORD_DTYPE, Op, Seg
from athena.isa.header import Item, restore
from athena.isa.program import Bytes, Program, Stream

__all__ = ["assemble", "assemble_stream", "disassemble", "disassemble_word"]

_TOKEN = re.compile(r";.*|[^\s;]+")
_SLOTS = {op: {name: slot for slot, name in field_names(op).items()} for op in Op}
_INDEXED = re.compile(r"(n|lim|sel|clip|p|f)([0-7])")
_COUNTS = {"n": 3, "lim": 3, "sel": 3, "clip": 3, "p": 8, "f": 2}


class _Token(NamedTuple):
    text: str
    line: int
    column: int

    def fail(self, message: object) -> ProgramError:
        return ProgramError(printable(message), where=f"line {self.line}, column {self.column}")


def assemble_stream(text: str) -> Stream:
    """The stream of a text that holds words only."""
    words = _Words()
    for number, line in enumerate(text.split("\n"), 1):
        words.add(_tokens(line, number))
    return words.stream()


def assemble(text: str, *, constants: Mapping[Seg, Bytes] | None = None) -> Program:
    """The program of a text; constants' bytes are given beside it."""
    reader = _ProgramText()
    for number, line in enumerate(text.split("\n"), 1):
        reader.add(line, number)
    return reader.program(constants or {})


def _tokens(line: str, number: int) -> list[_Token]:
    found = _TOKEN.finditer(line)
    return [_Token(m[0], number, m.start() + 1) for m in found if not m[0].startswith(";")]


class _Words:
    """The words of one stream, as they are read."""

    def __init__(self) -> None:
        self._words: list[np.void] = []
        self._nodes: list[int] = []

    def stream(self) -> Stream:
        words = np.array(self._words, WORD_DTYPE) if self._words else np.empty(0, WORD_DTYPE)
        return Stream(words=words, nodes=np.array(self._nodes, np.int32))

    def add(self, tokens: list[_Token]) -> None:
        """One line: mnemonic, fields, node."""
        if not tokens:
            return
        head, *rest = tokens
        if head.text not in Op.__members__:
            raise head.fail(f"'{head.text}' is no word; one of {', '.join(Op.__members__)}")
        op, node = Op[head.text], -1
        word: np.void = np.zeros(1, WORD_DTYPE)[0]
        word["op"] = op
        seen = set()
        for token in rest:
            key, equals, value = token.text.partition("=")
            if key in seen:
                raise token.fail(f"'{key}' appears twice")
            seen.add(key)
            try:
                if key.startswith("@") and not equals:
                    node = text_of.integer(key[1:], 0, (1 << 31) - 1)
                elif equals and value:
                    _set_field(word, op, key, value)
                else:
                    raise ValueError(f"'{token.text}' should be NAME=VALUE or @NODE")
            except ValueError as error:
                raise token.fail(error) from None
        self._words.append(word)
        self._nodes.append(node)


def _set_field(word: np.void, op: Op, key: str, value: str) -> None:
    slot = _SLOTS[op].get(key, key)
    if slot in OPERAND_SLOTS:
        low, imm, dt = text_of.read_operand(value)
        word[slot] = (low, imm)
        i = OPERAND_SLOTS.index(slot)
        if dt and i > 3:
            raise ValueError(f"operand {slot} has no element type")
        word["dt"] |= dt << 4 * i if dt else 0
    elif slot in _SETTERS:
        _SETTERS[slot](word, op, value)
    else:
        match = _INDEXED.fullmatch(slot)
        if match is None or int(match[2]) >= _COUNTS[match[1]]:
            known = ", ".join(_SLOTS[op])
            raise ValueError(f"{op.name} has no field '{key}'{known and f'; it has {known}'}")
        _set_indexed(word, op, match[1], int(match[2]), value)


def _set_indexed(word: np.void, op: Op, group: str, i: int, value: str) -> None:
    if group == "p":
        word["p"][i] = text_of.read_parameter(op, f"p{i}", value)
    elif group == "f":
        word["f"][i : i + 1].view(np.uint32)[0] = text_of.read_float(value)
    elif group == "clip":
        limit, selector = text_of.read_clip(value)
        word["lim"][i], word["clip"][1 + i] = limit, selector
        word["clip"][0] |= 1 << i
    elif group == "n":
        word["n"][i] = text_of.integer(value, 0)
    elif group == "lim":
        word["lim"][i] = text_of.integer(value, -(1 << 31), (1 << 31) - 1)
    else:
        word["clip"][1 + i] = text_of.integer(value, 0, 255)


def _set_mode(word: np.void, op: Op, value: str) -> None:
    form = text_of.MODES.get(op)
    numeric = form is None or value[:1].isdigit()
    word["mode"] = text_of.integer(value, 0, 255) if numeric or not form else form.read(value)


def _set_waits(word: np.void, op: Op, value: str) -> None:
    pairs = [text_of.read_pair(pair) for pair in value.split(",")]
    if len(pairs) > 2:
        raise ValueError("a word has two waits; SYNC has wait2 and wait3 too")
    for i, pair in enumerate(pairs):
        word["wait"][2 * i : 2 * i + 2] = (pair & 255, pair >> 8)


def _set_signals(word: np.void, op: Op, value: str) -> None:
    codes = [text_of.read_signal(code) for code in value.split(",")]
    if len(codes) > 2:
        raise ValueError("a word has two signals; SYNC has sig2 and sig3 too")
    word["sig"][: len(codes)] = codes


def _set_clip_bits(word: np.void, op: Op, value: str) -> None:
    word["clip"][0] |= text_of.integer(value, 0, 255) & 0xF8


def _set_op(word: np.void, op: Op, value: str) -> None:
    if op != Op.ILLEGAL:
        raise ValueError("only ILLEGAL has op=")
    word["op"] = text_of.integer(value, 0, 255)


_SETTERS: dict[str, Callable[[np.void, Op, str], None]] = {
    "mode": _set_mode,
    "wait": _set_waits,
    "signal": _set_signals,
    "clip_bits": _set_clip_bits,
    "op": _set_op,
}


class _ProgramText:
    """Directives and streams of a program's text, as they are read."""

    def __init__(self) -> None:
        self._table: dict[str, Any] = {key: [] for key in (*LISTED, "sections")}
        self._streams: list[_Words] = []
        self._models: list[bytes] = []

    def add(self, line: str, number: int) -> None:
        stripped = line.strip()
        if not stripped.startswith("."):
            tokens = _tokens(line, number)
            if tokens and not self._streams:
                raise tokens[0].fail("a word before the first .stream")
            if tokens:
                self._streams[-1].add(tokens)
            return
        key, _, rest = stripped[1:].partition(" ")
        at = _Token(f".{key}", number, line.index(".") + 1)
        try:
            self._directive(key, rest, number, line)
        except (ValueError, RecursionError) as error:
            raise at.fail(f".{key}: {error}") from None

    def _directive(self, key: str, rest: str, number: int, line: str) -> None:
        if key in HEAD:
            if key in self._table:
                raise ValueError("appears twice")
            self._table[key] = json.loads(rest)
        elif f"{key}s" in LISTED:
            self._table[f"{key}s"].append(self._listed(key, json.loads(rest)))
        elif key == "section":
            zeros = [0] * SEGMENTS
            extra = {"seg_base": zeros, "seg_stride": list(zeros), "runs": []}
            self._table["sections"].append(_object(json.loads(rest)) | extra)
        elif key == "stream":
            if rest.strip() != str(len(self._streams)):
                raise ValueError(f"number {len(self._streams)} comes next")
            self._streams.append(_Words())
        elif key in ("run", "seg_base", "seg_stride"):
            self._in_section(key, _tokens(line, number)[1:])
        else:
            raise ValueError("is no directive")

    def _listed(self, key: str, entry: Any) -> Any:
        if key == "host_call":
            try:
                self._models.append(base64.b64decode(_object(entry).pop("model"), validate=True))
            except (KeyError, TypeError, binascii.Error):
                raise ValueError("'model' is no base64 text") from None
        return entry

    def _in_section(self, key: str, tokens: list[_Token]) -> None:
        if not self._table["sections"]:
            raise ValueError("stands before the first .section")
        section = self._table["sections"][-1]
        if key == "run":
            section["runs"].append(_run(tokens))
            return
        for token in tokens:
            name, _, value = token.text.partition("=")
            section[key][text_of.read_segment(name)] = text_of.integer(value, -(1 << 62), 1 << 62)

    def program(self, constants: Mapping[Seg, Bytes]) -> Program:
        empty: dict[str, Any] = {"weightless": False, "notes": {}}
        for key in HEAD:
            if key not in self._table and key not in OPTIONAL:
                raise ProgramError(f"the text has no .{key}", where="end of text")
            self._table.setdefault(key, empty.get(key, []))
        items = Item(self._table, "program").members(frozenset(self._table))
        streams = tuple(words.stream() for words in self._streams)
        tables = restore(items, len(streams), self._models)
        return Program(streams=streams, constants=dict(constants), **tables)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a JSON object is needed")
    return value


def _run(tokens: list[_Token]) -> dict[str, Any]:
    if not tokens:
        raise ValueError("a queue is needed")
    run: dict[str, Any] = {"kind": tokens[0].text, "stream": -1, "units": [], "aregs": []}
    for token in tokens[1:]:
        key, _, value = token.text.partition("=")
        if key == "stream":
            run[key] = text_of.integer(value, 0)
        elif key == "units":
            run[key] = [text_of.integer(unit, 0) for unit in value.split(",")]
        elif key == "aregs":
            for pair in value.split(","):
                name, _, number = pair.partition(":")
                wide = text_of.integer(number, -(1 << 47), (1 << 47) - 1)
                run[key].append([text_of.register(name, "r"), wide])
        else:
            raise ValueError(f"'{key}' is none of stream, units, aregs")
    return run
