"""Simulated cycles against the chip's best, and how fast the timing engine gets there.

In:  nothing.   Out: a table, and JSON with --json.
Operands and results lie in main memory, bf16; models without weights. The best case comes from
`benchmarks.bounds`, which knows neither compiler nor simulator.

    python -m benchmarks.roofline --json roofline.json
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from athena.chip import Chip, load_chip
from athena.isa.builder import StreamBuilder, hbm, l1
from athena.isa.fields import S_CORE, Queue, Seg
from athena.isa.program import Program, QueueRun, Section
from athena.timing import simulate
from athena.workload.export import build_preset
from benchmarks import bounds
from benchmarks.bounds import Work
from benchmarks.tables import Row, parser, show, write
from compiler import passes
from compiler.frontend import load_model
from compiler.graph.chip_ops import AttentionAttrs, GemmAttrs, Op
from compiler.graph.graph import Graph
from compiler.graph.types import Attrs, DType, Node, Value
from compiler.lowering import LowerOptions, lower

CHIP = "athena"
STREAM_ROW_BYTES = 4096
STREAM_BYTES_A_CORE = 8 << 20
Case = tuple[str, Work, Callable[[], Graph]]


def main() -> None:
    """All cases."""
    options = parser(__doc__)
    options.add_argument("--only", help="cases whose name has this in it")
    given = options.parse_args()
    chip, best = load_chip(CHIP), bounds.peaks(CHIP)
    ceiling = _streaming_fraction(chip, best.bytes)
    print(f"streaming ceiling: {ceiling:.3f} of {best.bytes:.0f} bytes a cycle")
    rows = [
        _measured(case, chip, best, ceiling)
        for case in _cases()
        if not given.only or given.only in case[0]
    ]
    show(f"bf16 on {CHIP}", rows)
    write(given.json, "roofline", rows)


def _cases() -> list[Case]:
    cube = [(f"gemm {n}x{n}x{n}", bounds.gemm(n, n, n), _gemm(n, n, n)) for n in (2048, 4096, 8192)]
    return [
        *cube,
        ("gemm 1x8192x8192", bounds.gemm(1, 8192, 8192), _gemm(1, 8192, 8192)),
        ("attention 32x4096x128", bounds.attention(32, 4096, 128), _attention(32, 4096, 128)),
        (
            "llama3-8b layer, decode at 4096",
            bounds.llama_layer(seq=1, past=4096),
            _layer("llama3-8b-layer-kv", {"batch": 1, "seq": 1, "past": 4096}),
        ),
        (
            "llama3-8b layer, prefill 2048",
            bounds.llama_layer(seq=2048, past=0),
            _layer("llama3-8b-layer", {"batch": 1, "seq": 2048}),
        ),
    ]


def _measured(case: Case, chip: Chip, best: bounds.Peaks, ceiling: float) -> Row:
    name, work, graph_of = case
    graph = graph_of()
    start = time.perf_counter()
    program = lower(graph, chip, LowerOptions(precision="bf16"))
    lowered = time.perf_counter()
    timeline = simulate(program, chip, exact=True)
    wall = time.perf_counter() - lowered
    told = sum(node.flops.get(k, 0) for node in program.nodes for k in ("matmul", "attention"))
    fraction = best.cycles(work) / timeline.cycles
    return {
        "case": name,
        "limit": best.limit(work),
        "best_cycles": round(best.cycles(work)),
        "cycles": timeline.cycles,
        "of_bound": round(fraction, 4),
        "of_ceiling": round(fraction / ceiling, 4) if best.limit(work) == "memory" else None,
        "flops_told": round(told / work.flops, 4),
        "read_bytes": round(timeline.counts.hbm_read_bytes / work.bytes, 3),
        "lower_s": round(lowered - start, 3),
        "timing_s": round(wall, 3),
        "events": timeline.events,
        "events_per_s": round(timeline.events / wall),
        "words": program.static_words,
    }


def _streaming_fraction(chip: Chip, peak_bytes: float) -> float:
    """Share of the peak that all cores reach together, each reading one long run of bytes."""
    b = StreamBuilder()
    rows = chip.core.l1_bytes // 8 // STREAM_ROW_BYTES
    chunk = rows * STREAM_ROW_BYTES
    b.seta(1, mult=STREAM_BYTES_A_CORE, scalar=S_CORE)
    with b.loop(STREAM_BYTES_A_CORE // chunk, (1, chunk)):
        source = hbm(Seg.WEIGHT, 0, stride=STREAM_ROW_BYTES, areg=1)
        b.load(source, l1(0, stride=STREAM_ROW_BYTES), rows=rows, row_bytes=STREAM_ROW_BYTES)
    b.end()
    total = STREAM_BYTES_A_CORE * chip.cores
    program = Program(
        name="stream",
        chip=chip.name,
        chip_hash="",
        precision="bf16",
        streams=(b.stream(),),
        sections=(Section(name="main", runs=(QueueRun(kind=Queue.LOAD, stream=0),)),),
        segment_bytes=tuple(total if seg == Seg.WEIGHT else 0 for seg in range(8)),
    )
    return total / peak_bytes / simulate(program, chip).cycles


# --- graphs


def _graph(
    name: str, op: str, attrs: Attrs, ins: dict[str, tuple[int, ...]], out: tuple[int, ...]
) -> Graph:
    """One op at chip level; inputs named w… are weights without data."""
    edit = Graph(name).edit()
    for label, shape in ins.items():
        weight = label.startswith("w")
        edit.set_value(Value(name=label, dtype=DType.BF16, shape=shape, weightless=weight))
    edit.set_value(Value(name="y", dtype=DType.BF16, shape=out))
    inputs = tuple(ins) + ("",)
    edit.add_node(Node(name=name, op=op, domain="chip", inputs=inputs, outputs=("y",), attrs=attrs))
    edit.inputs = tuple(label for label in ins if not label.startswith("w"))
    edit.outputs = ("y",)
    return edit.freeze()


def _gemm(m: int, k: int, n: int) -> Callable[[], Graph]:
    ins = {"x": (m, k), "w": (k, n)}
    return lambda: _graph("gemm", Op.GEMM, GemmAttrs(), ins, (m, n))


def _attention(heads: int, seq: int, depth: int) -> Callable[[], Graph]:
    shape = (1, heads, seq, depth)
    attrs = AttentionAttrs(scale=depth**-0.5, causal=True, causal_offset=0)
    return lambda: _graph(
        "attention", Op.ATTENTION, attrs, dict.fromkeys(("q", "k", "v"), shape), shape
    )


def _layer(preset: str, dims: dict[str, int]) -> Callable[[], Graph]:
    def made() -> Graph:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "layer.onnx"
            file.write_bytes(build_preset(preset, weightless=True).SerializeToString())
            model = load_model(file, dims=dims)
        return passes.run(model, precision=passes.Precision.BF16)

    return made


if __name__ == "__main__":
    main()
