"""What a model is and whether it fits a chip, for `athena inspect`.

In:  a path, optionally dimensions, a chip. Out: `Inspection` (frozen).
Raises: what loading raises; with all dimensions bound also what the passes raise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from athena.chip import Chip, load_chip
from athena.errors import DimError, printable
from compiler import passes
from compiler.frontend import ModelInfo, bind_roles, load_model
from compiler.frontend import inspect_model as _look
from compiler.graph.chip_ops import Op
from compiler.graph.graph import Graph
from compiler.ops.table import lookup
from compiler.ops.types import OpRow

_RESOLVED = ("Constant", "If", "Loop")  # the frontend resolves these, or says why it cannot
_TRIAL = {"batch": 3, "tokens": 5, "cached": 11}  # no two sums of these are equal


@dataclass(frozen=True, slots=True, kw_only=True)
class OpCount:
    """How often an operator occurs in the file, and where the op table places it."""

    op: str
    count: int
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """`roles`: dimension, what it is, the option that binds it. `compiled` and `fits` are text,
    empty while a dimension is unbound.
    """

    info: ModelInfo
    ops: tuple[OpCount, ...]
    places: str
    roles: tuple[tuple[str, str, str], ...]
    compiled: str
    fits: str


def inspect_model(path: Path, dims: Mapping[str, int], chip: str | Path | Chip) -> Inspection:
    """Describe a model file; with every dimension bound, also its chip-level graph."""
    target = load_chip(chip)
    info = _look(path)
    ops = tuple(_counted(info))
    places = Counter[str]()
    for row in ops:
        places[row.place] += row.count
    compiled = fits = ""
    if not info.dims or dims:
        graph = passes.run(load_model(path, dims=dims), precision=passes.Precision.BF16)
        compiled, fits = _compiled(graph), _fits(graph, target)
    return Inspection(
        info=info,
        ops=ops,
        places=", ".join(f"{count} {place}" for place, count in sorted(places.items())),
        roles=_roles(info),
        compiled=compiled,
        fits=fits,
    )


def _counted(info: ModelInfo) -> list[OpCount]:
    opsets = dict(info.opsets)
    rows = []
    for name, count in info.ops:
        domain, _, op = name.rpartition("::")
        row = lookup(domain, op, opsets.get(domain or "ai.onnx", 1))
        rows.append(OpCount(op=name, count=count, place=_place(row, name, info)))
    return rows


def _place(row: OpRow | None, name: str, info: ModelInfo) -> str:
    if row is not None:
        return row.place.value
    if name in _RESOLVED:
        return "folded"
    return "inlined, or not supported" if info.function_count else "not supported"


def _roles(info: ModelInfo) -> tuple[tuple[str, str, str], ...]:
    names = {
        **{number: role for role, number in _TRIAL.items()},
        _TRIAL["cached"] + _TRIAL["tokens"]: "cached + tokens",
    }
    try:
        trial = bind_roles(info, **_TRIAL)
    except DimError:
        trial = {}
    return tuple(
        (
            printable(dim),
            names.get(trial[dim], "") if dim in trial else "not recognised",
            f"--dim {printable(dim)}=N",
        )
        for dim in info.dims
    )


def _compiled(graph: Graph) -> str:
    host = sum(node.op == Op.HOST for node in graph.nodes)
    return f"{len(graph.nodes)}: {len(graph.nodes) - host} on the chip, {host} on the host"


def _fits(graph: Graph, chip: Chip) -> str:
    weights = sum(value.nbytes for value in graph.constants)
    ports = sum(graph.value(name).nbytes for name in (*graph.inputs, *graph.outputs))
    share = (weights + ports) / chip.hbm.bytes
    verdict = "yes" if share <= 1 else "NO"
    return (
        f"{verdict}: weights, inputs and outputs in bf16 take {share:.2%} of {chip.name}'s "
        f"{chip.hbm.bytes / 2**30:.3g} GiB (values in between not counted)"
    )
