"""Bootstrap intervals against what they promise, and the chi-square test against scipy."""

from math import inf

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_mtp.intervals import Estimate, bootstrap_ratio, bootstrap_statistic, chi_square, more_often, upper_gamma

DRAFTED = [30, 60, 90, 30, 45, 75, 60, 30]
ACCEPTED = [3, 40, 50, 20, 9, 60, 30, 1]


def replies(seed, prompts=25, spread=0.2):
    """(accepted, drafted) of made-up prompts whose acceptance rates scatter around one half."""
    generator = np.random.default_rng(seed)
    drafted = generator.integers(30, 90, prompts)
    rates = np.clip(generator.normal(0.5, spread, prompts), 0.0, 1.0)
    return generator.binomial(drafted, rates), drafted


def test_a_ratio_is_of_the_sums_and_inside_its_interval():
    estimate = bootstrap_ratio(ACCEPTED, DRAFTED, seed=0)
    assert estimate.value == sum(ACCEPTED) / sum(DRAFTED) != np.mean(np.divide(ACCEPTED, DRAFTED))
    assert min(np.divide(ACCEPTED, DRAFTED)) < estimate.low < estimate.value < estimate.high
    assert estimate.high < max(np.divide(ACCEPTED, DRAFTED))


def test_the_seed_decides_and_nothing_else():
    np.random.seed(1)
    first = bootstrap_ratio(ACCEPTED, DRAFTED, seed=5)
    np.random.seed(2)
    assert bootstrap_ratio(ACCEPTED, DRAFTED, seed=5) == first
    assert bootstrap_ratio(ACCEPTED, DRAFTED, seed=6) != first


