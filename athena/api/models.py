"""Models as the API holds them: the loaded graph with its file's hash and bound dimensions.

In:  a path, numbers for symbolic dimensions. Out: `Model` (frozen).
Raises: ModelFileError, ModelError, DimError, ShapeError, UnsupportedOpError, ExternalDataError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from athena.api.tables import Table
from athena.errors import printable
from compiler import frontend
from compiler.graph.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A loaded model: every dimension bound, every shape known.

    `sha256` is of the model file itself; data files beside it are not covered.
    """

    path: Path
    sha256: str
    graph: Graph
    dims: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name, safe to print."""
        return printable(self.path.name)

    @property
    def weightless(self) -> bool:
        """Whether weights were left out: the model can be costed, not executed."""
        return any(value.weightless for value in self.graph.constants)

    @property
    def ports(self) -> Table:
        """Inputs and outputs with element type and shape."""
        rows = [
            (kind, name, str(value.dtype.numpy), value.shape)
            for kind, names in (("input", self.graph.inputs), ("output", self.graph.outputs))
            for name in names
            for value in (self.graph.value(name),)
        ]
        columns = ("kind", "name", "dtype", "shape")
        return Table(title=self.name, columns=columns, rows=tuple(rows))

    def __repr__(self) -> str:
        return f"Model({self.name}, {len(self.graph.nodes)} nodes)"

    def _repr_html_(self) -> str:
        return self.ports._repr_html_()


def load_model(path: str | Path, dims: Mapping[str, int] | None = None) -> Model:
    """Load an ONNX file and bind its symbolic dimensions.

    `dims` needs a number for every symbolic dimension of the inputs; none is guessed.
    Raises: ModelFileError, ModelError, DimError, ShapeError, UnsupportedOpError, ExternalDataError.
    """
    file = Path(path)
    graph = frontend.load_model(file, dims=dims)
    with open(file, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return Model(path=file, sha256=digest, graph=graph, dims=dict(dims or {}))
