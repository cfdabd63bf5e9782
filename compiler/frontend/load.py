"""Load an ONNX file as a graph: the frontend's one entry.

In:  a path, numbers for the symbolic dimensions.   Out: Graph at ONNX level with every dtype and
shape known.
Raises: ModelFileError, ModelError, DimError, ShapeError, UnsupportedOpError, ExternalDataError,
InputError.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from athena.errors import InputError, ModelError, ModelFileError, printable
from compiler.frontend import dims as dimensions
from compiler.frontend import structure
from compiler.frontend.files import ExternalFiles, read_model_bytes, wire_fault
from compiler.frontend.fold import DEFAULT_LIMIT_ELEMS
from compiler.frontend.importer import Importer
from compiler.frontend.store import ValueStore
from compiler.graph.graph import Graph
from compiler.graph.types import Array


def parse_model(path: Path) -> Any:
    """The ModelProto of a file; ModelFileError where the file is not an ONNX model."""
    data = read_model_bytes(path)
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError, ValueError) as exc:
        fault = wire_fault(data) or "its fields contradict the format or are nested too deep"
        raise ModelFileError(
            f"the file is not a complete ONNX model: {fault}",
            where=printable(path),
            hint="check that the download or export finished",
        ) from exc
    if model.ir_version <= 0 or not model.HasField("graph"):
        raise ModelFileError(
            "the file is not an ONNX model: it has no IR version or no graph", where=printable(path)
        )
    return model


def is_weightless(model: Any) -> bool:
    """Whether the model's metadata say that initialisers may come without data."""
    return any(entry.key == "weightless" and entry.value == "1" for entry in model.metadata_props)


def load_model(
    path: Path | str,
    *,
    dims: Mapping[str, int] | None = None,
    fixed_inputs: Mapping[str, Any] | None = None,
    fold_limit_elems: int = DEFAULT_LIMIT_ELEMS,
) -> Graph:
    """Load, bind, inline, type and fold a model.

    `dims`: a number for every symbolic dimension of the inputs. `fixed_inputs`: inputs that become
    constants (a number, or an array of the input's shape), for example `{"use_cache_branch":
    True}`. `fold_limit_elems`: largest result computed here.
    """
    path = Path(path)
    model = parse_model(path)
    file = printable(path.name)
    functions = structure.check_model(model, file)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    shapes = dimensions.bind(inputs, [*graph.output, *graph.value_info], dict(dims or {}), file)
    fixed = _fixed(fixed_inputs or {}, shapes, file)
    store = ValueStore(ExternalFiles(path), file, weightless=is_weightless(model))
    importer = Importer(store, fold_limit=fold_limit_elems)
    return importer.run(model, functions, shapes, fixed)


def _fixed(
    given: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], file: str
) -> dict[str, Array]:
    result: dict[str, Array] = {}
    for name, value in given.items():
        if name not in shapes:
            raise ModelError(
                f"there is no input '{printable(name)}' to fix",
                where=file,
                hint=f"inputs are: {', '.join(printable(known) for known in shapes)}",
            )
        data = np.asarray(value)
        if data.dtype.kind not in "iufb" or data.shape not in ((), shapes[name]):
            raise InputError(
                f"a fixed input needs a number or an array of {list(shapes[name])}",
                where=f"{file}: input '{printable(name)}'",
            )
        result[name] = data
    return result
