"""What a program works on, read off its tensors."""

from __future__ import annotations

import pytest

from athena.api import workload_of
from athena.isa.fields import Dt, Seg
from athena.isa.program import Program, Tensor
from athena.report import Phase


def tensor(name: str, role: str, shape: tuple[int, ...]) -> Tensor:
    strides = (4,) * len(shape)
    return Tensor(
        name=name, role=role, dtype=Dt.F32, source_dtype="float32", shape=shape,
        segment=Seg.INPUT, offset=0, strides=strides,
    )  # fmt: skip


def program(*tensors: Tensor) -> Program:
    return Program(
        name="p", chip="athena", chip_hash="", precision="bf16", streams=(), sections=(),
        segment_bytes=(), tensors=tensors,
    )  # fmt: skip


def cached(tokens: int, past: int) -> Program:
    return program(
        tensor("input_ids", "input", (8, tokens)),
        tensor("past_key_values.0.key", "input", (8, 2, past, 16)),
        tensor("present.0.key", "output", (8, 2, past + tokens, 16)),
    )


@pytest.mark.parametrize(
    ("made", "phase", "tokens", "context"),
    [
        (cached(1, 100), Phase.DECODE, (8, 8), 100),
        (cached(64, 0), Phase.PREFILL, (512, 8), 0),
        (cached(64, 7), Phase.PREFILL, (512, 8), 7),
        (program(tensor("input_ids", "input", (8, 4))), Phase.FORWARD, (32, 0), 0),
        (program(tensor("x", "input", (8, 4))), Phase.FORWARD, (0, 0), 0),
    ],
    ids=["decode", "prefill", "continued", "no cache", "no tokens"],
)
def test_phase_and_tokens(made, phase, tokens, context):
    work = workload_of(made)
    assert work.phase is phase
    assert (work.input_tokens, work.output_tokens) == tokens
    assert work.context_tokens == context
