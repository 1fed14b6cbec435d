"""Several turns on one target: each reply is what a fresh run over the whole history gives."""

import pytest

from edge_mtp.runner.drafting import ConfidentDraft
from edge_mtp.runner.generate import Finish, Limits, Speculation, speculative
from edge_mtp.runner.sampling import Sampler
from tests.runner.fakes import FakeDrafter, FakeTarget, run_plain, run_speculative, tokens_of
from tests.runner.replies import (
    LIMITS,
    MATCH,
    MODEL,
    PROMPT,
    KeepsTooMany,
    KeepsTooManyAtTheEnd,
    assert_same_reply,
    plain_reply,
    without_times,
)

QUESTIONS = [(7, 2), (11,), (0, 9, 9, 4), ()]
STOP = frozenset({6, 10, 13})


def turns(target, sampler, how, stop, skill=0.8, resend=True):
    """(rounds, history before them) of each turn; without `resend` the last token is left out of the next prompt."""
    history, prompt, replies = [], list(PROMPT), []
    for question in QUESTIONS:
        history += prompt[1:] if history and resend else prompt
        limits = Limits(7, stop)
        if how is None:
            rounds = run_plain(target, prompt, sampler, limits)
        else:
            rounds = run_speculative(target, prompt, sampler, limits, how, skill, strict=False)
        replies.append((rounds, tuple(history)))
        history += tokens_of(rounds)
        prompt = [*tokens_of(rounds)[-1:], *question] if resend else [*question, 1]
    return replies


def assert_turns_are_fresh_runs(replies, sampler, stop):
    for rounds, history in replies:
        assert_same_reply(rounds, run_plain(FakeTarget(MODEL, 80), history, sampler, Limits(7, stop)))


@pytest.mark.parametrize("how", [None, MATCH, Speculation(ConfidentDraft(4, 0.3), "match", True)], ids=str)
@pytest.mark.parametrize("sampler", [Sampler(), Sampler(1.0, top_k=6, seed=8)], ids=["greedy", "sampled"])
@pytest.mark.parametrize("stop", [frozenset(), STOP], ids=["length", "stop"])
def test_every_turn_is_a_fresh_run_over_the_history(stop, sampler, how):
    for skill in (0.5, 1.0):
        replies = turns(FakeTarget(MODEL, 80), sampler, how, stop, skill)
        assert_turns_are_fresh_runs(replies, sampler, stop)


def test_some_turns_stop_and_some_do_not():
    finishes = {rounds[-1].finish for rounds, _ in turns(FakeTarget(MODEL, 80), Sampler(), MATCH, STOP)}
    assert finishes == {Finish.STOP, Finish.LENGTH}


@pytest.mark.parametrize("wrong", [KeepsTooMany, KeepsTooManyAtTheEnd])
def test_rows_left_over_between_turns_are_noticed(wrong):
    stop = frozenset(tokens_of(plain_reply(Sampler()))[2:3])
    replies = turns(FakeTarget(MODEL, 80), Sampler(), MATCH, stop, 1.0)
    assert_turns_are_fresh_runs(replies, Sampler(), stop)
    with pytest.raises(AssertionError):
        assert_turns_are_fresh_runs(turns(wrong(MODEL, 80), Sampler(), MATCH, stop, 1.0), Sampler(), stop)


def test_forgetting_the_last_token_between_turns_is_noticed():
    """It has been emitted but not processed."""
    replies = turns(FakeTarget(MODEL, 80), Sampler(), MATCH, frozenset(), resend=False)
    with pytest.raises(AssertionError):
        assert_turns_are_fresh_runs(replies, Sampler(), frozenset())


def test_a_turn_can_be_taken_again():
    """`rewind` forgets a reply; the same prompt then gives the same one."""
    target = FakeTarget(MODEL)
    first = run_speculative(target, PROMPT, Sampler(1.0), LIMITS, MATCH)
    target.rewind(0)
    assert without_times(run_speculative(target, PROMPT, Sampler(1.0), LIMITS, MATCH)) == without_times(first)


def test_a_reply_broken_off_between_rounds_leaves_a_usable_target():
    """Whoever stops reading has all that was emitted but the last token in the rows."""
    target = FakeTarget(MODEL)
    full = run_speculative(FakeTarget(MODEL), PROMPT, Sampler(), LIMITS, MATCH)
    rounds = speculative(target, FakeDrafter(target, 0.7), PROMPT, Sampler(), LIMITS, MATCH)
    read = [next(rounds), next(rounds), next(rounds)]
    emitted = tokens_of(read)
    rest = run_plain(target, emitted[-1:], Sampler(), Limits(20 - len(emitted)))
    assert emitted + tokens_of(rest) == tokens_of(full)
