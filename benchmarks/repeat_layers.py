"""Words and seconds to compile one chip's share of a 126-layer, 405-billion-parameter Llama.

In:  nothing; a model without weights.   Out: a table, and JSON with --json.
Prefill of 32 sequences of 4,096 tokens, tensor parallel over 16 chips.   Exit code 1 above a limit.

    python -m benchmarks.repeat_layers --layers 4 32 126
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from athena.chip import load_chip
from benchmarks.llama_share import LLAMA_405B_16, build_share
from benchmarks.tables import Row, parser, show, write
from compiler import passes
from compiler.frontend import load_model
from compiler.lowering import LowerOptions, lower

WORDS_LIMIT = 50_000
COMPILE_LIMIT_S = 60.0


def main() -> None:
    """All depths asked for."""
    options = parser(__doc__)
    options.add_argument("--layers", type=int, nargs="+", default=[4, 32, 126])
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--seq", type=int, default=4096)
    given = options.parse_args()
    rows = [_row(layers, {"batch": given.batch, "seq": given.seq}) for layers in given.layers]
    show(f"405B share, prefill {given.batch} x {given.seq}, bf16", rows)
    write(given.json, "repeat_layers", rows)
    if any(r["words"] > WORDS_LIMIT or r["compile_s"] > COMPILE_LIMIT_S for r in rows):
        sys.exit("a figure is above its limit")


def _row(layers: int, dims: dict[str, int]) -> Row:
    chip = load_chip("athena")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "share.onnx"
        share = replace(LLAMA_405B_16, layers=layers)
        file.write_bytes(build_share(share).SerializeToString())
        clock = [time.perf_counter()]
        model = load_model(file, dims=dims)
        clock.append(time.perf_counter())
        graph = passes.run(model, precision=passes.Precision.BF16)
        clock.append(time.perf_counter())
        program = lower(graph, chip, LowerOptions(precision="bf16"))
        clock.append(time.perf_counter())
    return {
        "layers": layers,
        "nodes": len(graph.nodes),
        "words": program.static_words,
        "repeat": max(section.repeat for section in program.sections),
        "sections": len(program.sections),
        "memory_gb": round(sum(program.segment_bytes) / 1e9, 2),
        "load_s": clock[1] - clock[0],
        "passes_s": clock[2] - clock[1],
        "lower_s": clock[3] - clock[2],
        "compile_s": clock[3] - clock[0],
    }


if __name__ == "__main__":
    main()
