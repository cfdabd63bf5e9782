"""The word's layout, byte by byte, and its decoded form."""

import numpy as np
import pytest

from athena.isa import fields as f
from athena.isa.fields import WORD_BYTES, WORD_DTYPE, Op, Sig, decode, signal
from athena.isa.program import Stream

OFFSETS = {
    "op": 0, "mode": 1, "dt": 2, "wait": 4, "sig": 8, "clip": 12, "a": 16, "b": 24, "c": 32,
    "d": 40, "e": 48, "g": 56, "n": 64, "lim": 76, "p": 88, "f": 120,
}  # fmt: skip


def test_layout_is_little_endian_and_without_gaps():
    assert WORD_DTYPE.itemsize == WORD_BYTES == 128
    assert {name: WORD_DTYPE.fields[name][1] for name in WORD_DTYPE.names} == OFFSETS


def test_decode_reads_each_byte_once():
    """Setting one bit of the word changes exactly one column."""
    zero = decode(np.zeros(1, WORD_DTYPE))
    assert not zero.any()
    for bit in range(8 * WORD_BYTES):
        raw = np.zeros(WORD_BYTES, np.uint8)
        raw[bit // 8] = 1 << bit % 8
        row = decode(raw.view(WORD_DTYPE))[0]
        assert np.count_nonzero(row) == 1, bit


def test_signed_and_unsigned_columns():
    row = decode(np.full(WORD_BYTES, 255, np.uint8).view(WORD_DTYPE))[0]
    assert (row[f.N0], row[f.LIM0], row[f.P7]) == (2**32 - 1, -1, -1)
    assert (row[f.IMM_A], row[f.STRIDE_A], row[f.F0_BITS]) == (2**32 - 1, 2**24 - 1, 2**32 - 1)


def test_cleared_memory_is_no_word():
    assert np.zeros(1, WORD_DTYPE)["op"][0] == Op.ILLEGAL


def test_signal_codes():
    assert signal(Sig.SELF, 5) == 0x2005
    assert signal(Sig.CORES_OF_CLUSTER, 31, 255) == 0x5FFF


def test_stream_refuses_other_arrays():
    with pytest.raises(ValueError, match="WORD_DTYPE"):
        Stream(words=np.zeros(1), nodes=np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="one node index"):
        Stream(words=np.zeros(2, WORD_DTYPE), nodes=np.zeros(1, np.int32))
