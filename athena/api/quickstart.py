"""The quickstart: a small trained model through everything, and a layer of real size beside it.

In:  a folder to write. Out: `Quickstart` (frozen).
Raises: OutputError, and what compiling, verifying and simulating raise.

The model does sums of three-digit numbers (401,549 parameters, package data). Task accuracy is
measured on the first `SUBSET` of its held-out examples; a test measures all of them.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.api import warm
from athena.api.arrays import read_npz
from athena.api.compiled import CompiledModel, compile
from athena.api.models import load_model
from athena.api.reported import HTML_FILE, JSON_FILE, MARKDOWN_FILE, report
from athena.api.timed import Run, simulate
from athena.api.verified import Verification, verify
from athena.chip import load_chip
from athena.files import write_folder
from athena.functional import Machine
from athena.ort import OrtSession
from athena.report import RunSummary
from athena.report.runs import RUN_FILE
from athena.workload.export import build_preset

Array = NDArray[Any]
Step = Callable[[str], AbstractContextManager[None]]
CHIP = "athena"
BATCH = 8
SUBSET = 512  # examples that are scored, in one batch
ANSWER = slice(7, 11)  # places of the answer's four characters
LAYER = "llama3-8b-layer-kv"
PHASES = (
    (
        "one Llama-3-8B layer: decode, 8 sequences, context 2,048",
        {"batch": 8, "seq": 1, "past": 2047},
    ),
    ("one Llama-3-8B layer: prefill, 512 tokens", {"batch": 1, "seq": 512, "past": 0}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Share of held-out examples whose whole answer is right."""

    onnxruntime: float
    bf16: float
    int8: float
    examples: int
    held_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of real size, without weights: costed, not executed."""

    name: str
    summary: RunSummary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quickstart:
    """What the quickstart found, and the paths of the files it wrote."""

    verification: Verification
    accuracy: Accuracy
    run: Run
    layers: tuple[Layer, ...]
    files: tuple[Path, ...]


def data_folder() -> Path:
    """Where the quickstart's model and data are."""
    return Path(str(resources.files("athena") / "data" / "quickstart"))


def quickstart(folder: str | Path, step: Step) -> Quickstart:
    """Compile, verify, score, simulate and report; write everything as one folder.

    `step(text)` wraps each part, to say what takes long.
    """
    helper = warm.start()
    try:
        return _quickstart(Path(folder), step, helper)
    finally:
        helper.kill()
        helper.wait()


def _quickstart(folder: Path, step: Step, helper: subprocess.Popen[bytes]) -> Quickstart:
    data = data_folder()
    model = load_model(data / "model.onnx", {"batch": BATCH})
    heldout = read_npz(data / "heldout.npz")
    with step("compile the model in bf16 and int8"):
        wide = compile(model, chip=CHIP)
        scored = scored_models(SUBSET)
    with OrtSession() as session:
        with step("verify against onnxruntime (the first time also compiles the simulator)"):
            first = {"input_ids": heldout["input_ids"][:BATCH]}
            verification = _said(verify(wide, inputs=first, session=session))
        with step(f"score {SUBSET} held-out examples three times"):
            found = accuracy(scored, session, SUBSET)
    with step("simulate in time"):
        helper.wait()
        run = simulate(wide, verified=verification.report)
        run = _named(run)
    with step("simulate a layer of real size"):
        layers = real_layers()
    with step("write the report"):
        files = _write(folder, wide, run)
    return Quickstart(
        verification=verification, accuracy=found, run=run, layers=layers, files=files
    )


def scored_models(batch: int, chip: str = CHIP) -> tuple[CompiledModel, CompiledModel]:
    """The model in bf16 and in int8 (calibrated on the data that come with it)."""
    model = load_model(data_folder() / "model.onnx", {"batch": batch})
    calibration = data_folder() / "calibration.npz"
    return (
        compile(model, chip=chip),
        compile(model, chip=chip, precision="int8", calibration=calibration),
    )


def accuracy(
    compiled: tuple[CompiledModel, CompiledModel], session: OrtSession, examples: int
) -> Accuracy:
    """Task accuracy of onnxruntime, bf16 and int8 on the first `examples` held-out examples."""
    heldout = read_npz(data_folder() / "heldout.npz")
    ids, answers = heldout["input_ids"][:examples], heldout["answers"][:examples]
    reference = session.run(compiled[0].model.path, {"input_ids": ids})["logits"]
    wide, narrow = (score(logits_of(each, ids), answers) for each in compiled)
    return Accuracy(
        onnxruntime=score(reference, answers),
        bf16=wide,
        int8=narrow,
        examples=len(ids),
        held_out=len(heldout["input_ids"]),
    )


def logits_of(compiled: CompiledModel, ids: Array) -> Array:
    """Logits [n, 11, 13] of all rows of `ids` [n, 11], in batches of the compiled size."""
    size = compiled.model.dims["batch"]
    machine = Machine(compiled.program, compiled.chip)
    parts = []
    for start in range(0, len(ids), size):
        rows = np.arange(start, start + size) % len(ids)
        made = machine.run({"input_ids": ids[rows]})
        parts.append(made["logits"][: len(ids) - start])
    return np.concatenate(parts)


def score(logits: Array, answers: Array) -> float:
    """Share of examples of which all four characters of the answer are right."""
    return float((logits[:, ANSWER].argmax(-1) == answers).all(axis=1).mean())


def real_layers() -> tuple[Layer, ...]:
    """A Llama-3-8B-shaped layer on the same chip, decode and prefill."""
    layers = []
    with tempfile.TemporaryDirectory(prefix="athena-") as name:
        path = Path(name) / f"{LAYER}.onnx"
        path.write_bytes(build_preset(LAYER, weightless=True).SerializeToString())
        for text, dims in PHASES:
            run = simulate(compile(load_model(path, dims), chip=load_chip(CHIP)))
            layers.append(Layer(name=text, summary=run.summary))
    return tuple(layers)


def _said(verification: Verification) -> Verification:
    said = f"the first {BATCH} held-out sums"
    return replace(verification, report=replace(verification.report, inputs=said))


def _named(run: Run) -> Run:
    """The same run, whose task says what the model does."""
    task = f"{BATCH} three-digit sums of 11 tokens"
    workload = replace(run.summary.workload, task=task)
    return replace(run, summary=replace(run.summary, workload=workload))


def _write(folder: Path, compiled: CompiledModel, run: Run) -> tuple[Path, ...]:
    """Program, run folder and report in one folder that appears whole."""
    made = report(run)
    content = {
        JSON_FILE: made.json,
        MARKDOWN_FILE: made.markdown.encode(),
        HTML_FILE: made.html.encode(),
    }
    with write_folder(folder, marker=JSON_FILE) as temporary:
        for name, data in content.items():
            (temporary / name).write_bytes(data)
        compiled.save(temporary / "model.athena")
        run.save(temporary / "run", command=("athena", "quickstart"))
    return tuple(folder / name for name in (*content, "model.athena", f"run/{RUN_FILE}"))
