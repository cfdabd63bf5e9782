"""Programs that the lowering wrote: the RTL agrees with both models as on random ones."""

import ml_dtypes
import numpy as np
import pytest

from athena.functional.convert import to_storage
from compiler.graph.chip_ops import GemmAttrs
from compiler.graph.graph import Graph
from compiler.graph.types import DType, Node, Value
from compiler.lowering import LowerOptions, lower
from rtl_sim.correlate import compare_bytes, compare_cycles
from rtl_sim.job import Outcome, RtlJob
from rtl_sim.run import run_jobs

BF16 = ml_dtypes.bfloat16
SHAPES = ((5, 40, 24, False), (33, 100, 70, True), (64, 64, 64, False), (1, 200, 130, True))


def graph(m, k, n, trans):
    """y = x · w in bf16, with constant weights."""
    rng = np.random.default_rng(k)
    shape = (n, k) if trans else (k, n)
    weights = (rng.normal(size=shape) / k**0.5).astype(BF16)
    edit = Graph("gemm").edit()
    edit.set_value(Value(name="x", dtype=DType.BF16, shape=(m, k)))
    edit.set_value(Value(name="w", dtype=DType.BF16, shape=shape, const=weights))
    edit.set_value(Value(name="y", dtype=DType.F32, shape=(m, n)))
    edit.inputs, edit.outputs = ("x",), ("y",)
    attrs = GemmAttrs(trans_b=trans)
    edit.add_node(
        Node(
            name="mm", op="Gemm", domain="chip", inputs=("x", "w", ""), outputs=("y",), attrs=attrs
        )
    )
    return edit.freeze(), weights


@pytest.fixture(scope="module")
def finished(rtl_tools, ci_chip):
    cases = []
    for m, k, n, trans in SHAPES:
        made, weights = graph(m, k, n, trans)
        program = lower(made, ci_chip, LowerOptions(precision="bf16"))
        x = np.random.default_rng(m).normal(size=(m, k)).astype(BF16)
        (tensor,) = (t for t in program.tensors if t.role == "input")
        cases.append((program, x, weights.T if trans else weights, tensor))
    jobs = [RtlJob(program=p, inputs={t.name: to_storage(x, t.dtype, "x")}) for p, x, _, t in cases]
    return list(zip(cases, run_jobs(jobs, ci_chip), strict=True))


@pytest.mark.parametrize(
    "case", range(len(SHAPES)), ids=["x".join(map(str, s[:3])) for s in SHAPES]
)
def test_gemm(finished, ci_chip, case):
    (program, x, weights, tensor), result = finished[case]
    assert result.outcome is Outcome.DONE
    job = RtlJob(program=program, inputs={tensor.name: x})
    assert compare_bytes(job, ci_chip, result) == ""
    assert compare_cycles(job, ci_chip, result) == ("", result.cycles)
    product = x.astype(np.float64) @ weights.astype(np.float64)
    np.testing.assert_allclose(result.outputs["y"], product, atol=1e-4 * np.abs(product).max())
