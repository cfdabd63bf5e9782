"""Options that several commands share, and what their text means.

In:  text of the command line. Out: values.   Raises: UsageError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from athena.errors import UsageError, printable

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model file.")]
ChipName = Annotated[str, typer.Option("--chip", help="A preset's name or a chip file.")]
OptionalChip = Annotated[
    str | None, typer.Option("--chip", help="A preset's name or a chip file.", show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a figure of the chip; repeatable."),
]
Dims = Annotated[
    list[str] | None,
    typer.Option("--dim", metavar="NAME=N", help="Bind a symbolic dimension; repeatable."),
]
PrecisionName = Annotated[str, typer.Option("--precision", help="fp32, bf16 or int8.")]
Calibrate = Annotated[
    Path | None,
    typer.Option("--calibrate", metavar="CAL.npz", help="Samples for int8 along the first axis."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with a versioned schema.")]


def dims_of(texts: list[str] | None) -> dict[str, int]:
    """`["seq=128"]` as {"seq": 128}."""
    dims: dict[str, int] = {}
    for text in texts or ():
        name, sign, number = text.rpartition("=")
        if not sign or not name or not number.isascii() or not number.isdigit():
            raise UsageError(
                f"'{printable(text)}' is no dimension",
                where="--dim",
                hint="write NAME=N, for example --dim seq=128",
            )
        if len(number) > 10 or name in dims:
            raise UsageError(f"'{printable(text)}' is too large, or given twice", where="--dim")
        dims[name] = int(number)
    return dims


def chip_of(name: str, settings: list[str] | None = None) -> Any:
    """The chip with its changes."""
    from athena.api import load_chip

    return load_chip(name, overrides=_overrides(settings))


def _overrides(settings: list[str] | None) -> dict[str, Any]:
    import yaml

    overrides: dict[str, Any] = {}
    for text in settings or ():
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UsageError(
                f"'{printable(text)}' is no setting",
                where="--set",
                hint="write KEY=VALUE, for example --set core.matrix.rows=32",
            )
        try:
            overrides[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UsageError(f"'{printable(text)}' has no readable value", where="--set") from None
    return overrides


def executable(
    source: Path,
    chip: str | None,
    precision: str,
    dim: list[str] | None,
    calibrate: Path | None,
    settings: list[str] | None = None,
) -> Any:
    """A program file's path as it is, or the compiled model of an ONNX file."""
    from athena import api
    from athena.cli.output import step

    if api.is_program(source):
        if dim or calibrate or settings or precision != "bf16":
            raise UsageError(
                "a program file is compiled already",
                where=printable(source),
                hint="leave out --dim, --precision, --calibrate and --set",
            )
        return source
    with step(f"compile {printable(source.name)}"):
        return api.compile(
            source,
            chip=chip_of(chip or "athena", settings),
            precision=precision,
            dims=dims_of(dim),
            calibration=calibrate,
        )


def check_folder(path: Path, marker: str) -> None:
    """Refuse a folder that `write_folder` would refuse, before the long work."""
    from athena.errors import OutputError
    from athena.files import check_output

    target = Path(path)
    if not target.is_dir():
        check_output(target)
    elif target.is_symlink() or (not (target / marker).is_file() and any(target.iterdir())):
        raise OutputError(
            f"the folder exists and holds no {marker}: it is not one of ours",
            where=printable(path),
            hint="choose another name or empty the folder",
        )
