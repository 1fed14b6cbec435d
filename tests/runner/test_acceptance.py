"""Which drafts are kept, by hand for every pattern; `tests/parity/test_losslessness.py` has the distribution."""

from itertools import product

import numpy as np
import pytest

from edge_mtp.runner.acceptance import Accepted, accept_match, accept_rejection
from edge_mtp.runner.generate import one_hot

VOCAB_SIZE = 16
PATTERNS = list(product([True, False], repeat=5))
DRAFTS = [1, 2, 3, 4, 5]
BONUS = 6


def chosen_of(pattern):
    """The target's tokens: the drafts where the pattern says so, other tokens elsewhere, then the bonus."""
    return [draft if right else draft + 8 for draft, right in zip(DRAFTS, pattern, strict=True)] + [BONUS]


def expected_of(pattern):
    count = pattern.index(False) if False in pattern else 5
    return Accepted(count, chosen_of(pattern)[count])


def greedy_rejection(pattern, number):
    rows = [np.stack([one_hot(token, VOCAB_SIZE) for token in tokens]) for tokens in (DRAFTS, chosen_of(pattern))]
    return accept_rejection(*rows, DRAFTS, [number] * 5, [1.0 - number] * 6)


def test_five_drafts_one_wrong():
    assert accept_match(DRAFTS, [1, 2, 11, 4, 5, BONUS]) == Accepted(2, 11)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_match_keeps_the_longest_right_beginning(pattern):
    assert accept_match(DRAFTS, chosen_of(pattern)) == expected_of(pattern)


@pytest.mark.parametrize("number", [1e-9, 0.5, 1.0 - 1e-9])
def test_one_hot_rejection_is_match(number):
    assert all(greedy_rejection(pattern, number) == expected_of(pattern) for pattern in PATTERNS)


def test_counting_right_drafts_instead_would_be_noticed():
    pattern = (True, True, False, True, True)
    assert Accepted(sum(pattern), chosen_of(pattern)[sum(pattern)]) != expected_of(pattern)


def test_no_drafts_give_the_bonus():
    assert accept_match([], [BONUS]) == Accepted(0, BONUS)


@pytest.mark.parametrize(
    ("number", "kept"),
    [(0.49, 1), (0.51, 0)],
)
def test_a_draft_is_kept_with_the_ratio_of_its_probabilities(number, kept):
    draft, target = np.array([[0.8, 0.2, 0.0]]), np.array([[0.4, 0.3, 0.3], [0.0, 0.0, 1.0]])
    accepted = accept_rejection(draft, target, [0], [number], [0.999, 0.5])
    assert accepted == Accepted(kept, 2)


@pytest.mark.parametrize(("number", "token"), [(0.24, 1), (0.26, 2)])
def test_the_replacement_comes_from_the_excess(number, token):
    """The excess of [.4, .3, .3] over [.8, .2, 0] is [0, .1, .3]: a quarter and three quarters."""
    draft, target = np.array([[0.8, 0.2, 0.0]]), np.array([[0.4, 0.3, 0.3], [1.0, 0.0, 0.0]])
    assert accept_rejection(draft, target, [0], [0.9], [number, 0.5]) == Accepted(0, token)


def test_a_rejection_by_rounding_still_gives_a_possible_token():
    """All a rounding error can do: a draft probability above the target's, and no excess elsewhere."""
    target = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    draft = np.array([[np.nextafter(0.5, 1.0), 0.5, 0.0]])
    assert accept_rejection(draft, target, [0], [np.nextafter(1.0, 0.0)], [0.7, 0.7]) == Accepted(0, 1)
