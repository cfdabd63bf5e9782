"""onnxruntime in one persistent child process with limits of time and memory.

In:  a model that the frontend has checked (path or bytes) and named arrays. Out: named arrays.
Raises: ModelError, InputError, RuntimeLimitError (see `athena.ort.session`).
"""

from athena.ort.session import OrtLimits, OrtSession

__all__ = ["OrtLimits", "OrtSession"]
