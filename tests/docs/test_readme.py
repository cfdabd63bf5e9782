"""The sample in README is what the quickstart prints today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from athena.cli import main

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\d[\d,.]*(?:e-?\d+)?")


def sample() -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    body = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    assert body is not None
    return body[1].splitlines()


@pytest.mark.slow
def test_the_sample_is_what_the_quickstart_prints(tmp_path, monkeypatch, capsys):
    """Text must be the same; figures may drift by a tenth before the sample has to be renewed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "112")
    assert main(["quickstart"]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = sample()

    def words(lines: list[str]) -> str:
        return " ".join(re.sub(r"[│┃━┏┓┡┩└┘┳┻╇┴─]", " ", NUMBER.sub("#", " ".join(lines))).split())

    assert words(shown) == words(printed)
    pairs = zip(NUMBER.findall(" ".join(shown)), NUMBER.findall(" ".join(printed)), strict=True)
    for old, new in pairs:
        assert _value(old) == pytest.approx(_value(new), rel=0.1, abs=1e-12), (old, new)


def _value(text: str) -> float:
    """A figure; of a version only what stands before the second point."""
    plain = text.replace(",", "").rstrip(".")
    return float(".".join(plain.split(".")[:2]))
