"""`athena rtl`: programs on the RTL of the core, beside the simulators' answers.

In:  program files or models, inputs. Out: one table or JSON; exit code 1 where they differ.
Raises: AthenaError; ToolError where Verilator or a C++ compiler is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from athena.cli import options, output
from athena.cli.commands.rtl_correlate import correlate
from athena.errors import UsageError, printable

if TYPE_CHECKING:
    from athena.api.rtl import RtlRun
    from rtl_sim.locate import Place
    from rtl_sim.run import Wave

app = typer.Typer(help="Run programs on the RTL of the core.", no_args_is_help=True)
SCHEMA = "athena-cli-rtl-run/2"
PRECISIONS = ("int8", "bf16")
QUICKSTART = "quickstart"


@app.callback()
def _root() -> None:
    """Programs on the RTL of the core (Verilator), beside the simulators."""


app.command("correlate")(correlate)


@app.command("run")
def run(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL.onnx|PROGRAM.athena|quickstart",
            help="What to execute; 'quickstart' is the small trained model that comes along.",
        ),
    ],
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="IN.npz", help="Input arrays; default: seeded ones."),
    ] = None,
    chip: Annotated[
        str, typer.Option("--chip", help="A chip with one core that the RTL implements.")
    ] = "athena-edge",
    settings: options.Settings = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", help="int8, bf16; repeatable. Default: both.", metavar="NAME"),
    ] = None,
    dim: options.Dims = None,
    calibrate: options.Calibrate = None,
    wave: Annotated[
        Path | None,
        typer.Option(
            "--wave",
            metavar="OUT.fst|OUT.vcd",
            help="Write the waveform (of the first precision); one nanosecond is a cycle.",
        ),
    ] = None,
    wave_cycles: Annotated[
        str | None,
        typer.Option("--wave-cycles", metavar="A:B", help="Only these cycles of the waveform."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Execute on the RTL: every byte as in the functional simulator, every cycle as in timing."""
    window = _window(wave, wave_cycles)
    from athena.api.rtl import rtl_run

    target = options.chip_of(chip, settings)
    runs = []
    for what, arrays in _executables(source, target, precision, dim, calibrate):
        with output.step(f"build and run the RTL of {target.name}"):
            found = rtl_run(what, target, arrays if inputs is None else inputs, wave=window)
        runs.append(found)
        window = None
    passed = all(found.passed for found in runs)
    if as_json:
        output.emit_json(SCHEMA, {"passed": passed, "runs": runs})
    else:
        _print(source.name, runs, wave)
    if not passed:
        raise typer.Exit(1)


def _window(path: Path | None, cycles: str | None) -> Wave | None:
    """The waveform that the options ask for."""
    if path is None:
        if cycles is not None:
            raise UsageError("--wave-cycles needs --wave", where="athena rtl run")
        return None
    from rtl_sim.build import wave_format
    from rtl_sim.run import Wave

    wave_format(path)
    if cycles is None:
        return Wave(path=path)
    first, sign, last = cycles.partition(":")
    numbers = [int(text) for text in (first, last) if text.isascii() and text.isdigit()]
    if not sign or len(numbers) != 2 or numbers[0] > numbers[1] or numbers[1] >= 1 << 31:
        raise UsageError(
            f"'{printable(cycles)}' is no range of cycles",
            where="--wave-cycles",
            hint="write A:B, for example --wave-cycles 0:2000",
        )
    return Wave(path=path, first_cycle=numbers[0], last_cycle=numbers[1])


def _executables(
    source: Path,
    chip: Any,
    precision: list[str] | None,
    dim: list[str] | None,
    calibrate: Path | None,
) -> list[tuple[Any, Any]]:
    """What to run, with its inputs where it brings some."""
    from athena import api

    names = [name.strip() for text in precision or PRECISIONS for name in text.split(",")]
    if str(source) == QUICKSTART and not source.exists():
        from athena.api.rtl_models import quickstart_model

        with output.step("compile the quickstart's model"):
            return [quickstart_model(name, chip, options.dims_of(dim)) for name in names]
    if api.is_program(source):
        if precision or dim or calibrate:
            raise UsageError(
                "a program file is compiled already",
                where=printable(source),
                hint="leave out --dim, --precision and --calibrate",
            )
        return [(source, None)]
    with output.step(f"compile {printable(source.name)}"):
        model = api.load_model(source, options.dims_of(dim))
        return [
            (
                api.compile(
                    model,
                    chip=chip,
                    precision=name,
                    calibration=calibrate if name == "int8" else None,
                ),
                None,
            )
            for name in names
        ]


def _print(name: str, runs: list[RtlRun], wave: Path | None) -> None:
    rows = zip(*(_figures(found) for found in runs), strict=True)
    labelled = [(pairs[0][0], *(text for _, text in pairs)) for pairs in rows]
    title = f"{name} on the RTL of {runs[0].chip} (memory: {runs[0].memory})"
    output.table(title, ("", *(found.precision for found in runs)), labelled)
    for found in runs:
        if not found.passed:
            output.show(*_difference(found))
    if wave is not None:
        output.show(f"wrote {wave} ({runs[0].precision})")


def _figures(found: RtlRun) -> list[tuple[str, str]]:
    """Label and text of each row."""
    outputs = f"equal, bit for bit ({len(found.outputs)} of {len(found.outputs)})"
    if found.differs:
        outputs = f"DIFFER: {', '.join(map(printable, found.differs))}"
    return [
        ("outputs, RTL and functional", outputs),
        ("words compared", f"{found.words:,}"),
        ("  bytes written, each word", "DIFFER" if found.bytes_difference else "equal"),
        ("  issue and completion", "differ" if found.cycles_difference else "equal"),
        ("cycles, RTL", f"{found.rtl_cycles:,}"),
        ("cycles, timing", f"{found.timing_cycles:,}"),
        ("error of timing", f"{found.error_percent:+.2f} %"),
        *(
            (
                f"busy {unit.queue}, RTL / timing",
                f"{unit.rtl_cycles:,} / {unit.timing_cycles:,}",
            )
            for unit in found.units
        ),
        ("RTL simulated at", f"{found.cycles_per_second:,.0f} cycles/s"),
        ("time: build / run", f"{found.build_seconds:.1f} s / {found.run_seconds:.1f} s"),
    ]


def _difference(found: RtlRun) -> list[str]:
    """What differs first, and where it stands in the program."""
    lines = [f"{found.precision}: the RTL DIFFERS from the simulators"]
    if found.bytes_difference:
        lines.append(f"  bytes   {found.bytes_difference}")
    if found.cycles_difference:
        lines.append(f"  cycles  {found.cycles_difference}")
    return lines + (place_lines(found.first_difference) if found.first_difference else [])


def place_lines(place: Place) -> list[str]:
    """A word of a program, for people."""
    lines = [
        f"  first   {place.queue} index {place.index}, pc {place.pc}",
        f"          {printable(place.word, 400)}",
    ]
    if place.node:
        sources = ", ".join(map(printable, place.sources[:4])) or "none"
        lines.append(f"          node {printable(place.node)}; of the model: {sources}")
    return lines
