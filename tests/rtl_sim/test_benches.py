"""Cocotb benches of single modules."""

import pytest

from rtl_sim.build import TB


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (4, 2)], ids=["square", "narrow"])
def test_mac_array(run_bench, rows, cols):
    run_bench("mac_array", "bench_mac_array", {"Rows": rows, "Cols": cols})


@pytest.mark.parametrize("top", ["walker", "semaphores", "queue_ctl", "decode"])
def test_module(run_bench, top):
    run_bench(top, f"bench_{top}")


def test_permute_unit(run_bench):
    run_bench("permute_unit", "bench_permute")


def test_float_units(run_bench):
    run_bench("float_units", "bench_float_units", sources=[TB / "float_units.sv"])