def test_the_interval_is_scipys():
    pairs = np.stack([ACCEPTED, DRAFTED])
    result = scipy.stats.bootstrap(
        pairs,
        lambda accepted, drafted, axis: accepted.sum(axis) / drafted.sum(axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    estimate = bootstrap_ratio(ACCEPTED, DRAFTED, seed=1, resamples=20_000)
    assert estimate[1:] == pytest.approx(tuple(result.confidence_interval), abs=0.01)


@pytest.mark.parametrize(("level", "least", "most"), [(0.95, 0.90, 0.97), (0.5, 0.42, 0.56)])
def test_the_interval_holds_the_truth_as_often_as_it_says(level, least, most):
    runs = [bootstrap_ratio(*replies(seed), seed=seed, resamples=400, level=level) for seed in range(500)]
    assert least < np.mean([run.low <= 0.5 <= run.high for run in runs]) < most


def test_drawing_tokens_instead_of_prompts_would_promise_too_much():
    """Tokens of a prompt are alike, so an interval over single tokens is far too narrow."""
    held = []
    for seed in range(60):
        accepted, drafted = replies(seed)
        tokens = np.concatenate([np.arange(d) < a for a, d in zip(accepted, drafted, strict=True)])
        estimate = bootstrap_ratio(tokens, np.ones(len(tokens)), seed=seed, resamples=200)
        held.append(estimate.low <= 0.5 <= estimate.high)
    assert np.mean(held) < 0.7


def test_a_wider_level_is_a_wider_interval():
    narrow, wide = (bootstrap_ratio(ACCEPTED, DRAFTED, seed=0, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_prompt_has_no_spread():
    assert bootstrap_ratio([3], [4], seed=0) == Estimate(0.75, 0.75, 0.75)


def test_prompts_without_drafts():
    """One counts as nothing; sets drawn of such only are left out; with nothing else there is no ratio."""
    estimate = bootstrap_ratio([0, 3, 2], [0, 4, 4], seed=0)
    assert estimate == Estimate(5 / 8, 0.5, 0.75)
    assert bootstrap_ratio([0, 0], [0, 0], seed=0) is None
    assert bootstrap_ratio([1], [0], seed=0) is None
    assert bootstrap_ratio([], [], seed=0) is None
    with pytest.raises(ValueError, match="shape"):
        bootstrap_ratio([1, 2], [3], seed=0)


def speed_up_of(sums):
    """c = .1, v = 1.8; sums [..., 3] of rounds, drafted, accepted."""
    rounds, drafted, accepted = np.moveaxis(sums, -1, 0)
    return (1.0 + accepted / rounds) / (drafted / rounds * 0.1 + 1.8)


def test_the_interval_of_a_speed_up():
    """Against a plain loop over drawn prompts."""
    values = [(drafted // 3, drafted, accepted) for accepted, drafted in zip(ACCEPTED, DRAFTED, strict=True)]
    estimate = bootstrap_statistic(values, speed_up_of, seed=0, resamples=20_000)
    assert estimate.value == pytest.approx((1 + sum(ACCEPTED) / (sum(DRAFTED) / 3)) / 2.1)
    generator = np.random.default_rng(1)
    drawn = [speed_up_of(np.array(values)[generator.integers(0, 8, 8)].sum(0)) for _ in range(20_000)]
    assert estimate[1:] == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.02)
    assert estimate.low < 1.0 < estimate.high


def test_all_prompts_alike_have_a_narrow_interval():
    alike = bootstrap_statistic([(10, 30, 15)] * 8, speed_up_of, seed=0)
    assert alike.low == pytest.approx(alike.high)
    assert alike.value == pytest.approx(2.5 / 2.1)


# --- chi-square -------------------------------------------------------------------------------------------------------


@given(st.floats(0.01, 2000.0), st.floats(0.0, 5.0))
@settings(max_examples=500, deadline=None)
def test_the_gamma_tail_is_scipys(shape, ratio):
    start = shape * ratio
    assert upper_gamma(shape, start) == pytest.approx(scipy.special.gammaincc(shape, start), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 50, 124, 1000])
@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 0.99, 1.0, 1.01, 1.5, 3.0, 10.0])
def test_p_values_are_scipys(degrees, ratio):
    wanted = scipy.stats.chi2.sf(degrees * ratio, degrees)
    assert abs(upper_gamma(degrees / 2.0, degrees * ratio / 2.0) - wanted) < 1e-10
    assert upper_gamma(degrees / 2.0, degrees * ratio / 2.0) == pytest.approx(wanted, rel=1e-9)


def test_the_ends_of_the_tail():
    assert upper_gamma(3.0, 0.0) == 1.0
    assert upper_gamma(3.0, inf) == 0.0
    assert upper_gamma(3.0, 1e6) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_the_statistic_is_scipys(seed):
    generator = np.random.default_rng(seed)
    probs = generator.dirichlet(np.full(20, 3.0))
    counts = generator.multinomial(5000, probs)
    wanted = scipy.stats.chisquare(counts, 5000 * probs)
    found = chi_square(counts, probs)
    assert (found.statistic, found.p_value) == pytest.approx((wanted.statistic, wanted.pvalue), rel=1e-9)
    assert found.degrees_of_freedom == 19
    assert chi_square(np.roll(counts, 1), probs).p_value < 1e-6


def test_right_counts_are_refused_as_often_as_p_says():
    generator = np.random.default_rng(0)
    probs = generator.dirichlet(np.full(30, 0.5))
    values = np.array([chi_square(generator.multinomial(2000, probs), probs).p_value for _ in range(1500)])
    assert scipy.stats.kstest(values, "uniform").pvalue > 1e-3
    wrong = 0.9 * probs + 0.1 * np.roll(probs, 1)
    off = np.array([chi_square(generator.multinomial(2000, wrong), probs).p_value for _ in range(200)])
    assert scipy.stats.kstest(off, "uniform").pvalue < 1e-6


@pytest.mark.parametrize(
    ("expected", "cells"),
    [
        ([50, 30, 20], 3),
        ([50, 40, 3, 3, 4], 3),
        ([50, 48, 1, 1], 2),
        ([90, 6, 4], 2),
        ([97, 3], 1),
        ([100, 0, 0], 1),
        ([50, 50, 0], 2),
        ([1] * 100, 1),
    ],
)
def test_small_cells_are_pooled(expected, cells):
    probs = np.array(expected) / 100.0
    found = chi_square(expected, probs)
    assert found.statistic == pytest.approx(0.0, abs=1e-9)
    assert found.degrees_of_freedom == cells - 1
    assert found.p_value == pytest.approx(1.0)


def test_pooled_cells_still_count():
    """Ten cells of two each make one of twenty, which a hundred counts do not fit."""
    probs = np.array([0.8] + [0.02] * 10)
    assert chi_square([80] + [2] * 10, probs, minimum_expected=2.0).degrees_of_freedom == 10
    assert chi_square([80] + [2] * 10, probs).degrees_of_freedom == 1
    spoilt = chi_square([20] + [8] * 10, probs)
    assert spoilt.statistic == pytest.approx(60**2 / 80 + 60**2 / 20)
    assert spoilt.p_value < 1e-6


def test_what_cannot_happen_must_not():
    """Pooling must not hide it among rare cells."""
    assert chi_square([500, 497, 3, 1], [0.5, 0.497, 0.003, 0.0]).p_value == 0.0
    assert chi_square([500, 497, 3, 0], [0.5, 0.497, 0.003, 0.0]).p_value > 0.9


def test_cells_may_have_any_shape():
    assert chi_square([[10, 20], [30, 40]], [[0.1, 0.2], [0.3, 0.4]]).p_value == pytest.approx(1.0)


def test_no_counts_say_nothing():
    assert chi_square([0, 0], [0.5, 0.5]).p_value == 1.0


@pytest.mark.parametrize("expected", [[0.5, 0.4], [50.0, 50.0], [0.5, 0.25, 0.25]])
def test_what_is_no_distribution_is_refused(expected):
    with pytest.raises(ValueError, match="needed"):
        chi_square([50, 50], expected)


@pytest.mark.parametrize(
    ("found", "trials", "other_found", "other_trials"),
    [
        (3, 60, 1, 72),
        (8, 1100, 30, 1500),
        (0, 10, 3, 10),
        (10, 10, 0, 10),
        (5, 900, 0, 900),
        (1, 1, 0, 1),
        (4, 4, 9, 9),
    ],
)
def test_more_often_is_fishers(found, trials, other_found, other_trials):
    table = [[found, trials - found], [other_found, other_trials - other_found]]
    expected = scipy.stats.fisher_exact(table, alternative="greater").pvalue
    assert more_often(found, trials, other_found, other_trials) == pytest.approx(expected, rel=1e-9)


def test_more_often_rejects_a_higher_rate_and_no_lower_one():
    assert more_often(20, 1000, 0, 1000) < 1e-5 < 0.4 < more_often(20, 1000, 20, 1000)
    assert more_often(0, 1000, 20, 1000) == more_often(0, 0, 0, 0) == 1.0
