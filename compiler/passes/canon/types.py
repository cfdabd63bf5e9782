"""What a canonical-form function is.

In:  a Builder.   Out: the type alias and common reasons.   Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from compiler.passes.build import Builder

Canon = Callable[[Builder], str | None]
"""Emits the chip nodes that make all outputs of `builder.node`; or returns why the host must do
it.
"""

DYNAMIC_INDEX = "indices or sizes that are not known at compile time"
