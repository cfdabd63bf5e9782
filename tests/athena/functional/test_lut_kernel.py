"""The compiled look-up functions equal `athena.isa.tables.evaluate` to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from athena.isa.builder import StreamBuilder, Vec, l1
from athena.isa.fields import Dt, Lut, Queue
from athena.isa.tables import evaluate
from tests.athena.functional.lab import machine, same

HALF = 1 << 21


def arguments() -> np.ndarray:
    """Bit patterns spread over all float32 numbers, and dense where the tables are."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 1 << 32, 200_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    dense = np.concatenate(
        [rng.uniform(-12, 12, 200_000), rng.uniform(-110, 110, 60_000), np.arange(-4096, 4096) / 64]
    )
    edges = np.array(
        [
            0,
            -0.0,
            np.inf,
            -np.inf,
            np.nan,
            1e-45,
            2.0**-126,
            2.0**126,
            2.0**127,
            3.4e38,
            6,
            -6,
            4,
            10,
            20,
            -20,
        ]
    )
    x = np.concatenate([patterns, dense.astype(np.float32), edges.astype(np.float32)])
    near = np.concatenate(
        [np.nextafter(edges.astype(np.float32), np.float32(s)) for s in (np.inf, -np.inf)]
    )
    return np.concatenate([x, near])


@pytest.mark.parametrize("lut", [x for x in Lut if Lut.EXP <= x <= Lut.COS], ids=lambda x: x.name)
def test_equal_to_the_definition(lut):
    x = arguments()
    builder = StreamBuilder()
    builder.vec(
        l1(0, stride=0, dt=Dt.F32), l1(HALF, stride=0, dt=Dt.F32), Vec(lut=lut), rows=1, cols=len(x)
    )
    runner = machine("athena", Queue.VECTOR, builder)
    runner.l1(0)[: 4 * len(x)].view(np.float32)[:] = x
    runner.run({})
    same(runner.l1(0)[HALF : HALF + 4 * len(x)].view(np.float32), evaluate(lut, x))
