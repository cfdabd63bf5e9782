"""Repeated blocks: the folded program computes and times as the one written out; wide offsets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athena.chip import load_chip
from athena.functional import Machine
from athena.isa.builder import Operand, hbm, l1
from athena.isa.check import check_program
from athena.isa.container import read_program, write_program
from athena.isa.fields import Dt, Op, Seg, decode
from athena.timing import simulate
from athena.workload.export.models import build_transformer, decoder, encoder, llama
from athena.workload.export.parts import Sizes
from compiler import passes
from compiler.frontend import load_model
from compiler.graph.chip_ops import ElementwiseAttrs, Fn, GemmAttrs, NormAttrs, NormKind, Step
from compiler.graph.graph import Graph
from compiler.graph.types import DType, Node, Value
from compiler.lowering import LowerOptions, lower
from compiler.lowering.wide import Piece, WideBuilder, lift

SIZES = Sizes(
    layers=9, hidden=32, heads=2, kv_heads=1, ffn=48, vocab=40, positions=16, theta=1e4
)  # fmt: skip
MODELS = {
    "encoder": (encoder, {"batch": 1, "seq": 8}),
    "decoder": (decoder, {"batch": 2, "seq": 8}),
    "llama": (lambda b, s: llama(b, s, cached=False), {"batch": 1, "seq": 8}),
    "llama_cached": (lambda b, s: llama(b, s, cached=True), {"batch": 1, "seq": 1, "past": 5}),
}


def graph_of(name, tmp_path, *, precision="bf16", weightless=False, **sizes):
    build, dims = MODELS[name]
    path = Path(tmp_path) / f"{name}.onnx"
    model = build_transformer(build, replace(SIZES, **sizes), weightless=weightless)
    path.write_bytes(model.SerializeToString())
    return passes.run(load_model(path, dims=dims), precision=passes.Precision(precision))


def both(graph, chip):
    options = LowerOptions(precision="bf16")
    return lower(graph, chip, options), lower(graph, chip, replace(options, fold=False))


def inputs_of(graph):
    rng = np.random.default_rng(7)
    found = {}
    for name in graph.inputs:
        value = graph.value(name)
        if value.dtype.is_integer:
            found[name] = np.ones(value.shape, value.dtype.numpy)
        else:
            found[name] = rng.normal(size=value.shape).astype(np.float32)
    return found


def run(program, chip, inputs):
    wanted = {t.name: t for t in program.tensors if t.role == "input"}
    return Machine(program, chip).run(
        {name: array.astype(wanted[name].source_dtype) for name, array in inputs.items()}
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chip_name", ["athena-edge", "athena"])
def test_folded_equals_written_out(name, chip_name, tmp_path):
    chip = load_chip(chip_name)
    graph = graph_of(name, tmp_path)
    folded, plain = both(graph, chip)
    assert max(s.repeat for s in folded.sections) >= 6
    assert all(s.repeat == 1 for s in plain.sections)
    assert folded.static_words < 0.6 * plain.static_words

    inputs = inputs_of(graph)
    one, other = run(folded, chip, inputs), run(plain, chip, inputs)
    assert one.keys() == other.keys()
    for key in one:
        assert np.array_equal(one[key], other[key], equal_nan=True)
        assert np.isfinite(one[key].astype(np.float32)).all()


@pytest.mark.parametrize("name", MODELS)
def test_cycles(name, tmp_path):
    chip = load_chip("athena-edge")
    folded, plain = both(graph_of(name, tmp_path, hidden=128, ffn=256), chip)
    one, other = simulate(folded, chip), simulate(plain, chip)
    assert one.cycles == pytest.approx(other.cycles, rel=1e-3)
    assert one.counts.macs == other.counts.macs
    assert one.counts.hbm_read_bytes == other.counts.hbm_read_bytes
    assert one.counts.hbm_write_bytes == other.counts.hbm_write_bytes


@pytest.mark.parametrize("name", ["encoder", "llama_cached"])
def test_accepted_by_the_checker(name, tmp_path):
    chip = load_chip("athena-edge")
    folded, _ = both(graph_of(name, tmp_path), chip)
    check_program(folded, chip, races=True)


def test_node_table_sums_repeats(tmp_path):
    folded, plain = both(graph_of("decoder", tmp_path), load_chip("athena-edge"))

    def total(program, kind):
        return sum(node.flops.get(kind, 0) for node in program.nodes)

    for kind in ("matmul", "attention", "elementwise", "norm", "softmax"):
        assert total(folded, kind) == total(plain, kind)
    assert sum(n.compulsory_bytes for n in folded.nodes) == sum(
        n.compulsory_bytes for n in plain.nodes
    )
    assert sorted(s for n in folded.nodes for s in n.sources) == sorted(
        s for n in plain.nodes for s in n.sources
    )
    layers = next(s for s in folded.sections if s.repeat > 1)
    for run_ in layers.runs:
        numbers = folded.streams[run_.stream].nodes
        assert {folded.nodes[n].repeat for n in numbers[numbers >= 0]} == {layers.repeat}
    executed = {n for stream in folded.streams for n in stream.nodes if n >= 0}
    assert max(executed) < len(folded.nodes)


def test_file_round_trip(tmp_path):
    folded, _ = both(graph_of("encoder", tmp_path), load_chip("athena-edge"))
    write_program(folded, tmp_path / "p.athena")
    back = read_program(tmp_path / "p.athena")
    assert back.sections == folded.sections
    assert back.nodes == folded.nodes


def test_words_do_not_grow_with_layers(tmp_path):
    chip = load_chip("athena")
    few, many = (
        lower(
            graph_of("llama", tmp_path, weightless=True, layers=n),
            chip,
            LowerOptions(precision="bf16"),
        )
        for n in (12, 40)
    )
    assert many.static_words == few.static_words
    assert max(s.repeat for s in many.sections) == max(s.repeat for s in few.sections) + 28


def chain(kinds, *, same_constant=False):
    """Residual blocks: "n" x + norm(x) w, "o" two chained adds; constants apart or shared."""
    graph = Graph("chain").edit()
    rows, cols = 8, 32
    rng = np.random.default_rng(1)

    def const(name, shape):
        data = rng.normal(size=shape).astype(np.float32)
        graph.set_value(Value(name=name, dtype=DType.F32, shape=shape, const=data))
        return name

    def node(number, op, inputs, attrs):
        out = f"v{number}"
        graph.set_value(Value(name=out, dtype=DType.F32, shape=(rows, cols)))
        graph.add_node(
            Node(name=out, op=op, domain="chip", inputs=inputs, outputs=(out,), attrs=attrs)
        )
        return out

    graph.set_value(Value(name="x", dtype=DType.F32, shape=(rows, cols)))
    add = ElementwiseAttrs(steps=(Step(fn=Fn.ADD, operand=1),))
    shared = const("shared", (cols,))
    at, count = node(0, "Elementwise", ("x", shared), add), 1
    for number, kind in enumerate(kinds):
        row = shared if same_constant else const(f"c{number}", (cols,))
        if kind == "n":
            normed = node(count, "Norm", (at, row), NormAttrs(kind=NormKind.RMS, eps=1e-5))
            weights = const(f"w{number}", (cols, cols))
            residual = GemmAttrs(steps=(Step(fn=Fn.ADD, operand=3),))
            at = node(count + 1, "Gemm", (normed, weights, "", at), residual)
        else:
            middle = node(count, "Elementwise", (at, row), add)
            at = node(count + 1, "Elementwise", (middle, at), add)
        count += 2
    graph.inputs, graph.outputs = ("x",), (at,)
    return graph.freeze()


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    pattern=st.text("no", min_size=1, max_size=3),
    repeats=st.integers(2, 7),
    before=st.text("no", max_size=2),
    shared=st.booleans(),
)
def test_any_pattern_of_blocks(pattern, repeats, before, shared):
    chip = load_chip("athena-edge")
    graph = chain(before + pattern * repeats, same_constant=shared)
    folded, plain = both(graph, chip)
    inputs = {"x": np.random.default_rng(3).normal(size=(8, 32)).astype(np.float32)}
    one, other = run(folded, chip, inputs), run(plain, chip, inputs)
    for key in one:
        assert np.array_equal(one[key], other[key])


# --- offsets beyond 4 GiB


def addresses(words, offsets):
    """(op, addresses in main memory) of each executed word: a walk of SETA and LOOP of its own."""
    rows, aregs, out = decode(words), [0] * 16, []

    def execute(at, end):
        while at < end:
            row = rows[at]
            if row[0] == Op.LOOP:
                body = int(row[41])
                for _ in range(int(row[40])):
                    execute(at + 1, at + 1 + body)
                    for slot in range(4):
                        areg = int(row[50]) >> 4 * slot & 15
                        aregs[areg] += int(row[46 + slot]) if areg else 0
                at += 1 + body
                continue
            if row[0] == Op.SETA:
                value = int(row[48]) << 32 | int(row[47]) & 0xFFFFFFFF
                aregs[int(row[46])] = value + aregs[int(row[42])]
            else:
                places = tuple(
                    int(offsets[at, slot]) + aregs[int(row[17 + 4 * slot])]
                    for slot in range(6)
                    if row[16 + 4 * slot] in (Seg.ACT, Seg.WEIGHT)
                )
                out.append((int(row[0]), places))
            at += 1

    execute(0, len(words))
    return out


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_lifted_words_reach_the_same_bytes(data):
    builder = WideBuilder()
    high = st.sampled_from([0, 1 << 32, 3 << 33])
    starts = []
    for _ in range(data.draw(st.integers(1, 3))):
        starts.append(len(builder))
        builder.seta(5, data.draw(st.integers(0, 1 << 20)))
        builder.seta(6, data.draw(st.integers(0, 1 << 20)))
        pairs = [(data.draw(st.sampled_from([0, 5, 6])), data.draw(high)) for _ in range(3)]
        with builder.loop(data.draw(st.integers(1, 3)), (5, 64), (6, 128)):
            for areg, at in pairs:
                source = Operand(Seg.ACT, at + 192, 64, Dt.F32, areg)
                builder.load(source, l1(0, stride=64), rows=1, row_bytes=64)
    words = builder.stream().words
    offsets = builder.offsets(words)
    piece = Piece(
        words=words, nodes=np.zeros(len(words), np.int32), offsets=offsets, starts=tuple(starts)
    )
    lifted = lift(piece, 128)
    assert (lifted.offsets < 1 << 32).all()
    assert addresses(lifted.words, lifted.offsets) == addresses(words, offsets)
    low = np.stack([lifted.words[name][:, 1] for name in "abcdeg"], axis=1)
    assert np.array_equal(low, lifted.offsets)


def test_a_single_row_needs_no_stride():
    builder = WideBuilder()
    builder.load(hbm(Seg.ACT, 0, stride=1 << 27), l1(0, stride=64), rows=1, row_bytes=64)
    with pytest.raises(ValueError, match="does not fit"):
        builder.load(hbm(Seg.ACT, 0, stride=1 << 27), l1(0, stride=64), rows=2, row_bytes=64)


def big_chain(layers, width, rows):
    """Weightless products of [rows, width] with [width, width], each added to what came before."""
    graph = Graph("big").edit()
    graph.set_value(Value(name="v0", dtype=DType.BF16, shape=(rows, width)))
    for n in range(layers):
        weight, out = f"w{n}", f"v{n + 1}"
        graph.set_value(Value(name=weight, dtype=DType.BF16, shape=(width, width), weightless=True))
        graph.set_value(Value(name=out, dtype=DType.BF16, shape=(rows, width)))
        attrs = GemmAttrs(steps=(Step(fn=Fn.ADD, operand=3),))
        inputs = (f"v{n}", weight, "", f"v{n}")
        graph.add_node(
            Node(name=out, op="Gemm", domain="chip", inputs=inputs, outputs=(out,), attrs=attrs)
        )
    graph.inputs, graph.outputs = ("v0",), (f"v{layers}",)
    return graph.freeze()


def test_weights_beyond_4_gib():
    """8 GiB of weights: every address is in its segment, and time is the same."""
    chip = load_chip("athena")
    folded, plain = both(big_chain(6, 28672, 64), chip)
    assert folded.segment_bytes[Seg.WEIGHT] > 2 << 32
    assert len(plain.sections) > 1  # one base does not reach all weights
    for program in (folded, plain):
        check_program(program, chip, races=False)
    one, other = simulate(folded, chip), simulate(plain, chip)
    assert one.cycles == pytest.approx(other.cycles, rel=1e-3)


def test_activations_beyond_4_gib():
    """Two activations of 4 GiB each: every address is in its segment."""
    chip = load_chip("athena")
    folded, _ = both(big_chain(4, 1 << 14, 1 << 17), chip)
    assert folded.segment_bytes[Seg.ACT] > 1 << 32
    check_program(folded, chip, races=False)
