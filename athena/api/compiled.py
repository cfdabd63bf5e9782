"""Compile a model: passes, calibration, lowering, and what was decided for each node.

In:  a model or path, chip, precision, calibration data. Out: `CompiledModel` (frozen).
Raises: what loading raises; UsageError, InputError, UnsupportedOpError, CapacityError, ChipError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from athena.api.arrays import read_npz
from athena.api.models import Model, load_model
from athena.api.samples import (
    CALIBRATION_SEED,
    RANDOM_SAMPLES,
    calibration_samples,
    random_inputs,
)
from athena.api.tables import Table
from athena.chip import Chip
from athena.chip import load_chip as _load_chip
from athena.errors import UnsupportedOpError, UsageError, printable
from athena.isa.container import program_hash, write_program
from athena.isa.program import Program
from compiler import passes
from compiler.graph.chip_ops import HostAttrs
from compiler.graph.graph import Graph
from compiler.lowering import LowerOptions, lower

Samples = Mapping[str, NDArray[Any]]
EXPLAIN_COLUMNS = ("node", "op", "place", "dtype", "shapes", "FLOPs", "bytes", "mapping", "sources")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompiledModel:
    """A program with the model, chip and chip-level graph that it comes from."""

    model: Model
    chip: Chip
    program: Program
    graph: Graph

    @property
    def precision(self) -> str:
        """The number format: fp32, bf16 or int8."""
        return self.program.precision

    @property
    def explain(self) -> Table:
        """One row a node: where it runs, what it costs at least, and the mapping chosen for it."""
        rows = tuple(
            (
                node.name,
                node.op,
                node.place,
                node.dtype,
                node.detail,
                sum(count for kind, count in node.flops.items() if kind != "attention_full"),
                node.compulsory_bytes,
                node.mapping,
                node.sources,
            )
            for node in self.program.nodes
        )
        return Table(title=f"nodes of {self.model.name}", columns=EXPLAIN_COLUMNS, rows=rows)

    @property
    def sha256(self) -> str:
        """Hash of the program without its constants."""
        return program_hash(self.program)

    def save(self, path: str | Path) -> None:
        """Write the program file. Raises: OutputError."""
        write_program(self.program, path)

    def to_pandas(self) -> Any:
        """The table `explain` as a DataFrame."""
        return self.explain.to_pandas()

    def __repr__(self) -> str:
        return (
            f"CompiledModel({self.model.name}, {self.chip.name}, {self.precision}, "
            f"{len(self.program.nodes)} nodes, {self.program.static_words} words)"
        )

    def _repr_html_(self) -> str:
        return self.explain._repr_html_()


def load_chip(source: str | Path | Chip, overrides: Mapping[str, Any] | None = None) -> Chip:
    """A chip by preset name, YAML path, or from another chip, with dotted-key overrides.

    Raises: ChipError naming file and key.
    """
    return _load_chip(source, overrides=overrides)


def compile(  # noqa: PLR0913 - the public call: one option each
    model: str | Path | Model,
    *,
    chip: str | Path | Chip = "athena",
    precision: str = "bf16",
    dims: Mapping[str, int] | None = None,
    calibration: None | str | Path | Samples | passes.Calibration = None,
    strict: bool = False,
    int8_scale_factor: float = 1.0,
) -> CompiledModel:
    """Compile a model for a chip.

    `precision`: fp32 (checks the compiler), bf16 or int8. `calibration` (int8 only): arrays or an
    `.npz` whose first axis are samples; without it, seeded random inputs, and every result says so.
    `strict` refuses nodes on the host. `int8_scale_factor` multiplies activation scales (1 is
    right; tests use others to show that verification can fail).
    """
    loaded = _loaded(model, dims)
    target = _load_chip(chip)
    chosen = _precision(precision)
    if calibration is not None and chosen is not passes.Precision.INT8:
        raise UsageError(
            f"precision {precision} needs no calibration", where="calibration", hint="leave it out"
        )
    ranges = _calibration(loaded, calibration) if chosen is passes.Precision.INT8 else None
    graph = passes.run(
        loaded.graph, precision=chosen, calibration=ranges, int8_scale_factor=int8_scale_factor
    )
    if strict:
        _refuse_host(loaded, graph)
    options = lower_options(loaded, chosen.value, ranges)
    program = lower(graph, target, options)
    return CompiledModel(model=loaded, chip=target, program=program, graph=graph)


def with_all_outputs(compiled: CompiledModel) -> CompiledModel:
    """The same graph with the value of every node among its outputs, lowered again."""
    graph = compiled.graph
    names = [name for node in graph.nodes for name in node.outputs if name]
    edit = graph.edit()
    edit.set_interface(inputs=graph.inputs, outputs=dict.fromkeys((*graph.outputs, *names)))
    wide = edit.freeze()
    base = lower_options(compiled.model, compiled.precision, None)
    options = replace(base, notes=compiled.program.notes)
    return replace(compiled, graph=wide, program=lower(wide, compiled.chip, options))


def lower_options(model: Model, precision: str, ranges: passes.Calibration | None) -> LowerOptions:
    """What the program's header says of its making."""
    graph = model.graph
    notes = {"model": model.name, "model_sha256": model.sha256}
    if model.dims:
        shown = (f"{printable(name)}={number}" for name, number in sorted(model.dims.items()))
        notes["dims"] = " ".join(shown)
    if ranges is not None:
        notes["calibration"] = f"{ranges.origin} ({ranges.samples} samples)"
    dtypes = {name: str(graph.value(name).dtype.numpy) for name in (*graph.inputs, *graph.outputs)}
    return LowerOptions(precision=precision, source_dtypes=dtypes, notes=notes)


def _loaded(model: str | Path | Model, dims: Mapping[str, int] | None) -> Model:
    if not isinstance(model, Model):
        return load_model(model, dims)
    if dims is not None and dict(dims) != dict(model.dims):
        raise UsageError(
            "dims are bound when a model is loaded", where=model.name, hint="load_model(path, dims)"
        )
    return model


def _precision(name: str) -> passes.Precision:
    try:
        return passes.Precision(name)
    except ValueError:
        raise UsageError(
            f"no precision '{printable(name)}'",
            where="precision",
            hint=f"one of {', '.join(item.value for item in passes.Precision)}",
        ) from None


def _calibration(
    model: Model, given: None | str | Path | Samples | passes.Calibration
) -> passes.Calibration:
    if isinstance(given, passes.Calibration):
        return given
    if model.weightless:
        return passes.Calibration(origin="none: the model has no weights")
    if given is None:
        graph = passes.run(model.graph, precision=passes.Precision.FP32)
        seeds = range(CALIBRATION_SEED, CALIBRATION_SEED + RANDOM_SAMPLES)
        samples = [random_inputs(model, graph, seed) for seed in seeds]
        origin = "calibrated on random inputs"
    elif isinstance(given, str | Path):
        samples = calibration_samples(model, read_npz(given))
        origin = f"calibrated on {printable(Path(given).name)}"
    else:
        samples, origin = calibration_samples(model, given), "calibrated on arrays of the caller"
    return passes.calibrate(model.graph, samples, origin=origin)


def _refuse_host(model: Model, graph: Graph) -> None:
    for node in graph.nodes:
        if isinstance(node.attrs, HostAttrs):
            attrs = node.attrs
            raise UnsupportedOpError(
                f"the host would run this node: {attrs.reason}",
                where=f"{model.name}: node '{printable(node.name)}' ({printable(attrs.onnx_op)})",
                hint="leave --strict out; `athena ops` lists what the chip runs",
            )
