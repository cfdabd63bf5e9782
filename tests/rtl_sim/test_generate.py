"""Random programs are legal: the program verifier finds no fault, deadlock or race in them."""

import numpy as np
import pytest

from athena.isa.check import check_program
from rtl_sim.generate import random_job


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_the_verifier_accepts_them(ci_chip, seed):
    check_program(random_job(seed, ci_chip).program, ci_chip, races=True)


def test_a_seed_is_a_program(ci_chip):
    first, again, other = (random_job(seed, ci_chip).program for seed in (4, 4, 5))
    assert all(
        np.array_equal(a.words, b.words) for a, b in zip(first.streams, again.streams, strict=True)
    )
    assert any(
        len(a.words) != len(b.words) for a, b in zip(first.streams, other.streams, strict=True)
    )
