"""The text of one field of a word, both ways: `write(value)` and `read(text)` are inverse.

In:  raw field values. Out: text without blanks; a value that no readable form stands for is hex.
Raises: ValueError from the readers, with what was wrong; `athena.isa.asm` adds line and column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from athena.isa.fields import (
    Acc,
    Alu,
    Dt,
    GatherMode,
    Kind,
    Lut,
    Op,
    Perm,
    QuantMode,
    Red,
    Seg,
    Sig,
)

OPERAND_SLOTS = ("a", "b", "c", "d", "e", "g")


class Form(NamedTuple):
    """A readable form: `write` gives "" where it has none for the value."""

    write: Callable[[int], str]
    read: Callable[[str], int]


def integer(text: str, low: int = -(1 << 31), high: int = (1 << 32) - 1) -> int:
    """A decimal or 0x number in low … high."""
    try:
        value = int(text, 16 if text.lower().startswith("0x") else 10) if len(text) < 40 else None
    except ValueError:
        value = None
    if value is None:
        raise ValueError(f"'{text[:40]}' is no number")
    if not low <= value <= high:
        raise ValueError(f"{value} is not in {low} … {high}")
    return value


def signed(value: int) -> int:
    """32 bits as a signed number."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _code(kinds: type[IntEnum], text: str) -> int:
    try:
        return int(kinds[text.upper()])
    except KeyError:
        names = ", ".join(kind.name.lower() for kind in kinds)
        raise ValueError(f"'{text}' is none of {names}") from None


def _name(kinds: type[IntEnum], code: int) -> str:
    return kinds(code).name.lower() if code in tuple(kinds) else ""


def register(text: str, letter: str) -> int:
    """`r3` or `s14` as its number."""
    if text[:1] != letter:
        raise ValueError(f"'{text}' should be {letter}0 … {letter}15")
    return integer(text[1:], 0, 15)


def _codes_form(*parts: type[IntEnum]) -> Form:
    """One byte a part, joined by dots: add.exp.mul.sum."""

    def write(value: int) -> str:
        value &= 0xFFFFFFFF
        names = [_name(kinds, value >> 8 * i & 255) for i, kinds in enumerate(parts)]
        return ".".join(names) if all(names) and not value >> 8 * len(parts) else ""

    def read(text: str) -> int:
        names = text.split(".")
        if len(names) != len(parts):
            raise ValueError(f"'{text}' should be {len(parts)} names joined by dots")
        pairs = enumerate(zip(parts, names, strict=True))
        return sum(_code(kinds, name) << 8 * i for i, (kinds, name) in pairs)

    return Form(write, read)


def _write_pair(value: int) -> str:
    return f"{value & 255}:{value >> 8}" if 0 <= value < 1 << 16 else ""


def read_pair(text: str) -> int:
    """`sem:n` as sem | n << 8."""
    sem, colon, count = text.partition(":")
    if not colon:
        raise ValueError(f"'{text}' should be SEMAPHORE:COUNT")
    return integer(sem, 0, 255) | integer(count, 0, 255) << 8


def write_signal(value: int) -> str:
    """A signal code: kind.sem, kind(arg).sem, none, or hex."""
    if not 0 <= value < 1 << 16:
        return ""
    kind, arg, sem = Sig(value >> 13), value >> 5 & 255, value & 31
    if kind == Sig.NONE:
        return "none" if value == 0 else hex(value)
    by_areg = kind in (Sig.CDMA_MASK, Sig.CORES_MASK) and arg < 16
    inner = f"(r{arg})" if by_areg else f"({arg:#x})" if arg else ""
    return f"{kind.name.lower()}{inner}.{sem}"


