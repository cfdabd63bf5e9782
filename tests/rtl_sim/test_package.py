"""The generated package: codes and sizes are the ISA's and the chip's; unfit chips are refused."""

import re

import pytest

from athena.chip.load import load_chip
from athena.errors import ChipError
from athena.isa import fields
from rtl_sim.package import package_text

CONSTANT = re.compile(r"localparam (?:int|logic \[\d+:0\]) (\w+) = (?:\d+'d)?(\d+);")


@pytest.mark.parametrize("name", ["athena-edge-ci", "athena-edge"])
def test_constants(name):
    chip = load_chip(name)
    found = {key: int(value) for key, value in CONSTANT.findall(package_text(chip))}
    assert found["OP_MATMUL"] == fields.Op.MATMUL
    assert found["ALU_ABSDIFF"] == fields.Alu.ABSDIFF
    assert found["ROWS"] == chip.core.matrix.rows
    assert found["L1_BANK_BYTES"] * found["L1_BANKS"] == chip.core.l1_bytes
    assert found["FETCH_BEATS"] * chip.core.fetch_bytes_per_cycle == fields.WORD_BYTES


def test_word_struct_has_the_fields_of_the_dtype_last_first():
    text = package_text(load_chip("athena-edge-ci"))
    body = text[text.index("byte 0 is in the least") : text.index("} word_t;")]
    names = re.findall(r"(\w+);", body)
    expected = [{"wait": "waits"}.get(name, name) for name in reversed(fields.WORD_DTYPE.names)]
    assert names == expected


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"hbm.kind": "hbm", "hbm.channels": 2}, "hbm.channels"),
        ({"core.fifo_words": 48}, "core.fifo_words"),
        ({"core.matrix.mac_latency_cycles": 2}, "mac_latency_cycles"),
        ({"core.matrix.cols": 16}, "core.matrix.cols"),
        ({"mesh.cols": 2}, "mesh"),
        ({"core.fetch_bytes_per_cycle": 24}, "fetch_bytes_per_cycle"),
        ({"core.load_bytes_per_cycle": 6}, "load_bytes_per_cycle"),
    ],
)
def test_unfit_chips(overrides, key):
    with pytest.raises(ChipError, match=key):
        package_text(load_chip("athena-edge-ci", overrides=overrides))
