"""How far logits lie apart: against scipy, torch and sums by hand, and that a difference shows."""

from dataclasses import astuple
from math import exp, inf, isnan, log, nan, sqrt

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_mtp.parity import metrics
from edge_mtp.parity.metrics import (
    Deviation,
    deviation,
    first_divergence,
    kl_divergence,
    lead_changes,
    perplexity_ratio,
    signal_to_noise_db,
    token_log_probs,
    top_agreement,
)
from tests import reference

ROWS, VOCAB_SIZE = 40, 300


def logits(seed, rows=ROWS, vocab_size=VOCAB_SIZE, scale=3.0):
    return (scale * np.random.default_rng(seed).standard_normal((rows, vocab_size))).astype(np.float32)


def noisy(seed=0, noise=0.1, **shape):
    """(reference, the same with noise)"""
    exact = logits(seed, **shape)
    return exact, exact + logits(seed + 1, **shape) * np.float32(noise / 3.0)


@pytest.fixture(params=[1, 1000, 1 << 22], ids=["a row at a time", "three rows", "all at once"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(metrics, "_BLOCK_VALUES", request.param)


# KL divergence


@pytest.mark.usefixtures("blocks")
def test_kl_is_scipys():
    expected, found = noisy()
    wanted = scipy.stats.entropy(*(scipy.special.softmax(x.astype(np.float64), -1) for x in (expected, found)), axis=-1)
    np.testing.assert_allclose(kl_divergence(expected, found), wanted, rtol=1e-9)


def test_kl_by_hand():
    """Probabilities (3/4, 1/4) against halves; and the other way round it is another number."""
    skewed, even = (np.log(np.array([row], np.float64)).astype(np.float32) for row in ([3.0, 1.0], [1.0, 1.0]))
    assert kl_divergence(skewed, even)[0] == pytest.approx(0.75 * log(1.5) + 0.25 * log(0.5), rel=1e-6)
    assert kl_divergence(even, skewed)[0] == pytest.approx(0.5 * log(2 / 3) + 0.5 * log(2.0), rel=1e-6)


@given(st.integers(0, 2**32), st.floats(-50.0, 50.0), st.sampled_from([0.01, 1.0, 40.0]))
@settings(max_examples=60, deadline=None)
def test_kl_of_equal_distributions_is_nothing_and_never_less(seed, shift, scale):
    rows = logits(seed, 4, 30, scale)
    assert (kl_divergence(rows, rows) == 0.0).all()
    shifted = kl_divergence(rows, rows + np.float32(shift))
    assert (shifted >= 0.0).all()
    assert (shifted < 1e-4).all()
    assert (kl_divergence(rows, rows[:, ::-1]) >= 0.0).all()


def test_kl_of_impossible_tokens():
    """0 · log 0 is 0; what the reference may say and the other never does is infinitely far."""
    some, all_tokens = np.array([[0.0, 0.0, -inf]], np.float32), np.zeros((1, 3), np.float32)
    assert kl_divergence(some, all_tokens)[0] == pytest.approx(log(1.5))
    assert kl_divergence(some, some)[0] == 0.0
    assert kl_divergence(all_tokens, some)[0] == inf


@pytest.mark.parametrize("side", [0, 1])
def test_kl_with_nan_is_nan(side):
    pair = [logits(0), logits(0)]
    pair[side][3, 7] = nan
    found = kl_divergence(*pair)
    assert isnan(found[3])
    assert not np.isnan(np.delete(found, 3)).any()


# best tokens


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("count", [1, 2, 5])
def test_agreement_is_of_the_sorted_best(count):
    expected, found = noisy(noise=1.0)
    best = [torch.from_numpy(x).topk(count).indices.tolist() for x in (expected, found)]
    wanted = [len(set(a) & set(b)) / count for a, b in zip(*best, strict=True)]
    np.testing.assert_array_equal(top_agreement(expected, found, count), wanted)
    assert 0.1 < np.mean(wanted) < 0.95


def test_agreement_by_hand():
    expected = np.array([[5, 4, 3, 2, 1, 0]] * 4, np.float32)
    found = np.array([[5, 4, 3, 2, 1, 0], [4, 5, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5], [5, 1, 4, 0, 3, 2]], np.float32)
    assert top_agreement(expected, found, 1).tolist() == [1, 0, 0, 1]
    assert top_agreement(expected, found, 2).tolist() == [1, 1, 0, 0.5]
    assert top_agreement(expected, found, 3).tolist() == pytest.approx([1, 1, 0, 2 / 3])


def test_of_equal_logits_the_lower_token_is_better():
    flat = np.zeros((1, 10), np.float32)
    assert top_agreement(flat, np.array([[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]], np.float32), 5)[0] == 1.0
    assert top_agreement(flat, np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]], np.float32), 5)[0] == 0.0


