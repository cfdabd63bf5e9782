"""Evaluate a netlist of one-bit gates over a whole stream of cycles at once, and count its toggles.

In:  the JSON that Yosys writes of a flat module; values of ports and registers, bit by bit, as
     arrays over time. Out: values of every net; toggles, plain and weighted by what a net drives.
Raises: InternalError for a cell that is no gate or flip-flop, or for a netlist that does not do
     what the values of its registers say.

Gates have no delay, so a net changes at most once a cycle: glitches are not in the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.errors import InternalError

Bits = NDArray[np.bool_]  # over time
_GATES: dict[str, Callable[..., Bits]] = {
    "$_NOT_": lambda a: ~a,
    "$_BUF_": lambda a: a,
    "$_AND_": lambda a, b: a & b,
    "$_NAND_": lambda a, b: ~(a & b),
    "$_OR_": lambda a, b: a | b,
    "$_NOR_": lambda a, b: ~(a | b),
    "$_XOR_": lambda a, b: a ^ b,
    "$_XNOR_": lambda a, b: ~(a ^ b),
    "$_ANDNOT_": lambda a, b: a & ~b,
    "$_ORNOT_": lambda a, b: a | ~b,
    "$_MUX_": lambda a, b, s: np.where(s, b, a),
}
_PINS = ("A", "B", "S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Netlist:
    """A flat module: bits of its ports by name, gates (kind, inputs, output) in an order in which
    inputs come first, flip-flops (data, enable, whether that is active low, output), and how many
    pins each net drives.
    """

    ports: Mapping[str, tuple[int | str, ...]]
    names: Mapping[str, tuple[int | str, ...]]
    gates: tuple[tuple[str, tuple[int | str, ...], int], ...]
    flops: tuple[tuple[int | str, int | str, bool, int], ...]
    pins: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggles:
    """Mean toggles a cycle of gate and flip-flop outputs, and their sum weighted by pins driven."""

    gates: float
    flops: float
    weighted: float


def parse(module: Mapping[str, Any]) -> Netlist:
    """One module of Yosys' JSON."""
    gates, flops, pins = {}, [], {}
    for cell in module["cells"].values():
        kind, wires = cell["type"], {pin: bits[0] for pin, bits in cell["connections"].items()}
        for pin, bit in wires.items():
            if pin not in ("Y", "Q", "C"):
                pins[bit] = pins.get(bit, 0) + 1
        if kind in _GATES:
            gates[wires["Y"]] = (kind, tuple(wires[pin] for pin in _PINS if pin in wires))
        elif kind.startswith(("$_DFF_", "$_DFFE_")):
            low = kind.startswith("$_DFFE_") and kind[-2] == "N"
            flops.append((wires["D"], wires.get("E", "1"), low, wires["Q"]))
        else:
            raise InternalError(f"{kind} is no gate", where="rtl_sim.netlist")
    order = TopologicalSorter(
        {out: [i for i in inputs if i in gates] for out, (_, inputs) in gates.items()}
    ).static_order()
    return Netlist(
        ports={name: tuple(port["bits"]) for name, port in module["ports"].items()},
        names={name: tuple(net["bits"]) for name, net in module["netnames"].items()},
        gates=tuple((gates[out][0], gates[out][1], out) for out in order),
        flops=tuple(flops),
        pins=pins,
    )


def spread(values: NDArray[np.int64], width: int) -> list[Bits]:
    """The bits of each value, the lowest first."""
    return [(values >> bit & 1).astype(bool) for bit in range(width)]


def evaluate(
    netlist: Netlist, values: Mapping[str, NDArray[np.int64]], same: Bits
) -> dict[int | str, Bits]:
    """Every net over time, from inputs and registers by name.

    `same` marks the cycles whose successor is the next one of the same stream: in these what the
    registers take is checked against their next values.
    """
    cycles = len(same)
    nets: dict[int | str, Bits] = {
        "0": np.zeros(cycles, bool), "1": np.ones(cycles, bool), "x": np.zeros(cycles, bool),
    }  # fmt: skip
    for name, value in values.items():
        bits = netlist.names.get(name, ())
        pairs = zip(bits, spread(value, len(bits)), strict=True)
        nets.update((bit, stream) for bit, stream in pairs if isinstance(bit, int))
    for kind, inputs, out in netlist.gates:
        nets[out] = _GATES[kind](*(nets[i] for i in inputs))
    for data, enable, low, out in netlist.flops:
        after = np.where(nets[enable] ^ low, nets[data], nets[out])
        if np.any(after[:-1][same[:-1]] != nets[out][1:][same[:-1]]):
            raise InternalError(
                "a register does not take what the model says", where="rtl_sim.netlist"
            )
    return nets


def toggles(
    netlist: Netlist, nets: Mapping[int | str, Bits], same: Bits, outside: Mapping[str, str]
) -> Toggles:
    """Toggles from a cycle to the next where `same` says that both are of one stream.

    `outside` names output ports and the input port of the neighbour, of the same kind, that each
    drives: its pins count as driven too.
    """
    pins = dict(netlist.pins)
    for out, into in outside.items():
        for bit, far in zip(netlist.ports[out], netlist.ports[into], strict=True):
            pins[bit] = pins.get(bit, 0) + netlist.pins.get(far, 0)
    pairs = same[:-1]

    def rate(bit: int) -> float:
        return float(np.mean((nets[bit][:-1] ^ nets[bit][1:])[pairs]))

    by_gates = {out: rate(out) for _, _, out in netlist.gates}
    by_flops = {out: rate(out) for *_, out in netlist.flops}
    return Toggles(
        gates=sum(by_gates.values()),
        flops=sum(by_flops.values()),
        weighted=sum(
            value * (1 + pins.get(out, 0)) for out, value in {**by_gates, **by_flops}.items()
        ),
    )
