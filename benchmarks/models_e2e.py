"""Seconds of every stage for BERT-base and GPT-2-small sizes at 128 tokens, in fresh processes.

In:  nothing; the models are made in a temporary folder.   Out: a table, and JSON with --json.
Every process has two threads; one unmeasured process before warms the caches of compiled code.

    python -m benchmarks.models_e2e --json e2e.json
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tables import Row, parser, show, write

MODELS = ("bert-base", "gpt2")
THREADS = "2"
TOKENS = 128
# seconds and bytes that the project wants to stay within
LIMITS = {
    "compile_s": 10.0,
    "timing_s": 2.0,
    "verify_fp32_s": 12.0,
    "verify_bf16_s": 15.0,
    "peak_rss_bytes": 4e9,
}


def main() -> None:
    """Measure all models, or one stage of one model in this process (`--child`)."""
    options = parser(__doc__)
    options.add_argument("--child", nargs=3, metavar=("MODEL", "STAGE", "PRECISION"))
    options.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    given = options.parse_args()
    if given.child:
        print(json.dumps(_child(*given.child)))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models:
            file = _made(name, Path(folder))
            for stage, precision in (("verify", "bf16"), ("compile", "bf16")):
                _fresh(file, stage, precision)  # warms the caches
            compiled = _fresh(file, "compile", "bf16")
            rows.append(
                _row(name, compiled, {p: _fresh(file, "verify", p) for p in ("fp32", "bf16")})
            )
    show("end to end, 128 tokens, athena, seconds", rows)
    show("limits", [LIMITS])
    write(given.json, "models_e2e", rows)
    if any(row[key] > limit for row in rows for key, limit in LIMITS.items()):
        sys.exit("a figure is above its limit")


def _row(name: str, compiled: Row, verified: dict[str, Row]) -> Row:
    peaks = [compiled["peak_rss_bytes"], *(v["peak_rss_bytes"] for v in verified.values())]
    return {
        "model": name,
        **{k: compiled[k] for k in ("load_s", "passes_s", "lower_s", "compile_s", "timing_s")},
        **{f"verify_{p}_s": v["verify_s"] for p, v in verified.items()},
        **{f"verify_{p}_cpu_s": v["verify_cpu_s"] for p, v in verified.items()},
        **{f"execute_{p}_s": v["execute_s"] for p, v in verified.items()},
        **{f"snr_{p}_db": v["snr_db"] for p, v in verified.items()},
        "passed": all(v["passed"] for v in verified.values()),
        "peak_rss_bytes": max(peaks),
        "static_words": compiled["static_words"],
        "cycles": compiled["cycles"],
        "events": compiled["events"],
    }


def _made(name: str, folder: Path) -> Path:
    from athena.workload.export import build_preset

    file = folder / f"{name}.onnx"
    file.write_bytes(build_preset(name).SerializeToString())
    return file


def _fresh(file: Path, stage: str, precision: str) -> Row:
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.models_e2e", "--child", str(file), stage, precision],
        env={**os.environ, **dict.fromkeys(variables, THREADS)},
        check=True,
        stdout=subprocess.PIPE,
    )
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


# --- in the measured process


def _child(model: str, stage: str, precision: str) -> Row:
    row = (_compile if stage == "compile" else _verify)(Path(model), precision)
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    row["peak_rss_bytes"] = max(u.ru_maxrss for u in usage) * 1024
    return row


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _cpu_s() -> float:
    """Processor seconds of this process and of onnxruntime's.

    On a busy machine they say more than the clock.
    """
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _dims() -> dict[str, int]:
    return {"batch": 1, "seq": TOKENS}


def _compile(model: Path, precision: str) -> Row:
    from athena.chip import load_chip
    from athena.timing import simulate
    from compiler import passes
    from compiler.frontend import load_model
    from compiler.lowering import LowerOptions, lower

    chip = load_chip("athena")
    load_s, loaded = _timed(lambda: load_model(model, dims=_dims()))
    passes_s, graph = _timed(lambda: passes.run(loaded, precision=passes.Precision(precision)))
    lower_s, program = _timed(lambda: lower(graph, chip, LowerOptions(precision=precision)))
    timing_s, timeline = _timed(lambda: simulate(program, chip))
    return {
        "load_s": load_s,
        "passes_s": passes_s,
        "lower_s": lower_s,
        "compile_s": load_s + passes_s + lower_s,
        "timing_s": timing_s,
        "static_words": program.static_words,
        "cycles": timeline.cycles,
        "events": timeline.events,
    }


def _verify(model: Path, precision: str) -> Row:
    """The whole of `verify`, load and compile included; and execution on the chip alone."""
    from athena import api
    from athena.api.execute import execute
    from athena.api.samples import VERIFY_SEED, random_inputs

    before = _cpu_s()
    verify_s, result = _timed(lambda: api.verify(model, precision=precision, dims=_dims()))
    verify_cpu_s = _cpu_s() - before
    compiled = result.compiled
    inputs = random_inputs(compiled.model, compiled.graph, VERIFY_SEED)
    execute_s, _ = _timed(lambda: execute(compiled.program, compiled.chip, inputs))
    measured = [row.metrics.snr_db for row in result.report.rows if row.metrics]
    return {
        "verify_s": verify_s,
        "verify_cpu_s": verify_cpu_s,
        "execute_s": execute_s,
        "snr_db": min(measured),
        "passed": result.passed,
    }


if __name__ == "__main__":
    main()
