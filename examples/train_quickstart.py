"""Train the quickstart model: a small GPT that adds and subtracts numbers written as text.

In:  a seed and a number of steps; examples are made here, nothing is downloaded.
Out: model.onnx (fp32, batch symbolic), heldout.npz, calibration.npz and README.md, which states
     the accuracy onnxruntime measures on the held-out examples; by default athena/data/quickstart/.
Raises: SystemExit when onnxruntime and torch disagree.

One example is a line such as `123+456=0579` or `123-456=-333`.  The model reads all but the last
character and predicts all but the first, so the answer is what it predicts from `=` on.  An answer
counts only if every character of it is right.  Since the right answer is fed back, one forward
pass decides this exactly as greedy generation would: both count the same examples as right.
Held-out and calibration examples never occur in training.

Needs the extra `export`.  Run it from the repository root (some minutes on one core):

    python examples/train_quickstart.py
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

ALPHABET = "0123456789+-="
PLUS, MINUS, EQUALS = 10, 11, 12
DIGITS = 3  # of each operand
PROMPT = 2 * DIGITS + 2  # characters up to and with `=`
LENGTH = PROMPT + DIGITS  # characters the model reads: the line without its last one
ANSWER = slice(PROMPT - 1, LENGTH)  # positions whose prediction is a character of the answer
QUESTIONS = 2 * 10 ** (2 * DIGITS)  # every pair of operands, added and subtracted
HELDOUT, CALIBRATION = 2560, 64
BATCH, PEAK_RATE, WARMUP_STEPS = 256, 2e-3, 100
STEPS = 1300
WIDTH, HEADS, LAYERS = 128, 4, 2


class Block(nn.Module):
    """Causal self-attention and a GELU feed-forward layer, each after a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.widen, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the residual stream [batch, LENGTH, WIDTH] after this block."""
        parts = self.query_key_value(self.norm_attention(x)).split(WIDTH, dim=-1)
        query, key, value = (
            part.view(-1, LENGTH, HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.mix(mixed.transpose(1, 2).reshape(-1, LENGTH, WIDTH))
        return x + self.narrow(functional.gelu(self.widen(self.norm_feed(x))))


class Calculator(nn.Module):
    """Token and position embedding, blocks, norm, linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(len(ALPHABET), WIDTH)
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(ALPHABET))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return logits [batch, LENGTH, 13] for ids [batch, LENGTH]."""
        x = self.token(input_ids) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def digits(numbers: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Return the decimal digits of `numbers`, most significant first."""
    return [numbers // 10**place % 10 for place in reversed(range(count))]


def write_lines(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the token ids [n, LENGTH + 1] of the questions numbered `codes`, with answers.

    A code is (operation * 10**DIGITS + second) * 10**DIGITS + first; 0 adds, 1 subtracts.  The
    answer has DIGITS + 1 characters, the first one `-` where it is negative.
    """
    first, second = codes % 10**DIGITS, codes // 10**DIGITS % 10**DIGITS
    operation = codes // 10 ** (2 * DIGITS)
    result = np.where(operation == 0, first + second, first - second)
    answer = digits(np.abs(result), DIGITS + 1)
    answer[0] = np.where(result < 0, MINUS, answer[0])
    question = [*digits(first, DIGITS), PLUS + operation, *digits(second, DIGITS)]
    return np.stack([*question, np.full_like(first, EQUALS), *answer], axis=1)


def batches(
    reserved: NDArray[np.int64], steps: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield `steps` seeded batches of input ids and answers, none of them `reserved`."""
    random = np.random.default_rng(seed)
    for _ in range(steps):
        codes = random.integers(0, QUESTIONS, BATCH)
        lines = torch.from_numpy(write_lines(codes[~np.isin(codes, reserved)]))
        yield lines[:, :LENGTH], lines[:, PROMPT:]


def train(reserved: NDArray[np.int64], steps: int, seed: int) -> Calculator:
    """Train with AdamW, linear warm-up and cosine decay; the loss is that of the answers only."""
    torch.manual_seed(seed)
    model = Calculator()
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)

    def rate(step: int) -> float:
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        return min((step + 1) / WARMUP_STEPS, cosine)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    for step, (ids, answers) in enumerate(batches(reserved, steps, seed + 1)):
        logits = model(ids)[:, ANSWER]
        loss = functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    return model.eval()


def export(model: Calculator, path: Path) -> None:
    """Write `model` with torch's dynamo exporter; stack traces are removed from the file."""
    example = torch.zeros(2, LENGTH, dtype=torch.int64)
    torch.onnx.export(
        model,
        (example,),
        str(path),
        input_names=["input_ids"],
        output_names=["logits"],
        dynamic_shapes={"input_ids": {0: "batch"}},
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    file = onnx.load(path)
    graph = file.graph
    for item in (file, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        del item.metadata_props[:]
    onnx.checker.check_model(file, full_check=True)
    onnx.save(file, path)


def measure(path: Path, model: Calculator, lines: NDArray[np.int64]) -> tuple[float, float]:
    """Return onnxruntime's share of right answers and of right answer characters."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input_ids": lines[:, :LENGTH]})
    with torch.no_grad():
        expected = model(torch.from_numpy(lines[:, :LENGTH])).numpy()
    difference = float(np.abs(logits - expected).max())
    if not difference < 1e-3:
        raise SystemExit(f"{path}: onnxruntime differs from torch by {difference:.3g}")
    right = logits[:, ANSWER].argmax(axis=-1) == lines[:, PROMPT:]
    return float(right.all(axis=1).mean()), float(right.mean())


README = """# Quickstart model

A small GPT-style decoder that does sums: it continues a line such as `123+456=` with `0579`, or
`123-456=` with `-333`. It was really trained, by `examples/train_quickstart.py`, and it is not
perfect, so that a loss of precision can show in its answers.

| | |
|---|---|
| parameters | {parameters:,} (layers {layers}, hidden {width}, heads {heads}) |
| training | {steps} steps of {batch} lines, AdamW, seed {seed}, fp32, one CPU thread |
| made with | torch {torch}, onnx {onnx}, onnxruntime {ort} |
| right answers, fp32, onnxruntime | **{answers:.4f}** of {heldout} held-out examples |
| right answer characters, fp32, onnxruntime | {characters:.4f} |

## Files

- `model.onnx`: input `input_ids` int64 [batch, {length}], output `logits` float32
  [batch, {length}, {vocab}]; `batch` is symbolic.
- `heldout.npz`: `input_ids` int64 [{heldout}, {length}] and `answers` uint8 [{heldout}, {chars}].
- `calibration.npz`: `input_ids` int64 [{calibration}, {length}]; other examples than the held-out.

Token ids are the places in `{alphabet}`. A line is {digits} digits, `+` or `-`, {digits} digits,
`=`, and an answer of {chars} characters: digits with leading zeros, the first replaced by `-` where
the answer is negative. The model reads the line without its last character. No held-out or
calibration example occurs in training; all of them differ.

## Scoring

    predicted = logits[:, {first}:{length}].argmax(axis=-1)
    accuracy = (predicted == answers).all(axis=1).mean()

An example is right when all {chars} answer characters are. The right answer is fed to the model;
greedy generation would count exactly the same examples as right: it goes astray where the first
wrong character is, and nowhere else.

Made again by (extra `export`; the same versions and processor give the same file):

    python examples/train_quickstart.py --steps {steps} --seed {seed}
"""


def main() -> None:
    """Train, export, measure and describe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("athena/data/quickstart"))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    folder, seed = arguments.output, arguments.seed
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    reserved = random.choice(QUESTIONS, HELDOUT + CALIBRATION, replace=False)
    heldout, calibration = np.split(write_lines(reserved), [HELDOUT])
    model = train(reserved, arguments.steps, seed)
    export(model, folder / "model.onnx")
    answers, characters = measure(folder / "model.onnx", model, heldout)
    np.savez_compressed(
        folder / "heldout.npz",
        input_ids=heldout[:, :LENGTH],
        answers=heldout[:, PROMPT:].astype(np.uint8),
    )
    np.savez_compressed(folder / "calibration.npz", input_ids=calibration[:, :LENGTH])
    text = README.format(
        parameters=sum(weight.numel() for weight in model.parameters()),
        layers=LAYERS,
        width=WIDTH,
        heads=HEADS,
        steps=arguments.steps,
        batch=BATCH,
        seed=seed,
        torch=torch.__version__.split("+")[0],
        onnx=onnx.__version__,
        ort=onnxruntime.__version__,
        answers=answers,
        characters=characters,
        heldout=HELDOUT,
        calibration=CALIBRATION,
        length=LENGTH,
        vocab=len(ALPHABET),
        chars=DIGITS + 1,
        alphabet=ALPHABET,
        digits=DIGITS,
        first=ANSWER.start,
    )
    (folder / "README.md").write_text(text)
    print(f"{folder}: {answers:.4f} of the answers, {characters:.4f} of their characters right")


if __name__ == "__main__":
    main()
