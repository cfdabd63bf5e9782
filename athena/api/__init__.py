"""The Python API: load, compile, run, verify, simulate, report. The command line calls these.

In:  paths, arrays, options. Out: frozen results that show as tables in a notebook and give
`.to_pandas()`.   Raises: `AthenaError` and its subclasses only.
"""

from athena.api.arrays import read_npz, write_npz
from athena.api.compiled import CompiledModel, compile, load_chip
from athena.api.execute import is_program, run
from athena.api.models import Model, load_model
from athena.api.reported import Report, report
from athena.api.tables import Table
from athena.api.timed import Run, simulate
from athena.api.verified import Verification, verify
from athena.api.workload import workload_of

__all__ = [
    "CompiledModel",
    "Model",
    "Report",
    "Run",
    "Table",
    "Verification",
    "compile",
    "is_program",
    "load_chip",
    "load_model",
    "read_npz",
    "report",
    "run",
    "simulate",
    "verify",
    "workload_of",
    "write_npz",
]
