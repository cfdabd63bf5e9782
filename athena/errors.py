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
    """Base of every error that Athena raises on purpose."""

    code = "E-INTERNAL"
    exit_code = 2

    def __init__(self, message: str, *, where: str, hint: str = "") -> None:
        self.message = message
        self.where = where
        self.hint = hint
        super().__init__(
            f"error[{self.code}]: {message}\n  at: {where}" + (f"\n  do: {hint}" if hint else "")
        )


class ModelError(AthenaError):
    """The model file cannot be read, is malformed, or asks for something that no model may ask."""

    code = "E-MODEL-INVALID"


class ModelFileError(ModelError):
    """The model path is missing, not a regular file, or holds something else than an ONNX model."""

    code = "E-MODEL-FILE"


class ExternalDataError(ModelError):
    """A tensor's external data lies outside the model's folder, is missing, or does not have the
    length its shape needs.
    """

    code = "E-MODEL-EXTERNAL"


class DimError(ModelError):
    """A symbolic dimension has no value, or a `--dim` names none of the model's dimensions."""

    code = "E-MODEL-DIM"


class ShapeError(ModelError):
    """A tensor's shape cannot be derived, contradicts another, or is above the size limit."""

    code = "E-MODEL-SHAPE"


class UnsupportedOpError(ModelError):
    """An operator, attribute or dtype that neither the chip nor the host may execute (or any host
    operator under `--strict`).
    """

    code = "E-OP-UNSUPPORTED"


class InputError(AthenaError):
    """Input tensors (`.npz`) that do not fit the model: missing, of another shape or dtype, or not
    readable.
    """

    code = "E-INPUT-INVALID"


class ChipError(AthenaError):
    """A chip description that cannot be built: unknown key, value out of range, figures that
    contradict each other.
    """

    code = "E-CHIP-INVALID"


class CapacityError(AthenaError):
    """Something does not fit: a tile in the scratchpad, the weights in HBM, a loop body in the
    instruction FIFO.
    """

    code = "E-CAPACITY"


class ProgramError(AthenaError):
    """A program file or program that breaks the rules of the machine (bounds, alignment, balance of
    semaphores).
    """

    code = "E-PROGRAM-INVALID"


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


class RuntimeLimitError(AthenaError):
    """onnxruntime's child process or a simulation passed its limit of time, memory or work."""

    code = "E-LIMIT"


class RunError(AthenaError):
    """A run folder, deployment file or report that cannot be read or does not have the expected
    schema.
    """

    code = "E-RUN-INVALID"


class OutputError(AthenaError):
    """The output path cannot be written: missing folder, no permission, disk full."""

    code = "E-OUTPUT"


class ToolError(AthenaError):
    """A tool that the command needs is not installed (Verilator, g++, make); the hint says how to
    get it.
    """

    code = "E-TOOL-MISSING"


class UsageError(AthenaError):
    """Options of a command that contradict each other or have no meaning together."""

    code = "E-USAGE"


class InternalError(AthenaError):
    """A defect of Athena itself; please report it."""

    code = "E-INTERNAL"
    exit_code = 70
