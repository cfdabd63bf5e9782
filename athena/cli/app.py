"""The Typer application: every command by name, each in its own module.

In:  arguments. Out: an exit code.   Raises: AthenaError; UsageError for arguments Typer refuses.

Command modules import nothing heavy at their top, so that --help is quick.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from athena.cli.commands import (
    check,
    chips,
    execute,
    look,
    models,
    ops,
    quickstart,
    rtl,
    show,
    simulate,
)
from athena.cli.commands import compile as compiling
from athena.cli.commands import verify as verifying
from athena.errors import UsageError, printable

EPILOG = "Exit codes: 0 good, 1 a check failed, 2 bad input, 70 a defect of ours, 130 interrupted."
app = typer.Typer(
    name="athena",
    help="From an ONNX model to checked numbers, cycles and joules on an LLM inference chip.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from athena import __version__

        print(f"athena {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print a trace when something fails.")
    ] = False,
) -> None:
    del version, debug  # --debug is taken out of the arguments by `edge`; here for --help


app.command("quickstart")(quickstart.quickstart)
app.command("inspect")(look.inspect)
app.command("compile")(compiling.compile_model)
app.command("run")(execute.run)
app.command("verify")(verifying.verify)
app.command("simulate")(simulate.simulate)
app.command("report")(show.report)
app.command("view")(show.view)
app.add_typer(chips.app, name="chips")
app.add_typer(models.app, name="models")
app.command("ops")(ops.ops)
app.command("check")(check.check)
app.add_typer(rtl.app, name="rtl")

_Refused: Any = typer.BadParameter.__mro__[2]  # Click's own error, wherever Typer keeps Click


def run_app(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    try:
        code = app(arguments, prog_name="athena", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.Exit as leave:
        return leave.exit_code
    except _Refused as error:
        if not error.format_message().strip():  # no command: the help was printed instead
            return UsageError.exit_code
        raise _usage(error) from None
    return code if isinstance(code, int) else 0


def _usage(error: Any) -> UsageError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "athena"
    text = printable(" ".join(error.format_message().split()), 400)
    return UsageError(text, where=command, hint=f"{command} --help")
