"""Attributes of the chip-level ops: the few node kinds (domain "chip") that lowering knows.

In:  nothing.   Out: frozen attribute classes and the enums they use.   Raises: nothing.

| op          | inputs                        | meaning |
|---|---|---|
| View | x | same elements in row-major order, shape of the output value |
| Permute | x | axes reordered by `perm` |
| Slice | x | strided block: `starts`, `steps` per axis, output value's shape |
| Expand | x | broadcast to the output value's shape |
| Concat | x0 … xn | joined along `axis` |
| Pad | x | constant `value` around x; negative pads are not allowed |
| Gemm | a, b, bias or "", operands … | steps(alpha·(a @ b) + bias) |
| Elementwise | x0 … xn | a chain of steps that starts with x0, broadcast |
| Norm | x, gamma, beta or "" | layer or RMS normalisation of the last axis |
| Softmax | x | over the last axis |
| Reduce | x | sum, mean, max, min or prod of the last axis, which goes away |
| Attention | q, k, v, mask or "" | softmax(scale·q·kᵀ + mask)·v, causal or not |
| Rope | x, cos, sin | rotary position embedding of the first `rotary_dim` elements |
| Gather | table, ids | rows of axis 0 |
| Quantize | x | to int8 or uint8 |
| Dequantize | x | to a float type |
| Host | any | an ONNX node that the host executes |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from compiler.graph.types import Attrs, DType

MAX_STEPS = 6


class Op:
    """Names of the chip-level ops."""

    VIEW = "View"
    PERMUTE = "Permute"
    SLICE = "Slice"
    EXPAND = "Expand"
    CONCAT = "Concat"
    PAD = "Pad"
    GEMM = "Gemm"
    ELEMENTWISE = "Elementwise"
    NORM = "Norm"
    SOFTMAX = "Softmax"
    REDUCE = "Reduce"
    ATTENTION = "Attention"
    ROPE = "Rope"
    GATHER = "Gather"
    QUANTIZE = "Quantize"
    DEQUANTIZE = "Dequantize"
    HOST = "Host"


class Fn(Enum):
    """Functions of one elementwise step. Comparisons and logic give 0 or 1."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"  # integers: truncated toward zero, as ONNX
    MAX = "max"
    MIN = "min"
    POW = "pow"  # exponent const in {2, 3, 0.5, -0.5, -1}
    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    AND = "and"
    OR = "or"
    ABS = "abs"
    NEG = "neg"
    EXP = "exp"
    LOG = "log"
    RECIP = "recip"
    RSQRT = "rsqrt"
    SQRT = "sqrt"
    TANH = "tanh"
    ERF = "erf"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    SIGMOID = "sigmoid"
    SILU = "silu"
    SIN = "sin"
    COS = "cos"
    FLOOR = "floor"
    ROUND = "round"  # half to even
    CEIL = "ceil"
    RELU = "relu"
    NOT = "not"
    SIGN = "sign"
    CAST = "cast"  # to `Step.to`; float to integer truncates toward zero
    SELECT = "select"  # t is the condition: operand where t is not 0, else operand2

    @property
    def arity(self) -> int:
        """Operands beside t: 0 (unary), 1 or 2 (SELECT)."""
        if self is Fn.SELECT:
            return 2
        return 1 if self in BINARY_FNS else 0


