"""Views against numpy's own strides."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from athena.isa.fields import Dt
from compiler.lowering.views import View, collapse, packed

QUICK = settings(deadline=None, derandomize=True, max_examples=200, database=None)
SIZES = st.lists(st.sampled_from((1, 2, 3, 4, 6)), min_size=1, max_size=4)


def _array(view: View, data: np.ndarray) -> np.ndarray:
    start = data.reshape(-1).view(np.uint8)[view.offset :]
    return as_strided(start.view(np.float32), view.shape, view.strides)


def _start(sizes: list[int]) -> tuple[View, np.ndarray]:
    shape = tuple(sizes)
    data = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return View(buffer=0, dt=Dt.F32, shape=shape, strides=packed(shape, 4)), data


def _factored(random, total: int) -> tuple[int, ...]:
    sizes = []
    while total > 1:
        size = random.choice([d for d in range(2, total + 1) if total % d == 0])
        sizes.append(size)
        total //= size
    for _ in range(random.randint(0, 2)):
        sizes.insert(random.randint(0, len(sizes)), 1)
    return tuple(sizes) or (1,)


@QUICK
@given(SIZES, st.randoms(use_true_random=False))
def test_permute_slice_and_reshape(sizes, random):
    view, data = _start(sizes)
    perm = tuple(random.sample(range(len(sizes)), len(sizes)))
    view, wanted = view.permute(perm), data.transpose(perm)
    starts = tuple(random.randrange(n) for n in view.shape)
    kept = tuple(n - a for n, a in zip(view.shape, starts, strict=True))
    view = view.slice(starts, (1,) * len(kept), kept)
    wanted = wanted[tuple(slice(a, None) for a in starts)]
    np.testing.assert_array_equal(_array(view, data), wanted)
    shape = _factored(random, wanted.size)
    reshaped = view.reshape(shape)
    if reshaped is not None:
        np.testing.assert_array_equal(_array(reshaped, data), wanted.reshape(shape))
    else:
        copied = wanted.reshape(shape)
        assert not np.shares_memory(copied, data), "numpy can do it without a copy"


@QUICK
@given(SIZES, st.integers(0, 2), st.randoms(use_true_random=False))
def test_expand(sizes, lead, random):
    sizes = [random.choice((1, n)) for n in sizes]
    view, data = _start(sizes)
    shape = (*(random.randint(1, 3) for _ in range(lead)), *(n if n > 1 else 3 for n in sizes))
    np.testing.assert_array_equal(_array(view.expand(shape), data), np.broadcast_to(data, shape))


@QUICK
@given(SIZES, st.randoms(use_true_random=False))
def test_collapse_keeps_the_order_of_elements(sizes, random):
    view, data = _start(sizes)
    perm = tuple(random.sample(range(len(sizes)), len(sizes)))
    other = view.permute(perm)
    axes, (a, b) = collapse(other.shape, (other.strides, packed(other.shape, 4)))
    assert len(axes) <= max(len(sizes), 1)
    one = View(buffer=0, dt=Dt.F32, shape=axes, strides=a)
    np.testing.assert_array_equal(_array(one, data).ravel(), data.transpose(perm).ravel())
    assert all(step == 0 or n > 1 for n, step in zip(axes, b, strict=True))


@QUICK
@given(SIZES, st.randoms(use_true_random=False))
def test_contiguous_is_what_numpy_says(sizes, random):
    view, data = _start(sizes)
    perm = tuple(random.sample(range(len(sizes)), len(sizes)))
    assert view.permute(perm).contiguous == data.transpose(perm).flags.c_contiguous
