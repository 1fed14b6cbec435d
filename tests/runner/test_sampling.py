"""Choosing tokens: frequencies, what top-k and top-p keep, and whether the margin keeps its promise."""

import json

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import TopKLogitsWarper, TopPLogitsWarper

from edge_mtp.intervals import chi_square
from edge_mtp.runner.sampling import Sampler, choose, draw, probabilities
from edge_mtp.runner.uniforms import uniform

LOGITS = np.array([0.3, -1.0, 2.0, 1.1, -0.4, 0.9], np.float32)
COUNT = 10_000
HELD_P, REJECTED_P = 1e-3, 1e-6
FIRM = 1e-3
"""Margins below this are lost in the rounding of float32 logits."""

SAMPLERS = [
    Sampler(1.0),
    Sampler(0.7),
    Sampler(1.5, top_k=4),
    Sampler(1.0, top_p=0.8),
    Sampler(0.7, top_k=5, top_p=0.9),
]


def distinct_logits(seed, size=50):
    return np.random.default_rng(seed).permutation(np.linspace(-4.0, 4.0, size)).astype(np.float32)


def frequencies_fit(chosen, wanted):
    return chi_square(np.bincount(chosen, minlength=len(wanted)), wanted).p_value


@st.composite
def cases(draw_from):
    """(logits [vocab] float32, sampler, position)"""
    generator = np.random.default_rng(draw_from(st.integers(0, 2**32)))
    size = draw_from(st.integers(2, 12))
    sampler = Sampler(
        draw_from(st.sampled_from([0.0, 0.3, 1.0, 1.7])),
        draw_from(st.integers(0, size)),
        draw_from(st.sampled_from([0.05, 0.5, 0.9, 1.0])),
        draw_from(st.integers(0, 9)),
    )
    logits = draw_from(st.sampled_from([0.5, 3.0, 30.0])) * generator.standard_normal(size)
    return logits.astype(np.float32), sampler, draw_from(st.integers(0, 99))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_tokens_come_as_often_as_they_should(sampler):
    chosen = [choose(LOGITS, sampler, position).token for position in range(COUNT)]
    assert frequencies_fit(chosen, probabilities(LOGITS, sampler)) > HELD_P


def test_plain_softmax_at_temperature_one():
    expected = torch.softmax(torch.from_numpy(LOGITS).double(), -1).numpy()
    np.testing.assert_allclose(probabilities(LOGITS, Sampler(1.0)), expected, rtol=1e-12)


@pytest.mark.parametrize("wrong", [Sampler(0.9), Sampler(1.0, top_k=5), Sampler(1.0, top_p=0.95)])
def test_other_frequencies_are_noticed(wrong):
    chosen = [choose(LOGITS, wrong, position).token for position in range(COUNT)]
    assert frequencies_fit(chosen, probabilities(LOGITS, Sampler(1.0))) < REJECTED_P


def test_greedy_takes_the_best_and_the_first_of_equals():
    assert choose(LOGITS, Sampler(), 0).token == 2
    assert choose(LOGITS, Sampler(1.0, top_k=1), 0).token == 2
    assert choose(np.array([0.0, 5.0, 5.0], np.float32), Sampler(), 0) == choose(
        np.array([0.0, 5.0, 5.0], np.float32), Sampler(), 9
    )
    assert choose(np.array([0.0, 5.0, 5.0], np.float32), Sampler(), 0).margin == 0.0
    np.testing.assert_array_equal(probabilities(LOGITS, Sampler()), [0, 0, 1, 0, 0, 0])


def kept(logits, sampler):
    return set(np.flatnonzero(probabilities(logits, sampler)).tolist())


def kept_by_transformers(logits, sampler):
    scores = torch.from_numpy(logits)[None] / sampler.temperature
    if sampler.top_k:
        scores = TopKLogitsWarper(sampler.top_k)(torch.zeros(1, 1, dtype=torch.long), scores)
    if sampler.top_p < 1.0:
        scores = TopPLogitsWarper(sampler.top_p)(torch.zeros(1, 1, dtype=torch.long), scores)
    return set(torch.isfinite(scores[0]).nonzero()[:, 0].tolist())


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.77, 0.95, 0.999, 1.0])
@pytest.mark.parametrize("top_k", [0, 2, 7, 40, 50, 60])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_top_k_and_top_p_keep_what_transformers_keeps(temperature, top_k, top_p):
    sampler = Sampler(temperature, top_k, top_p)
    for seed in range(5):
        logits = distinct_logits(seed)
        assert kept(logits, sampler) == kept_by_transformers(logits, sampler)


def test_another_cut_is_noticed():
    logits = distinct_logits(0)
    for mine, theirs in [
        (Sampler(1.0, 7), Sampler(1.0, 8)),
        (Sampler(1.0, 0, 0.8), Sampler(1.0, 0, 0.9)),
        (Sampler(1.0, 0, 0.8), Sampler(1.5, 0, 0.8)),
    ]:
        assert kept(logits, mine) != kept_by_transformers(logits, theirs)


