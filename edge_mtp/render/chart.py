"""Small charts as inline SVG: numbers in, markup out. Lengths are units of the view box; CSS sets colours and type."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, isnan, log10
from typing import Final

from edge_mtp.render.markup import Html, tag
from edge_mtp.render.numbers import fixed, significant

STRIP_WIDTH: Final = 320
STRIP_HEIGHT: Final = 28
STRIP_MARGIN: Final = 14
COLUMN_WIDTH: Final = 46
NARROW_COLUMN_WIDTH: Final = 34
FEW_COLUMNS: Final = 3
COLUMNS_HEIGHT: Final = 128
DOT: Final = 4.5
LETTER: Final = 6.0
"""A letter's usual width at the charts' type size."""


@dataclass(frozen=True)
class Scale:
    """A linear map from [low, high] to [start, end]; what lies outside, or is no number, is drawn at an edge."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where `value` is drawn."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        if isnan(share):
            return self.start
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


@dataclass(frozen=True)
class Reference:
    """A line through a chart, with its label."""

    value: float
    label: str


def ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Round values from `low` to `high`, some `about` of them: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return (low,)
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def domain(values: Sequence[float]) -> tuple[float, float]:
    """Round ends around the finite ones of `values`."""
    finite = [value for value in values if isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if low == high:
        spread = max(abs(high), 1.0) / 10
        low, high = low - spread, high + spread
    marks = ticks(low, high)
    step = marks[1] - marks[0]
    return floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step


def strip_scale(ends: tuple[float, float]) -> Scale:
    """The scale that strips under one another share."""
    return Scale(*ends, STRIP_MARGIN, STRIP_WIDTH - STRIP_MARGIN)


def strip(
    low: float, value: float, high: float, scale: Scale, title: str, reference: float | None, other: float | None = None
) -> Html:
    """A dot with its interval as a whisker, a line at `reference`, a hollow caret above `other`."""
    middle = STRIP_HEIGHT / 2
    marks = [line("grid", scale.start, middle, scale.end, middle)]
    if reference is not None:
        marks.append(line("reference", scale.at(reference), 0, scale.at(reference), STRIP_HEIGHT))
    marks.append(line("whisker", scale.at(low), middle, scale.at(high), middle))
    marks += [line("whisker", scale.at(end), middle - 4, scale.at(end), middle + 4) for end in (low, high)]
    if other is not None:
        marks.append(caret(scale.at(other), middle - 6))
    marks.append(dot(scale.at(value), middle))
    return picture("strip", STRIP_WIDTH, STRIP_HEIGHT, title, *marks)


def strip_axis(scale: Scale, unit: str, reference: Reference | None) -> Html:
    """Ticks for the strips above it, and the label of their line."""
    marks: list[Html] = []
    for value in ticks(scale.low, scale.high):
        marks.append(line("axis", scale.at(value), 0, scale.at(value), 4))
        marks.append(label("tick", scale.at(value), 16, significant(value) + unit))
    marks.append(line("axis", scale.start, 0, scale.end, 0))
    title = f"axis from {significant(scale.low)}{unit} to {significant(scale.high)}{unit}"
    if reference is None:
        return picture("strip", STRIP_WIDTH, 20, title, *marks)
    at, half = scale.at(reference.value), len(reference.label) * LETTER / 2
    free = all(abs(scale.at(value) - at) > 3 * LETTER for value in ticks(scale.low, scale.high))
    marks.append(line("reference", at, 0, at, 22 if free else 4))
    marks.append(label("note", min(max(at, half), STRIP_WIDTH - half), 33, reference.label))
    return picture("strip", STRIP_WIDTH, 36, f"{title}; {reference.label}", *marks)


def columns(values: Sequence[float], labels: Sequence[str], title: str, top: float = 1.0) -> Html:
    """Upright bars on one base line, `top` the value of a full one; each says its value and its label."""
    base, ceiling = COLUMNS_HEIGHT - 20, 16
    step = COLUMN_WIDTH if len(values) <= FEW_COLUMNS else NARROW_COLUMN_WIDTH
    width = max(len(values), 1) * step
    scale = Scale(0.0, top, 0.0, base - ceiling)
    marks: list[Html] = []
    for index, (value, name) in enumerate(zip(values, labels, strict=True)):
        height, middle = scale.at(value), (index + 0.5) * step
        marks.append(bar(middle - step * 0.3, base - height, step * 0.6, height))
        marks.append(label("value", middle, base - height - 5, fixed(value)))
        marks.append(label("tick", middle, base + 15, name))
    marks.append(line("axis", 0, base, width, base))
    return picture("columns", width, COLUMNS_HEIGHT, title, *marks)


def verdict_mark(shape: str) -> Html:
    """The sign of a verdict, told by its shape: "tick", "cross", "question" or "bar". Decorative: a word stands by."""
    outline, sign = _SIGNS[shape]
    drawn = tag("path.outline", d=outline) + tag("path.sign", d=sign)
    return tag("svg.mark", Html(drawn), viewBox="0 0 20 20", aria_hidden="true")


_SIGNS: Final = {
    "tick": ("M10 1a9 9 0 1 1 0 18a9 9 0 1 1 0-18z", "M5.6 10.4l3 3l5.8-6.4"),
    "cross": ("M6.3 1h7.4L19 6.3v7.4L13.7 19H6.3L1 13.7V6.3z", "M6.5 6.5l7 7M13.5 6.5l-7 7"),
    "question": ("M10 .6L19.4 10L10 19.4L.6 10z", "M7.6 8a2.4 2.4 0 1 1 3.6 2.1q-1.2.7-1.2 2M10 14.4v.3"),
    "bar": ("M1 6a5 5 0 0 1 5-5h8a5 5 0 0 1 5 5v8a5 5 0 0 1-5 5H6a5 5 0 0 1-5-5z", "M5.5 10h9"),
}


def picture(css: str, width: float, height: float, title: str, *marks: str) -> Html:
    """An SVG that scales with its box and says in words what it shows."""
    box = f"0 0 {width:g} {height:g}"
    return tag(f"svg.chart.{css}", tag("title", title), *marks, viewBox=box, role="img", aria_label=title)


def line(css: str, x1: float, y1: float, x2: float, y2: float) -> Html:
    """A straight line."""
    return tag(f"line.{css}", x1=x1, y1=y1, x2=x2, y2=y2)


def dot(x: float, y: float) -> Html:
    """A measured or predicted value."""
    return tag("circle.dot", cx=x, cy=y, r=DOT)


def diamond(x: float, y: float) -> Html:
    """A value to compare the dot with."""
    return tag("path.diamond", d=f"M{x:.2f} {y - 5.5:.2f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z")


def caret(x: float, y: float) -> Html:
    """A value to compare the dot with, pointing down at (x, y)."""
    return tag("path.caret", d=f"M{x:.2f} {y:.2f}l-4.5 -7h9z")


def bar(x: float, y: float, width: float, height: float, title: str = "") -> Html:
    """A rectangle; `title` is shown where the pointer rests on it."""
    return tag("rect.bar", *([tag("title", title)] if title else []), x=x, y=y, width=width, height=height)


def label(css: str, x: float, y: float, words: str) -> Html:
    """Text in a chart; `css` says which kind, and with `.start` or `.end` where it is anchored."""
    return tag(f"text.{css}", words, x=x, y=y)
