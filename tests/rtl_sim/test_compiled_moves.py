"""Lowered rotary embeddings and transpositions, alone and in front of a product: the RTL agrees
with both models in every byte and cycle, and with the graph's meaning.
"""

import ml_dtypes
import numpy as np
import pytest

from athena.isa.fields import Op as Word
from athena.isa.fields import Perm
from compiler.graph.chip_ops import GemmAttrs, Op, PermuteAttrs, RopeAttrs
from compiler.graph.types import DType
from tests.compiler.lowering.lab import Sketch
from tests.rtl_sim.lab import check_sketch, run_sketches

BF16 = ml_dtypes.bfloat16
HALF, PAIRS, TURN = Perm.ROTATE_HALF, Perm.ROTATE_PAIRS, Perm.TRANSPOSE


def _values(*shape, dtype=BF16):
    random = np.random.default_rng(len(shape))
    if dtype is np.int8:
        return random.integers(-128, 128, shape).astype(dtype)
    return random.standard_normal(shape).astype(dtype)


def _rope(interleaved, dtype):
    """Heads of 20 elements, no multiple of the lanes."""
    s = Sketch()
    x = s.input("x", _values(2, 3, 11, 20, dtype=dtype))
    tables = s.input("cos", _values(11, 20, dtype=dtype)), s.const("sin", _values(11, 20))
    attrs = RopeAttrs(interleaved=interleaved, rotary_dim=20)
    s.node(Op.ROPE, [x, *tables], "y", (2, 3, 11, 20), attrs, DType.from_numpy(np.dtype(dtype)))
    return s


def _transpose(shape, dtype):
    s = Sketch()
    x = s.input("x", _values(*shape, dtype=dtype))
    turned = (*shape[:-2], shape[-1], shape[-2])
    perm = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    s.node(Op.PERMUTE, [x], "y", turned, PermuteAttrs(perm=perm), DType.from_numpy(np.dtype(dtype)))
    return s


def _scores():
    """Rotated queries times keys that come with their positions last."""
    s = Sketch()
    q, k = s.input("q", _values(2, 9, 16)), s.input("k", _values(2, 16, 21))
    tables = s.input("cos", _values(9, 16)), s.input("sin", _values(9, 16))
    bf16 = DType.BF16
    attrs = RopeAttrs(interleaved=False, rotary_dim=16)
    s.node(Op.ROPE, [q, *tables], "turned", (2, 9, 16), attrs, bf16)
    s.node(Op.PERMUTE, [k], "keys", (2, 21, 16), PermuteAttrs(perm=(0, 2, 1)), bf16)
    attrs = GemmAttrs(trans_b=True)
    s.node(Op.GEMM, ["turned", "keys", ""], "y", (2, 9, 21), attrs, DType.F32)
    return s


CASES = {
    "rope": (_rope(interleaved=False, dtype=BF16), HALF),
    "rope of pairs": (_rope(interleaved=True, dtype=BF16), PAIRS),
    "rope in fp32": (_rope(interleaved=False, dtype=np.float32), HALF),
    "transpose": (_transpose((2, 17, 25), BF16), TURN),
    "transpose of fp32": (_transpose((9, 8), np.float32), TURN),
    "transpose of int8": (_transpose((3, 40, 33), np.int8), TURN),
    "scores": (_scores(), HALF),
}


@pytest.fixture(scope="module")
def finished(rtl_tools, ci_chip):
    return run_sketches({name: sketch for name, (sketch, _) in CASES.items()}, ci_chip)


@pytest.mark.parametrize("name", CASES)
def test_compiled_moves(finished, ci_chip, name):
    (job, result), (sketch, mode) = finished[name], CASES[name]
    words = np.concatenate([stream.words for stream in job.program.streams])
    assert mode in words["mode"][words["op"] == Word.VPERM]
    check_sketch(sketch, job, result, ci_chip)
