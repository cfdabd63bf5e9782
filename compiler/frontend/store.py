"""The values of a graph under construction: names, types, constants.

In:  tensors of the file, results of folding.   Out: Values by graph-wide unique name.
Raises: nothing of its own (reading a tensor may).
"""

from __future__ import annotations

from typing import Any

from athena.errors import printable
from compiler.frontend.files import ExternalFiles
from compiler.frontend.tensors import Tensor, read_tensor
from compiler.graph.types import Array, DType, Value
from compiler.ops.types import TensorType


class ValueStore:
    """Values by name; also what an upgrade may ask (`upgrade.Scope`)."""

    def __init__(self, files: ExternalFiles, file: str, *, weightless: bool) -> None:
        self.files = files
        self.file = file
        self.values: dict[str, Value] = {}
        self.nibbles: set[str] = set()
        self._weightless = weightless
        self._reserved: set[str] = set()
        self._counters: dict[str, int] = {}

    def operand(self, name: str) -> Value | None:
        """The value called `name`; None for an absent one."""
        return self.values[name] if name else None

    def reserve(self, names: set[str]) -> None:
        """Keep `fresh` away from names that will be defined later."""
        self._reserved |= names

    def fresh(self, hint: str) -> str:
        """A value name not yet in use; it stays reserved."""
        name, count = hint, self._counters.get(hint, 0)
        while name in self.values or name in self._reserved:
            count += 1
            name = f"{hint}.{count}"
        self._counters[hint] = count
        self._reserved.add(name)
        return name

    def constant(self, hint: str, data: Array) -> str:
        """Name of a new constant."""
        name = self.fresh(hint)
        self.add_array(name, data)
        return name

    def add_array(self, name: str, data: Array) -> None:
        """Define a constant by its array."""
        dtype = DType.from_numpy(data.dtype)
        self.values[name] = Value(name=name, dtype=dtype, shape=data.shape, const=data)

    def add_tensor(self, name: str, tensor: Tensor) -> None:
        """Define a constant of the file."""
        self.values[name] = Value(
            name=name,
            dtype=tensor.dtype,
            shape=tensor.shape,
            const=tensor.array,
            weightless=tensor.array is None,
        )
        if tensor.nibbles:
            self.nibbles.add(name)

    def add_initialiser(self, name: str, proto: Any) -> None:
        """Define a constant by its TensorProto."""
        where = f"{self.file}: initialiser '{printable(name)}'"
        tensor = read_tensor(proto, self.files, where, weightless=self._weightless)
        self.add_tensor(name, tensor)

    def define(
        self, names: tuple[str, ...], types: tuple[TensorType, ...], data: tuple[Array, ...] | None
    ) -> None:
        """Define a node's outputs, with their data where they were folded."""
        for place, name in enumerate(names):
            if not name:
                continue
            const = None if data is None or place >= len(data) else data[place]
            kind = types[place]
            self.values[name] = Value(name=name, dtype=kind.dtype, shape=kind.shape, const=const)
