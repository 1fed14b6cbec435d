"""Charts are to scale, and nothing is drawn outside them."""

import math
import re

import pytest

from edge_mtp.render import chart, plots
from edge_mtp.render.markup import Html

CURVE = [(0.0, 0.5), (0.5, 1.25), (1.0, 2.0)]
EDGES = [0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
COUNTS = [10, 20, 80, 40, 5]


def attribute(svg: Html, name: str, element: str) -> list[float]:
    """`name` of each `element` in the chart, in order."""
    return [float(value) for value in re.findall(rf'<{element} [^>]*?\b{name}="(-?[\d.]+)"', svg)]


def outside(svg: Html) -> list[float]:
    """Coordinates of lines, bars, dots and texts that are not inside the view box."""
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups())
    found = []
    for names, end in ((("x", "x1", "x2", "cx"), width), (("y", "y1", "y2", "cy"), height)):
        values = [value for name in names for value in map(float, re.findall(rf'\b{name}="(-?[\d.]+)"', svg))]
        found += [value for value in values if not 0 <= value <= end]
    return found


CHARTS = {
    "columns": chart.columns([0.8, 0.4, 1.0], ["1", "2", "3"], "bars"),
    "strip": chart.strip(0.2, 0.5, 0.9, chart.strip_scale((0.0, 1.0)), "strip", 0.3, 0.6),
    "strip beyond its scale": chart.strip(-3, 0.5, 7, chart.strip_scale((0.0, 1.0)), "strip", 9, -4),
    "axis": chart.strip_axis(chart.strip_scale((0.0, 2.0)), "×", chart.Reference(0.02, "break-even 0.020")),
    "curve": plots.speed_up_curve(CURVE, 0.33, 1.5, 1.4),
    "curve, slower": plots.speed_up_curve(CURVE, 1.4, 0.6, 0.1),
    "curve, beyond": plots.speed_up_curve(CURVE, 0.33, 9.0, math.nan),
    "histogram": plots.histogram(EDGES, COUNTS, "log", "nats"),
    "histogram, endless": plots.histogram([0.0, 0.1, math.inf], [3, 1], "log", "nats"),
    "histogram, linear": plots.histogram([0.0, 0.5, 1.0], [3, 1], "linear", "nats"),
    "histogram, empty": plots.histogram([0.0, 0.5, 1.0], [0, 0], "log", "nats"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_everything_lies_in_the_view_box(name):
    assert outside(CHARTS[name]) == []
    assert not re.search(r"\b(nan|inf)\b", CHARTS[name])


def test_what_lies_outside_would_be_seen():
    spoilt = CHARTS["columns"].replace('<rect class="bar" x="', '<rect class="bar" x="-')
    assert outside(spoilt) == [-9.2, -55.2, -101.2]


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_says_what_it_shows(name):
    told = re.search(r'role="img" aria-label="([^"]+)"><title>([^<]+)</title>', CHARTS[name])
    assert told and told[1] == told[2]


def test_twice_the_value_is_twice_the_height():
    heights = attribute(chart.columns([0.2, 0.4, 0.8], ["1", "2", "3"], "bars"), "height", "rect")
    assert heights[1] == pytest.approx(2 * heights[0], rel=1e-3)
    assert heights[2] == pytest.approx(4 * heights[0], rel=1e-3)


def test_bars_stand_on_the_base_line():
    svg = CHARTS["columns"]
    ends = {y + height for y, height in zip(attribute(svg, "y", "rect"), attribute(svg, "height", "rect"), strict=True)}
    assert len({round(end, 1) for end in ends}) == 1


def test_histogram_bars_are_as_high_as_their_counts_and_as_wide_as_their_decades():
    svg = CHARTS["histogram"]
    heights, widths = attribute(svg, "height", "rect"), attribute(svg, "width", "rect")
    assert [height / heights[0] for height in heights] == pytest.approx([count / 10 for count in COUNTS], rel=1e-2)
    assert widths == pytest.approx([widths[0]] * 5, abs=0.02)
    linear = attribute(plots.histogram([0.0, 1.0, 4.0], [1, 1], "linear", "nats"), "width", "rect")
    assert (linear[1] + 1) / (linear[0] + 1) == pytest.approx(3, rel=1e-3)


def test_edges_without_a_logarithm_lie_one_step_outside():
    assert plots.log_places([0.0, 0.01, 1.0, 100.0, math.inf]) == pytest.approx([-4, -2, 0, 2, 4])


def test_the_predicted_point_lies_on_the_curve():
    svg = plots.speed_up_curve(CURVE, 1 / 3, 1.4, None)
    path = re.search(r'class="curve" d="M([^"]+)"', svg)[1].replace("L", "").split()
    (x0, y0), (x2, y2) = ((float(path[0]), float(path[1])), (float(path[4]), float(path[5])))
    x, y = attribute(svg, "cx", "circle")[0], attribute(svg, "cy", "circle")[0]
    assert (x - x0) / (x2 - x0) == pytest.approx(0.6, abs=1e-3)
    assert (y - y0) / (y2 - y0) == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize(("height", "rate"), [(0.5, 0.0), (1.25, 0.5), (1.55, 0.7), (0.1, 0.0), (9.0, 1.0)])
def test_rate_read_off_the_curve(height, rate):
    assert plots.rate_at(CURVE, height) == pytest.approx(rate)


def test_break_even_is_marked_only_where_it_can_be_reached():
    assert "break-even 0.330" in CHARTS["curve"]
    assert "break-even 1.4" not in CHARTS["curve, slower"].partition("</title>")[2]


def test_a_strip_puts_its_dot_between_its_ends():
    svg = chart.strip(0.2, 0.5, 0.9, chart.strip_scale((0.0, 1.0)), "strip", None)
    low, high = attribute(svg, "x1", "line")[1], attribute(svg, "x2", "line")[1]
    share = (attribute(svg, "cx", "circle")[0] - low) / (high - low)
    assert share == pytest.approx((0.5 - 0.2) / (0.9 - 0.2), abs=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0.5, 2.5, (0.5, 1, 1.5, 2, 2.5)),
        (3.0, 3.0, (3,)),
        (0, 1207, (0, 500, 1000)),
    ],
)
def test_ticks_are_round(low, high, expected):
    found = chart.ticks(low, high)
    assert found == pytest.approx(expected)
    assert all(low <= value <= high for value in found)


@pytest.mark.parametrize("values", [[0.86, 1.0, 2.02], [1.0], [1.0, math.nan, math.inf], []])
def test_a_domain_holds_all_finite_values(values):
    low, high = chart.domain(values)
    assert low < high
    assert all(low <= value <= high for value in values if math.isfinite(value))


def test_signs_differ_by_shape():
    signs = {chart.verdict_mark(shape) for shape in ("tick", "cross", "question", "bar")}
    assert len({re.search(r'outline" d="([^"]+)', sign)[1] for sign in signs}) == 4
