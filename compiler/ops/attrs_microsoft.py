"""Attributes of the com.microsoft operators, with onnxruntime's defaults.

In:  nothing.   Out: frozen classes; field names are the attribute names in snake_case
(`transBatchA` is `trans_batch_a`).
Raises: nothing.   Source: onnxruntime docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph.types import Attrs


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedMatMulAttrs(Attrs):
    """FusedMatMul: trans swaps the last two axes, trans_batch moves the first before the last."""

    alpha: float = 1.0
    trans_a: int = 0
    trans_b: int = 0
    trans_batch_a: int = 0
    trans_batch_b: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedGemmAttrs(Attrs):
    """FusedGemm: Gemm, then an activation named as its ONNX operator."""

    activation: str = ""
    activation_alpha: float | None = None
    activation_beta: float | None = None
    activation_gamma: float | None = None
    alpha: float = 1.0
    beta: float = 1.0
    trans_a: int = 0
    trans_b: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipNormAttrs(Attrs):
    """SkipLayerNormalization, SkipSimplifiedLayerNormalization."""

    epsilon: float = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedNormAttrs(Attrs):
    """EmbedLayerNormalization."""

    epsilon: float = 1e-12
    mask_index_type: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickGeluAttrs(Attrs):
    """QuickGelu: x · sigmoid(alpha·x)."""

    alpha: float = 1.702


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMulNBitsAttrs(Attrs):
    """MatMulNBits: B holds N rows of K weights of `bits` bits in blocks."""

    accuracy_level: int = 0
    bits: int = 4
    block_size: int
    k: int
    n: int
    weight_prepacked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherBlockQuantizedAttrs(Attrs):
    """GatherBlockQuantized."""

    bits: int = 4
    block_size: int = 128
    gather_axis: int = 0
    quantize_axis: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MsRotaryAttrs(Attrs):
    """com.microsoft RotaryEmbedding."""

    interleaved: int = 0
    is_packed_batching: int = 0
    num_heads: int = 0
    rotary_embedding_dim: int = 0
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MsAttentionAttrs(Attrs):
    """com.microsoft Attention (packed QKV weights)."""

    do_rotary: int = 0
    mask_filter_value: float = -10000.0
    num_heads: int
    past_present_share_buffer: int = 0
    qkv_hidden_sizes: tuple[int, ...] | None = None
    rotary_embedding_dim: int = 0
    scale: float = 0.0
    unidirectional: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiHeadAttentionAttrs(Attrs):
    """MultiHeadAttention."""

    mask_filter_value: float = -10000.0
    num_heads: int
    scale: float = 0.0
    unidirectional: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupQueryAttentionAttrs(Attrs):
    """GroupQueryAttention; the fields beyond the first nine must keep their defaults."""

    causal: int = 1
    do_rotary: int = 0
    kv_num_heads: int
    local_window_size: int = -1
    num_heads: int
    rotary_interleaved: int = 0
    scale: float = 0.0
    smooth_softmax: int = 0
    softcap: float = 0.0
    k_quant_type: str = "NONE"
    kv_cache_bit_width: int = 0
    qk_output: int = 0
    sliding_window_cache: int = 0
    v_quant_type: str = "NONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class QLinearSoftmaxAttrs(Attrs):
    """QLinearSoftmax: `opset` says whether axes are flattened (below 13)."""

    axis: int = -1
    opset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QGemmAttrs(Attrs):
    """QGemm."""

    alpha: float = 1.0
    trans_a: int = 0
    trans_b: int = 0
