"""The two larger charts: what speed-up an acceptance rate buys, and how often which divergence was seen."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import Final

from edge_mtp.render.chart import Scale, bar, diamond, domain, dot, label, line, picture, ticks
from edge_mtp.render.markup import Html, tag
from edge_mtp.render.numbers import count, fixed, power_of_ten, significant, times

WIDTH: Final = 360
HEIGHT: Final = 244
LEFT: Final = 38
RIGHT: Final = WIDTH - 10
TOP: Final = 28
BASE: Final = HEIGHT - 38

Points = Sequence[Sequence[float]]


def speed_up_curve(curve: Points, break_even: float, predicted: float, measured: float | None) -> Html:
    """Speed-up against acceptance rate, the 1.0× line, break-even on it, and this bundle's two points.

    curve: (acceptance rate, predicted speed-up), rates ascending. The bundle's rate is read off the curve at its
    predicted speed-up, so that the dot lies on it.
    """
    across = Scale(0.0, 1.0, LEFT, RIGHT)
    heights = [height for _, height in curve] + [0.0, 1.0, predicted] + ([] if measured is None else [measured])
    up = Scale(*domain(heights), BASE, TOP)
    rate = rate_at(curve, predicted)
    marks = [*_axes(across, up), _path(curve, across, up)]
    if 0.0 <= break_even <= 1.0:
        marks += _break_even(across.at(break_even), up.at(1.0), break_even)
    marks.append(dot(across.at(rate), up.at(predicted)))
    if measured is not None:
        marks.append(diamond(across.at(rate), up.at(measured)))
    title = f"Predicted speed-up against acceptance rate: {times(predicted)} here, break-even at {fixed(break_even, 3)}"
    return picture("plot", WIDTH, HEIGHT, title, *marks)


def rate_at(curve: Points, height: float) -> float:
    """The acceptance rate at which the curve first reaches `height`, its nearest end where it never does."""
    for (left, low), (right, high) in pairwise(curve):
        if min(low, high) <= height <= max(low, high):
            return left + (right - left) * ((height - low) / (high - low) if high != low else 0.0)
    return min(curve, key=lambda point: abs(point[1] - height))[0] if curve else 0.0


def histogram(edges: Sequence[float], counts: Sequence[int], scale: str, unit: str) -> Html:
    """Bars between `edges`; with scale "log" edges are drawn by their logarithm.

    On a logarithmic scale an edge that has no place on it (0, ∞) lies one usual bar's width beyond its neighbour.
    """
    places = log_places(edges) if scale == "log" else list(edges)
    across = Scale(places[0], places[-1], LEFT, RIGHT)
    up = Scale(0.0, max(max(counts, default=0), 1), BASE, TOP)
    marks = [label("note.start", 4, 10, "tokens"), *_count_axis(up)]
    for (left, right), (low, high), seen in zip(pairwise(places), pairwise(edges), counts, strict=True):
        span = f"{significant(low)} to {significant(high)} {unit}: {count(seen)} tokens"
        start, width, y = across.at(left), across.at(right) - across.at(left), up.at(seen)
        marks.append(bar(start + 0.5, y, max(width - 1, 0.5), BASE - y, span))
    marks.append(line("axis", LEFT, BASE, RIGHT, BASE))
    marks += _log_ticks(across, edges) if scale == "log" else _linear_ticks(across)
    marks.append(label("note.end", RIGHT, HEIGHT - 4, unit))
    most = max(range(len(counts)), key=lambda index: counts[index])
    title = f"Most tokens lie between {significant(edges[most])} and {significant(edges[most + 1])} {unit}"
    return picture("plot", WIDTH, HEIGHT, title, *marks)


def log_places(edges: Sequence[float]) -> list[float]:
    """Decimal logarithms; ends that have none are put one usual step outside."""
    known = [log10(edge) for edge in edges if edge > 0 and isfinite(edge)] or [0.0]
    step = (known[-1] - known[0]) / (len(known) - 1) if len(known) > 1 else 1.0
    return [
        log10(edge) if edge > 0 and isfinite(edge) else known[0] - step if edge <= 0 else known[-1] + step
        for edge in edges
    ]


def _axes(across: Scale, up: Scale) -> list[Html]:
    marks: list[Html] = []
    for value in ticks(up.low, up.high):
        if value != 1.0:
            marks.append(line("grid", LEFT, up.at(value), RIGHT, up.at(value)))
        marks.append(label("tick.end", LEFT - 6, up.at(value) + 4, f"{value:g}×"))
    for value in ticks(0.0, 1.0):
        marks.append(label("tick", across.at(value), BASE + 16, f"{value:g}"))
    marks.append(line("axis", LEFT, BASE, RIGHT, BASE))
    marks.append(line("reference", LEFT, up.at(1.0), RIGHT, up.at(1.0)))
    marks.append(label("note.end", RIGHT, HEIGHT - 4, "draft acceptance rate"))
    marks.append(label("note.start", 4, 10, "speed-up"))
    return marks


def _path(curve: Points, across: Scale, up: Scale) -> Html:
    points = " L".join(f"{across.at(rate):.2f} {up.at(height):.2f}" for rate, height in curve)
    return tag("path.curve", d=f"M{points}" if points else "")


def _break_even(x: float, y: float, rate: float) -> list[Html]:
    """A tick on the 1.0× line. The curve rises through it, so below right and above left are free."""
    right = x < WIDTH * 0.6
    words = label("note.start", x + 7, y + 15, f"break-even {fixed(rate, 3)}")
    if not right:
        words = label("note.end", x - 7, y - 8, f"break-even {fixed(rate, 3)}")
    return [line("break", x, y - 6, x, y + 6), words]


def _count_axis(up: Scale) -> list[Html]:
    marks: list[Html] = []
    for value in ticks(up.low, up.high):
        if value == int(value):
            marks.append(line("grid", LEFT, up.at(value), RIGHT, up.at(value)))
            marks.append(label("tick.end", LEFT - 6, up.at(value) + 4, _short(int(value))))
    return marks


def _short(value: int) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else str(value)


def _log_ticks(across: Scale, edges: Sequence[float]) -> list[Html]:
    """Powers of ten between the edges that have a place of their own, and the names of those that have none."""
    known = [log10(edge) for edge in edges if edge > 0 and isfinite(edge)] or [0.0]
    powers = range(ceil(known[0] - 1e-9), floor(known[-1] + 1e-9) + 1)
    every = max(1, ceil(len(powers) / 6))
    marks = [_tick(across.at(power), power_of_ten(power)) for power in powers if power % every == 0]
    marks += [_tick(LEFT, "0")] if edges[0] <= 0 else []
    return marks + ([_tick(RIGHT, "∞")] if not isfinite(edges[-1]) else [])


def _linear_ticks(across: Scale) -> list[Html]:
    return [_tick(across.at(value), significant(value)) for value in ticks(across.low, across.high)]


def _tick(x: float, words: str) -> Html:
    return Html(line("axis", x, BASE, x, BASE + 4) + label("tick", x, BASE + 17, words))
