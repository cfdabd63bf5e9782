"""Compile a kernel function with a cache that notices changes in any kernel file.

In:  a signature and a function. Out: Numba's dispatcher for it.

Numba's cache checks only the file that holds the function; but compiled code contains the functions
that it calls, which lie in other files, and frozen constants of others still. So the stamp kept
with a cached kernel here covers the sources of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.extending import register_jitable

from athena.isa import cycles, fields

for _law in vars(cycles).copy().values():
    if callable(_law) and getattr(_law, "__module__", "") == cycles.__name__:
        register_jitable(_law)  # kernels may call the closed forms as they stand


@cache
def _stamp() -> str:
    """Hash of every source file that compiled kernels contain code or constants of."""
    own = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256()
    for path in (*own, Path(cycles.__file__), Path(fields.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: compile for `signature`, or load from the cache if no source has changed."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            dispatcher = njit(cache=True)(function)
        except RuntimeError:  # no folder that a cache could be written to
            dispatcher = njit(function)
        file: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
        if hasattr(file, "_source_stamp"):  # a private name: without it, Numba's own stamp
            file._source_stamp = _stamp()
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compiled
