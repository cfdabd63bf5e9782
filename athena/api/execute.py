"""Execute a compiled model on arrays, bit for bit as the chip computes.

In:  a compiled model, program or program file; arrays by name or an `.npz`. Out: arrays by name.
Raises: InputError, ProgramError, FaultError, DeadlockError, RaceError, RuntimeLimitError.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from athena.api.arrays import read_npz
from athena.api.compiled import CompiledModel
from athena.chip import Chip, load_chip, preset_names
from athena.errors import ModelFileError, ProgramError, UsageError, printable
from athena.files import open_regular
from athena.functional import Machine
from athena.isa.check import check_program
from athena.isa.container import MAGIC, read_program
from athena.isa.program import HostCall, Program
from athena.ort import OrtSession

Array = NDArray[Any]
Executable = CompiledModel | Program | str | Path


def resolve(source: Executable, chip: str | Path | Chip | None = None) -> tuple[Program, Chip]:
    """A program with its chip; a program from a file is checked before anything executes it.

    `chip` may be left out where the program names a preset (or comes with its chip).
    Raises: ProgramError, ChipError, UsageError.
    """
    if isinstance(source, CompiledModel):
        if chip is not None and load_chip(chip) != source.chip:
            raise UsageError(
                "the model was compiled for another chip", where="chip", hint="compile it again"
            )
        return source.program, source.chip
    if isinstance(source, Program):
        return source, chip_of(source, chip)
    program = read_program(source)
    target = chip_of(program, chip)
    check_program(program, target, races=False)
    return program, target


def is_program(path: str | Path) -> bool:
    """Whether a file begins as a program file does. Raises: ModelFileError if unreadable."""
    with open_regular(path, limit_bytes=1 << 44, error=ModelFileError) as (file, _):
        return file.read(len(MAGIC)) == MAGIC


def chip_of(program: Program, chip: str | Path | Chip | None) -> Chip:
    """The chip given, or the preset that the program names."""
    if chip is not None:
        return load_chip(chip)
    if program.chip not in preset_names():
        raise ProgramError(
            f"the program is for '{printable(program.chip, 40)}', which is no preset",
            where=printable(program.name),
            hint="give the chip file: --chip FILE.yaml",
        )
    return load_chip(program.chip)


def run(
    source: Executable,
    inputs: Mapping[str, Array] | str | Path,
    *,
    chip: str | Path | Chip | None = None,
) -> dict[str, Array]:
    """The outputs by name, in the model's own element types."""
    program, target = resolve(source, chip)
    arrays = read_npz(inputs) if isinstance(inputs, str | Path) else inputs
    return execute(program, target, arrays)


def execute(program: Program, chip: Chip, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run on a fresh machine; nodes of the host go to onnxruntime's child process."""
    if program.weightless:
        raise UsageError(
            "the model has no weights: it can be costed, not executed",
            where=printable(program.name),
            hint="use simulate",
        )
    machine = Machine(program, chip)
    if not program.host_calls:
        return machine.run(inputs)
    with OrtSession() as session:

        def host(call: HostCall, arrays: dict[str, Array]) -> dict[str, Array]:
            return session.run(call.model, arrays, call.outputs)

        return machine.run(inputs, host=host)
