"""Where a reply ends: a stop token anywhere in a round, the budget, the context; and what is refused."""

import pytest

from edge_mtp.errors import EdgeMtpError
from edge_mtp.runner import generate
from edge_mtp.runner.drafting import FixedDraft
from edge_mtp.runner.generate import Finish, Limits, Speculation
from edge_mtp.runner.sampling import Sampler
from tests.runner.fakes import FakeModel, FakeTarget, run_plain, run_speculative, tokens_of
from tests.runner.replies import LIMITS, MATCH, MODEL, PROMPT, assert_same_reply, plain_reply, speculative_reply

STOPS_AT = {"the plain step": 0, "first draft": 1, "inside": 2, "last draft": 3, "bonus": 4, "second round": 6}
"""With K = 3 and a perfect drafter tokens 1..4 are one round's: three drafts and the bonus."""

WIDE = FakeModel(seed=5, vocab_size=200)
"""Its reply has no token twice, or a stop token would end it earlier than meant."""

GREEDY = Sampler()


def wide_plain(*stop):
    return run_plain(FakeTarget(WIDE), PROMPT, GREEDY, Limits(9, frozenset(stop)))


def wide_speculative(*stop, skill=1.0, target=None):
    limits = Limits(9, frozenset(stop))
    return run_speculative(target or FakeTarget(WIDE), PROMPT, GREEDY, limits, MATCH, skill)


def test_the_wide_reply_has_no_token_twice():
    assert len(set(tokens_of(wide_plain()))) == 9


@pytest.mark.parametrize("index", STOPS_AT.values(), ids=STOPS_AT)
def test_a_stop_token_ends_the_reply(index):
    stop = tokens_of(wide_plain())[index]
    target = FakeTarget(WIDE)
    rounds = wide_speculative(stop, target=target)
    assert_same_reply(rounds, wide_plain(stop))
    assert rounds[-1].finish is Finish.STOP
    assert tokens_of(rounds)[-1] == stop
    assert len(tokens_of(rounds)) == index + 1
    assert target.position == len(PROMPT) + index
    assert target.rows[: target.position] == [*PROMPT, *tokens_of(rounds)[:-1]]
    assert rounds[-1].accepted == len(rounds[-1].drafts)


@pytest.mark.parametrize("skill", [0.0, 0.6])
@pytest.mark.parametrize("index", range(9))
def test_a_stop_token_as_a_correction(index, skill):
    stop = tokens_of(wide_plain())[index]
    assert_same_reply(wide_speculative(stop, skill=skill), wide_plain(stop))


def test_a_stop_token_as_the_last_of_the_budget_counts_as_stop():
    stop = tokens_of(wide_plain())[8]
    rounds = wide_speculative(stop)
    assert_same_reply(rounds, wide_plain(stop))
    assert rounds[-1].finish is Finish.STOP


def test_a_stop_token_that_is_drafted_but_rejected_ends_nothing():
    target = FakeTarget(WIDE)
    rounds = wide_speculative(skill=0.6, target=target)
    emitted = set(tokens_of(rounds))
    rejected = {token for current in rounds for token in current.drafts[current.accepted :]} - emitted
    assert rejected
    assert_same_reply(wide_speculative(*rejected, skill=0.6), wide_plain())


def test_emitting_what_follows_a_stop_token_is_noticed(monkeypatch):
    stop = tokens_of(wide_plain())[2]
    expected = wide_plain(stop)

    def cut(self, position, tokens):
        self.emitted += len(tokens)
        self.finish = Finish.STOP if stop in tokens else None
        return tuple(tokens)

    monkeypatch.setattr(generate._Ending, "cut", cut)
    with pytest.raises(AssertionError):
        assert_same_reply(wide_speculative(stop), expected)


