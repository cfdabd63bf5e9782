"""A light look at a model file: no dimension bound, no weight read.

In:  a path.   Out: `ModelInfo`: versions, ports with symbolic dimensions, operator histogram,
sizes, cache pairs.
Raises: ModelFileError, ModelError, ShapeError, ExternalDataError.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import TensorProto

from athena.errors import ModelError, printable
from compiler.frontend import structure
from compiler.frontend.dims import dim_names, symbols
from compiler.frontend.files import ExternalFiles
from compiler.frontend.load import is_weightless, parse_model
from compiler.frontend.tensors import DTYPES, NIBBLES, checked_shape, type_name


@dataclass(frozen=True, slots=True, kw_only=True)
class PortInfo:
    """One graph input or output. `dims`: numbers, or names of symbolic dimensions."""

    name: str
    dtype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePair:
    """A key-value cache: the input that brings it and the output that returns it."""

    past: str
    present: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model file says of itself. `ops`: (operator, count), most frequent first.

    `parameter_count` counts elements of all initialisers, `parameter_bytes` their bytes;
    `external_bytes` is the size of the files beside the model.
    """

    file: str
    producer: str
    ir_version: int
    opsets: tuple[tuple[str, int], ...]
    inputs: tuple[PortInfo, ...]
    outputs: tuple[PortInfo, ...]
    dims: tuple[str, ...]
    ops: tuple[tuple[str, int], ...]
    node_count: int
    function_count: int
    parameter_count: int
    parameter_bytes: int
    external_bytes: int
    weightless: bool
    cache_pairs: tuple[CachePair, ...]
    metadata: tuple[tuple[str, str], ...]


def inspect_model(path: Path | str) -> ModelInfo:
    """Describe a model file."""
    path = Path(path)
    model = parse_model(path)
    file = printable(path.name)
    functions = structure.check_model(model, file)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_port(value) for value in graph.input if value.name not in constants)
    outputs = tuple(_port(value) for value in graph.output)
    nodes = list(structure.all_nodes(graph.node))
    called = [node for proto in functions.values() for node in structure.all_nodes(proto.node)]
    count, nbytes = _parameters(graph.initializer, file)
    opsets = structure.opsets_of(model.opset_import, file)
    texts = [dim for port in inputs for dim in port.dims if isinstance(dim, str)]
    return ModelInfo(
        file=file,
        producer=" ".join(part for part in (model.producer_name, model.producer_version) if part),
        ir_version=int(model.ir_version),
        opsets=tuple(sorted((domain or "ai.onnx", number) for domain, number in opsets.items())),
        inputs=inputs,
        outputs=outputs,
        dims=tuple(dict.fromkeys(name for text in texts for name in symbols(text))),
        ops=_histogram([*nodes, *called]),
        node_count=len(nodes) + len(called),
        function_count=len(functions),
        parameter_count=count,
        parameter_bytes=nbytes,
        external_bytes=_external_bytes(graph.initializer, ExternalFiles(path)),
        weightless=is_weightless(model),
        cache_pairs=cache_pairs([port.name for port in inputs], [port.name for port in outputs]),
        metadata=tuple(sorted((entry.key, entry.value) for entry in model.metadata_props)),
    )


def _port(value: Any) -> PortInfo:
    kind = value.type.WhichOneof("value")
    if kind is None:
        return PortInfo(name=value.name, dtype="undeclared", dims=())
    if kind != "tensor_type":
        raise ModelError("only tensors are supported", where=f"value '{printable(value.name)}'")
    dtype = type_name(value.type.tensor_type.elem_type)
    return PortInfo(name=value.name, dtype=dtype, dims=dim_names(value))


def _histogram(nodes: Iterable[Any]) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    for node in nodes:
        domain = structure.domain_of(node.domain)
        counts[f"{domain}::{node.op_type}" if domain else node.op_type] += 1
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _parameters(tensors: Iterable[Any], file: str) -> tuple[int, int]:
    count = nbytes = 0
    for tensor in tensors:
        shape = checked_shape(tensor.dims, f"{file}: initialiser '{printable(tensor.name)}'")
        elems = math.prod(shape)
        count += elems
        if tensor.data_type in NIBBLES:
            nbytes += (elems + 1) // 2
        elif tensor.data_type in DTYPES:
            nbytes += elems * DTYPES[tensor.data_type].nbytes
    return count, nbytes


def _external_bytes(tensors: Iterable[Any], files: ExternalFiles) -> int:
    sizes: dict[str, int] = {}
    for tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value not in sizes:
                what = f"tensor '{printable(tensor.name)}'"
                sizes[entry.value] = files.size(entry.value, what)
    return sum(sizes.values())


_PAST_WORDS = ("past_key_values", "past_key_value", "past")
_PRESENT_WORDS = ("present_key_values", "present_key_value", "present")


def cache_pairs(inputs: Sequence[str], outputs: Sequence[str]) -> tuple[CachePair, ...]:
    """Inputs and outputs whose names differ only in past (past_key_values) against present."""
    presents = {_stem(name, _PRESENT_WORDS): name for name in outputs}
    pairs = []
    for name in inputs:
        stem = _stem(name, _PAST_WORDS)
        if stem and stem in presents:
            pairs.append(CachePair(past=name, present=presents[stem]))
    return tuple(pairs)


def _stem(name: str, words: Sequence[str]) -> str:
    """The name with the first of `words` that it contains taken out; empty if it has none."""
    for word in words:
        if word in name:
            return name.replace(word, "*", 1)
    return ""
