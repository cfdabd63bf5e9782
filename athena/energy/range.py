"""A figure with its uncertainty: low, central, high, always in this order.

In:  three finite numbers ≥ 0. Out: `Range` (frozen), with the arithmetic that energies need.
Raises: ValueError for numbers out of order (a defect of the caller).

Ranges add and multiply end by end: all lows together, all highs together. That is the widest
outcome, as if every figure were wrong in the same direction; no independence is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """`low` ≤ `central` ≤ `high`, none negative."""

    low: float
    central: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.central <= self.high and math.isfinite(self.high)):
            raise ValueError(f"not a range: {self.low}, {self.central}, {self.high}")

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.central + other.central, self.high + other.high)

    def __mul__(self, other: Range | float) -> Range:
        by = other if isinstance(other, Range) else exactly(other)
        return Range(self.low * by.low, self.central * by.central, self.high * by.high)

    def __truediv__(self, other: Range | float) -> Range:
        """The divisor's high belongs to the quotient's low."""
        by = other if isinstance(other, Range) else exactly(other)
        return Range(self.low / by.high, self.central / by.central, self.high / by.low)

    def as_tuple(self) -> tuple[float, float, float]:
        """(low, central, high)."""
        return self.low, self.central, self.high


def exactly(value: float) -> Range:
    """A figure without uncertainty."""
    return Range(value, value, value)


def total(ranges: Iterable[Range]) -> Range:
    """Sum, end by end; rounding errors of the three sums cannot put them out of order."""
    items = tuple(ranges)
    low = math.fsum(r.low for r in items)
    central = max(low, math.fsum(r.central for r in items))
    return Range(low, central, max(central, math.fsum(r.high for r in items)))
