"""The op table: one row per ONNX operator (attributes, limits, shape rule, numpy reference,
placement).
"""

from compiler.ops.table import ROWS, known_names, lookup
from compiler.ops.types import OpRow, Place, RuleError, TensorType

__all__ = ["ROWS", "OpRow", "Place", "RuleError", "TensorType", "known_names", "lookup"]
