"""Cycles a second of the RTL simulator: `python -m benchmarks.rtl_speed`.

The whole core, 8x8 to 32x32, on compiled programs: a bf16 and an int8 multiply, and a chain of
normalisations and activations that keeps the vector unit busy. The best of RUNS; the clock is the
process's own around the cycle loop, without loading and dumping memories.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import athena
from athena.chip import load_chip
from athena.chip.model import Chip
from athena.functional.convert import to_storage
from athena.isa.program import Program
from benchmarks.tables import Row, parser, show, write
from rtl_sim import build
from rtl_sim.job import RtlJob, encode
from rtl_sim.run import CYCLE_LIMIT

RUNS = 3
WIDE = {
    "core.matrix.rows": 32,
    "core.matrix.cols": 32,
    "core.vector.lanes": 32,
    "core.l1_bytes": 262144,
    "core.acc_bytes": 65536,
    "core.load_bytes_per_cycle": 32,
    "core.store_bytes_per_cycle": 32,
}


def chips() -> tuple[tuple[str, Chip], ...]:
    return (
        ("8x8", load_chip("athena-edge-ci")),
        ("16x16", load_chip("athena-edge")),
        ("32x32", load_chip("athena-edge", overrides=WIDE)),
    )


def gemm(size: int) -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(scale=0.05, size=(size, size)).astype(np.float32)
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"])], size, {"w": weights})


def vector(size: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g", "b"], ["n"]),
        helper.make_node("Gelu", ["n"], ["a"]),
        helper.make_node("Add", ["a", "x"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=-1),
    ]
    ones, noughts = np.ones(size, np.float32), np.zeros(size, np.float32)
    return _model(nodes, size, {"g": ones, "b": noughts})


def _model(nodes: list[onnx.NodeProto], size: int, constants: dict) -> onnx.ModelProto:
    shape = [size, size]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "speed", ports[:1], ports[1:], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def programs(chip: Chip) -> Iterator[tuple[str, Program]]:
    rows = chip.core.matrix.rows
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        for case, model, precision in (
            ("gemm bf16", gemm(8 * rows + 64), "bf16"),
            ("gemm int8", gemm(8 * rows + 64), "int8"),
            ("vector", vector(4 * rows + 64), "bf16"),
        ):
            onnx.save(model, path)
            yield case, athena.compile(path, chip=chip, precision=precision).program


def measure(program: Program, chip: Chip) -> tuple[int, float]:
    """Cycles, and the best seconds of RUNS."""
    rng = np.random.default_rng(1)
    inputs = {
        tensor.name: to_storage(rng.normal(size=tensor.shape), tensor.dtype, tensor.name)
        for tensor in program.tensors
        if tensor.role == "input"
    }
    with tempfile.TemporaryDirectory() as name:
        for run in range(RUNS):
            (Path(name) / f"{run}.in").write_bytes(
                encode(RtlJob(program=program, inputs=inputs), chip, CYCLE_LIMIT)
            )
        printed = subprocess.run(
            [build.simulator(chip), f"+dir={name}", f"+count={RUNS}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    lines = [line.split() for line in printed.splitlines() if line.startswith("job ")]
    return int(lines[0][2]), min(float(line[3]) for line in lines)


def build_seconds(chip: Chip) -> float:
    """Seconds of a build from nothing."""
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        build.simulator(chip, {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": name})
        return time.perf_counter() - start


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--build", action="store_true", help="time a build from nothing, too")
    options = given.parse_args()
    rows: list[Row] = []
    for size, chip in chips():
        built_s = build_seconds(chip) if options.build else None
        for case, program in programs(chip):
            cycles, took_s = measure(program, chip)
            rows.append(
                {"array": size, "case": case, "cycles": cycles, "seconds": took_s,
                 "cycles_per_s": cycles / took_s, "build_s": built_s}
            )  # fmt: skip
    show("RTL simulation", rows)
    write(options.json, "rtl_speed", rows)


if __name__ == "__main__":
    main()
