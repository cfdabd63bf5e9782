"""`athena ops`: the operators that Athena knows, from the op table itself.

In:  part of a name, or nothing. Out: a table, Markdown or JSON.   Raises: UsageError.
"""

from __future__ import annotations

from typing import Annotated

import typer

from athena.cli import options, output
from athena.errors import UsageError, printable

SCHEMA = "athena-cli-ops/1"
COLUMNS = ("operator", "domain", "since opset", "place", "becomes", "limits")


def ops(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Part of an operator's name.")] = "",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page docs/ops.md.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the operators: since which opset, where they run, what they become, their limits."""
    from athena.api.optable import op_rows, ops_page

    rows = [row for row in op_rows() if name.lower() in row[0].lower()]
    if not rows:
        raise UsageError(f"no operator with '{printable(name)}' in its name", where="athena ops")
    if as_json:
        keys = [column.replace(" ", "_") for column in COLUMNS]
        output.emit_json(SCHEMA, {"ops": [dict(zip(keys, row, strict=True)) for row in rows]})
    elif markdown:
        output.show(ops_page(rows).rstrip("\n"))
    else:
        output.table(f"{len(rows)} rows", COLUMNS, rows)
