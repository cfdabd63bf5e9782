"""The pipeline: one visible list of passes from the ONNX-level graph to the chip-level graph.

In:  an ONNX-level Graph (or one that has been through here before), a Precision, a Calibration for
INT8.
Out: a Graph of chip-level nodes only, verified.   Raises: UsageError for INT8 without calibration;
see the passes for others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from athena.errors import UsageError
from compiler.graph.graph import Graph
from compiler.graph.types import Array, DType
from compiler.passes import (
    fuse_attention,
    fuse_gemm,
    fuse_norm,
    fuse_quant,
    fuse_rope,
    simplify,
)
from compiler.passes.calibration import Calibration, observe_ranges
from compiler.passes.canonicalise import Canonicalise
from compiler.passes.clean import RemoveDead, ShareCommon
from compiler.passes.engine import RewritePass
from compiler.passes.fold import FoldConstants
from compiler.passes.int8 import QuantiseGemms
from compiler.passes.precision import Precision, StoreFloats
from compiler.passes.sources import complete_sources
from compiler.passes.verify import verify

Pass = Callable[[Graph], Graph]

PATTERNS = (
    *simplify.REWRITES,
    *fuse_norm.REWRITES,
    *fuse_rope.REWRITES,
    *fuse_quant.REWRITES,
)
_FUSE_ATTENTION = (*fuse_attention.REWRITES, *simplify.REWRITES)
_FUSE_GEMM = (*simplify.REWRITES, *fuse_gemm.GEMM_REWRITES)


def chip_passes(*, exact_masked_rows: bool = True) -> tuple[Pass, ...]:
    """From ONNX level to the fused F32 chip-level graph.

    Not `exact_masked_rows`: finite masks are split into the causal flag and padding as −inf is. It
    saves a mask of queries by keys and changes only queries that see no key at all.
    """
    finite = () if exact_masked_rows else (fuse_attention.SPLIT_FINITE,)
    return (
        FoldConstants(),
        RemoveDead(),
        Canonicalise(),
        FoldConstants(name="fold-chip-constants"),
        ShareCommon(),
        RewritePass(name="simplify", rewrites=simplify.REWRITES),
        FoldConstants(name="fold-simplified"),
        ShareCommon(name="share-simplified"),
        RewritePass(name="fuse-patterns", rewrites=PATTERNS),
        RewritePass(name="fuse-attention", rewrites=(*finite, *_FUSE_ATTENTION)),
        RewritePass(name="fuse-gemm", rewrites=_FUSE_GEMM),
        RewritePass(name="merge-chains", rewrites=fuse_gemm.MERGE_REWRITES),
        FoldConstants(name="fold-weights", weights=True),
        ShareCommon(name="share-fused"),
        RemoveDead(name="remove-unused"),
    )


def precision_passes(
    precision: Precision, calibration: Calibration | None, int8_scale_factor: float
) -> tuple[Pass, ...]:
    """From the F32 chip-level graph to the one in `precision`."""
    if precision is Precision.FP32:
        return (StoreFloats(dtype=DType.F32),)
    floats = StoreFloats(dtype=DType.BF16)
    if precision is Precision.BF16:
        return (floats,)
    if calibration is None:
        raise UsageError(
            "int8 needs a calibration", where="precision", hint="calibrate(graph, samples)"
        )
    return (QuantiseGemms(calibration=calibration, scale_factor=int8_scale_factor), floats)


def run(
    graph: Graph,
    *,
    precision: Precision,
    calibration: Calibration | None = None,
    int8_scale_factor: float = 1.0,
    exact_masked_rows: bool = True,
) -> Graph:
    """The chip-level graph in `precision`, verified.

    `int8_scale_factor` multiplies int8 activation scales (1 is right). `exact_masked_rows`: see
    `chip_passes`.
    """
    chip = run_passes(graph, chip_passes(exact_masked_rows=exact_masked_rows))
    chip = complete_sources(graph, chip)
    result = run_passes(chip, precision_passes(precision, calibration, int8_scale_factor))
    verify(result)
    return result


def calibrate(
    graph: Graph, samples: Sequence[Mapping[str, Array]], *, origin: str = ""
) -> Calibration:
    """Ranges of what the model's products read, over `samples`, in fp32."""
    return observe_ranges(run(graph, precision=Precision.FP32), samples, origin=origin)


def run_passes(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """Apply `passes` in order; the very same object comes back if nothing changed."""
    for step in passes:
        graph = step(graph)
    return graph
