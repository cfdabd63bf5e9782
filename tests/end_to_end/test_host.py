"""Models with operators that the chip has no unit for: onnxruntime executes them between the chip's
words.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from athena.errors import ProgramError
from athena.isa.check import check_program
from compiler.graph.chip_ops import Op
from compiler.passes import Precision
from tests.compiler.passes.onnx_text import Model, loaded, run_ort
from tests.end_to_end.lab import build, chip_named

RANDOM = np.random.default_rng(11)


def _array(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def _host(call, arrays):
    model = onnx.load_from_string(call.model)
    return dict(zip(call.outputs, run_ort(model, arrays), strict=True))


def _top_k() -> Model:
    m = Model()
    x = m.input("x", _array(5, 40))
    scaled = m.node("Tanh", m.node("MatMul", x, _array(40, 40) / 6))
    values, ids = m.node("TopK", scaled, np.array([3]), outputs=2)
    total = m.node("Add", m.node("Cast", ids, to=1), values)
    return m.output(m.node("Softmax", total), ids)


def _two_calls() -> Model:
    m = Model()
    x = m.input("x", _array(3, 4, 6))
    running = m.node("Asinh", m.node("Transpose", x, perm=[1, 0, 2]))
    again = m.node("Atan", m.node("Mul", running, _array(6)))
    return m.output(m.node("Relu", again), running)


def _host_only() -> Model:
    m = Model()
    return m.output(m.node("Atan", m.input("x", _array(2, 3))))


@pytest.mark.parametrize("make", [_top_k, _two_calls, _host_only])
@pytest.mark.parametrize("chip", ["athena-edge-ci", "seven", "athena"])
def test_host_nodes_run_between_the_chips_words(make, chip):
    model = make()
    built = build(loaded(model.proto()), chip_named(chip))
    calls = sum(node.op == Op.HOST for node in built.graph.nodes)
    assert calls == len(built.program.host_calls) > 0
    check_program(built.program, built.chip, races=True)
    got = built.run(model.inputs, host=_host)
    for wanted, name in zip(run_ort(model.proto(), model.inputs), model.outputs, strict=True):
        assert got[name].dtype == wanted.dtype
        np.testing.assert_allclose(got[name], wanted, rtol=0, atol=1e-5)
    for seed in range(2):
        again = built.run(model.inputs, host=_host, order_seed=seed)
        assert all(np.array_equal(again[name], got[name]) for name in got)


def test_bf16_values_reach_the_host_as_float32():
    model = _top_k()
    built = build(loaded(model.proto()), chip_named("seven"), Precision.BF16)
    got = built.run(model.inputs, host=_host)
    wanted = run_ort(model.proto(), model.inputs)
    np.testing.assert_allclose(got[model.outputs[0]], wanted[0], rtol=0, atol=0.02)


def test_a_host_is_needed():
    model = _host_only()
    built = build(loaded(model.proto()), chip_named("athena-edge-ci"))
    with pytest.raises(ProgramError, match="host"):
        built.run(model.inputs)


def test_call_names_its_node_in_the_table():
    built = build(loaded(_two_calls().proto()), chip_named("athena-edge-ci"))
    for call in built.program.host_calls:
        info = built.program.nodes[call.node]
        assert (info.name, info.place) == (call.name, "host")
        assert call.bytes > 0
