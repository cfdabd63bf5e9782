"""The page's charts: roofline, energy, time of nodes, use of units.

In:  `RunSummary`. Out: `Chart`s (shapes with coordinates), None where there is nothing to show.
Raises: nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from athena.energy import total
from athena.errors import printable
from athena.report.figures import heaviest, percent, seconds
from athena.report.rounding import plain
from athena.report.shapes import Chart, Circle, Label, Legend, Line, Rect
from athena.report.summary import Bound, NodeRow, RooflinePeaks, RunSummary

WIDTH = 860
ROW = 22
BAR = 15
NAME_WIDTH = 230
NAME_CHARS = 34
NODES_SHOWN = 20
ROOF_HEIGHT = 380
PARTS_SHOWN = 8
BOUND_STYLES = {
    Bound.MATRIX: "c0",
    Bound.MEMORY: "c1",
    Bound.VECTOR: "c2",
    Bound.HOST: "c3",
    Bound.NONE: "c7",
}
_PREFIXES = {0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}
UNIT_STYLES = (
    ("busy", "busy", "c0"),
    ("wait_semaphore", "waits for a semaphore", "c1"),
    ("wait_port", "waits for a port", "c2"),
    ("wait_memory", "waits for memory", "c4"),
    ("wait_fetch", "waits for instructions", "c3"),
    ("idle", "idle", "c7"),
)


def charts(summary: RunSummary) -> tuple[Chart, ...]:
    """All charts that have something to show, in the page's order."""
    made = (roofline(summary), node_times(summary), unit_use(summary), energy_parts(summary))
    return tuple(chart for chart in made if chart is not None)


class LogAxis:
    """A logarithmic axis from pixel `start` to `end`, over whole decades around the values."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(values))))
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        """Pixel of a value, at the nearer end where it lies outside."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Pixel and text of powers of ten."""
        step = 1 + (self.high - self.low) // 9
        for exponent in range(self.low, self.high + 1, step):
            yield self.at(10.0**exponent), _decade(exponent)


def roofline(summary: RunSummary) -> Chart | None:
    """Nodes by intensity and rate under the chip's ceilings; a point's area is its time."""
    nodes = [n for n in summary.nodes if n.intensity_flop_per_byte and n.flop_per_s]
    top = summary.work.peaks.matrix_flop_per_s
    if not nodes or not top:
        return None
    ridge = top / summary.work.peaks.memory_bytes_per_s
    intensity = [n.intensity_flop_per_byte or 1.0 for n in nodes]
    rate = [n.flop_per_s or 1.0 for n in nodes]
    x = LogAxis([*intensity, ridge / 10, ridge * 10], 70, WIDTH - 20)
    y = LogAxis([*rate, top / 100, top], ROOF_HEIGHT - 50, 20)
    return Chart(
        id="roofline",
        title="Roofline",
        description=f"{len(nodes)} nodes by FLOP per byte and FLOP per second, under the ceilings "
        f"of the matrix unit, the vector unit and HBM. Area: share of time.",
        width=WIDTH,
        height=ROOF_HEIGHT,
        lines=_roof_lines(summary.work.peaks, x, y),
        circles=tuple(
            Circle(
                x=x.at(flop_per_byte),
                y=y.at(flop_per_s),
                radius=3 + 14 * math.sqrt(min(1.0, node.share)),
                style=f"point {BOUND_STYLES[node.bound_by]}",
                tip=f"{printable(node.name)} ({printable(node.op)}): {plain(flop_per_s)} FLOP/s, "
                f"{plain(flop_per_byte)} FLOP/B, bound by {node.bound_by.value}",
            )
            for node, flop_per_byte, flop_per_s in zip(nodes, intensity, rate, strict=True)
        ),
        labels=_roof_labels(summary.work.peaks, x, y),
        legend=_bound_legend(nodes),
    )


