"""Print rows as a table, write them as JSON.

In:  rows as dicts with the same keys; a file name or None.   Out: text on stdout, a file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options every benchmark has; `doc` is its module's docstring."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    return made


def show(title: str, rows: Sequence[Row]) -> None:
    """Print `rows`; the first row gives the columns."""
    print(f"\n{title}")
    if not rows:
        return
    cells = [list(rows[0]), *([_text(row.get(key)) for key in rows[0]] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def write(path: Path | None, name: str, rows: Sequence[Row]) -> None:
    """Write the rows, and on what they were measured."""
    if path is None:
        return
    host = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    document = {"benchmark": name, "host": host, "rows": list(rows)}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)
