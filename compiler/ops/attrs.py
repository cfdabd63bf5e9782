"""Attributes of the default ONNX domain, one frozen class per op family.

In:  nothing.   Out: classes whose fields are the ONNX attribute names in snake_case (`transA` is
`trans_a`).   Raises: nothing. A field without default is required. Defaults are those of the newest
opset: the frontend rewrites older forms.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.graph.types import Array, Attrs, DType


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisAttrs(Attrs):
    """Concat (axis has no default there), Flatten, Gather, GatherElements, …"""

    axis: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAxisAttrs(Attrs):
    """Softmax, LogSoftmax, Hardmax of opset 13 on."""

    axis: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcatAttrs(Attrs):
    """Concat."""

    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlattenAttrs(Attrs):
    """Flatten: rows are the axes before `axis`."""

    axis: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TransposeAttrs(Attrs):
    """Transpose: absent `perm` reverses the axes."""

    perm: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshapeAttrs(Attrs):
    """Reshape: a 0 in the shape copies the input's dimension unless `allowzero`."""

    allowzero: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitAttrs(Attrs):
    """Split: without sizes, `num_outputs` equal parts (the last one smaller)."""

    axis: int = 0
    num_outputs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeAttrs(Attrs):
    """Shape: of dimensions start … end."""

    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CastAttrs(Attrs):
    """Cast; `saturate` and `round_mode` matter for 8-bit floats only."""

    to: DType
    saturate: int = 1
    round_mode: str = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class CastLikeAttrs(Attrs):
    """CastLike."""

    saturate: int = 1
    round_mode: str = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaAttrs(Attrs):
    """Elu, LeakyRelu, ThresholdedRelu, Celu, Swish; the default is filled in from the operator's
    schema.
    """

    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeluAttrs(Attrs):
    """Selu."""

    alpha: float = 1.6732631921768188
    gamma: float = 1.0507010221481323


@dataclass(frozen=True, slots=True, kw_only=True)
class HardSigmoidAttrs(Attrs):
    """HardSigmoid."""

    alpha: float = 0.2
    beta: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class GeluAttrs(Attrs):
    """Gelu: approximate is "none" or "tanh"."""

    approximate: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsInfAttrs(Attrs):
    """IsInf."""

    detect_negative: int = 1
    detect_positive: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModAttrs(Attrs):
    """Mod: `fmod` takes the dividend's sign."""

    fmod: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BitShiftAttrs(Attrs):
    """BitShift: LEFT or RIGHT."""

    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceAttrs(Attrs):
    """ReduceX: axes are the second input."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgAttrs(Attrs):
    """ArgMax, ArgMin."""

    axis: int = 0
    keepdims: int = 1
    select_last_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CumSumAttrs(Attrs):
    """CumSum."""

    exclusive: int = 0
    reverse: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TopKAttrs(Attrs):
    """TopK."""

    axis: int = -1
    largest: int = 1
    sorted: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OneHotAttrs(Attrs):
    """OneHot: position of the new axis."""

    axis: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TriluAttrs(Attrs):
    """Trilu."""

    upper: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantOfShapeAttrs(Attrs):
    """ConstantOfShape: one element, float 0 by default."""

    value: Array | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeAttrs(Attrs):
    """Range; `stash_type` is the type in which 16-bit floats are computed."""

    stash_type: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeLikeAttrs(Attrs):
    """EyeLike."""

    dtype: DType | None = None
    k: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PadAttrs(Attrs):
    """Pad: constant, reflect, edge or wrap."""

    mode: str = "constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterAttrs(Attrs):
    """ScatterElements."""

    axis: int = 0
    reduction: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterNDAttrs(Attrs):
    """ScatterND."""

    reduction: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorScatterAttrs(Attrs):
    """TensorScatter: write position in a cache, linear or circular."""

    axis: int = -2
    mode: str = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherNDAttrs(Attrs):
    """GatherND."""

    batch_dims: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmAttrs(Attrs):
    """Gemm."""

    alpha: float = 1.0
    beta: float = 1.0
    trans_a: int = 0
    trans_b: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EinsumAttrs(Attrs):
    """Einsum."""

    equation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NormAttrs(Attrs):
    """LayerNormalization, RMSNormalization, SimplifiedLayerNormalization."""

    axis: int = -1
    epsilon: float = 1e-5
    stash_type: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceNormAttrs(Attrs):
    """InstanceNormalization."""

    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNormAttrs(Attrs):
    """GroupNormalization of opset 21 on (scale and bias per channel)."""

    epsilon: float = 1e-5
    num_groups: int
    stash_type: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNormAttrs(Attrs):
    """BatchNormalization, inference only."""

    epsilon: float = 1e-5
    momentum: float = 0.9
    training_mode: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LpNormAttrs(Attrs):
    """LpNormalization."""

    axis: int = -1
    p: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthAttrs(Attrs):
    """DepthToSpace, SpaceToDepth."""

    blocksize: int
    mode: str = "DCR"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionAttrs(Attrs):
    """Attention of opset 23 on; head counts are needed for 3-D operands."""

    is_causal: int = 0
    kv_num_heads: int | None = None
    left_window_size: int = -1
    q_num_heads: int | None = None
    qk_matmul_output_mode: int = 0
    right_window_size: int = -1
    scale: float | None = None
    softcap: float = 0.0
    softmax_precision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotaryAttrs(Attrs):
    """RotaryEmbedding of opset 23 on."""

    interleaved: int = 0
    num_heads: int = 0
    rotary_embedding_dim: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeAttrs(Attrs):
    """QuantizeLinear."""

    axis: int = 1
    block_size: int = 0
    output_dtype: DType | None = None
    precision: int = 0
    saturate: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DequantizeAttrs(Attrs):
    """DequantizeLinear."""

    axis: int = 1
    block_size: int = 0
    output_dtype: DType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvAttrs(Attrs):
    """Conv, ConvInteger, QLinearConv; absent lists mean ones and zeros."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAttrs(Attrs):
    """AveragePool, MaxPool."""

    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    count_include_pad: int = 0
    dilations: tuple[int, ...] | None = None
    kernel_shape: tuple[int, ...]
    pads: tuple[int, ...] | None = None
    storage_order: int = 0
    strides: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueAttrs(Attrs):
    """An operator without a row: the host executes its NodeProto, whose outputs were typed by
    onnx's schema.
    """

    reason: str
