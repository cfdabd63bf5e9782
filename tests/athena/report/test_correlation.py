"""The scatter plot: points where their cycles say, text escaped, files that parse."""

from __future__ import annotations

from xml.etree import ElementTree

from athena.report.correlation import Point, correlation_page, scatter, svg_file

POINTS = [
    Point(name="one", group="fixed", rtl_cycles=1000, timing_cycles=1000),
    Point(name="<two>", group="banks & rows", rtl_cycles=50_000, timing_cycles=40_000),
]


def test_equal_cycles_lie_on_the_line():
    chart = scatter(POINTS, "what")
    (line,) = [line for line in chart.lines if "roof" in line.style]
    slope = (line.y2 - line.y1) / (line.x2 - line.x1)
    heights = [circle.y - (line.y1 + slope * (circle.x - line.x1)) for circle in chart.circles]
    assert abs(heights[0]) < 1e-6
    assert heights[1] > 1  # fewer cycles than the RTL: below the line
    assert len({circle.style for circle in chart.circles}) == 2


def test_the_file_is_xml_without_scripts():
    text = svg_file(scatter(POINTS, "a < b"))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    tips = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("<two>, banks & rows: RTL 50,000, timing 40,000" in tip for tip in tips)
    assert "script" not in text
    labels = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"fixed", "banks & rows", "cycles, RTL"} <= set(labels)


def test_the_page_holds_plot_and_rows():
    chart = scatter(POINTS, "what")
    page = correlation_page(chart, "title", [("fixed", "all", "m")], ("a", "b"), [("<x>", "y")])
    assert page.count("<circle") == 2 and "&lt;x&gt;" in page and "1 runs" in page
    assert "<script" not in page
