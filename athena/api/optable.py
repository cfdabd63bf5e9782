"""The op table as text, for `athena ops` and `docs/ops.md`.

In:  the compiler's op table. Out: rows of text; a Markdown page.   Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ops.table import ROWS
from compiler.ops.types import MAX_OPSET, OLDEST_OPSET, OpRow

HEAD = f"""# Operators

Printed by `athena ops --markdown` from the table that the compiler works with; a test keeps this
page current. Forms of opsets {OLDEST_OPSET} to {MAX_OPSET} are known. *Place*: `on chip` has
instructions of the chip; `folded` must have constant operands and disappears while compiling;
`host` is executed by onnxruntime beside the chip. *Becomes* names the chip-level operators.
An attribute, input or type that a row does not know is an error; nothing is dropped.
"""


def op_rows() -> list[tuple[str, str, str, str, str, str]]:
    """Operator, domain, since opset, place, what it becomes, limits."""
    return [
        (
            row.name,
            row.domain or "ai.onnx",
            str(row.since),
            row.place.value,
            row.canon,
            "; ".join(_limits(row)),
        )
        for row in ROWS
    ]


def ops_page(rows: Sequence[Sequence[str]]) -> str:
    """The page `docs/ops.md`."""
    lines = [HEAD, "| operator | domain | since | place | becomes | limits |", "|" + " --- |" * 6]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _limits(row: OpRow) -> list[str]:
    return [" ".join((limit.__doc__ or limit.__name__).split()) for limit in row.limits]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
