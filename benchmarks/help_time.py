"""Seconds of `athena --help` in a fresh process: the best and the middle of several runs.

In:  nothing.   Out: a table, and JSON with --json.   Exit code 1 above the limit.

    python -m benchmarks.help_time
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.tables import parser, show, write

RUNS = 7
LIMIT_S = 1.0
COMMANDS = {
    "athena --help": ["-m", "athena.cli", "--help"],
    "athena simulate --help": ["-m", "athena.cli", "simulate", "--help"],
    "python -c 'import athena'": ["-c", "import athena"],
    "python -c pass": ["-c", "pass"],
}


def main() -> None:
    """All commands."""
    given = parser(__doc__).parse_args()
    rows = []
    for name, arguments in COMMANDS.items():
        seconds = [_seconds(arguments) for _ in range(RUNS + 1)][1:]  # the first one fills caches
        rows.append(
            {"command": name, "best_s": min(seconds), "middle_s": statistics.median(seconds)}
        )
    show("start-up", rows)
    write(given.json, "help_time", rows)
    if rows[0]["middle_s"] > LIMIT_S:
        sys.exit(f"athena --help takes more than {LIMIT_S} s")


def _seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
