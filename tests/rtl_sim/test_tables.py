"""The table functions of the vector unit against their definition, to the bit."""

import numpy as np
import pytest

from athena.isa import tables
from athena.isa.fields import Lut
from rtl_sim.build import TB

FUNCTIONS = tuple(Lut(code) for code in range(Lut.EXP, Lut.COS + 1))
BF16 = np.arange(1 << 16, dtype=np.uint32) << 16
GRIDS = (  # nodes a unit of x, largest x
    (1 / tables.EXP_HI, tables.EXP_HIGH), (256.0 / np.pi, 20.0), (tables.FINE, tables.TANH_LIMIT),
    (tables.COARSE, tables.SIGMOID_LIMIT), (tables.MANTISSA_NODES, 2.0), (tables.ROOT_NODES, 4.0),
)  # fmt: skip
EDGES = (
    tables.EXP_LOW, tables.EXP_HIGH, tables.TANH_LIMIT, tables.ERF_LIMIT, tables.GELU_LIMIT,
    tables.SIGMOID_LIMIT, tables.SIN_LIMIT, tables.LOG_HALVE, 0.5, 1.0, 2.0, 88.72283, -87.33655,
    -103.97208, 2.0**-126, 2.0**126, 2.0**127, 3.4028235e38, np.inf,
)  # fmt: skip


def about(values):
    """The patterns of `values` and of their two neighbours each way, of both signs."""
    bits = np.abs(np.asarray(values, np.float32)).view(np.uint32).astype(np.int64)
    near = np.clip(bits[:, None] + np.arange(-2, 3), 0, 0x7FFFFFFF).ravel().astype(np.uint32)
    return np.concatenate([near, near | np.uint32(1 << 31)])


def boundaries():
    """Nodes, the middles between them, limits, and patterns that are not numbers or subnormal."""
    grids = [np.arange(0, 2 * nodes * top + 3) / (2 * nodes) for nodes, top in GRIDS]
    odd = np.array([0, 1, 2, 0x400000, 0x7FFFFE, 0x7FFFFF], np.uint32)
    odd = np.concatenate(
        [odd, 0x7F800000 + odd, 0x00800000 - (1 << np.arange(23, dtype=np.uint32))]
    )
    odd = odd.astype(np.uint32)
    return np.concatenate([about(np.concatenate([*grids, EDGES])), odd, odd | np.uint32(1 << 31)])


def free(count):
    """Random patterns, and as many values of moderate size, where no function is constant."""
    rng = np.random.default_rng(3)
    wide = rng.integers(0, 1 << 32, count, dtype=np.uint32)
    moderate = (rng.uniform(-1, 1, count) * 2.0 ** rng.integers(-3, 8, count)).astype(np.float32)
    return np.concatenate([wide, moderate.view(np.uint32)])


def differences(bits, results):
    """Values whose result is not the definition's, by function."""
    found = {}
    for i, lut in enumerate(FUNCTIONS):
        wrong = tables.evaluate(lut, bits.view(np.float32)).view(np.uint32) != results[:, i]
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            found[lut] = (int(wrong.sum()), hex(bits[at]), hex(results[at, i]))
    return found


@pytest.fixture
def sweep(run_bench, tmp_path):
    """Results of the RTL, uint32 [values, functions], for patterns."""

    def run(bits):
        head = np.array([len(bits)], ">u4")
        (tmp_path / "x.bin").write_bytes(head.tobytes() + bits.astype(">u4").tobytes())
        run_bench("table_sweep", "bench_table", sources=[TB / "table_sweep.sv"])
        return np.fromfile(tmp_path / "y.bin", "<u4").reshape(len(bits), len(FUNCTIONS))

    return run


def test_equal_to_the_definition_for_every_bf16(sweep):
    bits = BF16
    results = sweep(bits)
    assert differences(bits, results) == {}


@pytest.mark.slow
def test_equal_to_the_definition_for_random_patterns(sweep):
    bits = np.concatenate([boundaries(), free(100_000)])
    assert differences(bits, sweep(bits)) == {}
