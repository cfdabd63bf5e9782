"""What a chart is made of: rectangles, lines, circles and labels with coordinates in user units.

In:  filled by `athena.report.charts`. Out: drawn by the page template, which escapes all text.
Raises: nothing.

`style` is a class of the page's style sheet; colours live there, for light and dark.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """A bar; `tip` is shown when pointed at and read by screen readers."""

    x: float
    y: float
    width: float
    height: float
    style: str
    tip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """A point."""

    x: float
    y: float
    radius: float
    style: str
    tip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Text; `anchor` is start, middle or end; `turn` in degrees about its point."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    style: str = "label"
    turn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """A colour and what it stands for."""

    style: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing with its name and a sentence that says what it shows."""

    id: str
    title: str
    description: str
    width: int
    height: int
    rects: tuple[Rect, ...] = ()
    lines: tuple[Line, ...] = ()
    circles: tuple[Circle, ...] = ()
    labels: tuple[Label, ...] = ()
    legend: tuple[Legend, ...] = ()
