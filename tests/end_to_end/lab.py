"""The whole way for tests: ONNX → graph → passes → program → functional machine, and onnxruntime
beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from athena.chip import Chip, load_chip
from athena.functional import Machine
from athena.isa.program import Program
from compiler.graph.graph import Graph
from compiler.lowering import LowerOptions, lower
from compiler.passes import Calibration, Precision, run

DATA = Path(__file__).parents[1] / "data"
MANIFEST = yaml.safe_load((DATA / "manifest.yaml").read_text())["files"]
EXPORTS = sorted(MANIFEST)
LAYERS = 2

SEVEN_CORES = {
    "name": "seven",
    "mesh.rows": 1,
    "mesh.cols": 4,
    "cluster.cores": 2,
    "disabled_cores": [3],
}
SIXTY_CORES = {"name": "sixty", "disabled_cores": [3, 17, 40, 63]}


@cache
def chip_named(name: str) -> Chip:
    """A preset, `seven` (7 small cores) or `sixty` (60 of athena's 64 cores)."""
    if name == "seven":
        return load_chip("athena-edge-ci", overrides=SEVEN_CORES)
    if name == "sixty":
        return load_chip("athena", overrides=SIXTY_CORES)
    return load_chip(name)


@dataclass(frozen=True)
class Built:
    """A graph after the passes, its program and its chip."""

    graph: Graph
    program: Program
    chip: Chip

    def run(self, inputs: Mapping[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
        """A fresh machine's outputs."""
        return Machine(self.program, self.chip).run(inputs, **options)


def build(
    source: Graph,
    chip: Chip,
    precision: Precision = Precision.FP32,
    *,
    calibration: Calibration | None = None,
    scale_factor: float = 1.0,
) -> Built:
    """Passes and lowering."""
    graph = run(
        source, precision=precision, calibration=calibration, int8_scale_factor=scale_factor
    )
    return lowered(graph, chip, precision, source)


def lowered(
    graph: Graph, chip: Chip, precision: Precision = Precision.FP32, source: Graph | None = None
) -> Built:
    """Lowering of a chip-level graph."""
    types = source or graph
    known = {name: types.value(name).dtype.numpy for name in (*types.inputs, *types.outputs)}
    options = LowerOptions(
        precision=precision.value, source_dtypes={n: str(t) for n, t in known.items()}
    )
    return Built(graph, lower(graph, chip, options), chip)


def random_inputs(graph: Graph, seed: int = 0, *, past: int = 0) -> dict[str, np.ndarray]:
    """Seeded inputs of an export: masks all ones, positions ascending, ids below 400."""
    random = np.random.default_rng(seed)
    inputs = {}
    for name in graph.inputs:
        value = graph.value(name)
        shape, dtype = value.shape, value.dtype.numpy
        if "mask" in name:
            array = np.ones(shape, dtype)
        elif name == "position_ids":
            array = np.broadcast_to(np.arange(shape[-1]) + past, shape).astype(dtype)
        elif value.dtype.is_float:
            array = random.standard_normal(shape).astype(dtype)
        else:
            array = random.integers(0, 2 if name == "token_type_ids" else 400, shape).astype(dtype)
        inputs[name] = array
    return inputs


def past_of(name: str) -> int:
    """Rows in the cache that an export's default dims bring."""
    dims = MANIFEST[name]["dims"]
    return int(dims.get("past", dims.get("past_sequence_length", 0)))