def test_agreement_leaves_its_inputs_alone():
    expected, found = noisy()
    before = expected.copy(), found.copy()
    top_agreement(expected, found, 5)
    np.testing.assert_array_equal((expected, found), before)


# log probabilities and perplexity


@pytest.mark.usefixtures("blocks")
def test_log_probs_are_torchs():
    rows = logits(0, scale=20.0)
    tokens = np.random.default_rng(1).integers(0, VOCAB_SIZE, ROWS)
    wanted = torch.from_numpy(rows).double().log_softmax(-1)[torch.arange(ROWS), torch.from_numpy(tokens)]
    np.testing.assert_allclose(token_log_probs(rows, tokens), wanted.numpy(), rtol=1e-12)
    np.testing.assert_allclose(token_log_probs(rows, tokens.tolist()), wanted.numpy(), rtol=1e-12)
    assert not np.allclose(token_log_probs(rows, np.roll(tokens, 1)), wanted.numpy())


def test_perplexity_ratio_by_hand():
    ratio, error = perplexity_ratio(np.log([0.5, 0.5, 0.25]), np.log([0.25, 0.5, 0.25]))
    assert ratio == pytest.approx(2 ** (1 / 3))
    assert error == pytest.approx(ratio * log(2.0) / 3)


def test_perplexity_ratio_is_that_of_the_perplexities():
    expected, found = (np.random.default_rng(seed).normal(-2.0, 0.5, 100) for seed in (0, 1))
    assert perplexity_ratio(expected, found)[0] == pytest.approx(exp(-found.mean()) / exp(-expected.mean()))
    assert perplexity_ratio(expected, expected) == (1.0, 0.0)


def test_the_error_is_the_spread_of_repeated_texts():
    generator = np.random.default_rng(0)
    reference_log_probs = generator.normal(-2.0, 1.0, (2000, 200))
    found = reference_log_probs - generator.normal(0.02, 0.2, reference_log_probs.shape)
    texts = [perplexity_ratio(*pair) for pair in zip(reference_log_probs, found, strict=True)]
    ratios, errors = np.array(texts).T
    assert errors.mean() == pytest.approx(ratios.std(), rel=0.05)
    unpaired = ratios.mean() * sqrt((reference_log_probs.var() + found.var()) / 200)
    assert errors.mean() < unpaired / 5


def test_the_error_of_less_than_two_tokens_is_not_known():
    ratio, error = perplexity_ratio(np.log([0.5]), np.log([0.25]))
    assert ratio == pytest.approx(2.0)
    assert isnan(error)
    assert all(isnan(value) for value in perplexity_ratio(np.zeros(0), np.zeros(0)))


# signal to noise


@pytest.mark.usefixtures("blocks")
def test_signal_to_noise_by_hand():
    exact = np.array([[3.0, 4.0], [0.0, 5.0]], np.float32)
    assert signal_to_noise_db(exact, exact + np.float32(0.5)) == pytest.approx(10 * np.log10(50 / 1.0))
    assert signal_to_noise_db(exact, exact * np.float32(1.1)) == pytest.approx(20.0, abs=1e-4)
    assert signal_to_noise_db(exact, exact) == inf
    assert signal_to_noise_db(np.zeros(3), np.ones(3)) == -inf


def test_twice_the_noise_is_six_decibels_less():
    exact = logits(0)
    quiet, loud = (signal_to_noise_db(exact, exact + np.float32(noise) * logits(1)) for noise in (0.01, 0.02))
    assert quiet - loud == pytest.approx(20 * np.log10(2.0), abs=1e-2)


# deviation


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-3, 1e-2, 1.0])
def test_deviation_is_that_of_the_graph_tests(noise):
    expected, found = noisy(noise=noise, rows=20)
    theirs = reference.deviation(found, expected)
    ours = deviation(found, expected, reference.TOLERANCE)
    assert astuple(ours) == pytest.approx((*astuple(theirs), reference.TOLERANCE), rel=1e-4)
    assert ours.holds == theirs.holds


