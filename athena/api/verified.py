"""Compare the chip's results with onnxruntime's, output by output and node by node.

In:  a model or path, precision, inputs. Out: `Verification` (frozen).
Raises: what compiling and executing raise; UsageError for a model without weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.api.arrays import read_npz
from athena.api.compiled import CompiledModel, Samples, compile, with_all_outputs
from athena.api.execute import execute
from athena.api.models import Model
from athena.api.samples import VERIFY_SEED, random_inputs
from athena.api.tables import Table
from athena.chip import Chip
from athena.errors import UsageError, printable
from athena.ort import OrtSession
from athena.verify import Comparison, NodeComparison, TraceNode, VerifyReport
from athena.verify import per_node as _compare_nodes
from athena.verify import verify as _judge
from compiler import passes
from compiler.graph.chip_ops import Op
from compiler.graph.interpret import interpret

Array = NDArray[Any]
MASKED = 1e9  # beyond it a float is the lowest value of a mask, in whatever format
COLUMNS = (
    *("output", "dtype", "shape", "max_abs", "snr_db", "cosine", "top1", "limit", "passed"),
    "reason",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verification:
    """The verdict, and what was compared. `nodes` is there where it was asked for."""

    compiled: CompiledModel
    report: VerifyReport
    nodes: NodeComparison | None = None

    @property
    def passed(self) -> bool:
        """Whether every output is within its limit."""
        return self.report.passed

    @property
    def outputs(self) -> Table:
        """One row an output."""
        rows = []
        for row in self.report.rows:
            figures = asdict(row.metrics) if row.metrics else {}
            three = (figures.get("max_abs"), figures.get("snr_db"), figures.get("cosine"))
            verdict = (row.top1, row.limit, row.passed, row.reason)
            rows.append((row.name, row.dtype, row.shape, *three, *verdict))
        title = f"{self.report.precision} against {self.report.reference}, {self.report.inputs}"
        return Table(title=title, columns=COLUMNS, rows=tuple(rows))

    def to_pandas(self) -> Any:
        """The table `outputs` as a DataFrame."""
        return self.outputs.to_pandas()

    def __repr__(self) -> str:
        good = sum(row.passed for row in self.report.rows)
        return f"Verification({good} of {len(self.report.rows)} outputs within tolerance)"

    def _repr_html_(self) -> str:
        return self.outputs._repr_html_()


def verify(  # noqa: PLR0913 - the public call: one option each
    model: str | Path | Model | CompiledModel,
    *,
    chip: str | Path | Chip = "athena",
    precision: str = "bf16",
    dims: Mapping[str, int] | None = None,
    inputs: None | str | Path | Mapping[str, Array] = None,
    calibration: None | str | Path | Samples = None,
    per_node: bool = False,
    seed: int = VERIFY_SEED,
    snr_limit_db: float | None = None,
    session: OrtSession | None = None,
) -> Verification:
    """Execute on the chip and in onnxruntime (CPU) and compare every output.

    `inputs`: arrays or an `.npz`; without them, seeded ones. `per_node` compares every value that
    both executions have, and names the node that spoils it. `snr_limit_db` replaces the
    precision's own limit. With a CompiledModel, its chip and precision count. `session` is an
    onnxruntime process to use again.
    """
    compiled = (
        model
        if isinstance(model, CompiledModel)
        else compile(model, chip=chip, precision=precision, dims=dims, calibration=calibration)
    )
    if compiled.model.weightless:
        raise UsageError(
            "the model has no weights: there is nothing to compare",
            where=compiled.model.name,
            hint="simulate it; numbers cannot be verified",
        )
    arrays, said = _inputs(compiled, inputs, seed)
    actual = execute(compiled.program, compiled.chip, arrays)
    if session is None:
        with OrtSession() as own:
            reference, version = _reference(own, compiled, arrays)
    else:
        reference, version = _reference(session, compiled, arrays)
    how = Comparison(
        precision=compiled.precision,
        layers=max(1, sum(node.op == Op.ATTENTION for node in compiled.graph.nodes)),
        snr_limit_db=snr_limit_db,
        reference=f"onnxruntime {version} (CPU)",
        inputs=said,
        notes=tuple(f"{k}: {v}" for k, v in sorted(compiled.program.notes.items())),
    )
    nodes = _nodes(compiled, arrays) if per_node else None
    return Verification(compiled=compiled, report=_judge(reference, actual, how), nodes=nodes)


def _inputs(
    compiled: CompiledModel, given: None | str | Path | Mapping[str, Array], seed: int
) -> tuple[dict[str, Array], str]:
    if given is None:
        made = random_inputs(compiled.model, compiled.graph, seed)
        return made, f"seeded random inputs (seed {seed})"
    if isinstance(given, str | Path):
        return read_npz(given), printable(Path(given).name)
    return dict(given), "inputs of the caller"


def _reference(
    session: OrtSession, compiled: CompiledModel, arrays: Mapping[str, Array]
) -> tuple[dict[str, Array], str]:
    outputs = compiled.model.graph.outputs
    results = session.run(compiled.model.path, arrays, outputs)
    return results, session.versions().get("onnxruntime", "?")


def _nodes(compiled: CompiledModel, arrays: Mapping[str, Array]) -> NodeComparison:
    """Every node's value on the chip against the numpy reference of the model as loaded.

    Values that only the chip-level graph has are held against that graph in fp32.
    """
    wide = with_all_outputs(compiled)
    actual = execute(wide.program, wide.chip, arrays)
    plain = passes.run(compiled.model.graph, precision=passes.Precision.FP32)
    reference: dict[str, Array] = {}
    for graph in (plain, compiled.model.graph):
        reference.update(_values(graph, arrays, set(actual)))
    nodes = (
        TraceNode(name=n.name, op=n.op, inputs=n.inputs, outputs=n.outputs)
        for n in compiled.graph.nodes
    )
    return _compare_nodes(_marked(reference), _marked(actual), nodes, precision=compiled.precision)


def _values(graph: Any, arrays: Mapping[str, Array], wanted: set[str]) -> dict[str, Array]:
    kept: dict[str, Array] = {}

    def observe(name: str, array: Array) -> None:
        if name in wanted and name not in graph.inputs:
            kept[name] = array

    interpret(graph, arrays, observe=observe)
    return kept


def _marked(values: Mapping[str, Array]) -> dict[str, Array]:
    """Values that only mean "masked" (the lowest float, in any format) as infinities."""
    return {name: _mark(array) for name, array in values.items()}


def _mark(array: Array) -> Array:
    if array.dtype.kind in "iub":
        return array
    wide = array.astype(np.float32)
    return np.where(np.abs(wide) > MASKED, np.copysign(np.float32(np.inf), wide), wide)
