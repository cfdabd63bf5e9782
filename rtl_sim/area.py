"""Gates and flip-flops of the core by module: `python -m rtl_sim.area`.

In:  the core's sources for a `Chip`, synthesised to generic gates (`rtl_sim.yosys`).
Out: cells of each module, their gate equivalents, the same of a MAC cell with one type only; as a
     table, as JSON, or written between the markers of docs/rtl.md.
Raises: ToolError when Yosys is missing or ends early; InternalError for a cell without a weight.

Each module is synthesised once, by itself, and counted as often as it is there; INLINE modules are
part of the one around them. L1, ACC and the prefetch FIFOs are memories: macros, not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from athena.chip.load import load_chip
from athena.chip.model import Chip
from athena.errors import InternalError, ToolError
from rtl_sim import yosys

# Areas of the simplest cells of an open 45 nm library (NanGate) over that of its NAND2.
WEIGHTS = {
    "NOT": 0.67, "BUF": 1.0, "NAND": 1.0, "NOR": 1.0, "AND": 1.33, "OR": 1.33, "ANDNOT": 1.33,
    "ORNOT": 1.33, "XOR": 2.0, "XNOR": 2.0, "MUX": 2.33,
}  # fmt: skip
FLOP = 5.67
ENABLE = 2.33  # a multiplexer before the flip-flop
RESET = 1.33  # an AND before it
MACROS = ("scratchpad",)
INLINE = ("delay_line", "latency_pipe", "address")
READ = "\nhierarchy -check -top core\n"
ELABORATE = f"{READ}proc\ncheck -assert\n"
SYNTHESISE = """
flatten -noscopeinfo
synth -noshare -run coarse:fine
opt -fast -full
{memories}
opt -full
techmap
opt -fast
abc
opt -fast
clean
"""
UNITS = ("matrix_unit", "vector_unit", "permute_unit", "vmxq_unit")  # queues and DMA left out
WORKERS = 2
BEGIN, END = "<!-- area:begin -->", "<!-- area:end -->"
_FLOP = re.compile(r"\$_(S?)DFF(C?E)?_[PN01]+_")


class Cell(StrEnum):
    """A MAC cell by the types that it is left with."""

    BOTH = "int8 and bf16"
    INT8 = "int8 only"
    BF16 = "bf16 only"


TIES = {
    Cell.BOTH: "",
    **{
        cell: f"delete -input mac_cell/float_i\ncd mac_cell\nconnect -set float_i 1'{value}\ncd\n"
        for cell, value in ((Cell.INT8, 0), (Cell.BF16, 1))
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleArea:
    """All instances of a module together; `cells` by kind, without what is inside its modules."""

    name: str
    instances: int
    cells: Mapping[str, int]

    @property
    def flops(self) -> int:
        """Flip-flops."""
        return sum(count for kind, count in self.cells.items() if _FLOP.fullmatch(kind))

    @property
    def gates(self) -> int:
        """Cells that are not flip-flops."""
        return sum(self.cells.values()) - self.flops

    @property
    def gate_equivalents(self) -> float:
        """Area in NAND2."""
        return sum(count * weight(kind) for kind, count in self.cells.items())


def weight(kind: str) -> float:
    """Gate equivalents of one of Yosys' gates.

    Raises: InternalError for a kind without a weight.
    """
    flop = _FLOP.fullmatch(kind)
    if flop:
        return FLOP + (ENABLE if flop[2] else 0) + (RESET if flop[1] else 0)
    name = kind.strip("$_")
    if name not in WEIGHTS:
        raise InternalError(f"no weight for {kind}", where="rtl_sim.area")
    return WEIGHTS[name]


def base_name(module: str) -> str:
    r"""`walker` of `$paramod$…\\walker`, `decode` of `$paramod\\decode\\Queue=…`."""
    parts = module.lstrip("\\").split("\\")
    if module.startswith("$paramod\\"):
        return parts[1]
    return parts[-1]


def mac_cells(chip: Chip, folder: Path) -> dict[Cell, dict[str, Any]]:
    """The MAC cell as a flat module of Yosys' JSON: with both types and with one."""
    read, made = yosys.read_sources(chip, folder), {}
    for name, tie in TIES.items():
        flat = "hierarchy -check -top mac_cell\nproc\nflatten -noscopeinfo\nopt_clean"
        script = f"{read}\n{flat}\n{tie}check -assert\n"
        yosys.run(f"{script}{SYNTHESISE.format(memories='')}write_json cell.json\n", folder)
        made[name] = json.loads((folder / "cell.json").read_text())["modules"]["mac_cell"]
    return made


def cell_area(name: str, module: Mapping[str, Any]) -> ModuleArea:
    """Area of a flat module of Yosys' JSON."""
    cells: dict[str, int] = {}
    for cell in module["cells"].values():
        cells[cell["type"]] = cells.get(cell["type"], 0) + 1
    return ModuleArea(name=name, instances=1, cells=cells)


def _stat(path: Path) -> dict[str, dict[str, int]]:
    """Cells by type, of each module, modules in it included.

    Raises: ToolError where Yosys ended without having written them.
    """
    if not path.exists():
        raise ToolError("Yosys ended early", where="rtl_sim", hint="try fewer modules: --top")
    modules = json.loads(path.read_text())["modules"]
    return {
        name.removeprefix("\\"): {
            kind.removeprefix("\\"): count for kind, count in found["num_cells_by_type"].items()
        }
        for name, found in modules.items()
    }


