"""The one place where errors become messages and exit codes.

In:  arguments. Out: an exit code; a message on standard error.   Raises: KeyboardInterrupt only.

A known error is its message and exit code 2; anything else is a defect of ours: exit code 70 and,
with --debug, a trace. A reader that closed our standard output ends the command quietly.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from athena.cli.interrupt import Interrupts

DEBUG = "--debug"
INTERRUPTED = 130
INTERNAL = 70


def guarded(arguments: list[str]) -> int:
    """Run the command that `arguments` name and turn whatever happens into an exit code."""
    debug = DEBUG in arguments
    _prepare_streams()
    with Interrupts() as interrupts:
        try:
            code = _run([item for item in arguments if item != DEBUG])
            sys.stdout.flush()
            return INTERRUPTED if interrupts.seen else code
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            _silence(sys.stdout)
            return 0
        except BaseException as error:
            return INTERRUPTED if interrupts.seen else _failed(error, debug=debug)


def _run(arguments: list[str]) -> int:
    _check_packages()
    from athena.cli.app import run_app

    return run_app(arguments)


def _failed(error: BaseException, *, debug: bool) -> int:
    from athena.errors import AthenaError, RuntimeLimitError, UsageError, printable

    if debug:
        import traceback

        traceback.print_exc(file=sys.stderr)
    if isinstance(error, MemoryError):
        error = RuntimeLimitError(
            "not enough memory", where="athena", hint="use smaller dims or a smaller model"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        _silence(sys.stdout)
        error = UsageError("standard output cannot be written: disk full", where="athena")
    if isinstance(error, AthenaError):
        _tell(str(error))
        return error.exit_code
    if isinstance(error, SystemExit):
        if isinstance(error.__context__, BrokenPipeError):  # Rich's way to leave a closed pipe
            return 0
        return error.code if isinstance(error.code, int) else INTERNAL
    what = f"{type(error).__name__}: {printable(str(error), 400)}"
    _tell(
        f"error[E-INTERNAL]: a defect of Athena: {what}\n  at: athena\n"
        f"  do: please report it, with the command and the trace that {DEBUG} prints"
    )
    return INTERNAL


def _check_packages() -> None:
    """Refuse a `compiler` package of somebody else: the name is common."""
    spec = find_spec("compiler")
    ours = Path(__file__).resolve().parents[2]
    found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
    if found == ours and (ours / "compiler" / "lowering" / "lower.py").is_file():
        return
    from athena.errors import ToolError, printable

    raise ToolError(
        "the package 'compiler' is not Athena's own",
        where=printable(found or "not installed"),
        hint="another distribution took the name: install athena-npu in an environment of its own",
    )


def _prepare_streams() -> None:
    """Closed streams swallow text; characters that an encoding lacks are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _tell(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _silence(stream: TextIO) -> None:
    """Point a stream nobody reads at nothing, so that closing it at exit raises no second error."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
