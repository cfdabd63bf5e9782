"""Passes: from the ONNX-level graph to the chip-level graph that lowering reads."""

from compiler.passes.calibration import Calibration
from compiler.passes.pipeline import calibrate, run
from compiler.passes.precision import Precision

__all__ = ["Calibration", "Precision", "calibrate", "run"]
