"""Models that come along, ready for the RTL.

In:  a precision, a chip, dims. Out: a compiled model with inputs.   Raises: what compiling raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.api.arrays import read_npz
from athena.api.compiled import CompiledModel, compile
from athena.api.models import load_model
from athena.api.quickstart import data_folder
from athena.chip import Chip


def quickstart_model(
    precision: str, chip: Chip, dims: Mapping[str, int]
) -> tuple[CompiledModel, dict[str, NDArray[Any]]]:
    """The quickstart's trained model on held-out sums, in int8 calibrated on its own data.

    One sum unless `dims` binds `batch`.
    """
    folder = data_folder()
    model = load_model(folder / "model.onnx", {"batch": 1, **dims})
    compiled = compile(
        model,
        chip=chip,
        precision=precision,
        calibration=folder / "calibration.npz" if precision == "int8" else None,
    )
    ids = read_npz(folder / "heldout.npz")["input_ids"]
    rows = np.arange(model.dims["batch"]) % len(ids)
    return compiled, {"input_ids": ids[rows]}
