"""Random small models: the pipeline keeps their meaning, leaves nothing to the host, and is
idempotent.
"""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings

from compiler.graph.chip_ops import Op
from compiler.graph.interpret import interpret
from compiler.passes import Precision, calibrate, run
from tests.compiler.passes.onnx_text import assert_close, kinds, loaded, run_ort
from tests.strategies import models

QUICK = settings(
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)


@QUICK
@given(models())
def test_pipeline_keeps_the_meaning(drawn):
    model, inputs = drawn
    graph = loaded(model)
    wanted = run_ort(model, inputs)
    assert_close(list(interpret(graph, inputs).values()), wanted)
    final = run(graph, precision=Precision.FP32)
    assert kinds(final)[Op.HOST] == 0
    assert_close(list(interpret(final, inputs).values()), wanted)
    assert run(final, precision=Precision.FP32) is final


@QUICK
@given(models(max_nodes=4))
def test_lower_precisions_run_and_stay_near(drawn):
    model, inputs = drawn
    graph = loaded(model)
    wanted = interpret(graph, inputs)
    calibration = calibrate(graph, [inputs])
    for precision, share in ((Precision.BF16, 0.1), (Precision.INT8, 0.3)):
        final = run(graph, precision=precision, calibration=calibration)
        for name, array in interpret(final, inputs).items():
            error = np.abs(array.astype(np.float64) - wanted[name])
            limit = share * max(float(np.abs(wanted[name]).max()), 1.0)
            assert float(error.max()) <= limit, f"{precision} {name}"
