"""The interpreter, compiled once per process and cached on disk under a stamp of its sources.

In:  nothing. Out: `interpreter()`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from athena.functional.interpreter_kernel import build

_SOURCES = (
    ("athena.functional", "access_kernel.py"),
    ("athena.functional", "control_kernel.py"),
    ("athena.functional", "copy_kernel.py"),
    ("athena.functional", "element_kernel.py"),
    ("athena.functional", "gemm_kernel.py"),
    ("athena.functional", "inner_kernel.py"),
    ("athena.functional", "interpreter_kernel.py"),
    ("athena.functional", "lut_kernel.py"),
    ("athena.functional", "matmul_kernel.py"),
    ("athena.functional", "quantise_kernel.py"),
    ("athena.functional", "steps_kernel.py"),
    ("athena.functional", "trace_kernel.py"),
    ("athena.functional", "vec_kernel.py"),
    ("athena.isa", "tables.py"),
)


@cache
def interpreter() -> Callable[..., int]:
    """The compiled interpreter.

    A changed source gives another stamp, so that a stale cache entry is never used.
    """
    stamp = 1
    for package, name in _SOURCES:
        stamp = zlib.crc32((resources.files(package) / name).read_bytes(), stamp)
    compiled: Callable[..., Any] = build(stamp or 1)
    return compiled
