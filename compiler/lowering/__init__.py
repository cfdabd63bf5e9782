"""Chip-level graph → words: placement of values, mapping of each op, emission, repetition."""

from compiler.lowering.lower import LowerOptions, lower

__all__ = ["LowerOptions", "lower"]
