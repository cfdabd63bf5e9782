"""Pages that come from code are current; every error code and command has its paragraph."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = generator().pages()


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name], "run: python docs/generate.py"


def test_every_error_code_has_one_paragraph():
    codes = [kind.code for kind in generator().error_classes()]
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert PAGES["errors.md"].count(f"## {code}\n") == 1


def test_every_command_has_a_section(capsys):
    for name in ("quickstart", "inspect", "compile", "run", "verify", "simulate", "report", "view"):
        assert f"## athena {name}\n" in PAGES["cli.md"]
    for name in ("chips list", "rtl run", "rtl correlate"):
        assert f"## athena {name}\n" in PAGES["cli.md"]
