"""Athena: from an ONNX model file to checked numbers, cycles, joules and a disclosure.

The public Python API is served lazily from `athena.api`, so that `import athena` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from athena.api import compile, load_chip, load_model, report, simulate, verify

__version__ = "0.1.0"
__all__ = ["compile", "load_chip", "load_model", "report", "simulate", "verify"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("athena.api"), name)
    raise AttributeError(f"module 'athena' has no attribute {name!r}")
