"""What the text of options means."""

from __future__ import annotations

import pytest

from athena.cli.options import chip_of, dims_of
from athena.errors import ChipError, UsageError


def test_dims():
    assert dims_of(["batch=1", "past + seq=20"]) == {"batch": 1, "past + seq": 20}
    assert dims_of(None) == {}


@pytest.mark.parametrize("text", ["a", "a=", "=3", "a=-1", "a=1.5", "a=99999999999", "a=²"])
def test_what_is_no_dimension(text):
    with pytest.raises(UsageError):
        dims_of([text])


def test_a_dimension_given_twice():
    with pytest.raises(UsageError, match="twice"):
        dims_of(["a=1", "a=2"])


def test_settings_of_a_chip():
    chip = chip_of("athena", ["core.matrix.rows=32", "hbm.bandwidth_gbytes_per_s=900.0"])
    assert chip.core.matrix.rows == 32 and chip.hbm.bandwidth_gbytes_per_s == 900.0


@pytest.mark.parametrize(
    ("text", "error"), [("rows", UsageError), ("a={", UsageError), ("nokey=1", ChipError)]
)
def test_settings_that_are_none(text, error):
    with pytest.raises(error):
        chip_of("athena", [text])
