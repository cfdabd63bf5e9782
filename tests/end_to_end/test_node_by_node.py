"""Every chip-level node of the exports, fed with what the functional machine itself computed,
against the reference with the same rounding points.
"""

from __future__ import annotations

import numpy as np
import pytest

from athena.verify import measure_rows
from compiler.frontend import load_model
from compiler.graph.chip_ops import Op
from compiler.graph.graph import Graph
from compiler.graph.interpret import run_node
from compiler.passes import Precision, calibrate, run
from tests.end_to_end.lab import (
    DATA,
    EXPORTS,
    MANIFEST,
    chip_named,
    lowered,
    past_of,
    random_inputs,
)

ROW_DB = 55.0
ATTENTION_ROW_DB = 50.0
SAME = 1e-6  # of the value's largest element: as good as equal


def _open(graph: Graph) -> Graph:
    """The same graph with every computed value as an output."""
    edit = graph.edit()
    made = [n for node in graph.nodes for n in node.outputs if n]
    edit.set_interface(inputs=graph.inputs, outputs=tuple(dict.fromkeys((*graph.outputs, *made))))
    return edit.freeze()


def _final(name: str, precision: Precision) -> tuple[Graph, dict[str, np.ndarray]]:
    source = load_model(DATA / name, dims=MANIFEST[name]["dims"])
    samples = [random_inputs(source, seed, past=past_of(name)) for seed in range(5, 9)]
    calibration = calibrate(source, samples) if precision is Precision.INT8 else None
    graph = run(source, precision=precision, calibration=calibration)
    return graph, random_inputs(source, past=past_of(name))


def _known(graph: Graph, values: dict[str, np.ndarray], name: str) -> np.ndarray | None:
    if not name:
        return None
    value = graph.value(name)
    data = value.const if value.const is not None else values[name]
    return np.asarray(data).astype(value.dtype.numpy)


def _row_db(wanted: np.ndarray, got: np.ndarray) -> float:
    rows = measure_rows(wanted, got)
    scale = float(np.abs(wanted.astype(np.float64)).max(initial=0.0))
    judged = np.where(rows.max_abs <= SAME * scale, np.inf, rows.snr_db)
    return float(judged.min(initial=np.inf))


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
@pytest.mark.parametrize("chip_name", ["athena-edge-ci", "athena"])
@pytest.mark.parametrize("name", EXPORTS)
def test_each_node_equals_its_reference(name, chip_name, precision):
    graph, inputs = _final(name, precision)
    opened = _open(graph)
    built = lowered(opened, chip_named(chip_name), precision)
    outputs = built.run(inputs)
    values, bad = {**inputs, **outputs}, {}
    for node in graph.nodes:
        arrays = [_known(graph, values, n) for n in node.inputs]
        out = graph.value(node.outputs[0])
        wanted = run_node(node, arrays, (out,))[0]
        got = outputs[out.name].astype(out.dtype.numpy)
        if not out.dtype.is_float:
            np.testing.assert_array_equal(got, wanted, err_msg=node.name)
            continue
        found = _row_db(wanted, got)
        if found < (ATTENTION_ROW_DB if node.op == Op.ATTENTION else ROW_DB):
            bad[node.name] = (node.op, found)
    assert not bad