def _roof_lines(peaks: RooflinePeaks, x: LogAxis, y: LogAxis) -> tuple[Line, ...]:
    top, bandwidth = peaks.matrix_flop_per_s, peaks.memory_bytes_per_s
    ridge, vector = top / bandwidth, y.at(peaks.vector_op_per_s)
    foot = max(10.0**x.low, 10.0**y.low / bandwidth)
    return (
        *(Line(x1=at, y1=y.end, x2=at, y2=y.start, style="grid") for at, _ in x.ticks()),
        *(Line(x1=x.start, y1=at, x2=x.end, y2=at, style="grid") for at, _ in y.ticks()),
        Line(x1=x.at(foot), y1=y.at(foot * bandwidth), x2=x.at(ridge), y2=y.at(top), style="roof"),
        Line(x1=x.at(ridge), y1=y.at(top), x2=x.end, y2=y.at(top), style="roof"),
        Line(x1=x.start, y1=vector, x2=x.end, y2=vector, style="roof dashed"),
    )


def _roof_labels(peaks: RooflinePeaks, x: LogAxis, y: LogAxis) -> tuple[Label, ...]:
    middle, name = (x.start + x.end) / 2, "FLOP per byte of HBM traffic"
    return (
        *(Label(x=at, y=y.start + 16, text=text, anchor="middle") for at, text in x.ticks()),
        *(Label(x=x.start - 6, y=at + 4, text=text, anchor="end") for at, text in y.ticks()),
        Label(x=middle, y=ROOF_HEIGHT - 8, text=name, anchor="middle"),
        Label(x=16, y=(y.start + y.end) / 2, text="FLOP/s", anchor="middle", turn=-90),
        Label(
            x=x.end,
            y=y.at(peaks.matrix_flop_per_s) - 6,
            text=f"{printable(peaks.dtype)} matrix peak",
            anchor="end",
        ),
        Label(x=x.end, y=y.at(peaks.vector_op_per_s) - 6, text="vector peak", anchor="end"),
    )


def node_times(summary: RunSummary) -> Chart | None:
    """Bars of the nodes that take most time; the filled part is the least time they could take."""
    nodes = [node for node in heaviest(summary, NODES_SHOWN) if node.span_s > 0]
    if not nodes:
        return None
    longest, room = nodes[0].span_s, WIDTH - NAME_WIDTH - 170
    rects, labels = [], []
    for row, node in enumerate(nodes):
        y = 6 + row * ROW
        whole = room * node.span_s / longest
        least = room * min(node.bound_s, node.span_s) / longest
        tip = (
            f"{printable(node.name)}: {seconds(node.span_s)}, least {seconds(node.bound_s)} by "
            f"{node.bound_by.value}"
        )
        style = BOUND_STYLES[node.bound_by]
        rects += [
            Rect(x=NAME_WIDTH, y=y, width=whole, height=BAR, style=f"pale {style}", tip=tip),
            Rect(x=NAME_WIDTH, y=y, width=least, height=BAR, style=style, tip=tip),
        ]
        text = f"{seconds(node.span_s)}, {percent(node.achieved)} of bound"
        labels += [
            Label(x=NAME_WIDTH - 8, y=y + 12, text=_short(node.name), anchor="end"),
            Label(x=NAME_WIDTH + whole + 6, y=y + 12, text=text, style="label quiet"),
        ]
    return Chart(
        id="nodes",
        title=f"Time of nodes ({len(nodes)} of {len(summary.nodes)})",
        description="Time in progress of the longest nodes; nodes overlap. The full colour is the "
        "least time that operations and bytes allow.",
        width=WIDTH,
        height=12 + len(nodes) * ROW,
        rects=tuple(rects),
        labels=tuple(labels),
        legend=_bound_legend(nodes),
    )


