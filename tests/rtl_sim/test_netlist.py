"""Evaluation of gates over time: by hand on a small netlist."""

import numpy as np
import pytest

from athena.errors import InternalError
from rtl_sim.netlist import evaluate, parse, toggles

A, B, CARRY, SUM, HELD, ENABLE = 2, 3, 4, 5, 6, 7


def cell(kind, **pins):
    return {"type": kind, "connections": {pin: [bit] for pin, bit in pins.items()}}


def half_adder(flop="$_DFFE_PP_"):
    """The sum goes into a register while it is enabled; the sum is an AND-OR of the carry."""
    ports = {"a": A, "b": B, "en": ENABLE, "held": HELD}
    return {
        "ports": {name: {"bits": [bit]} for name, bit in ports.items()},
        "netnames": {name: {"bits": [bit]} for name, bit in {**ports, "sum": SUM}.items()},
        "cells": {
            "late": cell("$_XOR_", A=A, B=B, Y=SUM),
            "early": cell("$_AND_", A=A, B=B, Y=CARRY),
            "flop": cell(flop, C=9, D=SUM, E=ENABLE, Q=HELD),
        },
    }


STREAM = {
    "a": [0, 1, 1, 0, 0],
    "b": [0, 0, 1, 1, 1],
    "en": [1, 1, 0, 0, 1],
    "held": [1, 0, 1, 1, 1],
}
VALUES = {name: np.array(bits) for name, bits in STREAM.items()}
SAME = np.array([True, True, True, True, False])


def test_gates_and_registers():
    nets = evaluate(parse(half_adder()), VALUES, SAME)
    assert nets[SUM].tolist() == [0, 1, 0, 1, 1]
    assert nets[CARRY].tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("flop", "held"),
    [("$_DFFE_PN_", STREAM["held"]), ("$_DFFE_PP_", [1, 0, 1, 0, 1])],
    ids=["enable is active low", "another value"],
)
def test_a_register_that_does_something_else_is_refused(flop, held):
    with pytest.raises(InternalError, match="register"):
        evaluate(parse(half_adder(flop)), {**VALUES, "held": np.array(held)}, SAME)


def test_what_is_behind_the_end_of_a_stream_is_not_compared():
    values = {**VALUES, "held": np.array([1, 0, 1, 1, 0])}
    same = np.array([True, True, True, False, False])
    found = toggles(parse(half_adder()), evaluate(parse(half_adder()), values, same), same, {})
    assert found.flops == pytest.approx(2 / 3)


def test_toggles_weighted_by_pins():
    """Sum 3, carry 2, register 2 changes in four steps; the sum drives one pin, the register the
    two pins of the neighbour's input.
    """
    netlist = parse(half_adder())
    nets = evaluate(netlist, VALUES, SAME)
    found = toggles(netlist, nets, SAME, {"held": "a"})
    assert (found.gates, found.flops) == (5 / 4, 2 / 4)
    assert found.weighted == pytest.approx((3 * 2 + 2 * 1 + 2 * 3) / 4)


def test_only_gates():
    module = half_adder()
    module["cells"]["other"] = cell("$mul", A=A, B=B, Y=8)
    with pytest.raises(InternalError, match="no gate"):
        parse(module)
