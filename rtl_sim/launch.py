"""One job as what the driver of an SoC does: two images in memory and writes of control registers.

In:  an `RtlJob`, bus addresses. Out: `Launch`; writing CONTROL.START after it starts the core.
Raises: InputError and CapacityError as `rtl_sim.job`; CapacityError for more runs than the table
holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from athena.errors import CapacityError
from athena.isa.fields import CORE_QUEUES, CORE_SEMS
from rtl_sim.job import RtlJob, launch_scalars, memory_image, run_descriptors, segment_bases
from rtl_sim.package import RUNS_MAX
from rtl_sim.registers import REGISTER_BYTES, RUN_STRIDE_BYTES, Reg

WORD_MASK = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """`data` is to lie at `data_at`, `code` at `code_at`; `writes` are (offset, value)."""

    data_at: int
    code_at: int
    data: bytes
    code: bytes
    writes: tuple[tuple[int, int], ...]


def _words(value: int, offset: int, count: int) -> list[tuple[int, int]]:
    return [(offset + REGISTER_BYTES * i, value >> (32 * i) & WORD_MASK) for i in range(count)]


def _table(descriptors: list[bytes], queue: int, table_runs: int) -> list[tuple[int, int]]:
    writes = []
    for run, text in enumerate(descriptors):
        offset = Reg.RUN_TABLE + RUN_STRIDE_BYTES * (table_runs * queue + run)
        writes += _words(int.from_bytes(text, "big"), offset, len(text) // REGISTER_BYTES)
    return writes


def prepare(job: RtlJob, *, data_at: int, code_at: int, table_runs: int = RUNS_MAX) -> Launch:
    """The launch of `job` on a core whose run table holds `table_runs` runs a queue (SIZES).

    Raises: InputError, CapacityError.
    """
    program, bases = job.program, segment_bases(job.program)
    starts = np.cumsum([0, *(len(stream.words) for stream in program.streams)])
    runs = run_descriptors(program, bases, [int(start) for start in starts])
    longest = max(len(run) for run in runs.values())
    if longest > table_runs:
        raise CapacityError(
            f"{longest} runs of a queue; the run table holds {table_runs}", where=program.name
        )
    sems = bytearray(CORE_SEMS)
    for sem, value in program.core_sems.items():
        sems[sem] = value
    writes = _words(code_at, Reg.CODE_LOW, 2) + _words(data_at, Reg.DATA_LOW, 2)
    writes += _words(bases[-1], Reg.MEMORY_LOW, 2)
    for i, scalar in enumerate(launch_scalars(program)):
        writes += _words(int(scalar), Reg.SCALARS + REGISTER_BYTES * i, 1)
    writes += _words(int.from_bytes(sems, "little"), Reg.SEMS, CORE_SEMS // REGISTER_BYTES)
    for number, queue in enumerate(CORE_QUEUES):
        writes.append((Reg.RUNS + REGISTER_BYTES * number, len(runs[queue])))
        writes += _table(runs[queue], number, table_runs)
    return Launch(
        data_at=data_at, code_at=code_at, data=memory_image(job, bases).tobytes(),
        code=b"".join(stream.words.tobytes() for stream in program.streams), writes=tuple(writes),
    )  # fmt: skip
