"""Programs and streams as text: the writing half of the assembler.

In:  a Program or Stream. Out: lines that `athena.isa.asm` reads back, bit for bit.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from athena.isa import asm_fields as text_of
from athena.isa.asm_fields import OPERAND_SLOTS
from athena.isa.fields import Op
from athena.isa.header import describe
from athena.isa.program import Program, Stream
from athena.isa.table import BY_OP

HEAD = (
    "name", "chip", "chip_hash", "precision", "weightless", "segment_bytes", "scalars",
    "core_sems", "cluster_sems", "chip_sems", "notes",
)  # fmt: skip
OPTIONAL = frozenset({"weightless", "scalars", "core_sems", "cluster_sems", "chip_sems", "notes"})
LISTED = ("tensors", "nodes", "host_calls")
PER_LINE = frozenset({"runs", "seg_base", "seg_stride"})


def field_names(op: Op) -> dict[str, str]:
    """Name of each slot that `op` uses, as in its table row."""
    return {slot: name for slot, (name, _) in BY_OP[op].fields.items()} if op in BY_OP else {}


_NAMES = {op: field_names(op) for op in Op}


def disassemble(what: Program | Stream) -> str:
    """The text of a program (all but its constants' bytes) or of one stream."""
    lines = _program_lines(what) if isinstance(what, Program) else _stream_lines(what)
    return "".join(f"{line}\n" for line in lines)


def disassemble_word(word: np.void) -> str:
    """The text of one word, without its node."""
    return " ".join(_word_items(word))


def _stream_lines(stream: Stream) -> Iterator[str]:
    ends: list[int] = []
    for at, (word, node) in enumerate(zip(stream.words, stream.nodes, strict=True)):
        ends = [end for end in ends if end > at]
        suffix = f" @{node}" if node != -1 else ""
        yield "  " * (1 + len(ends)) + disassemble_word(word) + suffix
        if word["op"] == Op.LOOP:
            ends.append(at + 1 + min(int(word["n"][1]), len(stream.words)))


def _word_items(word: np.void) -> Iterator[str]:
    code = int(word["op"])
    op = Op(code) if code in tuple(Op) else Op.ILLEGAL
    yield op.name if code == op else f"ILLEGAL op={code}"
    yield from _head_items(word, op)
    names = _NAMES[op]
    dts = int(word["dt"])
    for i, slot in enumerate(OPERAND_SLOTS):
        low, imm = (int(half) for half in word[slot])
        dt = dts >> 4 * i & 15 if i < 4 else 0
        if low or imm or dt:
            yield f"{names.get(slot, slot)}={text_of.write_operand(low, imm, dt)}"
    for i in range(3):
        if word["n"][i]:
            yield f"{names.get(f'n{i}', f'n{i}')}={word['n'][i]}"
    yield from _clip_items(word)
    for i in range(8):
        if word["p"][i]:
            value = text_of.write_parameter(op, f"p{i}", int(word["p"][i]))
            yield f"{names.get(f'p{i}', f'p{i}')}={value}"
    for i, bits in enumerate(word["f"].view(np.uint32)):
        if bits:
            yield f"{names.get(f'f{i}', f'f{i}')}={text_of.write_float(int(bits))}"


def _head_items(word: np.void, op: Op) -> Iterator[str]:
    mode, waits = int(word["mode"]), word["wait"]
    if mode:
        form = text_of.MODES.get(op)
        yield f"mode={(form.write(mode) if form else '') or hex(mode)}"
    if waits.any():
        yield f"wait={text_of.write_list([f'{waits[i]}:{waits[i + 1]}' for i in (0, 2)], '0:0')}"
    if word["sig"].any():
        codes = [text_of.write_signal(int(code)) for code in word["sig"]]
        yield f"signal={text_of.write_list(codes, 'none')}"


def _clip_items(word: np.void) -> Iterator[str]:
    enabled = int(word["clip"][0])
    for i in range(3):
        limit, selector = int(word["lim"][i]), int(word["clip"][1 + i])
        if enabled >> i & 1:
            yield f"clip{i}={text_of.write_clip(limit, selector)}"
            continue
        if limit:
            yield f"lim{i}={limit}"
        if selector:
            yield f"sel{i}={selector}"
    if enabled >> 3:
        yield f"clip_bits={enabled & 0xF8:#x}"


def _program_lines(program: Program) -> Iterator[str]:
    table = describe(program)
    for call, held in zip(table["host_calls"], program.host_calls, strict=True):
        call["model"] = base64.b64encode(held.model).decode()
    for key in HEAD:
        if table[key] or key not in OPTIONAL:
            yield f".{key} {_json(table[key])}"
    for key in LISTED:
        yield from (f".{key[:-1]} {_json(entry)}" for entry in table[key])
    for section in table["sections"]:
        yield f".section {_json({k: v for k, v in section.items() if k not in PER_LINE})}"
        for key in ("seg_base", "seg_stride"):
            if any(section[key]):
                pairs = enumerate(section[key])
                listed = (f"{text_of.write_segment(i)}={v}" for i, v in pairs if v)
                yield f"  .{key} {' '.join(listed)}"
        for run in section["runs"]:
            yield f"  .run {' '.join(_run_items(run))}"
    for number, stream in enumerate(program.streams):
        yield f".stream {number}"
        yield from _stream_lines(stream)


def _run_items(run: dict[str, Any]) -> Iterator[str]:
    yield f"{run['kind']} stream={run['stream']}"
    if run["units"]:
        yield f"units={','.join(map(str, run['units']))}"
    if run["aregs"]:
        yield f"aregs={','.join(f'r{areg}:{value}' for areg, value in run['aregs'])}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
