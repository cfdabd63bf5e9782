"""Every command that a page shows runs, with the exit code that it says; links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from athena.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("howto/*.md")])
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
OTHERS = ("isa.md", "rtl.md")  # pages with a test of their own


def blocks(page: Path, kind: str) -> list[str]:
    return [body for name, body in _BLOCK.findall(page.read_text("utf-8")) if name == kind]


def commands(page: Path) -> list[tuple[list[str], int]]:
    """Arguments and expected exit code of each line that begins with `$ athena`."""
    found = []
    for body in blocks(page, "console"):
        for line in body.splitlines():
            if line.startswith("$ "):
                code = re.search(r"#\s*exit (\d+)\s*$", line)
                words = shlex.split(line[2:], comments=True)
                assert words[0] == "athena", f"{page.name}: only athena is run here: {line}"
                found.append((words[1:], int(code[1]) if code else 0))
    return found


WITH_COMMANDS = [page for page in PAGES if page.name not in OTHERS and commands(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_commands_of_a_page_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, expected in commands(page):
        code = main(arguments)
        out, err = capsys.readouterr()
        assert code == expected, f"athena {shlex.join(arguments)}\n{out}\n{err}"


@pytest.mark.slow
def test_python_of_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["models", "export", "matmul", "--sizes", "64,256,512", "-o", "matmul.onnx"]) == 0
    (code,) = blocks(DOCS / "tutorial.md", "python")
    exec(compile(code, "tutorial.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[1] == "True"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in _LINK.findall(page.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_index_names_every_page():
    text = (DOCS / "index.md").read_text("utf-8")
    for page in DOCS.rglob("*.md"):
        if page.name != "index.md":
            assert str(page.relative_to(DOCS)) in text, page.name


def test_chip_files_in_pages_are_chips(tmp_path):
    from athena.chip import load_chip

    for number, body in enumerate(blocks(DOCS / "howto" / "add-chip.md", "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(body)
        assert load_chip(path).core.matrix.rows == 128
