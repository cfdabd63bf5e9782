"""Compile the timing simulator's kernels in a process of their own: `python -m athena.api.warm`.

In:  nothing. Out: Numba's cache on disk.   Raises: whatever goes wrong, which nobody waits for.

The quickstart starts it beside the functional simulator's compilation: the first run on a machine
takes half as long. Where the cache cannot be written it is of no use and does no harm.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def start() -> subprocess.Popen[bytes]:
    """Begin; the caller waits for the process or ends it."""
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "athena.api.warm"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=root,
        start_new_session=True,
    )


def main() -> None:
    """Simulate a small multiply."""
    from athena.api.compiled import compile
    from athena.api.timed import simulate
    from athena.workload.export import build_preset

    with tempfile.TemporaryDirectory(prefix="athena-") as folder:
        path = Path(folder) / "warm.onnx"
        path.write_bytes(build_preset("matmul", sizes=(8, 64, 64)).SerializeToString())
        simulate(compile(path, chip="athena-edge"))


if __name__ == "__main__":
    main()