def read_signal(text: str) -> int:
    """The inverse of `write_signal`."""
    if text == "none":
        return 0
    if text[:1].isdigit():
        return integer(text, 0, 0xFFFF)
    head, dot, sem = text.rpartition(".")
    name, bracket, arg = head.partition("(")
    if not dot or (bracket and not arg.endswith(")")):
        raise ValueError(f"'{text}' should be KIND.SEMAPHORE or KIND(ARGUMENT).SEMAPHORE")
    inner = arg[:-1]
    number = 0
    if bracket:
        number = register(inner, "r") if inner.startswith("r") else integer(inner, 0, 255)
    return _code(Sig, name) << 13 | number << 5 | integer(sem, 0, 31)


def _write_aregs(value: int) -> str:
    listed = [f"r{value >> 4 * i & 15}" for i in range(4)]
    return ",".join(listed) if 0 <= value < 1 << 16 else ""


def _read_aregs(text: str) -> int:
    names = text.split(",")
    if len(names) > 4:
        raise ValueError("a loop advances four aregs at most")
    return sum(register(name, "r") << 4 * i for i, name in enumerate(names))


def _write_slopes(value: int) -> str:
    value &= 0xFFFFFFFF
    parts = []
    for name, i in (("lo", 0), ("hi", 1)):
        slope, selector = value >> 8 * i & 255, value >> 16 + 8 * i & 255
        slope -= 256 * (slope >> 7)
        parts.append(f"{name}({slope},r{selector & 15},s{selector >> 4})")
    return ".".join(parts)


def _read_slopes(text: str) -> int:
    value = 0
    parts = text.split(".")
    if len(parts) != 2:
        raise ValueError("slopes are lo(SLOPE,rN,sN).hi(SLOPE,rN,sN)")
    for i, (name, part) in enumerate(zip(("lo", "hi"), parts, strict=True)):
        inner = part[3:-1].split(",")
        if not part.startswith(f"{name}(") or not part.endswith(")") or len(inner) != 3:
            raise ValueError("slopes are lo(SLOPE,rN,sN).hi(SLOPE,rN,sN)")
        value |= (integer(inner[0], -128, 127) & 255) << 8 * i
        value |= (register(inner[1], "r") | register(inner[2], "s") << 4) << 16 + 8 * i
    return value


def _flags(*names: str, codes: type[IntEnum] | None = None) -> Form:
    """Mode: a name of `codes` in bits 0–1, then one name a bit; `names` count from the top bit."""
    first = 2 if codes else 0
    bits = {name: 1 << first + i for i, name in enumerate(names)}

    def write(value: int) -> str:
        words = []
        if codes:
            name = _name(codes, value & 3)
            if not name:
                return ""
            words = [name] if value & 3 else []
        words += [name for name, bit in bits.items() if value & bit]
        return ".".join(words) if value < 1 << first + len(names) else ""

    def read(text: str) -> int:
        value = 0
        for name in text.split("."):
            if codes and name.upper() in codes.__members__:
                value |= int(codes[name.upper()])
            elif name in bits:
                value |= bits[name]
            else:
                raise ValueError(f"mode '{name}' is none of this word's")
        return value

    return Form(write, read)


MODES = {
    Op.SETA: _flags("shift"),
    Op.MATMUL: _flags("b_trans", codes=Acc),
    Op.VEC: _flags("int", "mask", "red_keep"),
    Op.VPERM: _flags(codes=Perm),
    Op.VGATHER: _flags(codes=GatherMode),
    Op.VMXQ: _flags(codes=QuantMode),
}
_PAIR = Form(_write_pair, read_pair)
_SIGNAL = Form(write_signal, read_signal)
_BITS = Form(lambda value: "", integer)
PARAMETERS = {
    (Op.SYNC, "p0"): _PAIR,
    (Op.SYNC, "p1"): _PAIR,
    (Op.SYNC, "p2"): _SIGNAL,
    (Op.SYNC, "p3"): _SIGNAL,
    (Op.LOOP, "p4"): Form(_write_aregs, _read_aregs),
    (Op.FILL, "p0"): _BITS,
    (Op.VEC, "p0"): _codes_form(Alu, Lut, Alu, Red),
    (Op.VEC, "p1"): _codes_form(Kind, Kind),
    (Op.VEC, "p4"): Form(_write_slopes, _read_slopes),
    (Op.VEC, "p5"): _BITS,
}


