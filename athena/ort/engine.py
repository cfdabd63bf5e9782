"""What the child does with one request: build or reuse an onnxruntime session and run it.

In:  the request's header and arrays. Out: {name: array}.   Raises: EngineError (kind, text).

Sessions run on the CPU with basic graph optimisations only (they keep each operator's meaning)
and without a memory arena, so that memory goes back after each run.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort

Array = np.ndarray[Any, Any]
KEPT_SESSIONS = 32
KEPT_BYTES = 256 << 20
_BF16 = "tensor(bfloat16)"
_FOR_INPUTS = ("INVALID_ARGUMENT", "Invalid input", "Missing Input", "Unexpected input")
_FOR_MEMORY = ("bad_alloc", "Failed to allocate memory", "MemoryError", "bad allocation")


class EngineError(Exception):
    """A request that cannot be answered: kind is model, input or memory."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Engine:
    """Sessions by model, most recently used last; `created` counts sessions made."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._sessions: dict[str, tuple[Any, int, list[bytes]]] = {}
        self.created = 0
        ort.set_default_logger_severity(4)

    @staticmethod
    def versions() -> dict[str, str]:
        """Versions of onnxruntime and onnx."""
        return {"onnxruntime": ort.__version__, "onnx": onnx.__version__}

    def kept_bytes(self) -> int:
        """Bytes of the models whose sessions are kept."""
        return sum(size for _, size, _ in self._sessions.values())

    def forget(self) -> None:
        """Drop every session."""
        self._sessions.clear()

    def run(
        self, header: Mapping[str, Any], arrays: dict[str, Array], allow: Callable[[int], None]
    ) -> dict[str, Array]:
        """Run the request's model on its inputs; `allow(bytes)` raises the memory limit."""
        blob = arrays.pop("model", None) if header["model"] is None else None
        inputs = {name.removeprefix("input:"): array for name, array in arrays.items()}
        try:
            session = self._session(header, blob, allow)
            return _execute(session, inputs, _wanted(session, header))
        except EngineError:
            raise
        except Exception as error:  # onnxruntime raises a class for each status, all sorts
            raise _translate(error) from None

    def _session(
        self, header: Mapping[str, Any], blob: Array | None, allow: Callable[[int], None]
    ) -> Any:
        extra = tuple(header["intermediate"])
        key = _key(header["model"], blob, extra)
        if key in self._sessions:
            self._sessions[key] = self._sessions.pop(key)
            return self._sessions[key][0]
        size = header["model_bytes"]
        self._make_room(size)
        session, external, borrowed = _build(header["model"], blob, extra, self._threads, allow)
        self._sessions[key] = (session, size + external, borrowed)
        self.created += 1
        return session

    def _make_room(self, size: int) -> None:
        while self._sessions and (
            len(self._sessions) >= KEPT_SESSIONS or self.kept_bytes() + size > KEPT_BYTES
        ):
            del self._sessions[next(iter(self._sessions))]


def _key(path: str | None, blob: Array | None, extra: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr(extra).encode())
    if blob is not None:
        digest.update(blob.tobytes())
    elif path is not None:
        status = os.stat(path)
        identity = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        digest.update(repr(identity).encode())
    return digest.hexdigest()


