"""Where results and remarks go: tables or JSON on standard output, the rest on standard error.

In:  tables, values, remarks. Out: text on the streams.   Raises: OSError of a stream.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from athena.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

NAME_WIDTH = 24
PLAIN_WIDTH = 130  # columns where there is no terminal
PATIENCE_S = 2.0


def console() -> Console:
    """Standard output: colour on a terminal only, and never against NO_COLOR."""
    from rich.console import Console

    class Quiet(Console):
        """Leaves a closed pipe to the command line's edge."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    fixed = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Quiet(file=sys.stdout, width=fixed, highlight=False, soft_wrap=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; every cell is escaped."""
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell, 300) for cell in row] for row in rows]
    made = Table(title=Text(printable(title, 200)), title_justify="left")
    for number, column in enumerate(columns):
        # short names stay whole, so that they can be copied from a narrow terminal
        short = number == 0 and all(len(row[0]) <= NAME_WIDTH for row in cells)
        made.add_column(Text(column), overflow="fold", no_wrap=short)
    for row in cells:
        made.add_row(*map(Text, row))
    console().print(made)


def show(*items: Any) -> None:
    """Print Rich tables, or text as it is."""
    from rich.text import Text

    out = console()
    for item in items:
        out.print(Text(item) if isinstance(item, str) else item)


def emit_json(schema: str, value: object) -> None:
    """Print one JSON document with its schema."""
    from athena.report import dump

    sys.stdout.write(dump(schema, value).decode())


def remark(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say on standard error what is being done if it takes longer than two seconds, and how long.

    A remark and no animation: it reads the same in a terminal, a log and a notebook.
    """
    start = time.monotonic()
    said = threading.Event()

    def tell() -> None:
        said.set()
        remark(f"{what} ...")

    timer = threading.Timer(PATIENCE_S, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    if said.is_set():
        remark(f"{what}: {time.monotonic() - start:.1f} s")
