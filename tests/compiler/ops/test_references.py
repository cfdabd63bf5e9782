"""Every reference against onnxruntime: as a node with varying inputs, and folded at import."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler.ops.ort_case import Case, assert_same, run_onnxruntime, run_ours

RNG = np.random.default_rng(7)
MS = "com.microsoft"


def f(*shape: int, kind: type = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(kind)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def u8(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


X = f(2, 3, 4)
POSITIVE = np.abs(X) + np.float32(0.1)
UNIT = np.clip(X, -0.9, 0.9)
I32 = np.array([[7, -7, 3], [-3, 2, 5]], dtype=np.int32)
J32 = np.array([[2, 2, -2], [2, -5, 3]], dtype=np.int32)
ODD = np.array([-2.7, -0.5, 0.5, 1.5, 2.5, 300.2], dtype=np.float32)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0], dtype=np.float32)
HALF = X.astype(np.float16)

UNARY = [
    *[(op, X) for op in (
        "Abs", "Neg", "Exp", "Tanh", "Sigmoid", "Erf", "Sin", "Cos", "Tan", "Atan", "Sinh",
        "Cosh", "Asinh", "Ceil", "Floor", "Round", "Sign", "Relu", "Softplus", "Softsign",
        "Reciprocal", "Identity", "HardSwish", "Elu", "Selu", "LeakyRelu", "HardSigmoid", "Celu",
        "ThresholdedRelu",
    )],
    *[(op, POSITIVE) for op in ("Sqrt", "Log")],
    *[(op, UNIT) for op in ("Asin", "Acos", "Atanh")],
    ("Acosh", POSITIVE + 1), ("Round", ODD), ("IsNaN", SPECIAL), ("IsInf", SPECIAL),
    ("Not", X > 0), ("Abs", I32), ("Neg", I32), ("Sign", I32), ("Sigmoid", SPECIAL[1:]),
    ("Exp", HALF), ("Sigmoid", HALF), ("Sqrt", POSITIVE.astype(np.float64)),
]  # fmt: skip
BINARY = [
    *[(op, X, f(3, 1)) for op in ("Add", "Sub", "Mul", "Div", "Less", "Greater", "Equal",
                                  "LessOrEqual", "GreaterOrEqual", "PRelu")],
    *[(op, I32, J32) for op in ("Add", "Sub", "Mul", "Div", "Mod", "Less", "Equal")],
    *[(op, I32.astype(np.int64), J32.astype(np.int64)) for op in ("Add", "Div", "Mod", "Pow")
      if op != "Pow"],
    *[(op, X > 0, f(3, 1) > 0) for op in ("And", "Or", "Xor")],
    ("Pow", POSITIVE, np.float32(2.5)), ("Pow", X, np.array(3, dtype=np.int64)),
    ("Pow", I32, np.array(2, dtype=np.int32)), ("Pow", I32, np.array(2.0, dtype=np.float32)),
    ("Add", HALF, HALF), ("Max", X, f(3, 1)), ("Min", X, f(4)), ("Max", I32, J32),
    ("Sum", X, X), ("Mean", X, f(4)), ("Equal", X > 0, X > 1),
]  # fmt: skip


def cases() -> list[Case]:
    return [
        *[Case(f"{op}-{i}", op, (x,)) for i, (op, x) in enumerate(UNARY)],
        *[Case(f"{op}-{i}", op, (x, y)) for i, (op, x, y) in enumerate(BINARY)],
        Case("Mod-fmod", "Mod", (X, f(4)), {"fmod": 1}),
        Case("Where", "Where", (f(3, 1) > 0, X, f(4))),
        Case("Gelu", "Gelu", (X,), opset=20),
        Case("Gelu-tanh", "Gelu", (X,), {"approximate": "tanh"}, opset=20),
        Case("IsInf-positive", "IsInf", (SPECIAL,), {"detect_negative": 0}),
        Case("Clip-inputs", "Clip", (X, np.float32(-0.5), np.float32(0.5))),
        Case("Clip-low", "Clip", (X, np.float32(0.1))),
        Case("Clip-high-only", "Clip", (I32, None, np.array(3, dtype=np.int32))),
        Case("Clip-9", "Clip", (X,), {"min": -0.5, "max": 0.25}, opset=9),
        *[
            Case(f"Cast-{x.dtype}-{to}", "Cast", (x,), {"to": to}, opset=19)
            for x in (ODD[:5], ODD[:5].astype(np.float64), HALF, I32, I32.astype(np.int64),
                      np.array([0, 200, 255], dtype=np.uint8), X > 0)
            for to in (1, 6, 7, 9, 10, 11)
        ],
        Case("CastLike", "CastLike", (X, I32), opset=19),
    ]  # fmt: skip


def movement_cases() -> list[Case]:
    big = f(2, 6, 4)
    return [
        Case("Reshape", "Reshape", (X, ints(4, -1)), consts=(1,)),
        Case("Reshape-copy", "Reshape", (X, ints(0, 2, -1)), consts=(1,)),
        Case("Reshape-allowzero", "Reshape", (f(0, 3), ints(3, 0)), {"allowzero": 1}, consts=(1,)),
        *[Case(f"Flatten-{axis}", "Flatten", (X,), {"axis": axis}) for axis in (0, 1, -1, 3)],
        Case("Squeeze-13", "Squeeze", (f(1, 3, 1), ints(0, -1)), consts=(1,)),
        Case("Squeeze-all", "Squeeze", (f(1, 3, 1),)),
        Case("Squeeze-11", "Squeeze", (f(1, 3, 1),), {"axes": [0, -1]}, opset=11),
        Case("Unsqueeze-13", "Unsqueeze", (X, ints(0, -1)), consts=(1,)),
        Case("Unsqueeze-11", "Unsqueeze", (X,), {"axes": [1, -1]}, opset=11),
        Case("Transpose", "Transpose", (X,)),
        Case("Transpose-perm", "Transpose", (X,), {"perm": [1, 2, 0]}),
        Case("Concat", "Concat", (X, f(2, 1, 4), X), {"axis": -2}),
        Case("Concat-empty", "Concat", (f(1, 2, 0, 4), f(1, 2, 3, 4)), {"axis": 2}),
        Case("Split-13", "Split", (big, ints(1, 2, 3)), {"axis": 1}, outputs=3, consts=(1,)),
        Case("Split-13-equal", "Split", (big,), {"axis": 1}, outputs=3),
        Case("Split-11", "Split", (big,), {"axis": 1, "split": [4, 2]}, opset=11, outputs=2),
        Case("Split-11-equal", "Split", (big,), {"axis": -2}, opset=11, outputs=2),
        Case("Split-18", "Split", (big,), {"axis": 1, "num_outputs": 4}, opset=18, outputs=4),
        Case("Slice", "Slice", (big, ints(0, 1), ints(2, 5), ints(0, 1)), consts=(1, 2, 3)),
        Case(
            "Slice-back",
            "Slice",
            (big, ints(-1, 100), ints(-(2**63), -100), ints(1, 2), ints(-2, -1)),
            consts=(1, 2, 3, 4),
        ),
        Case("Slice-int32", "Slice", (big, I32[0, :1] - 7, I32[0, :1] - 6), consts=(1, 2)),
        Case("Slice-9", "Slice", (big,), {"starts": [1], "ends": [5], "axes": [1]}, opset=9),
        Case("Expand", "Expand", (f(3, 1), ints(2, 1, 4)), consts=(1,)),
        Case("Tile", "Tile", (X, ints(1, 2, 3)), consts=(1,)),
        Case("Pad", "Pad", (X, ints(0, 1, 0, 1, 0, 2)), consts=(1,)),
        Case("Pad-value", "Pad", (X, ints(0, 1, 0, 0, -1, 2), np.float32(3)), consts=(1,)),
        Case("Pad-reflect", "Pad", (X, ints(0, 1, 2, 0, 1, 1)), {"mode": "reflect"}, consts=(1,)),
        Case("Pad-edge", "Pad", (X, ints(0, 1, 2, 0, 1, 1)), {"mode": "edge"}, consts=(1,)),
        Case("Pad-axes", "Pad", (X, ints(1, 2), None, ints(-1)), opset=18, consts=(1, 3)),
        Case("Pad-9", "Pad", (X,), {"pads": [0, 1, 0, 0, 0, 2], "value": 1.5}, opset=9),
        Case("Trilu", "Trilu", (f(2, 4, 4),)),
        Case("Trilu-lower", "Trilu", (f(4, 5), np.array(1, dtype=np.int64)), {"upper": 0}),
        Case("DepthToSpace", "DepthToSpace", (f(1, 8, 2, 3),), {"blocksize": 2}),
        Case("DepthToSpace-CRD", "DepthToSpace", (f(1, 8, 2, 3),), {"blocksize": 2, "mode": "CRD"}),
        Case("SpaceToDepth", "SpaceToDepth", (f(1, 2, 4, 6),), {"blocksize": 2}),
        Case("Dropout-9", "Dropout", (X,), {"ratio": 0.5}, opset=9),
        Case("Dropout-13", "Dropout", (X, np.float32(0.5)), outputs=2, consts=(1,)),
    ]


def index_cases() -> list[Case]:
    table, ids = f(5, 4), np.array([[0, 4], [-1, 2]], dtype=np.int64)
    spots = np.array([[0, 1, 2], [2, -1, 0]], dtype=np.int64)
    places = np.array([[1], [3], [1]], dtype=np.int64)
    return [
        Case("Gather", "Gather", (table, ids)),
        Case("Gather-axis", "Gather", (X, ids[0, 1:] - 2), {"axis": -1}),
        Case("Gather-scalar", "Gather", (X, np.array(1, dtype=np.int32)), {"axis": 1}),
        Case("GatherElements", "GatherElements", (f(3, 3), spots), {"axis": 0}),
        Case("GatherElements-1", "GatherElements", (f(3, 3), spots[:, :2]), {"axis": 1}),
        Case("GatherND", "GatherND", (X, np.array([[0, 1], [1, 2]], dtype=np.int64))),
        Case(
            "GatherND-batch",
            "GatherND",
            (X, np.array([[1], [0]], dtype=np.int64)),
            {"batch_dims": 1},
        ),
        Case("ScatterElements", "ScatterElements", (f(3, 3), spots, f(2, 3)), {"axis": 0}),
        Case("Scatter-9", "Scatter", (f(3, 3), spots[:, :2], f(2, 2)), {"axis": 1}, opset=9),
        Case(
            "ScatterElements-add",
            "ScatterElements",
            (f(3, 3), np.zeros((2, 3), dtype=np.int64), f(2, 3)),
            {"reduction": "add"},
            opset=18,
        ),
        Case("ScatterND", "ScatterND", (table, np.array([[1], [3]], dtype=np.int64), f(2, 4))),
        Case("ScatterND-add", "ScatterND", (table, places, f(3, 4)), {"reduction": "add"}),
        Case(
            "ScatterND-max", "ScatterND", (table, places, f(3, 4)), {"reduction": "max"}, opset=18
        ),
        Case("TopK", "TopK", (X, ints(2)), outputs=2, consts=(1,)),
        Case("TopK-ties", "TopK", (np.round(f(3, 9)), ints(5)), outputs=2, consts=(1,)),
        Case(
            "TopK-small",
            "TopK",
            (np.round(f(3, 9)), ints(5)),
            {"largest": 0, "axis": 1},
            outputs=2,
            consts=(1,),
        ),
        Case("TopK-9", "TopK", (X,), {"k": 2}, opset=9, outputs=2),
        Case("ArgMax", "ArgMax", (X,), {"axis": -1}),
        Case("ArgMax-flat", "ArgMax", (np.round(X),), {"axis": 1, "keepdims": 0}),
        Case("ArgMin-last", "ArgMin", (np.round(X),), {"axis": 1, "select_last_index": 1}),
        Case("CumSum", "CumSum", (X, np.array(1, dtype=np.int64)), consts=(1,)),
        Case(
            "CumSum-back",
            "CumSum",
            (I32, np.array(-1, dtype=np.int32)),
            {"exclusive": 1, "reverse": 1},
            consts=(1,),
        ),
        Case(
            "OneHot",
            "OneHot",
            (ints(0, 2, -1, 7), ints(3), np.array([0.5, 2], dtype=np.float32)),
            consts=(1,),
        ),
        Case(
            "OneHot-axis",
            "OneHot",
            (np.array([[0, 2]], dtype=np.int64), ints(3), ints(0, 1)),
            {"axis": 0},
            consts=(1,),
        ),
    ]


REDUCERS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
)  # fmt: skip


def reduce_cases() -> list[Case]:
    return [
        *[Case(f"{op}-11", op, (POSITIVE,), {"axes": [1], "keepdims": 0}, 11) for op in REDUCERS],
        *[Case(f"{op}-18", op, (POSITIVE, ints(0, -1)), {}, 18, consts=(1,)) for op in REDUCERS],
        *[Case(f"{op}-all", op, (POSITIVE,), {}, 17) for op in REDUCERS],
        Case("ReduceSum-13", "ReduceSum", (X, ints(1)), {"keepdims": 0}, consts=(1,)),
        Case("ReduceSum-noop", "ReduceSum", (X,), {"noop_with_empty_axes": 1}),
        Case("ReduceSum-int", "ReduceSum", (I32, ints(1)), consts=(1,)),
        Case("ReduceMax-int", "ReduceMax", (I32.astype(np.int64),), {"axes": [0]}),
        Case("ReduceMean-double", "ReduceMean", (X.astype(np.float64),), {"axes": [2]}),
    ]


def generated_cases() -> list[Case]:
    value = np.array([2], dtype=np.int64)
    from onnx import numpy_helper

    tensor = numpy_helper.from_array(value)
    return [
        Case("ConstantOfShape", "ConstantOfShape", (ints(2, 3),), consts=(0,)),
        Case("ConstantOfShape-v", "ConstantOfShape", (ints(2),), {"value": tensor}, consts=(0,)),
        Case("Range", "Range", (ints(3)[0], ints(10)[0], ints(3)[0]), consts=(0, 1, 2)),
        Case("Range-down", "Range", (ints(10)[0], ints(0)[0], ints(-3)[0]), consts=(0, 1, 2)),
        Case(
            "Range-float",
            "Range",
            (np.float32(0.5), np.float32(2.2), np.float32(0.25)),
            consts=(0, 1, 2),
        ),
        Case("NonZero", "NonZero", (np.array([[1, 0], [2, 3]], dtype=np.int64),), consts=(0,)),
        Case("EyeLike", "EyeLike", (f(3, 4),), {"k": 1}, consts=(0,)),
    ]


def product_cases() -> list[Case]:
    a8, b8 = u8(4, 6), RNG.integers(-128, 128, (6, 5), dtype=np.int8)
    return [
        Case("MatMul", "MatMul", (f(2, 3, 4), f(4, 5))),
        Case("MatMul-batch", "MatMul", (f(2, 1, 3, 4), f(3, 4, 5))),
        Case("MatMul-row", "MatMul", (f(4), f(2, 4, 5))),
        Case("MatMul-column", "MatMul", (f(2, 3, 4), f(4))),
        Case("MatMul-half", "MatMul", (f(3, 8, kind=np.float16), f(8, 5, kind=np.float16)),
             rtol=2e-3, atol=2e-3),
        Case("Gemm", "Gemm", (f(3, 4), f(4, 5), f(5))),
        Case("Gemm-trans", "Gemm", (f(4, 3), f(5, 4), f(3, 1)),
             {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
        Case("Gemm-no-C", "Gemm", (f(3, 4), f(4, 5))),
        Case("Einsum", "Einsum", (f(2, 3, 4), f(2, 4, 5)), {"equation": "bij,bjk->bik"}),
        Case("Einsum-ellipsis", "Einsum", (f(2, 3, 4), f(4, 5)), {"equation": "...i,ij->...j"}),
        Case("Einsum-implicit", "Einsum", (f(3, 4), f(4, 5)), {"equation": "ij, jk"}),
        Case("MatMulInteger", "MatMulInteger",
             (a8, b8, np.array(7, dtype=np.uint8), np.array(3, dtype=np.int8))),
        Case("MatMulInteger-columns", "MatMulInteger",
             (a8, b8, np.array(7, dtype=np.uint8), np.arange(5, dtype=np.int8)), consts=(1, 2, 3)),
        Case("Conv", "Conv", (f(2, 4, 7, 6), f(6, 2, 3, 2), f(6)),
             {"group": 2, "strides": [2, 1], "pads": [1, 0, 1, 1], "dilations": [1, 2]}),
        Case("Conv-1d", "Conv", (f(1, 3, 10), f(4, 3, 3)), {"auto_pad": "SAME_UPPER"}),
        Case("ConvInteger", "ConvInteger", (u8(1, 2, 5, 5), u8(3, 2, 3, 3),
             np.array(3, dtype=np.uint8), np.array(4, dtype=np.uint8))),
        Case("QLinearMatMul", "QLinearMatMul",
             (a8, np.float32(0.02), np.uint8(9), u8(6, 5), np.float32(0.01), np.uint8(120),
              np.float32(0.1), np.uint8(100))),
        Case("QLinearConv", "QLinearConv",
             (u8(1, 2, 5, 5), np.float32(0.02), np.uint8(9), u8(3, 2, 3, 3), np.float32(0.01),
              np.uint8(120), np.float32(0.2), np.uint8(100),
              np.array([5, -5, 9], dtype=np.int32)), consts=(3, 4, 5, 8)),
    ]  # fmt: skip


def norm_cases() -> list[Case]:
    g, b = f(4), f(4)
    return [
        *[Case(f"Softmax-13-{a}", "Softmax", (X,), {"axis": a}, 13) for a in (0, 1, -1)],
        *[Case(f"Softmax-11-{a}", "Softmax", (X,), {"axis": a}, 11) for a in (0, 1, 2)],
        Case("Softmax-11-default", "Softmax", (X,), {}, 11),
        Case("Softmax-default", "Softmax", (X,)),
        *[Case(f"LogSoftmax-{o}", "LogSoftmax", (X,), {"axis": 1}, o) for o in (11, 13)],
        *[Case(f"Hardmax-{o}", "Hardmax", (X,), {"axis": 1}, o) for o in (11, 13)],
        Case("LayerNormalization", "LayerNormalization", (X, g, b), outputs=3),
        Case("LayerNormalization-axis", "LayerNormalization", (X, f(3, 4)), {"axis": 1}),
        Case("LayerNormalization-half", "LayerNormalization",
             (HALF, g.astype(np.float16), b.astype(np.float16)), rtol=2e-3, atol=2e-3),
        Case("SimplifiedLayerNormalization", "SimplifiedLayerNormalization", (X, g), outputs=2),
        Case("RMSNormalization", "RMSNormalization", (X, g), opset=23),
        Case("InstanceNormalization", "InstanceNormalization", (f(2, 3, 5), f(3), f(3))),
        Case("GroupNormalization", "GroupNormalization", (f(2, 4, 5), f(4), f(4)),
             {"num_groups": 2}, opset=21),
        Case("BatchNormalization", "BatchNormalization",
             (f(2, 3, 5), f(3), f(3), f(3), np.abs(f(3)))),
        Case("SkipLayerNormalization", "SkipLayerNormalization", (X, f(2, 3, 4), g, b, f(4)),
             {"epsilon": 1e-5}, domain=MS),
        Case("SkipSimplified", "SkipSimplifiedLayerNormalization", (X, f(2, 3, 4), g),
             {"epsilon": 1e-5}, domain=MS),
        Case("EmbedLayerNormalization", "EmbedLayerNormalization",
             (I32 * 0 + 1, I32 * 0, f(5, 4), f(6, 4), f(2, 4), g, b, (I32 > 0).astype(np.int32)),
             domain=MS, outputs=2),
    ]  # fmt: skip


def quantised_cases() -> list[Case]:
    scale, zero = np.float32(0.05), np.uint8(128)
    per_axis = np.array([0.1, 0.2, 0.05], dtype=np.float32)
    return [
        Case("QuantizeLinear", "QuantizeLinear", (X, scale, zero)),
        Case("QuantizeLinear-no-zero", "QuantizeLinear", (X, scale)),
        Case("QuantizeLinear-axis", "QuantizeLinear",
             (X, per_axis, np.array([0, 3, -3], dtype=np.int8)), {"axis": 1}),
        Case("QuantizeLinear-ties", "QuantizeLinear", (ODD, np.float32(1), np.int8(0))),
        Case("DequantizeLinear", "DequantizeLinear", (u8(2, 3), scale, zero)),
        Case("DequantizeLinear-axis", "DequantizeLinear",
             (u8(2, 3, 4), per_axis, np.array([0, 3, 9], dtype=np.uint8)), {"axis": 1}),
        Case("DequantizeLinear-block", "DequantizeLinear", (u8(4, 6), np.abs(f(4, 3))),
             {"axis": 1, "block_size": 2}, opset=21),
        Case("DynamicQuantizeLinear", "DynamicQuantizeLinear", (X,), outputs=3),
        Case("DynamicQuantizeLinear-zero", "DynamicQuantizeLinear", (X * 0,), outputs=3),
        Case("QLinearAdd", "QLinearAdd",
             (u8(3, 4), scale, zero, u8(4), np.float32(0.02), zero, np.float32(0.06), zero),
             domain=MS, steps=1),  # onnxruntime's vector code breaks ties another way
        Case("QLinearMul", "QLinearMul",
             (u8(3, 4), scale, zero, u8(4), np.float32(0.02), zero, np.float32(0.06), zero),
             domain=MS, consts=(1, 2, 4, 5, 6, 7)),
        Case("QLinearSoftmax", "QLinearSoftmax",
             (u8(3, 4), scale, zero, np.float32(1 / 256), np.uint8(0)),
             {"axis": -1, "opset": 13}, domain=MS, consts=(1, 2, 3, 4)),
        Case("QLinearSigmoid", "QLinearSigmoid",
             (u8(3, 4), scale, zero, np.float32(1 / 256), np.uint8(0)), domain=MS,
             consts=(1, 2, 3, 4)),
        Case("QLinearConcat", "QLinearConcat",
             (np.float32(0.06), zero, u8(3, 4), scale, zero, u8(3, 2), np.float32(0.02), zero),
             {"axis": 1}, domain=MS, consts=(0, 1, 3, 4, 6, 7)),
        Case("QGemm", "QGemm",
             (u8(3, 4), scale, zero, u8(5, 4), np.float32(0.02), zero,
              np.arange(5, dtype=np.int32), np.float32(0.1), zero),
             {"transB": 1}, domain=MS, consts=(1, 2, 3, 4, 5, 6, 7, 8)),
        Case("QGemm-float", "QGemm",
             (u8(3, 4), scale, zero, u8(4, 5), np.float32(0.02), zero),
             domain=MS, consts=(1, 2, 3, 4, 5)),
    ]  # fmt: skip


def fused_cases() -> list[Case]:
    packed = u8(8, 2, 8)
    return [
        Case("Gelu-ms", "Gelu", (X,), domain=MS),
        Case("BiasGelu", "BiasGelu", (X, f(4)), domain=MS),
        Case("FastGelu", "FastGelu", (X, f(4)), domain=MS),
        Case("QuickGelu", "QuickGelu", (X,), {"alpha": 1.5}, domain=MS),
        Case("FusedMatMul", "FusedMatMul", (f(2, 4, 3), f(2, 5, 4)),
             {"transA": 1, "transB": 1, "alpha": 0.5}, domain=MS),
        Case("FusedMatMul-batch", "FusedMatMul", (f(3, 2, 4), f(2, 4, 5)),
             {"transBatchA": 1}, domain=MS),
        Case("FusedGemm", "FusedGemm", (f(3, 4), f(4, 5), f(5)), {"activation": "Relu"},
             domain=MS),
        Case("FusedGemm-leaky", "FusedGemm", (f(3, 4), f(4, 5)),
             {"activation": "LeakyRelu", "activation_alpha": 0.2}, domain=MS),
        Case("MatMulNBits", "MatMulNBits", (f(3, 32), packed, np.abs(f(8 * 2))),
             {"K": 32, "N": 8, "block_size": 16}, domain=MS, consts=(1, 2), rtol=1e-4, atol=1e-4),
        Case("MatMulNBits-zero", "MatMulNBits",
             (f(2, 3, 30), packed, np.abs(f(8 * 2)), u8(8, 1)),
             {"K": 30, "N": 8, "block_size": 16}, domain=MS, consts=(1, 2, 3),
             rtol=1e-4, atol=1e-4),
        Case("MatMulNBits-8", "MatMulNBits", (f(3, 32), u8(8, 2, 16), np.abs(f(8 * 2))),
             {"K": 32, "N": 8, "block_size": 16, "bits": 8}, domain=MS, consts=(1, 2),
             rtol=1e-4, atol=1e-3),
        Case("GatherBlockQuantized", "GatherBlockQuantized",
             (u8(5, 16), np.array([[0, 4]], dtype=np.int64), np.abs(f(5, 2))),
             {"bits": 4, "block_size": 16}, domain=MS, consts=(0, 2)),
        Case("GatherBlockQuantized-8", "GatherBlockQuantized",
             (u8(5, 32), np.array([[0, 4]], dtype=np.int64), np.abs(f(5, 2)), u8(5, 2)),
             {"bits": 8, "block_size": 16}, domain=MS, consts=(0, 2, 3)),
    ]  # fmt: skip


def attention_cases() -> list[Case]:
    q, k, v = f(2, 3, 8), f(2, 5, 8), f(2, 5, 8)
    past = f(2, 2, 3, 4)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=np.int32)
    cos, sin = f(12, 2), f(12, 2)
    places = np.array([[3, 4, 5], [0, 1, 2]], dtype=np.int64)
    gqa = {"num_heads": 4, "kv_num_heads": 2}
    total = np.array(8, dtype=np.int32)
    return [
        Case("Attention-23", "Attention", (f(2, 4, 3, 8), f(2, 2, 5, 8), f(2, 2, 5, 6)), {}, 23,
             rtol=1e-4),
        Case("Attention-23-3d", "Attention", (q, k, v, f(3, 5)),
             {"q_num_heads": 2, "kv_num_heads": 2, "scale": 0.3}, 23, rtol=1e-4),
        Case("Attention-23-past", "Attention",
             (f(2, 2, 3, 4), f(2, 2, 3, 4), f(2, 2, 3, 4), None, past, past), {"is_causal": 1}, 23,
             outputs=3, rtol=1e-4),
        Case("RotaryEmbedding-23", "RotaryEmbedding", (f(2, 2, 3, 4), cos, sin, places), {}, 23),
        Case("RotaryEmbedding-23-i", "RotaryEmbedding", (f(2, 3, 16), cos, sin, places),
             {"interleaved": 1, "num_heads": 2, "rotary_embedding_dim": 4}, 23),
        Case("MultiHeadAttention", "MultiHeadAttention", (q, k, v), {"num_heads": 2}, domain=MS),
        Case("MultiHeadAttention-mask", "MultiHeadAttention", (q, k, v, f(24), mask),
             {"num_heads": 2}, domain=MS),
        Case("MultiHeadAttention-past", "MultiHeadAttention",
             (q, f(2, 3, 8), f(2, 3, 8), None, None, f(1, 2, 3, 6), past, past),
             {"num_heads": 2, "unidirectional": 1}, domain=MS, outputs=3),
        Case("Attention-ms", "Attention", (f(2, 3, 6), f(6, 24), f(24)), {"num_heads": 2},
             domain=MS),
        Case("Attention-ms-mask", "Attention",
             (f(2, 5, 6), f(6, 24), f(24), mask), {"num_heads": 2, "unidirectional": 1},
             domain=MS),
        Case("Attention-ms-lengths", "Attention",
             (f(2, 5, 6), f(6, 24), f(24), np.array([3, 5], dtype=np.int32)), {"num_heads": 2},
             domain=MS),
        Case("Attention-ms-past", "Attention",
             (f(2, 3, 6), f(6, 24), f(24), None, f(2, 2, 2, 4, 4)),
             {"num_heads": 2, "unidirectional": 1}, domain=MS, outputs=2),
        Case("RotaryEmbedding-ms", "RotaryEmbedding", (f(2, 3, 8), places, cos, sin), domain=MS),
        Case("RotaryEmbedding-ms-4d", "RotaryEmbedding", (f(2, 2, 3, 4), ints(4), cos, sin),
             {"interleaved": 1}, domain=MS),
        Case("RotaryEmbedding-ms-part", "RotaryEmbedding", (f(2, 3, 16), places, cos, sin),
             {"num_heads": 2, "rotary_embedding_dim": 4}, domain=MS),
        Case("GroupQueryAttention-prompt", "GroupQueryAttention",
             (f(2, 8, 64), f(2, 8, 32), f(2, 8, 32), None, None,
              np.array([7, 7], dtype=np.int32), total), gqa, domain=MS, outputs=3, consts=(6,),
             rtol=1e-4),
        Case("GroupQueryAttention-step", "GroupQueryAttention",
             (f(2, 1, 64), f(2, 1, 32), f(2, 1, 32), f(2, 2, 8, 16), f(2, 2, 8, 16),
              np.array([7, 5], dtype=np.int32), total, f(16, 8), f(16, 8)),
             {**gqa, "do_rotary": 1, "local_window_size": 4}, domain=MS, outputs=3, consts=(6,),
             rtol=1e-4),
        Case("GroupQueryAttention-packed", "GroupQueryAttention",
             (f(1, 8, 128), None, None, None, None, np.array([7], dtype=np.int32), total,
              f(16, 8), f(16, 8)),
             {**gqa, "do_rotary": 1, "softcap": 5.0}, domain=MS, consts=(6,), rtol=1e-4),
    ]  # fmt: skip


ALL = [
    *cases(),
    *movement_cases(),
    *index_cases(),
    *reduce_cases(),
    *generated_cases(),
    *product_cases(),
    *norm_cases(),
    *quantised_cases(),
    *fused_cases(),
    *attention_cases(),
]
NEVER_FOLDED = {
    "QuantizeLinear", "DequantizeLinear", "MatMulNBits", "GatherBlockQuantized", "Einsum",
}  # fmt: skip
ALWAYS_FOLDED = {"ConstantOfShape", "Range", "NonZero", "EyeLike"}


@pytest.mark.parametrize("case", ALL, ids=[case.id for case in ALL])
def test_reference_agrees_with_onnxruntime(case, tmp_path):
    expected = run_onnxruntime(case)
    if case.op not in ALWAYS_FOLDED:
        assert_same(run_ours(case, tmp_path, folded=False), expected, case)
    assert_same(run_ours(case, tmp_path, folded=True), expected, case)
