"""The split of an iteration space: every element is one core's, once; tiles stay within their
limits.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.errors import CapacityError
from compiler.lowering.nest import TileLimit, choose_split

QUICK = settings(deadline=None, derandomize=True, max_examples=300, database=None)
SIZES = st.sampled_from((1, 2, 3, 5, 7, 8, 17, 64, 129))


@QUICK
@given(
    st.lists(SIZES, min_size=2, max_size=3),
    st.sampled_from((1, 2, 7, 60, 64)),
    st.integers(1, 400),
    st.sampled_from((1, 8, 256)),
    st.booleans(),
)
def test_every_element_is_covered_once(shape, cores, elems, lanes, whole):
    elems = max(elems, shape[-1]) if whole else elems
    limit = TileLimit(elems=elems, whole_rows=whole)
    split = choose_split(tuple(shape), cores, lanes, limit)
    assert split.tile_rows * split.tile_cols <= elems
    alternating = split.row_tiles if split.row_tiles > 1 else split.col_tiles
    assert alternating == 1 or alternating % 2 == 0
    used = split.outer_groups * split.row_groups * split.col_groups
    assert used <= cores
    seen = np.zeros(shape, int).reshape(-1, *shape[-2:])
    outer = len(seen) // split.outer_groups if split.axis >= 0 else len(seen)
    assert split.axis < 0 or shape[split.axis] % split.outer_groups == 0
    for core in range(used):
        col, row = core % split.col_groups, core // split.col_groups % split.row_groups
        group = core // (split.col_groups * split.row_groups)
        rows, cols = split.row_tiles * split.tile_rows, split.col_tiles * split.tile_cols
        seen[
            group * outer : (group + 1) * outer,
            row * rows : (row + 1) * rows,
            col * cols : (col + 1) * cols,
        ] += 1
    assert (seen == 1).all()


def test_a_row_that_does_not_fit_is_refused():
    with pytest.raises(CapacityError, match="a row of 100 elements"):
        choose_split((4, 100), 8, 8, TileLimit(elems=99, whole_rows=True))


@QUICK
@given(SIZES, SIZES, st.integers(1, 50), st.integers(1, 50))
def test_limits_of_rows_and_columns(rows, cols, most_rows, most_cols):
    limit = TileLimit(elems=1 << 20, rows=most_rows, cols=most_cols)
    split = choose_split((rows, cols), 4, 8, limit)
    assert split.tile_rows <= most_rows
    assert split.tile_cols <= most_cols
