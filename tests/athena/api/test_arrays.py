"""Archives of arrays from unknown origin: read, or one InputError."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.api.arrays import read_npz, write_npz
from athena.errors import InputError


def npy(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def header(text: str) -> bytes:
    body = text.encode() + b" " * (118 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return buffer.getvalue()


SHAPED = "{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}"
GOOD = npy(np.arange(4))
BAD = {
    "empty": b"",
    "text": b"hello",
    "a single array": GOOD,
    "cut archive": archive({"a.npy": GOOD})[:40],
    "no array": archive({"a.txt": b"x"}),
    "objects": archive({"a.npy": npy(np.array([{}], object), allow_pickle=True)}),
    "strings": archive({"a.npy": npy(np.array(["x"]))}),
    "cut array": archive({"a.npy": GOOD[:-3]}),
    "huge shape": archive({"a.npy": header(SHAPED.format("(9999999999, 9999999999)"))}),
    "negative": archive({"a.npy": header(SHAPED.format("(-1,)"))}),
    "code in the header": archive({"a.npy": header("{'descr': __import__('os'), 'shape': (1,)}")}),
    "trailing bytes": archive({"a.npy": GOOD + b"xx"}),
}  # fmt: skip


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_no_archive_of_arrays(data, tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_npz(path)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.binary(max_size=300), st.integers(0, 200), st.booleans())
def test_any_bytes_give_arrays_or_an_input_error(tmp_path_factory, noise, place, damage):
    good = archive({"a.npy": GOOD, "b.npy": npy(np.ones((2, 3), np.float16))})
    data = good[:place] + noise + good[place + len(noise) :] if damage else noise
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    path.write_bytes(data)
    try:
        arrays = read_npz(path)
    except InputError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_a_folder_is_named_for_what_it_is(tmp_path):
    with pytest.raises(InputError, match="a folder"):
        read_npz(tmp_path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_reads_ours_and_we_read_numpys(order, tmp_path):
    array = np.asarray(np.arange(6, dtype=np.int16).reshape(2, 3), order=order)
    write_npz(tmp_path / "ours.npz", {"a": array})
    np.savez_compressed(tmp_path / "theirs.npz", a=array)
    np.testing.assert_array_equal(np.load(tmp_path / "ours.npz")["a"], array)
    np.testing.assert_array_equal(read_npz(tmp_path / "theirs.npz")["a"], array)
