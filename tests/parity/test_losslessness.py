"""Rejection sampling keeps the distribution, over 20,000 rounds of the loop itself; broken rules do not."""

import pytest

from edge_mtp.parity.losslessness import BROKEN_RULES, HELD_P, REJECTED_P, distribution_check
from edge_mtp.runner.acceptance import accept_rejection
from edge_mtp.runner.drafting import ConfidentDraft, FixedDraft
from edge_mtp.runner.generate import Speculation
from edge_mtp.runner.sampling import Sampler

ROUNDS, FEW_ROUNDS = 20_000, 4_000


@pytest.mark.parametrize(
    ("steps", "sampled"), [(2, False), (2, True), (1, True)], ids=["best", "drawn", "drawn, one draft and a bonus"]
)
def test_rejection_keeps_the_distribution(sampled, steps):
    how = Speculation(FixedDraft(steps), "rejection", sampled)
    assert distribution_check(ROUNDS, 0, how).p_value > HELD_P


@pytest.mark.parametrize(
    "how",
    [
        Speculation(ConfidentDraft(3, 0.45), "rejection", draft_sampled=True),
        Speculation(FixedDraft(2), "match", draft_sampled=True),
    ],
    ids=["confident", "match"],
)
def test_stopping_early_and_matching_keep_it_too(how):
    assert distribution_check(FEW_ROUNDS, 1, how, sampler=Sampler(0.8, top_k=4, top_p=0.9)).p_value > HELD_P


@pytest.mark.parametrize("sampled", [False, True], ids=["best", "drawn"])
@pytest.mark.parametrize("name", BROKEN_RULES)
def test_broken_rules_are_noticed(name, sampled):
    how = Speculation(FixedDraft(2), "rejection", sampled)
    assert distribution_check(FEW_ROUNDS, 0, how, BROKEN_RULES[name]).p_value < REJECTED_P


def test_the_rule_of_the_speculation_itself_is_tested():
    how = Speculation(FixedDraft(2), "rejection", rejection=BROKEN_RULES["every draft accepted"])
    assert distribution_check(FEW_ROUNDS, 0, how).p_value < REJECTED_P
    assert distribution_check(FEW_ROUNDS, 0, how, accept_rejection).p_value > HELD_P
