"""Estimates one under another: a dot with its interval, on one scale and against one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_mtp.render.chart import Reference, strip, strip_axis, strip_scale, verdict_mark
from edge_mtp.render.markup import Html, prose, tag

Interval = Mapping[str, float]

SHAPES: Final = {
    "held": "tick",
    "failed": "cross",
    "could not check": "question",
    "on": "tick",
    "off": "bar",
    "undecided": "question",
}


@dataclass(frozen=True)
class Estimate:
    """A row: `words` is the figure as text, `other` a second value to compare with, `verdict` and `reason` optional."""

    name: str
    interval: Interval
    words: str
    title: str
    other: float | None = None
    verdict: Html | None = None
    reason: str = ""


def estimates(rows: Sequence[Estimate], ends: tuple[float, float], unit: str, reference: Reference | None) -> Html:
    """All rows on one scale from `ends[0]` to `ends[1]`, with its axis below."""
    scale = strip_scale(ends)
    at = reference.value if reference else None
    items = []
    for row in rows:
        low, value, high = (row.interval[key] for key in ("low", "value", "high"))
        drawn = strip(low, value, high, scale, row.title, at, row.other)
        parts = [tag("span.name", row.name), drawn, tag("span.value", row.words)]
        parts += [row.verdict] if row.verdict is not None else []
        parts += [tag("p.reason", prose(row.reason))] if row.reason else []
        items.append(tag("li", *parts))
    return tag("ol.strips", *items, tag("li.axis", strip_axis(scale, unit, reference), aria_hidden="true"))


def chip(verdict: str, word: str = "") -> Html:
    """A verdict as a sign and a word; colour only repeats what both say."""
    css = verdict.replace(" ", "-") if verdict in SHAPES else "undecided"
    return tag(f"span.chip.{css}", verdict_mark(SHAPES.get(verdict, "question")), tag("span", word or verdict))