def _steps(name: str, others: list[str]) -> str:
    """Script that leaves the cells of one module in a file, other modules left as instances."""
    boxes = "\n".join(f"blackbox {other}" for other in others)
    memories = "" if base_name(name) == "fetch" else "memory_map"
    return (
        f"design -load core\n{boxes}\nhierarchy -top {name}\n"
        f"{SYNTHESISE.format(memories=memories)}tee -q -o {_file(name)} stat -json\n"
    )


def _file(name: str) -> str:
    return f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def module_areas(chip: Chip, folder: Path, tops: tuple[str, ...]) -> tuple[ModuleArea, ...]:
    """Every module from `tops` down, the largest first."""
    yosys.run(f"{yosys.read_sources(chip, folder)}{ELABORATE}write_rtlil core.il\n", folder)
    start = "read_rtlil core.il\ndesign -save core\n"
    parts = [f"hierarchy -top {top}\ntee -q -o {_file(top)} stat -json\n" for top in tops]
    yosys.run(start + "design -load core\n".join(parts), folder)
    inside = sorted({name for top in tops for name in _stat(folder / _file(top))})
    kept = [name for name in inside if base_name(name) not in (*INLINE, *MACROS)]
    boxes = [*kept, *(name for name in inside if base_name(name) in MACROS)]
    scripts = [_steps(name, [n for n in boxes if n != name]) for name in kept]
    with ThreadPoolExecutor(WORKERS) as pool:
        shares = [start + "".join(scripts[i::WORKERS]) for i in range(WORKERS)]
        list(pool.map(lambda pair: yosys.run(pair[1], folder, pair[0]), enumerate(shares)))
    found = {name: _stat(folder / _file(name))[name] for name in kept}
    return _collect(found, tops)


def _collect(
    found: Mapping[str, Mapping[str, int]], tops: tuple[str, ...]
) -> tuple[ModuleArea, ...]:
    """Instances counted from the tops, modules that differ in parameters taken together."""
    instances: dict[str, int] = {}

    def visit(name: str, times: int) -> None:
        instances[name] = instances.get(name, 0) + times
        for kind, count in found[name].items():
            if kind in found:
                visit(kind, times * count)

    for top in tops:
        visit(top, 1)
    merged: dict[str, ModuleArea] = {}
    for name, times in instances.items():
        base = base_name(name)
        old = merged.get(base, ModuleArea(name=base, instances=0, cells={}))
        cells = dict(old.cells)
        for kind, count in found[name].items():
            if kind not in found and base_name(kind) not in MACROS and "$mem" not in kind:
                cells[kind] = cells.get(kind, 0) + times * count
        merged[base] = ModuleArea(name=base, instances=old.instances + times, cells=cells)
    return tuple(sorted(merged.values(), key=lambda area: -area.gate_equivalents))


def table(areas: tuple[ModuleArea, ...], cells: tuple[ModuleArea, ...]) -> str:
    """Markdown: modules, then the MAC cell by type."""
    total = sum(area.gate_equivalents for area in areas)
    lines = [
        "| Module | Instances | Gates | Flip-flops | Gate equivalents | Each | Share |",
        "|---|---|---|---|---|---|---|",
    ]
    for area in areas:
        size = area.gate_equivalents
        lines.append(
            f"| `{area.name}` | {area.instances} | {area.gates:,} | {area.flops:,} | {size:,.0f} "
            f"| {size / area.instances:,.0f} | {size / total:.1%} |"
        )
    lines += [
        f"| all | | {sum(a.gates for a in areas):,} | {sum(a.flops for a in areas):,} "
        f"| {total:,.0f} | | |",
        "",
        "| MAC cell | Gates | Flip-flops | Gate equivalents |",
        "|---|---|---|---|",
    ]
    lines += [f"| {a.name} | {a.gates:,} | {a.flops} | {a.gate_equivalents:,.0f} |" for a in cells]
    return "\n".join(lines)


def write_between(path: Path, text: str) -> None:
    """Replace what is between the markers of a page."""
    before, rest = path.read_text().split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    """`python -m rtl_sim.area [--chip NAME] [--top MODULE …] [--json FILE] [--write PAGE]`."""
    parser = argparse.ArgumentParser(description="Gates and flip-flops of the core by module")
    parser.add_argument("--chip", default="athena-edge")
    parser.add_argument("--top", nargs="+", default=UNITS, help="modules without parameters")
    parser.add_argument("--json", type=Path, metavar="FILE", help="cells by kind")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into PAGE")
    given = parser.parse_args()
    chip = load_chip(given.chip)
    with tempfile.TemporaryDirectory(prefix="athena-area-") as name:
        folder = Path(name)
        cells = tuple(cell_area(*pair) for pair in mac_cells(chip, folder).items())
        areas = module_areas(chip, folder, tuple(given.top))
    tops = ", ".join(f"`{top}`" for top in given.top)
    text = f"`{chip.name}`, {tops} and what is in it:\n\n{table(areas, cells)}"
    print(text)
    if given.json:
        rows = [
            {"module": a.name, "instances": a.instances, "cells": dict(a.cells)}
            for a in (*areas, *cells)
        ]
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    if given.write:
        write_between(given.write, text)


if __name__ == "__main__":
    main()
