"""Every error names a place and a remedy, and text of unknown origin is escaped."""

from __future__ import annotations

import pytest

import athena.errors as errors

CLASSES = [
    item
    for item in vars(errors).values()
    if isinstance(item, type) and issubclass(item, errors.AthenaError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_what_where_and_what_to_do(kind: type[errors.AthenaError]) -> None:
    """Three lines, also where the raiser gives no remedy of its own."""
    lines = str(kind("it broke", where="file.onnx")).split("\n")
    assert lines[:2] == [f"error[{kind.code}]: it broke", "  at: file.onnx"]
    assert len(lines) == 3
    assert lines[2].startswith("  do: ") and len(lines[2]) > 12


def test_the_raisers_remedy_is_preferred() -> None:
    """A specific remedy replaces the class's."""
    assert str(errors.ShapeError("x", where="y", hint="do this")).endswith("\n  do: do this")


def test_remedies_are_not_shared_by_accident() -> None:
    """A class has its own remedy, except where it refines its parent's fault."""
    own = [kind.hint for kind in CLASSES if "hint" in vars(kind)]
    assert len(own) == len(set(own))


@pytest.mark.parametrize("text", ["a\x1b[31m", "b\u202e", "c\n", "d\x00", "e\x9b", "f\u2028"])
def test_control_and_bidi_characters_are_escaped(text: str) -> None:
    """Nothing that a terminal obeys survives."""
    assert errors.printable(text).isprintable()