def write_parameter(op: Op, slot: str, value: int) -> str:
    """A 32-bit parameter in its readable form, else decimal, or hex where bits are meant."""
    form = PARAMETERS.get((op, slot))
    if form is None:
        return str(value)
    return form.write(value) or f"{value & 0xFFFFFFFF:#010x}"


def read_parameter(op: Op, slot: str, text: str) -> int:
    """The inverse of `write_parameter`, as a signed number."""
    form = PARAMETERS.get((op, slot))
    plain = text.lstrip("-")[:1].isdigit() and ":" not in text
    return signed(integer(text) if form is None or plain else form.read(text))


def write_float(bits: int) -> str:
    """A float32 by its bits: the shortest decimal that gives them back, else hex."""
    text = str(np.array(bits, np.uint32).view(np.float32))
    return text if "n" not in text and read_float(text) == bits else f"{bits:#010x}"


def read_float(text: str) -> int:
    """Bits of a decimal float32, or bits given in hex."""
    if text.startswith("0x"):
        return integer(text, 0)
    try:
        with np.errstate(over="ignore"):
            return int(np.float32(float(text)).view(np.uint32))
    except ValueError:
        raise ValueError(f"'{text[:40]}' is no number") from None


def write_segment(code: int) -> str:
    """Name of an address space, or seg8 … where there is none."""
    return _name(Seg, code) or f"seg{code}"


def read_segment(text: str) -> int:
    """The inverse of `write_segment`."""
    if text.startswith("seg") and text[3:].isdigit():
        return integer(text[3:], 0, 15)
    return _code(Seg, text)


def write_operand(low: int, imm: int, dt: int) -> str:
    """`l1[r3+0x40]/64:bf16`; stride 0 and dtype none are left out."""
    seg, areg, stride = low & 15, low >> 4 & 15, low >> 8
    place = (f"r{areg}+" if areg else "") + hex(imm)
    text = f"{write_segment(seg)}[{place}]"
    text += f"/{stride}" if stride else ""
    return text + (f":{_name(Dt, dt) or f'dt{dt}'}" if dt else "")


def read_operand(text: str) -> tuple[int, int, int]:
    """The inverse of `write_operand`: (low, imm, dt)."""
    head, colon, dtype = text.partition(":")
    head, slash, stride = head.partition("/")
    seg, bracket, place = head.partition("[")
    if not bracket or not place.endswith("]"):
        raise ValueError(f"'{text}' should be SEGMENT[rN+OFFSET]/STRIDE:DTYPE")
    areg, plus, offset = place[:-1].rpartition("+")
    low = read_segment(seg) | (register(areg, "r") << 4 if plus else 0)
    low |= integer(stride, 0, (1 << 24) - 1) << 8 if slash else 0
    dt = 0
    if colon:
        numbered = dtype.startswith("dt") and dtype[2:].isdigit()
        dt = integer(dtype[2:], 0, 15) if numbered else _code(Dt, dtype)
    return low, integer(offset, 0), dt


def write_clip(limit: int, selector: int) -> str:
    """`limit+sN-rN`: the count is at most max(0, that)."""
    return f"{limit}+s{selector >> 4}-r{selector & 15}"


def read_clip(text: str) -> tuple[int, int]:
    """The inverse of `write_clip`: (limit, selector)."""
    head, minus, areg = text.rpartition("-")
    limit, plus, scalar = head.rpartition("+")
    if not minus or not plus:
        raise ValueError(f"'{text}' should be LIMIT+sN-rN")
    selector = register(areg, "r") | register(scalar, "s") << 4
    return signed(integer(limit, -(1 << 31), (1 << 31) - 1)), selector


def write_list(values: Sequence[str], empty: str) -> str:
    """Comma-joined up to the last value that is not `empty`."""
    used = max((i + 1 for i, value in enumerate(values) if value != empty), default=0)
    return ",".join(values[:used])
