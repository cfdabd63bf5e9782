"""Skips with the reason where the tools to build RTL are missing; builds cocotb benches in the
cache.
"""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from athena.chip.load import load_chip
from rtl_sim import build

UNOPTIMISED = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"  # benches are short; builds are not
ROOT = Path(build.HERE).parent
BUILT = set()  # folders of benches that this process has built


@pytest.fixture(scope="session")
def rtl_tools():
    """Skip with the reason where a tool is missing."""
    absent = build.missing_tools()
    if absent:
        pytest.skip(f"tools to build RTL are missing: {'; '.join(absent)}")


@pytest.fixture(scope="session")
def ci_chip():
    return load_chip("athena-edge-ci")


def _copy_objects(source, target):
    """Verilator's own objects are the same for every bench: compile them once."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("verilated", "verilated_dpi", "verilated_vpi", "verilated_threads"):
        if (source / f"{name}.o").exists() and not (target / f"{name}.o").exists():
            shutil.copyfile(source / f"{name}.o", target / f"{name}.o")


@pytest.fixture
def run_bench(rtl_tools, ci_chip, tmp_path, monkeypatch):
    """Build `top` for athena-edge-ci and run one case, or all, of the cocotb module `module`."""
    runner_module = pytest.importorskip("cocotb_tools.runner")

    def run(top, module, parameters=None, sources=(), case=None, *, ports_only=False):
        for key, value in build.environment(os.environ).items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("MAKEFLAGS", f"{build.MAKE_OVERRIDES} {UNOPTIMISED}")
        home = build.cache_folder(os.environ) / f"bench-{build.digest(ci_chip)}"
        package = build.write_package(ci_chip, home)
        os.utime(home)  # the last use, for `build.prune`
        tag = "".join(f"-{key}{value}" for key, value in (parameters or {}).items())
        folder = home / f"{top}{tag}"
        _copy_objects(home, folder)
        arguments = list(build.WARNINGS)
        if ports_only:  # much faster, for the bench sees nothing inside
            config = folder / "ports.vlt"
            rule = f'public_flat_rw -module "{top}" -var'
            text = f'`verilator_config\n{rule} "*_i"\n{rule} "*_o"\n'
            if not config.exists() or config.read_text() != text:
                config.write_text(text)
            arguments += ["--no-public-flat-rw", str(config)]
        runner = runner_module.get_runner("verilator")
        if folder not in BUILT:
            runner.build(
                sources=[package, *build.rtl_sources(), *sources],
                hdl_toplevel=top,
                parameters=parameters or {},
                build_args=arguments,
                timescale=("1ns", "1ps"),
                build_dir=folder,
            )
            _copy_objects(folder, home)
            BUILT.add(folder)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.syspath_prepend(ROOT)
        runner.test(
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            testcase=case,
            test_module=f"rtl_sim.tb.{module}",
            build_dir=folder,
            test_dir=tmp_path,
            results_xml=str(tmp_path / "results.xml"),
        )

    return run


@pytest.fixture
def mutated(tmp_path, monkeypatch):
    """`with mutated(file, old, new)`: builds see a copy of the RTL in which `old` is `new`."""

    @contextlib.contextmanager
    def change(file, old, new):
        folder = tmp_path / "mutated"
        shutil.copytree(build.RTL, folder)
        text = (folder / file).read_text()
        assert text.count(old) == 1, f"{old} stands {text.count(old)} times in {file}"
        (folder / file).write_text(text.replace(old, new))
        with monkeypatch.context() as patch:
            patch.setattr(build, "RTL", folder)
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
            yield

    return change
