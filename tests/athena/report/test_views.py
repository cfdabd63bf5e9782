"""HTML, Markdown, CSV and terminal: complete, self-contained, and inert to hostile names."""

import csv
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from athena.energy import Range
from athena.isa.program import NodeInfo
from athena.report import (
    AnnexPhase,
    AnnexTask,
    annex_markdown,
    energy_annex,
    fill_form,
    form_markdown,
    phase_of,
    report_markdown,
    report_page,
    summarise,
    task_of,
)
from athena.report.charts import charts
from athena.report.figures import percent
from athena.report.rounding import plain
from athena.report.runs import nodes_csv
from athena.report.tables import (
    annex_table,
    energy_table,
    form_table,
    node_table,
    per_node_table,
    summary_table,
    unit_table,
    verify_table,
)
from athena.report.text import csv_cell, markdown
from athena.verify import TraceNode, per_node

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=cmd|'/C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "\x1b[31mred\x1b]8;;http://x\x07",
    "\u202eevil\u2066",
    "[bold]markup[/bold]",
    "a|b`c`\n# head\n![x](http://x)",
    "{{ 7*7 }}{% raw %}",
    "x" * 5000,
)


class Page(HTMLParser):
    """Collects tags, and checks that they nest."""

    VOID = ("meta", "line", "rect", "circle", "link", "br", "img")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.stack, self.attributes, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in self.VOID or (tag == "rect" or tag == "circle"):
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def hostile(make):
    """A summary whose nodes, task and model have hostile names, among the longest nodes."""
    nodes = [
        NodeInfo(
            name=name,
            op=name,
            sources=(name,),
            place="chip",
            flops={"matmul": 10**11},
            compulsory_bytes=10**8,
            dtype="bf16",
            detail=name,
            mapping=name,
        )
        for name in HOSTILE
    ]
    return summarise(make(extra=nodes))


@pytest.fixture(scope="module")
def disclosure(summary):
    form = fill_form((phase_of(summary, 10),), task_of(summary))
    task = AnnexTask(description="ten prefills", output_tokens=10, pue=Range(1.1, 1.2, 1.3))
    return form, energy_annex([AnnexPhase(summary=summary, executions=10)], task)


def test_page_is_whole_and_self_contained(summary, disclosure):
    form, annex = disclosure
    text = report_page(summary, form=form, annex=annex)
    page = Page(text)
    assert page.stack == []
    assert page.tags.count("svg") == 4
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [a for a in page.attributes if a[1] in ("src", "href", "onclick", "onload")]
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text and "@import" not in text
    words = " ".join(page.text)
    for part in ("MFU", "hypothetical", "n5-2026", "not part of the form", "energy.inference_flop"):
        assert part in words
    assert "prefers-color-scheme:dark" in text
    assert all(a[2] for a in page.attributes if a[1] == "aria-label")


def test_page_is_inert_to_hostile_names(hostile):
    text = report_page(hostile)
    page = Page(text)
    assert page.stack == []
    assert not {"script", "img", "a"} & set(page.tags)
    assert "\x1b" not in text and "\u202e" not in text and "\u2066" not in text
    assert "&lt;script&gt;" in text
    assert "{{ 7*7 }}" in text, "text of a model is not a template"
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert "x" * 4001 not in text


def test_same_bytes_again(summary):
    assert report_page(summary) == report_page(summary)


def test_charts_stay_inside_their_frame(summary, hostile):
    for one in (summary, hostile):
        made = charts(one)
        assert [chart.id for chart in made] == ["roofline", "nodes", "units", "energy"]
        for chart in made:
            for r in chart.rects:
                assert 0 <= r.x <= r.x + r.width <= chart.width + 1e-6
                assert 0 <= r.y <= r.y + r.height <= chart.height
            for c in chart.circles:
                assert 0 <= c.x <= chart.width and 0 <= c.y <= chart.height


def test_energy_bars_are_as_long_as_their_figures(summary):
    chart = charts(summary)[3]
    rows = sorted({r.y for r in chart.rects})
    lengths = [sum(r.width for r in chart.rects if r.y == y) for y in rows]
    whole = summary.energy.total_j.as_tuple()
    for length, joules in zip(lengths, whole, strict=True):
        assert length / lengths[-1] == pytest.approx(joules / whole[-1])


def test_banner_where_something_is_wrong(make, summary):
    assert 'class="banner"' not in report_page(summary)
    results = make()
    short = dataclasses.replace(results.timeline, nodes=results.timeline.nodes[1:])
    assert "1 nodes are not costed" in report_page(summarise(make(timeline=short)))


def assert_tables_are_even(text):
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    assert tables
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table[:300]


def test_markdown(summary, hostile, disclosure):
    form, annex = disclosure
    for text in (report_markdown(summary), report_markdown(hostile), form_markdown(form)):
        assert_tables_are_even(text)
    assert_tables_are_even(annex_markdown(annex))
    text = report_markdown(hostile)
    assert "<script" not in text and "\x1b" not in text and "\u202e" not in text
    assert "\n# head" not in text
    assert r"\!\[x\]\(http" in text
    assert "NOT" not in report_markdown(summary)


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_keeps_a_cell_a_cell(name):
    assert not re.search(r"(?<!\\)\|", markdown(name))
    assert "\n" not in markdown(name) and "<" not in markdown(name)


def test_csv(hostile):
    rows = list(csv.DictReader(io.StringIO(nodes_csv(hostile).decode())))
    assert len(rows) == len(hostile.nodes)
    for row, node in zip(rows, hostile.nodes, strict=True):
        for key in ("name", "op", "sources", "mapping"):
            assert not row[key].startswith(("=", "+", "-", "@", "\t", "\r", "|", "%"))
            assert "\x1b" not in row[key] and "\n" not in row[key]
        assert int(row["flops"]) == node.flops
        assert float(row["span_s"]) == node.span_s
        assert row["bound_by"] == node.bound_by.value
    assert "'=cmd" in rows[-9]["name"]


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1", "'=1"), (" =1", "' =1"), ("-x", "'-x"), ("ok", "ok"), ("\t=1", "\\t=1"), ("", "")],
)
def test_csv_cell(text, cell):
    assert csv_cell(text) == cell


def test_tables(summary, hostile, disclosure, results):
    form, annex = disclosure
    trace = [TraceNode(name="n\x1b[31m", op="[red]x[/red]", inputs=(), outputs=("v",))]
    array = {"v": np.arange(4.0)}
    made = [
        *(make(one) for one in (summary, hostile) for make in (summary_table, unit_table)),
        *(make(one) for one in (summary, hostile) for make in (energy_table, node_table)),
        verify_table(results.verify),
        form_table(form),
        annex_table(annex),
        per_node_table(per_node(array, array, trace, precision="bf16")),
    ]
    out = io.StringIO()
    console = Console(file=out, width=400, color_system=None, legacy_windows=False)
    for table in made:
        console.print(table)
    text = out.getvalue()
    assert "\x1b" not in text and "\u202e" not in text
    assert "[bold]markup[/bold]" in text and "[red]x[/red]" in text, "shown, not interpreted"
    assert "73 of 73" in text


def test_every_view_has_the_same_headline(summary):
    out = io.StringIO()
    Console(file=out, width=400, color_system=None).print(summary_table(summary))
    views = (out.getvalue(), " ".join(Page(report_page(summary)).text), report_markdown(summary))
    power, cycles = plain(summary.energy.chip_w.central), summary.cycles
    for figure in (f"{cycles} cycles", percent(summary.work.mfu), f"{power} W", "73 of 73"):
        for view in views:
            assert figure in view
