"""Athena: from an ONNX model file to checked numbers, cycles, joules and a disclosure.

The public Python API is served lazily from `athena.api`, so that `import athena` costs nothing.
`athena.verify` and `athena.report` are the functions; the packages of these names are reached by
`from athena.verify import …`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from athena.api import compile, load_chip, load_model, report, run, simulate, verify

__version__ = "0.1.0"
__all__ = ["compile", "load_chip", "load_model", "report", "run", "simulate", "verify"]


class _Package(ModuleType):
    """The package: importing a subpackage does not hide the function of the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("athena.api"), name)
    raise AttributeError(f"module 'athena' has no attribute {name!r}")
