"""Compare what the chip computes with onnxruntime: metrics, verdict, the node to blame, inputs.

In:  arrays of both executions. Out: `VerifyReport`, `NodeComparison`; seeded inputs.
Raises: InputError, UsageError.
"""

from athena.verify.inputs import InputSpec, make_inputs
from athena.verify.judge import (
    PRECISIONS,
    Comparison,
    OutputCheck,
    Tolerance,
    VerifyReport,
    tolerance,
    verify,
)
from athena.verify.locate import NodeCheck, NodeComparison, TraceNode, per_node
from athena.verify.metrics import Metrics, measure, measure_rows, top_agreement

__all__ = [
    "PRECISIONS",
    "Comparison",
    "InputSpec",
    "Metrics",
    "NodeCheck",
    "NodeComparison",
    "OutputCheck",
    "Tolerance",
    "TraceNode",
    "VerifyReport",
    "make_inputs",
    "measure",
    "measure_rows",
    "per_node",
    "tolerance",
    "top_agreement",
    "verify",
]
