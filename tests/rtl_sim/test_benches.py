"""Cocotb benches of single modules."""

import pytest


@pytest.mark.parametrize(("rows", "cols"), [(8, 8), (8, 4)], ids=["square", "narrow"])
def test_mac_array(run_bench, rows, cols):
    run_bench("mac_array", "bench_mac_array", {"Rows": rows, "Cols": cols})
