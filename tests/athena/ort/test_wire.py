"""The message format: arrays survive, malformed messages raise WireError only."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.ort import wire


def reader(data: bytes):
    left = memoryview(data)

    def readinto(buffer):
        nonlocal left
        if len(left) < len(buffer):
            raise EOFError
        buffer[:] = left[: len(buffer)]
        left = left[len(buffer) :]

    return readinto


def message(header: object) -> bytes:
    text = json.dumps(header).encode()
    return wire.MAGIC + struct.pack("<I", len(text)) + text


@pytest.mark.parametrize("dtype", [*wire.DTYPES])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3, 4)])
def test_arrays_survive(dtype, shape):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 2, shape).astype(
        ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    )
    data = b"".join(wire.pack({"a": 1}, {"x": array, "y": array.T}))
    readinto = reader(data)
    header = wire.read_header(readinto)
    assert header["a"] == 1
    assert wire.payload_bytes(header) == 2 * array.nbytes
    back = wire.read_arrays(header, readinto)
    assert back["x"].dtype == array.dtype
    assert back["x"].shape == array.shape
    assert back["y"].shape == array.T.shape
    assert np.array_equal(back["x"], array)
    assert np.array_equal(back["y"], array.T)


def test_big_endian_becomes_little():
    data = b"".join(wire.pack({}, {"x": np.arange(3, dtype=">i4")}))
    readinto = reader(data)
    assert wire.read_arrays(wire.read_header(readinto), readinto)["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, "c8")])
def test_types_that_are_not_carried(array):
    with pytest.raises(wire.WireError, match="not carried"):
        wire.pack({}, {"x": array})


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {"arrays": 3},
        {"arrays": [["x", "float32"]]},
        {"arrays": [["x", "object", [1]]]},
        {"arrays": [["x", "float32", [-1]]]},
        {"arrays": [["x", "float32", [1.5]]]},
        {"arrays": [["x", "float32", [True]]]},
        {"arrays": [["x", "float32", [1 << 60]]]},
        {"arrays": [["x", "float32", [1] * 65]]},
        {"arrays": [[1, "float32", [1]]]},
    ],
)
def test_malformed_headers(header):
    with pytest.raises(wire.WireError):
        wire.read_header(reader(message(header)))


@given(st.binary(max_size=64))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_any_bytes(data):
    for start in (b"", wire.MAGIC, wire.MAGIC + struct.pack("<I", len(data))):
        try:
            wire.read_header(reader(start + data))
        except (wire.WireError, EOFError):
            continue
        raise AssertionError("random bytes were taken for a header")
