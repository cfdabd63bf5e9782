"""Write the pages that come from code: `python docs/generate.py`.

In:  the command line's commands, the op table, the error classes.
Out: docs/cli.md, docs/ops.md, docs/errors.md; a test keeps them current.   Raises: OSError.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from athena import errors
from athena.api.optable import op_rows, ops_page
from athena.cli.app import app

FOLDER = Path(__file__).parent
CLI_HEAD = """# Command line

Printed from the commands themselves; a test keeps this page current. Results go to standard
output, everything else to standard error; `--json` prints one document with a versioned schema
(`athena-cli-COMMAND/1`). Exit codes: 0 good, 1 a check failed, 2 bad input, 70 a defect of ours,
130 interrupted. `NO_COLOR` is honoured; `COLUMNS` sets the width where there is no terminal.
"""
ERRORS_HEAD = """# Errors

Printed from the error classes; a test keeps this page current. A message reads
`error[CODE]: what`, `  at: file, node or key`, `  do: remedy`. The exit code is 2, and 70 for
`E-INTERNAL`. Codes are stable: later versions may add some, and change none.
"""


def cli_page() -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    parts = [CLI_HEAD]
    for path, command in _commands(root, "athena"):
        parts.append(f"## {path}\n\n{_line(command.help)}\n")
        rows = [_parameter(item) for item in command.params if "--help" not in item.opts]
        if rows:
            table = ["| argument or option | what | default |", "| --- | --- | --- |"]
            parts.append("\n".join([*table, *rows]) + "\n")
    return "\n".join(parts)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        here = f"{path} {name}"
        if getattr(child, "commands", None):
            yield from _commands(child, here)
        else:
            yield here, child


def _parameter(item: Any) -> str:
    names = ", ".join((*item.opts, *item.secondary_opts))
    if item.param_type_name == "argument":
        names = item.metavar or item.name.upper()
    elif item.metavar:
        names += f" {item.metavar}"
    needed = "required" if item.required else ""
    value = item.default
    shown = needed if value in (None, False, "", ()) else f"`{value}`"
    if item.secondary_opts:
        shown = f"`{item.opts[0] if value else item.secondary_opts[0]}`"
    return f"| `{_cell(names)}` | {_cell(_line(item.help))} | {_cell(shown)} |"


def errors_page() -> str:
    """A paragraph for every code."""
    parts = [ERRORS_HEAD]
    for kind in sorted(error_classes(), key=lambda each: each.code):
        parts.append(f"## {kind.code}\n\n{_line(inspect.cleandoc(kind.__doc__ or ''))}\n")
    return "\n".join(parts)


def error_classes() -> list[type[errors.AthenaError]]:
    """All classes with a code of their own (the base class has its child's)."""
    found = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.AthenaError)
    ]
    return [each for each in found if each is not errors.AthenaError]


def pages() -> dict[str, str]:
    """File name and content of every generated page."""
    return {"cli.md": cli_page(), "ops.md": ops_page(op_rows()), "errors.md": errors_page()}


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return re.sub(r"([|<>])", r"\\\1", text) if "`" not in text else text.replace("|", "\\|")


def main() -> int:
    """Rewrite all pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
