"""Values and nodes: what a graph is made of, at the ONNX level and at the chip level alike.

In:  nothing of ours.   Out: frozen `DType`, `Value`, `Node`, `Attrs`; sizes in elements unless
named `_bytes`.
Raises: UnsupportedOpError where a numpy dtype has no `DType`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from athena.errors import UnsupportedOpError

Array = npt.NDArray[Any]

CHIP_DOMAIN = "chip"


class DType(Enum):
    """Element types of values. `.nbytes` is the size of one element in memory."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    F64 = "f64"
    I8 = "i8"
    U8 = "u8"
    I16 = "i16"
    U16 = "u16"
    I32 = "i32"
    U32 = "u32"
    I64 = "i64"
    U64 = "u64"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype of the same layout (`ml_dtypes.bfloat16` for BF16)."""
        return _NUMPY[self]

    @property
    def nbytes(self) -> int:
        """Bytes of one element."""
        return int(_NUMPY[self].itemsize)

    @property
    def is_float(self) -> bool:
        """Whether elements are floating-point numbers."""
        return self in _FLOATS

    @property
    def is_integer(self) -> bool:
        """Whether elements are integers (booleans are not)."""
        return self not in _FLOATS and self is not DType.BOOL

    @staticmethod
    def from_numpy(dtype: npt.DTypeLike) -> DType:
        """The `DType` of a numpy dtype; UnsupportedOpError if there is none (strings, complex)."""
        found = _FROM_NUMPY.get(np.dtype(dtype))
        if found is None:
            raise UnsupportedOpError(
                f"no element type for numpy '{np.dtype(dtype)}'", where="graph"
            )
        return found


_FLOATS = frozenset({DType.F32, DType.F16, DType.BF16, DType.F64})
_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F32: np.dtype(np.float32),
    DType.F16: np.dtype(np.float16),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.F64: np.dtype(np.float64),
    DType.I8: np.dtype(np.int8),
    DType.U8: np.dtype(np.uint8),
    DType.I16: np.dtype(np.int16),
    DType.U16: np.dtype(np.uint16),
    DType.I32: np.dtype(np.int32),
    DType.U32: np.dtype(np.uint32),
    DType.I64: np.dtype(np.int64),
    DType.U64: np.dtype(np.uint64),
    DType.BOOL: np.dtype(np.bool_),
}
_FROM_NUMPY = {dtype: kind for kind, dtype in _NUMPY.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attrs:
    """Base of every attribute class: one frozen dataclass per op family derives from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAttrs(Attrs):
    """Attributes of an op that has none."""


NO_ATTRS = NoAttrs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One tensor: `shape` in elements, `const` its data if known at compile time (of `dtype` and
    `shape`).

    `weightless`: a constant whose data the model file leaves out; it may be costed but never
    executed. Two values compare by name, dtype, shape and weightless; the data does not take part.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    const: Array | None = field(default=None, compare=False, repr=False)
    weightless: bool = False

    @property
    def is_const(self) -> bool:
        """Whether the value is fixed at compile time (data present or left out)."""
        return self.const is not None or self.weightless

    @property
    def elems(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor, packed."""
        return self.elems * self.dtype.nbytes

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype.value}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation. `inputs` and `outputs` are value names; "" stands for an absent optional one.

    `domain` is "" (ONNX), "com.microsoft" … or "chip". `opset` is the version of `domain` that the
    model imports (0 at chip level). `sources` names the ONNX nodes that this one stands for.
    `proto` is the serialised ONNX NodeProto, kept for nodes that may end on the host: its input
    and output order is that of `inputs` and `outputs`, its names need not be.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Attrs = NO_ATTRS
    sources: tuple[str, ...] = ()
    domain: str = ""
    opset: int = 0
    proto: bytes = field(default=b"", repr=False)

    @property
    def kind(self) -> str:
        """`Gemm` at ONNX level, `chip.Gemm` and `com.microsoft.Attention` elsewhere."""
        return f"{self.domain}.{self.op}" if self.domain else self.op
