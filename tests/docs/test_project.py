"""What pyproject, README and the CI script promise to each other."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import athena

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_one_version():
    assert PROJECT["project"]["version"] == athena.__version__
    assert f"## {athena.__version__}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_numba_only_files_are_those_exempt_from_types():
    exempt = next(
        part["module"] for part in PROJECT["tool"]["mypy"]["overrides"] if part.get("ignore_errors")
    )
    found = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for folder in ("athena", "compiler", "rtl_sim")
        for path in sorted((ROOT / folder).rglob("*_kernel.py"))
    ]
    assert sorted(exempt) == sorted(found), "list them in pyproject.toml, [tool.mypy]"


def test_ci_runs_the_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert 'pip install -e ".[dev]" && pytest' in readme
    assert 'pip install --quiet --disable-pip-version-check -e ".[dev]"' in script
    assert re.search(r"^pytest$", script, re.MULTILINE)
    assert "pip install -e . && athena quickstart" in readme


def test_the_licence_is_the_one_named():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_files_stay_readable():
    for folder in ("athena", "compiler", "rtl_sim", "tests", "benchmarks", "examples", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text("utf-8").splitlines()) <= 500, path
