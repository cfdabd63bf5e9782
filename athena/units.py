"""Conversions between units; nowhere else in the project are two units mixed."""

from __future__ import annotations

PJ_PER_J = 1e12
J_PER_KWH = 3.6e6
BITS_PER_BYTE = 8


def cycles_to_s(cycles: float, clock_hz: float) -> float:
    """Clock cycles to seconds at `clock_hz`."""
    return cycles / clock_hz


def gbytes_per_s_to_bytes_per_cycle(gbytes_per_s: float, clock_hz: float) -> float:
    """A bandwidth in 1e9 bytes a second to bytes per clock cycle."""
    return gbytes_per_s * 1e9 / clock_hz


def gbytes_per_s_to_bytes_per_s(gbytes_per_s: float) -> float:
    """A bandwidth in 1e9 bytes a second to bytes a second."""
    return gbytes_per_s * 1e9
