"""The table itself: lookup, completeness, agreement with onnx's schemas."""

from __future__ import annotations

import dataclasses
import re

import pytest
from onnx import defs

from compiler import ops
from compiler.ops.types import MAX_OPSET

# Operators of transformer exports that are handled before the table: values, inlined branches.
BEFORE_THE_TABLE = {"Constant", "If"}
_EXPORTED_TEXT = """
Shape Gather MatMul Add Mul Reshape Transpose Concat Unsqueeze Cast Expand Softmax Where Range Slice
And LessOrEqual Equal Div Flatten Neg ConstantOfShape Cos Sin LayerNormalization Pow Squeeze Sqrt
IsNaN ReduceMean Sigmoid GatherND Max Sub Gemm DequantizeLinear Tanh Split
SimplifiedLayerNormalization GreaterOrEqual Greater Erf DynamicQuantizeLinear MatMulInteger
Reciprocal ReduceSum Gelu Conv QuantizeLinear Less CumSum Log Min Not Relu Tile TopK Abs Attention
GatherElements OneHot Trilu ScatterND ArgMax Identity RotaryEmbedding RMSNormalization Exp Mod Clip
ScatterElements ConvInteger QLinearMatMul Ceil InstanceNormalization NonZero ReduceMax Sign Pad
QLinearConv ReduceL2 Softplus com.microsoft.FusedMatMul
com.microsoft.SkipSimplifiedLayerNormalization com.microsoft.SkipLayerNormalization
com.microsoft.BiasGelu com.microsoft.QuickGelu com.microsoft.FastGelu com.microsoft.MatMulNBits
com.microsoft.GroupQueryAttention com.microsoft.RotaryEmbedding com.microsoft.FusedGemm
com.microsoft.Attention com.microsoft.GatherBlockQuantized com.microsoft.Gelu
com.microsoft.EmbedLayerNormalization com.microsoft.MultiHeadAttention com.microsoft.QLinearAdd
com.microsoft.QLinearMul com.microsoft.QLinearSoftmax com.microsoft.QGemm
com.microsoft.QLinearConcat
"""
EXPORTED = _EXPORTED_TEXT.split()


@pytest.mark.parametrize("name", EXPORTED)
def test_every_operator_met_in_exports_has_a_row_with_a_reference(name):
    domain, _, op = name.rpartition(".")
    row = ops.lookup(domain, op)
    assert row is not None
    assert row.reference is not None
    assert row.canon or row.place is not ops.Place.ON_CHIP


def test_rows_are_unique_and_sorted():
    keys = [(row.domain, row.name, row.since) for row in ops.ROWS]
    assert keys == sorted(set(keys))
    assert len(keys) > 140


def test_lookup_takes_the_newest_row_that_is_not_too_new():
    assert ops.lookup("", "LayerNormalization", 16) is None
    assert ops.lookup("", "LayerNormalization", 17) is ops.lookup("", "LayerNormalization", 26)
    assert ops.lookup("", "NoSuchOperator") is None
    assert ops.lookup("com.microsoft", "Softmax") is None


def snake(name: str) -> str:
    return re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize(
    "row", [r for r in ops.ROWS if not r.domain], ids=lambda row: f"{row.name}-{row.since}"
)
def test_attributes_and_arity_agree_with_onnx(row):
    """Every attribute of the newest schema has a field, and no field is made up."""
    try:
        schema = defs.get_schema(row.name, MAX_OPSET, "")
    except defs.SchemaError:
        assert row.name == "SimplifiedLayerNormalization"
        return
    fields = {field.name for field in dataclasses.fields(row.attrs)}
    known = {snake(name) for name in schema.attributes}
    assert known <= fields
    newer = {"left_window_size", "right_window_size", "stash_type", "mode", "round_mode"}
    assert fields - known <= newer
    assert row.inputs[0] == schema.min_input
    assert row.inputs[1] >= min(schema.max_input, 1 << 20) or row.inputs[1] == schema.max_input


@pytest.mark.parametrize("row", ops.ROWS, ids=lambda row: f"{row.domain}:{row.name}")
def test_limits_explain_themselves(row):
    for limit in row.limits:
        assert limit.__doc__
        assert limit.__doc__.strip().endswith(".")
