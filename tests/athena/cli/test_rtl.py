"""From an ONNX file to the RTL: the same bits as the functional simulator, the timing's cycles."""

from __future__ import annotations

import shutil

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, ("g++", "make"))), reason="needs g++ and make")
@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_a_multiply_on_the_rtl(athena, precision, tmp_path):
    path = tmp_path / "m.onnx"
    assert athena("models", "export", "matmul", "--sizes", "8,32,16", "-o", path).code == 0
    told = athena("rtl", "run", path, "--precision", precision, "--json")
    assert told.code == 0, told.err
    found = told.json
    assert found["outputs"] == ["y"] and found["differs"] == []
    assert found["rtl_cycles"] == found["model_cycles"] > 0


def test_a_chip_of_many_cores_is_refused(athena, tmp_path):
    path = tmp_path / "m.onnx"
    athena("models", "export", "matmul", "--sizes", "8,32,16", "-o", path)
    told = athena("rtl", "run", path, "--chip", "athena")
    assert told.code == 2 and "64 cores" in told.err
