"""RTL against timing model: a scatter plot as SVG, and a page with the plot and all rows.

In:  `Point`s; texts. Out: a `Chart`; text of an SVG file or of a page without scripts.
Raises: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from athena.errors import printable
from athena.report.charts import LogAxis
from athena.report.page import PageTable, environment, page_template
from athena.report.shapes import Chart, Circle, Label, Legend, Line

WIDTH, HEIGHT = 860, 620
LEFT, BOTTOM = 80, HEIGHT - 60
STYLES = ("c0", "c1", "c2", "c3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One program; `group` is what its colour stands for."""

    name: str
    group: str
    rtl_cycles: int
    timing_cycles: int


def scatter(points: Sequence[Point], description: str) -> Chart:
    """Timing cycles over RTL cycles, both logarithmic; equal ones lie on the line."""
    cycles = [float(max(1, n)) for p in points for n in (p.rtl_cycles, p.timing_cycles)]
    x, y = LogAxis(cycles, LEFT, WIDTH - 20), LogAxis(cycles, BOTTOM, 20)
    groups = list(dict.fromkeys(point.group for point in points))
    style = {group: STYLES[i % len(STYLES)] for i, group in enumerate(groups)}
    return Chart(
        id="correlation",
        title="Cycles of the timing model over those of the RTL",
        description=description,
        width=WIDTH,
        height=HEIGHT,
        lines=(
            *(Line(x1=at, y1=y.end, x2=at, y2=y.start, style="grid") for at, _ in x.ticks()),
            *(Line(x1=x.start, y1=at, x2=x.end, y2=at, style="grid") for at, _ in y.ticks()),
            Line(x1=x.start, y1=y.start, x2=x.end, y2=y.end, style="roof dashed"),
        ),
        circles=tuple(
            Circle(
                x=x.at(max(1, point.rtl_cycles)),
                y=y.at(max(1, point.timing_cycles)),
                radius=4,
                style=f"point {style[point.group]}",
                tip=f"{printable(point.name)}, {printable(point.group)}: RTL "
                f"{point.rtl_cycles:,}, timing {point.timing_cycles:,} cycles",
            )
            for point in points
        ),
        labels=(
            *(Label(x=at, y=BOTTOM + 18, text=text, anchor="middle") for at, text in x.ticks()),
            *(Label(x=LEFT - 8, y=at + 4, text=text, anchor="end") for at, text in y.ticks()),
            Label(x=(LEFT + WIDTH) / 2, y=HEIGHT - 16, text="cycles, RTL", anchor="middle"),
            Label(x=20, y=BOTTOM / 2, text="cycles, timing model", anchor="middle", turn=-90),
        ),
        legend=tuple(Legend(style=style[group], text=printable(group)) for group in groups),
    )


def svg_file(chart: Chart) -> str:
    """The chart as a file of its own, with its legend inside."""
    marks = [
        (Circle(x=LEFT + 20, y=36 + 20 * row, radius=5, style=f"point {item.style}"),
         Label(x=LEFT + 34, y=40 + 20 * row, text=item.text))
        for row, item in enumerate(chart.legend)
    ]  # fmt: skip
    whole = replace(
        chart,
        circles=(*chart.circles, *(mark for mark, _ in marks)),
        labels=(*chart.labels, *(label for _, label in marks)),
    )
    return environment().get_template("chart.svg.j2").render(chart=whole)


def correlation_page(
    chart: Chart,
    title: str,
    headline: Sequence[tuple[str, str, str]],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> str:
    """The plot, the summary as (label, figure, what it means), and a table of all programs."""
    table = PageTable(caption=f"{len(rows)} runs", columns=columns, rows=rows)
    return page_template().render(
        title=printable(title, 200),
        subtitle=chart.description,
        banner="",
        headline=headline,
        charts=(chart,),
        sections=[("Programs", [table])],
        notes=(),
    )
