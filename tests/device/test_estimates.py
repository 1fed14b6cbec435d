"""Intervals cover, few units give none, and a verdict needs the whole interval."""

from math import erf, sqrt

import numpy as np
import pytest

from edge_mtp.device.estimates import LEAST_UNITS, advise, geometric_mean, level, ratio_of_sums
from edge_mtp.device.report import Estimate
from edge_mtp.intervals import bootstrap_statistic


def pairs(*ratios: float):
    return list(enumerate(ratios))


def test_geometric_mean():
    assert geometric_mean(pairs(2.0, 8.0), 0) == Estimate(pytest.approx(4.0), None, None, 2)
    assert geometric_mean([], 0) is None
    found = geometric_mean(pairs(1.0, 2.0, 4.0, 2.0, 2.0), 0)
    assert found.value == pytest.approx(2.0) and found.low < 2.0 < found.high and found.count == 5


def test_the_inverse_of_all_ratios_is_the_inverse_of_the_mean():
    """As it must be for on ÷ off; an arithmetic mean would favour whichever arm is above the line."""
    ratios = [0.5, 1.5, 2.0, 0.9, 1.1, 3.0]
    there, back = geometric_mean(pairs(*ratios), 0), geometric_mean(pairs(*(1 / one for one in ratios)), 0)
    assert there.value * back.value == pytest.approx(1.0)
    assert np.mean(ratios) * np.mean([1 / one for one in ratios]) > 1.2


def test_fewer_units_than_needed_have_no_interval():
    for count in range(1, LEAST_UNITS):
        assert geometric_mean(pairs(*[1.5] * count), 0).low is None
        assert ratio_of_sums([1.0] * count, [2.0] * count, 0).high is None
    assert geometric_mean(pairs(*[1.5] * LEAST_UNITS), 0).low == pytest.approx(1.5)
    assert ratio_of_sums([], [], 0) is None and ratio_of_sums([1.0], [0.0], 0) is None


def test_several_ratios_of_a_pair_are_one_unit():
    alone = geometric_mean(pairs(1.0, 2.0, 1.5, 1.2, 1.8, 1.1), 0)
    repeated = geometric_mean([one for one in pairs(1.0, 2.0, 1.5, 1.2, 1.8, 1.1) for _ in range(20)], 0)
    assert (repeated.value, repeated.count) == (pytest.approx(alone.value), 6)
    assert (repeated.low, repeated.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


@pytest.mark.parametrize(("count", "least", "most"), [(LEAST_UNITS, 0.85, 0.96), (8, 0.91, 0.98), (24, 0.91, 0.98)])
def test_intervals_cover(count, least, most):
    """How often the interval of log-normal ratios holds the truth."""
    chance = np.random.default_rng(count)
    held = 0
    for trial in range(300):
        found = geometric_mean(pairs(*np.exp(chance.normal(np.log(1.3), 0.2, count))), trial)
        held += found.low <= 1.3 <= found.high
    assert least <= held / 300 <= most


def test_plain_percentiles_would_not_cover():
    chance = np.random.default_rng(LEAST_UNITS)
    held = 0
    for trial in range(300):
        rows = [(one, 1.0) for one in chance.normal(np.log(1.3), 0.2, LEAST_UNITS)]
        found = bootstrap_statistic(rows, lambda sums: np.exp(sums[..., 0] / sums[..., 1]), trial)
        held += found.low <= 1.3 <= found.high
    assert held / 300 < 0.85


def test_the_level_follows_students_quantile():
    """t of 4 and of 23 degrees of freedom are 2.776 and 2.069 in every table."""
    for count, quantile in ((5, 2.776445), (24, 2.068658)):
        assert level(count) == pytest.approx(erf(sqrt(count / (count - 1)) * quantile / sqrt(2)), abs=1e-4)
    assert level(10_000) == pytest.approx(0.95, abs=1e-4)


def test_an_interval_that_ignores_pairs_would_not_cover():
    """Ten prompts a pair share their pair's heat: taken for sixty units they would be far too sure."""
    chance = np.random.default_rng(1)
    held = dict.fromkeys(("by pair", "by prompt"), 0)
    for trial in range(100):
        shared = chance.normal(np.log(1.3), 0.2, 6)
        ratios = [(pair, float(np.exp(heat + noise))) for pair, heat in enumerate(shared) for noise in [0.0] * 10]
        for name, units in (("by pair", ratios), ("by prompt", pairs(*(ratio for _, ratio in ratios)))):
            found = geometric_mean(units, trial)
            held[name] += found.low <= 1.3 <= found.high
    assert held["by pair"] > 85 and held["by prompt"] < 55


@pytest.mark.parametrize(
    ("low", "high", "speed", "energy"),
    [(1.1, 1.5, "on", "off"), (0.7, 0.9, "off", "on"), (0.9, 1.1, "undecided", "undecided")],
)
def test_verdicts(low, high, speed, energy):
    ratio = Estimate((low + high) / 2, low, high, 8)
    assert (advise(ratio, "speed").verdict, advise(ratio, "energy").verdict) == (speed, energy)
    assert f"8 pairs, interval {low:.2f} to {high:.2f}" in advise(ratio, "speed").reason


def test_reasons():
    assert advise(Estimate(1.3, 1.2, 1.4, 8), "speed").reason.endswith("all of it is faster")
    assert advise(Estimate(1.3, 1.2, 1.4, 8), "energy").reason.endswith("all of it is more energy")
    assert advise(Estimate(0.8, 0.7, 0.9, 8), "energy").reason.endswith("all of it is less energy")
    assert advise(None, "energy").reason == "no pair has energy in both arms"
    assert advise(Estimate(3.0, None, None, 1), "speed").verdict == "undecided"
