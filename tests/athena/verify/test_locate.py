"""The node to blame is found among nodes that only pass an error on."""

import math

import numpy as np
import pytest

from athena.errors import InputError
from athena.verify import TraceNode, per_node

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 32))


def chain(names: str) -> list[TraceNode]:
    return [
        TraceNode(name=f"n_{b}", op="Id", inputs=(a,), outputs=(b,))
        for a, b in zip("x" + names, names, strict=False)
    ]


def noise(share: float) -> np.ndarray:
    return A + share * RNG.normal(size=A.shape)


def test_first_jump():
    reference = dict.fromkeys("abcde", A)
    actual = {"a": A, "b": noise(0.003), "c": noise(0.2), "d": noise(0.21), "e": noise(0.9)}
    result = per_node(reference, actual, chain("abcde"), precision="bf16")
    assert result.first.node == "n_c"
    assert result.first.drop_db == pytest.approx(36.5, abs=2)
    assert [row.value for row in result.rows] == list("abcde")
    assert result.rows[0].snr_db == math.inf
    assert result.largest_drop.node == "n_b"
    assert result.skipped == 0


def test_no_jump_and_fused_values():
    reference = dict.fromkeys("ace", A)
    actual = {"a": A, "c": noise(0.001), "e": noise(0.001), "z": A}
    result = per_node(reference, actual, chain("abcde"), precision="bf16")
    assert result.first is None
    assert result.skipped == 2
    assert per_node(reference, actual, chain("abcde"), precision="fp32").first.value == "c"
    assert per_node(reference, actual, chain("abcde"), precision="int8").first is None


def test_scalars_and_statistics_are_not_centred():
    scalar, rows = np.array(3.0), np.array([[1.0], [1.02], [0.98]])
    reference = {"a": scalar, "b": rows}
    close = {"a": scalar * 1.001, "b": rows * 1.001}
    assert per_node(reference, close, chain("ab"), precision="bf16").first is None
    far = {"a": scalar, "b": rows * 1.1}
    assert per_node(reference, far, chain("ab"), precision="bf16").first.value == "b"


@pytest.mark.parametrize(
    ("bad", "reason"), [(A[:2], "shape"), (np.where(A > 2, np.nan, A), "NaN or infinite")]
)
def test_shape_and_special_values_are_jumps(bad, reason):
    result = per_node({"a": A, "b": A}, {"a": A, "b": bad}, chain("ab"), precision="int8")
    assert result.first.value == "b"
    assert reason in result.first.reason


def test_nothing_in_common():
    with pytest.raises(InputError, match="no value"):
        per_node({"a": A}, {"b": A}, chain("ab"), precision="bf16")
