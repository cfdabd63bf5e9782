"""The header of a program file: plain JSON values out of a `Program`'s tables, and back.

In:  a Program, or JSON from a file of unknown origin. Out: JSON values, or the tables as keyword
     arguments of `Program`; arrays are named by their place in the file and kept elsewhere.
Raises: ProgramError naming the header key, for anything that `describe` would not have written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from athena.errors import ProgramError, printable
from athena.isa.fields import AREGS, SCALARS, SEGMENTS, SEM_MAX, Dt, Queue, Seg
from athena.isa.program import HostCall, NodeInfo, Program, QueueRun, Section, Tensor

SCHEMA = 1
ITEMS_LIMIT = 1 << 22
TEXT_LIMIT_CHARS = 1 << 16
ADDRESS_LIMIT = 1 << 48
FLOPS_LIMIT = 1 << 80
RANK_LIMIT = 16
UNITS_LIMIT = 4096
KEYS = frozenset(f.name for f in fields(Program)) - {"streams", "constants"}

T = TypeVar("T")
_SEMS = ("core_sems", "cluster_sems", "chip_sems")
_PLACES = ("chip", "folded", "host")
_ROLES = ("input", "output", "kv", "host")


class Item:
    """One JSON value and the key that leads to it; every reader checks type and range."""

    def __init__(self, value: Any, where: str) -> None:
        self.value = value
        self.where = where

    def fail(self, message: str) -> ProgramError:
        """The error for this value."""
        met = printable(repr(self.value)[:200], 40)
        return ProgramError(f"{message} (met {met})", where=self.where)

    def members(self, keys: frozenset[str]) -> dict[str, Item]:
        """The items of an object that has exactly `keys`."""
        if not isinstance(self.value, dict) or self.value.keys() != keys:
            raise self.fail(f"an object with the keys {', '.join(sorted(keys))} is needed")
        return {key: Item(self.value[key], f"{self.where}.{key}") for key in keys}

    def items(self, low: int = 0, high: int = ITEMS_LIMIT) -> list[Item]:
        """The items of a list of `low` … `high` values."""
        if not isinstance(self.value, list) or not low <= len(self.value) <= high:
            raise self.fail(f"a list of {low} to {high} values is needed")
        return [Item(value, f"{self.where}[{i}]") for i, value in enumerate(self.value)]

    def integer(self, low: int, high: int) -> int:
        """A whole number in low … high."""
        if type(self.value) is not int or not low <= self.value <= high:
            raise self.fail(f"a whole number from {low} to {high} is needed")
        return self.value

    def boolean(self) -> bool:
        """True or false."""
        if type(self.value) is not bool:
            raise self.fail("true or false is needed")
        return self.value

    def text(self, limit: int = TEXT_LIMIT_CHARS) -> str:
        """A string."""
        if not isinstance(self.value, str) or len(self.value) > limit:
            raise self.fail(f"a text of at most {limit} characters is needed")
        return self.value

    def one_of(self, choices: Mapping[str, T]) -> T:
        """One of the named values."""
        if not isinstance(self.value, str) or self.value not in choices:
            raise self.fail(f"one of {', '.join(choices)} is needed")
        return choices[self.value]

    def integers(self, low: int, high: int, *, count: tuple[int, int]) -> tuple[int, ...]:
        """A list of `count` whole numbers, each in low … high."""
        return tuple(item.integer(low, high) for item in self.items(*count))

    def pairs(self, index_limit: int, low: int, high: int) -> tuple[tuple[int, int], ...]:
        """A list of [index, value] with 0 ≤ index < index_limit, ascending or not, each once."""
        out = []
        for item in self.items(0, index_limit):
            index, value = item.items(2, 2)
            out.append((index.integer(0, index_limit - 1), value.integer(low, high)))
        if len({index for index, _ in out}) != len(out):
            raise self.fail("an index appears twice")
        return tuple(out)

    def mapping(self, read: Callable[[Item], T], limit: int = 1024) -> dict[str, T]:
        """An object with any keys whose values are all read by `read`."""
        if not isinstance(self.value, dict) or len(self.value) > limit:
            raise self.fail(f"an object with at most {limit} keys is needed")
        return {
            Item(key, self.where).text(): read(Item(value, f"{self.where}.{printable(key, 40)}"))
            for key, value in self.value.items()
        }


_QUEUES = {q.name: q for q in Queue}
_DTYPES = {d.name: d for d in Dt}
_SEGMENTS = {s.name: s for s in Seg if s < Seg.L1}


def describe(program: Program) -> dict[str, Any]:
    """The tables of `program` as JSON values; host models are named by their index only."""
    return {
        "name": program.name,
        "chip": program.chip,
        "chip_hash": program.chip_hash,
        "precision": program.precision,
        "weightless": bool(program.weightless),
        "segment_bytes": _ints(program.segment_bytes),
        "scalars": _ints(program.scalars),
        **{key: [[int(i), int(v)] for i, v in sorted(getattr(program, key).items())]
           for key in _SEMS},
        "sections": [_section_json(section) for section in program.sections],
        "tensors": [_tensor_json(tensor) for tensor in program.tensors],
        "nodes": [_node_json(node) for node in program.nodes],
        "host_calls": [_call_json(call) for call in program.host_calls],
        "notes": dict(program.notes),
    }  # fmt: skip


def restore(header: dict[str, Item], streams: int, models: list[bytes]) -> dict[str, Any]:
    """Keyword arguments of `Program` (but streams and constants) from checked JSON.

    `streams` is the number of streams; `models` the bytes of each host call's ONNX model.
    """
    nodes = tuple(_node(item) for item in header["nodes"].items())
    calls = header["host_calls"].items(len(models), len(models))
    return {
        "name": header["name"].text(),
        "chip": header["chip"].text(),
        "chip_hash": header["chip_hash"].text(),
        "precision": header["precision"].text(),
        "weightless": header["weightless"].boolean(),
        "segment_bytes": header["segment_bytes"].integers(0, ADDRESS_LIMIT, count=(0, SEGMENTS)),
        "scalars": header["scalars"].integers(
            -ADDRESS_LIMIT, ADDRESS_LIMIT, count=(0, SCALARS)
        ),
        **{key: dict(header[key].pairs(SEM_MAX + 1, 0, SEM_MAX)) for key in _SEMS},
        "sections": tuple(_section(item, streams) for item in header["sections"].items()),
        "tensors": tuple(_tensor(item) for item in header["tensors"].items()),
        "nodes": nodes,
        "host_calls": tuple(
            _call(item, model, len(nodes)) for item, model in zip(calls, models, strict=True)
        ),
        "notes": header["notes"].mapping(Item.text),
    }  # fmt: skip


def _ints(values: tuple[int, ...]) -> list[int]:
    return [int(value) for value in values]


def _section_json(section: Section) -> dict[str, Any]:
    runs = [
        {
            "kind": run.kind.name,
            "stream": int(run.stream),
            "units": _ints(run.units),
            "aregs": [[int(areg), int(value)] for areg, value in run.aregs],
        }
        for run in section.runs
    ]
    return {
        "name": section.name,
        "repeat": int(section.repeat),
        "seg_base": _ints(section.seg_base),
        "seg_stride": _ints(section.seg_stride),
        "runs": runs,
    }


def _section(item: Item, streams: int) -> Section:
    got = item.members(frozenset({"name", "repeat", "seg_base", "seg_stride", "runs"}))
    per_segment = (SEGMENTS, SEGMENTS)
    return Section(
        name=got["name"].text(),
        repeat=got["repeat"].integer(1, 1 << 32),
        seg_base=got["seg_base"].integers(-ADDRESS_LIMIT, ADDRESS_LIMIT, count=per_segment),
        seg_stride=got["seg_stride"].integers(-ADDRESS_LIMIT, ADDRESS_LIMIT, count=per_segment),
        runs=tuple(_run(run, streams) for run in got["runs"].items()),
    )


def _run(item: Item, streams: int) -> QueueRun:
    got = item.members(frozenset({"kind", "stream", "units", "aregs"}))
    return QueueRun(
        kind=got["kind"].one_of(_QUEUES),
        stream=got["stream"].integer(0, streams - 1),
        units=got["units"].integers(0, UNITS_LIMIT - 1, count=(0, UNITS_LIMIT)),
        aregs=got["aregs"].pairs(AREGS, -(1 << 47), (1 << 47) - 1),
    )


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "role": tensor.role,
        "dtype": tensor.dtype.name,
        "source_dtype": tensor.source_dtype,
        "shape": _ints(tensor.shape),
        "segment": tensor.segment.name,
        "offset": int(tensor.offset),
        "strides": _ints(tensor.strides),
    }


def _tensor(item: Item) -> Tensor:
    got = item.members(frozenset(f.name for f in fields(Tensor)))
    rank = (0, RANK_LIMIT)
    tensor = Tensor(
        name=got["name"].text(),
        role=got["role"].one_of({role: role for role in _ROLES}),
        dtype=got["dtype"].one_of(_DTYPES),
        source_dtype=got["source_dtype"].text(64),
        shape=got["shape"].integers(0, ADDRESS_LIMIT, count=rank),
        segment=got["segment"].one_of(_SEGMENTS),
        offset=got["offset"].integer(0, ADDRESS_LIMIT),
        strides=got["strides"].integers(-ADDRESS_LIMIT, ADDRESS_LIMIT, count=rank),
    )
    if len(tensor.shape) != len(tensor.strides):
        raise item.fail("shape and strides have different lengths")
    return tensor


def _node_json(node: NodeInfo) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": node.op,
        "sources": list(node.sources),
        "place": node.place,
        "flops": {kind: int(value) for kind, value in node.flops.items()},
        "compulsory_bytes": int(node.compulsory_bytes),
        "dtype": node.dtype,
        "detail": node.detail,
        "mapping": node.mapping,
        "repeat": int(node.repeat),
    }


def _node(item: Item) -> NodeInfo:
    got = item.members(frozenset(f.name for f in fields(NodeInfo)))
    return NodeInfo(
        name=got["name"].text(),
        op=got["op"].text(),
        sources=tuple(source.text() for source in got["sources"].items()),
        place=got["place"].one_of({place: place for place in _PLACES}),
        flops=got["flops"].mapping(lambda value: value.integer(0, FLOPS_LIMIT), 64),
        compulsory_bytes=got["compulsory_bytes"].integer(0, FLOPS_LIMIT),
        dtype=got["dtype"].text(),
        detail=got["detail"].text(),
        mapping=got["mapping"].text(),
        repeat=got["repeat"].integer(1, 1 << 32),
    )


def _call_json(call: HostCall) -> dict[str, Any]:
    return {
        "name": call.name,
        "node": int(call.node),
        "inputs": list(call.inputs),
        "outputs": list(call.outputs),
        "flops": int(call.flops),
        "bytes": int(call.bytes),
    }


def _call(item: Item, model: bytes, nodes: int) -> HostCall:
    got = item.members(frozenset(f.name for f in fields(HostCall)) - {"model"})
    return HostCall(
        name=got["name"].text(),
        node=got["node"].integer(-1, nodes - 1),
        model=model,
        inputs=tuple(name.text() for name in got["inputs"].items()),
        outputs=tuple(name.text() for name in got["outputs"].items()),
        flops=got["flops"].integer(0, FLOPS_LIMIT),
        bytes=got["bytes"].integer(0, FLOPS_LIMIT),
    )
