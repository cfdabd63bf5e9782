"""Inputs for calibration and verification: seeded, or from arrays of the user.

In:  a `Model`, its chip-level graph, arrays. Out: dicts of input arrays.
Raises: InputError for arrays that do not fit the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.api.models import Model
from athena.errors import InputError, printable
from athena.isa.program import Program
from athena.verify import InputSpec, make_inputs
from compiler.graph.chip_ops import Op
from compiler.graph.graph import Graph

Array = NDArray[Any]
VERIFY_SEED = 0
CALIBRATION_SEED = 1
RANDOM_SAMPLES = 4


def input_specs(model: Model, chip_graph: Graph) -> tuple[InputSpec, ...]:
    """What inputs the model takes; integers that select rows of a table stay below its length."""
    bounds = _upper_bounds(chip_graph)
    values = (model.graph.value(name) for name in model.graph.inputs)
    return tuple(
        InputSpec(
            name=value.name,
            dtype=str(value.dtype.numpy),
            shape=value.shape,
            upper=bounds.get(value.name),
        )
        for value in values
    )


def random_inputs(model: Model, chip_graph: Graph, seed: int) -> dict[str, Array]:
    """Seeded inputs of the model; see `athena.verify.make_inputs`."""
    return make_inputs(input_specs(model, chip_graph), seed)


def program_inputs(program: Program, seed: int) -> dict[str, Array]:
    """Seeded inputs of a program without its model: integers are 0 or 1, which are rows of every
    table.
    """
    specs = [
        InputSpec(name=tensor.name, dtype=tensor.source_dtype, shape=tensor.shape)
        for tensor in program.tensors
        if tensor.role == "input"
    ]
    return make_inputs(specs, seed)


def calibration_samples(model: Model, arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Samples along the first axis of each array: whole inputs, or rows of the model's batch.

    Rows are put together to batches of the model's size; the last one is filled up with rows from
    the front, which leaves ranges as they are.
    """
    wanted = {name: model.graph.value(name).shape for name in model.graph.inputs}
    for name in wanted:
        if name not in arrays:
            raise InputError(
                f"calibration data lack input '{printable(name)}'",
                where="calibration",
                hint=f"they hold: {', '.join(map(printable, arrays)) or 'nothing'}",
            )
    columns = {name: list(_batches(name, arrays[name], shape)) for name, shape in wanted.items()}
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        shown = ", ".join(f"{printable(name)} {count}" for name, count in counts.items())
        raise InputError(f"inputs differ in their number of samples: {shown}", where="calibration")
    count = next(iter(counts.values()))
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def _batches(name: str, array: Array, shape: tuple[int, ...]) -> Iterator[Array]:
    if array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        yield from array
        return
    if array.ndim != len(shape) or not shape or array.shape[1:] != shape[1:] or not array.shape[0]:
        raise InputError(
            f"shape {list(array.shape)}; samples of input '{printable(name)}' {list(shape)} are "
            f"needed along the first axis",
            where="calibration",
        )
    for start in range(0, array.shape[0], max(1, shape[0])):
        rows = np.arange(start, start + shape[0]) % array.shape[0]
        yield array[rows]


def _upper_bounds(graph: Graph) -> dict[str, int]:
    """For integer graph inputs that reach a Gather's indices: the length of the shortest table."""
    bounds: dict[str, int] = {}
    for node in graph.nodes:
        if node.op != Op.GATHER:
            continue
        length = graph.value(node.inputs[0]).shape[0]
        for name in _integer_sources(graph, node.inputs[1]):
            bounds[name] = min(bounds.get(name, length), length)
    return bounds


def _integer_sources(graph: Graph, start: str) -> set[str]:
    found, seen, stack = set(), {start}, [start]
    while stack:
        name = stack.pop()
        if name in graph.inputs:
            found.add(name)
        maker = graph.producer(name)
        for source in maker.inputs if maker is not None and maker.op != Op.GATHER else ():
            if source and source not in seen and not graph.value(source).dtype.is_float:
                seen.add(source)
                stack.append(source)
    return found
