"""A program on the RTL of the core beside the simulators.

In:  a compiled model, program or program file; inputs. Out: `RtlComparison` (frozen).
Raises: ToolError without Verilator or a C++ compiler; InputError, CapacityError, FaultError,
DeadlockError, RuntimeLimitError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athena.api.arrays import read_npz
from athena.api.compiled import CompiledModel
from athena.api.execute import Executable, resolve
from athena.api.samples import VERIFY_SEED, random_inputs
from athena.chip import Chip
from athena.errors import InputError, UsageError, printable
from athena.functional import Machine
from athena.functional.convert import to_storage
from athena.isa.fields import Seg
from athena.isa.program import Program
from athena.timing import simulate
from rtl_sim.run import run_program

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlComparison:
    """`differs` names the outputs whose bytes are not those of the functional simulator."""

    outputs: tuple[str, ...]
    differs: tuple[str, ...]
    rtl_cycles: int
    model_cycles: int

    @property
    def equal(self) -> bool:
        """Whether all outputs are equal bit for bit."""
        return not self.differs

    @property
    def cycle_error(self) -> float:
        """The timing model's cycles over the RTL's, less 1."""
        return self.model_cycles / self.rtl_cycles - 1.0 if self.rtl_cycles else 0.0


def compare(
    source: Executable,
    chip: str | Path | Chip | None = None,
    inputs: None | str | Path | Mapping[str, Array] = None,
) -> RtlComparison:
    """Execute on RTL, functional simulator and timing model; the chip needs exactly one core."""
    program, target = resolve(source, None if isinstance(source, CompiledModel) else chip)
    if target.cores != 1 or target.cluster.l2_bytes:
        raise UsageError(
            f"chip '{target.name}' has {target.cores} cores; the RTL is one core without L2",
            where="athena rtl",
            hint="use --chip athena-edge-ci",
        )
    arrays = _inputs(source, program, inputs)
    machine = Machine(program, target)
    machine.run(arrays)
    stored = {
        t.name: to_storage(np.asarray(arrays[t.name]), t.dtype, where=printable(t.name))
        for t in program.tensors
        if t.role == "input"
    }
    result = run_program(program, target, stored)
    outputs = [t for t in program.tensors if t.role == "output"]
    differs = tuple(
        t.name
        for t in outputs
        if not np.array_equal(
            _bytes(machine.segment(Seg(t.segment)), t.byte_range()),
            _bytes(result.segments[int(t.segment)], t.byte_range()),
        )
    )
    return RtlComparison(
        outputs=tuple(t.name for t in outputs),
        differs=differs,
        rtl_cycles=result.cycles,
        model_cycles=simulate(program, target).cycles,
    )


def _inputs(
    source: Executable, program: Program, given: None | str | Path | Mapping[str, Array]
) -> dict[str, Array]:
    if isinstance(given, str | Path):
        return read_npz(given)
    if given is not None:
        return dict(given)
    if isinstance(source, CompiledModel):
        return random_inputs(source.model, source.graph, VERIFY_SEED)
    if any(t.role == "input" for t in program.tensors):
        raise InputError(
            "the program needs inputs", where=printable(program.name), hint="--inputs IN.npz"
        )
    return {}


def _bytes(image: NDArray[np.uint8], where: tuple[int, int]) -> NDArray[np.uint8]:
    return image[where[0] : where[1]]
