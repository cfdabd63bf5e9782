"""The pipeline: one visible list of passes from the ONNX-level graph to the chip-level graph.

In:  an ONNX-level Graph (or one that has been through here before), a Precision, a Calibration for
INT8.
Out: a Graph of chip-level nodes only, verified.   Raises: UsageError for INT8 without calibration;
see the passes for others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.graph.graph import Graph
from compiler.passes import fuse_attention, fuse_gemm, fuse_norm, fuse_rope, simplify
from compiler.passes.canonicalise import Canonicalise
from compiler.passes.clean import RemoveDead, ShareCommon
from compiler.passes.engine import RewritePass
from compiler.passes.fold import FoldConstants

Pass = Callable[[Graph], Graph]

PATTERNS = (
    *simplify.REWRITES,
    *fuse_norm.REWRITES,
    *fuse_rope.REWRITES,
)
PASSES: tuple[Pass, ...] = (
    FoldConstants(),
    RemoveDead(),
    Canonicalise(),
    FoldConstants(name="fold-chip-constants"),
    ShareCommon(),
    RewritePass(name="simplify", rewrites=simplify.REWRITES),
    FoldConstants(name="fold-simplified"),
    ShareCommon(name="share-simplified"),
    RewritePass(name="fuse-patterns", rewrites=PATTERNS),
    RemoveDead(name="remove-fused"),
    RewritePass(name="fuse-attention", rewrites=(*fuse_attention.REWRITES, *simplify.REWRITES)),
    RemoveDead(name="remove-attention"),
    RewritePass(name="fuse-gemm", rewrites=(*simplify.REWRITES, *fuse_gemm.GEMM_REWRITES)),
    RewritePass(name="merge-chains", rewrites=fuse_gemm.MERGE_REWRITES),
    FoldConstants(name="fold-weights", weights=True),
    ShareCommon(name="share-fused"),
    RemoveDead(name="remove-unused"),
)


def run_passes(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """Apply `passes` in order; the very same object comes back if nothing changed."""
    for step in passes:
        graph = step(graph)
    return graph
