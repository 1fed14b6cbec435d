"""Plain and speculative decoding: the same tokens, as firm, whatever is drafted; and what rounds say of drafts."""

from dataclasses import replace

import pytest

from edge_mtp.runner import generate
from edge_mtp.runner.acceptance import Accepted
from edge_mtp.runner.drafting import ConfidentDraft, FixedDraft, confidence
from edge_mtp.runner.generate import Finish, Limits, Speculation
from edge_mtp.runner.sampling import Sampler, choose
from tests.runner.fakes import FakeDrafter, FakeTarget, run_plain, tokens_of
from tests.runner.replies import (
    LIMITS,
    MATCH,
    MODEL,
    PROMPT,
    SAMPLERS,
    GivesTheFirstHidden,
    KeepsTooFew,
    KeepsTooMany,
    VerifiesOneSlotOn,
    accepted_of,
    assert_same_reply,
    drafted_of,
    plain_reply,
    speculative_reply,
    without_times,
)

POLICIES = [*(FixedDraft(steps) for steps in (1, 2, 3, 4)), ConfidentDraft(4, 0.3), ConfidentDraft(3, 0.9)]
SKILLS = [0.0, 0.5, 0.8, 1.0]
"""From useless to perfect."""


def by_hand(prompt, sampler, count):
    """A reply straight from the model, without rounds, rows or positions."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(choose(MODEL.logits(tokens), sampler, len(tokens)).token)
    return tokens[len(prompt) :]


@pytest.mark.parametrize("prompt", [PROMPT, PROMPT[:1]], ids=["five tokens", "one token"])
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_plain_decoding_by_hand(sampler, prompt):
    rounds = run_plain(FakeTarget(MODEL), prompt, sampler, LIMITS)
    assert tokens_of(rounds) == by_hand(prompt, sampler, 20)
    assert all(len(current.tokens) == 1 and not current.drafts for current in rounds)
    assert [current.finish for current in rounds] == [None] * 19 + [Finish.LENGTH]


@pytest.mark.parametrize("sampled", [False, True], ids=["best", "drawn"])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_speculative_is_plain_token_by_token(sampler, policy, sampled):
    expected = plain_reply(sampler)
    for skill in SKILLS:
        assert_same_reply(speculative_reply(sampler, Speculation(policy, "match", sampled), skill=skill), expected)


def test_the_drafters_do_go_from_useless_to_perfect():
    """Otherwise the test above would say little."""
    runs = [speculative_reply(Sampler(), limits=Limits(50), skill=skill) for skill in SKILLS]
    rates = [accepted_of(rounds) / drafted_of(rounds) for rounds in runs]
    assert rates == sorted(rates)
    assert rates[0] < 0.15
    assert 0.2 < rates[2] < 0.9
    assert rates[3] == 1.0
    assert [len(current.drafts) for current in runs[3]] == [0] + [3] * 12 + [0]


@pytest.mark.parametrize("wrong", [KeepsTooMany, KeepsTooFew, VerifiesOneSlotOn])
@pytest.mark.parametrize("sampler", [Sampler(), Sampler(1.0)], ids=["greedy", "warm"])
def test_wrong_rows_show_in_the_reply(sampler, wrong):
    with pytest.raises(AssertionError):
        assert_same_reply(speculative_reply(sampler, target=wrong(MODEL), strict=False), plain_reply(sampler))


@pytest.mark.parametrize("wrong", [KeepsTooMany, KeepsTooFew, GivesTheFirstHidden])
def test_wrong_rows_show_to_the_drafter(wrong):
    """A wrong hidden state costs acceptance and no token, so only the drafter can tell."""
    with pytest.raises(AssertionError, match="hidden state of other rows"):
        speculative_reply(Sampler(), target=wrong(MODEL))


def accept_always(drafts, chosen):
    return Accepted(len(drafts), chosen[-1])


def accept_never(drafts, chosen):
    return Accepted(0, chosen[0])


def choose_one_slot_on(logits, sampler, position):
    return choose(logits, sampler, position + 1)


@pytest.mark.parametrize(
    ("name", "wrong", "sampler"),
    [
        ("accept_match", accept_always, Sampler()),
        ("accept_match", accept_always, Sampler(1.0)),
        ("choose", choose_one_slot_on, Sampler(1.0)),
    ],
    ids=["always, greedy", "always, warm", "one slot on"],
)
def test_wrong_rules_show_in_the_reply(monkeypatch, name, wrong, sampler):
    expected = plain_reply(sampler)
    monkeypatch.setattr(generate, name, wrong)
    with pytest.raises(AssertionError):
        assert_same_reply(speculative_reply(sampler), expected)


def test_never_accepting_costs_rounds_but_no_token(monkeypatch):
    """Why equal text never proves the drafter."""
    expected = plain_reply(Sampler())
    monkeypatch.setattr(generate, "accept_match", accept_never)
    slow = speculative_reply(Sampler(), skill=1.0)
    assert tokens_of(slow) == tokens_of(expected)
    assert len(slow) == len(expected)
    assert accepted_of(slow) == 0


@pytest.mark.parametrize("sampled", [False, True], ids=["best", "drawn"])
def test_greedy_rejection_is_plain_too(sampled):
    rounds = speculative_reply(Sampler(), Speculation(FixedDraft(3), "rejection", sampled))
    assert tokens_of(rounds) == tokens_of(plain_reply(Sampler()))
    assert accepted_of(rounds) == accepted_of(speculative_reply(Sampler()))


def test_sampled_rejection_keeps_more_drafts_and_other_tokens():
    """It keeps the distribution, not the tokens; equal tokens would mean that the rule is not used."""
    rejection, match = (
        speculative_reply(Sampler(1.5), Speculation(FixedDraft(3), rule, True), Limits(50), skill=1.0)
        for rule in ("rejection", "match")
    )
    assert tokens_of(rejection) != tokens_of(match)
    assert accepted_of(rejection) == drafted_of(rejection)
    assert {margin for current in rejection[1:-1] for margin in current.margins} == {0.0}


def test_drawn_drafts_of_a_perfect_drafter_match():
    """Drafts and choices share their number, so that equal distributions give equal tokens; the best would not."""
    hot = Sampler(1.5, seed=3)
    drawn = speculative_reply(hot, Speculation(FixedDraft(3), "match", True), skill=1.0)
    assert accepted_of(drawn) == drafted_of(drawn) > 10
    best = speculative_reply(hot, MATCH, skill=1.0)
    assert accepted_of(best) < drafted_of(best)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_target_bounds_the_drafts(steps):
    target = FakeTarget(MODEL, max_draft_steps=steps)
    rounds = speculative_reply(Sampler(), Speculation(FixedDraft(4)), target=target)
    assert max(len(current.drafts) for current in rounds) == steps


def test_a_target_without_verify_decodes_plainly():
    rounds = speculative_reply(Sampler(), target=FakeTarget(MODEL, max_draft_steps=0))
    assert_same_reply(rounds, plain_reply(Sampler()))
    assert drafted_of(rounds) == 0


def test_an_unsure_draft_is_the_last_of_its_round():
    rounds = speculative_reply(Sampler(), Speculation(ConfidentDraft(4, 0.3)), Limits(50))
    lengths = set()
    for current in rounds[1:-5]:
        prefix = [*PROMPT, *tokens_of(rounds)][: current.position + 1]
        sure = [sure_of([*prefix, *current.drafts[:step]]) for step in range(len(current.drafts))]
        assert all(sure[:-1])
        assert len(sure) == 4 or not sure[-1]
        lengths.add(len(sure))
    assert len(lengths) > 2


def sure_of(prefix):
    target = FakeTarget(MODEL)
    scores = FakeDrafter(target, 0.8, strict=False).draft(prefix[-1], MODEL.hidden(prefix[:-1]), 0)
    return confidence(scores.logits) >= 0.3


def test_always_and_never_sure():
    fixed, always, never = (
        speculative_reply(Sampler(), Speculation(policy), Limits(40))
        for policy in (FixedDraft(4), ConfidentDraft(4, 0.0), ConfidentDraft(4, 1.1))
    )
    assert without_times(always) == without_times(fixed)
    assert {len(current.drafts) for current in never[1:-1]} == {1}


def test_rounds_say_what_was_drafted_and_accepted():
    rounds = speculative_reply(Sampler(1.0, seed=9), limits=Limits(40))
    for current in rounds[1:-1]:
        assert current.tokens[:-1] == current.drafts[: current.accepted]
        assert current.accepted == len(current.drafts) or current.tokens[-1] != current.drafts[current.accepted]
    assert all(current.target_s > 0.0 for current in rounds)
    assert all((current.draft_s > 0.0) == bool(current.drafts) for current in rounds)


class OneStepBehind(FakeDrafter):
    """Gives back the hidden state it was given, so that the next step goes on from there."""

    def draft(self, token, hidden, position):
        return replace(super().draft(token, hidden, position), hidden=hidden)


def test_a_step_goes_on_from_the_state_of_the_step_before():
    def accepted(drafter):
        target = FakeTarget(MODEL)
        return accepted_of(list(generate.speculative(target, drafter(target, 1.0), PROMPT, Sampler(), LIMITS, MATCH)))

    assert accepted(OneStepBehind) < accepted(FakeDrafter) == 14


def test_a_rounds_hidden_state_outlives_the_targets_buffers():
    """What the target gave are views; whoever reads the rounds may use it before asking for the next one."""
    target, rounds = FakeTarget(MODEL), []
    for current in generate.speculative(target, FakeDrafter(target, 0.8), PROMPT, Sampler(), LIMITS, MATCH):
        rounds.append(current)
        target._hidden[:] = target._logits[:] = float("nan")
    assert without_times(rounds) == without_times(speculative_reply(Sampler()))
