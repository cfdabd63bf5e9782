"""Ctrl-C: one handler that remembers it, and that waits while numpy is being imported.

In:  signals. Out: KeyboardInterrupt in the main thread; `seen`.   Raises: nothing.

Libraries written in C turn an interruption during their import into other errors (numpy prints a
trace and raises ImportError). So an interruption in the middle of numpy's import is sent again a
moment later, and whatever is raised after an interruption counts as one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

AGAIN_S = 0.02


class Interrupts:
    """While entered, the handler of SIGINT, unless SIGINT is ignored or this is no main thread."""

    def __init__(self) -> None:
        self.seen = False
        self._before: object = None

    def __enter__(self) -> Interrupts:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        if _importing("numpy"):
            again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        raise KeyboardInterrupt


def _importing(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
