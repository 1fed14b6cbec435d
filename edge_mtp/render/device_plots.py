"""Charts of one run against time: tokens a second of every trial, the phone's heat, its temperature and power."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from edge_mtp.render.chart import Scale, bar, diamond, domain, dot, label, line, picture, ticks
from edge_mtp.render.markup import Html, tag
from edge_mtp.render.numbers import fixed, significant

Part = Mapping[str, Any]
Point = tuple[float, float]

WIDTH: Final = 360
HEIGHT: Final = 200
LEFT: Final = 52
RIGHT: Final = WIDTH - 10
TOP: Final = 26
BASE: Final = HEIGHT - 36
STATES: Final = ("nominal", "fair", "serious", "critical")
STATES_HEIGHT: Final = 128
MINUTE_S: Final = 60.0


def rates_over_time(trials: Sequence[Part], end_s: float) -> Html:
    """Every trial's tokens a second at its middle: dots with MTP, diamonds without."""
    known = [trial for trial in trials if trial["decode_tps"] is not None]
    rates = [trial["decode_tps"] for trial in known]
    across, up = _across(end_s), Scale(0.0, domain([0.0, *rates])[1], BASE, TOP)
    marks = [label("note.start", 4, 10, "tokens/s"), *_up_axis(up), *_time_axis(across, BASE, HEIGHT)]
    for trial in known:
        middle = (trial["start_s"] + trial["end_s"]) / 2 / MINUTE_S
        draw = dot if trial["arm"] == "spec_on" else diamond
        marks.append(draw(across.at(middle), up.at(trial["decode_tps"])))
    low, high = (fixed(pick(rates, default=0.0), 1) for pick in (min, max))
    return picture("plot", WIDTH, HEIGHT, f"Tokens a second over time, {low} to {high}", *marks)


def states_over_time(heat: Sequence[Part], end_s: float) -> Html:
    """The phone's thermal state: the higher the bar, the warmer; nothing is drawn where it did not tell."""
    base, top = STATES_HEIGHT - 36, 14
    across, step = _across(end_s), (base - top) / len(STATES)
    marks: list[Html] = []
    for state, name in enumerate(STATES):
        y = base - step * (state + 0.5)
        marks.append(line("grid", LEFT, y, RIGHT, y))
        marks.append(label("tick.end", LEFT - 6, y + 4, name))
    for start_s, past_s, state in held(heat, end_s):
        x, past = across.at(start_s / MINUTE_S), across.at(past_s / MINUTE_S)
        height = step * (state + 0.5)
        marks.append(bar(x, base - height, max(past - x, 0.5), height, STATES[state]))
    marks += _time_axis(across, base, STATES_HEIGHT)
    warmest = max((point["thermal"] for point in heat if point["thermal"] is not None), default=0)
    return picture("plot", WIDTH, STATES_HEIGHT, f"Thermal state over time, at most {STATES[warmest]}", *marks)


def held(heat: Sequence[Part], end_s: float) -> list[tuple[float, float, int]]:
    """(from, to, state) in seconds of every stretch in which the state stayed."""
    stretches: list[tuple[float, float, int]] = []
    times = [*(point["t_s"] for point in heat[1:]), end_s]
    for point, past_s in zip(heat, times, strict=False):
        if point["thermal"] is None:
            continue
        if stretches and stretches[-1][1:] == (point["t_s"], point["thermal"]):
            stretches[-1] = (stretches[-1][0], past_s, point["thermal"])
        else:
            stretches.append((point["t_s"], past_s, point["thermal"]))
    return stretches


def curve_over_time(points: Sequence[Point], end_s: float, unit: str, from_zero: bool) -> Html:
    """A line through (second, value) with `unit` on its axis."""
    values = [value for _, value in points]
    across = _across(end_s)
    up = Scale(*domain([*values, *([0.0] if from_zero else [])]), BASE, TOP)
    joined = " L".join(f"{across.at(at / MINUTE_S):.2f} {up.at(value):.2f}" for at, value in points)
    marks = [label("note.start", 4, 10, unit), *_up_axis(up), *_time_axis(across, BASE, HEIGHT)]
    marks.append(tag("path.curve", d=f"M{joined}" if joined else ""))
    low, high = (significant(pick(values, default=0.0)) for pick in (min, max))
    return picture("plot", WIDTH, HEIGHT, f"{unit} over time, {low} to {high}", *marks)


def _across(end_s: float) -> Scale:
    """The same for all charts, so that they can be read one above the other."""
    return Scale(0.0, max(end_s, 1.0) / MINUTE_S, LEFT, RIGHT)


def _up_axis(up: Scale) -> list[Html]:
    marks: list[Html] = []
    for value in ticks(up.low, up.high, 4):
        marks.append(line("grid", LEFT, up.at(value), RIGHT, up.at(value)))
        marks.append(label("tick.end", LEFT - 6, up.at(value) + 4, f"{value:g}".replace("-", "−")))
    return marks


def _time_axis(across: Scale, base: float, height: float) -> list[Html]:
    """Minutes, with a name under them; ticks that would touch are left out."""
    marks = [line("axis", across.start, base, across.end, base)]
    values = ticks(across.low, across.high)
    every = 1 if all(across.at(two) - across.at(one) > 24 for one, two in pairwise(values)) else 2
    for value in values[::every]:
        marks.append(line("axis", across.at(value), base, across.at(value), base + 4))
        marks.append(label("tick", across.at(value), base + 16, f"{value:g}"))
    marks.append(label("note.end", RIGHT, height - 4, "minutes"))
    return marks
