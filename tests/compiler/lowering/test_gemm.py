"""Matrix multiplies: every cut gives the numbers of a numpy product, fits the chip, and is
estimated honestly.
"""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from athena.chip import Chip, load_chip
from athena.errors import CapacityError
from athena.functional import Machine
from athena.isa.check import check_program
from athena.timing import simulate
from compiler.graph.chip_ops import ElementwiseAttrs, Fn, GemmAttrs, QuantAttrs, Step
from compiler.graph.graph import Graph
from compiler.graph.types import DType, Node, Value
from compiler.lowering import LowerOptions, gemm_map, lower
from compiler.lowering.gemm_cost import GemmMap, GemmShape
from compiler.lowering.gemm_map import choose_gemm, stages

ATHENA = load_chip("athena")
EDGE = load_chip("athena-edge-ci")
BF16 = ml_dtypes.bfloat16


def gemm_graph(attrs: GemmAttrs, values: dict[str, Value], inputs: tuple[str, ...]) -> Graph:
    """A graph of one Gemm `mm` with operands `inputs` ("" for no bias) and result `y`."""
    edit = Graph("gemm").edit()
    for value in values.values():
        edit.set_value(value)
    edit.inputs = tuple(
        n for n in inputs if n and values[n].const is None and not values[n].weightless
    )
    edit.outputs = ("y",)
    edit.add_node(
        Node(name="mm", op="Gemm", domain="chip", inputs=inputs, outputs=("y",), attrs=attrs)
    )
    return edit.freeze()


def plain(
    m: int,
    k: int,
    n: int,
    *,
    trans: bool = False,
    weightless: bool = False,
    result: DType = DType.F32,
) -> Graph:
    """x[m, k] · w in bf16."""
    rng = np.random.default_rng(k)
    shape = (n, k) if trans else (k, n)
    data = None if weightless else (rng.normal(size=shape) / k**0.5).astype(BF16)
    values = {
        "x": Value(name="x", dtype=DType.BF16, shape=(m, k)),
        "w": Value(name="w", dtype=DType.BF16, shape=shape, const=data, weightless=weightless),
        "y": Value(name="y", dtype=result, shape=(m, n)),
    }
    return gemm_graph(GemmAttrs(trans_b=trans), values, ("x", "w", ""))


def run(graph: Graph, chip: Chip, inputs: dict[str, np.ndarray]) -> np.ndarray:
    program = lower(graph, chip, LowerOptions(precision="bf16"))
    check_program(program, chip, races=False)
    return Machine(program, chip).run(inputs)["y"]


