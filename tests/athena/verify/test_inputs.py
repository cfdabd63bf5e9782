"""Seeded inputs fit their roles, and depend on nothing but their own description and the seed."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.errors import InputError
from athena.verify import InputSpec, make_inputs


def spec(name, dtype, *shape, upper=None):
    return InputSpec(name=name, dtype=dtype, shape=shape, upper=upper)


DECODE = (
    spec("input_ids", "int64", 2, 3, upper=500),
    spec("attention_mask", "int64", 2, 10),
    spec("position_ids", "int64", 2, 3),
    spec("past_key_values.0.key", "float16", 2, 4, 7, 8),
    spec("past_key_values.0.value", "bfloat16", 2, 4, 7, 8),
    spec("use_cache", "bool", 1),
)


def test_roles():
    made = make_inputs(DECODE, 0)
    assert list(made) == [s.name for s in DECODE]
    for s in DECODE:
        dtype = ml_dtypes.bfloat16 if s.dtype == "bfloat16" else s.dtype
        assert made[s.name].shape == s.shape
        assert made[s.name].dtype == dtype
    assert made["attention_mask"].min() == 1
    assert made["position_ids"].tolist() == [[7, 8, 9]] * 2
    assert made["input_ids"].min() >= 0 and made["input_ids"].max() < 500
    assert len(np.unique(made["input_ids"])) > 3
    assert 0.8 < made["past_key_values.0.key"].astype("f").std() < 1.2


def test_positions_without_cache_start_at_zero():
    made = make_inputs([spec("position_ids", "int32", 1, 4)], 0)
    assert made["position_ids"].tolist() == [[0, 1, 2, 3]]


def test_seed_and_name_decide_alone():
    one, again, other = make_inputs(DECODE, 1), make_inputs(DECODE[::-1], 1), make_inputs(DECODE, 2)
    for name in one:
        assert np.array_equal(one[name], again[name])
    assert not np.array_equal(one["input_ids"], other["input_ids"])
    key, value = one["past_key_values.0.key"], one["past_key_values.0.value"]
    assert not np.allclose(key.astype("f"), value.astype("f"), atol=0.1)


@given(
    st.sampled_from(["int8", "uint8", "int16", "int32", "int64", "uint32", "uint64"]),
    st.integers(1, 1 << 70),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_integers_stay_below_their_bound(dtype, upper):
    made = make_inputs([spec("i", dtype, 50, upper=upper)], 0)["i"]
    assert made.min() >= 0 and int(made.max()) < upper


def test_integers_without_a_bound():
    assert set(make_inputs([spec("flag", "int64", 99)], 0)["flag"].tolist()) == {0, 1}
    assert make_inputs([spec("q", "int8", 999)], 0)["q"].min() < -100


@pytest.mark.parametrize("bad", [spec("s", "str", 1), spec("i", "int64", 1, upper=0)])
def test_impossible(bad):
    with pytest.raises(InputError, match="input '"):
        make_inputs([bad], 0)