def test_deviation_by_hand():
    """Range 10; the second row's best two are half apart, the third's are equal."""
    expected = np.array([[0.0, 10.0], [4.0, 4.5], [7.0, 7.0]], np.float32)
    found = np.array([[0.0, 10.0], [4.3, 4.2], [7.1, 7.0]], np.float32)
    strict, loose = (deviation(found, expected, tolerance) for tolerance in (0.04, 0.06))
    assert (strict.share, strict.clashes, strict.decided) == (pytest.approx(0.03), 1, 2)
    assert (loose.share, loose.clashes, loose.decided) == (pytest.approx(0.03), 0, 1)
    assert loose.holds
    assert not strict.holds
    assert not deviation(found, expected, 0.02).holds


@pytest.mark.parametrize("side", [0, 1])
def test_nan_never_holds(side):
    pair = [logits(0), logits(0)]
    assert deviation(*pair, 0.1).holds
    pair[side][ROWS - 1, 7] = nan
    assert not deviation(*pair, inf).holds


def test_any_leading_axes_and_values_that_do_not_vary():
    expected = logits(0, 24).reshape(2, 3, 4, VOCAB_SIZE)
    assert deviation(expected, expected, 1e-3) == Deviation(0.0, 0, deviation(expected, expected, 1e-3).decided, 1e-3)
    flat = np.ones((2, 3), np.float32)
    assert deviation(flat, flat, 0.1) == Deviation(0.0, 0, 0, 0.1)
    assert deviation(flat + 1, flat, 0.1).share == inf


# sequences


@pytest.mark.parametrize(
    ("expected", "found", "index", "index_of_prefix"),
    [
        ([1, 2, 3], [1, 2, 3], None, None),
        ([1, 2, 3], [1, 9, 3], 1, 1),
        ([1, 2, 3], [9, 2, 3], 0, 0),
        ([1, 2, 3], [1, 2, 9, 4], 2, 2),
        ([1, 2, 3], [1, 2], 2, None),
        ([1, 2], [1, 2, 3], 2, None),
        ([], [1], 0, None),
        ([], [], None, None),
    ],
)
def test_first_divergence(expected, found, index, index_of_prefix):
    assert first_divergence(expected, found) == index
    assert first_divergence(expected, found, prefix_ok=True) == index_of_prefix
    assert first_divergence(tuple(found), tuple(expected)) == index


# shapes


@pytest.mark.parametrize("function", [kl_divergence, signal_to_noise_db, lambda a, b: deviation(a, b, 1.0)])
def test_other_shapes_are_refused_instead_of_stretched(function):
    with pytest.raises(ValueError, match="differ"):
        function(logits(0), logits(0, 1))
    with pytest.raises(ValueError, match="differ"):
        function(logits(0), logits(0, vocab_size=1))


def test_a_token_missing_is_refused():
    with pytest.raises(ValueError, match="rows"):
        token_log_probs(logits(0), [1])


def test_no_tokens_have_no_values():
    nothing = np.zeros((0, VOCAB_SIZE), np.float32)
    assert kl_divergence(nothing, nothing).shape == token_log_probs(nothing, []).shape == (0,)
    assert top_agreement(nothing, nothing, 5).shape == (0,)


def test_lead_changes_by_hand():
    """Of found's two best, in the order that found has them in; what becomes of the others does not count."""
    found = np.array([[3.0, 1.0, 0.0], [0.0, 5.0, 4.0], [1.0, 0.5, 0.0]], np.float32)
    expected = np.array([[3.5, 0.5, 9.0], [0.0, 4.0, 4.25], [2.0, 1.5, -7.0]], np.float32)
    assert lead_changes(expected, found).tolist() == [1.0, 1.25, 0.0]
    assert isnan(lead_changes(np.full((1, 3), nan, np.float32), found[:1])[0])
    with pytest.raises(ValueError, match="differ"):
        lead_changes(expected[:1], found)


def test_where_the_best_token_is_another_the_lead_changed_by_more_than_it_was():
    """So what lead_changes tells bounds the lead of each choice that a change turned over between two tokens."""
    generator = np.random.default_rng(3)
    found = generator.normal(0.0, 1.0, (4000, 5)).astype(np.float32)
    expected = (found + generator.normal(0.0, 0.3, found.shape)).astype(np.float32)
    best = np.argsort(-found, axis=-1)
    turned = expected.argmax(-1) == best[:, 1]
    lead = np.take_along_axis(found, best, axis=-1)[:, :2] @ np.array([1.0, -1.0], np.float32)
    assert turned.sum() > 100 and (lead_changes(expected, found)[turned] > lead[turned]).all()
    assert not (lead_changes(expected, found)[~turned] > lead[~turned]).all()
