"""The command line. `main` is the program's entry: it imports nothing before it can be interrupted.

In:  the process's arguments. Out: an exit code: 0 good, 1 a check failed, 2 the user's input,
70 our own bug, 130 interrupted.   Raises: nothing.
"""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; `arguments` default to the process's own."""
    try:
        import os
        import sys

        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any import of onnxruntime
        from athena.cli.edge import guarded

        return guarded(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130