@pytest.mark.parametrize("max_tokens", range(1, 21))
@pytest.mark.parametrize("skill", [0.0, 0.8, 1.0])
def test_the_budget_is_of_emitted_tokens(skill, max_tokens):
    limits = Limits(max_tokens)
    for steps in (1, 2, 3, 4):
        target = FakeTarget(MODEL)
        rounds = speculative_reply(GREEDY, Speculation(FixedDraft(steps)), limits, skill, target)
        assert_same_reply(rounds, plain_reply(GREEDY, limits))
        assert len(tokens_of(rounds)) == max_tokens
        assert rounds[-1].finish is Finish.LENGTH
        assert target.position == len(PROMPT) + max_tokens - 1


def test_no_draft_is_made_that_the_budget_could_not_emit():
    rounds = speculative_reply(GREEDY, Speculation(FixedDraft(4)), Limits(9), skill=1.0)
    assert [len(current.drafts) for current in rounds] == [0, 4, 2]


def test_counting_drafts_against_the_budget_is_noticed(monkeypatch):
    cut = generate._Ending.cut

    def counts_rejected_drafts(self, position, tokens):
        kept = cut(self, position, tokens)
        self.emitted += 4 - len(kept)
        return kept

    expected = plain_reply(GREEDY)
    monkeypatch.setattr(generate._Ending, "cut", counts_rejected_drafts)
    with pytest.raises(AssertionError):
        assert_same_reply(speculative_reply(GREEDY), expected)


@pytest.mark.parametrize("context_tokens", range(len(PROMPT) + 1, len(PROMPT) + 15))
@pytest.mark.parametrize("skill", [0.0, 0.8, 1.0])
def test_the_context_ends_the_reply(skill, context_tokens):
    target = FakeTarget(MODEL, context_tokens)
    rounds = speculative_reply(GREEDY, Speculation(FixedDraft(4)), skill=skill, target=target)
    assert_same_reply(rounds, plain_reply(GREEDY, context_tokens=context_tokens))
    assert rounds[-1].finish is Finish.CONTEXT
    assert len(PROMPT) + len(tokens_of(rounds)) == context_tokens


def test_drafting_behind_the_context_is_noticed(monkeypatch):
    """The fake has no row there; a real cache would be written elsewhere."""
    monkeypatch.setattr(generate._Ending, "room", lambda self, position: self.limits.max_tokens - self.emitted)
    with pytest.raises(AssertionError, match="last row"):
        speculative_reply(GREEDY, target=FakeTarget(MODEL, len(PROMPT) + 4))


def test_the_context_is_of_all_turns():
    target = FakeTarget(MODEL, len(PROMPT) + 10)
    rounds = run_speculative(target, PROMPT, GREEDY, Limits(6), MATCH)
    last = tokens_of(rounds)[-1]
    with pytest.raises(EdgeMtpError, match=f"needs {len(PROMPT) + 10} tokens, the bundle's context is"):
        run_speculative(target, [last, 1, 2, 3, 4], GREEDY, LIMITS, MATCH)
    rounds = run_speculative(target, [last, 1, 2, 3], GREEDY, LIMITS, MATCH)
    assert (len(tokens_of(rounds)), rounds[-1].finish) == (1, Finish.CONTEXT)


def test_budget_and_context_used_up_by_the_same_token_is_length():
    assert plain_reply(GREEDY, Limits(4), len(PROMPT) + 4)[-1].finish is Finish.LENGTH
    assert plain_reply(GREEDY, Limits(5), len(PROMPT) + 4)[-1].finish is Finish.CONTEXT


@pytest.mark.parametrize("limits", [LIMITS, Limits(0)], ids=["prompt", "no tokens"])
@pytest.mark.parametrize("prompt", [(), PROMPT], ids=["empty", "full"])
def test_what_leaves_nothing_to_do_is_refused(prompt, limits):
    target = FakeTarget(MODEL, len(PROMPT))
    with pytest.raises(EdgeMtpError):
        run_plain(target, prompt, GREEDY, limits)
    with pytest.raises(EdgeMtpError):
        run_speculative(target, prompt, GREEDY, limits, MATCH)
    assert target.position == 0
    assert run_plain(target, PROMPT[:-1], GREEDY, LIMITS)
