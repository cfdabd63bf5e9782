"""Escape text of unknown origin for each place it goes to.

In:  names from models, chip files and tables. Out: text that is inert in Markdown or CSV; HTML is
escaped by Jinja2, terminals by `rich.text.Text`, both after `printable`.   Raises: nothing.
"""

from __future__ import annotations

import re

from athena.errors import printable

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$-])")
_FORMULA = ("=", "+", "-", "@", "|", "%")
CSV_LIMIT_CHARS = 400


def markdown(text: object, limit: int = 400) -> str:
    """Text in a Markdown cell: no control characters, no markup, no HTML, no new row."""
    safe = printable(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", safe)


def csv_cell(text: object) -> str:
    """Text in a CSV cell that no spreadsheet takes for a formula."""
    safe = printable(text, CSV_LIMIT_CHARS)
    return f"'{safe}" if safe.lstrip().startswith(_FORMULA) else safe
