"""A small table that every result of the API can give: text, notebook, pandas.

In:  a title, columns, rows of plain values. Out: `Table` (frozen).
Raises: ToolError where pandas is asked for and not installed.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from athena.errors import ToolError, printable

HTML_ROWS = 200
CELL_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under named columns; shows as a table in a notebook."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def column(self, name: str) -> tuple[Any, ...]:
        """All values of one column; ValueError for a name that the table does not have."""
        place = self.columns.index(name)
        return tuple(row[place] for row in self.rows)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`. Raises: ToolError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise ToolError(
                "pandas is not installed",
                where="to_pandas",
                hint='pip install "athena-npu[report]"',
            ) from None
        return pandas.DataFrame(list(self.rows), columns=list(self.columns))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{_html(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_html(_shown(cell))}</td>" for cell in row) + "</tr>"
            for row in self.rows[:HTML_ROWS]
        )
        more = len(self.rows) - HTML_ROWS
        rest = f"<p>and {more} more rows</p>" if more > 0 else ""
        caption = f"<caption>{_html(self.title)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value)


def _html(text: str) -> str:
    return html.escape(printable(text, CELL_CHARS))
