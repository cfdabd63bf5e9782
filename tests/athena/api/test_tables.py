"""Tables: columns, pandas, and names that must not become markup."""

from __future__ import annotations

import sys

import pytest

from athena.api import Table
from athena.errors import ToolError

TABLE = Table(title="<b>t</b>", columns=("a", "b"), rows=((1, "<script>"), (2.123456, None)))


def test_markup_in_names_is_escaped():
    page = TABLE._repr_html_()
    assert "<script>" not in page and "<b>" not in page and "&lt;script&gt;" in page
    assert "2.123" in page and "2.123456" not in page


def test_long_tables_are_cut_and_say_so():
    long = Table(title="t", columns=("a",), rows=tuple((i,) for i in range(250)))
    assert "and 50 more rows" in long._repr_html_()


def test_columns_and_rows():
    assert TABLE.column("a") == (1, 2.123456) and len(TABLE) == 2
    assert next(iter(TABLE))[1] == "<script>"
    assert list(TABLE.to_pandas().columns) == ["a", "b"]


def test_without_pandas_there_is_a_hint(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ToolError, match="pip install"):
        TABLE.to_pandas()
