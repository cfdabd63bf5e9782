"""`athena chips`: the chip descriptions: list, show, check, compare, begin one.

In:  presets and chip files. Out: tables, YAML, JSON, a new file.   Raises: AthenaError.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from athena.cli import options, output

if TYPE_CHECKING:
    from athena.chip import Chip

app = typer.Typer(help="Chip descriptions: list, show, check, diff, new.", no_args_is_help=True)
NAME_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
Source = Annotated[str, typer.Argument(metavar="CHIP", help="A preset's name or a chip file.")]


@app.command("list")
def list_chips(as_json: options.AsJson = False) -> None:
    """List the presets."""
    from athena.chip import load_chip, preset_names

    facts = [_derived(load_chip(name)) for name in preset_names()]
    if as_json:
        output.emit_json("athena-cli-chips-list/1", {"chips": facts})
        return
    columns = ("chip", "evidence", "cores", "peak bf16 FLOP/s", "L1 / core", "HBM GB/s", "what")
    keys = ("name", "evidence", "cores", "peak_bf16", "l1_bytes", "hbm_gbytes_per_s")
    rows = [(*(_text(fact[key]) for key in keys), fact["description"]) for fact in facts]
    output.table("chips", columns, rows)


@app.command("show")
def show(chip: Source, as_json: options.AsJson = False) -> None:
    """Print the whole description as YAML, which is a chip file itself."""
    import yaml

    from athena.chip import load_chip

    data = load_chip(chip).model_dump(mode="json")
    if as_json:
        output.emit_json("athena-cli-chips-show/1", {"chip": data})
        return
    output.show(yaml.safe_dump(data, sort_keys=False, width=100).rstrip("\n"))


@app.command("check")
def check(chip: Source, as_json: options.AsJson = False) -> None:
    """Check a chip file and print what follows from it."""
    from athena.chip import load_chip

    facts = _derived(load_chip(chip))
    if as_json:
        output.emit_json("athena-cli-chips-check/1", facts)
        return
    output.table(f"{facts['name']}: no fault", ("", ""), [(k, _text(v)) for k, v in facts.items()])


@app.command("diff")
def diff(first: Source, second: Source, as_json: options.AsJson = False) -> None:
    """Print the keys in which two chips differ."""
    from athena.chip import load_chip

    a, b = (dict(_flat(load_chip(name).model_dump(mode="json"))) for name in (first, second))
    rows = [
        (key, a.get(key), b.get(key))
        for key in dict.fromkeys((*a, *b))
        if a.get(key) != b.get(key) and not key.startswith("sources")
    ]
    if as_json:
        changes = [{"key": key, "first": x, "second": y} for key, x, y in rows]
        output.emit_json("athena-cli-chips-diff/1", {"differences": changes})
        return
    output.table(f"{len(rows)} keys differ", ("key", first, second), rows)


@app.command("new")
def new(
    out: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="File to write.")],
    extends: Annotated[
        str, typer.Option("--extends", help="A preset's name or a chip file beside the new one.")
    ] = "athena",
    as_json: options.AsJson = False,
) -> None:
    """Begin a chip file: every key of its parent, as comments to take over and change."""
    from athena.chip import load_chip, preset_names
    from athena.errors import OutputError, printable
    from athena.files import check_output, write_file

    check_output(out)
    if out.exists():
        raise OutputError("the file exists", where=printable(out), hint="choose another name")
    parent = load_chip(extends if extends in preset_names() else out.parent / extends)
    write_file(out, _template(out, extends, parent).encode())
    load_chip(out)  # what is written is a chip
    if as_json:
        output.emit_json("athena-cli-chips-new/1", {"written": str(out)})
        return
    output.show(f"wrote {out}", f"next: edit it, then athena chips check {out}")


def _template(out: Path, extends: str, parent: Chip) -> str:
    import yaml

    name = "".join(char if char in NAME_CHARS else "-" for char in out.stem).lstrip("._-")
    data = parent.model_dump(mode="json")
    own = {"name": name[:64] or "mine", "description": f"after {parent.name}"}
    head = yaml.safe_dump({"extends": extends, **own, "evidence": "hypothetical"}, sort_keys=False)
    rest = {k: v for k, v in data.items() if k not in (*own, "evidence")}
    body = yaml.safe_dump(rest, sort_keys=False, width=96)
    return head + "\n" + "".join(f"# {line}\n" for line in body.splitlines())


def _derived(chip: Chip) -> dict[str, Any]:
    """What follows from a description."""
    peaks = {
        f"peak_{dtype}": chip.peak_flops(dtype)
        for dtype in ("bf16", "int8", "fp32")
        if chip.peak_flops(dtype)
    }
    l2 = chip.clusters * chip.cluster.l2_bytes
    return {
        "name": chip.name,
        "description": chip.description,
        "evidence": chip.evidence,
        "clusters": chip.clusters,
        "cores": chip.cores,
        "clock_hz": chip.clock_hz,
        **peaks,
        "balance_flop_per_byte_bf16": chip.balance_flop_per_byte("bf16"),
        "l1_bytes": chip.core.l1_bytes,
        "sram_bytes": chip.cores * (chip.core.l1_bytes + chip.core.acc_bytes) + l2,
        "hbm_bytes": chip.hbm.bytes,
        "hbm_gbytes_per_s": chip.hbm.bandwidth_gbytes_per_s,
        "tdp_w": chip.power.tdp_w,
        "process_nm": chip.process_nm,
    }


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
