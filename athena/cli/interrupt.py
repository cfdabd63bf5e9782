"""Ctrl-C: one handler that remembers it, and that waits while numpy is being imported.

In:  signals. Out: KeyboardInterrupt in the main thread; `seen`.   Raises: nothing.

Libraries written in C turn an interruption during their import into other errors (numpy prints a
trace and raises ImportError), and one that falls into a callback from C (LLVM's, while it compiles)
can only be printed and lost. So an interruption at such a moment is sent again a moment later, and
whatever is raised after an interruption counts as one.
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
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Interrupts:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._handle)
            self._unraisable = sys.unraisablehook
            sys.unraisablehook = self._lost
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]
            sys.unraisablehook = self._unraisable

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        if _importing("numpy"):
            _send_again(number)
            return
        raise KeyboardInterrupt

    def _lost(self, report: sys.UnraisableHookArgs) -> None:
        """An exception that nobody can catch: an interruption is sent again, others are printed."""
        if issubclass(report.exc_type, KeyboardInterrupt):
            _send_again(signal.SIGINT)
            return
        self._unraisable(report)


def _send_again(number: int) -> None:
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _importing(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
