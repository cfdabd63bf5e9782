"""Service times at their corners; the RTL's own tests compare them with the hardware."""

import pytest
from numba import njit

from athena.isa import cycles as c


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        # rows + tiles * max(ceil(m / rate), rows) + rows * latency + cols
        ((8, 8, 8), 8 + 1 * 8 + 8 + 8),
        ((100, 8, 8), 8 + 100 + 8 + 8),
        ((1, 9, 17), 8 + 2 * 3 * 8 + 8 + 8),
        ((0, 8, 8), 1),
        ((8, 0, 8), 1),
        ((4, 9, 0), 1 + 4 * 2),
    ],
)
def test_matmul(shape, expected):
    assert c.matmul_cycles(*shape, 8, 8, 1, 1) == expected


def test_rate_divides_the_rows_of_a():
    assert c.matmul_cycles(100, 8, 8, 8, 8, 2, 1) == 8 + 50 + 8 + 8
    assert c.matmul_cycles(100, 8, 8, 8, 8, 1, 3) == 8 + 100 + 24 + 8


def test_other_units():
    assert c.copy_beats(2, 3, 17, 16) == 12
    assert c.vec_cycles(4, 17, 16, 10, 2, 0) == 10 + 4 * 2 * 2
    assert c.vec_cycles(4, 17, 16, 10, 1, 1) == 10 + 8 + 4
    assert c.vec_cycles(0, 17, 16, 10, 1, 1) == 1
    assert c.vperm_cycles(3, 40, 16, 10, 1) == 10 + 3 * 3
    assert c.vperm_cycles(3, 40, 16, 10, 2) == 10 + 3 * 2 * 2
    assert c.vgather_cycles(3, 40, 16, 10, 0) == 10 + 3 * (1 + 3)
    assert c.vgather_cycles(3, 40, 16, 10, 1) == 10 + 3 * (3 + 40)
    assert c.vperm_cycles(0, 4, 16, 10, 1) == c.vgather_cycles(4, 0, 16, 10, 1) == 1
    assert c.vmxq_cycles(3, 40, 16, 10) == (10 + 3 * 3 + 4) + (10 + 3 * (1 + 3))
    assert c.vmxq_cycles(1, 1, 8, 5) == (5 + 1 + 3) + (5 + 2)
    assert c.vmxq_cycles(0, 40, 16, 10) == c.vmxq_cycles(3, 0, 16, 10) == 1
    assert [c.tree_levels(n) for n in (1, 2, 3, 16, 17)] == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("rows", "cols", "expected"),
    [
        (0, 5, 1),
        (1, 1, 10 + 1 + 1),  # in, then out
        (16, 16, 10 + 16 + 16),
        (16, 3, 10 + 16 + 3),
        (32, 48, 10 + 16 + 5 * 16 + 16),  # six blocks: in, five times in and out, out
        (32, 33, 10 + 16 + 5 * 16 + 1),  # the last block has one column
        (1, 40, 10 + 1 + 2 * 16 + 8),
        (40, 1, 10 + 16 + 2 * 16 + 1),
    ],
)
def test_transpose(rows, cols, expected):
    assert c.transpose_cycles(rows, cols, 16, 10) == expected


def test_numba_compiles_them_as_they_stand():
    ceil_div = njit(c.ceil_div)
    assert [ceil_div(n, 4) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
