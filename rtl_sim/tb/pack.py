"""Integers to and from packed SystemVerilog arrays; element 0 in the least significant bits."""

from __future__ import annotations

from collections.abc import Iterable


def pack_lanes(values: Iterable[int], bits: int) -> int:
    """Signed or unsigned values as one integer of `bits` bits an element."""
    mask = (1 << bits) - 1
    return sum((int(value) & mask) << (bits * lane) for lane, value in enumerate(values))


def unpack_lanes(packed: int, bits: int, count: int) -> list[int]:
    """`count` signed values of `bits` bits."""
    mask, sign = (1 << bits) - 1, 1 << (bits - 1)
    return [(((packed >> (bits * lane)) & mask) ^ sign) - sign for lane in range(count)]