def random(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(BF16)


@pytest.mark.parametrize("chip", [ATHENA, EDGE], ids=lambda c: c.name)
@pytest.mark.parametrize("trans", [False, True], ids=["kn", "nk"])
@pytest.mark.parametrize(
    "size", [(1, 1, 1), (3, 17, 129), (129, 130, 17), (1, 700, 300), (77, 64, 64)], ids=str
)
def test_product_of_odd_sizes(size, trans, chip):
    m, k, n = size
    graph = plain(m, k, n, trans=trans)
    x, w = random((m, k)), graph.value("w").const
    want = x.astype(np.float64) @ (w.T if trans else w).astype(np.float64)
    np.testing.assert_allclose(run(graph, chip, {"x": x}), want, atol=2e-5 * max(1.0, k**0.5))


@pytest.mark.parametrize("size", [(512, 256, 1024), (1024, 512, 512), (2048, 192, 256)], ids=str)
def test_operands_through_l2_give_the_same_numbers(size, monkeypatch):
    m, k, n = size
    monkeypatch.setattr(gemm_map, "_candidates", lambda shape, chip: ())
    graph = plain(m, k, n)
    x, w = random((m, k)), graph.value("w").const
    program = lower(graph, ATHENA, LowerOptions(precision="bf16"))
    assert "through L2" in program.nodes[0].mapping
    assert check_program(program, ATHENA, races=True).accesses > 0
    got = Machine(program, ATHENA).run({"x": x}, order_seed=3)["y"]
    np.testing.assert_allclose(got, x.astype(np.float64) @ w.astype(np.float64), atol=1e-3)


@pytest.mark.parametrize("chip", [ATHENA, EDGE], ids=lambda c: c.name)
def test_bias_and_epilogue_with_row_column_and_full_operands(chip):
    m, k, n = 33, 40, 70
    rng = np.random.default_rng(1)
    w, bias = random((k, n), 1), rng.normal(size=n).astype(np.float32)
    shapes = {"full": (m, n), "row": (n,), "col": (m, 1)}
    values = {
        "x": Value(name="x", dtype=DType.BF16, shape=(m, k)),
        "w": Value(name="w", dtype=DType.BF16, shape=(k, n), const=w),
        "b": Value(name="b", dtype=DType.F32, shape=(n,), const=bias),
        "y": Value(name="y", dtype=DType.F32, shape=(m, n)),
        **{name: Value(name=name, dtype=DType.F32, shape=shape) for name, shape in shapes.items()},
    }
    steps = (
        Step(fn=Fn.MUL, operand=4),
        Step(fn=Fn.ADD, operand=3),
        Step(fn=Fn.SUB, operand=5, swap=True),
    )
    graph = gemm_graph(GemmAttrs(steps=steps), values, ("x", "w", "b", "full", "row", "col"))
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    x = random((m, k), 2)
    product = x.astype(np.float64) @ w.astype(np.float64) + bias
    want = arrays["col"] - (product * arrays["row"] + arrays["full"])
    np.testing.assert_allclose(run(graph, chip, {"x": x, **arrays}), want, atol=2e-4)


def test_batched_operands():
    lead, m, k, n = (2, 3), 5, 20, 9
    values = {
        "x": Value(name="x", dtype=DType.BF16, shape=(*lead, m, k)),
        "w": Value(name="w", dtype=DType.BF16, shape=(3, k, n)),
        "y": Value(name="y", dtype=DType.F32, shape=(*lead, m, n)),
    }
    graph = gemm_graph(GemmAttrs(alpha=0.5), values, ("x", "w", ""))
    x, w = random((*lead, m, k)), random((3, k, n), 1)
    want = 0.5 * (x.astype(np.float64) @ w.astype(np.float64))
    np.testing.assert_allclose(run(graph, EDGE, {"x": x, "w": w}), want, atol=1e-4)


@pytest.mark.parametrize("chip", [ATHENA, EDGE], ids=lambda c: c.name)
def test_int8_is_exact_up_to_the_scale(chip):
    m, k, n = 19, 65, 33
    rng = np.random.default_rng(4)
    x, w = (rng.integers(-128, 128, s, dtype=np.int8) for s in ((m, k), (k, n)))
    scales = rng.uniform(0.01, 0.1, n).astype(np.float32)
    values = {
        "x": Value(name="x", dtype=DType.I8, shape=(m, k)),
        "w": Value(name="w", dtype=DType.I8, shape=(k, n), const=w),
        "y": Value(name="y", dtype=DType.F32, shape=(m, n)),
    }
    quant = QuantAttrs(a_scale=0.25, a_zero_point=-7, w_scale=tuple(float(s) for s in scales))
    graph = gemm_graph(GemmAttrs(quant=quant), values, ("x", "w", ""))
    exact = (x.astype(np.int64) + 7) @ w.astype(np.int64)
    want = exact.astype(np.float32) * (np.float32(0.25) * scales)
    np.testing.assert_array_equal(run(graph, chip, {"x": x}), want)


def shape_of(m: int, k: int, n: int) -> GemmShape:
    return GemmShape(
        m=m,
        n=n,
        k=k,
        a_bytes=2,
        b_bytes=2,
        out_bytes=2,
        operand_bytes=0,
        row_bytes=0,
        temp_tiles=0,
        rate="bf16",
        staging=True,
    )


def covers(mapping: GemmMap, shape: GemmShape) -> bool:
    rows = mapping.grid[0] * mapping.row_blocks * mapping.bm
    cols = mapping.grid[1] * mapping.col_blocks * mapping.strips * mapping.sn
    return rows >= shape.m and cols >= shape.n and sum(mapping.panels) == shape.k


@pytest.mark.parametrize("chip", [ATHENA, EDGE], ids=lambda c: c.name)
@pytest.mark.parametrize(
    "size", [(1, 64, 64), (17, 1000, 3), (300, 768, 3072), (2048, 4096, 4096)], ids=str
)
def test_every_candidate_covers_the_product_and_fits(size, chip):
    shape = shape_of(*size)
    found = [*gemm_map._candidates(shape, chip), *gemm_map._staged_candidates(shape, chip)]
    assert found
    for mapping in found:
        assert covers(mapping, shape)
        assert mapping.l1_bytes <= chip.core.l1_bytes
        assert mapping.grid[0] * mapping.grid[1] <= chip.cores
        assert mapping.bm * mapping.sn * 4 <= chip.acc_region_bytes
        assert sum(mapping.first_chunks) >= mapping.panels[0] or len(mapping.first_chunks) == 1
    assert choose_gemm(shape, chip).cycles == min(m.cycles for m in found)


@pytest.mark.parametrize(
    ("size", "within"),
    [
        ((1, 4096, 4096), 0.1),
        ((128, 768, 3072), 0.25),
        ((1024, 1024, 1024), 0.4),  # short: latencies that the closed form leaves out count
        ((2048, 2048, 2048), 0.1),
    ],
    ids=str,
)
def test_estimate_is_near_the_simulated_time(size, within):
    program = lower(
        plain(*size, weightless=True, result=DType.BF16), ATHENA, LowerOptions(precision="bf16")
    )
    estimate = choose_gemm(shape_of(*size), ATHENA).cycles
    assert simulate(program, ATHENA).cycles == pytest.approx(estimate, rel=within)


def test_staging_needs_a_square_mesh_with_all_cores():
    assert stages(ATHENA)
    assert not stages(EDGE)
    assert not stages(load_chip("athena", overrides={"disabled_cores": [3]}))
    assert not stages(
        ATHENA.model_copy(update={"mesh": ATHENA.mesh.model_copy(update={"cols": 2})})
    )


def test_a_product_that_fits_no_tile_is_refused():
    from athena.errors import CapacityError

    tiny = load_chip("athena-edge-ci", overrides={"core.l1_bytes": 1024})
    with pytest.raises(CapacityError, match="no tile of"):
        choose_gemm(replace(shape_of(64, 64, 64), operand_bytes=8), tiny)


@pytest.mark.parametrize("size", [(700, 200, 1000), (1030, 64, 130)], ids=str)
def test_ragged_operands_through_l2(size, monkeypatch):
    m, k, n = size
    monkeypatch.setattr(gemm_map, "_candidates", lambda shape, chip: ())
    graph = plain(m, k, n)
    x, w = random((m, k)), graph.value("w").const
    got = run(graph, ATHENA, {"x": x})
    np.testing.assert_allclose(got, x.astype(np.float64) @ w.astype(np.float64), atol=1e-3)


@pytest.mark.parametrize("m", [0, 3])
@pytest.mark.parametrize("chip", [ATHENA, EDGE])
def test_a_product_without_rows_writes_nothing(m: int, chip: Chip) -> None:
    """A batch of 0 is a program whose result has no elements."""
    program = lower(plain(m, 16, 8), chip, LowerOptions(precision="bf16"))
    (result,) = Machine(program, chip).run({"x": np.ones((m, 16), BF16)}).values()
    assert result.shape == (m, 8)


def test_a_tensor_beyond_the_fields_of_a_word_is_a_capacity_error() -> None:
    """Rows of 4 GB have no copy: said as such, not as a defect of ours."""
    edit = Graph("wide").edit()
    for name in ("x", "y"):
        edit.set_value(Value(name=name, dtype=DType.F32, shape=(10**9,)))
    edit.inputs, edit.outputs = ("x",), ("y",)
    attrs = ElementwiseAttrs(steps=(Step(fn=Fn.RELU, operand=None),))
    edit.add_node(
        Node(
            name="r",
            op="Elementwise",
            domain="chip",
            inputs=("x",),
            outputs=("y",),
            attrs=attrs,
        )
    )
    with pytest.raises(CapacityError, match="too large for one word"):
        lower(edit.freeze(), ATHENA, LowerOptions(precision="fp32"))