def test_top_p_keeps_the_token_that_reaches_it_and_no_more():
    """Quarters are exact: three of them are .75, and .75 needs no fourth, while anything above does."""
    logits = np.zeros(4, np.float32)
    for top_p, count in [(0.25, 1), (0.5, 2), (0.75, 3), (0.75 + 1e-9, 4)]:
        assert len(kept(logits, Sampler(1.0, 0, top_p))) == count


def test_equal_logits_at_the_cut():
    """transformers keeps all that equal the k-th, so more than k; we keep k, and say by margin 0 that it is a toss."""
    logits = np.array([1.0, 3.0, 2.0, 2.0, 2.0, 0.0], np.float32)
    sampler = Sampler(1.0, top_k=2)
    assert kept_by_transformers(logits, sampler) == {1, 2, 3, 4}
    assert len(kept(logits, sampler)) == 2
    assert kept(logits, sampler) < {1, 2, 3, 4}
    assert all(choose(logits, sampler, position).margin == 0.0 for position in range(20))


@pytest.mark.parametrize("number", [1e-300, 2.0**-53, 0.5, 1.0 - 2.0**-53])
def test_impossible_tokens_are_never_drawn(number):
    for weights in ([0.0, 0.3, 0.0, 0.7, 0.0], [0.0] * 3 + [0.1] * 10 + [0.0], [1e-300, 1e-300, 0.0]):
        assert weights[draw(np.array(weights), number)] > 0.0


def test_a_token_of_no_weight_is_not_chosen_where_the_sum_falls_short_of_one():
    """Thirds of three and a last token that underflows: the sum can end below the largest number."""
    for size in range(2, 200):
        logits = np.append(np.zeros(size), -2000.0).astype(np.float32)
        assert draw(probabilities(logits, Sampler(1.0)), 1.0 - 2.0**-53) == size - 1


@given(cases())
@settings(max_examples=300, deadline=None)
def test_choose_draws_from_the_probabilities(case):
    logits, sampler, position = case
    assert choose(logits, sampler, position).token == draw(
        probabilities(logits, sampler), uniform(sampler.seed, position)
    )


@given(cases(), st.integers(0, 2**32), st.booleans())
@settings(max_examples=500, deadline=None)
def test_a_difference_below_half_the_margin_changes_nothing(case, seed, to_the_ends):
    logits, sampler, position = case
    choice = choose(logits, sampler, position)
    assume(choice.margin > FIRM)
    moves = np.random.default_rng(seed).uniform(-1.0, 1.0, len(logits))
    moved = logits + 0.499 * choice.margin * (np.sign(moves) if to_the_ends else moves)
    assert choose(moved.astype(np.float32), sampler, position).token == choice.token


@given(cases())
@settings(max_examples=200, deadline=None)
def test_a_greedy_choice_falls_just_over_half_the_margin(case):
    logits, _, position = case
    choice = choose(logits, Sampler(), position)
    assume(choice.margin > FIRM)
    best = np.arange(len(logits)) == choice.token
    moved = logits + 0.501 * choice.margin * np.where(best, -1.0, 1.0)
    assert choose(moved.astype(np.float32), Sampler(), position).token != choice.token


@given(cases(), st.sampled_from([0.3, 1.0, 1.7]))
@settings(max_examples=300, deadline=None)
def test_a_sampled_choice_can_fall_just_over_half_the_margin(case, temperature):
    """Without a cut the margin is exact: moving all tokens before or behind one end against the rest crosses it."""
    logits, sampler, position = case
    sampler = Sampler(temperature, seed=sampler.seed)
    choice = choose(logits, sampler, position)
    assume(choice.margin > FIRM)
    ids = np.arange(len(logits))
    shifted = [
        logits + 0.501 * choice.margin * np.where(side, 1.0, -1.0) for side in (ids < choice.token, ids > choice.token)
    ]
    tokens = {choose(moved.astype(np.float32), sampler, position).token for moved in shifted}
    assert tokens != {choice.token}


@pytest.mark.parametrize(("top_p", "before", "after"), [(0.801, 3, 2), (0.799, 2, 3)])
def test_the_margin_covers_both_ends_of_the_top_p_cut(top_p, before, after):
    """The two best hold .8: just too little, or just enough. Half the margin against or for them turns it over."""
    logits, sampler = np.log([0.2, 0.3, 0.5]).astype(np.float32), Sampler(1.5, top_p=top_p)
    logits *= np.float32(1.5)
    margin = max(choose(logits, sampler, position).margin for position in range(50))
    assert len(kept(logits, sampler)) == before
    for share, count in [(0.498, before), (0.502, after)]:
        moved = logits + np.array([-1.0, 1.0, 1.0]) * share * margin * (1 if after == 2 else -1)
        assert len(kept(moved, sampler)) == count


@pytest.mark.parametrize("gap", [20.0, 60.0, 2000.0])
@pytest.mark.parametrize("temperature", [0.05, 0.7])
def test_a_near_certain_choice_has_a_finite_margin(temperature, gap):
    """1 minus a weight below 1e-16 is 1, whose odds would be infinite, in the margin and in the trace's JSON."""
    logits = np.array([gap, 0.0, -1.0], np.float32)
    choice = choose(logits, Sampler(temperature), 5)
    assert choice.token == 0
    assert 0.0 < choice.margin <= 2.1 * gap
    assert "Infinity" not in json.dumps(choice.margin)
