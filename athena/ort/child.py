"""The child process: `python -P -m athena.ort.child` answers one request after another.

In:  messages (`athena.ort.wire`) on standard input: a model, inputs, names of outputs.
Out: messages on what was standard output; that descriptor is moved away first, so that nothing
     which onnxruntime prints can fall between two messages.
Raises: nothing; faults are answered with {"error": kind, "text": message}.

Limits: RLIMIT_CORE 0; RLIMIT_AS is set anew for every request, before its arrays are read, from
what the request and the kept sessions need (measured: an idle child maps 0.34 GiB).
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any import of onnxruntime

from athena.ort import wire  # noqa: E402
from athena.ort.engine import Engine, EngineError  # noqa: E402

TEXT_LIMIT_CHARS = 2000


def main() -> int:
    """Serve requests until the parent closes the pipe."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source = os.dup(0)
    sink = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    engine = Engine(threads=int(sys.argv[1]))
    _send(sink, {"ready": engine.versions()}, {})
    readinto = _reader(source)
    while True:
        try:
            header = wire.read_header(readinto)
            request = header["model_bytes"] + engine.kept_bytes() + wire.payload_bytes(header)
            _limit_memory(header["memory_bytes"] + 4 * request)
            arrays = wire.read_arrays(header, readinto)
        except (EOFError, wire.WireError):
            return 0
        except MemoryError:
            return wire.OUT_OF_MEMORY  # the rest of the message is unread: no way to go on
        _answer(engine, header, arrays, sink)


def _answer(
    engine: Engine, header: dict[str, Any], arrays: dict[str, wire.Array], sink: int
) -> None:
    try:
        outputs = engine.run(header, arrays, lambda more: _allow(4 * more))
        _send(sink, {"sessions": engine.created}, outputs)
    except EngineError as error:
        _send(sink, {"error": error.kind, "text": error.text[:TEXT_LIMIT_CHARS]}, {})
    except MemoryError:
        engine.forget()
        _send(sink, {"error": "memory", "text": "out of memory"}, {})
    except wire.WireError as error:
        _send(sink, {"error": "model", "text": str(error)[:TEXT_LIMIT_CHARS]}, {})


def _limit_memory(limit_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _allow(more_bytes: int) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    _limit_memory(soft + more_bytes)


def _reader(fd: int) -> wire.ReadInto:
    def readinto(buffer: memoryview) -> None:
        at = 0
        while at < len(buffer):
            count = os.readv(fd, [buffer[at:]])
            if count == 0:
                raise EOFError
            at += count

    return readinto


def _send(fd: int, header: dict[str, Any], arrays: dict[str, wire.Array]) -> None:
    with contextlib.suppress(BrokenPipeError):
        for buffer in wire.pack(header, arrays):
            at = 0
            while at < len(buffer):
                at += os.write(fd, buffer[at:])


def _exit_with_parent(parent: int) -> None:
    """A hung onnxruntime must not outlive the process that asked."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
