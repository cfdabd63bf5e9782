"""The parent's side of onnxruntime's child: start, ask, watch the clock, restart.

In:  models that the frontend has checked (onnxruntime alone is no input check), named arrays.
Out: {name: array}.
Raises: InputError (inputs do not fit), ModelError (onnxruntime refuses the model, or died of it),
        RuntimeLimitError (limit of time or memory).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from athena.errors import InputError, ModelError, ModelFileError, RuntimeLimitError, printable
from athena.ort import wire

TEXT_LIMIT_CHARS = 400
START_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrtLimits:
    """Limits of the child.

    A request may use `memory_bytes` + 4 × (model + inputs) of address space and `wall_s` seconds;
    after `models` models the child is replaced. `threads` are onnxruntime's compute threads.
    """

    wall_s: float = 120.0
    memory_bytes: int = 2 << 30
    models: int = 200
    threads: int = 2


class _Died(Exception):
    """The child closed its pipe."""


class _Late(Exception):
    """The child did not answer in time."""


class OrtSession:
    """One persistent onnxruntime child; use it as a context manager or call `close`.

    Calls from several threads are served one after another.
    """

    def __init__(self, limits: OrtLimits | None = None) -> None:
        self.limits = limits or OrtLimits()
        self._process: subprocess.Popen[bytes] | None = None
        self._versions: dict[str, str] = {}
        self._sessions = 0
        self._lock = threading.Lock()

    def __enter__(self) -> OrtSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def versions(self) -> dict[str, str]:
        """Versions of onnxruntime and onnx in the child; starts it if need be."""
        with self._lock:
            self._ensure()
            return dict(self._versions)

    def close(self) -> None:
        """End the child; a later `run` starts another."""
        with self._lock:
            self._stop()

    def run(
        self,
        model: Path | bytes,
        inputs: Mapping[str, np.ndarray[Any, Any]],
        outputs: tuple[str, ...] | None = None,
        *,
        intermediate: tuple[str, ...] = (),
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Execute `model`; all its outputs, or those named, and the values `intermediate`.

        `model` with external data is given by path. The edit that makes intermediate values outputs
        happens in the child. Arrays keep the model's types; bfloat16 is `ml_dtypes.bfloat16`.
        """
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        if isinstance(model, bytes):
            where, path, size = "model in memory", None, len(model)
            arrays["model"] = np.frombuffer(model, np.uint8)
        else:
            where, path, size = printable(model), os.path.abspath(model), _file_size(model)
        arrays |= {f"input:{name}": np.asarray(array) for name, array in inputs.items()}
        header = {
            "model": path,
            "model_bytes": size,
            "memory_bytes": self.limits.memory_bytes,
            "outputs": None if outputs is None else list(outputs),
            "intermediate": list(intermediate),
        }
        try:
            request = wire.pack(header, arrays)
        except wire.WireError as error:
            raise InputError(printable(error, TEXT_LIMIT_CHARS), where=where) from None
        with self._lock:
            reply, results = self._ask(request, where)
        if "error" in reply:
            raise self._fault(reply, where)
        return results

    def _ask(
        self, request: list[memoryview], where: str
    ) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
        self._ensure()
        deadline = time.monotonic() + self.limits.wall_s
        try:
            self._write(request, deadline)
            readinto = self._reader(deadline)
            reply = wire.read_header(readinto)
            results = wire.read_arrays(reply, readinto)
        except _Late:
            self._stop()
            raise RuntimeLimitError(
                f"onnxruntime did not finish within {self.limits.wall_s:g} s and was stopped",
                where=where,
                hint="raise the time limit, or use smaller dims",
            ) from None
        except _Died:
            raise self._obituary(where) from None
        except wire.WireError as error:
            self._stop()
            raise ModelError(
                f"onnxruntime's process answered nonsense: {printable(error)}", where=where
            ) from None
        except BaseException:  # Ctrl-C between request and answer leaves the pipe out of step
            self._stop()
            raise
        self._sessions = int(reply.get("sessions", self._sessions))
        return reply, results

    def _fault(self, reply: Mapping[str, Any], where: str) -> Exception:
        text = printable(reply.get("text", ""), TEXT_LIMIT_CHARS)
        if reply["error"] == "input":
            return InputError(f"onnxruntime refuses the inputs: {text}", where=where)
        if reply["error"] == "memory":
            return RuntimeLimitError(
                f"onnxruntime needs more memory than its limit of {self.limits.memory_bytes >> 20} "
                f"MiB + 4 x (model + inputs): {text}",
                where=where,
                hint="use smaller dims",
            )
        return ModelError(f"onnxruntime refuses the model: {text}", where=where)

    def _obituary(self, where: str) -> Exception:
        code = self._stop()
        if code in (-signal.SIGKILL, wire.OUT_OF_MEMORY):
            return RuntimeLimitError(
                "onnxruntime's process ended for want of memory",
                where=where,
                hint="use smaller dims",
            )
        name = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return ModelError(
            f"onnxruntime's process crashed ({name}) on this model",
            where=where,
            hint="the model asks for something onnxruntime does not survive, e.g. INT_MIN / -1",
        )

    def _ensure(self) -> None:
        if self._process is not None and (
            self._process.poll() is not None or self._sessions >= self.limits.models
        ):
            self._stop()
        if self._process is None:
            self._start()

    def _start(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        threads = str(self.limits.threads)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "athena.ort.child", threads],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": paths,
                "ORT_DISABLE_TELEMETRY": "1",
                "OMP_NUM_THREADS": threads,
                "OPENBLAS_NUM_THREADS": "1",
            },
            start_new_session=True,
            bufsize=0,
        )
        os.set_blocking(self._pipe("stdin").fileno(), False)
        os.set_blocking(self._pipe("stdout").fileno(), False)
        self._sessions = 0
        try:
            hello = wire.read_header(self._reader(time.monotonic() + START_LIMIT_S))
        except (_Late, _Died, wire.WireError):
            self._stop()
            raise RuntimeLimitError(
                "onnxruntime's process does not start",
                where="onnxruntime",
                hint="try: python -c 'import onnx, onnxruntime'",
            ) from None
        self._versions = {str(k): printable(v) for k, v in dict(hello.get("ready", {})).items()}

    def _stop(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            return process.wait(0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def _pipe(self, name: str) -> IO[bytes]:
        pipe = getattr(self._process, name)
        if pipe is None:
            raise _Died
        return pipe  # type: ignore[no-any-return]

    def _write(self, buffers: list[memoryview], deadline: float) -> None:
        fd = self._pipe("stdin").fileno()
        for buffer in buffers:
            at = 0
            while at < len(buffer):
                _wait(fd, selectors.EVENT_WRITE, deadline)
                try:
                    at += os.write(fd, buffer[at : at + (1 << 20)])
                except BlockingIOError:
                    continue
                except OSError:
                    raise _Died from None

    def _reader(self, deadline: float) -> wire.ReadInto:
        fd = self._pipe("stdout").fileno()

        def readinto(buffer: memoryview) -> None:
            at = 0
            while at < len(buffer):
                _wait(fd, selectors.EVENT_READ, deadline)
                try:
                    count = os.readv(fd, [buffer[at:]])
                except BlockingIOError:
                    continue
                if count == 0:
                    raise _Died
                at += count

        return readinto


def _wait(fd: int, event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(fd, event)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise _Late


def _file_size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot be read: {printable(error)}", where=printable(path)) from None
