"""`athena quickstart`."""

from __future__ import annotations


def quickstart() -> None:
    """A tiny trained model: compile, verify, simulate, report."""
