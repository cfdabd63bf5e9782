"""The error tree: every fault a user can cause has a stable code and one message.

A message reads `error[E-AREA-WHAT]: …`, `  at: file, node or key`, `  do: remedy`. `docs/errors.md`
has a paragraph for each
code, generated from the docstrings here; the command line prints the message and exits with
`exit_code`.
"""

from __future__ import annotations

import unicodedata

NAME_LIMIT_CHARS = 120
_FORMAT_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def printable(text: object, limit: int = NAME_LIMIT_CHARS) -> str:
    """Text from an untrusted source, safe for a terminal: control and bidi characters escaped, cut
    at `limit` characters.
    """
    escaped = "".join(
        char
        if unicodedata.category(char) not in _FORMAT_CATEGORIES
        else char.encode("unicode_escape").decode("ascii")
        for char in str(text)[: limit + 1]
    )
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


class AthenaError(Exception):
    """Base of every error that Athena raises on purpose; without `hint` the class's own is said."""

    code = "E-INTERNAL"
    hint = "check the input named above"
    exit_code = 2

    def __init__(self, message: str, *, where: str, hint: str = "") -> None:
        self.message = message
        self.where = where
        self.hint = hint or type(self).hint
        super().__init__(f"error[{self.code}]: {message}\n  at: {where}\n  do: {self.hint}")


class ModelError(AthenaError):
    """The model file cannot be read, is malformed, or asks for something that no model may ask."""

    code = "E-MODEL-INVALID"
    hint = (
        "repair the model or export it again; `athena inspect MODEL.onnx` reads it without "
        "compiling"
    )


class ModelFileError(ModelError):
    """The model path is missing, not a regular file, or holds something else than an ONNX model."""

    code = "E-MODEL-FILE"
    hint = "give the path of a regular .onnx file"


class ExternalDataError(ModelError):
    """A tensor's external data lies outside the model's folder, is missing, or does not have the
    length its shape needs.
    """

    code = "E-MODEL-EXTERNAL"
    hint = "put the model's data files, complete, in the model's own folder"


class DimError(ModelError):
    """A symbolic dimension has no value, or a `--dim` names none of the model's dimensions."""

    code = "E-MODEL-DIM"
    hint = "`athena inspect MODEL.onnx` lists the dimensions to bind with --dim NAME=N"


class ShapeError(ModelError):
    """A tensor's shape cannot be derived, contradicts another, or is above the size limit."""

    code = "E-MODEL-SHAPE"
    hint = "repair the shapes of the model, or bind other dimensions with --dim"


class UnsupportedOpError(ModelError):
    """An operator, attribute or dtype that neither the chip nor the host may execute (or any host
    operator under `--strict`).
    """

    code = "E-OP-UNSUPPORTED"
    hint = "`athena ops` lists the operators, where they run and their limits"


class InputError(AthenaError):
    """Input tensors (`.npz`) that do not fit the model: missing, of another shape or dtype, or not
    readable.
    """

    code = "E-INPUT-INVALID"
    hint = (
        "write the arrays with numpy.savez(path, name=array); `athena inspect MODEL.onnx` "
        "lists names, dtypes and shapes"
    )


class ChipError(AthenaError):
    """A chip description that cannot be built: unknown key, value out of range, figures that
    contradict each other.
    """

    code = "E-CHIP-INVALID"
    hint = "`athena chips show athena` prints a complete description"


class CapacityError(AthenaError):
    """Something does not fit: a tile in the scratchpad, the weights in HBM, a loop body in the
    instruction FIFO.
    """

    code = "E-CAPACITY"
    hint = "use smaller dimensions, a narrower precision or a larger chip"


class ProgramError(AthenaError):
    """A program file or program that breaks the rules of the machine (bounds, alignment, balance of
    semaphores).
    """

    code = "E-PROGRAM-INVALID"
    hint = "write the program again with `athena compile MODEL.onnx -o PROGRAM.athena`"


class RaceError(ProgramError):
    """Two words of a program touch the same bytes, one writing, with no order between them."""

    code = "E-PROGRAM-RACE"


class DeadlockError(ProgramError):
    """Every queue of a program is blocked and not all have ended; the message lists queue, word,
    semaphore and its value.
    """

    code = "E-PROGRAM-DEADLOCK"


class FaultError(ProgramError):
    """The machine faulted while executing: index out of range, semaphore overflow, illegal word."""

    code = "E-PROGRAM-FAULT"
    hint = "check the inputs (indices within their table) or, for a program file, `athena check`"


class RuntimeLimitError(AthenaError):
    """onnxruntime's child process or a simulation passed its limit of time, memory or work."""

    code = "E-LIMIT"
    hint = "use smaller dimensions or a smaller model"


class RunError(AthenaError):
    """A run folder, deployment file or report that cannot be read or does not have the expected
    schema.
    """

    code = "E-RUN-INVALID"
    hint = "write the run again with `athena simulate MODEL.onnx -o RUN`"


class OutputError(AthenaError):
    """The output path cannot be written: missing folder, no permission, disk full."""

    code = "E-OUTPUT"
    hint = "choose a path in an existing, writable folder with free space"


class ToolError(AthenaError):
    """A tool that the command needs is not installed (Verilator, g++, make); the hint says how to
    get it.
    """

    code = "E-TOOL-MISSING"
    hint = "install the tool, or leave the command out"


class UsageError(AthenaError):
    """Options of a command that contradict each other or have no meaning together."""

    code = "E-USAGE"
    hint = "`athena COMMAND --help` lists the options"


class InternalError(AthenaError):
    """A defect of Athena itself; please report it."""

    code = "E-INTERNAL"
    hint = "please report it, with the command and the trace that --debug prints"
    exit_code = 70
