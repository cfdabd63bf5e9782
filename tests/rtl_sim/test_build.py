"""Tools, lint and cache of the RTL builds."""

import os
import time

import pytest

from athena.chip.load import load_chip
from athena.errors import ToolError, UsageError
from rtl_sim import build, yosys
from rtl_sim.area import ELABORATE, READ


@pytest.mark.parametrize("name", ["athena-edge-ci", "athena-edge"])
def test_lint_is_clean(rtl_tools, name):
    build.lint(load_chip(name), os.environ)


def test_lint_sees_a_warning(rtl_tools, ci_chip, tmp_path, monkeypatch):
    for source in build.rtl_sources():
        text = source.read_text()
        if source.name == "core.sv":
            text = text.replace(
                "endmodule", "  logic [3:0] narrow;\n  assign narrow = scalars_i[0];\nendmodule"
            )
        (tmp_path / source.name).write_text(text)
    monkeypatch.setattr(build, "RTL", tmp_path)
    with pytest.raises(ToolError, match="WIDTHTRUNC"):
        build.lint(ci_chip, os.environ)


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda tool: None)
    with pytest.raises(ToolError, match="do: apt-get install g.*make.*perl"):
        build.environment({})


def test_one_build_per_content(rtl_tools, ci_chip):
    first = build.simulator(ci_chip)
    stamp = first.stat().st_mtime_ns
    assert build.simulator(ci_chip) == first
    assert first.stat().st_mtime_ns == stamp
    assert build.digest(ci_chip) != build.digest(load_chip("athena-edge"))
    assert str(first).startswith(str(build.cache_folder(os.environ)))


def test_fst_without_its_libraries_is_said(tmp_path, monkeypatch):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    with pytest.raises(ToolError, match="apt-get install liblz4-dev zlib1g-dev, or write a .vcd"):
        build._check_fst({"PATH": str(tmp_path)})
    with pytest.raises(UsageError, match="an .fst or a .vcd"):
        build.wave_format(tmp_path / "out.png")


def _build_of_age(folder, name, hours, size=10):
    path = folder / name
    path.mkdir()
    (path / "file").write_bytes(bytes(size))
    (folder / f"{name}.lock").touch()
    stamp = time.time() - 3600 * hours
    os.utime(path, (stamp, stamp))
    return path


def test_builds_long_unused_are_removed(tmp_path):
    old = [_build_of_age(tmp_path, f"sim-{i}", 2 + i) for i in range(4)]
    new = [_build_of_age(tmp_path, f"bench-{i}", 0.1) for i in range(3)]
    broken = _build_of_age(tmp_path, "build-x", 3)
    build.prune(tmp_path, keep=old[3], builds=5)
    assert [path.exists() for path in old] == [True, False, False, True]
    assert all(path.exists() for path in new) and not broken.exists()
    assert not (tmp_path / "sim-1.lock").exists() and (tmp_path / "sim-0.lock").exists()
    build.prune(tmp_path, keep=old[3], limit=40)
    assert not old[0].exists() and all(path.exists() for path in (*new, old[3]))


@pytest.mark.parametrize(
    "steps",
    [READ, pytest.param(ELABORATE, marks=pytest.mark.slow)],
    ids=["read", "and checked"],
)
def test_yosys_reads_the_core(ci_chip, tmp_path, steps):
    """Without warnings: it takes some constructs that it does not know for something else."""
    if yosys.missing():
        pytest.skip(f"Yosys is missing: {yosys.missing()}")
    steps = steps.replace("-top core", f"-top {build.TOP}")
    printed = yosys.run(yosys.read_sources(ci_chip, tmp_path) + steps, tmp_path)
    assert "Successfully finished Verilog frontend" in printed
    assert "Warning" not in printed
