"""The op table: every row, and the lookup of the newest row for an opset.

In:  the families' rows.   Out: `ROWS`, `lookup`, `known_names`.   Raises: nothing.
"""

from __future__ import annotations

from compiler.ops import (
    attention,
    attention_microsoft,
    elementwise,
    generate,
    indexing,
    linear,
    microsoft,
    movement,
    normalise,
    quantise,
    reduction,
    regrouping,
)
from compiler.ops.types import MAX_OPSET, OpRow

ROWS: tuple[OpRow, ...] = tuple(
    sorted(
        (
            *elementwise.ROWS,
            *movement.ROWS,
            *indexing.ROWS,
            *generate.ROWS,
            *reduction.ROWS,
            *regrouping.ROWS,
            *linear.ROWS,
            *normalise.ROWS,
            *attention.ROWS,
            *quantise.ROWS,
            *microsoft.ROWS,
            *attention_microsoft.ROWS,
        ),
        key=lambda row: (row.domain, row.name, row.since),
    )
)
"""All rows, sorted by domain, name and version."""

_BY_NAME: dict[tuple[str, str], tuple[OpRow, ...]] = {
    key: tuple(row for row in ROWS if (row.domain, row.name) == key)
    for key in {(row.domain, row.name) for row in ROWS}
}


def lookup(domain: str, op: str, opset: int = MAX_OPSET) -> OpRow | None:
    """The newest row of `op` that is not newer than `opset`; None if there is none."""
    found = None
    for row in _BY_NAME.get((domain, op), ()):
        if row.since <= opset:
            found = row
    return found


def known_names(domain: str) -> tuple[str, ...]:
    """Names of all operators of a domain that have a row."""
    return tuple(sorted({row.name for row in ROWS if row.domain == domain}))
