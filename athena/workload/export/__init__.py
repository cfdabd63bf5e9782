"""Models of real shapes, written as torch writes them, with or without weights.

In:  a preset's name. Out: an onnx.ModelProto.   Raises: ValueError.
"""

from athena.workload.export.models import build_preset, preset_names

__all__ = ["build_preset", "preset_names"]
