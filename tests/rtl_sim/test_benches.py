"""Cocotb benches of single modules: one test here for each test there."""

import ast

import pytest

from rtl_sim.build import TB

BENCHES = (  # module under test, bench, parameters
    ("decode", "bench_decode", {}),
    ("fetch", "bench_fetch", {}),
    ("float_units", "bench_float_units", {}),
    ("inflight", "bench_inflight", {"Slots": 1}),
    ("inflight", "bench_inflight", {"Slots": 3}),
    ("mac_array", "bench_mac_array", {"Rows": 4, "Cols": 4}),
    ("mac_array", "bench_mac_array", {"Rows": 4, "Cols": 2}),
    ("mac_cell", "bench_mac_cell", {}),
    ("permute_unit", "bench_permute", {}),
    ("queue_ctl", "bench_queue_ctl", {}),
    ("semaphores", "bench_semaphores", {}),
    ("seta_unit", "bench_seta_unit", {}),
    ("walker", "bench_walker", {}),
)
SOURCES = {"float_units": (TB / "float_units.sv",)}  # tops of benches that are no part of the core


def functions(bench):
    """Names of the functions under `@cocotb.test()`."""
    tree = ast.parse((TB / f"{bench}.py").read_text())
    coroutines = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]
    return [
        node.name
        for node in coroutines
        if any(ast.unparse(mark).startswith("cocotb.test") for mark in node.decorator_list)
    ]


def cases():
    """Every test of every bench."""
    for top, bench, parameters in BENCHES:
        tag = "-".join(f"{key}{value}" for key, value in parameters.items())
        for case in functions(bench):
            name = "-".join(filter(None, (top, tag, case)))
            yield pytest.param(top, bench, parameters, case, id=name)


@pytest.mark.parametrize(("top", "bench", "parameters", "case"), cases())
def test_bench(run_bench, top, bench, parameters, case):
    run_bench(top, bench, parameters, SOURCES.get(top, ()), case)


def test_every_bench_is_run():
    elsewhere = {"bench_axi_adapter", "bench_athena_axi"}  # test_axi.py
    there = {path.stem for path in TB.glob("bench_*.py")}
    assert there == {bench for _, bench, _ in BENCHES} | elsewhere