def unit_use(summary: RunSummary) -> Chart | None:
    """Stacked shares of the execution's cycles for every kind of unit."""
    if not summary.units:
        return None
    rects, labels = [], []
    room = WIDTH - NAME_WIDTH - 90
    for row, unit in enumerate(summary.units):
        y, x = 6 + row * ROW, float(NAME_WIDTH)
        for name, text, style in UNIT_STYLES:
            share = min(1.0, max(0.0, getattr(unit, name)))
            tip = f"{unit.name} {text}: {percent(share)}"
            rects.append(Rect(x=x, y=y, width=room * share, height=BAR, style=style, tip=tip))
            x += room * share
        labels += [
            Label(x=NAME_WIDTH - 8, y=y + 12, text=f"{unit.name} x {unit.units}", anchor="end"),
            Label(x=WIDTH - 84, y=y + 12, text=f"{percent(unit.busy)} busy", style="label quiet"),
        ]
    return Chart(
        id="units",
        title="Use of units",
        description="Share of all cycles in which each kind of unit is busy, waits, or has ended.",
        width=WIDTH,
        height=12 + len(summary.units) * ROW,
        rects=tuple(rects),
        labels=tuple(labels),
        legend=tuple(Legend(style=style, text=text) for _, text, style in UNIT_STYLES),
    )


def energy_parts(summary: RunSummary) -> Chart | None:
    """Three stacked bars: low, central and high, by component."""
    whole = summary.energy.total_j
    if not whole.high:
        return None
    series = _energy_series(summary)
    left, room = 70, WIDTH - 70 - 110
    rects, labels = [], []
    for i, name in enumerate(("low", "central", "high")):
        y, x = 6 + i * 34, float(left)
        for number, (part, values) in enumerate(series):
            width = room * values[i] / whole.high
            tip = f"{printable(part)}, {name}: {plain(values[i])} J"
            rects.append(Rect(x=x, y=y, width=width, height=24, style=f"c{number}", tip=tip))
            x += width
        sum_j = whole.as_tuple()[i]
        labels += [
            Label(x=left - 8, y=y + 16, text=name, anchor="end"),
            Label(x=x + 6, y=y + 16, text=f"{plain(sum_j)} J", style="label quiet"),
        ]
    return Chart(
        id="energy",
        title="Energy of one execution",
        description="Joules by component in the low, central and high case of the energy table.",
        width=WIDTH,
        height=112,
        rects=tuple(rects),
        labels=tuple(labels),
        legend=tuple(
            Legend(
                style=f"c{number}",
                text=f"{printable(name)} {percent(v[1] / whole.central if whole.central else 0)}",
            )
            for number, (name, v) in enumerate(series)
        ),
    )


def _energy_series(summary: RunSummary) -> list[tuple[str, tuple[float, float, float]]]:
    """Components by central energy, the small ones together."""
    ordered = sorted(summary.energy.parts, key=lambda part: -part.energy_j.central)
    shown, rest = ordered[: PARTS_SHOWN - 1], ordered[PARTS_SHOWN - 1 :]
    series = [(part.name, part.energy_j.as_tuple()) for part in shown]
    if rest:
        name = rest[0].name if len(rest) == 1 else f"{len(rest)} smaller parts"
        series.append((name, total(part.energy_j for part in rest).as_tuple()))
    return series


def _bound_legend(nodes: list[NodeRow]) -> tuple[Legend, ...]:
    met = {node.bound_by for node in nodes}
    return tuple(
        Legend(style=style, text=f"bound by {bound.value}")
        for bound, style in BOUND_STYLES.items()
        if bound in met
    )


def _short(name: str) -> str:
    """The end of a long name: exporters put what tells nodes apart there."""
    safe = printable(name)
    return safe if len(safe) <= NAME_CHARS else "…" + safe[-(NAME_CHARS - 1) :]


def _decade(exponent: int) -> str:
    """1e13 as 10T; powers without a prefix as they are."""
    prefix = _PREFIXES.get(exponent // 3)
    return f"{10 ** (exponent % 3)}{prefix}" if prefix is not None else f"1e{exponent}"