def _build(
    path: str | None,
    blob: Array | None,
    extra: tuple[str, ...],
    threads: int,
    allow: Callable[[int], None],
) -> tuple[Any, int, list[bytes]]:
    """A session, the bytes of external data it uses, and buffers that must live as long as it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    source: str | bytes
    external, borrowed = 0, list[bytes]()
    if path is None:
        source = blob.tobytes() if blob is not None else b""
        if extra:
            source = _with_outputs(onnx.load_model_from_string(source), extra)
    else:
        model = onnx.load(path, load_external_data=False)
        files = _external_files(model, Path(path))
        external = sum(file.stat().st_size for file in files.values())
        allow(external)
        source = path
        if extra:
            source = _with_outputs(model, extra)
            borrowed = _attach(options, files)
        del model
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session, external, borrowed


def _with_outputs(model: Any, extra: tuple[str, ...]) -> bytes:
    """The model with the values `extra` of its top graph as further outputs."""
    produced = {name for node in model.graph.node for name in node.output if name}
    present = {value.name for value in model.graph.output}
    for name in dict.fromkeys(extra):
        if name not in produced:
            raise EngineError("model", f"no node gives a value named '{name}'")
        if name not in present:
            value = onnx.ValueInfoProto()
            value.name = name
            model.graph.output.append(value)
    data: bytes = model.SerializeToString()
    return data


def _external_files(model: Any, path: Path) -> dict[str, Path]:
    """External files {location: path}; each a regular file under the model's (resolved) folder."""
    roots = (path.parent.resolve(), path.resolve().parent)
    files: dict[str, Path] = {}
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        if location in files:
            continue
        file = (path.parent / location).resolve()
        inside = any(file.is_relative_to(root) for root in roots)
        if not location or not inside or not stat.S_ISREG(os.stat(file).st_mode):
            raise EngineError("model", f"external data '{location}' is not in the model's folder")
        files[location] = path.parent / location
    return files


def _tensors(model: Any) -> Iterator[Any]:
    stack = [model.graph, *model.functions]
    while stack:
        part = stack.pop()
        yield from getattr(part, "initializer", ())
        for node in part.node:
            for attribute in node.attribute:
                stack += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
                yield from attribute.tensors
                if attribute.HasField("t"):
                    yield attribute.t


def _attach(options: Any, files: Mapping[str, Path]) -> list[bytes]:
    """Give external files by content: beside a model in memory, symbolic links are refused.

    onnxruntime only borrows the contents; the caller keeps them alive.
    """
    contents = [file.read_bytes() for file in files.values()]
    if files:
        sizes = [len(content) for content in contents]
        options.add_external_initializers_from_files_in_memory(list(files), contents, sizes)
    return contents


def _wanted(session: Any, header: Mapping[str, Any]) -> list[str]:
    outputs = [value.name for value in session.get_outputs()]
    extra = header["intermediate"]
    if header["outputs"] is None:
        return outputs
    missing = [name for name in header["outputs"] if name not in outputs]
    if missing:
        raise EngineError("model", f"the model has no output named '{missing[0]}'")
    return list(dict.fromkeys([*header["outputs"], *extra]))


def _execute(session: Any, inputs: dict[str, Array], wanted: list[str]) -> dict[str, Array]:
    declared = {value.name: value.type for value in session.get_inputs()}
    for name in declared:
        if name not in inputs:
            raise EngineError("input", f"input '{name}' ({declared[name]}) is missing")
    for name in inputs:
        if name not in declared:
            known = ", ".join(declared)
            raise EngineError("input", f"the model has no input '{name}'; it has {known}")
    types = {value.name: value.type for value in session.get_outputs()}
    if _BF16 in declared.values() or any(types[name] == _BF16 for name in wanted):
        values = session.run_with_ort_values(wanted, {k: _wrap(v) for k, v in inputs.items()})
        results = [_unwrap(value) for value in values]
    else:
        results = session.run(wanted, inputs)
    for name, result in zip(wanted, results, strict=True):
        if not isinstance(result, np.ndarray):
            raise EngineError("model", f"'{name}' is {types[name]}, not a dense tensor")
    return dict(zip(wanted, results, strict=True))


def _wrap(array: Array) -> Any:
    if array.dtype == ml_dtypes.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(
            array.view(np.uint16), onnx.TensorProto.BFLOAT16
        )
    return ort.OrtValue.ortvalue_from_numpy(array)


def _unwrap(value: Any) -> Any:
    """An OrtValue as numpy; bfloat16, which onnxruntime cannot convert, from its memory."""
    if value.data_type() != _BF16:
        return value.numpy() if value.is_tensor() else value
    shape = tuple(value.shape())
    out = np.empty(shape, ml_dtypes.bfloat16)
    if out.size:
        ctypes.memmove(out.ctypes.data, value.data_ptr(), out.nbytes)
    return out


def _translate(error: Exception) -> EngineError:
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError) or any(mark in text for mark in _FOR_MEMORY):
        return EngineError("memory", text)
    if any(mark in text for mark in _FOR_INPUTS):
        return EngineError("input", text)
    return EngineError("model", text)
