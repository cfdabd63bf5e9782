"""Lowered programs that need the table functions: the RTL agrees with both models in every byte and
cycle, and with the graph's meaning.
"""

import ml_dtypes
import numpy as np
import pytest

from athena.isa.fields import Lut
from athena.isa.fields import Op as Word
from compiler.graph.chip_ops import (
    AttentionAttrs,
    ElementwiseAttrs,
    Fn,
    GemmAttrs,
    NormAttrs,
    NormKind,
    Op,
    QuantAttrs,
    QuantizeAttrs,
    SoftmaxAttrs,
    Step,
)
from compiler.graph.types import DType
from tests.compiler.lowering.lab import Sketch
from tests.rtl_sim.lab import check_sketch, run_sketches

BF16 = ml_dtypes.bfloat16
POSITIVE = (Fn.LOG, Fn.RSQRT, Fn.SQRT)
FUNCTIONS = (
    Fn.EXP, Fn.LOG, Fn.RECIP, Fn.RSQRT, Fn.SQRT, Fn.TANH, Fn.ERF, Fn.GELU, Fn.GELU_TANH,
    Fn.SIGMOID, Fn.SILU, Fn.SIN, Fn.COS,
)  # fmt: skip


def _random(*shape, dtype=BF16, scale=1.0):
    """Seeded by the shape."""
    random = np.random.default_rng(shape)
    return (random.standard_normal(shape) * scale).astype(dtype)


def _softmax(dtype):
    s = Sketch()
    x = s.input("x", _random(13, 45, dtype=dtype, scale=3.0))
    s.node(Op.SOFTMAX, [x], "y", (13, 45), SoftmaxAttrs(), DType.from_numpy(np.dtype(dtype)))
    return s


def _norm(kind):
    s = Sketch()
    x, gamma = s.input("x", _random(11, 90)), s.const("gamma", _random(90))
    beta = s.const("beta", _random(90, scale=0.1)) if kind is NormKind.LAYER else ""
    attrs = NormAttrs(kind=kind, eps=1e-5)
    s.node(Op.NORM, [x, gamma, beta], "y", (11, 90), attrs, DType.BF16)
    return s


def _function(fn):
    """One function of fp32 values."""
    s = Sketch()
    x = _random(3, 50, dtype=np.float32, scale=4.0)
    s.input("x", np.abs(x) + np.float32(0.01) if fn in POSITIVE else x)
    s.node(Op.ELEMENTWISE, ["x"], "y", (3, 50), ElementwiseAttrs(steps=(Step(fn=fn),)))
    return s


def _attention(**kwargs):
    """Grouped heads, a mask, causal."""
    s = Sketch()
    q, k = s.input("q", _random(1, 4, 19, 16)), s.input("k", _random(1, 2, 27, 16))
    v, mask = s.input("v", _random(1, 2, 27, 24)), s.input("mask", _random(1, 1, 19, 27))
    attrs = AttentionAttrs(scale=0.25, **kwargs)
    s.node(Op.ATTENTION, [q, k, v, mask], "y", (1, 4, 19, 24), attrs, DType.BF16)
    return s


def _gated():
    """The feed-forward part of a block: norm, two products, SiLU, gate, product, sum."""
    s = Sketch()
    x, gamma = s.input("x", _random(9, 48)), s.const("gamma", _random(48))
    both = _random(2, 48, 70, scale=0.1)
    up, gate = s.const("up", both[0]), s.const("gate", both[1])
    down = s.const("down", _random(70, 48, scale=0.1))
    dtype, attrs = DType.BF16, NormAttrs(kind=NormKind.RMS, eps=1e-6)
    s.node(Op.NORM, [x, gamma, ""], "n", (9, 48), attrs, dtype)
    s.node(Op.GEMM, ["n", up, ""], "a", (9, 70), GemmAttrs(), dtype)
    silu = (Step(fn=Fn.SILU), Step(fn=Fn.MUL, operand=3))
    s.node(Op.GEMM, ["n", gate, "", "a"], "b", (9, 70), GemmAttrs(steps=silu), dtype)
    s.node(Op.GEMM, ["b", down, ""], "c", (9, 48), GemmAttrs(), dtype)
    adds = ElementwiseAttrs(steps=(Step(fn=Fn.ADD, operand=1),))
    s.node(Op.ELEMENTWISE, ["c", x], "y", (9, 48), adds, dtype)
    return s


def _int8():
    """Quantize, an int8 product with GELU behind it, quantize again."""
    s = Sketch()
    x = s.input("x", _random(17, 40, dtype=np.float32))
    weights = np.random.default_rng(1).integers(-99, 99, (40, 30)).astype(np.int8)
    first = QuantizeAttrs(scale=(0.03,), zero_point=(4,))
    s.node(Op.QUANTIZE, [x], "q", (17, 40), first, DType.I8)
    quant = QuantAttrs(a_scale=0.03, a_zero_point=4, w_scale=(0.004,))
    attrs = GemmAttrs(quant=quant, steps=(Step(fn=Fn.GELU),))
    s.node(Op.GEMM, ["q", s.const("w", weights), ""], "g", (17, 30), attrs)
    second = QuantizeAttrs(scale=(0.05,), zero_point=(-90,))
    s.node(Op.QUANTIZE, ["g"], "y", (17, 30), second, DType.I8)
    return s


CASES = {
    "softmax": (_softmax(BF16), Lut.EXP),
    "softmax in fp32": (_softmax(np.float32), Lut.EXP),
    "layer norm": (_norm(NormKind.LAYER), Lut.RSQRT),
    "RMS norm": (_norm(NormKind.RMS), Lut.RSQRT),
    "attention": (_attention(causal=True, causal_offset=8), Lut.EXP),
    "attention with softcap": (_attention(softcap=2.0), Lut.TANH),
    "gated block": (_gated(), Lut.SILU),
    "int8": (_int8(), Lut.GELU),
} | {fn.value: (_function(fn), Lut[fn.name]) for fn in FUNCTIONS}


@pytest.fixture(scope="module")
def finished(rtl_tools, ci_chip):
    return run_sketches(
        {name: sketch for name, (sketch, _) in CASES.items()}, ci_chip, int8=("int8",)
    )


@pytest.mark.parametrize("name", CASES)
def test_compiled_functions(finished, ci_chip, name):
    (job, result), (sketch, lut) = finished[name], CASES[name]
    words = np.concatenate([stream.words for stream in job.program.streams])
    assert lut in words["p"][words["op"] == Word.VEC][:, 0] >> 8 & 0xFF
    check_sketch(sketch, job, result, ci_chip)
