"""`athena check`: the program verifier on a program file.

In:  a program file. Out: what was looked at; exit code 1 where the program breaks a rule.
Raises: AthenaError for a file that cannot be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from athena.cli import options, output

SCHEMA = "athena-cli-check/1"


def check(
    program: Annotated[Path, typer.Argument(metavar="PROGRAM.athena", help="Program file.")],
    chip: options.OptionalChip = None,
    races: Annotated[
        bool, typer.Option("--races/--no-races", help="Judge the order of accesses too.")
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Check a program: words, bounds, semaphores, deadlock, races; exit 1 if it breaks a rule."""
    from athena.api.execute import chip_of
    from athena.errors import ProgramError
    from athena.isa.check import check_program
    from athena.isa.container import read_program

    loaded = read_program(program)
    target = chip_of(loaded, chip)
    try:
        with output.step(f"check {program.name}"):
            result = check_program(loaded, target, races=races)
    except ProgramError as fault:
        if as_json:
            told = {"code": fault.code, "message": fault.message, "where": fault.where}
            output.emit_json(SCHEMA, {"passed": False, "fault": told})
        output.remark(str(fault))
        raise typer.Exit(1) from None
    facts = {
        "words": result.static_words,
        "words_run": result.abstract_words,
        "accesses_ordered": result.accesses,
        "limits": list(result.limits),
    }
    if as_json:
        output.emit_json(SCHEMA, {"passed": True, **facts})
        return
    rows = [
        ("words in the file", result.static_words),
        ("words run without data", result.abstract_words),
        ("accesses judged", result.accesses if races else "not asked for"),
        ("cut short", "; ".join(result.limits) or "nothing"),
    ]
    output.table(f"{program.name} on {target.name}: no fault", ("", ""), rows)
