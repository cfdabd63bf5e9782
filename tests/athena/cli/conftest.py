"""A command line in this process: exit code, standard output, standard error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from athena.cli import main

DATA = Path(__file__).parents[2] / "data"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def athena(capsys, monkeypatch) -> Callable[..., Result]:
    """Run a command; arguments are turned into text."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(item) for item in arguments])
        out, err = capsys.readouterr()
        return Result(code=code, out=out, err=err)

    return call


@pytest.fixture(scope="session")
def gpt2() -> tuple[object, ...]:
    """A small export and the options that bind its dimensions."""
    return (DATA / "gpt2_dynamo.onnx", "--dim", "batch=1", "--dim", "seq=16")