COMPARE_FNS = frozenset({Fn.EQ, Fn.NE, Fn.LT, Fn.LE, Fn.GT, Fn.GE})
LOGIC_FNS = frozenset({Fn.AND, Fn.OR, Fn.NOT})
COMMUTATIVE_FNS = frozenset({Fn.ADD, Fn.MUL, Fn.MAX, Fn.MIN, Fn.EQ, Fn.NE, Fn.AND, Fn.OR})
BINARY_FNS = (
    frozenset({Fn.ADD, Fn.SUB, Fn.MUL, Fn.DIV, Fn.MAX, Fn.MIN, Fn.POW, Fn.AND, Fn.OR}) | COMPARE_FNS
)
POW_EXPONENTS = frozenset({2.0, 3.0, 0.5, -0.5, -1.0})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """t = fn(t, second), where second is the node's input `operand` or the number `const`; `swap`:
    fn(second, t).

    SELECT: t = (operand or const) where t is not 0, else (operand2 or const2). CAST: t converted
    to `to`.
    """

    fn: Fn
    operand: int | None = None
    const: float | None = None
    swap: bool = False
    operand2: int | None = None
    const2: float | None = None
    to: DType | None = None

    @property
    def operands(self) -> tuple[int, ...]:
        """Indices of the node inputs that the step reads."""
        return tuple(index for index in (self.operand, self.operand2) if index is not None)

    def __str__(self) -> str:
        if self.fn is Fn.CAST:
            return f"cast({self.to.value if self.to else '?'})"
        names = []
        if self.fn.arity:
            names.append(f"${self.operand}" if self.operand is not None else repr(self.const))
        if self.fn is Fn.SELECT:
            names.append(f"${self.operand2}" if self.operand2 is not None else repr(self.const2))
        return f"{'r' if self.swap else ''}{self.fn.value}({','.join(names)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantAttrs:
    """int8 Gemm: y = Σ (a − a_zero_point)·b · (a_scale·w_scale[n]); `w_scale` has N entries or one
    for all.
    """

    a_scale: float
    a_zero_point: int
    w_scale: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermuteAttrs(Attrs):
    """Output axis i is input axis perm[i]."""

    perm: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceAttrs(Attrs):
    """Output element i of axis a is input element starts[a] + i·steps[a]; steps may be negative,
    never 0.
    """

    starts: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcatAttrs(Attrs):
    """Join along `axis` (not negative)."""

    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PadAttrs(Attrs):
    """`pads`: elements before each axis, then elements after each axis (2·rank numbers, none
    negative).
    """

    pads: tuple[int, ...]
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmAttrs(Attrs):
    """y = alpha·(a @ b) + bias, then `steps`; fp32 inside (int32 then fp32 where `quant`), rounded
    once at the end.

    Inputs: a [..,M,K], b [K,N] ([N,K] if trans_b) or batched [..,K,N] ([..,N,K]), bias [N] or "",
    then the steps' operands (broadcast to the output; step operand numbers index the node's
    inputs, so the first is 3).
    """

    trans_b: bool = False
    alpha: float = 1.0
    steps: tuple[Step, ...] = ()
    quant: QuantAttrs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementwiseAttrs(Attrs):
    """A linear chain, at most MAX_STEPS; t starts as input 0. No steps: a conversion to the
    output's dtype.
    """

    steps: tuple[Step, ...] = ()


class NormKind(Enum):
    """LAYER subtracts the mean; RMS does not."""

    LAYER = "layer"
    RMS = "rms"


@dataclass(frozen=True, slots=True, kw_only=True)
class NormAttrs(Attrs):
    """Normalisation over the last axis: (x − mean)/sqrt(var + eps)·gamma + beta, population
    variance.
    """

    kind: NormKind
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxAttrs(Attrs):
    """Softmax over `axis`, always the last one (−1)."""

    axis: int = -1


class ReduceKind(Enum):
    """What a Reduce computes of the last axis."""

    SUM = "sum"
    MEAN = "mean"
    MAX = "max"
    MIN = "min"
    PROD = "prod"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceAttrs(Attrs):
    """Reduction of the last axis; the output has one axis less (a View restores it where ONNX says
    keepdims).
    """

    kind: ReduceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionAttrs(Attrs):
    """q [B,H,Sq,D], k [B,Hkv,Sk,D], v [B,Hkv,Sk,Dv], mask additive, broadcast to [B,H,Sq,Sk]; out
    [B,H,Sq,Dv].

    H % Hkv == 0: head h reads kv head h // (H/Hkv). causal: query i sees keys j ≤ i +
    causal_offset. softcap: scores become softcap·tanh(scores/softcap) before the mask.
    A row whose every key is masked (−inf) gives zeros.
    """

    scale: float
    causal: bool = False
    causal_offset: int = 0
    softcap: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeAttrs(Attrs):
    """x [..,S,D], cos and sin broadcastable [..,S,rotary_dim] or [..,S,rotary_dim/2] (then used
    for both halves).

    y = x·cos + rotate(x)·sin on the first `rotary_dim` elements, the rest unchanged. rotate =
    (−x2, x1) of halves, or of neighbours where `interleaved`.
    """

    interleaved: bool
    rotary_dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeAttrs(Attrs):
    """Quantize: saturate(round_half_even(x·float32(1/scale)) + zero_point) to the output's dtype;
    Dequantize: (x − zero_point)·scale.

    One scale and zero point, or one per index of `axis` (not negative).
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAttrs(Attrs):
    """An ONNX node kept as it is, and why the chip has no unit for it.

    `node_proto`: its serialised NodeProto (b"" if the graph was not read from a file), whose
    inputs and outputs stand in the order of the node's. `input_dtypes`: what ONNX expects; values
    may be narrower (I32 for I64, BF16 for F32) and are converted by whoever executes the node.
    """

    onnx_op: str
    onnx_domain: str
    opset: int
    onnx_attrs: Attrs
    node_proto: bytes
    reason: str
    input_dtypes: tuple[DType | None, ...] = ()
